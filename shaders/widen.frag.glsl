// widen.frag.glsl - mirrors widen.wgsl: makes vectors of binary16 into vectors of binary32,
// exactly, before a product reads them. One fragment writes four elements of a vector. Goes after
// texels.glsl and halves.glsl.

struct Widening {
    uint texels;    // of all vectors
    uint row_quads; // of a vector: its texels
    uint start;     // of the first vector in halves, in texels
    uint stride;    // from vector to vector in halves, in texels
};

uniform Widening widening;
uniform usampler2D halves; // four to a texel: RG32UI

layout(location = 0) out uvec4 dst; // bits of binary32

void main() {
    uint i = fragment_texel();
    if (i >= widening.texels) {
        discard;
        return;
    }
    uint vector = i / widening.row_quads;
    uint index = widening.start + vector * widening.stride + (i - vector * widening.row_quads);
    uvec2 four = texelFetch(halves, texel_place(index), 0).xy;
    dst = uvec4(float_from_half(four.x & 0xFFFFu), float_from_half(four.x >> 16),
        float_from_half(four.y & 0xFFFFu), float_from_half(four.y >> 16));
}
