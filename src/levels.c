/* levels.c - from the logarithms of levels' frequencies to those of symbols. FORMAT.md section 12.
 * Integers only: every decoder must come to the same table. */
#include "internal.h"

/* Symbols and slots that they get by weights multiplied by m / 2^32, one at least. */
static inline uint32_t share(uint32_t weight, uint64_t m) {
    uint64_t slots = weight * m >> 32;
    return weight ? slots ? (uint32_t)slots : 1 : 0;
}

/* Slots of all; more than that where it says so. */
static uint64_t sum_shares(const uint32_t *weights, uint32_t count, uint64_t m) {
    uint64_t sum = 0;
    uint32_t i;
    for (i = 0; i < count; i++) sum += share(weights[i], m);
    return sum;
}

/* The largest m that is not too large; what is left goes to the first of those that would be next.
 */
static int normalize(uint16_t *freq, const uint32_t *weights, uint32_t count, uint32_t slot_bits) {
    uint32_t i, most = 0, used = 0, left;
    uint64_t low = 0, high;
    for (i = 0; i < count; i++) {
        used += weights[i] != 0;
        if (weights[i] > most) most = weights[i];
    }
    if (used < 2 || used > 1u << slot_bits) return 0;
    high = ((uint64_t)1 << (32 + slot_bits)) / most + 1; /* too large by itself */
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (sum_shares(weights, count, middle) <= 1u << slot_bits)
            low = middle;
        else
            high = middle;
    }
    left = (1u << slot_bits) - (uint32_t)sum_shares(weights, count, low);
    for (i = 0; i < count; i++) {
        uint32_t slots = share(weights[i], low), more = left && share(weights[i], high) > slots;
        freq[i] = (uint16_t)(slots + more);
        left -= more;
    }
    return 1;
}

/* 2^(j / 16) * 128, rounded. */
static const uint8_t powers[16] = {128, 134, 140, 146, 152, 159, 166, 173,
                                   181, 189, 197, 206, 215, 225, 235, 245};

HANSEL_SMALL int hansel_levels_to_frequencies(hansel_blob *blob) {
    uint32_t fold = blob->weights_per_symbol, bits = HANSEL_SYMBOL_BITS / fold, i, k;
    uint32_t weights[256];
    uint16_t levels[256];
    for (i = 0; i < blob->level_count; i++) {
        uint32_t log = (blob->logs[i] - 1u) << (HANSEL_MAX_LOG_BITS - blob->log_bits);
        weights[i] = blob->logs[i] ? (uint32_t)powers[log & 15] << (log >> 4) : 0;
    }
    blob->alphabet_size = blob->level_count;
    if (fold > 1) {
        /* Their product must stay below 2^32. */
        if (!normalize(levels, weights, blob->level_count, fold == 2 ? 12 : 8)) return 0;
        for (k = 1; k < fold; k++) blob->alphabet_size += (blob->level_count - 1) << bits * k;
        for (i = 0; i < blob->alphabet_size; i++) {
            weights[i] = 1;
            for (k = 0; k < fold; k++) {
                uint32_t level = i >> bits * k & ((1u << bits) - 1);
                weights[i] *= level < blob->level_count ? levels[level] : 0;
            }
        }
    }
    memset(blob->freq, 0, sizeof blob->freq);
    return normalize(blob->freq, weights, blob->alphabet_size, blob->slot_bits);
}
