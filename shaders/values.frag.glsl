// values.frag.glsl - mirrors values.wgsl: decoded symbols to weights. FORMAT.md sections 5 and 6.
// One fragment turns one quad (four symbols) into four binary32 numbers, or two quads into eight
// 16-bit ones. The product with the grid step is integer arithmetic: GLSL ES leaves open how one is
// rounded, and this must be to nearest even. Goes after lossless.glsl.

#if !RAW_STREAMS // or streams.glsl has it
const uint HANSEL_LANES = 4u;
#endif
const uint HANSEL_GRID = 0u;

struct Values {
    uint first_quad;    // of the tensor, for dst[0]
    uint quad_count;
    uint symbols_start; // what symbols[0].x is, in quads from the tensor's first
    uint columns;
    uint mode;
    uint dst_dtype;
    uint step_bits;     // the grid step
    uint limit_bits;    // largest finite number of dst_dtype
    uint raw_bytes;
    uint raw_offset;    // byte of raw where row 0 of the tensor would begin, modulo 2^32
    uint raw_pitch;     // bytes from row to row
};

uniform Values values;
uniform usampler2D symbols;

layout(location = 0) out uvec4 dst;

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

// A weight as bits of dst_dtype.
uint weight_bits(uint symbol, uint row, uint column) {
    uint bits;
    if (values.mode == HANSEL_GRID) {
        bits = product_bits(values.step_bits, int(symbol << 24) >> 24);
    } else {
        uint index = values.raw_offset + row * values.raw_pitch + column * values.raw_bytes;
        bits = join(symbol, index);
        if (lossless.dtype == values.dst_dtype) {
            return bits; // NaNs too stay as they are
        }
        bits = float_bits(bits);
    }
    if (values.dst_dtype == HANSEL_F32) {
        return bits;
    }
    return values.dst_dtype == HANSEL_F16 ? half_from_float(bits) : bfloat_from_float(bits);
}

// The four weights of a quad, counted from first_quad. Beyond the last, anything.
uvec4 convert_quad(uint i) {
    uint at = values.first_quad + min(i, values.quad_count - 1u);
    uint quads = (values.columns + HANSEL_LANES - 1u) / HANSEL_LANES; // of a row
    uint row = at / quads;
    uint column = (at - row * quads) * HANSEL_LANES;
    uint src = at - values.symbols_start;
    uint quad_symbols = texelFetch(symbols, texel_place(src >> 2), 0)[src & 3u];
    uvec4 bits = uvec4(0u);
    for (uint lane = 0u; lane < HANSEL_LANES; lane++) {
        bits = uvec4(bits.yzw, weight_bits((quad_symbols >> (8u * lane)) & 255u, row, column + lane));
    }
    return bits;
}

void main() {
    uint i = fragment_texel();
    if (values.dst_dtype == HANSEL_F32) {
        dst = convert_quad(i);
        return;
    }
    uvec4 low = convert_quad(2u * i);
    uvec4 high = convert_quad(2u * i + 1u);
    dst = uvec4(low.xz | low.yw << 16, high.xz | high.yw << 16);
}
