/*
 * decode_sse_neon.c - the loop of decode_group.c for 128-bit registers, SSE4.1 or NEON: eight
 * streams side by side, each with its four states in one register. The compilers' own vector
 * types do the arithmetic; what differs comes first.
 */
#include "decoder.h"

#if defined(HANSEL_NATIVE_SIMD)

typedef uint64_t halves __attribute__((vector_size(16)));

#if defined(__x86_64__)
#include <smmintrin.h>

#define TARGET __attribute__((target("sse4.1,popcnt")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* A bit for each lane that is all ones. */
INLINE uint32_t lane_mask(hansel_quad is_set) { return (uint32_t)_mm_movemask_ps((__m128)is_set); }

/* Bytes of src, or zero where order is 128. */
INLINE hansel_quad shuffle(hansel_quad src, hansel_quad order) {
    return (hansel_quad)_mm_shuffle_epi8((__m128i)src, (__m128i)order);
}

/* a where is_set, else b. */
INLINE hansel_quad choose(hansel_quad is_set, hansel_quad a, hansel_quad b) {
    return (hansel_quad)_mm_blendv_epi8((__m128i)b, (__m128i)a, (__m128i)is_set);
}

#else
#include <arm_neon.h>

#define TARGET
#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t lane_mask(hansel_quad is_set) {
    const hansel_quad bits = {1, 2, 4, 8};
    return vaddvq_u32((uint32x4_t)(is_set & bits));
}

INLINE hansel_quad shuffle(hansel_quad src, hansel_quad order) {
    return (hansel_quad)vqtbl1q_u8((uint8x16_t)src, (uint8x16_t)order);
}

INLINE hansel_quad choose(hansel_quad is_set, hansel_quad a, hansel_quad b) {
    return (hansel_quad)vbslq_u32((uint32x4_t)is_set, (uint32x4_t)a, (uint32x4_t)b);
}
#endif

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define WIDTH HANSEL_QUADS_WIDTH
#define LAG 2
#define BUFFER_STEPS (4 * HANSEL_BLOCK_STEPS) /* as in decode_avx2.c */
#define DST_AHEAD (HANSEL_LANES * BUFFER_STEPS)
#define SRC_AHEAD 192

/* A stream. */
typedef struct lanes {
    hansel_quad state, is_short;
    const uint8_t *cursor;
    uint32_t short_mask;
} lanes;

INLINE hansel_quad find_entries(hansel_quad state, const uint32_t *table) {
    halves slots = (halves)(state & (HANSEL_MAX_SLOTS - 1));
    uint64_t s01 = slots[0], s23 = slots[1];
    hansel_quad entry = {table[(uint32_t)s01], table[s01 >> 32], table[(uint32_t)s23],
                         table[s23 >> 32]};
    return entry;
}

INLINE void rans_step_quad(lanes *s, hansel_quad entry) {
    s->state = (entry & HANSEL_FIELD_MASK) * (s->state >> HANSEL_MAX_SLOT_BITS) +
               (entry >> HANSEL_BIAS_SHIFT);
    s->is_short = (hansel_quad)(s->state >> HANSEL_WORD_BITS == 0);
    s->short_mask = lane_mask(s->is_short);
}

/* Reads eight bytes. */
INLINE void rans_refill_quad(lanes *s) {
    halves next = {hansel_load64(s->cursor), 0};
    hansel_quad words = shuffle((hansel_quad)next, hansel_load_quad(hansel_refills[s->short_mask]));
    s->cursor += 2 * __builtin_popcount(s->short_mask);
    s->state = choose(s->is_short, s->state << HANSEL_WORD_BITS | words, s->state);
}

/* The symbols of four steps. */
INLINE hansel_quad collect_symbols(const hansel_quad (*found)[WIDTH]) {
    const hansel_quad transpose = {0x0C080400, 0x0D090501, 0x0E0A0602, 0x0F0B0703};
    hansel_quad low = (found[0][0] >> HANSEL_SYMBOL_SHIFT & 0xFF) |
                      (found[1][0] >> (HANSEL_SYMBOL_SHIFT - 8) & 0xFF00);
    hansel_quad high = (found[2][0] << (16 - HANSEL_SYMBOL_SHIFT) & 0xFF0000) |
                       (found[3][0] << (24 - HANSEL_SYMBOL_SHIFT) & 0xFF000000);
    return shuffle(low | high, transpose);
}

TARGET void hansel_steps_quads(hansel_decoder *streams, const uint32_t *table,
                               const hansel_fields *fields, size_t step_count) {
    const hansel_fields f = *fields; /* what is stored cannot be this */
    lanes s[WIDTH];
    uint8_t *dst[WIDTH];
    hansel_quad found[BUFFER_STEPS][WIDTH];
    size_t i, k, count;
    UNROLL
    for (k = 0; k < WIDTH; k++) {
        s[k].state = hansel_load_quad(streams[k].state);
        s[k].cursor = streams[k].cursor;
        dst[k] = streams[k].dst;
    }
    for (; step_count; step_count -= count) {
        count = step_count < BUFFER_STEPS ? step_count : BUFFER_STEPS;
        UNROLL
        for (k = 0; k < WIDTH; k++) {
            __builtin_prefetch(dst[k] + DST_AHEAD, 1);
            __builtin_prefetch(s[k].cursor + SRC_AHEAD);
        }
        for (i = 0; i < count; i++) {
            UNROLL
            for (k = 0; k < WIDTH + 2 * LAG; k++) { /* as in decode_avx2.c */
                if (k >= LAG && k < WIDTH + LAG) rans_step_quad(&s[k - LAG], found[i][k - LAG]);
                if (k < WIDTH) found[i][k] = find_entries(s[k].state, table);
                if (k >= 2 * LAG) rans_refill_quad(&s[k - 2 * LAG]);
            }
        }
        UNROLL
        for (k = 0; k < WIDTH; k++) {
            for (i = 0; i < count; i += HANSEL_BLOCK_STEPS) {
                const hansel_quad(*block)[WIDTH] = (const hansel_quad(*)[WIDTH]) & found[i][k];
                hansel_quad symbols = collect_symbols(block);
                if (f.fold == 1)
                    memcpy(dst[k], &symbols, sizeof symbols);
                else
                    hansel_unfold_block(dst[k], symbols, &f);
                dst[k] += HANSEL_LANES * HANSEL_BLOCK_STEPS * f.fold;
            }
        }
    }
    UNROLL
    for (k = 0; k < WIDTH; k++) {
        memcpy(streams[k].state, &s[k].state, sizeof s[k].state);
        streams[k].cursor = s[k].cursor;
    }
}

#endif
