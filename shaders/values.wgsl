// values.wgsl - decoded symbols to weights: mirrors hansel_dequantize and hansel_join of
// src/values.c. One invocation turns one step (four symbols) into four weights. FORMAT.md
// sections 5 and 6. Everything but the one multiplication is integer arithmetic, so NaNs and
// subnormals come through as they are.

const HANSEL_LANES: u32 = 4u;
const HANSEL_GRID: u32 = 0u;
const HANSEL_F32: u32 = 1u;
const HANSEL_F16: u32 = 2u;

override group_size: u32 = 64u;

struct Values {
    first_step: u32,    // of the tensor, for dst[0]
    step_count: u32,
    group_columns: u32,
    symbols_start: u32, // what symbols[0] is, in steps from the tensor's first
    columns: u32,
    mode: u32,
    dtype: u32,         // of the tensor
    dst_dtype: u32,     // HANSEL_F32: a u32 a weight; others: two weights in a u32
    step: f32,
    raw_bytes: u32,
    raw_start: u32,     // byte of raw where weight raw_weight's bytes begin
    raw_weight: u32,
    limit: f32,         // largest finite number of dst_dtype
}

@group(0) @binding(0) var<uniform> values: Values;
@group(0) @binding(1) var<storage, read> symbols: array<u32>;
@group(0) @binding(2) var<storage, read> raw: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

fn float_from_half(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let rest = half & 0x7FFFu;
    if (rest >= 0x7C00u) {
        return sign | 0x7F800000u | ((rest & 0x03FFu) << 13u);
    }
    if (rest >= 0x0400u) {
        return sign | ((rest << 13u) + 0x38000000u);
    }
    if (rest == 0u) {
        return sign;
    }
    let top = firstLeadingBit(rest); // a subnormal half is a normal float
    return sign | ((top + 103u) << 23u) | ((rest << (23u - top)) & 0x007FFFFFu);
}

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

fn raw_byte(at: u32) -> u32 {
    return (raw[at >> 2u] >> ((at & 3u) * 8u)) & 255u;
}

// A lossless weight's own bits: rotated left by one, the symbol is the highest byte.
fn join(symbol: u32, weight: u32) -> u32 {
    let at = values.raw_start + (weight - values.raw_weight) * values.raw_bytes;
    if (values.dtype == HANSEL_F32) {
        let w = (symbol << 24u) | (raw_byte(at + 2u) << 16u) | (raw_byte(at + 1u) << 8u) |
            raw_byte(at);
        return (w >> 1u) | (w << 31u);
    }
    let w = (symbol << 8u) | raw_byte(at);
    return (w >> 1u) | ((w << 15u) & 0x8000u);
}

// A weight as bits of dst_dtype.
fn weight_bits(symbol: u32, weight: u32) -> u32 {
    var bits: u32;
    if (values.mode == HANSEL_GRID) {
        let value = values.step * f32(i32(symbol << 24u) >> 24u);
        bits = bitcast<u32>(clamp(value, -values.limit, values.limit));
    } else {
        bits = join(symbol, weight);
        if (values.dtype == values.dst_dtype) {
            return bits; // NaNs too stay as they are
        }
        if (values.dtype == HANSEL_F16) {
            bits = float_from_half(bits);
        } else if (values.dtype != HANSEL_F32) {
            bits <<= 16u;
        }
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
    if (i >= values.step_count) {
        return;
    }
    let at = values.first_step + i;
    let row_steps = (values.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    let weight = at / row_steps * values.columns + at % row_steps * HANSEL_LANES;
    let step_symbols = symbols[at - values.symbols_start];
    var bits: vec4<u32>;
    for (var lane = 0u; lane < HANSEL_LANES; lane++) {
        bits[lane] = weight_bits((step_symbols >> (8u * lane)) & 255u, weight + lane);
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
