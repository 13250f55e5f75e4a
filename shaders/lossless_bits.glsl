// lossless_bits.glsl - mirrors lossless_bits.wgsl: puts weights of lossless tensors together. FORMAT.md
// section 6. Goes after halves.glsl.

const uint HANSEL_F32 = 1u;
const uint HANSEL_F16 = 2u;

// A weight's own bits, from its symbol and its raw bytes, the lowest first: rotated left by one, the
// symbol is the highest byte.
uint join_bits(uint symbol, uint raw_bits, uint dtype) {
    if (dtype == HANSEL_F32) {
        uint w = symbol << 24 | raw_bits;
        return w >> 1 | w << 31;
    }
    uint w = symbol << 8 | raw_bits;
    return w >> 1 | ((w << 15) & 0x8000u);
}

// A weight's own bits as those of binary32.
uint float_bits(uint bits, uint dtype) {
    if (dtype == HANSEL_F32) {
        return bits;
    }
    if (dtype == HANSEL_F16) {
        return float_from_half(bits);
    }
    return bits << 16;
}
