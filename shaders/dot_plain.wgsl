// dot_plain.wgsl - dot_packed.wgsl for browsers without packed_4x8_integer_dot_product.

// Sum of the products of four signed bytes.
fn dot_i8(a: u32, b: u32) -> i32 {
    let shift = vec4(24u, 16u, 8u, 0u);
    let p = (vec4<i32>(vec4(a) << shift) >> vec4(24u)) * (vec4<i32>(vec4(b) << shift) >> vec4(24u));
    return (p.x + p.y) + (p.z + p.w);
}
