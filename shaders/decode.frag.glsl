#version 300 es
// decode.frag.glsl - mirrors src/decode.c and decode.wgsl, name for name: one fragment owns one
// stream. FORMAT.md section 4; the reason behind each step is told there and in decode.c.
//
// A fragment cannot write where it likes, nor much at once: so a stream is decoded in passes of
// 4 * (ATTACHMENTS - 2) steps, and state and cursor wait in textures from one pass to the next.
// dst0.. receive four steps each, a step to a u32, the symbols as bytes, lowest first; bytes beyond
// the last column are 0. order.frag.glsl puts them into rows, and makes weights of folded symbols.
// A stream that breaks a rule of the format gets HANSEL_FAULT for its cursor and keeps it; what it
// decodes to is undefined.
//
// words, cursors and slots are arrays, in rows of 2^WIDTH_LOG2 texels.

precision highp int;
precision highp usampler2D;

#ifndef ATTACHMENTS
#define ATTACHMENTS 4 // 4 or 8: state, cursor, and the rest for symbols
#endif
#ifndef PLAIN
#define PLAIN 0 // 1: in this pass all steps are full ones, and none the last before a tail
#endif
#ifndef WEIGHTS_PER_SYMBOL
#define WEIGHTS_PER_SYMBOL 1 // 1, 2 or 4
#endif
#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif
#ifndef TABLE_BLOCK
#define TABLE_BLOCK 0 // where the table lies: 0 a texture, 1 a uniform block of 64 KiB
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

// Where fragments lie: stream first + y * 2^grid_log2 + x of the part, below end.
struct Band {
    uint first;
    uint end;
    uint grid_log2;
};

uniform Band band;
uniform uint first_step;  // of the streams, in this pass
uniform uint src_row;     // where the last pass left states and cursors
uniform uint dst_row;     // where this one does
uniform usampler2D src_state;
uniform usampler2D src_cursor;

layout(location = 0) out uvec4 dst_state;
layout(location = 1) out uint dst_cursor;
layout(location = 2) out uvec4 dst0;
layout(location = 3) out uvec4 dst1;
#if ATTACHMENTS == 8
layout(location = 4) out uvec4 dst2;
layout(location = 5) out uvec4 dst3;
layout(location = 6) out uvec4 dst4;
layout(location = 7) out uvec4 dst5;
#endif

// Where a stream is, and what it is like.
uint at;          // next step of the stream
uint column;      // and of its row
uint row_steps;
uint full_steps;  // of a row: those of step_columns columns
uint rest;        // lanes of the step after them, if there is one
uint coded_steps; // of the stream: those before the tail
uint step_count;
uint end;         // word after the stream's last

// Four table entries: their symbols as four bytes, the first lowest.
uint pack_symbols(uvec4 entry) {
    uvec4 symbol = entry & (255u << HANSEL_SYMBOL_SHIFT);
    return symbol.x >> HANSEL_SYMBOL_SHIFT | symbol.y >> 4 | symbol.z << 4 | symbol.w << 12;
}

// Begins or resumes stream i.
void load_stream(uint i, ivec2 src) {
    if (first_step == 0u) {
        cursor = texelFetch(cursors, texel_place(i), 0).x;
        load_states();
    } else {
        state = texelFetch(src_state, src, 0);
        cursor = texelFetch(src_cursor, src, 0).x;
        is_bad = cursor == HANSEL_FAULT;
    }
    load_window();
}

#if PLAIN

uvec4 decode_texel() {
    uvec4 texel = uvec4(0u);
    for (uint k = 0u; k < 4u; k++) {
        texel = uvec4(texel.yzw, pack_symbols(decode_step()));
    }
    return texel;
}

#else

// Counts steps done. Where the tail begins, and where it ends, the stream is checked.
void advance(uint count) {
    at += count;
    column += count;
    column = column == row_steps ? 0u : column;
    if (at == coded_steps) {
        is_bad = is_bad || cursor != end || any(lessThan(state, uvec4(HANSEL_STATE_LOW)));
        state -= HANSEL_STATE_LOW;
    }
    if (at == step_count) {
        is_bad = is_bad || any(notEqual(state, uvec4(0u)));
    }
}

void find_steps(uint i) {
    Extent extent = stream_extent(blob.first_stream + i);
    row_steps = (extent.column_count + step_columns - 1u) / step_columns;
    full_steps = extent.column_count / step_columns;
    rest = min(extent.column_count % step_columns, HANSEL_LANES);
    step_count = extent.row_count * row_steps;
    coded_steps = step_count - min(step_count, blob.tail_steps);
    end = texelFetch(cursors, texel_place(i + 1u), 0).x;
    at = is_bad ? step_count : min(first_step, step_count);
    column = at % row_steps;
    if (at == 0u) {
        advance(0u); // it may be all tail
    }
}

// Four steps. Most often all are full ones, and before the tail. Two loops, of which one is empty:
// a software renderer goes both ways at an if.
uvec4 decode_texel() {
    uvec4 texel = uvec4(0u);
    bool is_plain = at + 4u <= coded_steps && column + 4u <= full_steps;
    uint plain = is_plain ? 4u : 0u;
    for (uint k = 0u; k < plain; k++) {
        texel = uvec4(texel.yzw, pack_symbols(decode_step()));
    }
    if (is_plain) {
        advance(4u);
    }
    for (uint k = plain; k < 4u; k++) {
        uint lane_count = at == step_count ? 0u : column < full_steps ? HANSEL_LANES : rest;
        uvec4 entry;
        if (at < coded_steps) {
            entry = decode_part(lane_count);
        } else {
            entry = tail_step(lane_count);
        }
        texel = uvec4(texel.yzw, pack_symbols(entry));
        if (at < step_count) {
            advance(1u);
        }
    }
    return texel;
}

#endif

void main() {
    uvec2 place = uvec2(gl_FragCoord.xy) - uvec2(0u, dst_row);
    uint i = band.first + (place.y << band.grid_log2) + place.x;
    if (i >= band.end) {
        discard;
    }
    load_stream(i, ivec2(place + uvec2(0u, src_row)));
#if !PLAIN
    find_steps(i);
#endif
    for (int k = 0; k < ATTACHMENTS - 2; k++) {
        uvec4 texel = decode_texel();
        if (k == 0) {
            dst0 = texel;
        } else if (k == 1) {
            dst1 = texel;
        }
#if ATTACHMENTS == 8
        else if (k == 2) {
            dst2 = texel;
        } else if (k == 3) {
            dst3 = texel;
        } else if (k == 4) {
            dst4 = texel;
        } else {
            dst5 = texel;
        }
#endif
    }
    dst_state = state;
    dst_cursor = is_bad ? HANSEL_FAULT : cursor;
}
