/*
 * frequencies.c - histogram to frequencies. FORMAT.md section 3.2.
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

/* One candidate for the next slot: giving it saves `gain` bits. */
typedef struct candidate {
    double gain;
    uint32_t index;
} candidate;

static int better(candidate a, candidate b) {
    return a.gain > b.gain || (a.gain == b.gain && a.index < b.index);
}

static void sift_down(candidate *heap, uint32_t size, uint32_t at) {
    candidate moved = heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= size) break;
        if (child + 1 < size && better(heap[child + 1], heap[child])) child++;
        if (!better(heap[child], moved)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/*
 * normalize() - the frequencies, at least 1 where counts is not 0 and summing to
 * 1 << slot_bits, that minimize sum(counts[i] * -log2(freq[i])).
 *
 * Start from 1 each; give each further slot to the symbol that gains most by
 * it, counts[i] * log2((f + 1) / f). Gains fall as f grows (the cost is convex
 * and separable), so no exchange of slots can improve the outcome: greedy is
 * optimal. Ties go to the lower index.
 */
static void normalize(uint16_t *freq, const uint64_t *counts, uint32_t size, uint32_t slot_bits,
                      const double *gain) {
    candidate heap[256];
    uint32_t i, used = 0, left = 1u << slot_bits;
    for (i = 0; i < size; i++) {
        freq[i] = counts[i] != 0;
        if (!counts[i]) continue;
        heap[used].index = i;
        heap[used++].gain = (double)counts[i] * gain[1];
        left--;
    }
    for (i = used / 2; i-- > 0;) sift_down(heap, used, i);
    for (; left; left--) {
        uint32_t index = heap[0].index;
        freq[index]++;
        heap[0].gain = (double)counts[index] * gain[freq[index]];
        sift_down(heap, used, 0);
    }
}

/* Smallest range that holds all used bytes: signed for grid and I8, else unsigned. */
static void find_alphabet(hansel_blob *blob, const uint64_t counts[256]) {
    uint32_t flip = blob->mode == HANSEL_GRID || blob->dtype == HANSEL_I8 ? 128 : 0;
    uint32_t i, low = 256, high = 0, used = 0;
    if (blob->weights_per_symbol > 1) { /* from 0 on; origin is the weights' */
        for (i = 0; i < 256; i++) {
            used += counts[i] != 0;
            if (counts[i]) high = i;
        }
        blob->alphabet_size = used > 1 ? high + 1 : 0;
        return;
    }
    for (i = 0; i < 256; i++) {
        if (!counts[i ^ flip]) continue;
        if (low > i) low = i;
        high = i;
    }
    blob->origin = low < 256 ? low ^ flip : 0;
    blob->alphabet_size = low < 256 ? high - low + 1 : 0;
}

double hansel_fit(hansel_blob *blob, const uint64_t counts[256], uint32_t slot_bits) {
    double gain[HANSEL_MAX_SLOTS + 1], best = -1;
    uint64_t alphabet[256];
    uint32_t i, p, low = slot_bits, high = slot_bits;
    if (!slot_bits) {
        low = HANSEL_MIN_SLOT_BITS;
        high = HANSEL_MAX_SLOT_BITS;
    } else if (slot_bits < HANSEL_MIN_SLOT_BITS || slot_bits > HANSEL_MAX_SLOT_BITS) {
        return -1;
    }
    find_alphabet(blob, counts);
    blob->slot_bits = low;
    memset(blob->freq, 0, sizeof blob->freq);
    if (blob->alphabet_size < 2) return blob->weights_per_symbol > 1 ? -1 : 0;
    for (i = 0; i < blob->alphabet_size; i++)
        alphabet[i] = counts[(hansel_symbol_origin(blob) + i) & 255];
    for (i = 1; i <= HANSEL_MAX_SLOTS; i++) gain[i] = hansel_log2((i + 1.0) / i);
    for (p = high; p >= low; p--) {
        uint16_t freq[256];
        double bits = (double)(p * blob->alphabet_size);
        if (1u << p < blob->alphabet_size) continue;
        normalize(freq, alphabet, blob->alphabet_size, p, gain);
        for (i = 0; i < blob->alphabet_size; i++)
            if (alphabet[i]) bits += (double)alphabet[i] * (p - hansel_log2(freq[i]));
        if (best >= 0 && bits >= best) continue;
        best = bits;
        blob->slot_bits = p;
        memcpy(blob->freq, freq, sizeof freq);
    }
    return best;
}
