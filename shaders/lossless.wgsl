// lossless.wgsl - weights of lossless tensors, their raw plane in whole bytes: 3 a weight of F32,
// else 1. Goes after lossless_bits.wgsl, and before values.wgsl or matvec.wgsl, which bind the raw plane as raw:
// array<u32>.

fn raw_byte(index: u32) -> u32 {
    return (raw[index >> 2u] >> ((index & 3u) * 8u)) & 255u;
}

// A weight's own bits, from its symbol and from its raw bytes, which begin at byte `index`.
fn join(symbol: u32, index: u32, lossless: Lossless) -> u32 {
    var low = raw_byte(index);
    if (lossless.dtype == HANSEL_F32) {
        low |= (raw_byte(index + 1u) << 8u) | (raw_byte(index + 2u) << 16u);
    }
    return join_bits(symbol, low, lossless);
}
