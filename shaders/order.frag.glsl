#version 300 es
// order.frag.glsl - puts what decode.frag.glsl leaves into rows. One fragment writes four steps.
//
// src holds four steps of stream i of the band at (i mod 2^grid_log2, i >> grid_log2): those from
// local step 4 * k on in layer k mod layers, k / layers blocks of block_rows further down. dst is
// an array in rows of 2^WIDTH_LOG2 texels, four steps to a texel, the tensor's steps in order.

precision highp int;
precision highp usampler2DArray;

#ifndef ALIGNED
#define ALIGNED 0 // 1: all streams begin and end at multiples of four steps
#endif
#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif

struct Order {
    uint first_texel;     // of the band, in dst
    uint end_texel;
    uint dst_start;       // what dst[0].x is, in steps from the tensor's first
    uint end_step;        // of the band
    uint row_steps;
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

// Stream of a step of the tensor, step in the stream, and the stream's steps (of whole rows: those
// to the end of the last).
uvec3 find_step(uint at) {
    uint row = at / order.row_steps;
    if (order.pieces <= 1u) {
        uint stream = row / order.rows_per_stream;
        uint step_count = order.rows_per_stream * order.row_steps;
        return uvec3(stream, at - stream * step_count, step_count);
    }
    uint column = at - row * order.row_steps;
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

void main() {
    uint i = (uint(gl_FragCoord.y) << WIDTH_LOG2) + uint(gl_FragCoord.x);
    if (i < order.first_texel || i >= order.end_texel) {
        discard;
    }
    uint at = order.dst_start + 4u * i;
    uvec3 found = find_step(at);
    uvec4 texel = load_texel(found.x, found.y >> 2);
#if !ALIGNED
    uint shift = found.y & 3u;
    bool is_whole = found.y + 4u <= found.z && at + 4u <= order.end_step;
    // Loops that run once or never: a software renderer goes both ways at an if.
    for (bool todo = is_whole && shift != 0u; todo; todo = false) {
        uvec4 high = load_texel(found.x, (found.y >> 2) + 1u);
        texel = shift == 1u ? uvec4(texel.yzw, high.x)
            : shift == 2u ? uvec4(texel.zw, high.xy) : uvec4(texel.w, high.xyz);
    }
    for (uint n = is_whole ? 4u : 0u; n < 4u; n++) {
        uint symbols = 0u;
        if (at + n < order.end_step) {
            found = find_step(at + n);
            symbols = load_texel(found.x, found.y >> 2)[found.y & 3u];
        }
        texel = uvec4(texel.yzw, symbols);
    }
#endif
    dst = texel;
}
