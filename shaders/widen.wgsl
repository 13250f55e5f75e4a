// widen.wgsl - makes vectors of binary16 into vectors of binary32, exactly, before a product reads
// them: each element is converted once here, once for every row in the product's kernel. Goes
// after halves.wgsl.

override group_size: u32 = 64u;

struct Widening {
    quad_count: u32,    // of all vectors; a quad is four elements
    group_columns: u32, // workgroups in a row of the dispatch
    row_quads: u32,     // of a vector
    start: u32,         // of the first vector in src, in quads
    stride: u32,        // from vector to vector in src, in quads
}

@group(0) @binding(0) var<uniform> widening: Widening;
@group(0) @binding(1) var<storage, read> src: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>; // bits of f32

@compute @workgroup_size(group_size)
fn widen_vectors(@builtin(workgroup_id) group: vec3<u32>,
                 @builtin(local_invocation_index) invocation: u32) {
    let i = (group.y * widening.group_columns + group.x) * group_size + invocation;
    if (i >= widening.quad_count) {
        return;
    }
    let vector = i / widening.row_quads;
    let four = src[widening.start + vector * widening.stride + (i - vector * widening.row_quads)];
    dst[i] = vec4(float_from_half(four.x & 0xFFFFu), float_from_half(four.x >> 16u),
        float_from_half(four.y & 0xFFFFu), float_from_half(four.y >> 16u));
}
