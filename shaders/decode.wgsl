// decode.wgsl - mirrors src/decode.c, name for name: one invocation decodes one stream.
// FORMAT.md section 4; the reason behind each step is told there and in decode.c.
//
// dst receives the symbols as bytes, four to a u32, lowest byte first, a step to a u32: row r,
// column c of the matrix is byte c % 4 of dst[r * row_steps + c / 4 - dst_start]. Bytes beyond the
// last column are 0. faults[0] becomes the lowest stream that breaks a rule of the format.

const HANSEL_LANES: u32 = 4u;
const HANSEL_WORD_BITS: u32 = 16u;
const HANSEL_STATE_LOW: u32 = 65536u;
const HANSEL_STATE_WORDS: u32 = 8u;
const HANSEL_SYMBOL_SHIFT: u32 = 24u;
const HANSEL_BIAS_SHIFT: u32 = 12u;
const HANSEL_FIELD_MASK: u32 = 4095u;

override slot_bits: u32 = 12u;
override slot_count: u32 = 4096u; // 1 << slot_bits
override group_size: u32 = 64u;

struct Blob {
    first_stream: u32,    // of this part of the tensor
    stream_count: u32,
    group_columns: u32,   // workgroups in a row of the dispatch
    dst_start: u32,       // what dst[0] is, in steps from the tensor's first
    rows: u32,
    columns: u32,
    pieces: u32,
    rows_per_stream: u32,
    origin: u32,
    alphabet_size: u32,
    tail_bits: u32,
    tail_steps: u32,
}

@group(0) @binding(0) var<uniform> blob: Blob;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read> cursors: array<u32>; // stream_count + 1
@group(0) @binding(3) var<storage, read> slots: array<u32>;
@group(0) @binding(4) var<storage, read_write> dst: array<u32>;
@group(0) @binding(5) var<storage, read_write> faults: array<atomic<u32>>;

var<workgroup> table: array<u32, slot_count>;

// All that changes while a stream is decoded.
struct Decoder {
    state: vec4<u32>,
    cursor: u32,      // next word
}

fn load_word(cursor: u32) -> u32 {
    return (words[cursor >> 1u] >> ((cursor & 1u) * HANSEL_WORD_BITS)) & 0xFFFFu;
}

// One symbol of every lane, in one u32.
fn rans_step(d: ptr<function, Decoder>) -> u32 {
    let x = (*d).state;
    let slot = x & vec4(slot_count - 1u);
    let entry = vec4(table[slot.x], table[slot.y], table[slot.z], table[slot.w]);
    (*d).state = (entry & vec4(HANSEL_FIELD_MASK)) * (x >> vec4(slot_bits)) +
        ((entry >> vec4(HANSEL_BIAS_SHIFT)) & vec4(HANSEL_FIELD_MASK));
    let symbol = entry >> vec4(HANSEL_SYMBOL_SHIFT);
    return symbol.x | (symbol.y << 8u) | (symbol.z << 16u) | (symbol.w << 24u);
}

// Lanes below 2^16 take a word each, in order.
fn rans_refill(d: ptr<function, Decoder>) {
    for (var lane = 0u; lane < HANSEL_LANES; lane++) {
        if ((*d).state[lane] < HANSEL_STATE_LOW) {
            (*d).state[lane] = ((*d).state[lane] << HANSEL_WORD_BITS) | load_word((*d).cursor);
            (*d).cursor++;
        }
    }
}

// A step of the first lane_count lanes; the others rest.
fn decode_part(d: ptr<function, Decoder>, lane_count: u32) -> u32 {
    let before = *d;
    let symbols = rans_step(d);
    for (var lane = lane_count; lane < HANSEL_LANES; lane++) {
        (*d).state[lane] = before.state[lane];
    }
    rans_refill(d);
    return symbols & ((1u << (8u * lane_count)) - 1u);
}

// Four lanes, four symbols.
fn decode_step(d: ptr<function, Decoder>) -> u32 {
    let symbols = rans_step(d);
    rans_refill(d);
    return symbols;
}

fn tail_symbol(digits: ptr<function, u32>, bad: ptr<function, bool>) -> u32 {
    let index = *digits & ((1u << blob.tail_bits) - 1u);
    *digits >>= blob.tail_bits;
    *bad = *bad || index >= blob.alphabet_size;
    return (blob.origin + index) & 255u;
}

// One step of the tail.
fn tail_step(state: ptr<function, vec4<u32>>, lane_count: u32, bad: ptr<function, bool>) -> u32 {
    var symbols = 0u;
    for (var lane = 0u; lane < lane_count; lane++) {
        var digits = (*state)[lane];
        symbols |= tail_symbol(&digits, bad) << (8u * lane);
        (*state)[lane] = digits;
    }
    return symbols;
}

struct Extent {
    start: u32,        // in steps from the tensor's first
    row_count: u32,
    column_count: u32,
}

fn piece_start(piece: u32, row_steps: u32) -> u32 {
    let even = row_steps / blob.pieces;
    return piece * even + min(piece, row_steps % blob.pieces);
}

fn stream_extent(stream: u32) -> Extent {
    let row_steps = (blob.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    if (blob.pieces > 1u) {
        let piece = stream % blob.pieces;
        let start = piece_start(piece, row_steps);
        let end = min(HANSEL_LANES * piece_start(piece + 1u, row_steps), blob.columns);
        return Extent(stream / blob.pieces * row_steps + start, 1u, end - HANSEL_LANES * start);
    }
    let row = stream * blob.rows_per_stream;
    return Extent(row * row_steps, min(blob.rows - row, blob.rows_per_stream), blob.columns);
}

// False when the stream does not end as it must.
fn decode_stream(extent: Extent, begin: u32, end: u32) -> bool {
    let row_steps = (extent.column_count + HANSEL_LANES - 1u) / HANSEL_LANES;
    let full_steps = extent.column_count / HANSEL_LANES;
    let rest = extent.column_count % HANSEL_LANES;
    let step_count = extent.row_count * row_steps;
    let tail = min(step_count, blob.tail_steps);
    var left = step_count - tail;
    var at = extent.start - blob.dst_start;
    var d: Decoder;
    for (var lane = 0u; lane < HANSEL_LANES; lane++) {
        d.state[lane] = load_word(begin + 2u * lane) |
            (load_word(begin + 2u * lane + 1u) << HANSEL_WORD_BITS);
    }
    d.cursor = begin + HANSEL_STATE_WORDS;
    var bad = any(d.state < vec4(HANSEL_STATE_LOW));
    var column = 0u; // in steps
    while (left > 0u) {
        let full = min(full_steps, left);
        let stop = at + full;
        for (; at < stop; at++) {
            dst[at] = decode_step(&d);
        }
        left -= full;
        column = full;
        if (left > 0u && rest > 0u) {
            dst[at] = decode_part(&d, rest);
            at++;
            left--;
            column++;
        }
        if (column == row_steps) {
            column = 0u;
        }
    }
    bad = bad || d.cursor != end || any(d.state < vec4(HANSEL_STATE_LOW));
    var digits = d.state - vec4(HANSEL_STATE_LOW);
    for (var k = 0u; k < tail; k++) {
        let lane_count = select(HANSEL_LANES, rest, column == full_steps);
        dst[at] = tail_step(&digits, lane_count, &bad);
        at++;
        column = select(column + 1u, 0u, column + 1u == row_steps);
    }
    return !bad && all(digits == vec4(0u));
}

@compute @workgroup_size(group_size)
fn decode_streams(@builtin(workgroup_id) group: vec3<u32>,
                  @builtin(local_invocation_index) invocation: u32) {
    for (var slot = invocation; slot < slot_count; slot += group_size) {
        table[slot] = slots[slot];
    }
    workgroupBarrier();
    let i = (group.y * blob.group_columns + group.x) * group_size + invocation;
    if (i >= blob.stream_count) {
        return;
    }
    let stream = blob.first_stream + i;
    if (!decode_stream(stream_extent(stream), cursors[i], cursors[i + 1u])) {
        atomicMin(&faults[0], stream);
    }
}
