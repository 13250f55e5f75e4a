// matvec_plain.wgsl - y = W x for a matrix that is not coded: tensors that passed through, decoded
// ones, and the baseline of the benchmark. Goes after dot_packed.wgsl or dot_plain.wgsl, and
// tile.wgsl.
//
// A row is shared by row_lanes invocations: by a workgroup on a GPU, where neighbours then load
// neighbouring bytes, and by one alone on a CPU, where a loop is all that counts. Sums are added
// up as a tree, always the same one.

const HANSEL_LANES: u32 = 4u;
const HANSEL_F32: u32 = 1u;
const HANSEL_F16: u32 = 2u;
const HANSEL_BF16: u32 = 3u;
const HANSEL_I8: u32 = 4u;
const I8_SCALE: f32 = 1.0 / 16777216.0; // 2^-24: see i8_weights()

override group_size: u32 = 64u;
override row_lanes: u32 = 64u;     // a power of 2 that divides group_size
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

// 16 bytes of a row, all of them weights; index is where their x begins.
fn add_quad(quad: vec4<u32>, index: u32) {
    if (is_integer) {
        sum_i8 += (dot_i8(quad.x, x_i8[index]) + dot_i8(quad.y, x_i8[index + 1u])) +
            (dot_i8(quad.z, x_i8[index + 2u]) + dot_i8(quad.w, x_i8[index + 3u]));
    } else if (dtype == HANSEL_I8) {
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

// The first lane_count weights of a step; what follows them can be anything.
fn add_step(word: u32, index: u32, lane_count: u32) {
    let live = vec4(0u, 1u, 2u, 3u) < vec4(lane_count);
    if (is_integer) {
        let bytes = select(vec4(0u), vec4(0xFFu, 0xFF00u, 0xFF0000u, 0xFF000000u), live);
        sum_i8 += dot_i8(words[word] & (bytes.x | bytes.y | bytes.z | bytes.w), x_i8[index]);
        return;
    }
    var weights: vec4<f32>;
    if (dtype == HANSEL_I8) {
        weights = i8_weights(words[word]);
    } else if (dtype == HANSEL_F32) {
        weights = bitcast<vec4<f32>>(
            vec4(words[word], words[word + 1u], words[word + 2u], words[word + 3u]));
    } else {
        weights = short_weights(words[word], words[word + 1u]);
    }
    add(select(vec4(0.0), weights, live), index);
}

fn add_row(row: u32, lane: u32) {
    let step_words = select(select(2u, 1u, dtype == HANSEL_I8), 4u, dtype == HANSEL_F32);
    let quad_steps = 4u / step_words;
    let row_steps = (plain.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    let quad_count = select(0u, plain.columns / (HANSEL_LANES * quad_steps), wide);
    let start = row * plain.row_pitch;
    let x_row = plain.x_start + plain.first_vector * plain.x_stride;
    place_vectors(plain.vector_count - 1u - plain.first_vector, plain.x_stride);
    for (var quad = lane; quad < quad_count; quad += row_lanes) {
        add_quad(quads[start / 4u + quad], x_row + quad * quad_steps);
    }
    for (var step = quad_count * quad_steps + lane; step < row_steps; step += row_lanes) {
        add_step(start + step * step_words, x_row + step, plain.columns - HANSEL_LANES * step);
    }
}

// What this invocation has summed up, for each vector.
fn lane_sums() -> vec4<u32> {
    if (is_integer) {
        return vec4(bitcast<u32>(sum_i8), 0u, 0u, 0u);
    }
    return bitcast<vec4<u32>>(vec4(across(sum_0), across(sum_1), across(sum_2), across(sum_3)));
}

fn join_sums(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    if (is_integer) {
        return a + b;
    }
    return bitcast<vec4<u32>>(bitcast<vec4<f32>>(a) + bitcast<vec4<f32>>(b));
}

fn store_row(sums: vec4<u32>, row: u32) {
    let first = plain.y_start + plain.first_vector * plain.y_stride + row;
    if (is_integer) {
        y[first] = sums.x;
        return;
    }
    // Apart from plain.scale: with a very small one it would be subnormal, thus zero.
    let unit = select(1.0, I8_SCALE, dtype == HANSEL_I8);
    for (var v = 0u; v < min(tile, plain.vector_count - plain.first_vector); v++) {
        var value = bitcast<f32>(sums[v]) * unit * plain.scale;
        if (plain.has_bias != 0u) {
            value += bias[row];
        }
        y[first + v * plain.y_stride] = bitcast<u32>(value);
    }
}

@compute @workgroup_size(group_size)
fn matvec_rows(@builtin(workgroup_id) group: vec3<u32>,
               @builtin(local_invocation_index) invocation: u32) {
    let lane = invocation % row_lanes;
    let row = (group.y * plain.group_columns + group.x) * (group_size / row_lanes) +
        invocation / row_lanes;
    let is_live = row < plain.row_count; // barriers are for all
    if (is_live) {
        add_row(row, lane);
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
        store_row(sums, plain.first_row + row);
    }
}
