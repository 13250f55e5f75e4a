/*
 * values.c - weights to bytes and back: grid quantization (FORMAT.md section 6)
 * and the lossless planes (section 5). Functions pair by name: quantize with
 * dequantize, split with join.
 *
 * All arithmetic is IEEE 754 binary32 or binary64 with one rounding an
 * operation, so every build gives the same bytes; compile without contraction
 * (-ffp-contract=off).
 */
#include "internal.h"

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

#define BLOCK 1024 /* weights converted to binary32 at a time */
#define BYTES 256  /* that there are */
#define SUMS 4     /* interleaved partial sums: breaks the chain of additions */

/* Three bytes are no vector's element: SIMD would be larger, not faster. */
#if defined(__clang__)
#define SCALAR_LOOP _Pragma("clang loop vectorize(disable)")
#else
#define SCALAR_LOOP
#endif

static inline float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint32_t bits_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

/* binary16 to binary32, exact. A subnormal's value is its fraction times 2^-24. */
static inline float float_from_half(uint32_t half) {
    uint32_t sign = (half & 0x8000u) << 16, rest = half & 0x7FFFu;
    if (rest < 0x0400u) {
        float value = (float)rest * (1.0f / 16777216.0f);
        return sign ? -value : value;
    }
    if (rest >= 0x7C00u) return float_from_bits(sign | 0x7F800000u | (rest & 0x03FFu) << 13);
    return float_from_bits(sign | ((rest << 13) + 0x38000000u));
}

/* binary32 to binary16, to nearest, ties to even. */
static inline uint32_t half_from_float(float value) {
    uint32_t bits = bits_from_float(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7FFFFFFFu;
    if (rest > 0x7F800000u) return sign | 0x7E00u;
    if (rest >= 0x477FF000u) return sign | 0x7C00u; /* rounds to 2^16 or more */
    if (rest < 0x38800000u) {
        /* Adding 1/2 puts the unit of a subnormal half, 2^-24, in the last
         * place of the sum, which therefore is rounded as wanted. */
        float sum = float_from_bits(rest) + 0.5f;
        return sign | (bits_from_float(sum) - 0x3F000000u);
    }
    return sign | ((rest - 0x38000000u + 0x0FFFu + (rest >> 13 & 1)) >> 13);
}

static inline uint32_t bfloat_from_float(float value) {
    uint32_t bits = bits_from_float(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (bits >> 16) | 0x40u;
    return (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
}

static float largest(uint32_t dtype) {
    return dtype == HANSEL_F16 ? 65504.0f : dtype == HANSEL_BF16 ? 3.38953139e38f : 3.40282347e38f;
}

/* step * q[i], never infinite in dtype, but not yet rounded to it. */
static void grid_values(float *restrict dst, uint32_t dtype, float step, const float *restrict q,
                        size_t count) {
    float limit = largest(dtype);
    size_t i;
    for (i = 0; i < count; i++) {
        float value = step * q[i];
        dst[i] = value > limit ? limit : value < -limit ? -limit : value;
    }
}

void hansel_load_floats(float *restrict dst, uint32_t dtype, const uint8_t *restrict src,
                        size_t count) {
    size_t i;
    if (dtype == HANSEL_F32) {
        memcpy(dst, src, 4 * count);
    } else if (dtype == HANSEL_BF16) {
        for (i = 0; i < count; i++) dst[i] = float_from_bits(hansel_load16(src + 2 * i) << 16);
    } else {
        for (i = 0; i < count; i++) dst[i] = float_from_half(hansel_load16(src + 2 * i));
    }
}

/* Rounds to dtype. */
static void store_floats(uint8_t *restrict dst, uint32_t dtype, const float *restrict src,
                         size_t count) {
    size_t i;
    if (dtype == HANSEL_F32) {
        memcpy(dst, src, 4 * count);
    } else if (dtype == HANSEL_BF16) {
        for (i = 0; i < count; i++) hansel_store16(dst + 2 * i, bfloat_from_float(src[i]));
    } else {
        for (i = 0; i < count; i++) hansel_store16(dst + 2 * i, half_from_float(src[i]));
    }
}

/* Adds (a[i] - b[i])^2 to sums[i mod SUMS], but the last count mod SUMS to sums[0]; b may
 * be NULL for zeros. */
static void add_squares(double sums[SUMS], const float *a, const float *b, size_t count) {
    double s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    size_t i;
    for (i = 0; i + SUMS <= count; i += SUMS) {
        double e0 = (double)a[i] - (b ? (double)b[i] : 0);
        double e1 = (double)a[i + 1] - (b ? (double)b[i + 1] : 0);
        double e2 = (double)a[i + 2] - (b ? (double)b[i + 2] : 0);
        double e3 = (double)a[i + 3] - (b ? (double)b[i + 3] : 0);
        s0 += e0 * e0;
        s1 += e1 * e1;
        s2 += e2 * e2;
        s3 += e3 * e3;
    }
    for (; i < count; i++) { /* the last of a slice: fewer than SUMS */
        double e = (double)a[i] - (b ? (double)b[i] : 0);
        s0 += e * e;
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

int hansel_is_float(uint32_t dtype) {
    return dtype == HANSEL_F32 || dtype == HANSEL_F16 || dtype == HANSEL_BF16;
}

/* A number's bits as an integer that is ordered as the numbers are, and back. */
static inline int32_t order_of_bits(uint32_t bits) {
    return (int32_t)(bits ^ ((uint32_t)((int32_t)bits >> 31) & 0x7FFFFFFFu));
}

static inline float float_from_order(int32_t order) {
    return float_from_bits((uint32_t)order_of_bits((uint32_t)order));
}

hansel_status hansel_scan(hansel_stats *stats, uint32_t dtype, const void *src, size_t count,
                          hansel_fault *fault) {
    const int32_t infinity = 0x7F800000;
    const uint8_t *bytes = src;
    uint32_t size = hansel_dtype_bytes(dtype);
    int32_t low = order_of_bits(bits_from_float(stats->low));
    int32_t high = order_of_bits(bits_from_float(stats->high));
    float block[BLOCK];
    double sums[SUMS] = {0, 0, 0, 0};
    size_t done, n, i;
    if (!hansel_is_float(dtype)) return HANSEL_ERR_ARGUMENT;
    for (done = 0; done < count; done += n) {
        n = count - done < BLOCK ? count - done : BLOCK;
        hansel_load_floats(block, dtype, bytes + done * size, n);
        for (i = 0; i < n; i++) {
            int32_t order = order_of_bits(bits_from_float(block[i]));
            low = order < low ? order : low;
            high = order > high ? order : high;
        }
        if (low <= ~infinity || high >= infinity) { /* NaNs lie beyond the infinities */
            for (i = 0; (bits_from_float(block[i]) & 0x7F800000u) != 0x7F800000u;) i++;
            if (fault) {
                fault->position = done + i;
                fault->expected = 0;
                fault->found = bits_from_float(block[i]);
            }
            return HANSEL_ERR_NOT_FINITE;
        }
        add_squares(sums, block, NULL, n);
    }
    stats->low = float_from_order(low);
    stats->high = float_from_order(high);
    stats->sum_squares += (sums[0] + sums[2]) + (sums[1] + sums[3]);
    return HANSEL_OK;
}

hansel_status hansel_quantize(uint8_t *dst, uint32_t dtype, const void *src, size_t count,
                              float step, int clamp, hansel_stats *stats, hansel_fault *fault) {
    const uint8_t *bytes = src;
    uint32_t size = hansel_dtype_bytes(dtype), outside = 0;
    float weights[BLOCK], indices[BLOCK], values[BLOCK];
    uint32_t bits[BLOCK];
    uint8_t rounded[2 * BLOCK];
    double sums[SUMS] = {0, 0, 0, 0};
    uint32_t max_error = bits_from_float((float)stats->max_error);
    size_t done, n, i;
    if (!hansel_is_float(dtype) || !(step >= HANSEL_MIN_STEP)) return HANSEL_ERR_ARGUMENT;
    for (done = 0; done < count; done += n) {
        uint32_t before = outside;
        n = count - done < BLOCK ? count - done : BLOCK;
        hansel_load_floats(weights, dtype, bytes + done * size, n);
        for (i = 0; i < n; i++) {
            float q = weights[i] / step;
            /* Far outside stays outside; also inf, where w / step overflows. */
            q = q < -1024.0f ? -1024.0f : q;
            q = q > 1024.0f ? 1024.0f : q;
            q = (q + HANSEL_ROUNDER) - HANSEL_ROUNDER;
            outside += (uint32_t)(q < -128.0f) | (uint32_t)(q > 127.0f);
            q = q < -128.0f ? -128.0f : q;
            q = q > 127.0f ? 127.0f : q;
            indices[i] = q;
            bits[i] = bits_from_float(q + HANSEL_ROUNDER);
        }
        for (i = 0; i < n; i++) dst[done + i] = (uint8_t)bits[i];
        if (outside != before && !clamp) {
            for (i = 0; i < n; i++) {
                float q = weights[i] / step;
                if (q >= -128.5f && q < 127.5f) continue;
                if (fault) {
                    fault->position = done + i;
                    fault->expected = 127;
                    fault->found = q > 0 ? 128 : 129;
                }
                return HANSEL_ERR_RANGE;
            }
        }
        grid_values(values, dtype, step, indices, n);
        if (dtype != HANSEL_F32) {
            store_floats(rounded, dtype, values, n);
            hansel_load_floats(values, dtype, rounded, n);
        }
        add_squares(sums, weights, values, n);
        for (i = 0; i < n; i++) {
            /* Bits of positive numbers are ordered as the numbers are. */
            uint32_t error = bits_from_float(weights[i] - values[i]) & 0x7FFFFFFFu;
            max_error = error > max_error ? error : max_error;
        }
    }
    stats->sum_error += (sums[0] + sums[2]) + (sums[1] + sums[3]);
    stats->max_error = (double)float_from_bits(max_error);
    stats->saturated += outside;
    return HANSEL_OK;
}

void hansel_fine_counts(uint32_t *counts, uint32_t dtype, const void *src, size_t count,
                        float unit) {
    const uint8_t *bytes = src;
    const uint32_t size = hansel_dtype_bytes(dtype);
    const float most = (float)(HANSEL_FINE_COUNTS / 2 - 1);
    float block[BLOCK];
    uint32_t bits[BLOCK];
    size_t done, n, i;
    for (done = 0; done < count; done += n) {
        n = count - done < BLOCK ? count - done : BLOCK;
        hansel_load_floats(block, dtype, bytes + done * size, n);
        for (i = 0; i < n; i++) {
            float q = block[i] / unit;
            q = q < -most ? -most : q;
            q = q > most ? most : q;
            bits[i] = bits_from_float(q + (HANSEL_ROUNDER + HANSEL_FINE_COUNTS / 2));
        }
        for (i = 0; i < n; i++) counts[bits[i] & (HANSEL_FINE_COUNTS - 1)]++;
    }
}

float hansel_smallest_step(float low, float high) {
    float step = high / 127.0f, other = low / -128.0f;
    if (other > step) step = other;
    if (low >= 0 && high <= 0) return 1.0f;
    if (step < HANSEL_MIN_STEP) return HANSEL_MIN_STEP;
    return step; /* a quotient one rounding above 127 still rounds to 127 */
}

#if defined(__wasm_simd128__)
static inline v128_t grid_values_simd(v128_t q, v128_t steps) {
    __asm__("" : "+r"(q)); /* or the compiler converts lane by lane what was extended */
    return wasm_f32x4_mul(wasm_f32x4_convert_i32x4(q), steps);
}
#endif

/* step * q to binary32, of the first so many as there are registers of; none where one might be
 * clamped. */
static size_t dequantize_simd(uint8_t *dst, const uint8_t *symbols, size_t count, float step) {
    size_t done = 0;
#if defined(__wasm_simd128__)
    const v128_t steps = wasm_f32x4_splat(step);
    if (step * 128 > largest(HANSEL_F32)) return 0;
    for (; done + 16 <= count; done += 16, dst += 64) {
        v128_t q = wasm_v128_load(symbols + done);
        v128_t low = wasm_i16x8_extend_low_i8x16(q), high = wasm_i16x8_extend_high_i8x16(q);
        wasm_v128_store(dst, grid_values_simd(wasm_i32x4_extend_low_i16x8(low), steps));
        wasm_v128_store(dst + 16, grid_values_simd(wasm_i32x4_extend_high_i16x8(low), steps));
        wasm_v128_store(dst + 32, grid_values_simd(wasm_i32x4_extend_low_i16x8(high), steps));
        wasm_v128_store(dst + 48, grid_values_simd(wasm_i32x4_extend_high_i16x8(high), steps));
    }
#else
    (void)dst, (void)symbols, (void)count, (void)step;
#endif
    return done;
}

hansel_status hansel_dequantize(void *dst, uint32_t dtype, const uint8_t *symbols, size_t count,
                                float step) {
    float indices[BYTES], values[BYTES];
    uint8_t table[4 * BYTES], *restrict bytes = dst;
    size_t i;
    if (!hansel_is_float(dtype)) return HANSEL_ERR_ARGUMENT;
    /* A byte has but so many values. */
    for (i = 0; i < BYTES; i++) indices[i] = (float)(int8_t)i;
    grid_values(values, dtype, step, indices, BYTES);
    store_floats(table, dtype, values, BYTES);
    if (dtype == HANSEL_F32)
        for (i = dequantize_simd(bytes, symbols, count, step); i < count; i++)
            memcpy(bytes + 4 * i, table + 4 * symbols[i], 4);
    else
        for (i = 0; i < count; i++) memcpy(bytes + 2 * i, table + 2 * symbols[i], 2);
    return HANSEL_OK;
}

/* ---- lossless floats: FORMAT.md section 5 ---------------------------------- */

hansel_status hansel_split(uint8_t *dst, uint8_t *raw, const hansel_blob *blob, const void *src,
                           size_t count) {
    const uint8_t *bytes = src;
    uint32_t size = hansel_dtype_bytes(blob->dtype), base = blob->window_base;
    uint32_t has_sign = blob->sign == 0, low_bits = size > 1 ? blob->raw_bits - has_sign : 0;
    uint32_t low_mask = (1u << low_bits) - 1;
    size_t i;
    if (size == 1) {
        memcpy(dst, src, count);
    } else if (size == 2) {
        for (i = 0; i < count; i++) {
            uint32_t w = hansel_load16(bytes + 2 * i), field = (w & 0x7FFFu) >> low_bits;
            dst[i] = (uint8_t)(field ? field - base : 0);
            raw[i] = (uint8_t)((w & low_mask) << has_sign | (w >> 15 & has_sign));
        }
    } else if (size == 4) {
        SCALAR_LOOP
        for (i = 0; i < count; i++) {
            uint32_t w = hansel_load32(bytes + 4 * i), field = (w & 0x7FFFFFFFu) >> low_bits;
            uint32_t rest = (w & low_mask) << has_sign | (w >> 31 & has_sign);
            dst[i] = (uint8_t)(field ? field - base : 0);
            hansel_store16(raw + 3 * i, rest);
            raw[3 * i + 2] = (uint8_t)(rest >> 16);
        }
    } else {
        return HANSEL_ERR_ARGUMENT;
    }
    return HANSEL_OK;
}

hansel_status hansel_join(void *dst, const hansel_blob *blob, const uint8_t *symbols,
                          const uint8_t *raw, size_t count) {
    uint8_t *bytes = dst;
    uint32_t size = hansel_dtype_bytes(blob->dtype), base = blob->window_base;
    uint32_t raw_bits = blob->raw_bits, has_sign = blob->sign == 0;
    uint32_t high = blob->sign == 2 ? 1u << (8 * size - 1) : 0;
    size_t i;
    if (size == 1) {
        memcpy(dst, symbols, count);
    } else if (size == 2) {
        /* No shift by a variable, which wasm has for vectors, but clang does not find. */
        const uint16_t scale = (uint16_t)(1u << raw_bits), turned = has_sign ? 0xFFFF : 0;
        for (i = 0; i < count; i++) {
            uint32_t symbol = symbols[i], field = symbol ? symbol + base : 0;
            uint16_t w = (uint16_t)(field * scale + raw[i]);
            uint16_t turn = (uint16_t)(w >> 1 | w << 15);
            hansel_store16(bytes + 2 * i, (turn & turned) | (w & ~turned) | high);
        }
    } else if (size == 4) {
        SCALAR_LOOP
        for (i = 0; i < count; i++) {
            uint32_t symbol = symbols[i], field = symbol ? symbol + base : 0;
            uint32_t w =
                field << raw_bits | (uint32_t)raw[3 * i + 2] << 16 | hansel_load16(raw + 3 * i);
            hansel_store32(bytes + 4 * i, w >> has_sign | (w & has_sign) << 31 | high);
        }
    } else {
        return HANSEL_ERR_ARGUMENT;
    }
    return HANSEL_OK;
}

void hansel_histogram(uint64_t counts[256], const uint8_t *src, size_t src_bytes) {
    uint32_t part[4][256]; /* four: a run of equal bytes would wait for its own sum */
    size_t done, n, i;
    for (done = 0; done < src_bytes; done += n) {
        n = src_bytes - done < 0x40000000u ? src_bytes - done : 0x40000000u;
        memset(part, 0, sizeof part);
        for (i = 0; i + 4 <= n; i += 4) {
            part[0][src[done + i]]++;
            part[1][src[done + i + 1]]++;
            part[2][src[done + i + 2]]++;
            part[3][src[done + i + 3]]++;
        }
        for (; i < n; i++) part[0][src[done + i]]++;
        for (i = 0; i < 256; i++)
            counts[i] += (uint64_t)part[0][i] + part[1][i] + part[2][i] + part[3][i];
    }
}

hansel_status hansel_widen(float *dst, uint32_t dtype, const void *src, size_t count) {
    if (!hansel_is_float(dtype)) return HANSEL_ERR_ARGUMENT;
    hansel_load_floats(dst, dtype, src, count);
    return HANSEL_OK;
}
