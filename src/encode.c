/*
 * encode.c - streams, the inverse of decode.c. FORMAT.md section 4.
 *
 * Coding runs backwards, from a stream's last symbol to its first, so that the
 * decoder runs forwards. For one lane:
 *
 *     if (x >= freq << (32 - slot_bits))  emit x mod 2^16;  x = x >> 16
 *     x = (x / freq << slot_bits) + x mod freq + start
 */
#include "internal.h"

/* Loops that would only grow: small ones, and one whose SIMD needs no unrolling. */
#if defined(__clang__)
#define ROLLED _Pragma("clang loop vectorize(disable) unroll(disable)")
#define ROLLED_SIMD _Pragma("clang loop interleave(disable) unroll(disable)")
#else
#define ROLLED
#define ROLLED_SIMD
#endif

/* What coding a symbol needs, 16 bytes. x / freq is x * reciprocal >> (32 + slot_bits),
 * reciprocal = ceil(2^(32 + slot_bits) / freq): exact for x < freq << (32 -
 * slot_bits), since the error x * (freq - 1) / (freq << (32 + slot_bits)) stays
 * below 1 / freq, and the product below 2^64. */
typedef struct coder {
    uint64_t reciprocal;
    uint32_t limit_high; /* (freq << (32 - slot_bits)) - 1: above it, emit first */
    uint16_t start;
    uint16_t complement; /* (1 << slot_bits) - freq */
} coder;

static HANSEL_SMALL void build_coders(coder coders[256], const hansel_blob *blob) {
    uint32_t index, start = 0;
    memset(coders, 0, 256 * sizeof *coders);
    for (index = 0; index < blob->alphabet_size; index++) {
        uint32_t freq = blob->freq[index];
        coder *c = &coders[(hansel_symbol_origin(blob) + index) & 255];
        if (!freq) continue;
        c->reciprocal = (((uint64_t)1 << (32 + blob->slot_bits)) + freq - 1) / freq;
        c->limit_high = (uint32_t)(((uint64_t)freq << (32 - blob->slot_bits)) - 1);
        c->start = (uint16_t)start;
        c->complement = (uint16_t)((1u << blob->slot_bits) - freq);
        start += freq;
    }
}

/* Whether all symbols have a frequency. A sweep by the alphabet's range first: SIMD can. */
static int all_coded(const coder coders[256], const hansel_blob *blob, const uint8_t *src,
                     size_t src_bytes) {
    uint8_t origin = (uint8_t)hansel_symbol_origin(blob), most = 0;
    uint32_t unused = 0, index;
    size_t k;
    ROLLED_SIMD
    for (k = 0; k < src_bytes; k++) {
        uint8_t at = (uint8_t)(src[k] - origin);
        most = at > most ? at : most;
    }
    if (src_bytes && most >= blob->alphabet_size) return 0;
    ROLLED
    for (index = 0; index < blob->alphabet_size; index++) unused |= !blob->freq[index];
    if (!unused) return 1;
    ROLLED
    for (k = 0, unused = 0; k < src_bytes; k++) unused |= !coders[src[k]].reciprocal;
    return !unused;
}

/*
 * One lane, one symbol: the inverse of rans_refill, then of rans_step. No branch: the low word
 * is stored whether or not it is emitted. There is room below, where the states will be.
 */
static inline uint8_t *rans_put(uint32_t *state, uint8_t *words, const coder *c,
                                uint32_t slot_bits) {
    uint32_t x = *state;
    uint16_t low = (uint16_t)x;
    size_t is_full = x > c->limit_high;
    memcpy(words - 2, &low, 2);
    words -= 2 * is_full;
    x = is_full ? x >> HANSEL_WORD_BITS : x;
    *state = x + c->start + (uint32_t)(x * c->reciprocal >> (32 + slot_bits)) * c->complement;
    return words;
}

/* Four lanes, step_count times, the last first. */
static uint8_t *put_steps(uint32_t *state, uint8_t *words, const coder *coders, const uint8_t *src,
                          uint64_t step_count, uint32_t slot_bits) {
    uint32_t x0 = state[0], x1 = state[1], x2 = state[2], x3 = state[3];
    const uint8_t *at = src + HANSEL_LANES * step_count;
    while (at != src) {
        at -= HANSEL_LANES;
        words = rans_put(&x3, words, &coders[at[3]], slot_bits);
        words = rans_put(&x2, words, &coders[at[2]], slot_bits);
        words = rans_put(&x1, words, &coders[at[1]], slot_bits);
        words = rans_put(&x0, words, &coders[at[0]], slot_bits);
    }
    state[0] = x0;
    state[1] = x1;
    state[2] = x2;
    state[3] = x3;
    return words;
}

static uint64_t stream_bound(const hansel_extent *extent) {
    return 2 * (HANSEL_STATE_WORDS + extent->row_count * extent->column_count);
}

uint64_t hansel_encode_bound(const hansel_blob *blob, uint32_t first, uint32_t count) {
    return 2 * ((uint64_t)HANSEL_STATE_WORDS * count + hansel_stream_start(blob, first + count) -
                hansel_stream_start(blob, first));
}

/* Codes a stream so that it ends at `words`; returns where it begins. */
static HANSEL_SMALL uint8_t *encode_stream(uint8_t *words, const hansel_blob *blob,
                                           const coder *coders, const hansel_extent *extent,
                                           const uint8_t *src) {
    uint32_t state[HANSEL_LANES], slot_bits = blob->slot_bits, lane;
    uint64_t tail = extent->step_count < blob->tail_steps ? extent->step_count : blob->tail_steps;
    uint64_t column = (extent->row_steps - 1) * HANSEL_LANES, left, run;
    const uint8_t *at = src + extent->row_count * extent->column_count;
    for (lane = 0; lane < HANSEL_LANES; lane++) state[lane] = 0;
    for (left = extent->step_count; left; left -= run) {
        uint64_t rest = extent->column_count - column;
        uint32_t lanes = rest < HANSEL_LANES ? (uint32_t)rest : HANSEL_LANES;
        run = 1;
        if (left == extent->step_count - tail)
            for (lane = 0; lane < HANSEL_LANES; lane++) state[lane] += HANSEL_STATE_LOW;
        if (left > extent->step_count - tail) {
            at -= lanes;
            ROLLED
            for (lane = 0; lane < lanes; lane++)
                state[lane] = state[lane] << blob->tail_bits |
                              ((at[lane] - hansel_symbol_origin(blob)) & 255);
        } else if (lanes < HANSEL_LANES) {
            at -= lanes;
            ROLLED
            for (lane = lanes; lane-- > 0;)
                words = rans_put(&state[lane], words, &coders[at[lane]], slot_bits);
        } else { /* to the row's beginning */
            run = column / HANSEL_LANES + 1;
            at -= HANSEL_LANES * run;
            column = 0;
            words = put_steps(state, words, coders, at, run, slot_bits);
        }
        column = column ? column - HANSEL_LANES : (extent->row_steps - 1) * HANSEL_LANES;
    }
    if (tail == extent->step_count)
        for (lane = 0; lane < HANSEL_LANES; lane++) state[lane] += HANSEL_STATE_LOW;
    words -= 2 * HANSEL_STATE_WORDS;
    for (lane = 0; lane < HANSEL_LANES; lane++) hansel_store32(words + 4 * lane, state[lane]);
    return words;
}

size_t hansel_encode_streams(void *dst, size_t dst_bytes, uint32_t *lengths,
                             const hansel_blob *blob, uint32_t first, uint32_t count,
                             const uint8_t *src, size_t src_bytes) {
    coder coders[256];
    uint32_t i;
    uint64_t start;
    uint8_t *to = dst;
    if (first > blob->stream_count || count > blob->stream_count - first) return 0;
    start = hansel_symbol_start(blob, first);
    if (src_bytes != hansel_symbol_start(blob, first + count) - start) return 0;
    if (dst_bytes < hansel_encode_bound(blob, first, count)) return 0;
    build_coders(coders, blob);
    if (!all_coded(coders, blob, src, src_bytes)) return 0;
    for (i = 0; i < count; i++) {
        hansel_extent extent = hansel_stream_extent(blob, first + i);
        uint8_t *end = to + stream_bound(&extent), *begin;
        begin = encode_stream(end, blob, coders, &extent, src);
        lengths[i] = (uint32_t)((end - begin) / 2);
        memmove(to, begin, (size_t)(end - begin));
        to += end - begin;
        src += extent.row_count * extent.column_count;
    }
    return (size_t)(to - (uint8_t *)dst);
}
