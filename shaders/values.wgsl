// values.wgsl - decoded symbols to weights: mirrors hansel_dequantize and hansel_join of
// src/values.c. One invocation turns one quad (four symbols) into four weights. FORMAT.md
// sections 5 and 6. NaNs and subnormals come through as they are. Goes after halves.wgsl,
// lossless_bits.wgsl and lossless.wgsl.

const HANSEL_LANES: u32 = 4u;
const HANSEL_GRID: u32 = 0u;

override group_size: u32 = 64u;

struct Values {
    first_quad: u32,    // of the tensor, for dst[0]
    quad_count: u32,
    group_columns: u32,
    symbols_start: u32, // what symbols[0] is, in quads from the tensor's first
    columns: u32,
    mode: u32,
    dst_dtype: u32,     // HANSEL_F32: a u32 a weight; others: two weights in a u32
    raw_bytes: u32,
    raw_offset: u32,    // byte of raw where row 0 of the tensor would begin, modulo 2^32
    raw_pitch: u32,     // bytes from row to row
    step: f32,
    limit: f32,         // largest finite number of dst_dtype
    lossless: Lossless,
}

@group(0) @binding(0) var<uniform> values: Values;
@group(0) @binding(1) var<storage, read> symbols: array<u32>;
@group(0) @binding(2) var<storage, read> raw: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

// To nearest, ties to even.
fn half_from_float(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let rest = bits & 0x7FFFFFFFu;
    if (rest > 0x7F800000u) {
        return sign | 0x7E00u;
    }
    if (rest >= 0x477FF000u) {
        return sign | 0x7C00u;
    }
    if (rest >= 0x38800000u) {
        return sign | ((rest - 0x38000000u + 0x0FFFu + ((rest >> 13u) & 1u)) >> 13u);
    }
    if (rest < 0x33000000u) {
        return sign; // less than half a unit, 2^-25
    }
    let shift = 126u - (rest >> 23u); // the fraction's bits below the unit 2^-24
    let fraction = (rest & 0x007FFFFFu) | 0x00800000u;
    let kept = fraction >> shift;
    let lost = fraction & ((1u << shift) - 1u);
    let middle = 1u << (shift - 1u);
    return sign | (kept + select(0u, 1u, lost > middle || (lost == middle && (kept & 1u) == 1u)));
}

fn bfloat_from_float(bits: u32) -> u32 {
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) {
        return (bits >> 16u) | 0x40u;
    }
    return (bits + 0x7FFFu + ((bits >> 16u) & 1u)) >> 16u;
}

// A weight as bits of dst_dtype.
fn weight_bits(symbol: u32, row: u32, column: u32) -> u32 {
    var bits: u32;
    if (values.mode == HANSEL_GRID) {
        let value = values.step * f32(i32(symbol << 24u) >> 24u);
        bits = bitcast<u32>(clamp(value, -values.limit, values.limit));
    } else {
        let index = values.raw_offset + row * values.raw_pitch + column * values.raw_bytes;
        bits = join(symbol, index, values.lossless);
        if (values.lossless.dtype == values.dst_dtype) {
            return bits; // NaNs too stay as they are
        }
        bits = float_bits(bits, values.lossless.dtype);
    }
    if (values.dst_dtype == HANSEL_F32) {
        return bits;
    }
    return select(bfloat_from_float(bits), half_from_float(bits), values.dst_dtype == HANSEL_F16);
}

@compute @workgroup_size(group_size)
fn convert_values(@builtin(workgroup_id) group: vec3<u32>,
                  @builtin(local_invocation_index) invocation: u32) {
    let i = (group.y * values.group_columns + group.x) * group_size + invocation;
    if (i >= values.quad_count) {
        return;
    }
    let at = values.first_quad + i;
    let row_quads = (values.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    let quad_symbols = symbols[at - values.symbols_start];
    var bits: vec4<u32>;
    for (var lane = 0u; lane < HANSEL_LANES; lane++) {
        bits[lane] = weight_bits((quad_symbols >> (8u * lane)) & 255u, at / row_quads,
            at % row_quads * HANSEL_LANES + lane);
    }
    if (values.dst_dtype == HANSEL_F32) {
        for (var lane = 0u; lane < HANSEL_LANES; lane++) {
            dst[i * HANSEL_LANES + lane] = bits[lane];
        }
        return;
    }
    dst[2u * i] = bits.x | (bits.y << 16u);
    dst[2u * i + 1u] = bits.z | (bits.w << 16u);
}
