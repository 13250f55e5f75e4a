/*
 * encode_cases.c - codes what tests/api/driver.test.js writes to stdin, for it to compare. A case
 * is a line of numbers, as the reader below has them, and the tensor's bytes; the answer is a line
 * with status, fault's position and blob's size, and the blob.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hansel_slices.h"

static void *allocate(size_t size) {
    void *memory = calloc(size + 16, 1);
    if (!memory) exit(2);
    return memory;
}

static int read_numbers(hansel_tensor *tensor, hansel_options *options) {
    double step;
    uint32_t i;
    memset(options, 0, sizeof *options);
    if (scanf("%u %u", &tensor->dtype, &tensor->rank) != 2 || tensor->rank > HANSEL_MAX_RANK)
        return 0;
    for (i = 0; i < tensor->rank; i++) {
        unsigned long dim;
        if (scanf("%lu", &dim) != 1) return 0;
        tensor->shape[i] = dim;
    }
    if (scanf("%lf %u %lf %u %u %u %u %u", &step, &options->target, &options->goal,
              &options->lossless, &options->clamp, &options->stream_length, &options->slot_bits,
              &options->weights_per_symbol) != 8)
        return 0;
    options->step = (float)step;
    return getchar() == '\n';
}

int main(void) {
    hansel_tensor tensor = {0};
    hansel_options options;
    while (read_numbers(&tensor, &options)) {
        hansel_blob blob;
        hansel_fault fault = {0, 0, 0};
        hansel_status status;
        size_t size, room, written = 0;
        uint8_t *src, *dst;
        if (hansel_init(&blob, tensor.dtype, HANSEL_LOSSLESS, tensor.rank, tensor.shape, 0) !=
            HANSEL_OK)
            return 1;
        size = (size_t)blob.weights * hansel_dtype_bytes(tensor.dtype);
        room = hansel_encode_room(&tensor, &options);
        tensor.data = src = allocate(size);
        dst = allocate(room);
        if (fread(src, 1, size, stdin) != size) return 1;
        status = hansel_encode(dst, room, &written, &tensor, &options, &fault);
        printf("%d %lu %lu\n", (int)status, (unsigned long)fault.position, (unsigned long)written);
        fwrite(dst, 1, written, stdout);
        free(src);
        free(dst);
    }
    return !feof(stdin);
}
