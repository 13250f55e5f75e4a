// lossless.glsl - mirrors lossless.wgsl: puts the weights of lossless tensors together. Goes after
// texels.glsl and halves.glsl, and before values.frag.glsl or matvec.frag.glsl.

const uint HANSEL_F32 = 1u;
const uint HANSEL_F16 = 2u;

uniform usampler2D raw; // the raw plane, eight bytes to a texel

uint raw_byte(uint index) {
    uint four = texelFetch(raw, texel_place(index >> 3), 0)[(index >> 2) & 1u];
    return (four >> ((index & 3u) * 8u)) & 255u;
}

// A weight's own bits, from its symbol and from its raw bytes, which begin at byte `index`: rotated
// left by one, the symbol is the highest byte.
uint join(uint symbol, uint index, uint dtype) {
    if (dtype == HANSEL_F32) {
        uint w = symbol << 24 | raw_byte(index + 2u) << 16 | raw_byte(index + 1u) << 8 |
            raw_byte(index);
        return w >> 1 | w << 31;
    }
    uint w = symbol << 8 | raw_byte(index);
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
