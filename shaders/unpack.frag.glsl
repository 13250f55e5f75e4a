// unpack.frag.glsl - mirrors unpack.wgsl: weights in streams of four rows to symbols, a byte a weight,
// four to a u32, rows padded with zeros. One fragment writes the four u32s of a texel: a row's, or
// the end of a row and what follows. Goes after streams_packed.glsl, or streams_prefix.glsl and
// marks.glsl.

uniform uint quad_count; // of columns, in all rows of this part

layout(location = 0) out uvec4 dst;

// A row's bytes of a quad; 0 beyond the last column.
uint row_bytes(uint row, uint quad) {
    uvec4 b = uvec4(column_0[row], column_1[row], column_2[row], column_3[row]) & 255u;
    uint count = min(streams.columns - HANSEL_LANES * quad, HANSEL_LANES);
    return (b.x | (b.y << 8) | (b.z << 16) | (b.w << 24)) &
        (0xFFFFFFFFu >> (8u * (HANSEL_LANES - count)));
}

void main() {
    uint i = HANSEL_LANES * fragment_texel();
    if (i >= quad_count) {
        discard;
        return;
    }
    uvec4 texel = uvec4(0u);
    for (uint n = 0u; n < 4u; n++) {
        uint bytes = 0u;
        if (i + n < quad_count) {
            uint row = (i + n) / row_quads();
            uint quad = i + n - row * row_quads();
            uint local = quad % streams.run_quads;
            if (n == 0u || local == 0u) {
                seek(row / HANSEL_CODE_ROWS, quad / streams.run_quads, local);
            }
            next_quad();
            bytes = row_bytes(row % HANSEL_CODE_ROWS, quad);
        }
        texel = uvec4(texel.yzw, bytes);
    }
    dst = texel;
}
