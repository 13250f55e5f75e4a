/*
 * planes.c - tensors that are coded as several matrices: fields of blocks (planes), and rows dealt
 * to classes. FORMAT.md section 7.
 */
#include "internal.h"

/* ---- fields of blocks ------------------------------------------------------------ */

#define EIGHT 0x0101010101010101u /* bytes at a time */

/* Items that lie equally far apart, so many bits from one to the next. */
static inline void get_run(uint8_t *dst, const uint8_t *src, uint32_t bit, size_t stride,
                           size_t count, uint32_t width) {
    uint32_t mask = (1u << (width & 31)) - 1, shift = bit & 7, size = width / 8;
    size_t i, at;
    src += bit >> 3;
    if (width > 8) {
        for (i = 0; i < count; i++) memcpy(dst + i * size, src + i * (stride / 8), size);
    } else if (stride == 8 && width == 8) {
        memcpy(dst, src, count);
    } else if (stride % 8 == 0) {
        i = 0;
        if (stride == 8)
            for (; i + 8 <= count; i += 8)
                hansel_store64(dst + i, hansel_load64(src + i) >> shift & mask * EIGHT);
        for (; i < count; i++) dst[i] = (uint8_t)(src[i * (stride / 8)] >> shift & mask);
    } else if (stride == 4 && width == 4 && shift == 0) {
        for (i = 0; i < count / 2; i++) {
            dst[2 * i] = src[i] & 15;
            dst[2 * i + 1] = src[i] >> 4;
        }
        if (count & 1) dst[count - 1] = src[count / 2] & 15;
    } else {
        for (i = 0, at = shift; i < count; i++, at += stride) {
            dst[i] = (uint8_t)(src[at >> 3] >> (at & 7) & mask);
        }
    }
}

static inline void put_run(uint8_t *dst, const uint8_t *src, uint32_t bit, size_t stride,
                           size_t count, uint32_t width) {
    uint32_t shift = bit & 7, size = width / 8;
    size_t i, at;
    dst += bit >> 3;
    if (width > 8) {
        for (i = 0; i < count; i++) memcpy(dst + i * (stride / 8), src + i * size, size);
    } else if (stride == 8 && width == 8) {
        memcpy(dst, src, count);
    } else if (stride % 8 == 0) {
        i = 0;
        if (stride == 8) /* nothing crosses to the next byte: put_field() has seen to that */
            for (; i + 8 <= count; i += 8)
                hansel_store64(dst + i, hansel_load64(dst + i) | hansel_load64(src + i) << shift);
        for (; i < count; i++) dst[i * (stride / 8)] |= (uint8_t)(src[i] << shift);
    } else if (stride == 4 && width == 4 && shift == 0) {
        for (i = 0; i < count / 2; i++) dst[i] |= (uint8_t)(src[2 * i] | src[2 * i + 1] << 4);
        if (count & 1) dst[count / 2] |= src[count - 1];
    } else {
        for (i = 0, at = shift; i < count; i++, at += stride) {
            dst[at >> 3] |= (uint8_t)(src[i] << (at & 7));
        }
    }
}

/* From item to item, in bits. Where a block's items fill it, or there is one, this goes on across
 * blocks. */
static size_t stride_of(const hansel_field *field) {
    return field->items == 1 ? (size_t)8 * field->block_bytes : field->item_bits;
}

/* How many of count items from `first` on are one run. */
static size_t run_length(const hansel_field *field, uint32_t first, size_t count) {
    uint32_t left = field->items - first;
    int is_even = stride_of(field) * field->items == (size_t)8 * field->block_bytes;
    /* Nibbles go in pairs. */
    if (is_even && first & 1 && field->item_bits == 4 && count) return 1;
    return is_even || count < left ? count : left;
}

void hansel_get_field(void *dst, const hansel_field *field, const void *src, uint32_t first,
                      size_t count) {
    size_t stride = stride_of(field), bytes = field->width > 8 ? field->width / 8 : 1, size;
    const uint8_t *block = src;
    uint8_t *to = dst;
    for (; count; count -= size, to += size * bytes) {
        uint32_t bit = field->bit_offset + first * field->item_bits;
        size = run_length(field, first, count);
        get_run(to, block, bit, stride, size, field->width);
        if ((first += (uint32_t)size) < field->items) continue;
        first = 0;
        block += field->block_bytes;
    }
}

uint32_t hansel_put_field(void *dst, const hansel_field *field, const void *src, uint32_t first,
                          size_t count) {
    size_t stride = stride_of(field), bytes = field->width > 8 ? field->width / 8 : 1, size, i;
    const uint8_t *from = src;
    uint8_t *block = dst;
    uint64_t all = 0;
    if (field->width < 8) {
        for (i = 0; i + 8 <= count; i += 8) all |= hansel_load64(from + i);
        for (; i < count; i++) all |= from[i];
        if (all & ~(((1u << field->width) - 1) * EIGHT)) return 0;
    }
    for (; count; count -= size, from += size * bytes) {
        uint32_t bit = field->bit_offset + first * field->item_bits;
        size = run_length(field, first, count);
        put_run(block, from, bit, stride, size, field->width);
        if ((first += (uint32_t)size) < field->items) continue;
        first = 0;
        block += field->block_bytes;
    }
    return 1;
}

/* Adds, or subtracts, what belongs to elements first .. first + count - 1. */
static void combine_base(uint8_t *dst, const uint8_t *values, const hansel_base *base,
                         uint64_t first, size_t count, uint32_t width, int is_minus) {
    uint32_t depth = base->depth, mask = (1u << width) - 1;
    uint64_t a = first / depth / base->columns, b = first / depth % base->columns;
    uint32_t c = (uint32_t)(first % depth);
    size_t i = 0;
    while (i < count) {
        /* Of all columns alike: the group of the first c, and how many of it there are. */
        uint64_t group = a * depth / base->group;
        uint64_t left = base->group - a * depth % base->group;
        for (; b < base->columns && i < count; b++, c = 0) {
            for (; c < depth && i < count; c++, i++) {
                uint64_t more = c < left ? 0 : 1 + (c - left) / base->group;
                uint32_t value = values[(group + more) * base->pitch + b];
                dst[i] = (uint8_t)((dst[i] + (is_minus ? 256 - value : value)) & mask);
            }
        }
        if (b < base->columns) break;
        b = 0;
        a++;
    }
}

void hansel_add_base(uint8_t *dst, const uint8_t *values, const hansel_base *base, uint64_t first,
                     size_t count, uint32_t width) {
    combine_base(dst, values, base, first, count, width, 0);
}

void hansel_subtract_base(uint8_t *dst, const uint8_t *values, const hansel_base *base,
                          uint64_t first, size_t count, uint32_t width) {
    combine_base(dst, values, base, first, count, width, 1);
}

/* ---- classes of rows ------------------------------------------------------------- */

void hansel_row_counts(uint32_t *counts, uint32_t dtype, const void *src, uint64_t rows,
                       uint64_t columns) {
    const uint8_t *from = src;
    uint64_t row, column;
    for (row = 0; row < rows; row++, counts += 256) {
        for (column = 0; column < columns; column++) {
            uint32_t symbol;
            if (dtype == HANSEL_F32) {
                symbol = hansel_load32(from) >> 23 & 255;
                from += 4;
            } else if (dtype == HANSEL_F16 || dtype == HANSEL_BF16) {
                symbol = hansel_load16(from) >> 7 & 255;
                from += 2;
            } else {
                symbol = *from++ & (dtype == HANSEL_I8 || dtype == HANSEL_U8 ? 255 : 127);
            }
            counts[symbol]++;
        }
    }
}

/* What a symbol costs in each class, in bits, and what it is to belong to that class. */
static void price(hansel_classes *work, uint32_t classes, uint32_t rows) {
    uint32_t k, s;
    for (k = 0; k < classes; k++) {
        double total = work->used;
        for (s = 0; s < work->used; s++) total += (double)work->sums[k][s];
        total = hansel_log2(total);
        for (s = 0; s < work->used; s++) {
            work->bits[k][s] = total - hansel_log2((double)work->sums[k][s] + 1);
        }
        work->bits[k][256] = hansel_log2((rows + 1.0) / (work->sizes[k] + 1.0));
    }
}

/* Deals rows of a list, or all of them, to the classes in which they cost least. Returns how many
 * moved. */
static uint32_t deal(hansel_classes *work, uint8_t *map, const uint32_t *counts,
                     const uint32_t *rows, uint32_t count, uint32_t classes) {
    uint32_t i, k, s, moved = 0;
    memset(work->sums, 0, sizeof work->sums);
    memset(work->sizes, 0, sizeof work->sizes);
    for (i = 0; i < count; i++) {
        uint32_t row = rows ? rows[i] : i, best = 0;
        const uint32_t *own = counts + (size_t)256 * row;
        double least = 0;
        for (k = 0; k < classes; k++) {
            double cost = work->bits[k][256];
            for (s = 0; s < work->used; s++) cost += own[work->symbols[s]] * work->bits[k][s];
            if (k && cost >= least) continue;
            least = cost;
            best = k;
        }
        moved += map[row] != best;
        map[row] = (uint8_t)best;
        work->sizes[best]++;
        for (s = 0; s < work->used; s++) work->sums[best][s] += own[work->symbols[s]];
    }
    return moved;
}

/* n log2(n) - sum of c log2(c). */
static double cost_of(const uint64_t *counts, uint32_t used) {
    double total = 0, bits = 0;
    uint32_t s;
    for (s = 0; s < used; s++) {
        total += (double)counts[s];
        if (counts[s]) bits -= (double)counts[s] * hansel_log2((double)counts[s]);
    }
    return total > 0 ? bits + total * hansel_log2(total) : 0;
}

/* Bits of the rows as they are dealt, their map, and heads and tables of the classes beyond the
 * first, which a sample of the rows has its share of. */
static double total_cost(const hansel_classes *work, uint32_t classes, double share) {
    uint64_t sizes[HANSEL_MAX_CLASSES];
    double bits = 0;
    uint32_t k, s, filled = 0;
    for (k = 0; k < classes; k++) {
        uint32_t own = 0;
        sizes[k] = work->sizes[k];
        if (!sizes[k]) continue;
        for (s = 0; s < work->used; s++) own += work->sums[k][s] != 0;
        filled++;
        bits += cost_of(work->sums[k], work->used) + share * 8 * (30 + 0.3 * own);
    }
    return bits + (filled > 1 ? cost_of(sizes, classes) + share * 8 * 40 : 0);
}

/* Rows of the sample in order of a key: a heap. */
static void sort_rows(hansel_classes *work, uint32_t count) {
    uint32_t i, size;
    for (i = 0; i < count; i++) work->order[i] = i;
    for (i = count / 2, size = count; size > 1;) {
        uint32_t at, child, moved;
        if (i > 0) {
            i--;
        } else {
            moved = work->order[--size];
            work->order[size] = work->order[0];
            work->order[0] = moved;
        }
        moved = work->order[i];
        for (at = i; (child = 2 * at + 1) < size; at = child) {
            const double *keys = work->keys;
            if (child + 1 < size && keys[work->order[child + 1]] > keys[work->order[child]]) {
                child++;
            }
            if (keys[work->order[child]] <= keys[moved]) break;
            work->order[at] = work->order[child];
        }
        work->order[at] = moved;
    }
}

/* Of the sample's rows: their entropy, or their mean. */
static void find_keys(hansel_classes *work, const uint32_t *counts, uint32_t count, int is_mean) {
    uint32_t i, s;
    for (i = 0; i < count; i++) {
        const uint32_t *own = counts + (size_t)256 * work->rows[i];
        uint64_t some[256];
        double total = 0, sum = 0;
        for (s = 0; s < work->used; s++) {
            some[s] = own[work->symbols[s]];
            total += (double)some[s];
            sum += (double)some[s] * work->symbols[s];
        }
        work->keys[i] = total > 0 ? (is_mean ? sum : cost_of(some, work->used)) / total : 0;
    }
}

/* Cuts the sample as it is sorted into classes of as many rows. */
static void cut(hansel_classes *work, const uint32_t *counts, uint32_t count, uint32_t classes) {
    uint32_t i, s;
    memset(work->sums, 0, sizeof work->sums);
    memset(work->sizes, 0, sizeof work->sizes);
    for (i = 0; i < count; i++) {
        const uint32_t *own = counts + (size_t)256 * work->rows[work->order[i]];
        uint32_t k = i * classes / count;
        work->sizes[k]++;
        for (s = 0; s < work->used; s++) work->sums[k][s] += own[work->symbols[s]];
    }
}

/* Rows at odd distances, so that no pattern of rows hides from it. Returns how many. */
static uint32_t take_sample(hansel_classes *work, uint32_t rows) {
    uint32_t step = (rows + HANSEL_CLASS_SAMPLE - 1) / HANSEL_CLASS_SAMPLE, count = 0, at;
    for (at = 0; at < rows; at += step) {
        uint32_t row = at + (count * 0x9E3779B1u >> 16) % step;
        work->rows[count++] = row < rows ? row : rows - 1;
    }
    return count;
}

/* Numbers the classes that have rows from 0 on. Returns how many there are. */
static uint32_t renumber(const hansel_classes *work, uint8_t *map, uint32_t rows) {
    uint8_t numbers[HANSEL_MAX_CLASSES];
    uint32_t k, row, found = 0;
    for (k = 0; k < HANSEL_MAX_CLASSES; k++) {
        numbers[k] = (uint8_t)found;
        found += work->sizes[k] != 0;
    }
    for (row = 0; row < rows; row++) map[row] = numbers[map[row]];
    return found;
}

double hansel_classify(uint8_t *map, const uint32_t *counts, uint32_t rows, hansel_classes *work) {
    static const uint8_t sizes[] = {2, 3, 4, 6, 8};
    uint32_t count, row, s, i, best = 1, start, round;
    uint64_t totals[256];
    double one, least;
    memset(totals, 0, sizeof totals);
    memset(map, 0, rows);
    for (row = 0; row < rows; row++) {
        for (s = 0; s < 256; s++) totals[s] += counts[(size_t)256 * row + s];
    }
    work->used = 0;
    for (s = 0; s < 256; s++) {
        if (totals[s]) work->symbols[work->used++] = (uint8_t)s;
    }
    if (rows < 2 || work->used < 2) return 0;
    count = take_sample(work, rows);
    memset(work->bits, 0, sizeof work->bits);
    deal(work, map, counts, work->rows, count, 1);
    one = least = total_cost(work, 1, (double)count / rows);
    for (start = 0; start < 2; start++) {
        find_keys(work, counts, count, start != 0);
        sort_rows(work, count);
        for (i = 0; i < sizeof sizes; i++) {
            uint32_t classes = sizes[i];
            double cost;
            if (classes > 3 && least > HANSEL_CLASS_WORTH * one) break; /* little to find */
            cut(work, counts, count, classes);
            for (round = 0; round < HANSEL_CLASS_ROUNDS; round++) {
                price(work, classes, count);
                if (!deal(work, map, counts, work->rows, count, classes)) break;
            }
            cost = total_cost(work, classes, (double)count / rows);
            if (cost >= least) continue;
            least = cost;
            best = classes;
            price(work, classes, count);
            memcpy(work->best, work->bits, sizeof work->best);
        }
    }
    memset(map, 0, rows);
    if (best == 1) return 0;
    memcpy(work->bits, work->best, sizeof work->bits);
    deal(work, map, counts, NULL, rows, best);
    least = total_cost(work, best, 1);
    memset(work->bits, 0, sizeof work->bits);
    renumber(work, map, rows);
    for (s = 0; s < work->used; s++) totals[s] = totals[work->symbols[s]];
    one = cost_of(totals, work->used) + 8 * (30 + 0.3 * work->used);
    if (one > least) return one - least;
    memset(map, 0, rows);
    return 0;
}
