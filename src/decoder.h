/*
 * decoder.h - a stream while it is decoded: decode_simd.c may take it a part of
 * the way, decode.c takes it to the end from wherever it stands. Private to src/.
 */
#ifndef HANSEL_DECODER_H
#define HANSEL_DECODER_H

#include "layout.h"

typedef struct hansel_decoder {
    uint32_t state[HANSEL_LANES];
    const uint8_t *cursor, *end;   /* the next word; behind the stream's last */
    uint8_t *dst;                  /* for the next symbol */
    uint64_t column, column_count; /* of the next symbol; of a row */
    uint64_t step_count;           /* steps left, without the tail's */
    uint32_t tail_count;           /* steps of the tail */
    uint32_t bad;                  /* a rule is broken already */
} hansel_decoder;

#if defined(__wasm_simd128__)

#define HANSEL_GROUP 8u /* streams that are decoded side by side */

/* The table that hansel_decode_group() wants: `table`, or the same made for
 * HANSEL_MAX_SLOT_BITS in `wide`. */
const uint32_t *hansel_wide_table(uint32_t wide[HANSEL_MAX_SLOTS], const uint32_t *table,
                                  uint32_t slot_bits);

/*
 * hansel_decode_group() - many steps of a few streams: the fast twin of decode.c,
 * which does what is left.
 *
 *   streams  room for HANSEL_GROUP, of which count are opened
 *   src_end  behind the words of all streams; reads stay before it, but may pass
 *            a stream's end. Then its cursor has, too, and stays there
 */
void hansel_decode_group(hansel_decoder *streams, uint32_t count, const uint32_t *table,
                         const uint8_t *src_end);

#else

#define HANSEL_GROUP 1u

static inline const uint32_t *hansel_wide_table(uint32_t wide[HANSEL_MAX_SLOTS],
                                                const uint32_t *table, uint32_t slot_bits) {
    (void)wide, (void)slot_bits;
    return table;
}

static inline void hansel_decode_group(hansel_decoder *streams, uint32_t count,
                                       const uint32_t *table, const uint8_t *src_end) {
    (void)streams, (void)count, (void)table, (void)src_end;
}

#endif
#endif
