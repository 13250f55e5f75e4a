#version 300 es
// matvec.frag.glsl - mirrors matvec.wgsl: y = W x with W still coded. One fragment decodes one
// stream, uses each weight for all vectors of a tile, and forgets it. The decoder is
// decode.frag.glsl's, word for word between the lines of dashes; the reference for the sums is
// src/matvec.c.
//
// A fragment writes 4 * TEXELS sums: row j of its stream and vector v of the tile go to component
// (j * TILE + v) mod 4 of dst(j * TILE + v) / 4. Streams that have more rows than that, or that are
// too long for one draw, are decoded in passes, and state and cursor wait in textures from one pass
// to the next (IS_SPLIT). reduce.frag.glsl adds up, scales, and puts rows in order.
//
// Textures are read as arrays, in rows of 2^WIDTH_LOG2 texels.

precision highp int;
precision highp float;
precision highp usampler2D;

#ifndef WEIGHTS_PER_SYMBOL
#define WEIGHTS_PER_SYMBOL 1 // 1, 2 or 4
#endif
#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif
#ifndef TABLE_BLOCK
#define TABLE_BLOCK 0 // where the table lies: 0 a texture, 1 a uniform block of 64 KiB
#endif
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

// ------------------------------------------------------------------------------------------------

const uint HANSEL_LANES = 4u;
const uint HANSEL_WORD_BITS = 16u;
const uint HANSEL_STATE_LOW = 65536u;
const uint HANSEL_STATE_WORDS = 8u;
const uint HANSEL_SYMBOL_BITS = 8u;
const uint weights_per_symbol = uint(WEIGHTS_PER_SYMBOL);
const uint HANSEL_SYMBOL_SHIFT = 12u;
const uint HANSEL_BIAS_SHIFT = 20u;
const uint HANSEL_FIELD_MASK = 4095u;
const uint HANSEL_FAULT = 0xFFFFFFFFu;

struct Blob {
    uint first_stream; // of this part of the tensor
    uint rows;
    uint columns;
    uint pieces;
    uint rows_per_stream;
    uint slot_bits;
    uint origin;
    uint alphabet_size;
    uint tail_bits;
    uint tail_steps;
};

uniform Blob blob;
uniform usampler2D words;   // four to a texel
uniform usampler2D cursors; // of the part's streams, and where the last ends
#if TABLE_BLOCK
layout(std140) uniform Slots {
    uvec4 slots[4096]; // the first components
};
#else
uniform usampler2D slots;
#endif

// All that changes while a stream is decoded.
uvec4 state;   // in the tail: digits
uint cursor;   // next word
uvec2 here;    // the four words it is among
uvec2 there;   // and the next four
bool is_bad;

ivec2 texel_place(uint index) {
    return ivec2(index & ((1u << WIDTH_LOG2) - 1u), index >> WIDTH_LOG2);
}

uvec2 load_words(uint texel) {
    return texelFetch(words, texel_place(texel), 0).xy;
}

uint load_word(uint index) {
    uint pair = load_words(index >> 2)[(index >> 1) & 1u];
    return (pair >> ((index & 1u) * HANSEL_WORD_BITS)) & 0xFFFFu;
}

// Texture units gather for a GPU. On a CPU each fetch is a call, and a block is plain memory.
uint load_slot(uint slot) {
#if TABLE_BLOCK
    return slots[slot].x;
#else
    return texelFetch(slots, texel_place(slot), 0).x;
#endif
}

// The initial states, two words each.
void load_states() {
    for (uint lane = 0u; lane < HANSEL_LANES; lane++) {
        state = uvec4(state.yzw, load_word(cursor) | load_word(cursor + 1u) << HANSEL_WORD_BITS);
        cursor += HANSEL_STATE_WORDS / HANSEL_LANES;
    }
    is_bad = any(lessThan(state, uvec4(HANSEL_STATE_LOW)));
}

// The words around the cursor.
void load_window() {
    here = load_words(cursor >> 2);
    there = load_words((cursor >> 2) + 1u);
}

// One symbol of every lane. Returns the table entries.
uvec4 rans_step() {
    uvec4 slot = state & ((1u << blob.slot_bits) - 1u);
    uvec4 entry = uvec4(load_slot(slot.x), load_slot(slot.y), load_slot(slot.z), load_slot(slot.w));
    state = (entry & HANSEL_FIELD_MASK) * (state >> blob.slot_bits) + (entry >> HANSEL_BIAS_SHIFT);
    return entry;
}

// Lanes below 2^16 take a word each, in order; only those of the mask `live`. The simple form is
//
//     for each lane:  if (x < 2^16) x = x << 16 | load_word(cursor++)
//
// Here the words are at hand, those that may follow are loaded while the next slots are looked up,
// and each lane that takes the first word moves the others up. Conditions are masks, 0 or all ones:
// at an if, fragments would go both ways.
void rans_refill(uvec4 live) {
    uvec4 need = (0u - uvec4(lessThan(state, uvec4(HANSEL_STATE_LOW)))) & live;
    uint is_odd = 0u - (cursor & 1u);
    uint is_high = 0u - ((cursor >> 1) & 1u);
    uvec3 pair = uvec3(here, there.x);
    pair ^= (pair ^ uvec3(here.y, there)) & is_high;
    uvec4 word = uvec4(pair.x & 0xFFFFu, pair.x >> 16, pair.y & 0xFFFFu, pair.y >> 16);
    word ^= (word ^ uvec4(word.yzw, pair.z & 0xFFFFu)) & is_odd;
    uvec3 word_y = word.xyz ^ ((word.xyz ^ word.yzw) & need.x);
    uvec2 word_z = word_y.xy ^ ((word_y.xy ^ word_y.yz) & need.y);
    uint word_w = word_z.x ^ ((word_z.x ^ word_z.y) & need.z);
    state = state * ((need & 0xFFFFu) + 1u) + (uvec4(word.x, word_y.x, word_z.x, word_w) & need);
    uint count = 0u - (need.x + need.y + need.z + need.w);
    uint is_past = 0u - (((cursor & 3u) + count) >> 2);
    here ^= (here ^ there) & is_past;
    cursor += count;
    there = load_words((cursor >> 2) + 1u);
}

// A step of the first lane_count lanes; the others rest.
uvec4 decode_part(uint lane_count) {
    uvec4 before = state;
    uvec4 live = 0u - uvec4(lessThan(uvec4(0, 1, 2, 3), uvec4(lane_count)));
    uvec4 entry = rans_step();
    state = before ^ ((before ^ state) & live);
    rans_refill(live);
    return entry & live;
}

// Four lanes, four symbols.
uvec4 decode_step() {
    uvec4 entry = rans_step();
    rans_refill(uvec4(0xFFFFFFFFu));
    return entry;
}

// One digit of a final state, as a table entry would have it.
uint tail_symbol(uint digits) {
    uint index = digits & ((1u << blob.tail_bits) - 1u);
    uint origin = weights_per_symbol > 1u ? 0u : blob.origin;
    return ((origin + index) & 255u) << HANSEL_SYMBOL_SHIFT;
}

// One step of the tail.
uvec4 tail_step(uint lane_count) {
    uvec4 live = uvec4(lessThan(uvec4(0, 1, 2, 3), uvec4(lane_count)));
    uvec4 index = state & ((1u << blob.tail_bits) - 1u);
    is_bad = is_bad || any(greaterThanEqual(index * live, uvec4(blob.alphabet_size)));
    uvec4 entry = uvec4(tail_symbol(state.x), tail_symbol(state.y), tail_symbol(state.z),
        tail_symbol(state.w));
    state >>= live * blob.tail_bits;
    return entry * live;
}

struct Extent {
    uint row;          // first
    uint row_count;
    uint column_step;  // first, in steps
    uint column_count;
};

// Columns of a step: a symbol for each lane.
const uint step_columns = HANSEL_LANES * weights_per_symbol;

uint piece_start(uint piece, uint row_steps) {
    uint even = row_steps / blob.pieces;
    return piece * even + min(piece, row_steps % blob.pieces);
}

Extent stream_extent(uint stream) {
    if (blob.pieces > 1u) {
        uint row_steps = (blob.columns + step_columns - 1u) / step_columns;
        uint piece = stream % blob.pieces;
        uint start = piece_start(piece, row_steps);
        uint end = min(step_columns * piece_start(piece + 1u, row_steps), blob.columns);
        return Extent(stream / blob.pieces, 1u, start, end - step_columns * start);
    }
    uint row = stream * blob.rows_per_stream;
    return Extent(row, min(blob.rows - row, blob.rows_per_stream), 0u, blob.columns);
}

// ------------------------------------------------------------------------------------------------

const uint HANSEL_F32 = 1u;
const uint HANSEL_F16 = 2u;

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
    uint x_start;    // of the tile's first vector, in steps
    uint x_stride;   // from vector to vector, in steps
    uint last;       // vector of the tile
    uint dtype;
    uint raw_start;  // byte of raw where weight raw_weight's bytes begin
    uint raw_weight;
    uint raw_bytes;
};

uniform Grid grid;
uniform Product product;
uniform usampler2D x; // a step to a texel: bits of binary32, or integers
#if KIND == 2
uniform usampler2D raw;
#endif

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
ivec4 sum[TILE];
#else
vec4 sum[TILE];
#endif

#if KIND == 2
uint raw_byte(uint index) {
    uint four = texelFetch(raw, texel_place(index >> 3), 0)[(index >> 2) & 1u];
    return (four >> ((index & 3u) * 8u)) & 255u;
}

float float_from_half(uint half_bits) {
    float sign = (half_bits & 0x8000u) != 0u ? -1.0 : 1.0;
    uint rest = half_bits & 0x7FFFu;
    if (rest < 0x0400u) {
        return sign * float(rest) * (1.0 / 16777216.0);
    }
    uint high = rest >= 0x7C00u ? 0x70000000u : 0x38000000u; // infinity and NaN stay so
    return sign * uintBitsToFloat((rest << 13) + high);
}

// A lossless weight: src/values.c, hansel_join.
float join(uint symbol, uint weight) {
    uint index = product.raw_start + (weight - product.raw_weight) * product.raw_bytes;
    if (product.dtype == HANSEL_F32) {
        uint w = symbol << 24 | raw_byte(index + 2u) << 16 | raw_byte(index + 1u) << 8 |
            raw_byte(index);
        return uintBitsToFloat(w >> 1 | w << 31);
    }
    uint w = symbol << 8 | raw_byte(index);
    uint bits = w >> 1 | ((w << 15) & 0x8000u);
    if (product.dtype == HANSEL_F16) {
        return float_from_half(bits);
    }
    return uintBitsToFloat(bits << 16);
}

vec4 step_weights(uvec4 entry, uint row, uint column_step) {
    uint column = column_step * HANSEL_LANES;
    uint weight = row * blob.columns + column;
    vec4 weights = vec4(0.0);
    for (uint lane = 0u; lane < HANSEL_LANES; lane++) {
        uint symbol = (entry.x >> HANSEL_SYMBOL_SHIFT) & 255u;
        entry = entry.yzwx;
        weights = vec4(weights.yzw,
            column + lane < blob.columns ? join(symbol, weight + lane) : 0.0);
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
        sums[k >> 2][k & 3u] = end_row(0);
#endif
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
