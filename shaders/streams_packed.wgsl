// streams_packed.wgsl - reads streams of fields of a few bits: FORMAT.md appendix A. Goes after
// streams.wgsl.

override bits: u32 = 8u; // 1, 2, 4 or 8

@group(0) @binding(1) var<storage, read> units: array<vec4<u32>>; // words by four
@group(0) @binding(2) var<storage, read> bases: array<u32>;       // of blocks, in words
@group(0) @binding(3) var<storage, read> slots: array<u32>;       // not read

fn load_table(invocation: u32) {
}

// Quads of columns in a unit.
fn unit_quads() -> u32 {
    return 8u / bits;
}

fn first_unit(quad: u32, run: u32) -> u32 {
    return bases[block_index(quad, run)] / 4u + quad % HANSEL_BLOCK_STREAMS;
}

// Column k of the q-th quad of a unit: a field of each row, on top of its byte.
fn fields(unit: vec4<u32>, q: u32, k: u32) -> u32 {
    let column = q * HANSEL_LANES + k;
    return (unit[column * bits / 8u] << (8u - bits - column * bits % 8u)) &
        ((256u - (256u >> bits)) * 0x01010101u);
}

// Times 2^(8 - bits), but for the center.
fn integers(fields: u32) -> vec4<i32> {
    let f = i32(fields);
    return vec4(extractBits(f, 0u, 8u), extractBits(f, 8u, 8u), extractBits(f, 16u, 8u),
        extractBits(f, 24u, 8u));
}

var<private> at: u32;          // unit of the next quad
var<private> next: u32;        // quad of that unit
var<private> column_0: vec4<i32>; // of the next quad of columns: weights of four rows
var<private> column_1: vec4<i32>;
var<private> column_2: vec4<i32>;
var<private> column_3: vec4<i32>;
var<private> stride: u32;

fn begin_stream(quad: u32, run: u32) {
    stride = block_lanes(quad);
    at = first_unit(quad, run);
    next = 0u;
}

fn weights(unit: vec4<u32>, k: u32) -> vec4<i32> {
    return (integers(fields(unit, next, k)) >> vec4(8u - bits)) + vec4(i32(streams.origin));
}

fn next_quad() {
    let unit = units[at];
    column_0 = weights(unit, 0u);
    column_1 = weights(unit, 1u);
    column_2 = weights(unit, 2u);
    column_3 = weights(unit, 3u);
    next++;
    if (next == unit_quads()) {
        next = 0u;
        at += stride;
    }
}
