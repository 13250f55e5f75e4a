// dot_packed.wgsl - goes before matvec.wgsl or matvec_plain.wgsl where the browser has the language
// feature packed_4x8_integer_dot_product; dot_plain.wgsl elsewhere.

// Sum of the products of four signed bytes.
fn dot_i8(a: u32, b: u32) -> i32 {
    return dot4I8Packed(a, b);
}
