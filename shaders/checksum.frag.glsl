// checksum.frag.glsl - mirrors checksum.wgsl: one number per stream of decoded symbols, to compare
// with a reference without reading them back. FNV-1a, a quad (u32) at a time. Goes after
// texels.glsl.

uniform uint stream_count;
uniform usampler2D symbols;
uniform usampler2D starts; // stream_count + 1, in quads

layout(location = 0) out uint dst;

void main() {
    uint i = fragment_texel();
    if (i >= stream_count) {
        discard;
        return;
    }
    uint end = texelFetch(starts, texel_place(i + 1u), 0).x;
    uint sum = 2166136261u;
    for (uint at = texelFetch(starts, texel_place(i), 0).x; at < end; at++) {
        sum = (sum ^ texelFetch(symbols, texel_place(at >> 2), 0)[at & 3u]) * 16777619u;
    }
    dst = sum;
}
