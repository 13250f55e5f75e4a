// unpack_packed.wgsl - quads of columns of packed weights, one after the other, for unpack.wgsl.

var<private> at: u32;   // unit of the next quad
var<private> next: u32; // quad of that unit
var<private> stride: u32;
var<private> column_0: vec4<i32>; // of the next quad of columns: weights of four rows
var<private> column_1: vec4<i32>;
var<private> column_2: vec4<i32>;
var<private> column_3: vec4<i32>;

fn begin_stream(quad: u32, run: u32) {
    stride = block_lanes(quad);
    at = first_unit(quad, run);
    next = 0u;
}

fn weights(field: u32) -> vec4<i32> {
    return (integers(field) >> vec4(8u - bits)) + vec4(i32(streams.origin));
}

fn next_quad() {
    let unit = units[at];
    var words = unit;
    if (bits == 4u) {
        words = select(unit.xxyy, unit.zzww, next == 1u);
    } else if (bits < 4u) {
        words = vec4(unit[next * bits / 2u]);
    }
    let field = fields(words, (next & 1u) == 1u);
    column_0 = weights(field.x);
    column_1 = weights(field.y);
    column_2 = weights(field.z);
    column_3 = weights(field.w);
    next++;
    if (next == unit_quads()) {
        next = 0u;
        at += stride;
    }
}
