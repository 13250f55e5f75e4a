// lossless_bits.glsl - mirrors lossless_bits.wgsl: puts lossless floats together. FORMAT.md section 5.
// Goes after halves.glsl.

const uint HANSEL_F32 = 1u;
const uint HANSEL_F16 = 2u;

// As in struct hansel_blob.
struct Lossless {
    uint dtype;
    uint window_base;
    uint raw_bits;
    uint sign; // 0: the lowest raw bit; 1: all weights are positive, 2: negative
};

uniform Lossless lossless;

// A weight's own bits, from its symbol and its raw bits.
uint join_bits(uint symbol, uint low) {
    uint field = symbol == 0u ? 0u : lossless.window_base + symbol;
    uint w = field << lossless.raw_bits | low;
    uint top = lossless.dtype == HANSEL_F32 ? 0x80000000u : 0x8000u;
    if (lossless.sign == 0u) {
        return w >> 1 | ((w & 1u) == 1u ? top : 0u);
    }
    return w | (lossless.sign == 2u ? top : 0u);
}

// A weight's own bits as those of binary32.
uint float_bits(uint bits) {
    if (lossless.dtype == HANSEL_F32) {
        return bits;
    }
    if (lossless.dtype == HANSEL_F16) {
        return float_from_half(bits);
    }
    return bits << 16;
}
