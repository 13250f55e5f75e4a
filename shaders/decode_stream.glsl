// decode_stream.glsl - mirrors src/decode.c and decode_stream.wgsl, name for name: one fragment
// owns one stream. FORMAT.md section 4; the reason behind each step is told there and in decode.c.
// Goes after texels.glsl, and before decode.frag.glsl, matvec.frag.glsl, or a shader of yours.
//
// A stream begins with cursor at its first word, load_states() and load_window(); then each step is
// decode_step(), decode_part() or tail_step(), which return table entries. words, cursors and slots
// are arrays of texels.

#ifndef WEIGHTS_PER_SYMBOL
#define WEIGHTS_PER_SYMBOL 1 // 1, 2 or 4
#endif
#ifndef TABLE_BLOCK
#define TABLE_BLOCK 0 // where the table lies: 0 a texture, 1 a uniform block of 64 KiB
#endif

const uint HANSEL_LANES = 4u;
const uint HANSEL_WORD_BITS = 16u;
const uint HANSEL_STATE_LOW = 65536u;
const uint HANSEL_STATE_WORDS = 8u;
const uint HANSEL_SYMBOL_BITS = 8u;
const uint weights_per_symbol = uint(WEIGHTS_PER_SYMBOL);
const uint HANSEL_SYMBOL_SHIFT = 12u;
const uint HANSEL_BIAS_SHIFT = 20u;
const uint HANSEL_FIELD_MASK = 4095u;

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
