#version 300 es
// checksum.frag.glsl - mirrors checksum.wgsl: one number per stream of decoded symbols, to compare
// with a reference without reading them back. FNV-1a, a step (u32) at a time.

precision highp int;
precision highp usampler2D;

#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif

uniform uint stream_count;
uniform usampler2D symbols;
uniform usampler2D starts; // stream_count + 1, in steps

layout(location = 0) out uint dst;

ivec2 texel_place(uint index) {
    return ivec2(index & ((1u << WIDTH_LOG2) - 1u), index >> WIDTH_LOG2);
}

void main() {
    uint i = (uint(gl_FragCoord.y) << WIDTH_LOG2) + uint(gl_FragCoord.x);
    if (i >= stream_count) {
        discard;
    }
    uint end = texelFetch(starts, texel_place(i + 1u), 0).x;
    uint sum = 2166136261u;
    for (uint at = texelFetch(starts, texel_place(i), 0).x; at < end; at++) {
        sum = (sum ^ texelFetch(symbols, texel_place(at >> 2), 0)[at & 3u]) * 16777619u;
    }
    dst = sum;
}
