// matvec_prefix.wgsl - a stream's part in a product, of prefix codes: see matvec_streams.wgsl.

override has_bit_fields: bool = false; // to extract bits as a number is one instruction, as on most GPUs

// Weights of one or two to a code as binary16 in the table: where int becomes float slowly.
override has_halves: bool = false;

// Lossless weights of one to a code: the table has their fields, where they stand in binary32.
fn has_fields() -> bool {
    return kind == KIND_LOSSLESS && weights_per_code == 1u;
}

fn table_entry(entry: u32) -> u32 {
    let length = entry & LENGTH_MASK;
    if (has_fields()) {
        return field_bits(entry >> 24u) | length; // the lowest of them is bit 16
    }
    if (!has_halves) {
        return entry;
    }
    let weights = vec2(i32(entry << 8u) >> 24u, i32(entry) >> 24u);
    if (weights_per_code == 1u) {
        return pack2x16float(vec2(0.0, f32(weights.y))) | length;
    }
    // Their lowest five bits are zeros: weights are from -64 to 64.
    return pack2x16float(vec2<f32>(weights)) | length;
}

// Without bit fields and halves, weights are multiplied as numbers that are so much larger: their
// bits stay on top.
fn field_scale() -> f32 {
    if (has_bit_fields || has_halves || kind == KIND_LOSSLESS) {
        return 1.0;
    }
    return f32(1u << select(24u, 26u, weights_per_code == 4u));
}

fn numbers(entries: vec4<u32>) -> vec4<f32> {
    if (weights_per_code == 4u) {
        if (has_bit_fields) {
            let e = i32(entries.x);
            return vec4<f32>(vec4(e >> 26u, extractBits(e, 20u, 6u), extractBits(e, 14u, 6u),
                extractBits(e, 8u, 6u)));
        }
        return vec4<f32>(vec4<i32>((entries.xxxx << vec4(0u, 6u, 12u, 18u)) & vec4(0xFC000000u)));
    }
    if (has_halves && weights_per_code == 1u) {
        return vec4(unpack2x16float(entries.x).y, unpack2x16float(entries.y).y,
            unpack2x16float(entries.z).y, unpack2x16float(entries.w).y);
    }
    if (has_halves) {
        return vec4(unpack2x16float(entries.x & ~LENGTH_MASK).yx,
            unpack2x16float(entries.y & ~LENGTH_MASK).yx);
    }
    if (has_bit_fields) {
        return vec4<f32>(integers(entries));
    }
    if (weights_per_code == 2u) {
        return vec4<f32>(vec4<i32>((entries.xxyy << vec4(0u, 8u, 0u, 8u)) & vec4(0xFF000000u)));
    }
    return vec4<f32>(vec4<i32>(entries & vec4(0xFF000000u)));
}

fn column_weights(entries: vec4<u32>, bytes: vec3<u32>, column: u32) -> vec4<f32> {
    if (kind == KIND_LOSSLESS) {
        if (has_fields()) {
            return lossless_weights(entries & vec4(~LENGTH_MASK), bytes, column);
        }
        return lossless_weights(fields_bits(integers(entries)), bytes, column);
    }
    return numbers(entries);
}

// Of the column behind one whose entries are these.
fn entries_behind(entries: vec4<u32>) -> vec4<u32> {
    if (weights_per_code == 4u) {
        return entries.yyyy;
    }
    return next_entries();
}

fn add_run(first: u32, end: u32, quad_of_rows: u32, run: u32) {
    begin_stream(quad_of_rows, run);
    for (var quad = first; quad < end; quad++) {
        if (kind == KIND_LOSSLESS) {
            load_raw();
        }
        let column = quad * HANSEL_LANES;
        let entries_0 = next_entries();
        let a = column_weights(entries_0, raw_column_0(), column);
        let b = column_weights(entries_behind(entries_0), raw_column_1(), column + 1u);
        let entries_2 = next_entries();
        let c = column_weights(entries_2, raw_column_2(), column + 2u);
        let d = column_weights(entries_behind(entries_2), raw_column_3(), column + 3u);
        add_quad(quad, a, b, c, d);
    }
}

fn scaled(sum: vec4<f32>) -> vec4<f32> {
    return sum * (1.0 / field_scale());
}
