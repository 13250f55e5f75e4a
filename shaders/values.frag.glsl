#version 300 es
// values.frag.glsl - mirrors values.wgsl: decoded symbols to weights. FORMAT.md sections 5 and 6.
// One fragment turns one step (four symbols) into four binary32 numbers, or two steps into eight
// 16-bit ones. All of it is integer arithmetic, the product with the grid step too: GLSL ES leaves
// open how a product is rounded, and this must be to nearest even.

precision highp int;
precision highp usampler2D;

#ifndef WIDTH_LOG2
#define WIDTH_LOG2 11
#endif

const uint HANSEL_LANES = 4u;
const uint HANSEL_GRID = 0u;
const uint HANSEL_F32 = 1u;
const uint HANSEL_F16 = 2u;

struct Values {
    uint first_step;    // of the tensor, for dst[0]
    uint step_count;
    uint symbols_start; // what symbols[0].x is, in steps from the tensor's first
    uint columns;
    uint mode;
    uint dtype;         // of the tensor
    uint dst_dtype;
    uint step_bits;     // the grid step
    uint limit_bits;    // largest finite number of dst_dtype
    uint raw_bytes;
    uint raw_start;     // byte of raw where weight raw_weight's bytes begin
    uint raw_weight;
};

uniform Values values;
uniform usampler2D symbols;
uniform usampler2D raw; // eight bytes to a texel

layout(location = 0) out uvec4 dst;

ivec2 texel_place(uint index) {
    return ivec2(index & ((1u << WIDTH_LOG2) - 1u), index >> WIDTH_LOG2);
}

// step * index in binary32, clamped to the limit. |index| <= 128, so the exact product of the
// fractions fits a u32.
uint product_bits(uint step_bits, int index) {
    if (index == 0) {
        return 0u;
    }
    uint sign = uint(index) & 0x80000000u;
    uint product = ((step_bits & 0x007FFFFFu) | 0x00800000u) * uint(abs(index));
    uint exponent = step_bits >> 23;
    uint shift = 0u;
    while (product >> shift >= 0x01000000u) {
        shift++;
    }
    uint kept = product >> shift;
    uint lost = (product & ((1u << shift) - 1u)) << 1; // twice the fraction cut off
    uint unit = 1u << shift;
    kept += lost > unit || (lost == unit && (kept & 1u) == 1u) ? 1u : 0u;
    // kept may have become 2^24: its carry then counts up the exponent.
    uint bits = ((exponent + shift - 1u) << 23) + kept;
    return sign | min(bits, values.limit_bits);
}

uint float_from_half(uint half_bits) {
    uint sign = (half_bits & 0x8000u) << 16;
    uint rest = half_bits & 0x7FFFu;
    if (rest >= 0x7C00u) {
        return sign | 0x7F800000u | ((rest & 0x03FFu) << 13);
    }
    if (rest >= 0x0400u) {
        return sign | ((rest << 13) + 0x38000000u);
    }
    if (rest == 0u) {
        return sign;
    }
    uint top = 9u; // a subnormal half is a normal float
    while (rest >> top == 0u) {
        top--;
    }
    return sign | ((top + 103u) << 23) | ((rest << (23u - top)) & 0x007FFFFFu);
}

// To nearest, ties to even.
uint half_from_float(uint bits) {
    uint sign = (bits >> 16) & 0x8000u;
    uint rest = bits & 0x7FFFFFFFu;
    if (rest > 0x7F800000u) {
        return sign | 0x7E00u;
    }
    if (rest >= 0x477FF000u) {
        return sign | 0x7C00u;
    }
    if (rest >= 0x38800000u) {
        return sign | ((rest - 0x38000000u + 0x0FFFu + ((rest >> 13) & 1u)) >> 13);
    }
    if (rest < 0x33000000u) {
        return sign; // less than half a unit, 2^-25
    }
    uint shift = 126u - (rest >> 23); // the fraction's bits below the unit 2^-24
    uint fraction = (rest & 0x007FFFFFu) | 0x00800000u;
    uint kept = fraction >> shift;
    uint lost = fraction & ((1u << shift) - 1u);
    uint middle = 1u << (shift - 1u);
    return sign | (kept + (lost > middle || (lost == middle && (kept & 1u) == 1u) ? 1u : 0u));
}

uint bfloat_from_float(uint bits) {
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) {
        return (bits >> 16) | 0x40u;
    }
    return (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
}

uint raw_byte(uint at) {
    uint four = texelFetch(raw, texel_place(at >> 3), 0)[(at >> 2) & 1u];
    return (four >> ((at & 3u) * 8u)) & 255u;
}

// A lossless weight's own bits: rotated left by one, the symbol is the highest byte.
uint join(uint symbol, uint weight) {
    uint at = values.raw_start + (weight - values.raw_weight) * values.raw_bytes;
    if (values.dtype == HANSEL_F32) {
        uint w = symbol << 24 | raw_byte(at + 2u) << 16 | raw_byte(at + 1u) << 8 | raw_byte(at);
        return w >> 1 | w << 31;
    }
    uint w = symbol << 8 | raw_byte(at);
    return w >> 1 | ((w << 15) & 0x8000u);
}

// A weight as bits of dst_dtype.
uint weight_bits(uint symbol, uint weight) {
    uint bits;
    if (values.mode == HANSEL_GRID) {
        bits = product_bits(values.step_bits, int(symbol << 24) >> 24);
    } else {
        bits = join(symbol, weight);
        if (values.dtype == values.dst_dtype) {
            return bits; // NaNs too stay as they are
        }
        if (values.dtype == HANSEL_F16) {
            bits = float_from_half(bits);
        } else if (values.dtype != HANSEL_F32) {
            bits <<= 16;
        }
    }
    if (values.dst_dtype == HANSEL_F32) {
        return bits;
    }
    return values.dst_dtype == HANSEL_F16 ? half_from_float(bits) : bfloat_from_float(bits);
}

// The four weights of a step, counted from first_step. Beyond the last, anything.
uvec4 convert_step(uint i) {
    uint at = values.first_step + min(i, values.step_count - 1u);
    uint row_steps = (values.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    uint weight = at / row_steps * values.columns + at % row_steps * HANSEL_LANES;
    uint src = at - values.symbols_start;
    uint step_symbols = texelFetch(symbols, texel_place(src >> 2), 0)[src & 3u];
    uvec4 bits = uvec4(0u);
    for (uint lane = 0u; lane < HANSEL_LANES; lane++) {
        bits = uvec4(bits.yzw, weight_bits((step_symbols >> (8u * lane)) & 255u, weight + lane));
    }
    return bits;
}

void main() {
    uint i = (uint(gl_FragCoord.y) << WIDTH_LOG2) + uint(gl_FragCoord.x);
    if (values.dst_dtype == HANSEL_F32) {
        dst = convert_step(i);
        return;
    }
    uvec4 low = convert_step(2u * i);
    uvec4 high = convert_step(2u * i + 1u);
    dst = uvec4(low.xz | low.yw << 16, high.xz | high.yw << 16);
}
