// lossless.glsl - mirrors lossless.wgsl: weights of lossless tensors, their raw plane in whole
// bytes. Goes after texels.glsl and lossless_bits.glsl, and before values.frag.glsl or matvec.frag.glsl.
// With RAW_STREAMS it goes after streams.glsl too, and the raw plane is packed in streams of four rows.

#ifndef RAW_STREAMS
#define RAW_STREAMS 0
#endif

#if RAW_STREAMS
uniform uint raw_pitch;     // bytes of a row
uniform usampler2D raw;     // sixteen bytes to a texel: four rows of four columns of bytes

uint raw_byte(uint index) {
    uint row = index / raw_pitch;
    uint column = index - row * raw_pitch;
    uint quad = row / HANSEL_CODE_ROWS;
    uint lane = quad % HANSEL_BLOCK_STREAMS;
    uint unit = (quad - lane) * ((raw_pitch + HANSEL_LANES - 1u) / HANSEL_LANES) +
        column / HANSEL_LANES * block_lanes(quad) + lane;
    uint rows = texelFetch(raw, texel_place(unit), 0)[column % HANSEL_LANES];
    return (rows >> (8u * (row % HANSEL_CODE_ROWS))) & 255u;
}
#else
uniform usampler2D raw; // the raw plane, eight bytes to a texel

uint raw_byte(uint index) {
    uint four = texelFetch(raw, texel_place(index >> 3), 0)[(index >> 2) & 1u];
    return (four >> ((index & 3u) * 8u)) & 255u;
}
#endif

// A weight's own bits, from its symbol and from its raw bytes, which begin at byte `index`.
uint join(uint symbol, uint index) {
    uint low = raw_byte(index);
    if (lossless.dtype == HANSEL_F32) {
        low |= raw_byte(index + 1u) << 8 | raw_byte(index + 2u) << 16;
    }
    return join_bits(symbol, low);
}
