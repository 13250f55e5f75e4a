/*
 * prefix.c - weights as they lie in a GPU's memory, in streams of four rows, interleaved: as prefix
 * codes of one, two or four weights, or as fields of 1 to 8 bits. FORMAT.md appendix A.
 */
#include "internal.h"

/* How often each level comes, of 2^slot_bits: of folded symbols, a weight's share of them. Returns
 * how many levels there are. */
static uint32_t count_levels(uint64_t counts[256], const hansel_blob *blob) {
    uint32_t fold = blob->weights_per_symbol, bits = HANSEL_SYMBOL_BITS / fold, symbol, k;
    memset(counts, 0, 256 * sizeof *counts);
    for (symbol = 0; symbol < blob->alphabet_size; symbol++) {
        for (k = 0; k < fold; k++) {
            counts[symbol >> bits * k & ((1u << bits) - 1)] += blob->freq[symbol];
        }
    }
    for (symbol = fold > 1 ? 1u << bits : blob->alphabet_size; !counts[symbol - 1];) symbol--;
    return symbol;
}

static int is_before(const uint64_t *weights, uint32_t a, uint32_t b) {
    return weights[a] < weights[b] || (weights[a] == weights[b] && a < b);
}

static void sift_down(uint16_t *order, const uint64_t *weights, uint32_t at, uint32_t count) {
    uint16_t moved = order[at];
    uint32_t child;
    for (; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_before(weights, order[child], order[child + 1])) child++;
        if (is_before(weights, order[child], moved)) break;
        order[at] = order[child];
    }
    order[at] = moved;
}

/* Those with weights above 0, by weight, those of equal ones by number: a heap. Returns how many.
 */
static uint32_t sort_codes(uint16_t *order, const uint64_t *weights, uint32_t count) {
    uint32_t found = 0, i;
    for (i = 0; i < count; i++) {
        if (weights[i]) order[found++] = (uint16_t)i;
    }
    for (i = found / 2; i-- > 0;) sift_down(order, weights, i, found);
    for (i = found; i-- > 1;) {
        uint16_t last = order[i];
        order[i] = order[0];
        order[0] = last;
        sift_down(order, weights, 0, i);
    }
    return found;
}

/*
 * Lengths of the cheapest prefix code of at most `limit` bits: package-merge (L. Larmore
 * and D. Hirschberg, 1990). Level by level the weights, as coins, are merged with packages of two
 * from the level before; of those taken in the end each coin makes its code a bit longer.
 */
static void limit_lengths(hansel_prefix_work *work, uint32_t count, uint32_t limit) {
    const uint64_t *weights = work->weights;
    uint32_t coins = sort_codes(work->order, weights, count), packages = 0, level, i;
    uint32_t take = coins > 1 ? 2 * coins - 2 : coins;
    memset(work->lengths, 0, sizeof work->lengths);
    for (level = 0; level < limit; level++) {
        const uint64_t *from = work->packages[level & 1];
        uint64_t *to = work->packages[~level & 1], weight, first = 0;
        uint32_t coin = 0, package = 0;
        for (i = 0; coin < coins || package < packages; i++) {
            int is_coin = coin < coins &&
                          (package == packages || weights[work->order[coin]] <= from[package]);
            weight = is_coin ? weights[work->order[coin++]] : from[package++];
            work->is_coin[level][i] = (uint8_t)is_coin;
            if (i & 1) to[i / 2] = first + weight;
            first = weight;
        }
        packages = i / 2;
    }
    for (; level-- > 0 && take;) {
        uint32_t taken = 0;
        for (i = 0; i < take; i++) taken += work->is_coin[level][i];
        for (i = 0; i < taken; i++) work->lengths[work->order[i]]++;
        take = 2 * (take - taken);
    }
}

/* Makes work->weights and lengths for so many weights to a code, `codes` of them. Returns their
 * bits, in 2^-(4 * slot_bits) bit a weight. */
static uint64_t fit_lengths(hansel_prefix_work *work, const uint64_t *counts, uint32_t level_count,
                            uint32_t slot_bits, uint32_t weights_per_code, uint32_t *codes) {
    uint32_t count = 1, k, i, code;
    uint64_t bits = 0;
    work->weights[0] = 1;
    for (k = 0; k < weights_per_code; k++) {
        for (i = level_count; i-- > 0;) { /* the first ones, which are multiplied, at last */
            for (code = 0; code < count; code++) {
                work->weights[i * count + code] = work->weights[code] * counts[i];
            }
        }
        count *= level_count;
    }
    limit_lengths(work, count, weights_per_code == 1 ? HANSEL_SINGLE_BITS : HANSEL_CODE_BITS);
    for (code = 0; code < count; code++) bits += work->weights[code] * work->lengths[code];
    *codes = count;
    return (bits << slot_bits * (HANSEL_MAX_FOLD - weights_per_code)) / weights_per_code;
}

/* Canonical codes: by length, then by number, counting up; the first bit is the lowest. */
static void number_codes(hansel_prefix *prefix, const uint8_t *lengths, uint32_t count) {
    uint32_t length, code, next = 0, k;
    memset(prefix->codes, 0, sizeof prefix->codes);
    prefix->code_bits = 0;
    for (length = 1; length <= HANSEL_CODE_BITS; length++) {
        next <<= 1;
        for (code = 0; code < count; code++) {
            uint32_t bits = 0;
            if (lengths[code] != length) continue;
            for (k = 0; k < length; k++) bits |= (next >> k & 1) << (length - 1 - k);
            prefix->codes[code] = length << 16 | bits;
            prefix->code_bits = length;
            next++;
        }
    }
}

/* Weights to a code, at most: their codes must have numbers, and four of them six bits each. */
static uint32_t most_per_code(const hansel_prefix *prefix) {
    uint32_t levels = prefix->level_count, pairs = levels * levels;
    int32_t low = (int32_t)(prefix->origin ^ 128) - 128, high = low + (int32_t)levels - 1;
    if (pairs > HANSEL_MAX_CODES) return 1;
    return pairs * pairs > HANSEL_MAX_CODES || low < -32 || high > 31 ? 2 : 4;
}

hansel_status hansel_prefix_fit(hansel_prefix *prefix, const hansel_blob *blob,
                                uint32_t weights_per_code, hansel_prefix_work *work) {
    uint32_t fold = blob->weights_per_symbol, best, most, codes = 0, slot_bits, i;
    uint64_t counts[256], best_bits = 0;
    if (blob->alphabet_size < 2 || weights_per_code > HANSEL_MAX_FOLD || weights_per_code == 3) {
        return HANSEL_ERR_ARGUMENT;
    }
    prefix->level_count = count_levels(counts, blob);
    prefix->origin = blob->origin;
    /* Counts of folded weights add up to fold times as much. */
    slot_bits = blob->slot_bits + fold / 2;
    most = most_per_code(prefix);
    if (weights_per_code > most) return HANSEL_ERR_ARGUMENT;
    best = weights_per_code;
    for (i = 1; !weights_per_code && i <= most; i *= 2) {
        uint64_t bits = fit_lengths(work, counts, prefix->level_count, slot_bits, i, &codes);
        /* Codes of more weights are read in fewer steps: they may cost a 16th more. */
        if (!best || bits <= best_bits + best_bits / 16) best = i;
        if (!best_bits || bits < best_bits) best_bits = bits;
    }
    fit_lengths(work, counts, prefix->level_count, slot_bits, best, &codes);
    prefix->weights_per_code = best;
    number_codes(prefix, work->lengths, codes);
    prefix->pad = 0;
    for (i = 1; i < prefix->level_count; i++) {
        if (counts[i] > counts[prefix->pad]) prefix->pad = i;
    }
    return HANSEL_OK;
}

void hansel_prefix_table(uint32_t *table, const hansel_prefix *prefix) {
    uint32_t width = prefix->weights_per_code == HANSEL_MAX_FOLD ? 6 : 8, code, slot, k, levels;
    for (code = 0; code < HANSEL_MAX_CODES; code++) {
        uint32_t length = prefix->codes[code] >> 16, entry = length;
        if (!length) continue;
        for (k = 0, levels = code; k < prefix->weights_per_code; k++) {
            uint32_t weight = prefix->origin + levels % prefix->level_count;
            levels /= prefix->level_count;
            entry |= (weight & ((1u << width) - 1)) << (32 - width * (k + 1));
        }
        for (slot = prefix->codes[code] & 0xFFFF; slot < 1u << prefix->code_bits;
             slot += 1u << length) {
            table[slot] = entry;
        }
    }
}

uint32_t hansel_prefix_bound(const hansel_prefix *prefix, uint32_t rows, uint32_t columns,
                             uint32_t unit) {
    uint64_t bits =
        (uint64_t)columns * (HANSEL_CODE_ROWS / prefix->weights_per_code) * prefix->code_bits;
    uint32_t lanes = (rows + HANSEL_CODE_ROWS - 1) / HANSEL_CODE_ROWS;
    return (uint32_t)((bits + 32 * unit - 1) / (32 * unit)) * unit * lanes;
}

/* Where word k of a stream of a block lies. */
static size_t word_place(uint32_t k, uint32_t lane, uint32_t lanes, uint32_t unit) {
    return ((size_t)(k / unit) * lanes + lane) * unit + k % unit;
}

/* Rows of a stream; beyond the last one, its last. */
static void stream_rows(const uint8_t *from[HANSEL_CODE_ROWS], const uint8_t *weights,
                        uint64_t pitch, uint32_t rows) {
    uint32_t row;
    for (row = 0; row < HANSEL_CODE_ROWS; row++) {
        from[row] = weights + (row < rows ? row : rows - 1) * pitch;
    }
}

/* A stream's codes. Returns its words. */
static inline uint32_t put_stream(uint32_t *words, uint32_t lane, uint32_t lanes, uint32_t unit,
                                  const hansel_prefix *prefix, const uint8_t *weights,
                                  uint64_t pitch, uint32_t rows, uint32_t columns,
                                  uint32_t weights_per_code) {
    const uint8_t *from[HANSEL_CODE_ROWS];
    uint32_t levels[HANSEL_CODE_ROWS], column, row, used = 0, at = 0;
    uint64_t bits = 0;
    stream_rows(from, weights, pitch, rows);
    for (column = 0; column < columns; column++) {
        for (row = 0; row < HANSEL_CODE_ROWS; row++) {
            levels[row] = row < rows ? (from[row][column] - prefix->origin) & 255 : prefix->pad;
        }
        for (row = 0; row < HANSEL_CODE_ROWS; row += weights_per_code) {
            uint32_t number = levels[row + weights_per_code - 1], k, code;
            for (k = weights_per_code - 1; k-- > 0;) {
                number = number * prefix->level_count + levels[row + k];
            }
            code = prefix->codes[number];
            bits |= (uint64_t)(code & 0xFFFF) << used;
            used += code >> 16;
            if (used >= 32) {
                words[word_place(at++, lane, lanes, unit)] = (uint32_t)bits;
                bits >>= 32;
                used -= 32;
            }
        }
    }
    if (used) words[word_place(at++, lane, lanes, unit)] = (uint32_t)bits;
    return at;
}

/* The same: the compiler makes loops of their own of what comes most. */
static uint32_t put_rows(uint32_t *words, uint32_t lane, uint32_t lanes, uint32_t unit,
                         const hansel_prefix *prefix, const uint8_t *weights, uint64_t pitch,
                         uint32_t rows, uint32_t columns) {
#define PUT_FOUR_ROWS(unit, weights_per_code)                                               \
    put_stream(words, lane, lanes, unit, prefix, weights, pitch, HANSEL_CODE_ROWS, columns, \
               weights_per_code)
    uint32_t weights_per_code = prefix->weights_per_code;
    if (rows == HANSEL_CODE_ROWS && unit == 1) {
        if (weights_per_code == 2) return PUT_FOUR_ROWS(1, 2);
        if (weights_per_code == 1) return PUT_FOUR_ROWS(1, 1);
    } else if (rows == HANSEL_CODE_ROWS) {
        if (weights_per_code == 2) return PUT_FOUR_ROWS(4, 2);
        if (weights_per_code == 1) return PUT_FOUR_ROWS(4, 1);
    }
#undef PUT_FOUR_ROWS
    return put_stream(words, lane, lanes, unit, prefix, weights, pitch, rows, columns,
                      weights_per_code);
}

/* Whether all bytes of a stream are known: tails can hold levels that have no frequency. */
static int all_known(const uint8_t known[256], const uint8_t *weights, uint64_t pitch,
                     uint32_t rows, uint32_t columns) {
    const uint8_t *from[HANSEL_CODE_ROWS];
    uint32_t all = 1, column;
    stream_rows(from, weights, pitch, rows);
    for (column = 0; column < columns; column++) {
        all &= known[from[0][column]] & known[from[1][column]] & known[from[2][column]] &
               known[from[3][column]];
    }
    return all != 0;
}

/* Those that have codes: as have as many weights of that level. */
static void find_coded(uint8_t known[256], const hansel_prefix *prefix) {
    uint32_t level, k, number;
    memset(known, 0, 256);
    for (level = 0; level < prefix->level_count; level++) {
        for (k = number = 0; k < prefix->weights_per_code; k++) {
            number = number * prefix->level_count + level;
        }
        known[(prefix->origin + level) & 255] = prefix->codes[number] != 0;
    }
}

uint32_t hansel_prefix_block(uint32_t *words, const hansel_prefix *prefix, const uint8_t *weights,
                             uint64_t pitch, uint32_t rows, uint32_t columns, uint32_t unit) {
    uint32_t lanes = (rows + HANSEL_CODE_ROWS - 1) / HANSEL_CODE_ROWS, lane, height = 0;
    uint32_t ends[HANSEL_BLOCK_STREAMS];
    uint8_t known[256];
    find_coded(known, prefix);
    for (lane = 0; lane < lanes; lane++) {
        uint32_t left = rows - lane * HANSEL_CODE_ROWS;
        const uint8_t *first = weights + (uint64_t)lane * HANSEL_CODE_ROWS * pitch;
        if (left > HANSEL_CODE_ROWS) left = HANSEL_CODE_ROWS;
        if (!all_known(known, first, pitch, left, columns)) return 0;
        ends[lane] = put_rows(words, lane, lanes, unit, prefix, first, pitch, left, columns);
        if (ends[lane] > height) height = ends[lane];
    }
    height = (height + unit - 1) / unit * unit;
    for (lane = 0; lane < lanes; lane++) {
        for (; ends[lane] < height; ends[lane]++) {
            words[word_place(ends[lane], lane, lanes, unit)] = 0;
        }
    }
    return height * lanes;
}

hansel_status hansel_pack_fit(hansel_packed *packed, const hansel_blob *blob) {
    uint64_t counts[256];
    uint32_t levels, half;
    int32_t low = (int32_t)(blob->origin ^ 128) - 128;
    if (blob->alphabet_size < 2) return HANSEL_ERR_ARGUMENT;
    levels = count_levels(counts, blob);
    for (packed->bits = 1; levels > 1u << packed->bits;) packed->bits *= 2;
    if (low + (int32_t)levels > 128) packed->bits = 8; /* from 127 on to -128 */
    half = 1u << (packed->bits - 1);
    packed->center = 0;
    if (low < -(int32_t)half || low + (int32_t)levels > (int32_t)half) {
        packed->center = packed->bits < 8 ? (uint32_t)(low + (int32_t)half) & 255 : 0;
    }
    return HANSEL_OK;
}

/* A stream's fields, as many to a byte. */
static inline void pack_stream(uint32_t *words, uint32_t lane, uint32_t lanes, uint32_t unit,
                               const hansel_packed *packed, const uint8_t *weights, uint64_t pitch,
                               uint32_t rows, uint32_t columns, uint32_t height, uint32_t fields) {
    uint32_t bits = 8 / fields, mask = (1u << bits) - 1, k, i, row;
    const uint8_t *from[HANSEL_CODE_ROWS];
    stream_rows(from, weights, pitch, rows);
    for (k = 0; k < height; k++) {
        uint32_t word = 0;
        for (i = 0; i < fields && k * fields + i < columns; i++) {
            for (row = 0; row < rows; row++) {
                uint32_t field = (from[row][k * fields + i] - packed->center) & mask;
                word |= field << (8 * row + bits * i);
            }
        }
        words[word_place(k, lane, lanes, unit)] = word;
    }
}

uint32_t hansel_pack_block(uint32_t *words, const hansel_packed *packed, const uint8_t *weights,
                           uint64_t pitch, uint32_t rows, uint32_t columns, uint32_t unit) {
    uint32_t lanes = (rows + HANSEL_CODE_ROWS - 1) / HANSEL_CODE_ROWS, lane;
    uint32_t fields = 8 / packed->bits, half = 1u << (packed->bits - 1), i;
    uint8_t known[256];
    uint32_t height = ((columns + fields - 1) / fields + unit - 1) / unit * unit;
    for (i = 0; i < 256; i++) known[i] = ((i - packed->center + half) & 255) < 2 * half;
    for (lane = 0; lane < lanes; lane++) {
        uint32_t left = rows - lane * HANSEL_CODE_ROWS;
        const uint8_t *first = weights + (uint64_t)lane * HANSEL_CODE_ROWS * pitch;
        if (left > HANSEL_CODE_ROWS) left = HANSEL_CODE_ROWS;
        if (fields > 1 && !all_known(known, first, pitch, left, columns)) return 0;
        if (left == HANSEL_CODE_ROWS && unit == 4 && fields == 1) { /* bytes, raw planes too */
            pack_stream(words, lane, lanes, 4, packed, first, pitch, HANSEL_CODE_ROWS, columns,
                        height, 1);
        } else {
            pack_stream(words, lane, lanes, unit, packed, first, pitch, left, columns, height,
                        fields);
        }
    }
    return height * lanes;
}
