/* native_model.c - frequencies are close to the best; the step search keeps its promise. */
#include "native.h"

static double cost_of(const uint64_t *counts, const uint16_t *freq, uint32_t size, uint32_t p) {
    double bits = 0;
    uint32_t i;
    for (i = 0; i < size; i++)
        if (counts[i]) bits += (double)counts[i] * (p - log2(freq[i]));
    return bits;
}

/* A histogram's fit: sum, zeros, closeness to the entropy, and the returned cost. */
static void check_fit(const char *name, const uint64_t counts[256], uint32_t precision) {
    hansel_blob blob;
    uint64_t used[256];
    double returned, cost, total = 0;
    uint32_t i, sum = 0, symbols = 0;
    int right = 1;
    current = name;
    hansel_init(&blob, HANSEL_U8, HANSEL_LOSSLESS, 0, NULL, 0);
    returned = hansel_fit(&blob, counts, precision);
    if (precision) check(blob.slot_bits == precision, "precision %u", blob.slot_bits);
    if (blob.alphabet_size < 2) {
        check(returned == 0 && (!blob.alphabet_size || counts[blob.origin]), "all equal");
        return;
    }
    for (i = 0; i < 256; i++)
        if (counts[i]) right &= i - blob.origin < blob.alphabet_size;
    check(right && counts[blob.origin] && counts[blob.origin + blob.alphabet_size - 1], "alphabet");
    for (i = 0; i < blob.alphabet_size; i++) {
        used[i] = counts[blob.origin + i];
        right &= (used[i] != 0) == (blob.freq[i] != 0);
        sum += blob.freq[i];
        total += (double)used[i];
        symbols += used[i] != 0;
    }
    check(right, "a used symbol has no slot, or an unused one has");
    check(sum == 1u << blob.slot_bits, "sum %u", sum);
    cost = cost_of(used, blob.freq, blob.alphabet_size, blob.slot_bits);
    check(returned >= cost && returned <= cost + 17 * blob.alphabet_size, "returns %.9g for %.9g",
          returned, cost);
    /* A slot at least for each, and logarithms in whole units. */
    if (8 * symbols <= 1u << blob.slot_bits)
        check(returned <=
                  total * (hansel_entropy(counts) + 0.03 + 2.0 * symbols / (1u << blob.slot_bits)) +
                      8.0 * blob.alphabet_size + 16,
              "costs %.9g, entropy %.9g", returned, total * hansel_entropy(counts));
}

/* The table that FORMAT.md 12 works out by hand. */
static void test_levels(void) {
    static const uint8_t logs[] = {1, 9, 13, 9, 0, 3};
    static const uint16_t expected[] = {2, 41, 167, 41, 0, 5};
    hansel_blob blob;
    uint32_t i, sum = 0;
    current = "levels";
    hansel_init(&blob, HANSEL_U8, HANSEL_LOSSLESS, 0, NULL, 0);
    blob.level_count = 6;
    blob.log_bits = 1;
    blob.slot_bits = 8;
    memcpy(blob.logs, logs, sizeof logs);
    check(hansel_levels_to_frequencies(&blob) && blob.alphabet_size == 6, "no frequencies");
    for (i = 0; i < 6; i++) {
        check(blob.freq[i] == expected[i], "level %u: %u", i, blob.freq[i]);
        sum += blob.freq[i];
    }
    check(sum == 256, "sum %u", sum);
    memset(blob.logs, 0, sizeof blob.logs);
    check(!hansel_levels_to_frequencies(&blob), "no level at all");
    blob.logs[3] = 5;
    check(!hansel_levels_to_frequencies(&blob), "one level only");
}

void test_fit(void) {
    uint64_t counts[256], i, round;
    uint32_t p;
    hansel_blob blob;
    for (p = 0; p <= 12; p = p ? p + 1 : 8) {
        memset(counts, 0, sizeof counts);
        check_fit("fit: nothing", counts, p);
        counts[200] = 5;
        check_fit("fit: one symbol", counts, p);
        counts[0] = 1;
        check_fit("fit: two symbols, a wide gap", counts, p);
        counts[200] = (uint64_t)1 << 60;
        check_fit("fit: 2^60 to 1", counts, p);
        for (i = 0; i < 256; i++) counts[i] = 1;
        check_fit("fit: 256 alike", counts, p);
        counts[77] = 1000000000;
        check_fit("fit: one of 1e9, 255 ones", counts, p);
        for (i = 0; i < 256; i++) counts[i] = (uint64_t)1 << i / 5;
        check_fit("fit: a steep ramp", counts, p);
        for (i = 0; i < 256; i++) counts[i] = i % 3 ? 0 : 1 + formula_random(3, (uint32_t)i) % 1000;
        check_fit("fit: gaps", counts, p);
        for (round = 0; round < 40; round++) {
            for (i = 0; i < 256; i++) {
                uint32_t random = formula_random((uint32_t)round, (uint32_t)i);
                counts[i] = random % 3 ? 0 : (random >> 2) >> (random >> 8 & 31);
            }
            check_fit("fit: random", counts, p);
        }
    }
    test_levels();
    current = "fit";
    memset(counts, 0, sizeof counts);
    counts[1] = counts[255] = 1;
    check(hansel_fit(&blob, counts, 7) < 0 && hansel_fit(&blob, counts, 13) < 0, "bad precision");
    hansel_init(&blob, HANSEL_I8, HANSEL_LOSSLESS, 0, NULL, 0);
    hansel_fit(&blob, counts, 0);
    check(blob.origin == 255 && blob.alphabet_size == 3, "a signed alphabet");
    check(fabs(hansel_entropy(counts) - 1) < 1e-12, "entropy of two");
    memset(counts, 0, sizeof counts);
    check(hansel_entropy(counts) == 0, "entropy of nothing");
    for (i = 0; i < 256; i++) counts[i] = 9;
    check(fabs(hansel_entropy(counts) - 8) < 1e-12, "entropy of 256 alike");
}

/* ---- search ---------------------------------------------------------------------- */

/* Weights of deviation 1 with 16 bits behind the point, rounded to dtype. */
static void fill_gaussian(uint8_t *dst, uint32_t dtype, size_t count) {
    uint8_t one = 1;
    uint32_t i, k, size = hansel_dtype_bytes(dtype);
    for (i = 0; i < count; i++, dst += size) {
        int32_t sum = -393210;
        for (k = 0; k < 6; k++) {
            uint32_t random = formula_random(4, 8 * i + k);
            sum += (int32_t)((random >> 16) + (random & 65535));
        }
        hansel_dequantize(dst, dtype, &one, 1, (float)sum / 65536);
    }
}

static void check_search(uint32_t dtype, uint32_t target, double goal) {
    vector v;
    size_t count = 256 * 512;
    uint8_t *src = allocate(count * hansel_dtype_bytes(dtype)), *symbols = allocate(count);
    hansel_status status;
    hansel_blob blob;
    hansel_stats stats;
    bytes coded;
    double value;
    memset(&stats, 0, sizeof stats);
    memset(&v, 0, sizeof v);
    v.dtype = dtype;
    v.rank = 2;
    v.shape[0] = 256;
    v.shape[1] = 512;
    v.options.target = target;
    v.options.goal = goal;
    fill_gaussian(src, dtype, count);
    coded = encode(&v, src, &status);
    check(status == HANSEL_OK, "status %d", status);
    if (status == HANSEL_OK) {
        hansel_read_head(&blob, coded.at, coded.count, NULL);
        if (target == HANSEL_TARGET_BITS) {
            value = 8.0 * (double)coded.count / (double)count;
            check(value <= goal + 0.002 && value > goal - 0.02, "%.4f bits for %g", value, goal);
        } else {
            hansel_scan(&stats, dtype, src, count, NULL);
            hansel_quantize(symbols, dtype, src, count, blob.step, 0, &stats, NULL);
            value = sqrt(stats.sum_error / stats.sum_squares);
            check(value <= goal && value > 0.99 * goal, "error %.6f for %g", value, goal);
        }
    }
    free(coded.at);
    free(src);
    free(symbols);
}

void test_search(void) {
    static const double bits[] = {1, 2, 3, 4, 5.5, 7}, errors[] = {0.01, 0.03, 0.1, 0.3};
    uint32_t dtype, i, rounds;
    hansel_search search;
    current = "search";
    for (dtype = HANSEL_F32; dtype <= HANSEL_BF16; dtype++) {
        for (i = 0; i < 6; i++) check_search(dtype, HANSEL_TARGET_BITS, bits[i]);
        for (i = 0; i < 4; i++) check_search(dtype, HANSEL_TARGET_ERROR, errors[i]);
    }
    /* Whatever the measure says, the search ends. */
    for (i = 0; i < 2000; i++) {
        float high = ldexpf(1, (int)(formula_random(8, i) % 250) - 125);
        hansel_search_begin(&search, 1 + i % 2, formula_random(6, i) % 100 / 10.0, -high / 3, high);
        for (rounds = 0; search.step > 0 && rounds < 100; rounds++)
            hansel_search_next(&search, formula_random(7, 100 * i + rounds) % 1000 / 100.0);
        check(rounds <= 24, "%u rounds", rounds);
    }
    hansel_search_begin(&search, HANSEL_TARGET_BITS, 0.5, -1, 1);
    while (search.step > 0) hansel_search_next(&search, 0.6);
    check(search.best == 0, "a best where no step is good enough");
}

/* Folded symbols are those of the definition, and weights beyond the levels are noticed. */
void test_fold(void) {
    enum { ROWS = 3, COLUMNS = 83 };
    static const int32_t origins[] = {-128, -8, -1, 0, 120, 124};
    const uint64_t shape[] = {ROWS, COLUMNS};
    uint8_t weights[ROWS * COLUMNS], symbols[ROWS * COLUMNS], wanted[ROWS * COLUMNS];
    uint32_t fold, i, at, row, column;
    current = "fold";
    for (fold = 2; fold <= HANSEL_MAX_FOLD; fold *= 2) {
        uint32_t bits = 8 / fold, levels = 1u << bits, width = 4 * fold;
        for (i = 0; i < sizeof origins / sizeof *origins; i++) {
            hansel_blob blob;
            size_t count = 0;
            if (origins[i] + (int32_t)levels > 128) continue;
            hansel_init(&blob, HANSEL_I8, HANSEL_LOSSLESS, 2, shape, 0);
            blob.weights_per_symbol = fold;
            blob.alphabet_size = 256;
            blob.origin = origins[i] & 255;
            hansel_plan(&blob, 1000, 16);
            for (at = 0; at < ROWS * COLUMNS; at++)
                weights[at] = (uint8_t)(origins[i] + (int32_t)(formula_random(3, at) % levels));
            for (row = 0; row < ROWS; row++)
                for (column = 0; column < COLUMNS; column++) {
                    uint32_t field = (weights[row * COLUMNS + column] - blob.origin) & 255;
                    size_t first = count + column / width * 4 + column % 4;
                    if (column % width < 4) wanted[first] = 0;
                    wanted[first] |= (uint8_t)(field << column % width / 4 * bits);
                    if (column + 1 == COLUMNS)
                        count += COLUMNS / width * 4 + (COLUMNS % width < 4 ? COLUMNS % width : 4);
                }
            check(hansel_fold(symbols, &blob, 0, blob.stream_count, weights, sizeof weights) ==
                          count &&
                      !memcmp(symbols, wanted, count),
                  "by %u from %d", fold, origins[i]);
            check(hansel_symbol_start(&blob, blob.stream_count) == count, "symbols");
            for (at = 0; at < ROWS * COLUMNS; at++) {
                uint8_t kept = weights[at];
                weights[at] = (uint8_t)(blob.origin + levels);
                check(!hansel_fold(symbols, &blob, 0, blob.stream_count, weights, sizeof weights),
                      "a weight above the levels");
                weights[at] = (uint8_t)(blob.origin - 1);
                check(!hansel_fold(symbols, &blob, 0, blob.stream_count, weights, sizeof weights),
                      "a weight below the levels");
                weights[at] = kept;
            }
            check(!hansel_fold(symbols, &blob, 0, blob.stream_count, weights, 1), "a size");
        }
    }
}
