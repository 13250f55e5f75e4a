// matvec.frag.glsl - mirrors matvec.wgsl: y = W x with W still coded. One fragment decodes one
// stream, uses each weight for all vectors of a tile, and forgets it. The reference for the sums is
// src/matvec.c. Goes after lossless.glsl and decode_stream.glsl.
//
// A fragment writes 4 * TEXELS sums: row j of its stream and vector v of the tile go to component
// (j * TILE + v) mod 4 of dst(j * TILE + v) / 4. Streams that have more rows than that, or that are
// too long for one draw, are decoded in passes, and state and cursor wait in textures from one pass
// to the next (IS_SPLIT). reduce.frag.glsl adds up, scales, and puts rows in order. Where a stream does not
// end as it must the pass's sums are NaN, or for integers what no sum can be.

#ifndef KIND
#define KIND 0 // 0 grid indices times binary32, 1 indices times integers, 2 lossless weights
#endif
#ifndef TILE
#define TILE 1 // vectors at a time: 1 or 4
#endif
#ifndef TEXELS
#define TEXELS 1 // 1, 2, 4 or 8; 2 or 6 if IS_SPLIT
#endif
#ifndef IS_SPLIT
#define IS_SPLIT 0
#endif

// Stream i of the tensor lies at (i mod 2^grid_log2, i >> grid_log2).
struct Grid {
    uint end;        // stream after the part's last
    uint log2;
    uint first_row;  // of the streams, in this pass
    uint row_end;
    uint first_step; // of those rows
    uint step_end;
    uint src_row;    // where the last pass left states and cursors, in texels
    uint dst_row;    // where this one does
};

struct Product {
    uint x_start;    // of the tile's first vector, in quads
    uint x_stride;   // from vector to vector, in quads
    uint last;       // vector of the tile
    uint raw_start;  // byte of raw where weight raw_weight's bytes begin
    uint raw_weight;
    uint raw_bytes;
};

uniform Grid grid;
uniform Product product;
uniform usampler2D x; // a quad to a texel: bits of binary32, or integers

layout(location = 0) out uvec4 dst0;
#if TEXELS > 1
layout(location = 1) out uvec4 dst1;
#endif
#if TEXELS > 2
layout(location = 2) out uvec4 dst2;
layout(location = 3) out uvec4 dst3;
#endif
#if TEXELS > 4
layout(location = 4) out uvec4 dst4;
layout(location = 5) out uvec4 dst5;
#endif
#if TEXELS > 6
layout(location = 6) out uvec4 dst6;
layout(location = 7) out uvec4 dst7;
#endif
#if IS_SPLIT
uniform usampler2D src_state;
uniform usampler2D src_cursor;
#if TEXELS == 2
layout(location = 2) out uvec4 dst_state;
layout(location = 3) out uint dst_cursor;
#else
layout(location = 6) out uvec4 dst_state;
layout(location = 7) out uint dst_cursor;
#endif
#endif

#if KIND == 1
const uint SPOILT = 0x80000000u; // SPOILT_I8 of reduce.frag.glsl
ivec4 sum[TILE];
#else
const uint SPOILT = 0x7FC00000u; // NaN
vec4 sum[TILE];
#endif

#if KIND == 2
float lossless_weight(uint symbol, uint weight) {
    uint index = product.raw_start + (weight - product.raw_weight) * product.raw_bytes;
    return uintBitsToFloat(float_bits(join(symbol, index)));
}

vec4 step_weights(uvec4 entry, uint row, uint column_step) {
    uint column = column_step * HANSEL_LANES;
    uint weight = row * blob.columns + column;
    vec4 weights = vec4(0.0);
    for (uint lane = 0u; lane < HANSEL_LANES; lane++) {
        uint symbol = (entry.x >> HANSEL_SYMBOL_SHIFT) & 255u;
        entry = entry.yzwx;
        weights = vec4(weights.yzw,
            column + lane < blob.columns ? lossless_weight(symbol, weight + lane) : 0.0);
    }
    return weights;
}
#elif KIND == 1
// Grid indices.
ivec4 step_weights(uvec4 entry, uint row, uint column_step) {
    return ivec4(entry << HANSEL_SYMBOL_SHIFT) >> 24;
}
#else
// With the symbol in an integer's highest byte, its sign is there; the product is exact.
vec4 step_weights(uvec4 entry, uint row, uint column_step) {
    uvec4 high = (entry << HANSEL_SYMBOL_SHIFT) & 0xFF000000u;
    return vec4(ivec4(high)) * (1.0 / 16777216.0);
}
#endif

#if KIND == 1
ivec4 load_x(uint index) {
    return ivec4(texelFetch(x, texel_place(index), 0));
}
#else
vec4 load_x(uint index) {
    return uintBitsToFloat(texelFetch(x, texel_place(index), 0));
}
#endif

// Field k of a step of folded symbols, as if they were symbols.
uvec4 unfold(uvec4 entry, uint k) {
    uint bits = HANSEL_SYMBOL_BITS / weights_per_symbol;
    uvec4 fields = (entry >> (HANSEL_SYMBOL_SHIFT + k * bits)) & ((1u << bits) - 1u);
    return (fields + blob.origin) << HANSEL_SYMBOL_SHIFT;
}

// Four weights of a row from their symbols; quad counts columns by fours.
void add(uvec4 entry, uint row, uint quad) {
    uint index = product.x_start + quad;
#if KIND == 1
    ivec4 weights = step_weights(entry, row, quad);
#else
    vec4 weights = step_weights(entry, row, quad);
#endif
    sum[0] += weights * load_x(index);
#if TILE == 4 // beyond the batch, x repeats what is there; nothing of it is kept
    sum[1] += weights * load_x(index + min(1u, product.last) * product.x_stride);
    sum[2] += weights * load_x(index + min(2u, product.last) * product.x_stride);
    sum[3] += weights * load_x(index + min(3u, product.last) * product.x_stride);
#endif
}

// A step, which may be the last of its row and have fewer quads than others.
void emit(uvec4 entry, uint row, uint column_step) {
    if (weights_per_symbol == 1u) {
        add(entry, row, column_step);
        return;
    }
    uint quad = column_step * weights_per_symbol;
    uint count = min(weights_per_symbol, (blob.columns + HANSEL_LANES - 1u) / HANSEL_LANES - quad);
    for (uint k = 0u; k < count; k++) {
        add(unfold(entry, k), row, quad + k);
    }
}

// A full step. No loop: software renderers would not unroll it.
void emit_full(uvec4 entry, uint row, uint column_step) {
    if (weights_per_symbol == 1u) {
        add(entry, row, column_step);
        return;
    }
    uint quad = column_step * weights_per_symbol;
    add(unfold(entry, 0u), row, quad);
    add(unfold(entry, 1u), row, quad + 1u);
    if (weights_per_symbol == 4u) {
        add(unfold(entry, 2u), row, quad + 2u);
        add(unfold(entry, 3u), row, quad + 3u);
    }
}

// The sum of vector v of the tile, as bits. Clears it.
uint end_row(int v) {
#if KIND == 1
    ivec4 s = sum[v];
    sum[v] = ivec4(0);
    return uint((s.x + s.y) + (s.z + s.w));
#else
    vec4 s = sum[v];
    sum[v] = vec4(0.0);
    return floatBitsToUint((s.x + s.y) + (s.z + s.w));
#endif
}

void main() {
    uvec2 place = uvec2(gl_FragCoord.xy) - uvec2(0u, grid.dst_row);
    uint stream = (place.y << grid.log2) + place.x;
    if (stream < blob.first_stream || stream >= grid.end) {
        discard;
        return;
    }
    uint i = stream - blob.first_stream;
    Extent extent = stream_extent(stream);
    uint row_steps = (extent.column_count + step_columns - 1u) / step_columns;
    uint full_steps = extent.column_count / step_columns;
    uint rest = min(extent.column_count % step_columns, HANSEL_LANES); // lanes of the last step
    uint step_count = extent.row_count * row_steps;
    uint coded = step_count - min(step_count, blob.tail_steps); // steps before the tail
    uint done = grid.first_row * row_steps + grid.first_step;
    bool is_in_tail = false;
    for (int v = 0; v < TILE; v++) {
        end_row(v);
    }
#if IS_SPLIT
    if (done > 0u) {
        ivec2 src = ivec2(place + uvec2(0u, grid.src_row));
        state = texelFetch(src_state, src, 0);
        cursor = texelFetch(src_cursor, src, 0).x;
        is_in_tail = done >= coded;
        is_bad = false; // or an earlier pass said so
    } else
#endif
    {
        cursor = texelFetch(cursors, texel_place(i), 0).x;
        load_states();
    }
    load_window();
    uvec4 sums[TEXELS];
    for (int k = 0; k < TEXELS; k++) {
        sums[k] = uvec4(0u);
    }
    uint left = coded - min(coded, done);
    uint column_end = min(row_steps, grid.step_end);
    uint row_end = min(extent.row_count, grid.row_end);
    for (uint j = grid.first_row; j < row_end; j++) {
        uint row = extent.row + j;
        uint column = grid.first_step; // in steps
        uint coded_end = min(min(full_steps, column_end), column + left);
        left -= max(coded_end, column) - column;
        for (; column < coded_end; column++) {
            emit_full(decode_step(), row, extent.column_step + column);
        }
        if (left > 0u && column == full_steps && column < column_end) {
            emit(decode_part(rest), row, extent.column_step + column);
            column++;
            left--;
        }
        if (left == 0u && !is_in_tail) {
            is_bad = is_bad || cursor != texelFetch(cursors, texel_place(i + 1u), 0).x ||
                any(lessThan(state, uvec4(HANSEL_STATE_LOW)));
            state -= HANSEL_STATE_LOW;
            is_in_tail = true;
        }
        for (; column < column_end; column++) {
            uint lane_count = column == full_steps ? rest : HANSEL_LANES;
            emit(tail_step(lane_count), row, extent.column_step + column);
        }
        uint k = j - grid.first_row;
#if TILE == 4
        sums[k] = uvec4(end_row(0), end_row(1), end_row(2), end_row(3));
#else
        uvec4 place_of_row = 0u - uvec4(equal(uvec4(0, 1, 2, 3), uvec4(k & 3u)));
        sums[k >> 2] |= uvec4(end_row(0)) & place_of_row;
#endif
    }
    bool is_end = row_end == extent.row_count && column_end == row_steps;
    is_bad = is_bad || (is_end && any(notEqual(state, uvec4(0u))));
    if (is_bad && blob.alphabet_size > 1u) { // the streams of one symbol are made up
        for (int k = 0; k < TEXELS; k++) {
            sums[k] = uvec4(SPOILT);
        }
    }
    dst0 = sums[0];
#if TEXELS > 1
    dst1 = sums[1];
#endif
#if TEXELS > 2
    dst2 = sums[2];
    dst3 = sums[3];
#endif
#if TEXELS > 4
    dst4 = sums[4];
    dst5 = sums[5];
#endif
#if TEXELS > 6
    dst6 = sums[6];
    dst7 = sums[7];
#endif
#if IS_SPLIT
    dst_state = state;
    dst_cursor = cursor;
#endif
}
