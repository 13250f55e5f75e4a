/* native_planes.c - tensors as several matrices: fields of blocks, bases, classes of rows. */
#include "native.h"

#define MOST_FIELDS 8

/* Fields that cover a block. */
typedef struct layout {
    const char *name;
    uint32_t fields;
    hansel_field field[MOST_FIELDS];
} layout;

static const layout layouts[] = {
    {"bytes", 1, {{1, 0, 8, 1, 8}}},
    {"nibbles", 1, {{1, 0, 4, 2, 4}}},
    {"pairs of bits", 1, {{1, 0, 2, 4, 2}}},
    {"bits", 1, {{1, 0, 1, 8, 1}}},
    {"3 + 5 bits", 2, {{1, 0, 3, 1, 3}, {1, 3, 5, 1, 5}}},
    {"16 bits", 1, {{2, 0, 16, 1, 16}}},
    {"32 bits", 1, {{4, 0, 32, 1, 32}}},
    {"pairs of 16 bits", 2, {{4, 0, 16, 1, 16}, {4, 16, 16, 1, 16}}},
    {"bytes of 32 bits", 4, {{4, 0, 8, 1, 8}, {4, 8, 8, 1, 8}, {4, 16, 8, 1, 8}, {4, 24, 8, 1, 8}}},
    {"low nibbles, high nibbles", 2, {{1, 0, 8, 1, 4}, {1, 4, 8, 1, 4}}},
    {"nibbles from the middle of a byte on",
     3,
     {{3, 0, 4, 1, 4}, {3, 4, 4, 4, 4}, {3, 20, 4, 1, 4}}},
    {"Q4_0", 2, {{18, 0, 16, 1, 16}, {18, 16, 4, 32, 4}}},
    {"Q8_0", 2, {{34, 0, 16, 1, 16}, {34, 16, 8, 32, 8}}},
    {"Q4_K",
     7,
     {{144, 0, 16, 2, 16},
      {144, 32, 8, 4, 6},
      {144, 38, 8, 4, 2},
      {144, 64, 8, 4, 6},
      {144, 70, 8, 4, 2},
      {144, 96, 4, 8, 4},
      {144, 128, 4, 256, 4}}},
    {"two floats of 32 bits", 2, {{9, 0, 32, 2, 32}, {9, 64, 4, 2, 4}}},
};

/* An element by its definition, bit by bit. */
static uint32_t element(const hansel_field *field, const uint8_t *src, size_t index) {
    size_t bit = index / field->items * 8 * field->block_bytes + field->bit_offset +
                 index % field->items * field->item_bits;
    uint32_t value = 0, i;
    for (i = 0; i < field->width; i++)
        value |= (uint32_t)(src[(bit + i) / 8] >> (bit + i) % 8 & 1) << i;
    return value;
}

/* All elements, and every range from and up to odd places; into zeros and back. */
static void test_field(const layout *l, uint32_t blocks) {
    uint32_t block_bytes = l->field[0].block_bytes, size = blocks * block_bytes, f, i;
    uint8_t *src = allocate(size), *back = allocate(size);
    for (i = 0; i < size; i++) src[i] = (uint8_t)formula_random(blocks, i);
    memset(back, 0, size);
    for (f = 0; f < l->fields; f++) {
        const hansel_field *field = &l->field[f];
        uint32_t item = field->width > 8 ? field->width / 8 : 1, count = blocks * field->items;
        uint32_t first, some;
        for (first = 0; first <= count; first += 1 + first / 3) {
            uint32_t whole = first / field->items * block_bytes, at = first % field->items,
                     wrong = 0;
            some = first ? (count - first) / 2 : count;
            {
                uint8_t *from = exact(src + whole, size - whole), *got = allocate(some * item);
                hansel_get_field(got, field, from, at, some);
                for (i = 0; i < some; i++) {
                    uint32_t value = element(field, src, first + i);
                    wrong += memcmp(got + i * item, &value, item) != 0;
                }
                check(!wrong, "%s, field %u: %u of %u from %u", l->name, f, wrong, some, first);
                if (first == 0) { /* in two parts */
                    uint32_t half = count / 3;
                    whole = half / field->items * block_bytes;
                    hansel_put_field(back, field, got, 0, half);
                    hansel_put_field(back + whole, field, got + half * item, half % field->items,
                                     count - half);
                }
                free(from);
                free(got);
            }
        }
    }
    check(!memcmp(back, src, size), "%s: %u blocks and back", l->name, blocks);
    free(src);
    free(back);
}

/* Elements that do not fit leave no trace. */
static void test_misfits(void) {
    static const hansel_field nibbles = {1, 0, 4, 2, 4}, bits = {1, 0, 1, 8, 1},
                              bytes8 = {1, 0, 8, 1, 8};
    uint8_t src[9] = {1, 0, 1, 0, 1, 0, 1, 0, 1}, dst[9] = {0};
    check(hansel_put_field(dst, &bits, src, 0, 9) == 1 && dst[0] == 0x55 && dst[1] == 1, "bits");
    memset(dst, 0, sizeof dst);
    src[8] = 16;
    check(hansel_put_field(dst, &nibbles, src, 0, 9) == 0 && dst[0] == 0, "a nibble of 16");
    src[8] = 2;
    check(hansel_put_field(dst, &bits, src, 0, 9) == 0 && dst[0] == 0, "a bit of 2");
    src[8] = 255;
    check(hansel_put_field(dst, &bytes8, src, 0, 9) == 1 && dst[8] == 255, "a byte of 255");
}

static void test_base(uint32_t columns, uint32_t depth, uint32_t group, uint32_t pitch,
                      uint32_t high, uint32_t width) {
    hansel_base base = {columns, depth, group, pitch};
    uint32_t count = columns * depth * high, mask = (1u << width) - 1, i, first, wrong = 0;
    uint32_t values_count = ((high * depth - 1) / group) * pitch + columns;
    uint8_t *values = allocate(values_count), *src = allocate(count), *wanted = allocate(count);
    for (i = 0; i < values_count; i++) values[i] = (uint8_t)(formula_random(3, i) & mask);
    for (i = 0; i < count; i++) {
        uint32_t c = i % depth, b = i / depth % columns, a = i / depth / columns;
        src[i] = (uint8_t)(formula_random(4, i) & mask);
        wanted[i] = (uint8_t)((src[i] + values[(a * depth + c) / group * pitch + b]) & mask);
    }
    for (first = 0; first <= count; first += 1 + first / 2) {
        uint8_t *dst = exact(src + first, count - first);
        hansel_add_base(dst, values, &base, first, count - first, width);
        wrong += memcmp(dst, wanted + first, count - first) != 0;
        hansel_subtract_base(dst, values, &base, first, count - first, width);
        wrong += memcmp(dst, src + first, count - first) != 0;
        free(dst);
    }
    check(!wrong, "base %u %u %u %u, width %u", columns, depth, group, pitch, width);
    free(values);
    free(src);
    free(wanted);
}

/* Rows of some scales, uniform: row r has scale[r % scales] values. */
static void test_classes(uint32_t rows, uint32_t columns, uint32_t scales, uint32_t dtype) {
    static const uint32_t scale[] = {200, 9, 40, 90, 3, 20, 160, 60};
    uint32_t size = dtype == HANSEL_F32 ? 4 : dtype == HANSEL_F16 || dtype == HANSEL_BF16 ? 2 : 1;
    uint32_t *counts = allocate((size_t)1024 * rows), r, i, k, most = 0, wrong = 0;
    uint8_t *map = allocate(rows), *again = allocate(rows), *src = allocate((size_t)columns * size);
    hansel_classes *work = allocate(sizeof *work);
    double saved, same;
    memset(counts, 0, (size_t)1024 * rows);
    for (r = 0; r < rows; r++) {
        for (i = 0; i < columns; i++) {
            uint32_t value = formula_random(r, i) % scale[r % scales] + 1;
            if (size == 4) value <<= 23;
            if (size == 2) value <<= 7;
            memcpy(src + i * size, &value, size);
        }
        hansel_row_counts(counts + 256 * r, dtype, src, 1, columns);
    }
    saved = hansel_classify(map, counts, rows, work);
    memset(work, 0xA5, sizeof *work);
    same = hansel_classify(again, counts, rows, work);
    check(saved == same && !memcmp(map, again, rows), "the same twice");
    for (r = 0; r < rows; r++) most = map[r] > most ? map[r] : most;
    check(most < HANSEL_MAX_CLASSES && (saved > 0) == (most > 0), "%u classes, %.0f bits", most,
          saved);
    for (k = 0; k <= most; k++) {
        for (r = 0; r < rows && map[r] != k; r++) {
        }
        check(r < rows, "class %u has no rows", k);
    }
    if (scales < 2 || columns < 64) {
        check(scales > 1 || saved == 0, "rows all alike: %u classes", most + 1);
    } else {
        for (r = scales; r < rows; r++) wrong += map[r] != map[r - scales];
        check(saved > 0 && wrong <= rows / 50, "%u scales: %u of %u rows stray", scales, wrong,
              rows);
    }
    free(counts);
    free(map);
    free(again);
    free(src);
    free(work);
}

/* What every machine must find, wasm too: tests/api/fields.test.js has the same. */
static void test_known_classes(void) {
    uint32_t *counts = allocate(1024 * 300), r, i, sum = 0;
    uint8_t map[300];
    hansel_classes *work = allocate(sizeof *work);
    double saved;
    memset(counts, 0, 1024 * 300);
    for (r = 0; r < 300; r++) {
        for (i = 0; i < 500; i++) counts[256 * r + formula_random(r, i) % (3 + r % 97)]++;
    }
    saved = hansel_classify(map, counts, 300, work);
    for (r = 0; r < 300; r++) sum = sum * 31 + map[r];
    check(sum == 1719662940u && (uint32_t)saved == 91145, "map %u, saved %.3f", sum, saved);
    free(counts);
    free(work);
}

void test_fields(void) {
    static const uint32_t dtypes[] = {HANSEL_I8,   HANSEL_U8,  HANSEL_F16,
                                      HANSEL_BF16, HANSEL_F32, HANSEL_F8_E4M3};
    uint32_t i, k, scales;
    current = "fields";
    for (i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        for (k = 1; k < 40; k += 1 + k / 4) test_field(&layouts[i], k);
    }
    test_misfits();
    current = "bases";
    test_base(24, 8, 64, 24, 16, 4);
    test_base(24, 8, 64, 32, 17, 4);
    test_base(5, 8, 12, 5, 9, 4); /* groups that end within a word */
    test_base(7, 8, 3, 9, 5, 2);
    test_base(16, 1, 128, 16, 300, 4);
    test_base(1, 1, 1, 1, 1, 1);
    test_base(9, 4, 32, 12, 16, 8);
    current = "classes";
    for (scales = 1; scales <= 8; scales++) {
        for (i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
            test_classes(2, 1000, scales, dtypes[i]);
            test_classes(256, 1000, scales, dtypes[i]);
        }
        test_classes(1, 5, scales, HANSEL_I8);
        test_classes(3000, 200, scales, HANSEL_I8);
        test_classes(100, 0, scales, HANSEL_I8);
        test_classes(5, 12, scales, HANSEL_F16);
    }
    test_known_classes();
}
