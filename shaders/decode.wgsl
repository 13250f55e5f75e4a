// decode.wgsl - decodes a matrix, a stream to an invocation. Goes after decode_stream.wgsl.
//
// dst receives a byte a weight, four to a u32, lowest byte first: row r, column c of the matrix is
// byte c % 4 of dst[r * row_quads() + c / 4 - dst_start]. Bytes beyond the last column are 0.
// faults[0] becomes the lowest stream that breaks a rule of the format.

// Whether all streams begin and rows end at even quads: then pairs of quads are stored at once.
override pairs: bool = false;

@group(0) @binding(4) var<storage, read_write> dst: array<u32>;             // unless pairs
@group(0) @binding(5) var<storage, read_write> dst_pairs: array<vec2<u32>>; // if pairs
@group(0) @binding(6) var<storage, read_write> faults: array<atomic<u32>>;

fn dst_index(row: u32, quad: u32) -> u32 {
    return row * row_quads() + quad - blob.dst_start;
}

fn store_quads(index: u32, symbols: u32, k: u32) {
    if (pairs) {
        dst_pairs[(index + k) >> 1u] = vec2(unfold(symbols, k), unfold(symbols, k + 1u));
    } else {
        dst[index + k] = unfold(symbols, k);
        dst[index + k + 1u] = unfold(symbols, k + 1u);
    }
}

// All weights of a full step of folded symbols.
fn store_fields(symbols: u32, row: u32, column_step: u32) {
    let index = dst_index(row, column_step * weights_per_symbol);
    store_quads(index, symbols, 0u);
    if (weights_per_symbol == 4u) {
        store_quads(index, symbols, 2u);
    }
}

// The last step of a row may have fewer quads than others.
fn store_last(symbols: u32, row: u32, column_step: u32) {
    let quad = column_step * weights_per_symbol;
    let index = dst_index(row, quad);
    for (var k = 0u; k < weights_per_symbol && quad + k < row_quads(); k++) {
        let bytes = last_cut(unfold(symbols, k), quad + k);
        if (pairs) {
            dst_pairs[(index + k) >> 1u][k & 1u] = bytes;
        } else {
            dst[index + k] = bytes;
        }
    }
}

// The quad's bytes, but 0 beyond the last column.
fn last_cut(bytes: u32, quad: u32) -> u32 {
    let count = min(blob.columns - HANSEL_LANES * quad, HANSEL_LANES);
    return bytes & (0xFFFFFFFFu >> (8u * (HANSEL_LANES - count)));
}

fn emit(entry: vec4<u32>, row: u32, column_step: u32) {
    if (weights_per_symbol > 1u) {
        store_last(pack_symbols(entry), row, column_step);
        return;
    }
    let index = dst_index(row, column_step);
    if (pairs) {
        dst_pairs[index >> 1u][index & 1u] = pack_symbols(entry);
    } else {
        dst[index] = pack_symbols(entry);
    }
}

fn emit_pair(first: vec4<u32>, second: vec4<u32>, row: u32, column_step: u32) {
    if (weights_per_symbol > 1u) {
        store_fields(pack_symbols(first), row, column_step);
        store_fields(pack_symbols(second), row, column_step + 1u);
        return;
    }
    let index = dst_index(row, column_step);
    if (pairs) {
        dst_pairs[index >> 1u] = vec2(pack_symbols(first), pack_symbols(second));
    } else {
        dst[index] = pack_symbols(first);
        dst[index + 1u] = pack_symbols(second);
    }
}

fn end_row(row: u32) {
}

@compute @workgroup_size(group_size)
fn decode_streams(@builtin(workgroup_id) group: vec3<u32>,
                  @builtin(local_invocation_index) invocation: u32) {
    load_table(invocation);
    let i = (group.y * blob.group_columns + group.x) * group_size + invocation;
    if (i >= blob.stream_count) {
        return;
    }
    let stream = blob.first_stream + i;
    if (!decode_stream(stream_extent(stream), cursors[i], cursors[i + 1u])) {
        atomicMin(&faults[0], stream);
    }
}
