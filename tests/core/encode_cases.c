/*
 * encode_cases.c - codes what tests/api/driver.test.js writes to stdin, for it to compare. A case
 * is a line of numbers, as the reader below has them, and the tensor's bytes; the answer is a line
 * with status, fault's position and blob's size, and the blob.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hansel.h"

static void *allocate(size_t size) {
    void *memory = calloc(size + 16, 1);
    if (!memory) exit(2);
    return memory;
}

static int read_numbers(uint32_t *dtype, uint32_t *rank, uint64_t *shape, hansel_options *options) {
    double step;
    uint32_t i;
    memset(options, 0, sizeof *options);
    if (scanf("%u %u", dtype, rank) != 2 || *rank > HANSEL_MAX_RANK) return 0;
    for (i = 0; i < *rank; i++) {
        unsigned long dim;
        if (scanf("%lu", &dim) != 1) return 0;
        shape[i] = dim;
    }
    if (scanf("%lf %u %lf %u %u %u %u %u", &step, &options->target, &options->goal,
              &options->lossless, &options->clamp, &options->stream_length, &options->slot_bits,
              &options->weights_per_symbol) != 8)
        return 0;
    options->step = (float)step;
    return getchar() == '\n';
}

int main(void) {
    uint32_t dtype, rank;
    uint64_t shape[HANSEL_MAX_RANK];
    hansel_options options;
    while (read_numbers(&dtype, &rank, shape, &options)) {
        hansel_blob blob;
        hansel_fault fault = {0, 0, 0};
        hansel_status status;
        size_t size, bound, scratch_bytes, written = 0;
        uint8_t *src, *dst, *scratch;
        if (hansel_init(&blob, dtype, HANSEL_LOSSLESS, rank, shape, 0) != HANSEL_OK) return 1;
        size = (size_t)blob.weights * hansel_dtype_bytes(dtype);
        bound = hansel_encode_blob_bound(blob.rows, blob.columns, dtype, options.stream_length);
        scratch_bytes = hansel_encode_scratch(blob.rows, blob.columns, options.stream_length);
        src = allocate(size);
        dst = allocate(bound);
        scratch = allocate(scratch_bytes);
        if (fread(src, 1, size, stdin) != size) return 1;
        status = hansel_encode_blob(dst, bound, &written, scratch, scratch_bytes, dtype, rank,
                                    shape, src, &options, &fault);
        printf("%d %lu %lu\n", (int)status, (unsigned long)fault.position, (unsigned long)written);
        fwrite(dst, 1, written, stdout);
        free(src);
        free(dst);
        free(scratch);
    }
    return !feof(stdin);
}
