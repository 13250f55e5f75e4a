#version 300 es
// widen.frag.glsl - mirrors widen.wgsl: makes vectors of binary16 into vectors of binary32, exactly,
// before a product reads them. One fragment writes four elements of a vector.

precision highp int;
precision highp float;
precision highp usampler2D;

#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif

struct Widening {
    uint texels; // of all vectors
    uint steps;  // of a vector, in texels
    uint start;  // of the first vector in halves, in texels
    uint stride; // from vector to vector in halves, in texels
};

uniform Widening widening;
uniform usampler2D halves; // four to a texel: RG32UI

layout(location = 0) out uvec4 dst; // bits of binary32

// Bits of the same number. unpackHalf2x16() may flush subnormals; here they are small integers times
// 2^-24, which is a normal number, and the others, NaN and infinity too, are moved as bits.
uint widen_half(uint half_bits) {
    uint sign_bit = (half_bits & 0x8000u) << 16;
    uint rest = half_bits & 0x7FFFu;
    if (rest < 0x0400u) {
        return sign_bit | floatBitsToUint(float(rest) * (1.0 / 16777216.0));
    }
    return sign_bit | ((rest << 13) + (rest >= 0x7C00u ? 0x70000000u : 0x38000000u));
}

void main() {
    uint i = (uint(gl_FragCoord.y) << WIDTH_LOG2) + uint(gl_FragCoord.x);
    if (i >= widening.texels) {
        discard;
    }
    uint vector = i / widening.steps;
    uint index = widening.start + vector * widening.stride + (i - vector * widening.steps);
    uvec2 four = texelFetch(halves,
        ivec2(index & ((1u << WIDTH_LOG2) - 1u), index >> WIDTH_LOG2), 0).xy;
    dst = uvec4(widen_half(four.x & 0xFFFFu), widen_half(four.x >> 16),
        widen_half(four.y & 0xFFFFu), widen_half(four.y >> 16));
}
