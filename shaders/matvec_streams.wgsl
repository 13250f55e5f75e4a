// matvec_streams.wgsl - y = W x by weights in streams of four rows (FORMAT.md appendix A): one
// invocation reads the same four rows of some runs of columns, uses each weight for all vectors of a
// tile, and leaves their sums to reduce.wgsl. Neighbours read neighbouring words, and the same x.
//
// Goes after halves.wgsl, lossless_bits.wgsl and streams.wgsl, with streams_prefix.wgsl and
// matvec_prefix.wgsl or with streams_packed.wgsl and matvec_packed.wgsl, which read the weights:
// add_run() there calls add_quad() here. The reference for the sums is src/matvec.c.
//
// sums receives, of invocation group.y's runs and vector v of the tile, four rows to an element:
// (group.y * tile_vectors + v) * sum_quads + row / 4. Rows beyond the last are there, and mean nothing.

const KIND_F32: u32 = 0u;      // grid indices times binary32
const KIND_I8: u32 = 1u;       // grid indices times signed bytes, exact: 1024 columns of a sum fit binary32
const KIND_LOSSLESS: u32 = 2u; // weights of lossless planes times binary32

override kind: u32 = 0u;
override tile: u32 = 1u;      // vectors at a time: 1, 4 or 8
override dtype: u32 = 1u;     // LOSSLESS
override raw_bytes: u32 = 3u; // LOSSLESS: of a weight
override has_sign: bool = true;  // LOSSLESS: among the raw bits
override has_zero: bool = true;  // LOSSLESS: some symbol is 0

struct Product {
    lossless: Lossless,
    runs_each: u32,    // runs of columns of an invocation
    first_quad: u32,   // of rows: of this part
    sum_quads: u32,    // of the matrix
    first_vector: u32, // of the batch
    vector_count: u32, // of the batch
    x_start: u32,      // what x[0] is short of, in quads of columns
    x_stride: u32,     // from vector to vector, in quads
    raw_units: u32,    // of a stream's rows
}

@group(0) @binding(4) var<uniform> product: Product;
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>;  // F32, LOSSLESS
@group(0) @binding(6) var<storage, read> x_i8: array<u32>;     // I8: four to a u32
@group(0) @binding(7) var<storage, read> raw: array<vec4<u32>>; // LOSSLESS: by four
@group(0) @binding(8) var<storage, read_write> sums: array<vec4<u32>>; // bits of f32, or i32

// Of the tile's vectors. Not arrays: software renderers keep those in memory.
var<private> sum_0: vec4<f32>; // of four rows
var<private> sum_1: vec4<f32>;
var<private> sum_2: vec4<f32>;
var<private> sum_3: vec4<f32>;
var<private> sum_4: vec4<f32>;
var<private> sum_5: vec4<f32>;
var<private> sum_6: vec4<f32>;
var<private> sum_7: vec4<f32>;
var<private> sum_i8: vec4<i32>; // of the runs before

// A vector beyond the batch is its last; nothing of it is kept.
fn vector_start(v: u32) -> u32 {
    return product.x_start + min(product.first_vector + v, product.vector_count - 1u) * product.x_stride;
}

// Of four columns.
fn load_x(v: u32, quad: u32) -> vec4<f32> {
    if (kind == KIND_I8) {
        let bytes = vec4<i32>(vec4(x_i8[vector_start(v) + quad]) << vec4(24u, 16u, 8u, 0u));
        return vec4<f32>(bytes >> vec4(24u));
    }
    return x[vector_start(v) + quad];
}

// Weights of four rows: those of each of four columns times its x.
fn add_to(sum: vec4<f32>, v: u32, quad: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>,
          d: vec4<f32>) -> vec4<f32> {
    let x_quad = load_x(v, quad);
    return (((sum + a * x_quad.x) + b * x_quad.y) + c * x_quad.z) + d * x_quad.w;
}

// Weights of four rows in the columns of a quad.
fn add_quad(quad: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) {
    sum_0 = add_to(sum_0, 0u, quad, a, b, c, d);
    if (tile > 1u) {
        sum_1 = add_to(sum_1, 1u, quad, a, b, c, d);
        sum_2 = add_to(sum_2, 2u, quad, a, b, c, d);
        sum_3 = add_to(sum_3, 3u, quad, a, b, c, d);
    }
    if (tile > 4u) {
        sum_4 = add_to(sum_4, 4u, quad, a, b, c, d);
        sum_5 = add_to(sum_5, 5u, quad, a, b, c, d);
        sum_6 = add_to(sum_6, 6u, quad, a, b, c, d);
        sum_7 = add_to(sum_7, 7u, quad, a, b, c, d);
    }
}

var<private> raw_at: u32;     // unit of the next quad
var<private> raw_stride: u32; // from unit to unit
var<private> raw_0: vec4<u32>;
var<private> raw_1: vec4<u32>;
var<private> raw_2: vec4<u32>;

// Of a quad of columns, raw_bytes bytes of each.
fn load_raw() {
    raw_0 = raw[raw_at];
    if (raw_bytes > 1u) {
        raw_1 = raw[raw_at + raw_stride];
        raw_2 = raw[raw_at + 2u * raw_stride];
    }
    raw_at += raw_bytes * raw_stride;
}

// Raw bytes of each column of the quad, the lowest in x: a byte to each of four rows.
fn raw_column_0() -> vec3<u32> {
    return select(raw_0.xyz, vec3(raw_0.x, 0u, 0u), raw_bytes == 1u);
}

fn raw_column_1() -> vec3<u32> {
    return select(vec3(raw_0.w, raw_1.xy), vec3(raw_0.y, 0u, 0u), raw_bytes == 1u);
}

fn raw_column_2() -> vec3<u32> {
    return select(vec3(raw_1.zw, raw_2.x), vec3(raw_0.z, 0u, 0u), raw_bytes == 1u);
}

fn raw_column_3() -> vec3<u32> {
    return select(raw_2.yzw, vec3(raw_0.w, 0u, 0u), raw_bytes == 1u);
}

// What join_bits() and float_bits() do, in fewer steps: a weight is put together where it stands in
// binary32, one of 16 bits in the upper half.

// Raw bits of a weight that are its sign: 1 or 0.
fn sign_bits() -> u32 {
    return select(0u, 1u, has_sign);
}

// A symbol's field, and the sign of all weights.
fn field_bits(symbol: u32) -> u32 {
    let shift = product.lossless.raw_bits - sign_bits() + select(16u, 0u, dtype == HANSEL_F32);
    let field = select(product.lossless.window_base + symbol, field_of(symbol, product.lossless), has_zero);
    return (field << shift) |
        select(0u, 0x80000000u, product.lossless.sign == 2u);
}

fn fields_bits(symbols: vec4<i32>) -> vec4<u32> {
    let s = vec4<u32>(symbols) & vec4(255u);
    return vec4(field_bits(s.x), field_bits(s.y), field_bits(s.z), field_bits(s.w));
}

// The raw bits, but for the sign, of row `row`, which is a constant.
fn mantissa_bits(bytes: vec3<u32>, row: u32) -> u32 {
    if (dtype != HANSEL_F32) {
        let up = select(0u, bytes.x << (16u - 8u * row - sign_bits()), row < 2u);
        let down = select(bytes.x >> (8u * row + sign_bits() - 16u), 0u, row < 2u);
        return (up | down) & (0xFF0000u & (0xFF0000u >> sign_bits()));
    }
    let b = (bytes >> vec3(8u * row)) & vec3(255u);
    return (b.x | (b.y << 8u) | (b.z << 16u)) >> sign_bits();
}

fn lossless_weight(field: u32, bytes: vec3<u32>, row: u32) -> f32 {
    let bits = mantissa_bits(bytes, row) | field |
        ((bytes.x << (31u - 8u * row)) & (sign_bits() << 31u));
    if (dtype == HANSEL_F16) {
        return bitcast<f32>(float_from_half(bits >> 16u));
    }
    return bitcast<f32>(bits);
}

// Weights of four rows from their fields and raw bytes; 0 where there is no such column.
fn lossless_weights(fields: vec4<u32>, bytes: vec3<u32>, column: u32) -> vec4<f32> {
    if (column >= streams.columns) {
        return vec4(0.0);
    }
    return vec4(lossless_weight(fields.x, bytes, 0u), lossless_weight(fields.y, bytes, 1u),
        lossless_weight(fields.z, bytes, 2u), lossless_weight(fields.w, bytes, 3u));
}

fn store(v: u32, group_y: u32, quad: u32, sum: vec4<f32>) {
    let count = min(product.vector_count - product.first_vector, tile);
    if (v >= count) {
        return;
    }
    let at = (group_y * count + v) * product.sum_quads + product.first_quad + quad;
    if (kind == KIND_I8) {
        sums[at] = bitcast<vec4<u32>>(sum_i8);
    } else {
        sums[at] = bitcast<vec4<u32>>(scaled(sum));
    }
}

@compute @workgroup_size(group_size)
fn matvec_streams(@builtin(workgroup_id) group: vec3<u32>,
                  @builtin(local_invocation_index) invocation: u32) {
    load_table(invocation);
    let quad = group.x * group_size + invocation;
    if (quad >= stream_quads()) {
        return;
    }
    let end = min((group.y + 1u) * product.runs_each, streams.run_count);
    for (var run = group.y * product.runs_each; run < end; run++) {
        let first = run * streams.run_quads;
        raw_stride = block_lanes(quad);
        raw_at = quad / HANSEL_BLOCK_STREAMS * HANSEL_BLOCK_STREAMS * product.raw_units +
            first * raw_bytes * raw_stride + quad % HANSEL_BLOCK_STREAMS;
        add_run(first, min(first + streams.run_quads, row_quads()), quad, run);
        if (kind == KIND_I8) {
            sum_i8 += vec4<i32>(scaled(sum_0));
            sum_0 = vec4(0.0);
        }
    }
    store(0u, group.y, quad, sum_0);
    if (tile > 1u) {
        store(1u, group.y, quad, sum_1);
        store(2u, group.y, quad, sum_2);
        store(3u, group.y, quad, sum_3);
    }
    if (tile > 4u) {
        store(4u, group.y, quad, sum_4);
        store(5u, group.y, quad, sum_5);
        store(6u, group.y, quad, sum_6);
        store(7u, group.y, quad, sum_7);
    }
}
