/*
 * decoder.h - a stream while it is decoded: decode_group.c may take it a part of
 * the way, decode.c takes it to the end from wherever it stands. Private to src/.
 */
#ifndef HANSEL_DECODER_H
#define HANSEL_DECODER_H

#include "internal.h"

typedef struct hansel_decoder {
    uint32_t state[HANSEL_LANES];
    const uint8_t *cursor, *end;   /* the next word; behind the stream's last */
    uint8_t *dst;                  /* for the next weight */
    uint64_t column, column_count; /* of the next weight; of a row */
    uint64_t step_count;           /* steps left, without the tail's */
    uint32_t tail_count;           /* steps of the tail */
    uint32_t bad;                  /* a rule is broken already */
} hansel_decoder;

/* Decodes what is left of a row, or up to the tail, where a step is left; if the stream is corrupt,
 * says so in d->bad. d->cursor is not past d->end. decode.c. */
void hansel_finish_row(hansel_decoder *d, const uint32_t *table, uint32_t slot_bits,
                       const hansel_fields *fields);

/* Where many streams are decoded side by side, how many at a time, at most. */
#if defined(__wasm_simd128__)
#define HANSEL_GROUP 8u
#elif defined(__GNUC__) && \
    (defined(__x86_64__) || (defined(__aarch64__) && !defined(__AARCH64EB__)))
#define HANSEL_NATIVE_SIMD 1
#define HANSEL_GROUP 16u
#else
#define HANSEL_GROUP 1u
#endif

#if HANSEL_GROUP > 1u

/* The table that hansel_decode_group() wants: `table`, or the same made for
 * HANSEL_MAX_SLOT_BITS in `wide`. */
const uint32_t *hansel_wide_table(uint32_t wide[HANSEL_MAX_SLOTS], const uint32_t *table,
                                  uint32_t slot_bits);

/*
 * hansel_decode_group() - many steps of a few streams: the fast twin of decode.c,
 * which does what is left. decode_group.c.
 *
 *   streams  room for HANSEL_GROUP, of which count are opened
 *   src_end  behind the words of all streams; reads stay before it, but may pass
 *            a stream's end. Then its cursor has, too, and stays there
 */
void hansel_decode_group(hansel_decoder *streams, uint32_t count, const uint32_t *table,
                         const hansel_fields *fields, const uint8_t *src_end);

/*
 * The loops of hansel_decode_group(), for HANSEL_WASM_WIDTH, HANSEL_QUADS_WIDTH and
 * HANSEL_AVX2_WIDTH streams: step_count steps of each, a multiple of HANSEL_BLOCK_STEPS but in
 * wasm. They set states and cursors. 8 * step_count bytes can be read at each cursor.
 */
#define HANSEL_WASM_WIDTH 8u
#define HANSEL_QUADS_WIDTH 8u
#define HANSEL_AVX2_WIDTH 16u
#define HANSEL_BLOCK_STEPS 4u /* whose symbols fill 16 bytes */
void hansel_steps_wasm(hansel_decoder *streams, const uint32_t *table, const hansel_fields *fields,
                       size_t step_count);
void hansel_steps_quads(hansel_decoder *streams, const uint32_t *table, const hansel_fields *fields,
                        size_t step_count);
void hansel_steps_avx2(hansel_decoder *streams, const uint32_t *table, const hansel_fields *fields,
                       size_t step_count);

/* Fields as weights, stored. */
static inline void hansel_write_fields(uint8_t *dst, hansel_quad symbols,
                                       const hansel_fields *fields) {
    hansel_quad weights = ((symbols & fields->mask) + fields->low) ^ fields->high;
    memcpy(dst, &weights, sizeof weights);
}

/* The weights of a block of steps of a stream, whose 16 symbols are given in the stream's order;
 * fold is 2 or 4. */
static inline void hansel_unfold_block(uint8_t *dst, hansel_quad symbols,
                                       const hansel_fields *fields) {
    hansel_quad next = symbols >> fields->bits, low, high;
    low = HANSEL_SHUFFLE(symbols, next, 0, 4, 1, 5);
    high = HANSEL_SHUFFLE(symbols, next, 2, 6, 3, 7);
    if (fields->fold == 2) {
        hansel_write_fields(dst, low, fields);
        hansel_write_fields(dst + 16, high, fields);
        return;
    }
    next = low >> 2 * fields->bits;
    hansel_write_fields(dst, HANSEL_SHUFFLE(low, next, 0, 1, 4, 5), fields);
    hansel_write_fields(dst + 16, HANSEL_SHUFFLE(low, next, 2, 3, 6, 7), fields);
    next = high >> 2 * fields->bits;
    hansel_write_fields(dst + 32, HANSEL_SHUFFLE(high, next, 0, 1, 4, 5), fields);
    hansel_write_fields(dst + 48, HANSEL_SHUFFLE(high, next, 2, 3, 6, 7), fields);
}

/* For a shuffle of the bytes of eight, by the lanes that are short: the next words go to
 * those lanes, in order, each to the low half of its lane; elsewhere 128, which gives zero. */
extern const uint8_t hansel_refills[16][16];

#else

static inline const uint32_t *hansel_wide_table(uint32_t wide[HANSEL_MAX_SLOTS],
                                                const uint32_t *table, uint32_t slot_bits) {
    (void)wide, (void)slot_bits;
    return table;
}

static inline void hansel_decode_group(hansel_decoder *streams, uint32_t count,
                                       const uint32_t *table, const hansel_fields *fields,
                                       const uint8_t *src_end) {
    (void)streams, (void)count, (void)table, (void)fields, (void)src_end;
}

#endif

/* ---- what this processor can run ------------------------------------------- */

typedef enum hansel_variant {
    HANSEL_SCALAR, /* decode.c alone */
    HANSEL_QUADS,  /* decode_sse_neon.c: SSE4.1 or NEON */
    HANSEL_AVX2,   /* decode_avx2.c; quads where streams are few */
    HANSEL_VARIANTS
} hansel_variant;

static inline int hansel_has_variant(hansel_variant variant) {
    if (variant == HANSEL_SCALAR) return 1;
#if defined(HANSEL_NATIVE_SIMD) && defined(__x86_64__)
    if (!__builtin_cpu_supports("sse4.1") || !__builtin_cpu_supports("popcnt")) return 0;
    return variant == HANSEL_QUADS || __builtin_cpu_supports("avx2");
#elif defined(HANSEL_NATIVE_SIMD)
    return variant == HANSEL_QUADS;
#else
    return 0;
#endif
}

/* The fastest, for hansel_decode_group(). In a file of its own, variant.c, so that a program
 * that compares variants can link its own in its place. */
hansel_variant hansel_best_variant(void);

#endif
