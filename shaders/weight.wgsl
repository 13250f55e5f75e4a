// weight.wgsl - reads a decoded matrix, for shaders of your own. Append this file to yours, and
// bind the buffer of a loaded matrix (w.buffer) as array<u32>:
//
//     let weight = hansel_weight(buffer[hansel_index(row, column, columns)], column, step);

// Where a quad of symbols lies: rows are padded to four columns.
fn hansel_index(row: u32, column: u32, columns: u32) -> u32 {
    return row * ((columns + 3u) / 4u) + column / 4u;
}

// Grid index of a column, from -128 to 127.
fn hansel_symbol(quad_symbols: u32, column: u32) -> i32 {
    return extractBits(i32(quad_symbols), 8u * (column & 3u), 8u);
}

// The weight: grid step times grid index.
fn hansel_weight(quad_symbols: u32, column: u32, step: f32) -> f32 {
    return step * f32(hansel_symbol(quad_symbols, column));
}
