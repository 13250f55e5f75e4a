// widen.wgsl - makes vectors of binary16 into vectors of binary32, exactly, before a product reads
// them: here each element is converted once, in the product's kernel it would be once for every row.

override group_size: u32 = 64u;

struct Widening {
    step_count: u32,    // of all vectors; a step is four elements
    group_columns: u32, // workgroups in a row of the dispatch
    row_steps: u32,     // of a vector
    start: u32,         // of the first vector in src, in steps
    stride: u32,        // from vector to vector in src, in steps
}

@group(0) @binding(0) var<uniform> widening: Widening;
@group(0) @binding(1) var<storage, read> src: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>; // bits of f32

// Bits of the same number. unpack2x16float() may flush subnormals; here they are small integers
// times 2^-24, which is a normal number, and the others, NaN and infinity too, are moved as bits.
fn widen_half(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let rest = half & 0x7FFFu;
    if (rest < 0x0400u) {
        return sign | bitcast<u32>(f32(rest) * (1.0 / 16777216.0));
    }
    return sign | ((rest << 13u) + select(0x38000000u, 0x70000000u, rest >= 0x7C00u));
}

@compute @workgroup_size(group_size)
fn widen_vectors(@builtin(workgroup_id) group: vec3<u32>,
                 @builtin(local_invocation_index) invocation: u32) {
    let i = (group.y * widening.group_columns + group.x) * group_size + invocation;
    if (i >= widening.step_count) {
        return;
    }
    let vector = i / widening.row_steps;
    let four = src[widening.start + vector * widening.stride + (i - vector * widening.row_steps)];
    dst[i] = vec4(widen_half(four.x & 0xFFFFu), widen_half(four.x >> 16u),
        widen_half(four.y & 0xFFFFu), widen_half(four.y >> 16u));
}
