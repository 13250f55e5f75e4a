/*
 * internal.h - what encoder and decoder share: how a tensor is cut into streams
 * (FORMAT.md 3.1), packed arrays (3.2), folded symbols (4.5) and unaligned little-endian access.
 * Private to src/.
 */
#ifndef HANSEL_INTERNAL_H
#define HANSEL_INTERNAL_H

#include <string.h>

#include "hansel_slices.h"

#ifdef __FAST_MATH__
#error "the bytes of a blob are decided by IEEE arithmetic: compile without -ffast-math"
#endif

/* Adding 1.5 * 2^23 to |x| < 2^22 leaves no bits below the unit: x is rounded to the
 * nearest integer, ties to even, which then stands in the sum's low bits too. */
#define HANSEL_ROUNDER 12582912.0f

/* Whether weights of a dtype can lie on a grid, and `count` of them as binary32. values.c. */
int hansel_is_float(uint32_t dtype);
void hansel_load_floats(float *restrict dst, uint32_t dtype, const uint8_t *restrict src,
                        size_t count);

/* Returns status, whose details go to fault if that is not NULL. head.c. */
hansel_status hansel_fail(hansel_fault *fault, hansel_status status, uint64_t position,
                          uint64_t expected, uint64_t found);

static inline uint32_t hansel_load16(const uint8_t *src) {
    uint16_t value;
    memcpy(&value, src, 2);
    return value;
}

static inline uint32_t hansel_load32(const uint8_t *src) {
    uint32_t value;
    memcpy(&value, src, 4);
    return value;
}

static inline uint64_t hansel_load64(const uint8_t *src) {
    uint64_t value;
    memcpy(&value, src, 8);
    return value;
}

static inline void hansel_store16(uint8_t *dst, uint32_t value) {
    uint16_t low = (uint16_t)value;
    memcpy(dst, &low, 2);
}

static inline void hansel_store32(uint8_t *dst, uint32_t value) { memcpy(dst, &value, 4); }
static inline void hansel_store64(uint8_t *dst, uint64_t value) { memcpy(dst, &value, 8); }

static inline uint64_t hansel_align(uint64_t bytes) {
    return (bytes + HANSEL_ALIGNMENT - 1) / HANSEL_ALIGNMENT * HANSEL_ALIGNMENT;
}

/* Element `index` of an array of width-bit numbers, lowest bit first; width <= 31. */
static inline uint32_t hansel_packed_load(const uint8_t *src, uint64_t index, uint32_t width) {
    uint64_t bit = index * width, value = 0;
    uint32_t shift = (uint32_t)(bit & 7), bytes = (shift + width + 7) / 8, i;
    src += bit >> 3;
    for (i = 0; i < bytes; i++) value |= (uint64_t)src[i] << (8 * i);
    return (uint32_t)(value >> shift) & (uint32_t)(((uint64_t)1 << width) - 1);
}

/* dst must have been zeroed. */
static inline void hansel_packed_store(uint8_t *dst, uint64_t index, uint32_t width,
                                       uint32_t value) {
    uint64_t bit = index * width, shifted = (uint64_t)value << (bit & 7);
    dst += bit >> 3;
    for (; shifted; shifted >>= 8) *dst++ |= (uint8_t)shifted;
}

static inline uint64_t hansel_packed_bytes(uint64_t count, uint32_t width) {
    return (count * width + 7) / 8;
}

/* For functions that are not hot: no unrolling, where size is loaded. */
#if defined(__wasm__)
#define HANSEL_SMALL __attribute__((minsize))
#else
#define HANSEL_SMALL
#endif

/* Four u32s, a vector of gcc and clang: SIMD where there is some. */
typedef uint32_t hansel_quad __attribute__((vector_size(16)));

static inline hansel_quad hansel_load_quad(const void *src) {
    hansel_quad value;
    memcpy(&value, src, sizeof value);
    return value;
}

/* Elements i, j, k, l of a and b, which count on from 4. */
#if defined(__clang__) || __GNUC__ >= 12
#define HANSEL_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define HANSEL_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (hansel_quad){i, j, k, l})
#endif

/* A stream as the decoder walks it: row_count rows of column_count symbols. */
typedef struct hansel_extent {
    uint64_t row_count, column_count;
    uint64_t row_steps;      /* steps of a row: ceil(column_count / 4) */
    uint64_t step_count;     /* row_count * row_steps */
    uint64_t weight_columns; /* weights of a row: column_count, unless they are folded */
} hansel_extent;

static inline uint64_t hansel_row_steps(uint64_t columns) {
    return (columns + HANSEL_LANES - 1) / HANSEL_LANES;
}

/* Symbols of a run of columns that begins with a step. FORMAT.md 4.5. */
static inline uint64_t hansel_symbol_columns(const hansel_blob *blob, uint64_t columns) {
    uint64_t width = HANSEL_LANES * blob->weights_per_symbol, rest = columns % width;
    return columns / width * HANSEL_LANES + (rest < HANSEL_LANES ? rest : HANSEL_LANES);
}

/* The symbol of alphabet index 0: folded symbols count from 0, and the weights from origin. */
static inline uint32_t hansel_symbol_origin(const hansel_blob *blob) {
    return blob->weights_per_symbol > 1 ? 0 : blob->origin;
}

/* How weights lie in symbols, four at a time: FORMAT.md 4.5. With one to a symbol it is all there
 * is, and the table knows of origin. */
typedef struct hansel_fields {
    uint32_t fold, bits; /* weights to a symbol, and bits of each */
    uint32_t width_log2; /* of 4 * fold, the weights of a step */
    uint32_t mask;       /* four fields, to each of which origin is added */
    uint32_t low, high;  /* in two parts, so that none carries into the next */
} hansel_fields;

static inline hansel_fields hansel_fields_of(const hansel_blob *blob) {
    uint32_t fold = blob->weights_per_symbol, bits = HANSEL_SYMBOL_BITS / fold;
    uint32_t origin = fold > 1 ? blob->origin : 0;
    hansel_fields fields = {fold,
                            bits,
                            2 + fold / 2,
                            ((1u << bits) - 1) * 0x01010101u,
                            (origin & 127) * 0x01010101u,
                            (origin & 128) * 0x01010101u};
    return fields;
}

/* Field k of four symbols, a byte each: four weights. */
static inline uint32_t hansel_unfold(const hansel_fields *fields, uint32_t symbols, uint32_t k) {
    return (((symbols >> k * fields->bits) & fields->mask) + fields->low) ^ fields->high;
}

/* First column of a piece of a row; piece = pieces gives columns. */
uint64_t hansel_piece_start(const hansel_blob *blob, uint32_t piece);
hansel_extent hansel_stream_extent(const hansel_blob *blob, uint32_t stream);

/* The difference of two neighbouring logarithms as a number: 0, -1, 1, -2, ... FORMAT.md 12. */
static inline uint32_t hansel_zigzag(uint32_t log, uint32_t before) {
    return log >= before ? 2 * (log - before) : 2 * (before - log) - 1;
}

/* Bits that hold a number. */
static inline uint32_t hansel_bits_of(uint32_t number) {
    uint32_t bits = 0;
    for (; number; number >>= 1) bits++;
    return bits;
}

/* Of a float dtype. */
static inline uint32_t hansel_mantissa_bits(uint32_t dtype) {
    return dtype == HANSEL_F32 ? 23 : dtype == HANSEL_F16 ? 10 : 7;
}

/* raw_bits of lossless floats, from mantissa_bits and sign. FORMAT.md section 5. */
static inline void hansel_count_raw_bits(hansel_blob *blob) {
    blob->raw_bits = hansel_mantissa_bits(blob->dtype) - blob->mantissa_bits + (blob->sign == 0);
}

/* raw_start and blob_bytes of version 4, from word_count and head_bytes. */
static inline void hansel_place_raw_plane(hansel_blob *blob) {
    blob->raw_start = 2 * blob->word_count;
    blob->blob_bytes =
        blob->head_bytes + blob->raw_start + (blob->weights * blob->raw_bits + 7) / 8;
}

/* The weight of a level with a logarithm: FORMAT.md 12. levels.c. */
uint32_t hansel_level_weight(const hansel_blob *blob, uint32_t log);

/* freq and alphabet_size from level_count, logs, log_bits, slot_bits and weights_per_symbol; 0
 * where there are no such frequencies. levels.c. */
int hansel_levels_to_frequencies(hansel_blob *blob);

/* Rows, columns, weights from rank and shape; 0 if the format cannot hold them. */
int hansel_matrix_view(hansel_blob *blob);
/* log2 of a positive, normal number, the same bits on every platform. frequencies.c. */
double hansel_log2(double x);
/* stream_count from pieces and rows_per_stream; 0 if those are not a partition. */
int hansel_count_streams(hansel_blob *blob);

#endif
