/* native_prefix.c - weights in a GPU's memory: FORMAT.md appendix A, read back by a decoder of its
 * own. */
#include "native.h"

enum { MOST_ROWS = 530, MOST_COLUMNS = 300, SEGMENT = 111 };

/* Bits that a Huffman code of any length takes, and its longest code: by brute force. */
static uint64_t huffman_bits(const uint64_t *weights, uint32_t count, uint32_t *longest) {
    uint64_t *left = allocate(count * sizeof *left), bits = 0;
    uint32_t *depth = allocate(count * sizeof *depth), n = count, i;
    memcpy(left, weights, count * sizeof *left);
    memset(depth, 0, count * sizeof *depth);
    while (n > 1) {
        uint32_t pick;
        uint64_t sum = 0;
        uint32_t deepest = 0;
        for (pick = 0; pick < 2; pick++) {
            uint32_t least = 0;
            for (i = 1; i < n; i++) {
                if (left[i] < left[least] || (left[i] == left[least] && depth[i] < depth[least])) {
                    least = i;
                }
            }
            sum += left[least];
            if (depth[least] > deepest) deepest = depth[least];
            left[least] = left[--n];
            depth[least] = depth[n];
        }
        left[n] = sum;
        depth[n++] = deepest + 1;
        bits += sum;
    }
    *longest = depth[0];
    free(left);
    free(depth);
    return bits;
}

/* Complete, no code the beginning of another, and every entry of the table as its code says. */
static void check_code(const hansel_prefix *prefix, const uint32_t *table) {
    uint32_t code, filled = 0, codes = 0, wrong = 0, slot;
    for (code = 0; code < HANSEL_MAX_CODES; code++) {
        uint32_t length = prefix->codes[code] >> 16;
        if (!length) continue;
        filled += 1u << (HANSEL_CODE_BITS - length);
        codes++;
        wrong += length > prefix->code_bits;
        for (slot = prefix->codes[code] & 0xFFFF; slot < 1u << prefix->code_bits;
             slot += 1u << length) {
            wrong += (table[slot] & 15) != length;
        }
    }
    check(prefix->code_bits <= HANSEL_CODE_BITS && codes >= 2, "%u codes of %u bits", codes,
          prefix->code_bits);
    check(filled == 1u << HANSEL_CODE_BITS, "the code is not complete: %u of 4096", filled);
    check(wrong == 0, "%u entries of the table are wrong", wrong);
}

/* Reads a block back, by the text of the appendix alone. */
static void check_block(const hansel_prefix *prefix, const uint32_t *table, const uint32_t *words,
                        uint32_t count, const uint8_t *weights, uint64_t pitch, uint32_t rows,
                        uint32_t columns, uint32_t unit) {
    uint32_t lanes = (rows + 3) / 4, lane, column, row, k, wrong = 0;
    uint32_t width = prefix->weights_per_code == 4 ? 6 : 8;
    for (lane = 0; lane < lanes; lane++) {
        uint64_t at = 0;
        for (column = 0; column < columns; column++) {
            for (row = 0; row < 4; row += prefix->weights_per_code) {
                uint32_t window = 0, bit, entry;
                for (bit = 0; bit < prefix->code_bits; bit++) {
                    uint64_t i = (at + bit) / 32;
                    uint64_t word = (i / unit * lanes + lane) * unit + i % unit;
                    uint32_t value = word < count ? words[word] : 0;
                    window |= (value >> (at + bit) % 32 & 1) << bit;
                }
                entry = table[window];
                at += entry & 15;
                for (k = 0; k < prefix->weights_per_code; k++) {
                    uint32_t field = entry >> (32 - width * (k + 1)) & ((1u << width) - 1);
                    int32_t weight = (int32_t)(field ^ (1u << (width - 1))) - (1 << (width - 1));
                    uint32_t r = 4 * lane + row + k;
                    if (r < rows && (uint8_t)weight != weights[r * pitch + column]) wrong++;
                }
            }
        }
        check((at + 31) / 32 * lanes <= count, "a stream of %u bits in %u words", (uint32_t)at,
              count);
        for (at = (at + 31) / 32; at < count / lanes; at++) {
            wrong += words[(at / unit * lanes + lane) * unit + at % unit] != 0;
        }
    }
    check(wrong == 0, "%u weights differ", wrong);
}

static void check_packed(const hansel_packed *packed, const uint32_t *words, uint32_t count,
                         const uint8_t *weights, uint64_t pitch, uint32_t rows, uint32_t columns,
                         uint32_t unit) {
    uint32_t lanes = (rows + 3) / 4, row, column, wrong = 0, sign = 1u << (packed->bits - 1);
    for (row = 0; row < rows; row++) {
        for (column = 0; column < columns; column++) {
            uint32_t k = column * packed->bits / 8, at = column * packed->bits % 8 + row % 4 * 8;
            uint32_t word = (k / unit * lanes + row / 4) * unit + k % unit;
            uint32_t field = word < count ? words[word] >> at & (2 * sign - 1) : 0;
            wrong +=
                (uint8_t)((field ^ sign) - sign + packed->center) != weights[row * pitch + column];
        }
    }
    check(wrong == 0, "%u weights of %u bits differ", wrong, packed->bits);
}

/* All blocks of a matrix, of prefix codes (packed NULL) or fields. */
static void check_blocks(const hansel_prefix *prefix, const uint32_t *table,
                         const hansel_packed *packed, const uint8_t *weights, uint64_t pitch,
                         uint32_t rows, uint32_t columns, uint32_t unit) {
    uint32_t row, column;
    for (row = 0; row < rows; row += HANSEL_BLOCK_ROWS) {
        for (column = 0; column < columns; column += SEGMENT) {
            uint32_t high = rows - row < HANSEL_BLOCK_ROWS ? rows - row : HANSEL_BLOCK_ROWS;
            uint32_t wide = columns - column < SEGMENT ? columns - column : SEGMENT;
            const uint8_t *from = weights + row * pitch + column;
            uint32_t room = packed ? (high + 3) / 4 * (wide + 3) : 0, count;
            uint32_t *words;
            if (!packed) room = hansel_prefix_bound(prefix, high, wide, unit);
            words = allocate((room + 1) * sizeof *words);
            memset(words, 0x5A, room * sizeof *words);
            words[room] = 0xA5A5A5A5;
            if (packed) {
                count = hansel_pack_block(words, packed, from, pitch, high, wide, unit);
                check_packed(packed, words, count, from, pitch, high, wide, unit);
            } else {
                count = hansel_prefix_block(words, prefix, from, pitch, high, wide, unit);
                check_block(prefix, table, words, count, from, pitch, high, wide, unit);
            }
            check(count <= room && words[room] == 0xA5A5A5A5, "writes beyond its room");
            free(words);
        }
    }
}

static void check_weights(const hansel_prefix *prefix, const uint8_t *weights, uint64_t pitch,
                          uint32_t rows, uint32_t columns) {
    uint32_t *table = allocate(sizeof *table << prefix->code_bits);
    memset(table, 0, sizeof *table << prefix->code_bits);
    hansel_prefix_table(table, prefix);
    check_code(prefix, table);
    check_blocks(prefix, table, NULL, weights, pitch, rows, columns, 1);
    check_blocks(prefix, table, NULL, weights, pitch, rows, columns, 4);
    free(table);
}

/* Of every vector: each number of weights to a code, and the one that is chosen. */
void check_prefix(const hansel_blob *blob, const uint8_t *symbols) {
    hansel_prefix *prefix = allocate(sizeof *prefix);
    hansel_prefix_work *work = allocate(sizeof *work);
    hansel_packed packed;
    uint32_t rows = blob->rows < MOST_ROWS ? (uint32_t)blob->rows : MOST_ROWS, per;
    uint32_t columns = blob->columns < MOST_COLUMNS ? (uint32_t)blob->columns : MOST_COLUMNS;
    if (blob->alphabet_size < 2) {
        check(hansel_prefix_fit(prefix, blob, 0, work) == HANSEL_ERR_ARGUMENT &&
                  hansel_pack_fit(&packed, blob) == HANSEL_ERR_ARGUMENT,
              "a code of one level");
    } else {
        check(hansel_pack_fit(&packed, blob) == HANSEL_OK, "fields for %u", blob->alphabet_size);
        check_blocks(prefix, NULL, &packed, symbols, blob->columns, rows, columns, 1);
        check_blocks(prefix, NULL, &packed, symbols, blob->columns, rows, columns, 4);
        for (per = 0; per <= 4; per++) {
            hansel_status status = hansel_prefix_fit(prefix, blob, per, work);
            uint64_t codes = 1;
            uint32_t k;
            for (k = 0; k < per; k++) codes *= prefix->level_count;
            check(status == HANSEL_OK || per == 3 || per == 4 || codes > HANSEL_MAX_CODES,
                  "%u weights to a code: status %d", per, status);
            check(per != 3 || status == HANSEL_ERR_ARGUMENT, "three weights to a code");
            if (status == HANSEL_OK) check_weights(prefix, symbols, blob->columns, rows, columns);
        }
    }
    free(prefix);
    free(work);
}

/* Weights whose level has no frequency, as a tail can hold them, have neither code nor field. */
static void test_stray_weights(hansel_prefix *prefix, hansel_prefix_work *work) {
    uint32_t words[64], stray;
    hansel_packed packed;
    hansel_blob blob;
    memset(&blob, 0, sizeof blob);
    blob.weights_per_symbol = 1;
    blob.slot_bits = 8;
    blob.alphabet_size = 256;
    blob.origin = 254;
    blob.freq[0] = blob.freq[1] = blob.freq[3] = 85;
    blob.freq[4] = 1;
    check(hansel_prefix_fit(prefix, &blob, 0, work) == HANSEL_OK && prefix->weights_per_code == 4 &&
              hansel_pack_fit(&packed, &blob) == HANSEL_OK && packed.bits == 4,
          "a code of five levels");
    for (stray = 0; stray < 256; stray++) {
        uint32_t level = (stray - blob.origin) & 255;
        uint8_t weights[5 * 3];
        memset(weights, 254, sizeof weights);
        weights[14] = (uint8_t)stray;
        check((hansel_prefix_block(words, prefix, weights, 3, 5, 3, 1) != 0) ==
                  (level < 5 && level != 2),
              "a weight of level %u has a code, or none", level);
        check((hansel_pack_block(words, &packed, weights, 3, 5, 3, 1) != 0) ==
                  (stray < 8 || stray >= 248),
              "a weight of level %u has a field, or none", level);
    }
}

/* Lengths are the cheapest there are, and how many weights go to a code. */
void test_prefix(void) {
    hansel_prefix *prefix = allocate(sizeof *prefix);
    hansel_prefix_work *work = allocate(sizeof *work);
    uint32_t round, seed = 1;
    current = "prefix codes";
    for (round = 0; round < 400; round++) {
        hansel_blob blob;
        uint32_t i, longest, limited = 0, count, total = 0;
        uint64_t bits = 0, counts[256], free_bits;
        memset(&blob, 0, sizeof blob);
        blob.weights_per_symbol = 1;
        blob.slot_bits = 12;
        blob.alphabet_size = 2 + round % 200;
        for (i = 0; i < blob.alphabet_size; i++) {
            seed = seed * 1664525 + 1013904223;
            counts[i] = blob.freq[i] =
                (uint16_t)(1 + (seed >> 16) % (round & 1 ? 20 : 1u << seed % 11));
            total += blob.freq[i];
        }
        if (total > 4096) continue;
        count = blob.alphabet_size;
        check(hansel_prefix_fit(prefix, &blob, 1, work) == HANSEL_OK, "round %u", round);
        for (i = 0; i < count; i++) bits += counts[i] * (prefix->codes[i] >> 16);
        free_bits = huffman_bits(counts, count, &longest);
        limited = longest > HANSEL_SINGLE_BITS;
        check(limited ? bits >= free_bits : bits == free_bits, "%u levels: %u bits, not %u", count,
              (uint32_t)bits, (uint32_t)free_bits);
    }
    {
        static const struct {
            uint32_t levels, origin, per;
        } expected[] = {{2, 0, 4},    {3, 255, 4},  {4, 254, 4},  {3, 100, 2},
                        {16, 248, 2}, {40, 236, 2}, {70, 221, 1}, {256, 128, 1}};
        uint32_t k, i;
        for (k = 0; k < sizeof expected / sizeof *expected; k++) {
            hansel_blob blob;
            memset(&blob, 0, sizeof blob);
            blob.weights_per_symbol = 1;
            blob.slot_bits = 12;
            blob.alphabet_size = expected[k].levels;
            blob.origin = expected[k].origin;
            for (i = 0; i < blob.alphabet_size; i++) { /* a bell */
                double x = 9 * ((i + 0.5) / blob.alphabet_size - 0.5);
                blob.freq[i] = (uint16_t)(1 + 3800 / (0.28 * blob.alphabet_size) * exp(-x * x / 2));
            }
            check(hansel_prefix_fit(prefix, &blob, 0, work) == HANSEL_OK, "%u levels",
                  expected[k].levels);
            check(prefix->weights_per_code == expected[k].per, "%u levels: %u to a code, not %u",
                  expected[k].levels, prefix->weights_per_code, expected[k].per);
        }
    }
    test_stray_weights(prefix, work);
    free(prefix);
    free(work);
}
