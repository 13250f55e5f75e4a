// reduce.wgsl - adds up the pieces of rows that matvec.wgsl or matvec_streams.wgsl left: always in the
// same order.

const SPOILT_I8: u32 = 0x80000000u; // of a stream that does not end as it must

override is_integer: bool = false;
override group_size: u32 = 64u;

struct Reduction {
    row_count: u32,   // of all vectors: rows * vectors
    group_columns: u32,
    rows: u32,
    pieces: u32,
    sum_stride: u32,    // of sums, from vector to vector
    row_stride: u32,    // from row to row
    piece_stride: u32,
    y_start: u32,     // in elements
    y_stride: u32,    // from vector to vector, in elements
    has_bias: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> reduction: Reduction;
@group(0) @binding(1) var<storage, read> sums: array<u32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>; // bits of f32, or i32

@compute @workgroup_size(group_size)
fn reduce_pieces(@builtin(workgroup_id) group: vec3<u32>,
                 @builtin(local_invocation_index) invocation: u32) {
    let i = (group.y * reduction.group_columns + group.x) * group_size + invocation;
    if (i >= reduction.row_count) {
        return;
    }
    let row = i % reduction.rows;
    let vector = i / reduction.rows;
    let index = reduction.y_start + vector * reduction.y_stride + row;
    let first = vector * reduction.sum_stride + row * reduction.row_stride;
    if (is_integer) {
        var sum = 0i;
        var is_spoilt = false;
        for (var piece = 0u; piece < reduction.pieces; piece++) {
            let bits = sums[first + piece * reduction.piece_stride];
            sum += bitcast<i32>(bits);
            is_spoilt = is_spoilt || bits == SPOILT_I8;
        }
        y[index] = select(bitcast<u32>(sum), SPOILT_I8, is_spoilt);
        return;
    }
    var sum = 0.0;
    for (var piece = 0u; piece < reduction.pieces; piece++) {
        sum += bitcast<f32>(sums[first + piece * reduction.piece_stride]);
    }
    sum *= reduction.scale;
    if (reduction.has_bias != 0u) {
        sum += bias[row];
    }
    y[index] = bitcast<u32>(sum);
}
