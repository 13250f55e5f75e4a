// matvec_plain.wgsl - y = W x for a matrix that is not coded: tensors that passed through, decoded
// ones, and the baseline of the benchmark. Goes after dot_packed.wgsl or dot_plain.wgsl, and
// tile.wgsl.
//
// Rows are shared by row_lanes invocations: by a workgroup on a GPU, where neighbours then load
// neighbouring bytes, and by one alone on a CPU, where a loop is all that counts. Sums are added
// up as a tree, always the same one. Of a single vector an invocation loads each x for four rows, of
// a tile of vectors each weight for four of those.

const HANSEL_LANES: u32 = 4u;
const HANSEL_F32: u32 = 1u;
const HANSEL_F16: u32 = 2u;
const HANSEL_BF16: u32 = 3u;
const HANSEL_I8: u32 = 4u;
const I8_SCALE: f32 = 1.0 / 16777216.0; // 2^-24: see i8_weights()

override group_size: u32 = 64u;
override row_lanes: u32 = 64u;     // a power of 2 that divides group_size
override rows_each: u32 = 1u;      // rows of an invocation: 1, or 4 if tile is 1
override dtype: u32 = 4u;          // of W
override is_integer: bool = false; // signed bytes times signed bytes, exact
override wide: bool = true;        // rows begin at multiples of 16 bytes

struct Plain {
    first_row: u32,     // of this part of W
    row_count: u32,     // of this part of W
    group_columns: u32, // workgroups in a row of the dispatch
    columns: u32,
    row_pitch: u32,     // in u32s
    first_vector: u32,  // of the batch
    vector_count: u32,  // of the batch
    x_start: u32,       // what x[0] is short of, in steps of four elements
    x_stride: u32,      // from vector to vector, in steps
    y_start: u32,       // in elements
    y_stride: u32,      // from vector to vector, in elements
    has_bias: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> plain: Plain;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read> quads: array<vec4<u32>>; // words again, if wide
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;     // unless is_integer
@group(0) @binding(4) var<storage, read> x_i8: array<u32>;        // if is_integer: four to a u32
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<u32>;     // bits of f32, or i32

var<workgroup> partial: array<vec4<u32>, group_size>; // bits of f32, or i32
var<private> sums_i8: vec4<i32>;                      // of rows

// Four signed bytes times 2^24: keeping them at the top saves a shift, and is exact.
fn i8_weights(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>((vec4(word) << vec4(24u, 16u, 8u, 0u)) & vec4(0xFF000000u)));
}

// Four weights of 16 bits.
fn short_weights(low: u32, high: u32) -> vec4<f32> {
    if (dtype == HANSEL_F16) {
        return vec4(unpack2x16float(low), unpack2x16float(high));
    }
    return bitcast<vec4<f32>>(vec4(low << 16u, low & 0xFFFF0000u, high << 16u, high & 0xFFFF0000u));
}

// 16 bytes of the only row, all of them weights; index is where their x begins.
fn add_quad(quad: vec4<u32>, index: u32) {
    if (dtype == HANSEL_I8) {
        add(i8_weights(quad.x), index);
        add(i8_weights(quad.y), index + 1u);
        add(i8_weights(quad.z), index + 2u);
        add(i8_weights(quad.w), index + 3u);
    } else if (dtype == HANSEL_F32) {
        add(bitcast<vec4<f32>>(quad), index);
    } else {
        add(short_weights(quad.x, quad.y), index);
        add(short_weights(quad.z, quad.w), index + 1u);
    }
}

// The same as add_quad() does, to a row's sum; x of up to four steps.
fn quad_sum(sum: vec4<f32>, quad: vec4<u32>, xa: vec4<f32>, xb: vec4<f32>, xc: vec4<f32>,
            xd: vec4<f32>) -> vec4<f32> {
    if (dtype == HANSEL_I8) {
        return (((sum + i8_weights(quad.x) * xa) + i8_weights(quad.y) * xb) +
            i8_weights(quad.z) * xc) + i8_weights(quad.w) * xd;
    }
    if (dtype == HANSEL_F32) {
        return sum + bitcast<vec4<f32>>(quad) * xa;
    }
    return (sum + short_weights(quad.x, quad.y) * xa) + short_weights(quad.z, quad.w) * xb;
}

fn quad_sum_i8(quad: vec4<u32>, x_quad: vec4<u32>) -> i32 {
    return (dot_i8(quad.x, x_quad.x) + dot_i8(quad.y, x_quad.y)) +
        (dot_i8(quad.z, x_quad.z) + dot_i8(quad.w, x_quad.w));
}

// 16 bytes of each row.
fn add_quads(starts: vec4<u32>, quad: u32, index: u32) {
    let at = starts / 4u + quad;
    if (is_integer) {
        let x_quad = vec4(x_i8[index], x_i8[index + 1u], x_i8[index + 2u], x_i8[index + 3u]);
        sums_i8.x += quad_sum_i8(quads[at.x], x_quad);
        if (rows_each > 1u) {
            sums_i8.y += quad_sum_i8(quads[at.y], x_quad);
            sums_i8.z += quad_sum_i8(quads[at.z], x_quad);
            sums_i8.w += quad_sum_i8(quads[at.w], x_quad);
        }
        return;
    }
    if (rows_each == 1u) {
        add_quad(quads[at.x], index);
        return;
    }
    let xa = x[index];
    var xb = xa;
    var xc = xa;
    var xd = xa;
    if (dtype != HANSEL_F32) {
        xb = x[index + 1u];
    }
    if (dtype == HANSEL_I8) {
        xc = x[index + 2u];
        xd = x[index + 3u];
    }
    sum_0 = quad_sum(sum_0, quads[at.x], xa, xb, xc, xd);
    sum_1 = quad_sum(sum_1, quads[at.y], xa, xb, xc, xd);
    sum_2 = quad_sum(sum_2, quads[at.z], xa, xb, xc, xd);
    sum_3 = quad_sum(sum_3, quads[at.w], xa, xb, xc, xd);
}

// The first lane_count weights of a step; what follows them can be anything.
fn step_weights(word: u32, lane_count: u32) -> vec4<f32> {
    var weights: vec4<f32>;
    if (dtype == HANSEL_I8) {
        weights = i8_weights(words[word]);
    } else if (dtype == HANSEL_F32) {
        weights = bitcast<vec4<f32>>(
            vec4(words[word], words[word + 1u], words[word + 2u], words[word + 3u]));
    } else {
        weights = short_weights(words[word], words[word + 1u]);
    }
    return select(vec4(0.0), weights, vec4(0u, 1u, 2u, 3u) < vec4(lane_count));
}

// A step of each row.
fn add_steps(at: vec4<u32>, index: u32, lane_count: u32) {
    if (is_integer) {
        let live = vec4(0u, 1u, 2u, 3u) < vec4(lane_count);
        let bytes = select(vec4(0u), vec4(0xFFu, 0xFF00u, 0xFF0000u, 0xFF000000u), live);
        let x_step = x_i8[index] & (bytes.x | bytes.y | bytes.z | bytes.w);
        sums_i8.x += dot_i8(words[at.x], x_step);
        if (rows_each > 1u) {
            sums_i8.y += dot_i8(words[at.y], x_step);
            sums_i8.z += dot_i8(words[at.z], x_step);
            sums_i8.w += dot_i8(words[at.w], x_step);
        }
        return;
    }
    add(step_weights(at.x, lane_count), index);
    if (rows_each > 1u) {
        let x_step = x[index];
        sum_1 += step_weights(at.y, lane_count) * x_step;
        sum_2 += step_weights(at.z, lane_count) * x_step;
        sum_3 += step_weights(at.w, lane_count) * x_step;
    }
}

// row: the first of those of this invocation.
fn add_rows(row: u32, lane: u32) {
    let step_words = select(select(2u, 1u, dtype == HANSEL_I8), 4u, dtype == HANSEL_F32);
    let quad_steps = 4u / step_words;
    let row_steps = (plain.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    let quad_count = select(0u, plain.columns / (HANSEL_LANES * quad_steps), wide);
    // Beyond the last row it is read again; nothing of it is stored.
    let starts = min(row + vec4(0u, 1u, 2u, 3u), vec4(plain.row_count - 1u)) * plain.row_pitch;
    let x_row = plain.x_start + plain.first_vector * plain.x_stride;
    place_vectors(plain.vector_count - 1u - plain.first_vector, plain.x_stride);
    for (var quad = lane; quad < quad_count; quad += row_lanes) {
        add_quads(starts, quad, x_row + quad * quad_steps);
    }
    for (var step = quad_count * quad_steps + lane; step < row_steps; step += row_lanes) {
        add_steps(starts + step * step_words, x_row + step, plain.columns - HANSEL_LANES * step);
    }
}

// What this invocation has summed up, for each vector or row.
fn lane_sums() -> vec4<u32> {
    if (is_integer) {
        return bitcast<vec4<u32>>(sums_i8);
    }
    return bitcast<vec4<u32>>(vec4(across(sum_0), across(sum_1), across(sum_2), across(sum_3)));
}

fn join_sums(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    if (is_integer) {
        return a + b;
    }
    return bitcast<vec4<u32>>(bitcast<vec4<f32>>(a) + bitcast<vec4<f32>>(b));
}

// rows: how many of them there are.
fn store_rows(sums: vec4<u32>, row: u32, rows: u32) {
    let first = plain.y_start + plain.first_vector * plain.y_stride + row;
    if (is_integer) {
        for (var r = 0u; r < rows; r++) {
            y[first + r] = sums[r];
        }
        return;
    }
    // Apart from plain.scale: with a very small one it would be subnormal, thus zero.
    let unit = select(1.0, I8_SCALE, dtype == HANSEL_I8);
    let vectors = min(tile, plain.vector_count - plain.first_vector);
    for (var i = 0u; i < max(vectors, rows); i++) {
        let v = select(i, 0u, rows_each > 1u);
        let r = i - v;
        var value = bitcast<f32>(sums[i]) * unit * plain.scale;
        if (plain.has_bias != 0u) {
            value += bias[row + r];
        }
        y[first + v * plain.y_stride + r] = bitcast<u32>(value);
    }
}

@compute @workgroup_size(group_size)
fn matvec_rows(@builtin(workgroup_id) group: vec3<u32>,
               @builtin(local_invocation_index) invocation: u32) {
    let lane = invocation % row_lanes;
    let row = rows_each * ((group.y * plain.group_columns + group.x) * (group_size / row_lanes) +
        invocation / row_lanes);
    let is_live = row < plain.row_count; // barriers are for all
    if (is_live) {
        add_rows(row, lane);
    }
    var sums = lane_sums();
    if (row_lanes > 1u) {
        partial[invocation] = sums;
        for (var width = row_lanes / 2u; width > 0u; width /= 2u) {
            workgroupBarrier();
            if (lane < width) {
                sums = join_sums(sums, partial[invocation + width]);
                partial[invocation] = sums;
            }
        }
    }
    if (is_live && lane == 0u) {
        store_rows(sums, plain.first_row + row, min(rows_each, plain.row_count - row));
    }
}
