// unpack_prefix.wgsl - quads of columns of prefix codes, one after the other, for unpack.wgsl.

// Of the next quad of columns: weights of four rows.
var<private> column_0: vec4<i32>;
var<private> column_1: vec4<i32>;
var<private> column_2: vec4<i32>;
var<private> column_3: vec4<i32>;

fn table_entry(entry: u32) -> u32 {
    return entry;
}

fn next_quad() {
    let first = next_entries();
    column_0 = integers(first);
    if (weights_per_code == 4u) {
        let second = next_entries();
        column_1 = integers(first.yyyy);
        column_2 = integers(second);
        column_3 = integers(second.yyyy);
        return;
    }
    column_1 = integers(next_entries());
    column_2 = integers(next_entries());
    column_3 = integers(next_entries());
}
