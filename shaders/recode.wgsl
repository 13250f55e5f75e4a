// recode.wgsl - symbols to streams of four rows: mirrors hansel_prefix_block and hansel_pack_block of
// src/prefix.c, word for word. One invocation writes one stream. Goes after streams.wgsl.

const STRAY: u32 = 0xFFFFFFFFu;

override is_write: bool = false;     // or prefix codes are counted
override weights_per_code: u32 = 1u; // 1, 2 or 4
override bits: u32 = 8u;             // of a packed weight

struct Recoding {
    level_count: u32,
    pad: u32, // level of rows beyond the last
}

@group(0) @binding(1) var<uniform> recoding: Recoding;
@group(0) @binding(2) var<storage, read> symbols: array<u32>; // of this part, as decode.wgsl leaves them
@group(0) @binding(3) var<storage, read> codes: array<u32>;   // length << 16 | bits, by number
// Words of the longest stream of each block, as they are counted; then where blocks begin, and the last
// one ends. STRAY, in any but the beginnings: a weight comes that has no code, or no field holds.
@group(0) @binding(4) var<storage, read_write> blocks: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> words: array<u32>;

var<private> pending: u32; // bits that are not written yet
var<private> count: u32;   // of them; while counting, of all bits
var<private> at: u32;
var<private> stride: u32;
var<private> is_stray: bool;

// A quad of columns of four rows.
fn load_rows(i: u32, quad: u32) -> vec4<u32> {
    let row = vec4(HANSEL_CODE_ROWS * i) + vec4(0u, 1u, 2u, 3u);
    let index = min(row, vec4(streams.rows - 1u)) * row_quads() + quad;
    return vec4(symbols[index.x], symbols[index.y], symbols[index.z], symbols[index.w]);
}

fn row_exists(i: u32) -> vec4<bool> {
    return vec4(HANSEL_CODE_ROWS * i) + vec4(0u, 1u, 2u, 3u) < vec4(streams.rows);
}

fn put_code(number: u32) {
    let code = codes[number];
    let length = code >> 16u;
    let value = code & 0xFFFFu;
    pending |= value << (count & 31u);
    count += length;
    if (!is_write) {
        is_stray = is_stray || length == 0u;
    }
    if (is_write && count >= 32u) {
        words[at] = pending;
        at += stride;
        count -= 32u;
        pending = (value >> (length - count - 1u)) >> 1u; // by length where nothing is left
    }
}

fn put_column(levels: vec4<u32>) {
    let n = recoding.level_count;
    if (weights_per_code == 4u) {
        put_code(levels.x + n * (levels.y + n * (levels.z + n * levels.w)));
    } else if (weights_per_code == 2u) {
        put_code(levels.x + n * levels.y);
        put_code(levels.z + n * levels.w);
    } else {
        put_code(levels.x);
        put_code(levels.y);
        put_code(levels.z);
        put_code(levels.w);
    }
}

@compute @workgroup_size(group_size)
fn recode_prefix(@builtin(workgroup_id) group: vec3<u32>,
                 @builtin(local_invocation_index) invocation: u32) {
    let i = group.x * group_size + invocation;
    if (i >= stream_quads()) {
        return;
    }
    let block = block_index(i, group.y);
    stride = block_lanes(i);
    at = atomicLoad(&blocks[block]) + i % HANSEL_BLOCK_STREAMS; // while counting, of no use
    let exists = row_exists(i);
    let first = group.y * streams.run_quads;
    for (var quad = first; quad < min(first + streams.run_quads, row_quads()); quad++) {
        let rows = load_rows(i, quad);
        let column_count = min(streams.columns - HANSEL_LANES * quad, HANSEL_LANES);
        for (var k = 0u; k < column_count; k++) {
            let level = ((rows >> vec4(8u * k)) - vec4(streams.origin)) & vec4(255u);
            if (!is_write) {
                is_stray = is_stray || any(level >= vec4(recoding.level_count));
            }
            put_column(select(vec4(recoding.pad), level, exists));
        }
    }
    if (!is_write) {
        atomicMax(&blocks[block], select((count + 31u) / 32u, STRAY, is_stray));
    } else if (count > 0u) {
        words[at] = pending;
    }
}

@compute @workgroup_size(group_size)
fn recode_packed(@builtin(workgroup_id) group: vec3<u32>,
                 @builtin(local_invocation_index) invocation: u32) {
    let i = group.x * group_size + invocation;
    if (i >= stream_quads()) {
        return;
    }
    let lanes = block_lanes(i);
    let start = atomicLoad(&blocks[block_index(i, group.y)]) + i % HANSEL_BLOCK_STREAMS * 4u;
    let exists = row_exists(i);
    let first = group.y * streams.run_quads;
    let fields = 8u / bits;
    let mask = (1u << bits) - 1u;
    var word = 0u;
    var column = 0u; // of the run
    var is_wide = false;
    for (var quad = first; quad < min(first + streams.run_quads, row_quads()); quad++) {
        let rows = load_rows(i, quad);
        let column_count = min(streams.columns - HANSEL_LANES * quad, HANSEL_LANES);
        for (var k = 0u; k < column_count; k++) {
            let weight = (rows >> vec4(8u * k)) - vec4(streams.origin);
            is_wide = is_wide || any(((weight + vec4((mask + 1u) / 2u)) & vec4(255u)) > vec4(mask));
            let f = select(vec4(0u), weight & vec4(mask), exists) << vec4(0u, 8u, 16u, 24u);
            word |= (f.x | f.y | f.z | f.w) << (bits * (column % fields));
            column++;
            if (column % fields == 0u) {
                let at = column / fields - 1u;
                words[start + at / 4u * 4u * lanes + at % 4u] = word;
                word = 0u;
            }
        }
    }
    if (column % fields != 0u) {
        let at = column / fields;
        words[start + at / 4u * 4u * lanes + at % 4u] = word;
    }
    if (is_wide) {
        atomicMax(&blocks[block_index(stream_quads() - 1u, streams.run_count)], STRAY);
    }
}
