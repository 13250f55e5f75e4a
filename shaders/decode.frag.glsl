// decode.frag.glsl - mirrors decode.wgsl: decodes a matrix, a stream to a fragment. Goes after
// texels.glsl and decode_stream.glsl.
//
// A fragment cannot write where it likes, nor much at once: so a stream is decoded in passes of
// 4 * (ATTACHMENTS - 2) steps, and state and cursor wait in textures from one pass to the next.
// dst0.. receive four steps each, a step to a u32, the symbols as bytes, lowest first; bytes beyond
// the last column are 0. order.frag.glsl puts them into rows, and makes weights of folded symbols.
// A stream that breaks a rule of the format gets HANSEL_FAULT for its cursor and keeps it; what it
// decodes to is undefined.

#ifndef ATTACHMENTS
#define ATTACHMENTS 4 // 4 or 8: state, cursor, and the rest for symbols
#endif
#ifndef PLAIN
#define PLAIN 0 // 1: in this pass all steps are full ones, and none the last before a tail
#endif

const uint HANSEL_FAULT = 0xFFFFFFFFu;

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
        return;
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
