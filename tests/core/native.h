/* native.h - what the files of native_test share; native.c tells what it is. */
#ifndef HANSEL_NATIVE_H
#define HANSEL_NATIVE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "decoder.h"
#include "formula.h"

typedef struct bytes {
    uint8_t *at;
    size_t count;
} bytes;

typedef struct vector {
    char name[64], file[96];
    uint32_t dtype, rank;
    uint64_t shape[HANSEL_MAX_RANK];
    formula input;
    hansel_options options;
} vector;

extern const char *current;    /* what is being tested, for messages */
extern hansel_variant variant; /* the decoder that hansel_decode_streams() takes */
extern const char *const variant_names[HANSEL_VARIANTS];
void check(int is_right, const char *format, ...);

void *allocate(size_t size);
void *exact(const void *src, size_t size);
bytes read_file(const char *root, const char *name);
bytes encode(const vector *v, const uint8_t *src, hansel_status *status);
hansel_status decode_exact(const uint8_t *src, size_t src_bytes, hansel_fault *fault);

void check_decode(const hansel_blob *blob, const bytes *file, const uint8_t *symbols,
                  const uint8_t *values);

void check_prefix(const hansel_blob *blob, const uint8_t *symbols);

void test_vectors(const char *root);
void test_truncation(const char *root);
void test_flips(const char *root);
void test_corruption(const char *root);
void test_fit(void);
void test_search(void);
void test_fold(void);
void test_quantize(void);
void test_halves(uint32_t dtype);
void test_planes(void);
void test_variants(void);
void test_prefix(void);
void test_fields(void);
void test_feedback(void);

#endif
