// matvec.wgsl - y = W x with W still coded: one invocation decodes one stream, uses each weight for
// all vectors of a tile, and forgets it. The reference for the sums is src/matvec.c. Goes after
// dot_packed.wgsl or dot_plain.wgsl, halves.wgsl, lossless_bits.wgsl, lossless.wgsl, tile.wgsl and decode_stream.wgsl.
//
// sums receives, for vector v of the batch, row r and piece p, element
// (v * rows + r) * pieces + p: scaled, and with the bias, if there is one piece to a row; otherwise
// reduce.wgsl adds the pieces up. Of a stream that does not end as it must all sums are NaN, or
// SPOILT_I8, which no sum can be.

const SPOILT: u32 = 0x7FC00000u;    // NaN
const SPOILT_I8: u32 = 0x80000000u; // in reduce.wgsl too
const KIND_F32: u32 = 0u;      // grid indices times binary32
const KIND_I8: u32 = 1u;       // grid indices times signed bytes, exact
const KIND_LOSSLESS: u32 = 2u; // weights of lossless planes times binary32

override kind: u32 = 0u;

struct Product {
    lossless: Lossless,
    first_vector: u32,  // of the batch
    vector_count: u32,  // of the batch
    x_start: u32,       // what x[0] is short of, in quads
    x_stride: u32,      // from vector to vector, in quads
    y_start: u32,       // in elements
    y_stride: u32,      // from vector to vector, in elements
    raw_start: u32,     // byte of raw where weight raw_weight's bytes begin
    raw_weight: u32,
    raw_bytes: u32,
    has_bias: u32,
    scale: f32,
}

@group(0) @binding(4) var<uniform> product: Product;
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>;  // F32, LOSSLESS
@group(0) @binding(6) var<storage, read> x_i8: array<u32>;     // I8: four to a u32
@group(0) @binding(7) var<storage, read> raw: array<u32>;      // LOSSLESS
@group(0) @binding(8) var<storage, read> bias: array<f32>;
@group(0) @binding(9) var<storage, read_write> sums: array<u32>; // bits of f32, or i32

var<private> x_0: u32; // where x's first vector of the tile begins, in quads
var<private> stream_piece: u32;

// The weights of a step; grid indices are scaled by 2^HANSEL_SYMBOL_SHIFT, and symbol_flip has
// added 128 to them: subtracting is cheaper than extending a sign.
fn step_weights(entry: vec4<u32>, row: u32, column_step: u32) -> vec4<f32> {
    if (kind == KIND_LOSSLESS) {
        let weight = row * blob.columns + column_step * HANSEL_LANES;
        var weights = vec4(0.0);
        for (var lane = 0u; lane < min(HANSEL_LANES, blob.columns - column_step * HANSEL_LANES);
             lane++) {
            let symbol = (entry[lane] >> HANSEL_SYMBOL_SHIFT) & 255u;
            let index = (weight + lane - product.raw_weight) * product.raw_bytes;
            let bits = join(symbol, product.raw_start + index, product.lossless);
            weights[lane] = bitcast<f32>(float_bits(bits, product.lossless.dtype));
        }
        return weights;
    }
    return vec4<f32>(vec4<i32>(entry & vec4(255u << HANSEL_SYMBOL_SHIFT))) -
        f32(128u << HANSEL_SYMBOL_SHIFT);
}

// Weights of field k of a step of folded symbols, scaled like those of step_weights().
fn folded_weights(entry: vec4<u32>, k: u32) -> vec4<f32> {
    let bits = HANSEL_SYMBOL_BITS / weights_per_symbol;
    let fields = (entry << vec4(24u - HANSEL_SYMBOL_SHIFT - k * bits)) &
        vec4(((1u << bits) - 1u) << 24u);
    // The weight's byte is on top, so that it wraps, and its sign is the number's.
    return vec4<f32>(bitcast<vec4<i32>>(fields + vec4(blob.origin << 24u)) >>
        vec4(24u - HANSEL_SYMBOL_SHIFT));
}

fn add_field(entry: vec4<u32>, symbols: u32, k: u32, index: u32) {
    if (kind == KIND_I8) {
        sum_i8 += dot_i8(unfold(symbols, k), x_i8[index]);
    } else {
        add(folded_weights(entry, k), index);
    }
}

// All fields of a full step. No loop: software renderers would not unroll it.
fn emit_fields(entry: vec4<u32>, column_step: u32) {
    let index = x_0 + column_step * weights_per_symbol;
    let symbols = select(0u, pack_symbols(entry), kind == KIND_I8);
    add_field(entry, symbols, 0u, index);
    add_field(entry, symbols, 1u, index + 1u);
    if (weights_per_symbol == 4u) {
        add_field(entry, symbols, 2u, index + 2u);
        add_field(entry, symbols, 3u, index + 3u);
    }
}

fn emit(entry: vec4<u32>, row: u32, column_step: u32) {
    if (weights_per_symbol > 1u) { // the last step of a row may have fewer quads than others
        let quad = column_step * weights_per_symbol;
        for (var k = 0u; k < weights_per_symbol && quad + k < row_quads(); k++) {
            add_field(entry, pack_symbols(entry), k, x_0 + quad + k);
        }
        return;
    }
    let index = x_0 + column_step;
    if (kind == KIND_I8) {
        sum_i8 += dot_i8(pack_symbols(entry), x_i8[index]);
        return;
    }
    add(step_weights(entry, row, column_step), index);
}

fn emit_pair(first: vec4<u32>, second: vec4<u32>, row: u32, column_step: u32) {
    if (weights_per_symbol > 1u) {
        emit_fields(first, column_step);
        emit_fields(second, column_step + 1u);
        return;
    }
    emit(first, row, column_step);
    emit(second, row, column_step + 1u);
}

fn store_sum(index: u32, value: f32, row: u32) {
    // One after the other: their product is subnormal, thus zero, where the scale is very small.
    var result = value * select(1.0, 1.0 / f32(1u << HANSEL_SYMBOL_SHIFT), kind == KIND_F32)
        * product.scale;
    if (product.has_bias != 0u) {
        result += bias[row];
    }
    sums[index] = bitcast<u32>(result);
}

// Of the tile's first vector.
fn sum_index(row: u32) -> u32 {
    return product.y_start + product.first_vector * product.y_stride + row * blob.pieces +
        stream_piece;
}

fn end_row(row: u32) {
    let index = sum_index(row);
    if (kind == KIND_I8) {
        sums[index] = bitcast<u32>(sum_i8);
        sum_i8 = 0;
        return;
    }
    store_sum(index, across(sum_0), row);
    sum_0 = vec4(0.0);
    if (tile > 1u) {
        let count = product.vector_count - product.first_vector;
        let sums = vec3(across(sum_1), across(sum_2), across(sum_3));
        for (var v = 1u; v < min(count, tile); v++) {
            store_sum(index + v * product.y_stride, sums[v - 1u], row);
        }
        sum_1 = vec4(0.0);
        sum_2 = vec4(0.0);
        sum_3 = vec4(0.0);
    }
}

fn spoil_rows(extent: Extent) {
    let count = min(product.vector_count - product.first_vector, tile);
    for (var row = extent.row; row < extent.row + extent.row_count; row++) {
        for (var v = 0u; v < count; v++) {
            sums[sum_index(row) + v * product.y_stride] = select(SPOILT, SPOILT_I8, kind == KIND_I8);
        }
    }
}

@compute @workgroup_size(group_size)
fn matvec_streams(@builtin(workgroup_id) group: vec3<u32>,
                  @builtin(local_invocation_index) invocation: u32) {
    load_table(invocation);
    let i = (group.y * blob.group_columns + group.x) * group_size + invocation;
    if (i >= blob.stream_count) {
        return;
    }
    let stream = blob.first_stream + i;
    stream_piece = stream % blob.pieces;
    x_0 = product.x_start + product.first_vector * product.x_stride;
    place_vectors(product.vector_count - 1u - product.first_vector, product.x_stride);
    let extent = stream_extent(stream);
    let is_sound = decode_stream(extent, cursors[i], cursors[i + 1u]);
    if (!is_sound && blob.alphabet_size > 1u) { // the streams of one symbol are made up
        spoil_rows(extent);
    }
}
