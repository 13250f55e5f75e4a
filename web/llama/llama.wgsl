// llama.wgsl - what a Llama computes between its matrix products, for web/llama/llama.js. The
// reference is web/llama/llama_wasm.js, function for function; llama.frag.glsl mirrors this file.
//
// Vectors lie one after the other, each padded with zeros to a multiple of four elements.

override group_size: u32 = 64u;
override width: u32 = 4u;        // elements of a vector of dst
override head_dim: u32 = 2u;
override heads: u32 = 1u;
override key_heads: u32 = 1u;
override context: u32 = 1u;      // positions of a cache
override is_cache: bool = false; // dst has a vector for each position
override epsilon: f32 = 1e-5;

struct Run {
    count: u32,    // vectors
    position: u32, // of the first
}

@group(0) @binding(0) var<uniform> run: Run;
@group(0) @binding(1) var<storage, read_write> dst: array<f32>;
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read> more: array<f32>;
// The same by fours.
@group(0) @binding(1) var<storage, read_write> dst_quads: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> src_quads: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> more_quads: array<vec4<f32>>;

fn quads(elements: u32) -> u32 {
    return (elements + 3u) / 4u;
}

fn invocation_index(group: vec3<u32>, groups: vec3<u32>, invocation: u32) -> u32 {
    return (group.y * groups.x + group.x) * group_size + invocation;
}

// RMSNorm of src, times the weights `more`: four elements to an invocation, each of which adds up
// the squares for itself.
@compute @workgroup_size(group_size)
fn norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) invocation: u32) {
    let i = invocation_index(group, groups, invocation);
    let steps = quads(width);
    if (i >= run.count * steps) {
        return;
    }
    let start = i / steps * steps;
    var sum = vec4(0.0);
    for (var k = 0u; k < steps; k++) {
        let quad = src_quads[start + k];
        sum += quad * quad;
    }
    let mean = (sum.x + sum.y + sum.z + sum.w) / f32(width);
    dst_quads[i] = src_quads[i] * inverseSqrt(mean + epsilon) * more_quads[i - start];
}

// RoPE: element i of a head turns with element i + head_dim / 2. `more` holds, for each position,
// head_dim / 2 cosines and as many sines.
@compute @workgroup_size(group_size)
fn rotate(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) invocation: u32) {
    let i = invocation_index(group, groups, invocation);
    if (i >= run.count * width) {
        return;
    }
    let half_dim = head_dim / 2u;
    let vector = i / width;
    let column = i % width;
    let stride = 4u * quads(width);
    let is_second = column % head_dim >= half_dim;
    let other = select(column + half_dim, column - half_dim, is_second);
    let turn = (run.position + vector) * head_dim + column % head_dim % half_dim;
    let own = src[vector * stride + column];
    let paired = src[vector * stride + other];
    let row = vector + select(0u, run.position, is_cache);
    dst[row * stride + column] = own * more[turn]
        + select(-paired, paired, is_second) * more[turn + half_dim];
}

// Copies vectors into a cache.
@compute @workgroup_size(group_size)
fn store(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) invocation: u32) {
    let i = invocation_index(group, groups, invocation);
    if (i < run.count * quads(width)) {
        dst_quads[run.position * quads(width) + i] = src_quads[i];
    }
}

// How much each query (src) attends to each key (more) so far: dst has `context` scores for each
// vector and head.
@compute @workgroup_size(group_size)
fn score(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) invocation: u32) {
    let i = invocation_index(group, groups, invocation);
    let span = run.position + run.count;
    let vector = i / span / heads;
    let head = i / span % heads;
    let key = i % span;
    if (vector >= run.count || key > run.position + vector) {
        return;
    }
    let from_query = vector * 4u * quads(heads * head_dim) + head * head_dim;
    let from_key = key * 4u * quads(key_heads * head_dim) + head / (heads / key_heads) * head_dim;
    var sum = 0.0;
    for (var k = 0u; k < head_dim; k++) {
        sum += src[from_query + k] * more[from_key + k];
    }
    dst[(vector * heads + head) * context + key] = sum / sqrt(f32(head_dim));
}

// Values (more), weighted by the softmax of the scores (src): an element to an invocation.
@compute @workgroup_size(group_size)
fn blend(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) invocation: u32) {
    let i = invocation_index(group, groups, invocation);
    if (i >= run.count * width) {
        return;
    }
    let vector = i / width;
    let column = i % width;
    let head = column / head_dim;
    let scores = (vector * heads + head) * context;
    let values = head / (heads / key_heads) * head_dim + column % head_dim;
    let stride = 4u * quads(key_heads * head_dim);
    let seen = run.position + vector + 1u;
    var most = src[scores];
    for (var p = 1u; p < seen; p++) {
        most = max(most, src[scores + p]);
    }
    var total = 0.0;
    var sum = 0.0;
    for (var p = 0u; p < seen; p++) {
        let share = exp(src[scores + p] - most);
        total += share;
        sum += share * more[values + p * stride];
    }
    dst[vector * 4u * quads(width) + column] = sum / total;
}

// SwiGLU of the gates (src) and `more`.
@compute @workgroup_size(group_size)
fn gate(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) invocation: u32) {
    let i = invocation_index(group, groups, invocation);
    if (i < run.count * quads(width)) {
        dst_quads[i] = src_quads[i] / (1.0 + exp(-src_quads[i])) * more_quads[i];
    }
}

// The residual connection: dst += src.
@compute @workgroup_size(group_size)
fn add(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) invocation: u32) {
    let i = invocation_index(group, groups, invocation);
    if (i < run.count * quads(width)) {
        dst_quads[i] += src_quads[i];
    }
}
