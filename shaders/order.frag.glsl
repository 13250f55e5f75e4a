#version 300 es
// order.frag.glsl - puts what decode.frag.glsl leaves into rows. One fragment writes four steps.
//
// src holds four steps of stream i of the band at (i mod 2^grid_log2, i >> grid_log2): those from
// local step 4 * k on in layer k mod layers, k / layers blocks of block_rows further down. dst is
// an array in rows of 2^WIDTH_LOG2 texels, four steps to a texel, the tensor's steps in order.

precision highp int;
precision highp usampler2DArray;

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
    uint k = found.y >> 2;
    if (found.y + 4u <= found.z && at + 4u <= order.end_step) {
        uvec4 low = load_texel(found.x, k);
        uint shift = found.y & 3u;
        if (shift != 0u) {
            uvec4 high = load_texel(found.x, k + 1u);
            low = shift == 1u ? uvec4(low.yzw, high.x)
                : shift == 2u ? uvec4(low.zw, high.xy) : uvec4(low.w, high.xyz);
        }
        dst = low;
        return;
    }
    uvec4 texel = uvec4(0u);
    for (uint n = 0u; n < 4u; n++) {
        uint symbols = 0u;
        if (at + n < order.end_step) {
            found = find_step(at + n);
            symbols = load_texel(found.x, found.y >> 2)[found.y & 3u];
        }
        texel = uvec4(texel.yzw, symbols);
    }
    dst = texel;
}
