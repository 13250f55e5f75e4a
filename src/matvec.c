/*
 * matvec.c - products of decoded slices and vectors: the reference for the fused
 * kernels of shaders/matvec.wgsl and shaders/matvec.frag.glsl.
 *
 * A slice is any run of weights, row-major; the sums of a row that it only partly
 * covers continue with the next slice. All orders of summation are fixed.
 */
#include "layout.h"

#define SUMS 8 /* independent partial sums of a row: breaks the chain of additions */

static float dot_values(const float *a, const float *x, uint64_t count) {
    float sums[SUMS] = {0, 0, 0, 0, 0, 0, 0, 0};
    uint64_t i, k;
    for (i = 0; i + SUMS <= count; i += SUMS)
        for (k = 0; k < SUMS; k++) sums[k] += a[i + k] * x[i + k];
    for (k = 0; i + k < count; k++) sums[k] += a[i + k] * x[i + k];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

static float dot_symbols(const int8_t *a, const float *x, uint64_t count) {
    float sums[SUMS] = {0, 0, 0, 0, 0, 0, 0, 0};
    uint64_t i, k;
    for (i = 0; i + SUMS <= count; i += SUMS)
        for (k = 0; k < SUMS; k++) sums[k] += (float)a[i + k] * x[i + k];
    for (k = 0; i + k < count; k++) sums[k] += (float)a[i + k] * x[i + k];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

static int32_t dot_integers(const int8_t *a, const int8_t *x, uint64_t count) {
    int32_t sum = 0;
    uint64_t i;
    for (i = 0; i < count; i++) sum += a[i] * x[i];
    return sum;
}

/* The part of the slice [start, start + count) that lies in the row of its weight `done`. */
static uint64_t run_length(uint64_t start, uint64_t done, uint64_t count, uint64_t columns,
                           uint64_t *column) {
    *column = (start + done) % columns;
    return columns - *column < count - done ? columns - *column : count - done;
}

void hansel_matvec(float *y, uint64_t y_stride, const void *weights, uint32_t is_float,
                   uint64_t start, uint64_t count, uint64_t columns, const float *x,
                   uint32_t batch) {
    uint64_t first_row = start / columns, done, n, column;
    uint32_t b;
    for (done = 0; done < count; done += n) {
        uint64_t row = (start + done) / columns - first_row;
        n = run_length(start, done, count, columns, &column);
        for (b = 0; b < batch; b++) {
            const float *vector = x + b * columns + column;
            y[b * y_stride + row] += is_float
                                         ? dot_values((const float *)weights + done, vector, n)
                                         : dot_symbols((const int8_t *)weights + done, vector, n);
        }
    }
}

void hansel_matvec_i8(int32_t *y, const int8_t *symbols, uint64_t start, uint64_t count,
                      uint64_t columns, const int8_t *x) {
    uint64_t first_row = start / columns, done, n, column;
    for (done = 0; done < count; done += n) {
        uint64_t row = (start + done) / columns - first_row;
        n = run_length(start, done, count, columns, &column);
        y[row] += dot_integers(symbols + done, x + column, n);
    }
}
