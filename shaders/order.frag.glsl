// order.frag.glsl - puts what decode.frag.glsl leaves into rows. One fragment writes four quads of
// columns, which are four steps unless symbols are folded.
//
// src holds four steps of stream i of the band at (i mod 2^grid_log2, i >> grid_log2): those from
// local step 4 * k on in layer k mod layers, k / layers blocks of block_rows further down. dst is
// an array, four quads to a texel, the tensor's quads in order. Goes after texels.glsl.

#ifndef ALIGNED
#define ALIGNED 0 // 1: all streams begin and end at multiples of four steps; not if folded
#endif
#ifndef WEIGHTS_PER_SYMBOL
#define WEIGHTS_PER_SYMBOL 1 // 1, 2 or 4
#endif

const uint HANSEL_LANES = 4u;
const uint HANSEL_SYMBOL_BITS = 8u;
const uint weights_per_symbol = uint(WEIGHTS_PER_SYMBOL);

struct Order {
    uint first_texel;     // of the band, in dst
    uint end_texel;
    uint dst_start;       // what dst[0].x is, in quads from the tensor's first
    uint end_quad;        // of the band
    uint columns;
    uint origin;
    uint row_steps;       // of a row: as many as quads, or fewer where symbols are folded
    uint pieces;
    uint rows_per_stream;
    uint first_stream;    // of the band
    uint grid_log2;
    uint layers;
    uint block_rows;
};

uniform Order order;
uniform usampler2DArray src;

layout(location = 0) out uvec4 dst;

// Stream of a row's step, step in the stream, and the stream's steps (of whole rows: those to the
// end of the last).
uvec3 find_step(uint row, uint column) {
    if (order.pieces <= 1u) {
        uint stream = row / order.rows_per_stream;
        uint step_count = order.rows_per_stream * order.row_steps;
        return uvec3(stream, (row - stream * order.rows_per_stream) * order.row_steps + column,
            step_count);
    }
    uint even = order.row_steps / order.pieces;
    uint extra = order.row_steps - even * order.pieces; // so many pieces have a step more
    uint middle = extra * (even + 1u);
    bool is_long = column < middle;
    uint step_count = is_long ? even + 1u : even;
    uint from = is_long ? column : column - middle;
    uint piece = from / step_count;
    return uvec3(row * order.pieces + piece + (is_long ? 0u : extra), from - piece * step_count,
        step_count);
}

uvec4 load_texel(uint stream, uint k) {
    uint i = stream - order.first_stream;
    uint x = i & ((1u << order.grid_log2) - 1u);
    uint y = i >> order.grid_log2;
    if (k >= order.layers) {
        y += k / order.layers * order.block_rows;
        k %= order.layers;
    }
    return texelFetch(src, ivec3(x, y, k), 0);
}

// Field k of four folded symbols: four weights as bytes. src/internal.h.
uint unfold(uint symbols, uint k) {
    uint bits = HANSEL_SYMBOL_BITS / weights_per_symbol;
    uint fields = (symbols >> (k * bits)) & (((1u << bits) - 1u) * 0x01010101u);
    return (fields + (order.origin & 127u) * 0x01010101u) ^ ((order.origin & 128u) * 0x01010101u);
}

// The quad's bytes, but 0 beyond the last column.
uint last_cut(uint bytes, uint quad) {
    uint count = min(order.columns - HANSEL_LANES * quad, HANSEL_LANES);
    return bytes & (0xFFFFFFFFu >> (8u * (HANSEL_LANES - count)));
}

// Four bytes of the decoded matrix.
uint load_quad(uint at) {
    uint row_quads = (order.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    uint row = at / row_quads;
    uint quad = at - row * row_quads;
    uvec3 found = find_step(row, quad / weights_per_symbol);
    uint symbols = load_texel(found.x, found.y >> 2)[found.y & 3u];
    return weights_per_symbol == 1u ? symbols
        : last_cut(unfold(symbols, quad % weights_per_symbol), quad);
}

void main() {
    uint i = fragment_texel();
    if (i < order.first_texel || i >= order.end_texel) {
        discard;
        return;
    }
    uint at = order.dst_start + 4u * i;
    uvec4 texel = uvec4(0u);
    bool is_whole = false;
    if (weights_per_symbol == 1u) {
        uint row = at / order.row_steps;
        uvec3 found = find_step(row, at - row * order.row_steps);
        texel = load_texel(found.x, found.y >> 2);
#if !ALIGNED
        uint shift = found.y & 3u;
        is_whole = found.y + 4u <= found.z && at + 4u <= order.end_quad;
        // Loops that run once or never: a software renderer goes both ways at an if.
        for (bool todo = is_whole && shift != 0u; todo; todo = false) {
            uvec4 high = load_texel(found.x, (found.y >> 2) + 1u);
            texel = shift == 1u ? uvec4(texel.yzw, high.x)
                : shift == 2u ? uvec4(texel.zw, high.xy) : uvec4(texel.w, high.xyz);
        }
#endif
    }
#if !ALIGNED
    for (uint n = is_whole ? 4u : 0u; n < 4u; n++) {
        texel = uvec4(texel.yzw, at + n < order.end_quad ? load_quad(at + n) : 0u);
    }
#endif
    dst = texel;
}
