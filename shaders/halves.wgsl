// halves.wgsl - binary16 to binary32. Goes before widen.wgsl, and before lossless.wgsl.

// Bits of the same number. unpack2x16float() may flush subnormals; here they are small integers
// times 2^-24, which is a normal number, and the others, NaN and infinity too, are moved as bits.
fn float_from_half(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let rest = half & 0x7FFFu;
    if (rest < 0x0400u) {
        return sign | bitcast<u32>(f32(rest) * (1.0 / 16777216.0));
    }
    return sign | ((rest << 13u) + select(0x38000000u, 0x70000000u, rest >= 0x7C00u));
}
