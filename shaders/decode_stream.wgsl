// decode_stream.wgsl - mirrors src/decode.c, name for name: one invocation decodes one stream.
// FORMAT.md section 4; the reason behind each step is told there and in decode.c. Goes before
// decode.wgsl, matvec.wgsl, or a shader of yours.
//
// What follows says what becomes of table entries, four to a step:
//
//     fn emit(entry: vec4<u32>, row: u32, column_step: u32)
//     // Two full steps.
//     fn emit_pair(first: vec4<u32>, second: vec4<u32>, row: u32, column_step: u32)
//     fn end_row(row: u32)
//
// Its entry point calls load_table() in all invocations, then decode_stream(). Bindings 0 to 3 of
// group 0 are taken here.

const HANSEL_LANES: u32 = 4u;
const HANSEL_WORD_BITS: u32 = 16u;
const HANSEL_STATE_LOW: u32 = 65536u;
const HANSEL_STATE_WORDS: u32 = 8u;
const HANSEL_SYMBOL_BITS: u32 = 8u;
const HANSEL_SYMBOL_SHIFT: u32 = 12u;
const HANSEL_BIAS_SHIFT: u32 = 20u;
const HANSEL_FIELD_MASK: u32 = 4095u;
const ALL: vec4<u32> = vec4(0xFFFFFFFFu);

override slot_bits: u32 = 12u;
override slot_count: u32 = 4096u; // 1 << slot_bits
override group_size: u32 = 64u;
override weights_per_symbol: u32 = 1u; // 1, 2 or 4
// Exclusive-ored into all symbols: 128 << HANSEL_SYMBOL_SHIFT makes them unsigned, plus 128.
override symbol_flip: u32 = 0u;

struct Blob {
    first_stream: u32,    // of this part of the tensor
    stream_count: u32,
    group_columns: u32,   // workgroups in a row of the dispatch
    dst_start: u32,       // what dst[0] is, in quads of columns from the tensor's first
    rows: u32,
    columns: u32,
    pieces: u32,
    rows_per_stream: u32,
    origin: u32,          // of the weights
    alphabet_size: u32,
    tail_bits: u32,
    tail_steps: u32,
}

@group(0) @binding(0) var<uniform> blob: Blob;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read> cursors: array<u32>; // stream_count + 1
@group(0) @binding(3) var<storage, read> slots: array<u32>;

var<workgroup> table: array<u32, slot_count>;

fn load_table(invocation: u32) {
    for (var slot = invocation; slot < slot_count; slot += group_size) {
        table[slot] = slots[slot] ^ symbol_flip;
    }
    workgroupBarrier();
}

// All that changes while a stream is decoded: the states, and a window on the words. The next word
// is the low half of `here`, or where odd is all ones its high half; words[at] is here, words[at +
// 1] is there. Conditions are masks, 0 or all ones, since a branch would part the invocations.
var<private> state: vec4<u32>;
var<private> here: u32;
var<private> there: u32;
var<private> at: u32;
var<private> odd: u32;

fn load_word(cursor: u32) -> u32 {
    return (words[cursor >> 1u] >> ((cursor & 1u) * HANSEL_WORD_BITS)) & 0xFFFFu;
}

// One symbol of every lane. Returns the table entries.
fn rans_step() -> vec4<u32> {
    let slot = state & vec4(slot_count - 1u);
    let entry = vec4(table[slot.x], table[slot.y], table[slot.z], table[slot.w]);
    state = (entry & vec4(HANSEL_FIELD_MASK)) * (state >> vec4(slot_bits)) +
        (entry >> vec4(HANSEL_BIAS_SHIFT));
    return entry;
}

// a where mask is 0, b where it is all ones.
fn choose(a: u32, b: u32, mask: u32) -> u32 {
    return a ^ ((a ^ b) & mask);
}

// Lanes below 2^16 take a word each, in order; only those of the mask `live`. Lanes 0 and 1 find
// theirs in (here, there); the window moves on if they used up here; then lanes 2 and 3 alike.
fn rans_refill(live: vec4<u32>) {
    let need = select(vec4(0u), ALL, state < vec4(HANSEL_STATE_LOW)) & live;
    let word_0 = choose(here & 0xFFFFu, here >> 16u, odd);
    let word_1 = choose(word_0, choose(here >> 16u, there & 0xFFFFu, odd), need.x);
    let move_1 = (need.x & need.y) | ((need.x | need.y) & odd);
    let middle = choose(here, there, move_1);
    at -= move_1; // less all ones: plus 1
    let beyond = words[at + 1u];
    let middle_odd = odd ^ need.x ^ need.y;
    let word_2 = choose(middle & 0xFFFFu, middle >> 16u, middle_odd);
    let word_3 = choose(word_2, choose(middle >> 16u, beyond & 0xFFFFu, middle_odd), need.z);
    let move_3 = (need.z & need.w) | ((need.z | need.w) & middle_odd);
    here = choose(middle, beyond, move_3);
    at -= move_3;
    there = words[at + 1u];
    odd = middle_odd ^ need.z ^ need.w;
    state = state * ((need & vec4(0xFFFFu)) + 1u) + (vec4(word_0, word_1, word_2, word_3) & need);
}

// A step of the first lane_count lanes; the others rest.
fn decode_part(lane_count: u32) -> vec4<u32> {
    let before = state;
    let live = select(vec4(0u), ALL, vec4(0u, 1u, 2u, 3u) < vec4(lane_count));
    let entry = rans_step();
    state = select(before, state, live != vec4(0u));
    rans_refill(live);
    return entry & live;
}

// Four lanes, four symbols.
fn decode_step() -> vec4<u32> {
    let entry = rans_step();
    rans_refill(ALL);
    return entry;
}

// One digit of a final state, as a table entry would have it.
fn tail_symbol(digits: u32) -> u32 {
    let index = digits & ((1u << blob.tail_bits) - 1u);
    let origin = select(blob.origin, 0u, weights_per_symbol > 1u);
    return (((origin + index) & 255u) << HANSEL_SYMBOL_SHIFT) ^ symbol_flip;
}

// One step of the tail.
fn tail_step(lane_count: u32, bad: ptr<function, bool>) -> vec4<u32> {
    var entry = vec4(0u);
    for (var lane = 0u; lane < lane_count; lane++) {
        let digits = state[lane];
        *bad = *bad || (digits & ((1u << blob.tail_bits) - 1u)) >= blob.alphabet_size;
        entry[lane] = tail_symbol(digits);
        state[lane] = digits >> blob.tail_bits;
    }
    return entry;
}

struct Extent {
    row: u32,          // first
    row_count: u32,
    column_step: u32,  // first, in steps
    column_count: u32,
}

// Columns of a step: a symbol for each lane.
fn step_columns() -> u32 {
    return HANSEL_LANES * weights_per_symbol;
}

fn piece_start(piece: u32, row_steps: u32) -> u32 {
    let even = row_steps / blob.pieces;
    return piece * even + min(piece, row_steps % blob.pieces);
}

fn stream_extent(stream: u32) -> Extent {
    if (blob.pieces > 1u) {
        let row_steps = (blob.columns + step_columns() - 1u) / step_columns();
        let piece = stream % blob.pieces;
        let start = piece_start(piece, row_steps);
        let end = min(step_columns() * piece_start(piece + 1u, row_steps), blob.columns);
        return Extent(stream / blob.pieces, 1u, start, end - step_columns() * start);
    }
    let row = stream * blob.rows_per_stream;
    return Extent(row, min(blob.rows - row, blob.rows_per_stream), 0u, blob.columns);
}

// False when the stream does not end as it must. Each step goes to emit, or two full ones at a time
// to emit_pair, and each row ends with end_row.
fn decode_stream(extent: Extent, begin: u32, end: u32) -> bool {
    let row_steps = (extent.column_count + step_columns() - 1u) / step_columns();
    let full_steps = extent.column_count / step_columns();
    let rest = min(extent.column_count % step_columns(), HANSEL_LANES); // lanes of the last step
    let step_count = extent.row_count * row_steps;
    var left = step_count - min(step_count, blob.tail_steps);
    for (var lane = 0u; lane < HANSEL_LANES; lane++) {
        state[lane] = load_word(begin + 2u * lane) |
            (load_word(begin + 2u * lane + 1u) << HANSEL_WORD_BITS);
    }
    at = (begin + HANSEL_STATE_WORDS) >> 1u;
    odd = 0u - (begin & 1u);
    here = words[at];
    there = words[at + 1u];
    var bad = any(state < vec4(HANSEL_STATE_LOW));
    var in_tail = false;
    for (var i = 0u; i < extent.row_count; i++) {
        let row = extent.row + i;
        var column = 0u; // in steps
        let full = min(full_steps, left);
        for (; column + 1u < full; column += 2u) {
            let first = decode_step();
            emit_pair(first, decode_step(), row, extent.column_step + column);
        }
        if (column < full) {
            emit(decode_step(), row, extent.column_step + column);
            column++;
        }
        left -= full;
        if (left > 0u && rest > 0u) {
            emit(decode_part(rest), row, extent.column_step + column);
            column++;
            left--;
        }
        if (left == 0u && !in_tail) {
            bad = bad || 2u * at + (odd & 1u) != end || any(state < vec4(HANSEL_STATE_LOW));
            state -= vec4(HANSEL_STATE_LOW);
            in_tail = true;
        }
        for (; column < row_steps; column++) {
            let lane_count = select(HANSEL_LANES, rest, column == full_steps);
            emit(tail_step(lane_count, &bad), row, extent.column_step + column);
        }
        end_row(row);
    }
    return !bad && all(state == vec4(0u));
}

// Quads of columns in a row: u32s of a decoded one.
fn row_quads() -> u32 {
    return (blob.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
}

// Field k of four folded symbols: four weights as bytes. src/internal.h.
fn unfold(symbols: u32, k: u32) -> u32 {
    let bits = HANSEL_SYMBOL_BITS / weights_per_symbol;
    let fields = (symbols >> (k * bits)) & (((1u << bits) - 1u) * 0x01010101u);
    return (fields + (blob.origin & 127u) * 0x01010101u) ^ ((blob.origin & 128u) * 0x01010101u);
}

// Four table entries: their symbols as four bytes, the first lowest.
fn pack_symbols(entry: vec4<u32>) -> u32 {
    let symbol = entry & vec4(255u << HANSEL_SYMBOL_SHIFT);
    return ((symbol.x | (symbol.y * 256u)) >> HANSEL_SYMBOL_SHIFT) | (symbol.z * 16u) |
        (symbol.w * 4096u);
}
