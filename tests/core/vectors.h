/* vectors.h - what vectors.c (ok/) and vectors_bad.c (bad/) share. */
#ifndef HANSEL_VECTORS_H
#define HANSEL_VECTORS_H

#include <stdio.h>
#include <stdlib.h>

#include "formula.h"

typedef struct vector {
    const char *name;
    uint32_t dtype, rank;
    uint64_t shape[HANSEL_MAX_RANK];
    formula input; /* its seed is made of the name */
    hansel_options options;
} vector;

typedef struct bytes {
    uint8_t *at;
    size_t count;
} bytes;

#define STEP(s) \
    { .step = (s) }
#define STEP_S(s, length) \
    { .step = (s), .stream_length = (length) }
#define STEP_P(s, bits) \
    { .step = (s), .stream_length = 256, .slot_bits = (bits) }
#define LOSSLESS(length) \
    { .lossless = 1, .stream_length = (length) }
#define FOLD_S(s, length, fold) \
    { .step = (s), .stream_length = (length), .weights_per_symbol = (fold) }
#define FOLD_L(length, fold) \
    { .lossless = 1, .stream_length = (length), .weights_per_symbol = (fold) }

extern FILE *json;            /* vectors.json */
extern const char *separator; /* before the next line of it */

void die(const char *name, const char *why);
void *allocate(size_t size);
void write_file(const char *folder, const char *name, const void *src, size_t src_bytes);
bytes encode(vector *v);
void write_bad_files(void);

#endif
