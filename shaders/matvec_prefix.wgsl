// matvec_prefix.wgsl - a stream's part in a product, of prefix codes: see matvec_streams.wgsl.

fn column_weights(entries: vec4<u32>, quad: u32, k: u32) -> vec4<f32> {
    if (kind == KIND_LOSSLESS) {
        return lossless_weights(vec4<u32>(integers(entries)) & vec4(255u), quad, k);
    }
    return numbers(entries);
}

// Columns k and k + 1 of a quad.
fn add_columns(quad: u32, k: u32) {
    let first = next_entries();
    add_column(column_weights(first, quad, k), k);
    if (weights_per_code == 4u) {
        add_column(column_weights(first.yyyy, quad, k + 1u), k + 1u);
    } else {
        add_column(column_weights(next_entries(), quad, k + 1u), k + 1u);
    }
}

fn add_run(first: u32, end: u32, quad_of_rows: u32, run: u32) {
    begin_stream(quad_of_rows, run);
    for (var quad = first; quad < end; quad++) {
        load_x(quad);
        add_columns(quad, 0u);
        add_columns(quad, 2u);
    }
}

fn scaled(sum: vec4<f32>) -> vec4<f32> {
    return sum;
}
