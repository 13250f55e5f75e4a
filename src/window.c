/* window.c - lossless floats: which bits are coded, and the plane of the others. FORMAT.md
 * section 5. */
#include "internal.h"

/* A field of 15 bits: the exponent and the highest 7 bits of the mantissa. F16 has 12. */
void hansel_window_count(uint32_t *counts, uint32_t dtype, const void *src, size_t count) {
    const uint8_t *bytes = src;
    size_t i;
    for (i = 0; i < count; i++) {
        uint32_t w = dtype == HANSEL_F32   ? hansel_load16(bytes + 4 * i + 2)
                     : dtype == HANSEL_F16 ? hansel_load16(bytes + 2 * i) >> 3
                                           : hansel_load16(bytes + 2 * i);
        uint32_t is_negative = w >> (dtype == HANSEL_F16 ? 12 : 15);
        counts[w & (dtype == HANSEL_F16 ? 0xFFFu : 0x7FFFu)]++;
        counts[HANSEL_WINDOW_COUNTS] += is_negative;
    }
}

/* What a level's place in the table costs, about. */
#define LEVEL_BITS 2.5

HANSEL_SMALL void hansel_window_choose(hansel_blob *blob, const uint32_t *counts) {
    uint32_t i, t, least = blob->dtype == HANSEL_F16 ? 3 : 0;
    uint32_t fields = blob->dtype == HANSEL_F16 ? 4096 : HANSEL_WINDOW_COUNTS;
    uint64_t negative = counts[HANSEL_WINDOW_COUNTS];
    double best = -1;
    blob->sign = negative == 0 ? 1 : negative == blob->weights ? 2 : 0;
    for (t = HANSEL_MAX_MANTISSA_BITS + 1; t-- > least;) {
        uint32_t shift = HANSEL_MAX_MANTISSA_BITS - t, low = 0, high = 0, base;
        uint64_t symbols[256] = {0};
        double bits;
        for (i = 1u << shift; i < fields; i++) {
            if (!counts[i]) continue;
            if (!low) low = i >> shift;
            high = i >> shift;
        }
        if (high > 255 && high - low > 254) continue;
        base = high > 255 ? low - 1 : 0;
        for (i = 0; i < fields; i++)
            if (counts[i]) symbols[i >> shift ? (i >> shift) - base : 0] += counts[i];
        bits = (hansel_entropy(symbols) + hansel_mantissa_bits(blob->dtype) - t) *
                   (double)blob->weights +
               LEVEL_BITS * (high - low);
        if (best >= 0 && bits >= best) continue;
        best = bits;
        blob->mantissa_bits = t;
        blob->window_base = base;
    }
    hansel_count_raw_bits(blob);
}

/* Eight fields of width <= 8 bits each, the lowest first, to eight bytes: fours, pairs, each. */
static inline uint64_t spread(uint64_t x, uint32_t width) {
    const uint64_t one = (1u << width) - 1, two = one << width | one, four = two << 2 * width | two;
    const uint64_t pairs = two << 32 | two, each = one * 0x0001000100010001u;
    x = (x & four) | (x >> 4 * width & four) << 32;
    x = (x & pairs) | (x >> 2 * width & pairs) << 16;
    return (x & each) | (x >> width & each) << 8;
}

void hansel_expand_raw(uint8_t *dst, const hansel_blob *blob, const uint8_t *raw,
                       uint32_t first_bit, size_t count) {
    const uint32_t width = blob->raw_bits, size = blob->raw_bytes, mask = (1u << width) - 1;
    const uint64_t end = (first_bit + (uint64_t)count * width + 7) / 8;
    uint64_t bit = first_bit;
    size_t i = 0, k;
    /* As long as a load stays within raw, and what is stored within dst: there are bits behind. */
    if (size == 1) {
        for (; (bit >> 3) + 8 < end; i += 8, bit += 8 * width)
            hansel_store64(dst + i, spread(hansel_load64(raw + (bit >> 3)) >> (bit & 7), width));
    } else {
        for (; (bit >> 3) + 4 < end; i++, bit += width)
            hansel_store32(dst + 3 * i, hansel_load32(raw + (bit >> 3)) >> (bit & 7) & mask);
    }
    for (; i < count; i++, bit += width) {
        uint32_t rest = 0;
        for (k = end; k-- > bit >> 3;) rest = rest << 8 | raw[k];
        rest = rest >> (bit & 7) & mask;
        for (k = 0; k < size; k++, rest >>= 8) dst[size * i + k] = (uint8_t)rest;
    }
}

size_t hansel_pack_raw(uint8_t *dst, const hansel_blob *blob, const uint8_t *raw, size_t count) {
    uint64_t held = 0;
    uint32_t bits = 0, width = blob->raw_bits;
    uint8_t *at = dst;
    size_t i;
    for (i = 0; i < count; i++) {
        uint32_t rest = blob->raw_bytes == 1
                            ? raw[i]
                            : hansel_load16(raw + 3 * i) | (uint32_t)raw[3 * i + 2] << 16;
        held |= (uint64_t)rest << bits;
        for (bits += width; bits >= 8; bits -= 8, held >>= 8) *at++ = (uint8_t)held;
    }
    if (bits) *at++ = (uint8_t)held;
    return (size_t)(at - dst);
}
