/*
 * native_variants.c - every decoder that this processor can run, against decode.c alone: the
 * same symbols of good blobs, the same status and place of bad ones.
 */
#include "native.h"

const char *const variant_names[HANSEL_VARIANTS] = {"scalar", "quads", "avx2"};

/* In place of src/variant.c's: what is being tested. */
hansel_variant variant = HANSEL_SCALAR;
hansel_variant hansel_best_variant(void) { return variant; }

static bytes make_blob(uint64_t rows, uint64_t columns, uint32_t stream_length, uint32_t slot_bits,
                       uint32_t scale, uint32_t fold, uint8_t **weights) {
    hansel_status status;
    hansel_blob blob;
    vector v;
    uint32_t i, count = (uint32_t)(rows * columns);
    bytes file;
    memset(&v, 0, sizeof v);
    v.dtype = HANSEL_I8;
    v.rank = 2;
    v.shape[0] = rows;
    v.shape[1] = columns;
    v.options.lossless = 1;
    v.options.stream_length = stream_length;
    v.options.slot_bits = slot_bits;
    v.options.weights_per_symbol = fold;
    v.input.kind = FORMULA_GAUSS;
    v.input.scale = scale;
    v.input.seed = slot_bits + stream_length;
    *weights = allocate(count);
    for (i = 0; i < count; i++) {
        int32_t q = formula_gauss(&v.input, i);
        if (fold > 1) q &= fold == 2 ? 15 : 3; /* levels that fit a field */
        (*weights)[i] = (uint8_t)q;
    }
    file = encode(&v, *weights, &status);
    check(status == HANSEL_OK, "cannot be coded: %d", status);
    check(count == 1 || (hansel_read_head(&blob, file.at, file.count, NULL) == HANSEL_OK &&
                         blob.weights_per_symbol == fold),
          "folded by %u, not %u", blob.weights_per_symbol, fold);
    return file;
}

/* The loops themselves: they take all steps but a few, and leave the streams right. */
static void check_loops(const bytes *file, const uint8_t *weights, uint32_t count) {
    uint32_t table[HANSEL_MAX_SLOTS], wide[HANSEL_MAX_SLOTS], k, *cursors;
    hansel_decoder streams[HANSEL_GROUP];
    hansel_fields fields;
    const uint32_t *wide_table;
    uint8_t *dst, *words;
    size_t src_bytes;
    hansel_blob blob;
    hansel_read_head(&blob, file->at, file->count, NULL);
    hansel_build_table(table, &blob);
    wide_table = hansel_wide_table(wide, table, blob.slot_bits);
    fields = hansel_fields_of(&blob);
    cursors = allocate(4 * ((size_t)count + 1));
    hansel_read_cursors(cursors, &blob, file->at, 0, count, 0);
    src_bytes = 2 * (size_t)cursors[count];
    words = exact(file->at + blob.head_bytes, src_bytes);
    dst = allocate((size_t)hansel_stream_start(&blob, count));
    for (k = 0; k < count; k++) {
        hansel_decoder *d = &streams[k];
        uint8_t *start = words + 2 * (size_t)cursors[k];
        hansel_extent extent = hansel_stream_extent(&blob, k);
        memset(d, 0, sizeof *d);
        memcpy(d->state, start, sizeof d->state);
        d->cursor = start + 2 * HANSEL_STATE_WORDS;
        d->end = words + 2 * (size_t)cursors[k + 1];
        d->dst = dst + hansel_stream_start(&blob, k);
        d->column_count = extent.weight_columns;
        d->step_count = extent.step_count - blob.tail_steps;
    }
    hansel_decode_group(streams, count, wide_table, &fields, words + src_bytes);
    for (k = 0; k < count; k++) {
        hansel_extent extent = hansel_stream_extent(&blob, k);
        uint64_t start = hansel_stream_start(&blob, k);
        size_t done = (size_t)(streams[k].dst - dst - start);
        check(done + HANSEL_LANES * fields.fold * streams[k].step_count ==
                  HANSEL_LANES * fields.fold * (extent.step_count - blob.tail_steps),
              "%zu done, %llu steps left", done, (unsigned long long)streams[k].step_count);
        check(variant == HANSEL_SCALAR || streams[k].step_count < 24,
              "%llu steps left of stream %u", (unsigned long long)streams[k].step_count, k);
        check(!memcmp(dst + start, weights + start, done), "stream %u of %u", k, count);
    }
    free(cursors);
    free(words);
    free(dst);
}

typedef struct outcome {
    hansel_status status;
    uint64_t position;
    uint32_t crc; /* of the symbols, if all is well */
} outcome;

static outcome decode_with(hansel_variant with, const bytes *file, size_t weights) {
    uint8_t *src = exact(file->at, file->count), *dst = allocate(weights);
    hansel_fault fault = {0, 0, 0};
    outcome found;
    variant = with;
    found.status = hansel_decode_symbols(dst, weights, src, file->count, &fault);
    found.position = found.status == HANSEL_OK ? 0 : fault.position;
    found.crc = found.status == HANSEL_OK ? hansel_crc32c(0, dst, weights) : 0;
    free(src);
    free(dst);
    return found;
}

/* Good, then with words changed: all decoders must agree with decode.c. */
static void check_agreement(const bytes *file, const uint8_t *symbols, size_t weights) {
    hansel_blob blob;
    uint32_t round, with;
    hansel_read_head(&blob, file->at, file->count, NULL);
    for (round = 0; round < (blob.word_count ? 12 : 1); round++) {
        bytes changed = {exact(file->at, file->count), file->count};
        outcome expected;
        if (round) {
            uint32_t random = formula_random(round, (uint32_t)weights);
            changed.at[blob.head_bytes + random % (2 * (uint32_t)blob.word_count)] ^=
                (uint8_t)(1 + (random >> 24) % 255);
            formula_seal(changed.at, changed.count);
        }
        expected = decode_with(HANSEL_SCALAR, &changed, weights);
        if (!round)
            check(expected.status == HANSEL_OK &&
                      expected.crc == hansel_crc32c(0, symbols, weights),
                  "scalar: status %d", expected.status);
        for (with = HANSEL_SCALAR + 1; with < HANSEL_VARIANTS; with++) {
            outcome found;
            if (!hansel_has_variant((hansel_variant)with)) continue;
            found = decode_with((hansel_variant)with, &changed, weights);
            check(found.status == expected.status && found.position == expected.position &&
                      found.crc == expected.crc,
                  "%s, round %u: status %d at %llu, not %d at %llu", variant_names[with], round,
                  found.status, (unsigned long long)found.position, expected.status,
                  (unsigned long long)expected.position);
        }
        free(changed.at);
    }
}

void test_variants(void) {
    static const struct {
        uint32_t rows, columns, stream_length;
    } shapes[] = {{1, 1, 1},      {3, 17, 17},     {4, 64, 64},   {9, 64, 64},    {16, 256, 256},
                  {17, 255, 255}, {33, 100, 50},   {40, 36, 108}, {64, 129, 129}, {65, 4096, 1024},
                  {70, 20, 80},   {7, 4099, 4099}, {40, 27, 108}, {200, 3, 96},   {90, 35, 350}};
    hansel_variant before = variant;
    uint32_t i, slot_bits, count, fold;
    current = "variants";
    for (i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (slot_bits = HANSEL_MIN_SLOT_BITS; slot_bits <= HANSEL_MAX_SLOT_BITS; slot_bits++) {
            for (fold = 1; fold <= HANSEL_MAX_FOLD; fold *= 2) {
                uint8_t *weights;
                bytes file =
                    make_blob(shapes[i].rows, shapes[i].columns, shapes[i].stream_length, slot_bits,
                              12 << (slot_bits - HANSEL_MIN_SLOT_BITS), fold, &weights);
                check_agreement(&file, weights, (size_t)shapes[i].rows * shapes[i].columns);
                free(file.at);
                free(weights);
            }
        }
    }
    for (slot_bits = HANSEL_MIN_SLOT_BITS; slot_bits <= HANSEL_MAX_SLOT_BITS; slot_bits++) {
        for (fold = 1; fold <= HANSEL_MAX_FOLD; fold *= 2) {
            uint8_t *weights;
            bytes file =
                make_blob(HANSEL_GROUP + 1, 1024 * fold, 1024, slot_bits, 64, fold, &weights);
            for (variant = HANSEL_SCALAR; variant < HANSEL_VARIANTS; variant++) {
                if (!hansel_has_variant(variant)) continue;
                for (count = 4; count <= HANSEL_GROUP; count++) {
                    if (count % 8 && count % 8 < 4) continue; /* some are left to decode.c */
                    check_loops(&file, weights, count);
                }
            }
            free(file.at);
            free(weights);
        }
    }
    variant = before;
}
