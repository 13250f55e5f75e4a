// unpack.wgsl - weights in streams of four rows to symbols, as decode.wgsl leaves them: a byte a
// weight, four to a u32, rows padded with zeros. One invocation unpacks one stream. Goes after
// streams.wgsl, streams_prefix.wgsl and unpack_prefix.wgsl, or streams_packed.wgsl and
// unpack_packed.wgsl.

@group(0) @binding(4) var<storage, read_write> dst: array<u32>;

fn store_row(row: u32, quad: u32, bytes: vec4<i32>) {
    if (row >= streams.rows) {
        return;
    }
    let b = vec4<u32>(bytes) & vec4(255u);
    let count = min(streams.columns - HANSEL_LANES * quad, HANSEL_LANES);
    dst[row * row_quads() + quad] = (b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u)) &
        (0xFFFFFFFFu >> (8u * (HANSEL_LANES - count)));
}

@compute @workgroup_size(group_size)
fn unpack_streams(@builtin(workgroup_id) group: vec3<u32>,
                  @builtin(local_invocation_index) invocation: u32) {
    load_table(invocation);
    let i = group.x * group_size + invocation;
    if (i >= stream_quads()) {
        return;
    }
    begin_stream(i, group.y);
    let row = HANSEL_CODE_ROWS * i;
    let first = group.y * streams.run_quads;
    for (var quad = first; quad < min(first + streams.run_quads, row_quads()); quad++) {
        next_quad();
        store_row(row, quad, vec4(column_0.x, column_1.x, column_2.x, column_3.x));
        store_row(row + 1u, quad, vec4(column_0.y, column_1.y, column_2.y, column_3.y));
        store_row(row + 2u, quad, vec4(column_0.z, column_1.z, column_2.z, column_3.z));
        store_row(row + 3u, quad, vec4(column_0.w, column_1.w, column_2.w, column_3.w));
    }
}
