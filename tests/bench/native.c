/*
 * native.c - times the C core on int8 symbols.
 *
 *   build/bench FILE ROWS COLUMNS STREAM_LENGTH REPEATS
 *   build/bench --variants         names the decoders that this processor can run
 *
 * FILE holds ROWS * COLUMNS bytes. Prints one JSON line for each of
 *
 *   streams  hansel_fold (where it folds), hansel_encode_streams and hansel_decode_streams
 *            alone, one thread, all streams in one call, everything in memory
 *   blob     hansel_encode and hansel_decode_symbols: also histogram, model,
 *            directory, head and checksum
 *   scalar, quads, avx2
 *            hansel_decode_streams by one decoder, where "streams" takes the best
 *
 * with bits per symbol of the whole blob, and millions of symbols per second as
 * [least, median, most] over REPEATS rounds, which follow one untimed round.
 * Exits 1 unless every decoder returns the input.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "decoder.h"

#define MAX_REPEATS 1000

enum {
    ENCODE_STREAMS,
    ENCODE_BLOB,
    DECODE_BLOB,
    COPY,
    DECODE_STREAMS, /* by each variant */
    PARTS = DECODE_STREAMS + HANSEL_VARIANTS
};

static const char *const variant_names[HANSEL_VARIANTS] = {"scalar", "quads", "avx2"};

/* In place of src/variant.c's. */
static hansel_variant variant;
hansel_variant hansel_best_variant(void) { return variant; }

static double seconds[PARTS][MAX_REPEATS];

static void fail(const char *what) {
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static void *allocate(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes + 64)) fail("out of memory");
    memset(memory, 0, bytes + 64); /* no page faults inside a timer */
    return memory;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_speeds(const char *name, double *times, int repeats, double symbols) {
    double median;
    qsort(times, (size_t)repeats, sizeof *times, by_size);
    median = (times[(repeats - 1) / 2] + times[repeats / 2]) / 2;
    printf(", \"%s\": [%.1f, %.1f, %.1f]", name, 1e-6 * symbols / times[repeats - 1],
           1e-6 * symbols / median, 1e-6 * symbols / times[0]);
}

int main(int argc, char **argv) {
    static uint32_t table[HANSEL_MAX_SLOTS];
    hansel_tensor tensor = {HANSEL_I8, 2, {0}, NULL};
    uint32_t *cursors, *lengths;
    size_t count, coded_bytes, room_bytes, blob_bytes = 0, written = 0;
    uint8_t *src, *dst, *coded, *room, *symbols;
    hansel_blob blob;
    hansel_options options;
    hansel_variant best = HANSEL_SCALAR;
    int repeats, round;
    FILE *file;

    for (variant = HANSEL_SCALAR; variant < HANSEL_VARIANTS; variant++) {
        if (!hansel_has_variant(variant)) continue;
        best = variant;
        if (argc == 2 && !strcmp(argv[1], "--variants")) printf("%s\n", variant_names[variant]);
    }
    if (argc == 2 && !strcmp(argv[1], "--variants")) return 0;
    if (argc != 6) fail("usage: bench FILE ROWS COLUMNS STREAM_LENGTH REPEATS | --variants");
    tensor.shape[0] = strtoull(argv[2], NULL, 10);
    tensor.shape[1] = strtoull(argv[3], NULL, 10);
    repeats = atoi(argv[5]);
    count = (size_t)(tensor.shape[0] * tensor.shape[1]);
    if (!count || repeats < 1 || repeats > MAX_REPEATS) fail("impossible sizes");
    tensor.data = src = allocate(count);
    dst = allocate(count);
    file = fopen(argv[1], "rb");
    if (!file || fread(src, 1, count, file) != count) fail("the file cannot be read");
    fclose(file);

    memset(&options, 0, sizeof options);
    options.lossless = 1;
    options.stream_length = (uint32_t)strtoul(argv[4], NULL, 10);
    coded_bytes = hansel_encode_room(&tensor, &options);
    coded = allocate(coded_bytes);
    if (hansel_encode(coded, coded_bytes, &blob_bytes, &tensor, &options, NULL) != HANSEL_OK ||
        hansel_read_head(&blob, coded, blob_bytes, NULL) != HANSEL_OK || !blob.stream_count)
        fail("the data cannot be coded");
    cursors = allocate(4 * ((size_t)blob.stream_count + 1));
    lengths = allocate(4 * (size_t)blob.stream_count);
    hansel_read_cursors(cursors, &blob, coded, 0, blob.stream_count, 0);
    room_bytes = (size_t)hansel_encode_bound(&blob, 0, blob.stream_count);
    room = allocate(room_bytes);
    symbols = allocate(count);

    for (round = -1; round < repeats; round++) {
        int slot = round < 0 ? 0 : round;
        double t[3];
        int ok;

        t[0] = now();
        if (blob.weights_per_symbol > 1)
            written = hansel_encode_streams(
                room, room_bytes, lengths, &blob, 0, blob.stream_count, symbols,
                hansel_fold(symbols, &blob, 0, blob.stream_count, src, count));
        else
            written = hansel_encode_streams(room, room_bytes, lengths, &blob, 0, blob.stream_count,
                                            src, count);
        t[1] = now();
        ok = hansel_encode(coded, coded_bytes, &blob_bytes, &tensor, &options, NULL) == HANSEL_OK;
        t[2] = now();
        if (!ok || written != 2 * (size_t)blob.word_count || blob_bytes != blob.blob_bytes ||
            memcmp(room, coded + blob.head_bytes, written))
            fail("the encoders disagree");
        seconds[ENCODE_STREAMS][slot] = t[1] - t[0];
        seconds[ENCODE_BLOB][slot] = t[2] - t[1];
        memset(dst, 0, count);

        for (variant = HANSEL_SCALAR; variant <= best; variant++) {
            if (!hansel_has_variant(variant)) continue;
            t[0] = now();
            hansel_build_table(table, &blob);
            ok = hansel_decode_streams(dst, count, &blob, table, cursors, 0, blob.stream_count,
                                       coded + blob.head_bytes, written, NULL) == HANSEL_OK;
            seconds[DECODE_STREAMS + variant][slot] = now() - t[0];
            if (!ok || memcmp(dst, src, count)) fail("hansel_decode_streams is wrong");
            memset(dst, 0, count);
        }

        variant = best;
        t[0] = now();
        ok = hansel_decode_symbols(dst, count, coded, blob_bytes, NULL) == HANSEL_OK;
        seconds[DECODE_BLOB][slot] = now() - t[0];
        if (!ok || memcmp(dst, src, count)) fail("hansel_decode_symbols is wrong");
        memset(dst, 0, count);

        t[0] = now();
        memcpy(dst, src, count);
        seconds[COPY][slot] = now() - t[0];
        if (memcmp(dst, src, count)) fail("memcpy is wrong"); /* also keeps the copy */
    }

    for (variant = HANSEL_SCALAR; variant <= best; variant++) {
        double times[MAX_REPEATS];
        if (!hansel_has_variant(variant)) continue;
        memcpy(times, seconds[DECODE_STREAMS + variant], sizeof times);
        printf("{\"name\": \"%s\", \"bits\": %.6f", variant_names[variant],
               8.0 * (double)blob_bytes / (double)count);
        print_speeds("decode_Msps", times, repeats, (double)count);
        printf("}\n");
    }
    for (round = 0; round < 2; round++) {
        double copy[MAX_REPEATS];
        memcpy(copy, seconds[COPY], sizeof copy);
        printf("{\"name\": \"%s\", \"bits\": %.6f", round ? "blob" : "streams",
               8.0 * (double)blob_bytes / (double)count);
        print_speeds("encode_Msps", seconds[round ? ENCODE_BLOB : ENCODE_STREAMS], repeats,
                     (double)count);
        print_speeds("decode_Msps", seconds[round ? DECODE_BLOB : DECODE_STREAMS + (int)best],
                     repeats, (double)count);
        print_speeds("memcpy_Msps", copy, repeats, (double)count);
        printf("}\n");
    }
    free(src), free(symbols), free(dst), free(coded), free(room), free(cursors), free(lengths);
    return 0;
}
