// lossless.wgsl - puts weights of lossless tensors together: mirrors hansel_join of src/values.c.
// FORMAT.md section 6. Goes after halves.wgsl, and before values.wgsl or matvec.wgsl, which bind
// the raw plane as raw: array<u32>.

const HANSEL_F32: u32 = 1u;
const HANSEL_F16: u32 = 2u;

fn raw_byte(index: u32) -> u32 {
    return (raw[index >> 2u] >> ((index & 3u) * 8u)) & 255u;
}

// A weight's own bits, from its symbol and from its raw bytes, which begin at byte `index`: rotated
// left by one, the symbol is the highest byte.
fn join(symbol: u32, index: u32, dtype: u32) -> u32 {
    if (dtype == HANSEL_F32) {
        let w = (symbol << 24u) | (raw_byte(index + 2u) << 16u) | (raw_byte(index + 1u) << 8u) |
            raw_byte(index);
        return (w >> 1u) | (w << 31u);
    }
    let w = (symbol << 8u) | raw_byte(index);
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
