/*
 * formula.h - test inputs by formula, integers only, so that formula.js makes
 * the same bytes. Element i depends on the formula and i alone: no sequence to
 * replay. Also what every test of hostile bytes needs: formula_seal().
 */
#ifndef HANSEL_FORMULA_H
#define HANSEL_FORMULA_H

#include <string.h>

#include "../src/hansel_slices.h"

/* The integer n of element i; `random` has 32 even bits. */
typedef enum formula_kind {
    FORMULA_GAUSS,    /* low + about Gaussian, sigma = scale / 16 */
    FORMULA_LAPLACE,  /* low + about two-sided exponential, scale / 16 per factor 2 */
    FORMULA_UNIFORM,  /* low + 0 .. scale - 1 */
    FORMULA_GAPS,     /* low + 5 * (0 .. scale - 1) */
    FORMULA_SKEWED,   /* low, or low + 1 once in scale */
    FORMULA_CONSTANT, /* low */
    FORMULA_WEIGHTS,  /* gauss; F32 with a random lower half of the fraction */
    FORMULA_SPECIAL,  /* weights, every fourth a zero, subnormal, largest, infinity or NaN */
    FORMULA_KINDS
} formula_kind;

static const char *const formula_names[FORMULA_KINDS] = {
    "gauss", "laplace", "uniform", "gaps", "skewed", "constant", "weights", "special"};

/* Floats are n * 2^-exponent; bytes are n mod 256. */
typedef struct formula {
    formula_kind kind;
    uint32_t scale;
    int32_t low;
    uint32_t exponent, seed;
} formula;

/* C. Wellons' lowbias32 (hash-prospector), a bijection that mixes well. */
static inline uint32_t formula_mix(uint32_t x) {
    x = (x ^ x >> 16) * 0x21F0AAADu;
    x = (x ^ x >> 15) * 0x735A2D97u;
    return x ^ x >> 15;
}

static inline uint32_t formula_random(uint32_t seed, uint32_t index) {
    return formula_mix(formula_mix(seed) + index);
}

static inline uint32_t formula_log2(uint32_t x) {
    uint32_t log2 = 0;
    while (x >>= 1) log2++;
    return log2;
}

/* The sum of twelve 16-bit numbers has a deviation of 2^16. */
static inline int32_t formula_gauss(const formula *f, uint32_t index) {
    uint32_t sum = 0, i;
    for (i = 0; i < 6; i++) {
        uint32_t random = formula_random(f->seed, 8 * index + i);
        sum += (random >> 16) + (random & 65535);
    }
    return (int32_t)((0x80080000u + (sum - 393210u) * f->scale) >> 20) - 2048;
}

static inline int32_t formula_integer(const formula *f, uint32_t index) {
    uint32_t random = formula_random(f->seed, 8 * index), octaves, magnitude;
    switch (f->kind) {
    case FORMULA_GAUSS:
    case FORMULA_WEIGHTS:
    case FORMULA_SPECIAL:
        return f->low + formula_gauss(f, index);
    case FORMULA_LAPLACE:
        octaves = 31 - formula_log2(random | 1);
        magnitude = 16 * octaves + 15 - ((random << octaves) >> 27 & 15);
        magnitude = magnitude * f->scale >> 8;
        return f->low + (formula_random(f->seed, 8 * index + 1) & 1 ? (int32_t)magnitude
                                                                    : -(int32_t)magnitude);
    case FORMULA_UNIFORM:
        return f->low + (int32_t)((random >> 16) * f->scale >> 16);
    case FORMULA_GAPS:
        return f->low + 5 * (int32_t)((random >> 16) * f->scale >> 16);
    case FORMULA_SKEWED:
        return f->low + (random % f->scale == 0);
    default:
        return f->low;
    }
}

static inline uint32_t formula_fraction_bits(uint32_t dtype) {
    return dtype == HANSEL_F32 ? 23 : dtype == HANSEL_F16 ? 10 : 7;
}

/* n * 2^-exponent as a bit pattern, cut to the fraction; must be a normal number. */
static inline uint32_t formula_float(uint32_t dtype, int32_t n, uint32_t exponent) {
    uint32_t bits = formula_fraction_bits(dtype), size = 8 * hansel_dtype_bytes(dtype);
    uint32_t magnitude = n < 0 ? (uint32_t)-n : (uint32_t)n, log2 = formula_log2(magnitude);
    uint32_t bias = dtype == HANSEL_F16 ? 15 : 127;
    if (!n) return 0;
    magnitude = log2 > bits ? magnitude >> (log2 - bits) : magnitude << (bits - log2);
    return (n < 0 ? 1u << (size - 1) : 0) + ((bias + log2 - exponent - 1) << bits) + magnitude;
}

static inline uint32_t formula_special(uint32_t dtype, uint32_t which) {
    uint32_t sign = 1u << (8 * hansel_dtype_bytes(dtype) - 1);
    uint32_t fraction = (1u << formula_fraction_bits(dtype)) - 1, inf = (sign - 1) & ~fraction;
    switch (which % 13) {
    case 0:
        return 0;
    case 1:
        return sign; /* -0 */
    case 2:
        return 1; /* smallest subnormal */
    case 3:
        return sign | 1;
    case 4:
        return fraction; /* largest subnormal */
    case 5:
        return fraction + 1; /* smallest normal */
    case 6:
        return inf - 1; /* largest finite */
    case 7:
        return sign | (inf - 1);
    case 8:
        return inf;
    case 9:
        return sign | inf;
    case 10:
        return inf | (fraction + 1) >> 1; /* quiet NaN */
    case 11:
        return inf | 1; /* signalling NaN */
    default:
        return 2 * (sign - 1) + 1; /* all ones */
    }
}

/* The bit pattern of element `index`. */
static inline uint32_t formula_bits(const formula *f, uint32_t dtype, uint32_t index) {
    int32_t n = formula_integer(f, index);
    uint32_t random = formula_random(f->seed, 8 * index + 7), bits;
    if (hansel_dtype_bytes(dtype) == 1) return (uint32_t)n & 255;
    if (f->kind == FORMULA_SPECIAL && index % 4 == 0) return formula_special(dtype, random >> 8);
    bits = formula_float(dtype, n, f->exponent);
    if (dtype == HANSEL_F32 && f->kind >= FORMULA_WEIGHTS) bits ^= random & 0xFFF;
    return bits;
}

/* count elements of dtype, little-endian. */
static inline void formula_fill(uint8_t *dst, const formula *f, uint32_t dtype, uint64_t count) {
    uint32_t size = hansel_dtype_bytes(dtype), i, k;
    for (i = 0; i < count; i++) {
        uint32_t bits = formula_bits(f, dtype, i);
        for (k = 0; k < size; k++) *dst++ = (uint8_t)(bits >> 8 * k);
    }
}

/* ---- blobs made hostile ---------------------------------------------------- */

static inline uint64_t formula_load(const uint8_t *src, uint32_t size) {
    uint64_t value = 0;
    while (size--) value = value << 8 | src[size];
    return value;
}

static inline void formula_store(uint8_t *dst, uint32_t size, uint64_t value) {
    for (; size--; value >>= 8) *dst++ = (uint8_t)value;
}

/* Makes both checksums right again, so that the next check is what fires. */
static inline void formula_seal(uint8_t *blob, size_t blob_bytes) {
    uint64_t head, end = blob_bytes;
    uint32_t head_crc = HANSEL_OFFSET_4_HEAD_CRC, payload_crc = HANSEL_OFFSET_4_PAYLOAD_CRC;
    if (blob_bytes < HANSEL_MIN_HEAD_BYTES) return;
    head = formula_load(blob + HANSEL_OFFSET_4_HEAD_BYTES, 3);
    if (blob[HANSEL_OFFSET_VERSION] < HANSEL_FORMAT_VERSION) {
        if (blob_bytes < HANSEL_FIXED_BYTES) return;
        head = formula_load(blob + HANSEL_OFFSET_HEAD_BYTES, 4);
        end = formula_load(blob + HANSEL_OFFSET_BLOB_BYTES, 8);
        head_crc = HANSEL_OFFSET_HEAD_CRC;
        payload_crc = HANSEL_OFFSET_PAYLOAD_CRC;
        if (head < HANSEL_FIXED_BYTES) return;
    }
    if (head < HANSEL_MIN_HEAD_BYTES || head > blob_bytes) return;
    if (end < head || end > blob_bytes) end = blob_bytes;
    formula_store(blob + payload_crc, 4, hansel_crc32c(0, blob + head, (size_t)(end - head)));
    formula_store(blob + head_crc, 4, 0);
    formula_store(blob + head_crc, 4, hansel_crc32c(0, blob, (size_t)head));
}

#endif
