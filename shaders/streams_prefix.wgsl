// streams_prefix.wgsl - reads streams of prefix codes: FORMAT.md appendix A. Goes after streams.wgsl, and
// with what says how entries lie in the table: table_entry() of unpack_prefix.wgsl or matvec_prefix.wgsl.

const LENGTH_MASK: u32 = 31u; // of a table entry

override weights_per_code: u32 = 2u; // 1, 2 or 4
override slot_count: u32 = 4096u;    // 1 << code_bits

@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read> bases: array<u32>; // of blocks
@group(0) @binding(3) var<storage, read> slots: array<vec4<u32>>; // by four

var<workgroup> table: array<u32, slot_count>;

fn load_table(invocation: u32) {
    for (var slot = 4u * invocation; slot < slot_count; slot += 4u * group_size) {
        let four = slots[slot / 4u];
        table[slot] = table_entry(four.x);
        table[slot + 1u] = table_entry(four.y);
        if (slot_count > 2u) {
            table[slot + 2u] = table_entry(four.z);
            table[slot + 3u] = table_entry(four.w);
        }
    }
    workgroupBarrier();
}

// A window on a stream's words: the next bit is bit `used` of here, words[at] is what follows there.
var<private> at: u32;
var<private> used: u32;
var<private> here: u32;
var<private> there: u32;
var<private> stride: u32; // from word to word

fn begin_stream(quad: u32, run: u32) {
    stride = block_lanes(quad);
    at = bases[block_index(quad, run)] + quad % HANSEL_BLOCK_STREAMS;
    used = 0u;
    here = words[at];
    there = words[at + stride];
    at += 2u * stride;
}

// The table entries of a column's codes, or of two columns' where a code is a column: 1 to 32 bits.
fn next_entries() -> vec4<u32> {
    let beyond = words[at]; // comes while the table is read
    var window = (here >> used) | ((there << 1u) << (31u - used));
    var entries = vec4(table[window & (slot_count - 1u)], 0u, 0u, 0u);
    window >>= entries.x & LENGTH_MASK;
    entries.y = table[window & (slot_count - 1u)];
    var length = entries.x + entries.y;
    if (weights_per_code == 1u) {
        window >>= entries.y & LENGTH_MASK;
        entries.z = table[window & (slot_count - 1u)];
        window >>= entries.z & LENGTH_MASK;
        entries.w = table[window & (slot_count - 1u)];
        length += entries.z + entries.w;
    }
    // Lengths are the lowest bits of entries, and their sum is not 0: `used` wraps if and only if it does
    // not grow.
    let before = used;
    used = (used + length) & 31u;
    let crosses = used <= before;
    here = select(here, there, crosses);
    there = select(there, beyond, crosses);
    at += select(0u, stride, crosses);
    return entries;
}

// The weights of four rows, as signed integers.
fn integers(entries: vec4<u32>) -> vec4<i32> {
    if (weights_per_code == 4u) {
        return vec4<i32>(entries.xxxx << vec4(0u, 6u, 12u, 18u)) >> vec4(26u);
    }
    if (weights_per_code == 2u) {
        return vec4<i32>(entries.xxyy << vec4(0u, 8u, 0u, 8u)) >> vec4(24u);
    }
    return vec4<i32>(entries) >> vec4(24u);
}
