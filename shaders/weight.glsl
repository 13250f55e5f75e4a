// weight.glsl - reads a decoded matrix, for shaders of your own. Put this file after your #version
// line, and bind the texture of a loaded matrix (w.texture, RGBA32UI, NEAREST) to a usampler2D:
//
//     uint symbols = hansel_load(src, hansel_index(row, column, columns));
//     float weight = hansel_weight(symbols, column, grid_step);

precision highp int;
precision highp float;
precision highp usampler2D;

// The texture is an array in rows of 2^WIDTH_LOG2 texels; smaller only if webgl() was told a
// textureSize below 2048.
#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif

// Where a quad of symbols lies: rows are padded to four columns.
uint hansel_index(uint row, uint column, uint columns) {
    return row * ((columns + 3u) / 4u) + column / 4u;
}

// A quad of symbols: a component of a texel. The texel itself holds the quads from
// 4 * (index / 4) on.
uint hansel_load(usampler2D src, uint index) {
    uint texel = index >> 2;
    ivec2 place = ivec2(texel & ((1u << WIDTH_LOG2) - 1u), texel >> WIDTH_LOG2);
    return texelFetch(src, place, 0)[index & 3u];
}

// Grid index of a column, from -128 to 127.
int hansel_symbol(uint quad_symbols, uint column) {
    return int(quad_symbols << (24u - 8u * (column & 3u))) >> 24;
}

// The weight: grid step times grid index.
float hansel_weight(uint quad_symbols, uint column, float grid_step) {
    return grid_step * float(hansel_symbol(quad_symbols, column));
}
