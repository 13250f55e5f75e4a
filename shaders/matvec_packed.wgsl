// matvec_packed.wgsl - a stream's part in a product, of packed weights: see matvec_streams.wgsl.

override has_center: bool = false;      // or it is 0
override has_byte_fields: bool = false; // a byte of a u32 is a number at once, as on most GPUs

// Weights are multiplied as numbers that are so much larger.
fn field_scale() -> f32 {
    return f32(1u << select(32u - bits, 8u - bits, has_byte_fields));
}

fn numbers(field: u32) -> vec4<f32> {
    if (has_byte_fields) {
        return vec4<f32>(integers(field));
    }
    return vec4<f32>(vec4<i32>((vec4(field) << vec4(24u, 16u, 8u, 0u)) & vec4(0xFF000000u)));
}

fn column_weights(field: u32, bytes: vec3<u32>, column: u32) -> vec4<f32> {
    if (kind == KIND_LOSSLESS) {
        let symbols = (integers(field) >> vec4(8u - bits)) + vec4(i32(streams.origin));
        return lossless_weights(fields_bits(symbols), bytes, column);
    }
    if (has_center) {
        return numbers(field) + f32(i32(streams.origin)) * field_scale();
    }
    return numbers(field);
}

fn add_fields(words: vec4<u32>, is_odd: bool, quad: u32) {
    if (kind == KIND_LOSSLESS) {
        load_raw();
    }
    let field = fields(words, is_odd);
    let column = quad * HANSEL_LANES;
    add_quad(quad, column_weights(field.x, raw_column_0(), column),
        column_weights(field.y, raw_column_1(), column + 1u),
        column_weights(field.z, raw_column_2(), column + 2u),
        column_weights(field.w, raw_column_3(), column + 3u));
}

// The first `count` quads of a unit.
fn add_unit(unit: vec4<u32>, quad: u32, count: u32) {
    if (bits == 8u) {
        add_fields(unit, false, quad);
    } else if (bits == 4u) {
        add_fields(unit.xxyy, false, quad);
        if (count > 1u) {
            add_fields(unit.zzww, false, quad + 1u);
        }
    } else if (bits == 2u) {
        add_fields(unit.xxxx, false, quad);
        if (count > 1u) {
            add_fields(unit.yyyy, false, quad + 1u);
        }
        if (count > 2u) {
            add_fields(unit.zzzz, false, quad + 2u);
        }
        if (count > 3u) {
            add_fields(unit.wwww, false, quad + 3u);
        }
    } else {
        add_pair(unit.xxxx, quad, count, 0u);
        add_pair(unit.yyyy, quad, count, 2u);
        add_pair(unit.zzzz, quad, count, 4u);
        add_pair(unit.wwww, quad, count, 6u);
    }
}

// Quads `skipped` and `skipped` + 1 of a unit of weights of one bit.
fn add_pair(words: vec4<u32>, quad: u32, count: u32, skipped: u32) {
    if (count > skipped) {
        add_fields(words, false, quad + skipped);
    }
    if (count > skipped + 1u) {
        add_fields(words, true, quad + skipped + 1u);
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
    return sum * select(1.0 / field_scale(), 1.0, kind == KIND_LOSSLESS);
}
