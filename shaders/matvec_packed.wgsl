// matvec_packed.wgsl - a stream's part in a product, of packed weights: see matvec_streams.wgsl.

override has_center: bool = false; // or it is 0

fn column_weights(unit: vec4<u32>, q: u32, quad: u32, k: u32) -> vec4<f32> {
    let weights = integers(fields(unit, q, k));
    if (kind == KIND_LOSSLESS) {
        return lossless_weights(vec4<u32>(weights) & vec4(255u), quad, k);
    }
    if (has_center) {
        return vec4<f32>(weights + vec4(i32(streams.origin) << (8u - bits)));
    }
    return vec4<f32>(weights);
}

fn add_quad(unit: vec4<u32>, q: u32, first: u32) {
    let quad = first + q;
    load_x(quad);
    add_column(column_weights(unit, q, quad, 0u), 0u);
    add_column(column_weights(unit, q, quad, 1u), 1u);
    add_column(column_weights(unit, q, quad, 2u), 2u);
    add_column(column_weights(unit, q, quad, 3u), 3u);
}

// The first `count` quads of a unit. No loop: software renderers would not unroll it.
fn add_unit(unit: vec4<u32>, quad: u32, count: u32) {
    add_quad(unit, 0u, quad);
    if (bits <= 4u && count > 1u) {
        add_quad(unit, 1u, quad);
    }
    if (bits <= 2u && count > 2u) {
        add_quad(unit, 2u, quad);
    }
    if (bits <= 2u && count > 3u) {
        add_quad(unit, 3u, quad);
    }
    if (bits == 1u && count > 4u) {
        add_quad(unit, 4u, quad);
    }
    if (bits == 1u && count > 5u) {
        add_quad(unit, 5u, quad);
    }
    if (bits == 1u && count > 6u) {
        add_quad(unit, 6u, quad);
    }
    if (bits == 1u && count > 7u) {
        add_quad(unit, 7u, quad);
    }
}

fn add_run(first: u32, end: u32, quad_of_rows: u32, run: u32) {
    let lanes = block_lanes(quad_of_rows);
    var at = first_unit(quad_of_rows, run);
    var quad = first;
    for (; quad + unit_quads() <= end; quad += unit_quads()) {
        add_unit(units[at], quad, unit_quads());
        at += lanes;
    }
    if (quad < end) {
        add_unit(units[at], quad, end - quad);
    }
}

fn scaled(sum: vec4<f32>) -> vec4<f32> {
    return sum / f32(1u << (8u - bits));
}
