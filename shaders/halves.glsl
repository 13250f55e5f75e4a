// halves.glsl - mirrors halves.wgsl: binary16 to binary32. Goes before widen.frag.glsl, and before
// lossless_bits.glsl; after texels.glsl, for its precisions.

// Bits of the same number. unpackHalf2x16() may flush subnormals; here they are small integers
// times 2^-24, which is a normal number, and the others, NaN and infinity too, are moved as bits.
uint float_from_half(uint half_bits) {
    uint sign_bit = (half_bits & 0x8000u) << 16;
    uint rest = half_bits & 0x7FFFu;
    if (rest < 0x0400u) {
        return sign_bit | floatBitsToUint(float(rest) * (1.0 / 16777216.0));
    }
    return sign_bit | ((rest << 13) + (rest >= 0x7C00u ? 0x70000000u : 0x38000000u));
}
