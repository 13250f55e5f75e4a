/*
 * matvec.c - products of decoded slices and vectors: the reference for the fused
 * kernels of shaders/matvec.wgsl and shaders/matvec.frag.glsl.
 *
 * A slice is any run of weights, row-major; the sums of a row that it only partly
 * covers continue with the next slice. All orders of summation are fixed.
 */
#include "internal.h"
#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

#define SUMS 8    /* independent partial sums of a row: breaks the chain of additions */
#define VECTORS 4 /* that SIMD multiplies at once */

static float dot_values(const float *a, const float *x, uint64_t count) {
    float sums[SUMS] = {0, 0, 0, 0, 0, 0, 0, 0};
    uint64_t i, k;
    for (i = 0; i + SUMS <= count; i += SUMS)
        for (k = 0; k < SUMS; k++) sums[k] += a[i + k] * x[i + k];
    for (k = 0; i + k < count; k++) sums[k] += a[i + k] * x[i + k];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
           ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

static float dot_symbols(const int8_t *a, const float *x, uint64_t count) {
    float sums[SUMS] = {0, 0, 0, 0, 0, 0, 0, 0};
    uint64_t i, k;
    for (i = 0; i + SUMS <= count; i += SUMS)
        for (k = 0; k < SUMS; k++) sums[k] += (float)a[i + k] * x[i + k];
    for (k = 0; i + k < count; k++) sums[k] += (float)a[i + k] * x[i + k];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
           ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

#ifdef __wasm_simd128__
/* Like dot_values() or dot_symbols(), bit for bit, for several vectors: a weight is loaded, and an
 * index converted, once for all of them. is_float and vectors are constants where it is called. */
static inline __attribute__((always_inline)) void dots_simd(float *y, uint64_t y_stride,
                                                            const void *a, uint32_t is_float,
                                                            const float *x, uint64_t x_stride,
                                                            uint64_t count, uint32_t vectors) {
    const float *values = (const float *)a;
    const int8_t *symbols = (const int8_t *)a;
    v128_t low[VECTORS], high[VECTORS]; /* sums 0 to 3, 4 to 7 */
    uint64_t i;
    uint32_t k, v;
    for (v = 0; v < vectors; v++) low[v] = high[v] = wasm_f32x4_const_splat(0);
    for (i = 0; i + SUMS <= count; i += SUMS) {
        v128_t first, second;
        if (is_float) {
            first = wasm_v128_load(values + i);
            second = wasm_v128_load(values + i + 4);
        } else {
            v128_t eight = wasm_i16x8_load8x8(symbols + i);
            first = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(eight));
            second = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(eight));
        }
        for (v = 0; v < vectors; v++) {
            const float *part = x + v * x_stride + i;
            low[v] = wasm_f32x4_add(low[v], wasm_f32x4_mul(first, wasm_v128_load(part)));
            high[v] = wasm_f32x4_add(high[v], wasm_f32x4_mul(second, wasm_v128_load(part + 4)));
        }
    }
    for (v = 0; v < vectors; v++) {
        float sums[SUMS];
        wasm_v128_store(sums, low[v]);
        wasm_v128_store(sums + 4, high[v]);
        for (k = 0; i + k < count; k++)
            sums[k] += (is_float ? values[i + k] : (float)symbols[i + k]) * x[v * x_stride + i + k];
        y[v * y_stride] += ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
                           ((sums[2] + sums[6]) + (sums[3] + sums[7]));
    }
}
#endif

/* Adds to y the products of a run of weights and all vectors. */
static void dots(float *y, uint64_t y_stride, const void *a, uint32_t is_float, const float *x,
                 uint64_t x_stride, uint64_t count, uint32_t batch) {
    uint32_t b = 0;
#ifdef __wasm_simd128__
    for (; b + VECTORS <= batch; b += VECTORS) {
        float *sums = y + b * y_stride;
        const float *vectors = x + b * x_stride;
        if (is_float)
            dots_simd(sums, y_stride, a, 1, vectors, x_stride, count, VECTORS);
        else
            dots_simd(sums, y_stride, a, 0, vectors, x_stride, count, VECTORS);
    }
    for (; b < batch; b++) {
        if (is_float)
            dots_simd(y + b * y_stride, y_stride, a, 1, x + b * x_stride, 0, count, 1);
        else
            dots_simd(y + b * y_stride, y_stride, a, 0, x + b * x_stride, 0, count, 1);
    }
#endif
    for (; b < batch; b++)
        y[b * y_stride] += is_float ? dot_values((const float *)a, x + b * x_stride, count)
                                    : dot_symbols((const int8_t *)a, x + b * x_stride, count);
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
    for (done = 0; done < count; done += n) {
        uint64_t row = (start + done) / columns - first_row;
        n = run_length(start, done, count, columns, &column);
        dots(y + row, y_stride,
             is_float ? (const void *)((const float *)weights + done)
                      : (const void *)((const int8_t *)weights + done),
             is_float, x + column, columns, n, batch);
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
