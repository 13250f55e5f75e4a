/*
 * frequencies.c - histogram to frequencies. FORMAT.md section 12.
 *
 * They decide bytes of the file, and so does the search for a step: no libm, whose last bits
 * differ between platforms, but series of exactly rounded operations.
 */
#include "internal.h"

/* Error < 1e-14. With m in [0.7, 1.4], ln m = 2 artanh y,
 * y = (m - 1) / (m + 1), |y| < 0.18. */
double hansel_log2(double x) {
    uint64_t bits;
    double y, y2, sum;
    int exponent, k;
    memcpy(&bits, &x, 8);
    exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
    memcpy(&x, &bits, 8);
    if (x > 1.4) {
        x *= 0.5;
        exponent++;
    }
    y = (x - 1) / (x + 1);
    y2 = y * y;
    sum = 0;
    for (k = 21; k >= 1; k -= 2) sum = sum * y2 + 1.0 / k;
    return exponent + 2.8853900817779268 * y * sum; /* 2 / ln 2 */
}

double hansel_entropy(const uint64_t counts[256]) {
    double total = 0, bits = 0;
    int i;
    for (i = 0; i < 256; i++) total += (double)counts[i];
    for (i = 0; i < 256; i++)
        if (counts[i]) bits += (double)counts[i] * hansel_log2(total / (double)counts[i]);
    return total > 0 ? bits / total : 0;
}

/* Smallest range that holds all used bytes: signed for grid and I8, else unsigned. */
static void find_levels(hansel_blob *blob, const uint64_t counts[256]) {
    uint32_t flip = blob->mode == HANSEL_GRID || blob->dtype == HANSEL_I8 ? 128 : 0;
    uint32_t i, low = 256, high = 0;
    for (i = 0; i < 256; i++) {
        if (!counts[i ^ flip]) continue;
        if (low > i) low = i;
        high = i;
    }
    blob->origin = low < 256 ? low ^ flip : 0;
    blob->level_count = low < 256 ? high - low + 1 : 0;
}

/* How often each level comes. */
static void count_levels(uint64_t levels[256], const hansel_blob *blob,
                         const uint64_t counts[256]) {
    uint32_t fold = blob->weights_per_symbol, bits = HANSEL_SYMBOL_BITS / fold, i, k;
    memset(levels, 0, 256 * sizeof *levels);
    for (i = 0; i < 256; i++)
        for (k = 0; k < fold; k++)
            levels[fold > 1 ? i >> bits * k & ((1u << bits) - 1) : (i - blob->origin) & 255] +=
                counts[i];
}

/* Logarithms of what levels come to, in units of 2^-log_bits, from 1 on for what is as rare as half
 * a slot, or as the rarest. */
static void take_logs(uint8_t logs[256], const uint64_t levels[256], const hansel_blob *blob) {
    double total = 0, least = 0, base;
    uint32_t i, unit = 1u << blob->log_bits, most = HANSEL_MAX_OCTAVES * unit + 1;
    for (i = 0; i < blob->level_count; i++) {
        total += (double)levels[i];
        if (levels[i] && (least == 0 || (double)levels[i] < least)) least = (double)levels[i];
    }
    base = total / (double)(2u << blob->slot_bits);
    base = hansel_log2(base > least ? base : least);
    memset(logs, 0, 256);
    for (i = 0; i < blob->level_count; i++) {
        double octaves = levels[i] ? hansel_log2((double)levels[i]) - base : -1;
        uint32_t log = octaves > 0 ? (uint32_t)(octaves * unit + 1.5) : 1;
        logs[i] = (uint8_t)(levels[i] ? log < most ? log : most : 0);
    }
}

/* Chooses rice_bits. Returns the bits of all logarithms. */
static uint32_t choose_rice(hansel_blob *blob) {
    uint32_t rice, best = 0xFFFFFFFFu;
    for (rice = 0; rice <= HANSEL_MAX_RICE_BITS; rice++) {
        uint32_t bits = 0, i, before = 0;
        for (i = 0; i < blob->level_count; before = blob->logs[i++])
            bits += (hansel_zigzag(blob->logs[i], before) >> rice) + 1 + rice;
        if (bits >= best) continue;
        best = bits;
        blob->rice_bits = rice;
    }
    return best;
}

/* Slots are halved where that costs less than so. */
#define SMALLER_TABLE (1.0 + 1.0 / 4096)

double hansel_fit(hansel_blob *blob, const uint64_t counts[256], uint32_t slot_bits) {
    double best = -1;
    uint64_t levels[256];
    uint32_t i, p, log_bits, low = slot_bits, high = slot_bits;
    hansel_blob found, chosen;
    if (!slot_bits) {
        low = HANSEL_MIN_SLOT_BITS;
        high = HANSEL_MAX_SLOT_BITS;
    } else if (slot_bits < HANSEL_MIN_SLOT_BITS || slot_bits > HANSEL_MAX_SLOT_BITS) {
        return -1;
    }
    if (blob->weights_per_symbol == 1) find_levels(blob, counts);
    blob->slot_bits = low;
    blob->alphabet_size = blob->level_count;
    memset(blob->freq, 0, sizeof blob->freq);
    if (blob->level_count < 2) return blob->weights_per_symbol > 1 ? -1 : 0;
    count_levels(levels, blob, counts);
    for (p = high; p >= low; p--) {
        hansel_blob best_of_p = *blob;
        double least = -1;
        for (log_bits = HANSEL_MIN_LOG_BITS; log_bits <= HANSEL_MAX_LOG_BITS; log_bits++) {
            double bits;
            found = *blob;
            found.slot_bits = p;
            found.log_bits = log_bits;
            take_logs(found.logs, levels, &found);
            if (!hansel_levels_to_frequencies(&found)) continue;
            bits = choose_rice(&found);
            for (i = 0; i < found.alphabet_size; i++) {
                uint64_t count = counts[(hansel_symbol_origin(blob) + i) & 255];
                if (count) bits += (double)count * (p - hansel_log2(found.freq[i]));
            }
            if (least >= 0 && bits >= least) continue;
            least = bits;
            best_of_p = found;
        }
        if (least < 0 || (best >= 0 && least > best * SMALLER_TABLE)) continue;
        chosen = best_of_p;
        if (best < 0 || least < best) best = least;
    }
    if (best >= 0) *blob = chosen;
    return best;
}
