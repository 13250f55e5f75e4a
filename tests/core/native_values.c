/* native_values.c - weights to bytes and back, against libm. */
#include <float.h>

#include "native.h"

static uint8_t quantize_one(float weight, float step, int clamp, hansel_stats *stats,
                            hansel_status *status) {
    uint8_t index = 0;
    *status = hansel_quantize(&index, HANSEL_F32, &weight, 1, step, clamp, stats, NULL);
    return index;
}

/* Each weight is where rounding says, those beyond the ends at the ends. */
static void test_fine_counts(void) {
    static uint32_t counts[HANSEL_FINE_COUNTS], expected[HANSEL_FINE_COUNTS];
    static const float ends[] = {0, -0.0f, 0.5f, 1.5f, -0.5f, 32767, 1e30f, -32767, -3e38f};
    static const uint16_t bfloats[] = {0x3F80, 0xC000, 0x3F81}; /* 1, -2, 1.0078125 */
    static const uint32_t at[] = {0, 0, 0, 2, 0, 32767, 32767, (uint32_t)-32767, (uint32_t)-32767};
    float weights[5000];
    uint32_t i;
    for (i = 0; i < 5000; i++) {
        weights[i] = (float)(int32_t)(formula_random(7, i) >> 8) * 0.001f - 8000;
        expected[32768 + (int32_t)lrintf(weights[i] / 0.5f)]++;
    }
    hansel_fine_counts(counts, HANSEL_F32, weights, 5000, 0.5f);
    check(!memcmp(counts, expected, sizeof counts), "fine counts");
    memset(counts, 0, sizeof counts);
    memset(expected, 0, sizeof expected);
    for (i = 0; i < sizeof ends / sizeof *ends; i++) expected[(32768 + at[i]) & 65535]++;
    hansel_fine_counts(counts, HANSEL_F32, ends, sizeof ends / sizeof *ends, 1);
    check(!memcmp(counts, expected, sizeof counts), "fine counts of ends and ties");
    memset(counts, 0, sizeof counts);
    hansel_fine_counts(counts, HANSEL_BF16, bfloats, 3, 0.0078125f);
    check(counts[32768 + 128] == 1 && counts[32768 - 256] == 1 && counts[32768 + 129] == 1,
          "fine counts of BF16");
}

void test_quantize(void) {
    static const hansel_blob none = {.raw_bytes = 0};
    static const struct {
        float quotient;
        int index;
    } ties[] = {{0.5f, 0},         {-0.5f, 0},       {1.5f, 2},        {-1.5f, -2},
                {2.5f, 2},         {126.5f, 126},    {-127.5f, -128},  {-128.5f, -128},
                {127.49999f, 127}, {0.49999997f, 0}, {0.50000006f, 1}, {-0.0f, 0},
                {1e-45f, 0},       {-1e-38f, 0},     {127, 127},       {-128, -128}};
    static const float outside[] = {127.5f, 128,    -128.50002f, -129,
                                    1e10f,  -1e10f, 3.4e38f,     -3.4e38f};
    float weights[700], infinite[3] = {INFINITY, -INFINITY, NAN};
    uint8_t indices[700];
    hansel_stats stats;
    hansel_fault fault;
    hansel_status status;
    size_t i;
    current = "quantize";
    test_fine_counts();
    memset(&stats, 0, sizeof stats);
    for (i = 0; i < sizeof ties / sizeof *ties; i++) {
        check((int8_t)quantize_one(ties[i].quotient, 1, 0, &stats, &status) == ties[i].index &&
                  status == HANSEL_OK,
              "%.9g", (double)ties[i].quotient);
        check((int8_t)quantize_one(ties[i].quotient / 4, 0.25f, 0, &stats, &status) ==
                  ties[i].index,
              "%.9g with a step", (double)ties[i].quotient);
    }
    check(stats.saturated == 0 && stats.max_error <= 0.5, "max_error %g", stats.max_error);
    for (i = 0; i < sizeof outside / sizeof *outside; i++) {
        memset(&stats, 0, sizeof stats);
        quantize_one(outside[i], 1, 0, &stats, &status);
        check(status == HANSEL_ERR_RANGE, "%.9g must not fit", (double)outside[i]);
        check((int8_t)quantize_one(outside[i], 1, 1, &stats, &status) ==
                      (outside[i] > 0 ? 127 : -128) &&
                  status == HANSEL_OK && stats.saturated == 1,
              "%.9g clamped", (double)outside[i]);
        quantize_one(outside[i], HANSEL_MIN_STEP, 1, &stats, &status);
        check(status == HANSEL_OK && stats.saturated == 2, "w / step overflows");
    }
    for (i = 0; i < 700; i++) weights[i] = (float)(i % 100);
    weights[600] = 1000;
    weights[601] = -2000;
    weights[599] = -128.5f; /* rounds to -128: inside */
    weights[598] = 127.49999f;
    memset(&stats, 0, sizeof stats);
    status = hansel_quantize(indices, HANSEL_F32, weights, 700, 1, 0, &stats, &fault);
    check(status == HANSEL_ERR_RANGE && fault.position == 600, "range at %u",
          (unsigned)fault.position);
    weights[598] = weights[599] = 99;
    status = hansel_quantize(indices, HANSEL_F32, weights, 700, 1, 1, &stats, NULL);
    check(status == HANSEL_OK && stats.saturated == 2 && indices[600] == 127 && indices[601] == 128,
          "saturation");
    check(stats.max_error == 1872 && stats.sum_error == 873.0 * 873 + 1872.0 * 1872, "error sums");
    for (i = 0; i < 3; i++) {
        weights[600] = infinite[i];
        status = hansel_scan(&stats, HANSEL_F32, weights, 700, &fault);
        check(status == HANSEL_ERR_NOT_FINITE && fault.position == 600, "not finite at %u",
              (unsigned)fault.position);
    }
    memset(&stats, 0, sizeof stats);
    weights[600] = 3;
    check(hansel_scan(&stats, HANSEL_F32, weights, 700, NULL) == HANSEL_OK && stats.low == -2000 &&
              stats.high == 99,
          "scan's range");
    check(hansel_scan(&stats, HANSEL_I8, weights, 1, NULL) == HANSEL_ERR_ARGUMENT &&
              hansel_scan(&stats, 0, weights, 1, NULL) == HANSEL_ERR_ARGUMENT &&
              hansel_quantize(indices, HANSEL_U8, weights, 1, 1, 0, &stats, NULL) ==
                  HANSEL_ERR_ARGUMENT &&
              hansel_quantize(indices, HANSEL_F32, weights, 1, 0, 0, &stats, NULL) ==
                  HANSEL_ERR_ARGUMENT &&
              hansel_quantize(indices, HANSEL_F32, weights, 1, NAN, 0, &stats, NULL) ==
                  HANSEL_ERR_ARGUMENT &&
              hansel_dequantize(weights, HANSEL_I8, indices, 1, 1) == HANSEL_ERR_ARGUMENT &&
              hansel_dequantize(weights, 99, indices, 1, 1) == HANSEL_ERR_ARGUMENT &&
              hansel_split(indices, indices, &none, weights, 1) == HANSEL_ERR_ARGUMENT &&
              hansel_join(weights, &none, indices, NULL, 1) == HANSEL_ERR_ARGUMENT,
          "dtypes");
    for (i = 0; i < 4000; i++) { /* the smallest step holds its range, and no smaller one does */
        float high = ldexpf(1 + (float)(formula_random(1, (uint32_t)i) >> 9) / 8388608.0f,
                            (int)(i % 240) - 115);
        float low = i % 3 ? -high * ((float)(1 + formula_random(2, (uint32_t)i) % 200) / 100) : 0;
        float step = hansel_smallest_step(low, high), less = step * 0.99f;
        memset(&stats, 0, sizeof stats);
        quantize_one(high, step, 0, &stats, &status);
        check(status == HANSEL_OK, "step %.9g for %.9g", (double)step, (double)high);
        quantize_one(low, step, 0, &stats, &status);
        check(status == HANSEL_OK, "step %.9g for %.9g", (double)step, (double)low);
        quantize_one(high, less, 1, &stats, &status);
        quantize_one(low, less, 1, &stats, &status);
        check(stats.saturated, "step %.9g is too large", (double)step);
    }
    check(hansel_smallest_step(0, 0) == 1 && hansel_smallest_step(0, 1e-45f) == HANSEL_MIN_STEP,
          "steps of nothing");
}

/* A 16-bit float's value by its definition; pattern is not negative, and may be infinity's,
 * which then is the number that would come next. */
static double half_value(uint32_t dtype, uint32_t pattern) {
    uint32_t bits = formula_fraction_bits(dtype), biased = pattern >> bits;
    uint32_t fraction = (pattern & ((1u << bits) - 1)) | (biased ? 1u << bits : 0);
    return ldexp(fraction,
                 (int)(biased ? biased : 1) - (int)bits - (dtype == HANSEL_F16 ? 15 : 127));
}

/* The pattern to which a value is rounded. */
static uint32_t half_of(uint32_t dtype, float value) {
    uint8_t one = 1, minus_one = 255, dst[2];
    hansel_dequantize(dst, dtype, value < 0 ? &minus_one : &one, 1, value < 0 ? -value : value);
    return (uint32_t)formula_load(dst, 2);
}

/* All 65,536 patterns of a 16-bit float. */
void test_halves(uint32_t dtype) {
    uint32_t pattern, inf = dtype == HANSEL_F16 ? 0x7C00 : 0x7F80;
    hansel_blob blob;
    current = dtype == HANSEL_F16 ? "F16" : "BF16";
    hansel_init(&blob, dtype, HANSEL_LOSSLESS, 0, NULL, 0);
    for (pattern = 0; pattern < 65536; pattern++) {
        uint32_t rest = pattern & 0x7FFF, is_negative = pattern >> 15;
        uint8_t src[2] = {(uint8_t)pattern, (uint8_t)(pattern >> 8)}, back[2], symbol, raw;
        hansel_stats stats;
        hansel_status status;
        float value, middle;
        check(hansel_split(&symbol, &raw, &blob, src, 1) == HANSEL_OK && symbol == (rest >> 7) &&
                  hansel_join(back, &blob, &symbol, &raw, 1) == HANSEL_OK && !memcmp(back, src, 2),
              "%04x split and joined", pattern);
        memset(&stats, 0, sizeof stats);
        status = hansel_scan(&stats, dtype, src, 1, NULL);
        if (rest >= inf) {
            check(status == HANSEL_ERR_NOT_FINITE, "%04x is finite", pattern);
            continue;
        }
        value = (float)half_value(dtype, rest);
        check(status == HANSEL_OK && (is_negative ? -stats.low : stats.high) == value &&
                  (is_negative ? stats.high : stats.low) == 0,
              "%04x has another value", pattern);
        if (is_negative) {
            check(!rest || half_of(dtype, -value) == pattern, "%04x back", pattern);
            continue;
        }
        check(half_of(dtype, value) == pattern, "%04x back", pattern);
        /* Half way to the next pattern: to the even one; a hair off: to the nearer. */
        middle = (float)((half_value(dtype, rest) + half_value(dtype, rest + 1)) / 2);
        if (rest + 1 == inf) { /* what would be infinite stays finite */
            check(half_of(dtype, middle) == pattern && half_of(dtype, FLT_MAX) == pattern,
                  "%04x is not the largest", pattern);
            continue;
        }
        check(half_of(dtype, middle) == pattern + (pattern & 1), "%04x: tie", pattern);
        check(half_of(dtype, nextafterf(middle, 0)) == pattern, "%04x: below the tie", pattern);
        check(half_of(dtype, nextafterf(middle, INFINITY)) == pattern + 1, "%04x: above it",
              pattern);
    }
}

/* Every window that a blob can have, on random floats within it. */
static void check_windows(uint32_t dtype) {
    uint8_t src[400], symbols[100], raw[300], packed[300], back[400];
    uint32_t size = hansel_dtype_bytes(dtype), width = 8 * size, t, sign, base, i, round = 0;
    for (t = dtype == HANSEL_F16 ? 3 : 0; t <= HANSEL_MAX_MANTISSA_BITS; t++)
        for (sign = 0; sign < 3; sign++)
            for (base = 0; base < 3; base++, round++) {
                hansel_blob blob;
                uint32_t low, most = ((dtype == HANSEL_F16 ? 32u : 256u) << t) - 1, count, bit;
                hansel_init(&blob, dtype, HANSEL_LOSSLESS, 0, NULL, 0);
                low = hansel_mantissa_bits(dtype) - t;
                blob.mantissa_bits = t;
                blob.sign = sign;
                blob.window_base = base == 0 || most < 256 ? 0 : base == 1 ? 1 : most - 255;
                blob.raw_bits = low + (sign == 0);
                for (i = 0; i < 100; i++) {
                    uint32_t random = formula_random(round, i), symbol = random & 255;
                    uint64_t bits = symbol ? blob.window_base + symbol : 0;
                    bits = bits << low | (random >> 8 & ((1u << low) - 1));
                    if (sign == 2 || (sign == 0 && random >> 31))
                        bits |= (uint64_t)1 << (width - 1);
                    formula_store(src + size * i, size, bits);
                }
                check(hansel_split(symbols, raw, &blob, src, 100) == HANSEL_OK, "split");
                hansel_join(back, &blob, symbols, raw, 100);
                check(!memcmp(src, back, 100 * size), "window %u %u %u", t, sign, base);
                bit = (uint32_t)hansel_pack_raw(packed, &blob, raw, 100);
                check(bit == (100 * blob.raw_bits + 7) / 8, "%u raw bytes", bit);
                for (i = 0; i < 100; i += 7) { /* any run of them, and nothing beyond it is read */
                    uint8_t *some, *expanded;
                    bit = i * blob.raw_bits;
                    count = 100 - i < 13 ? 100 - i : 13;
                    some = exact(packed + bit / 8, (bit + count * blob.raw_bits + 7) / 8 - bit / 8);
                    expanded = allocate(count * blob.raw_bytes);
                    hansel_expand_raw(expanded, &blob, some, bit & 7, count);
                    check(!memcmp(expanded, raw + i * blob.raw_bytes, count * blob.raw_bytes),
                          "raw bits from %u on", i);
                    free(some);
                    free(expanded);
                }
            }
}

/* What is chosen holds all weights, and no window that does costs less. */
static void check_choice(uint32_t dtype, uint32_t kind) {
    formula f = {0};
    uint32_t *counts = allocate(4 * (HANSEL_WINDOW_COUNTS + 1)), size = hansel_dtype_bytes(dtype);
    size_t count = 3000;
    uint64_t shape = count;
    uint8_t *src = allocate(count * size), *back = allocate(count * size),
            *symbols = allocate(count), *raw = allocate(count * size);
    hansel_blob blob;
    f.kind = (formula_kind)kind;
    f.scale = 500;
    f.low = kind == FORMULA_UNIFORM ? 1 : 0;
    f.exponent = 9;
    f.seed = dtype;
    formula_fill(src, &f, dtype, count);
    memset(counts, 0, 4 * (HANSEL_WINDOW_COUNTS + 1));
    hansel_window_count(counts, dtype, src, count);
    hansel_init(&blob, dtype, HANSEL_LOSSLESS, 1, &shape, 0);
    hansel_window_choose(&blob, counts);
    check(blob.sign == (kind == FORMULA_UNIFORM || kind == FORMULA_GAPS), "sign %u", blob.sign);
    hansel_split(symbols, raw, &blob, src, count);
    hansel_join(back, &blob, symbols, raw, count);
    check(!memcmp(src, back, count * size), "dtype %u, kind %u: does not hold all", dtype, kind);
    free(counts);
    free(src);
    free(back);
    free(symbols);
    free(raw);
}

void test_planes(void) {
    uint32_t dtype, kind;
    current = "windows";
    for (dtype = HANSEL_F32; dtype <= HANSEL_BF16; dtype++) {
        check_windows(dtype);
        for (kind = 0; kind < FORMULA_KINDS; kind++)
            if (kind != FORMULA_SKEWED && kind != FORMULA_CONSTANT) check_choice(dtype, kind);
    }
}
