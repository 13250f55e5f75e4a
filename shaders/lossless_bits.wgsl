// lossless_bits.wgsl - puts weights of lossless tensors together: mirrors hansel_join of src/values.c.
// FORMAT.md section 6. Goes after halves.wgsl.

const HANSEL_F32: u32 = 1u;
const HANSEL_F16: u32 = 2u;

// A weight's own bits, from its symbol and its raw bytes, the lowest first: rotated left by one, the
// symbol is the highest byte.
fn join_bits(symbol: u32, raw_bits: u32, dtype: u32) -> u32 {
    if (dtype == HANSEL_F32) {
        let w = (symbol << 24u) | raw_bits;
        return (w >> 1u) | (w << 31u);
    }
    let w = (symbol << 8u) | raw_bits;
    return (w >> 1u) | ((w << 15u) & 0x8000u);
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
