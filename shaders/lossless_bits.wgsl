// lossless_bits.wgsl - puts lossless floats together: mirrors hansel_join of src/values.c. FORMAT.md
// section 5. Goes after halves.wgsl.

const HANSEL_F32: u32 = 1u;
const HANSEL_F16: u32 = 2u;

// As in struct hansel_blob.
struct Lossless {
    dtype: u32,
    window_base: u32,
    raw_bits: u32,
    sign: u32, // 0: the lowest raw bit; 1: all weights are positive, 2: negative
}

// The highest bits of a weight, which its symbol stands for.
fn field_of(symbol: u32, lossless: Lossless) -> u32 {
    return select(lossless.window_base + symbol, 0u, symbol == 0u);
}

// A weight's own bits, from its symbol and its raw bits.
fn join_bits(symbol: u32, low: u32, lossless: Lossless) -> u32 {
    let w = (field_of(symbol, lossless) << lossless.raw_bits) | low;
    let top = select(0x8000u, 0x80000000u, lossless.dtype == HANSEL_F32);
    if (lossless.sign == 0u) {
        return (w >> 1u) | select(0u, top, (w & 1u) == 1u);
    }
    return w | select(0u, top, lossless.sign == 2u);
}

// A weight's own bits as those of binary32.
fn float_bits(bits: u32, dtype: u32) -> u32 {
    if (dtype == HANSEL_F32) {
        return bits;
    }
    if (dtype == HANSEL_F16) {
        return float_from_half(bits);
    }
    return bits << 16u;
}
