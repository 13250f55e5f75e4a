// tile.wgsl - sums of a tile of vectors, in one invocation. Goes before matvec.wgsl and
// matvec_plain.wgsl, which bind the vectors as x: array<vec4<f32>>.

override tile: u32 = 1u; // vectors at a time: 1 or 4

// Not an array: software renderers keep those in memory.
var<private> sum_0: vec4<f32>;
var<private> sum_1: vec4<f32>;
var<private> sum_2: vec4<f32>;
var<private> sum_3: vec4<f32>;
var<private> sum_i8: i32;
// From the tile's first vector to the others, in fours of x. Beyond the batch they repeat what is
// there; nothing of it is stored.
var<private> x_1: u32;
var<private> x_2: u32;
var<private> x_3: u32;

// `last` is the tile's last vector, `stride` what is from vector to vector.
fn place_vectors(last: u32, stride: u32) {
    x_1 = min(1u, last) * stride;
    x_2 = min(2u, last) * stride;
    x_3 = min(3u, last) * stride;
}

// Four weights of a row times the four elements of each vector from x[index] on.
fn add(weights: vec4<f32>, index: u32) {
    sum_0 += weights * x[index];
    if (tile > 1u) {
        sum_1 += weights * x[index + x_1];
        sum_2 += weights * x[index + x_2];
        sum_3 += weights * x[index + x_3];
    }
}

fn across(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
