/*
 * decode_avx2.c - the loop of decode_group.c for AVX2: sixteen streams side by side, two and two
 * in a register. Compiled on every x86-64, run where the processor has it.
 */
#include "decoder.h"

#if defined(HANSEL_NATIVE_SIMD) && defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,popcnt")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define PAIRS (HANSEL_AVX2_WIDTH / 2)

/*
 * Steps whose symbols wait in `found`: then 64 bytes of each stream are written in one go. Rows
 * are often 4096 bytes apart, and so many lines at such distances do not stay in the cache.
 */
#define BUFFER_STEPS (4 * HANSEL_BLOCK_STEPS)

/* How far ahead lines are fetched, in bytes. */
#define DST_AHEAD (HANSEL_LANES * BUFFER_STEPS)
#define SRC_AHEAD 192

/* A pair of streams. */
typedef struct pair {
    __m256i state, entry, is_short;
    const uint8_t *cursor[2];
    uint32_t short_mask; /* a bit for each short lane */
} pair;

/*
 * The entries of eight lanes. Quicker than a gather, which takes 17 cycles on Zen 3; and than
 * slots through memory, which wait for the store.
 */
INLINE __m256i find_entries(__m256i state, const uint32_t *table) {
    __m256i slot = _mm256_and_si256(state, _mm256_set1_epi32(HANSEL_MAX_SLOTS - 1));
    __m128i high = _mm256_extracti128_si256(slot, 1);
    uint64_t s01 = (uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(slot));
    uint64_t s23 = (uint64_t)_mm_extract_epi64(_mm256_castsi256_si128(slot), 1);
    uint64_t s45 = (uint64_t)_mm_cvtsi128_si64(high);
    uint64_t s67 = (uint64_t)_mm_extract_epi64(high, 1);
    __m128i first = _mm_cvtsi32_si128((int)table[(uint32_t)s01]);
    __m128i second = _mm_cvtsi32_si128((int)table[(uint32_t)s45]);
    first = _mm_insert_epi32(first, (int)table[s01 >> 32], 1);
    first = _mm_insert_epi32(first, (int)table[(uint32_t)s23], 2);
    first = _mm_insert_epi32(first, (int)table[s23 >> 32], 3);
    second = _mm_insert_epi32(second, (int)table[s45 >> 32], 1);
    second = _mm_insert_epi32(second, (int)table[(uint32_t)s67], 2);
    second = _mm_insert_epi32(second, (int)table[s67 >> 32], 3);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
}

INLINE void rans_step_avx2(pair *p) {
    __m256i freq = _mm256_and_si256(p->entry, _mm256_set1_epi32(HANSEL_FIELD_MASK));
    p->state = _mm256_add_epi32(
        _mm256_mullo_epi32(freq, _mm256_srli_epi32(p->state, HANSEL_MAX_SLOT_BITS)),
        _mm256_srli_epi32(p->entry, HANSEL_BIAS_SHIFT));
    p->is_short =
        _mm256_cmpeq_epi32(_mm256_srli_epi32(p->state, HANSEL_WORD_BITS), _mm256_setzero_si256());
    p->short_mask = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(p->is_short));
}

/* The next words of one stream; reads eight bytes. */
INLINE __m128i next_words(const uint8_t **cursor, uint32_t mask) {
    __m128i words = _mm_loadl_epi64((const __m128i *)(const void *)*cursor);
    *cursor += 2 * (size_t)_mm_popcnt_u32(mask);
    return _mm_shuffle_epi8(words,
                            _mm_load_si128((const __m128i *)(const void *)hansel_refills[mask]));
}

INLINE void rans_refill_avx2(pair *p) {
    __m128i first = next_words(&p->cursor[0], p->short_mask & 15);
    __m128i second = next_words(&p->cursor[1], p->short_mask >> 4);
    __m256i words = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
    __m256i refilled = _mm256_or_si256(_mm256_slli_epi32(p->state, HANSEL_WORD_BITS), words);
    p->state = _mm256_blendv_epi8(p->state, refilled, p->is_short);
}

/* The symbols of four steps, 16 of each stream. */
INLINE __m256i collect_symbols(const __m256i (*found)[PAIRS]) {
    const __m256i odd = _mm256_set1_epi16((short)0xFF00);
    const __m256i transpose = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m256i low = _mm256_blendv_epi8(_mm256_srli_epi32(found[0][0], HANSEL_SYMBOL_SHIFT),
                                     _mm256_srli_epi32(found[1][0], HANSEL_SYMBOL_SHIFT - 8), odd);
    __m256i high =
        _mm256_blendv_epi8(_mm256_slli_epi32(found[2][0], 16 - HANSEL_SYMBOL_SHIFT),
                           _mm256_slli_epi32(found[3][0], 24 - HANSEL_SYMBOL_SHIFT), odd);
    return _mm256_shuffle_epi8(_mm256_blend_epi16(low, high, 0xAA), transpose);
}

TARGET void hansel_steps_avx2(hansel_decoder *streams, const uint32_t *table,
                              const hansel_fields *fields, size_t step_count) {
    const hansel_fields f = *fields; /* what is stored cannot be this */
    pair pairs[PAIRS];
    uint8_t *dst[HANSEL_AVX2_WIDTH];
    __m256i found[BUFFER_STEPS][PAIRS];
    size_t i, k, count;
    UNROLL
    for (k = 0; k < PAIRS; k++) {
        const hansel_decoder *d = &streams[2 * k];
        pairs[k].state = _mm256_loadu2_m128i((const __m128i *)(const void *)d[1].state,
                                             (const __m128i *)(const void *)d[0].state);
        pairs[k].cursor[0] = d[0].cursor;
        pairs[k].cursor[1] = d[1].cursor;
        dst[2 * k] = d[0].dst;
        dst[2 * k + 1] = d[1].dst;
    }
    for (; step_count; step_count -= count) {
        count = step_count < BUFFER_STEPS ? step_count : BUFFER_STEPS;
        UNROLL
        for (k = 0; k < PAIRS; k++) {
            __builtin_prefetch(dst[2 * k] + DST_AHEAD, 1);
            __builtin_prefetch(dst[2 * k + 1] + DST_AHEAD, 1);
            __builtin_prefetch(pairs[k].cursor[0] + SRC_AHEAD);
            __builtin_prefetch(pairs[k].cursor[1] + SRC_AHEAD);
        }
        for (i = 0; i < count; i++) {
            /* Three pairs at a time, each at another third of its step: close together, so
             * that the processor sees them all, and none has to wait long for itself. */
            UNROLL
            for (k = 0; k < PAIRS + 4; k++) {
                if (k >= 2 && k < PAIRS + 2) rans_step_avx2(&pairs[k - 2]);
                if (k < PAIRS) found[i][k] = pairs[k].entry = find_entries(pairs[k].state, table);
                if (k >= 4) rans_refill_avx2(&pairs[k - 4]);
            }
        }
        UNROLL
        for (k = 0; k < PAIRS; k++) {
            for (i = 0; i < count; i += HANSEL_BLOCK_STEPS) {
                __m256i symbols = collect_symbols((const __m256i(*)[PAIRS]) & found[i][k]);
                __m128i first = _mm256_castsi256_si128(symbols);
                __m128i second = _mm256_extracti128_si256(symbols, 1);
                if (f.fold == 1) {
                    _mm_storeu_si128((__m128i *)(void *)dst[2 * k], first);
                    _mm_storeu_si128((__m128i *)(void *)dst[2 * k + 1], second);
                } else {
                    hansel_unfold_block(dst[2 * k], (hansel_quad)first, &f);
                    hansel_unfold_block(dst[2 * k + 1], (hansel_quad)second, &f);
                }
                dst[2 * k] += HANSEL_LANES * HANSEL_BLOCK_STEPS * f.fold;
                dst[2 * k + 1] += HANSEL_LANES * HANSEL_BLOCK_STEPS * f.fold;
            }
        }
    }
    UNROLL
    for (k = 0; k < PAIRS; k++) {
        hansel_decoder *d = &streams[2 * k];
        _mm256_storeu2_m128i((__m128i *)(void *)d[1].state, (__m128i *)(void *)d[0].state,
                             pairs[k].state);
        d[0].cursor = pairs[k].cursor[0];
        d[1].cursor = pairs[k].cursor[1];
    }
}

#endif
