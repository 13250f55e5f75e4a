#version 300 es
// decode.frag.glsl - mirrors src/decode.c and decode.wgsl, name for name: one fragment owns one
// stream. FORMAT.md section 4; the reason behind each step is told there and in decode.c.
//
// A fragment cannot write where it likes, nor much at once: so a stream is decoded in passes of
// 4 * HANSEL_TEXELS steps, and state and cursor wait in textures from one pass to the next. dst0..
// receive four steps each, a step to a u32, the symbols as bytes, lowest first; bytes beyond the
// last column are 0. order.frag.glsl puts them into rows. A stream that breaks a rule of the format
// keeps HANSEL_FAULT as its cursor, and decodes to zeros from then on.
//
// Textures are read as arrays, in rows of 2^WIDTH_LOG2 texels.

precision highp int;
precision highp usampler2D;

#ifndef ATTACHMENTS
#define ATTACHMENTS 4 // 4 or 8: state, cursor, and the rest for symbols
#endif
#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif

const uint HANSEL_LANES = 4u;
const uint HANSEL_WORD_BITS = 16u;
const uint HANSEL_STATE_LOW = 65536u;
const uint HANSEL_STATE_WORDS = 8u;
const uint HANSEL_SYMBOL_SHIFT = 12u;
const uint HANSEL_BIAS_SHIFT = 20u;
const uint HANSEL_FIELD_MASK = 4095u;

const int HANSEL_TEXELS = ATTACHMENTS - 2;
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

// Where fragments lie: stream band_first + y * 2^grid_log2 + x of the part, below band_end.
struct Band {
    uint first;
    uint end;
    uint grid_log2;
};

uniform Blob blob;
uniform Band band;
uniform uint first_step;  // of the streams, in this pass
uniform uint src_row;     // where the last pass left states and cursors
uniform uint dst_row;     // where this one does
uniform usampler2D words;
uniform usampler2D cursors; // of the part's streams, and where the last ends
uniform usampler2D slots;
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

// All that changes while a stream is decoded.
struct Decoder {
    uvec4 state;  // in the tail: digits
    uint cursor;  // next word
    uint at;      // next step
    uint column;  // its column, in steps
    bool bad;
};

ivec2 texel_place(uint index) {
    return ivec2(index & ((1u << WIDTH_LOG2) - 1u), index >> WIDTH_LOG2);
}

uint load_word(uint cursor) {
    uint pair = texelFetch(words, texel_place(cursor >> 1), 0).x;
    return (pair >> ((cursor & 1u) * HANSEL_WORD_BITS)) & 0xFFFFu;
}

// Four lanes, four symbols, in one u32.
uint rans_step(inout Decoder d) {
    uvec4 x = d.state;
    uvec4 slot = x & uvec4((1u << blob.slot_bits) - 1u);
    uvec4 entry = uvec4(
        texelFetch(slots, texel_place(slot.x), 0).x, texelFetch(slots, texel_place(slot.y), 0).x,
        texelFetch(slots, texel_place(slot.z), 0).x, texelFetch(slots, texel_place(slot.w), 0).x);
    d.state = (entry & HANSEL_FIELD_MASK) * (x >> blob.slot_bits) + (entry >> HANSEL_BIAS_SHIFT);
    uvec4 symbol = (entry >> HANSEL_SYMBOL_SHIFT) & 255u;
    return symbol.x | symbol.y << 8 | symbol.z << 16 | symbol.w << 24;
}

// Lanes below 2^16 take a word each, in order. The simple form is
//
//     for each lane:  if (x < 2^16) x = x << 16 | load_word(cursor++)
//
// Here the next words are loaded at once, while the table is being looked up, and each lane that
// takes the first of them moves the others up.
void rans_refill(inout Decoder d) {
    uvec4 x = d.state;
    uvec4 longer = x << HANSEL_WORD_BITS;
    bvec4 is_short = lessThan(x, uvec4(HANSEL_STATE_LOW));
    uvec4 taken = uvec4(is_short);
    uint count = taken.x + taken.y + taken.z + taken.w;
    uint low = texelFetch(words, texel_place(d.cursor >> 1), 0).x;
    uint high = texelFetch(words, texel_place((d.cursor >> 1) + 1u), 0).x;
    bool is_odd = (d.cursor & 1u) != 0u;
    uint word0 = is_odd ? low >> 16 : low & 0xFFFFu;
    uint word1 = is_odd ? high & 0xFFFFu : low >> 16;
    uint word2 = is_odd ? high >> 16 : high & 0xFFFFu;
    uint word3 = high >> 16;
    if (is_odd && count == HANSEL_LANES) {
        word3 = load_word(d.cursor + 3u);
    }
    d.state.x = is_short.x ? longer.x | word0 : x.x;
    word0 = is_short.x ? word1 : word0;
    word1 = is_short.x ? word2 : word1;
    word2 = is_short.x ? word3 : word2;
    d.state.y = is_short.y ? longer.y | word0 : x.y;
    word0 = is_short.y ? word1 : word0;
    word1 = is_short.y ? word2 : word1;
    d.state.z = is_short.z ? longer.z | word0 : x.z;
    word0 = is_short.z ? word1 : word0;
    d.state.w = is_short.w ? longer.w | word0 : x.w;
    d.cursor += count;
}

uint decode_step(inout Decoder d) {
    uint symbols = rans_step(d);
    rans_refill(d);
    return symbols;
}

// A step of the first lane_count lanes; the others rest.
uint decode_part(inout Decoder d, uint lane_count) {
    uvec4 before = d.state;
    uint symbols = rans_step(d);
    bvec4 rests = greaterThanEqual(uvec4(0, 1, 2, 3), uvec4(lane_count));
    d.state = uvec4(rests.x ? before.x : d.state.x, rests.y ? before.y : d.state.y,
        rests.z ? before.z : d.state.z, rests.w ? before.w : d.state.w);
    rans_refill(d);
    return symbols & ((1u << (8u * lane_count)) - 1u);
}

uint tail_symbol(inout uint digits, inout bool bad) {
    uint index = digits & ((1u << blob.tail_bits) - 1u);
    digits >>= blob.tail_bits;
    bad = bad || index >= blob.alphabet_size;
    return (blob.origin + index) & 255u;
}

// One step of the tail.
uint tail_step(inout uvec4 state, uint lane_count, inout bool bad) {
    uint symbols = tail_symbol(state.x, bad);
    if (lane_count > 1u) {
        symbols |= tail_symbol(state.y, bad) << 8;
    }
    if (lane_count > 2u) {
        symbols |= tail_symbol(state.z, bad) << 16;
    }
    if (lane_count > 3u) {
        symbols |= tail_symbol(state.w, bad) << 24;
    }
    return symbols;
}

struct Extent {
    uint start;        // in steps from the tensor's first
    uint row_count;
    uint column_count;
};

uint piece_start(uint piece, uint row_steps) {
    uint even = row_steps / blob.pieces;
    return piece * even + min(piece, row_steps % blob.pieces);
}

Extent stream_extent(uint stream) {
    uint row_steps = (blob.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    if (blob.pieces > 1u) {
        uint piece = stream % blob.pieces;
        uint start = piece_start(piece, row_steps);
        uint end = min(HANSEL_LANES * piece_start(piece + 1u, row_steps), blob.columns);
        return Extent(stream / blob.pieces * row_steps + start, 1u, end - HANSEL_LANES * start);
    }
    uint row = stream * blob.rows_per_stream;
    return Extent(row * row_steps, min(blob.rows - row, blob.rows_per_stream), blob.columns);
}

// What never changes while a stream is decoded.
struct Shape {
    uint row_steps;
    uint full_steps;  // of a row: those of four columns
    uint rest;        // columns in the step after them, if there is one
    uint coded;       // steps before the tail
    uint step_count;
    uint end;         // word after the stream's last
};

// Counts steps done. Where the tail begins, and where it ends, the stream is checked.
void advance(inout Decoder d, Shape shape, uint count) {
    d.at += count;
    d.column += count;
    if (d.column == shape.row_steps) {
        d.column = 0u;
    }
    if (d.at == shape.coded) {
        d.bad = d.bad || d.cursor != shape.end || any(lessThan(d.state, uvec4(HANSEL_STATE_LOW)));
        d.state -= HANSEL_STATE_LOW;
    }
    if (d.at == shape.step_count) {
        d.bad = d.bad || any(notEqual(d.state, uvec4(0u)));
    }
}

// Four steps. Most often they are full ones, and far from the tail.
uvec4 decode_texel(inout Decoder d, Shape shape) {
    uvec4 texel = uvec4(0u);
    if (d.at + 4u <= shape.coded && d.column + 4u <= shape.full_steps) {
        for (int k = 0; k < 4; k++) {
            texel = uvec4(texel.yzw, decode_step(d));
        }
        advance(d, shape, 4u);
        return texel;
    }
    for (int k = 0; k < 4; k++) {
        uint symbols = 0u;
        if (d.at < shape.step_count) {
            bool is_full = d.column < shape.full_steps;
            if (d.at >= shape.coded) {
                symbols = tail_step(d.state, is_full ? HANSEL_LANES : shape.rest, d.bad);
            } else if (is_full) {
                symbols = decode_step(d);
            } else {
                symbols = decode_part(d, shape.rest);
            }
            advance(d, shape, 1u);
        }
        texel = uvec4(texel.yzw, symbols);
    }
    return texel;
}

void main() {
    uvec2 place = uvec2(gl_FragCoord.xy) - uvec2(0u, dst_row);
    uint i = band.first + (place.y << band.grid_log2) + place.x;
    if (i >= band.end) {
        discard;
    }
    Extent extent = stream_extent(blob.first_stream + i);
    Shape shape;
    shape.row_steps = (extent.column_count + HANSEL_LANES - 1u) / HANSEL_LANES;
    shape.full_steps = extent.column_count / HANSEL_LANES;
    shape.rest = extent.column_count % HANSEL_LANES;
    shape.step_count = extent.row_count * shape.row_steps;
    shape.coded = shape.step_count - min(shape.step_count, blob.tail_steps);
    shape.end = texelFetch(cursors, texel_place(i + 1u), 0).x;
    Decoder d = Decoder(uvec4(0u), 0u, first_step, first_step % shape.row_steps, false);
    if (first_step == 0u) {
        d.cursor = texelFetch(cursors, texel_place(i), 0).x;
        for (int lane = 0; lane < int(HANSEL_LANES); lane++) {
            d.state = uvec4(d.state.yzw,
                load_word(d.cursor) | load_word(d.cursor + 1u) << HANSEL_WORD_BITS);
            d.cursor += HANSEL_STATE_WORDS / HANSEL_LANES;
        }
        d.bad = any(lessThan(d.state, uvec4(HANSEL_STATE_LOW)));
        advance(d, shape, 0u);
    } else {
        ivec2 src = ivec2(place + uvec2(0u, src_row));
        d.state = texelFetch(src_state, src, 0);
        d.cursor = texelFetch(src_cursor, src, 0).x;
    }
    if (d.cursor == HANSEL_FAULT) {
        shape.step_count = 0u;
        shape.coded = 0u;
    }
    for (int k = 0; k < HANSEL_TEXELS; k++) {
        uvec4 texel = decode_texel(d, shape);
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
    dst_state = d.state;
    dst_cursor = d.bad ? HANSEL_FAULT : d.cursor;
}
