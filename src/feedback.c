/*
 * feedback.c - rounding whose errors later columns make up for, given H = mean of x x^T over the
 * inputs x that a matrix is multiplied with: what is to be small is (w - v)^T H (w - v) of each row
 * w and what becomes of it, v.
 *
 * With H = M D M^T, M unit upper triangular and D diagonal, that is the sum over columns j of
 * D_j (d_j + sum over i < j of M_ij d_i)^2, d = w - v. So column after column, each is rounded from
 * w_j + sum over i < j of M_ij d_i: what GPTQ does (Frantar et al., arXiv:2210.17323, section 3)
 * with the factor of H's inverse, which is not needed (Chee et al., arXiv:2307.13304, section 3).
 *
 * Sums are taken in one order, block by block, so every build gives the same bytes.
 */
#include <float.h>

#include "internal.h"

#define WIDTH HANSEL_FEEDBACK_WIDTH
#define BLOCK ((uint64_t)WIDTH * WIDTH)
#define ROWS 4 /* that share what is loaded of the factor */

typedef float quad __attribute__((vector_size(16), may_alias));

/* Rows 64 i.. of columns 64 p.., i <= p, row-major; those below the diagonal are zero. */
static float *block_of(float *factor, uint32_t i, uint32_t p) {
    return factor + BLOCK * ((uint64_t)p * (p + 1) / 2 + i);
}

static uint32_t panels_of(uint32_t columns) { return (columns + WIDTH - 1) / WIDTH; }

uint64_t hansel_feedback_floats(uint32_t columns) {
    uint64_t panels = panels_of(columns);
    return BLOCK * (panels * (panels + 1) / 2);
}

uint64_t hansel_feedback_work(uint32_t columns, uint32_t rows) {
    uint64_t tall = ((uint64_t)rows + ROWS - 1) / ROWS * ROWS;
    return (tall + 1) * WIDTH * panels_of(columns) + tall * WIDTH;
}

/* out += a b, b of 64 x 64; rows a multiple of ROWS. A sum of 64 products is added as one, so that
 * what is lost to rounding hardly grows with the matrix. */
static void add_product(float *restrict out, uint64_t out_pitch, const float *restrict a,
                        uint64_t a_pitch, const float *restrict b, uint64_t rows) {
    uint64_t r;
    uint32_t c, m, k;
    for (r = 0; r < rows; r += ROWS) {
        for (c = 0; c < WIDTH; c += 8) {
            quad low[ROWS] = {{0}}, high[ROWS] = {{0}};
            for (m = 0; m < WIDTH; m++) {
                const quad *row = (const quad *)(b + m * WIDTH + c);
                for (k = 0; k < ROWS; k++) {
                    float factor = a[(r + k) * a_pitch + m];
                    quad all = {factor, factor, factor, factor};
                    low[k] += all * row[0];
                    high[k] += all * row[1];
                }
            }
            for (k = 0; k < ROWS; k++) {
                quad *to = (quad *)(out + (r + k) * out_pitch + c);
                to[0] += low[k];
                to[1] += high[k];
            }
        }
    }
}

void hansel_feedback_gather(float *sums, const float *x, uint32_t count, uint32_t columns,
                            float *work) {
    const uint32_t panels = panels_of(columns);
    float *turned = work + BLOCK * panels;
    uint32_t i, p, t, c;
    memset(work, 0, (size_t)(BLOCK * panels) * sizeof *work);
    for (t = 0; t < count; t++) {
        for (c = 0; c < columns; c++)
            work[BLOCK * (c / WIDTH) + t * WIDTH + c % WIDTH] = x[(uint64_t)t * columns + c];
    }
    for (i = 0; i < panels; i++) {
        for (t = 0; t < WIDTH; t++) {
            for (c = 0; c < WIDTH; c++) turned[c * WIDTH + t] = work[BLOCK * i + t * WIDTH + c];
        }
        for (p = i; p < panels; p++)
            add_product(block_of(sums, i, p), WIDTH, turned, WIDTH, work + BLOCK * p, WIDTH);
    }
}

HANSEL_SMALL void hansel_feedback_mean(float *h, const float *sums, uint32_t columns,
                                       double count) {
    float *blocks = (float *)(uintptr_t)sums; /* only read */
    uint32_t i, j;
    for (i = 0; i < columns; i++) {
        for (j = i; j < columns; j++) {
            const float *block = block_of(blocks, i / WIDTH, j / WIDTH);
            *h++ = (float)((double)block[i % WIDTH * WIDTH + j % WIDTH] / count);
        }
    }
}

/* Sorts numbers, smallest first: a heap. */
static HANSEL_SMALL void sort(uint64_t *keys, uint32_t count) {
    uint32_t left = count / 2, end = count;
    while (end > 1) {
        uint32_t at, child;
        uint64_t key;
        if (left) {
            key = keys[--left];
        } else {
            key = keys[--end];
            keys[end] = keys[0];
        }
        for (at = left; (child = 2 * at + 1) < end; at = child) {
            if (child + 1 < end && keys[child + 1] > keys[child]) child++;
            if (keys[child] <= key) break;
            keys[at] = keys[child];
        }
        keys[at] = key;
    }
}

/* Columns by falling diagonal, those alike from left to right. */
static HANSEL_SMALL void sort_columns(uint32_t *order, uint64_t *keys, const float *h,
                                      uint32_t columns) {
    uint64_t at = 0;
    uint32_t j;
    for (j = 0; j < columns; j++) {
        /* Bits of positive numbers are ordered as the numbers are. */
        keys[j] = (uint64_t)~hansel_load32((const uint8_t *)(h + at)) << 32 | j;
        at += columns - j;
    }
    sort(keys, columns);
    for (j = 0; j < columns; j++) order[j] = (uint32_t)keys[j];
}

static hansel_status bad(hansel_fault *fault, uint32_t row, uint32_t column) {
    return hansel_fail(fault, HANSEL_ERR_HESSIAN, column, row, 0);
}

HANSEL_SMALL hansel_status hansel_feedback_begin(hansel_feedback *f, float *factor, uint32_t *order,
                                                 const float *h, uint32_t columns,
                                                 hansel_fault *fault) {
    const uint32_t panels = panels_of(columns);
    double sum = 0;
    uint64_t at = 0;
    uint32_t i, j;
    if (!columns || columns > HANSEL_FEEDBACK_MOST) return HANSEL_ERR_ARGUMENT;
    for (i = 0; i < columns; i++) {
        if (!(h[at] >= 0)) return bad(fault, i, i);
        sum += h[at];
        for (j = i; j < columns; j++, at++)
            if (!(h[at] >= -FLT_MAX && h[at] <= FLT_MAX)) return bad(fault, i, j);
    }
    f->columns = columns;
    f->mean = sum / columns;
    /* Inputs that never came: every error is as bad as the other. */
    f->damping = f->mean > 0 ? HANSEL_FEEDBACK_DAMPING * f->mean : 1;
    f->mean += f->damping;
    sort_columns(order, (uint64_t *)factor, h, columns);
    for (i = 0; i < panels * WIDTH; i++) {
        uint64_t from = i < columns ? order[i] : columns;
        for (j = i / WIDTH * WIDTH; j < panels * WIDTH; j++) {
            uint64_t to = j < columns ? order[j] : columns, low = from < to ? from : to;
            uint64_t high = from < to ? to : from;
            float value = 0;
            if (high < columns) value = h[low * columns - low * (low + 1) / 2 + high];
            if (i == j) value += (float)f->damping;
            block_of(factor, i / WIDTH, j / WIDTH)[i % WIDTH * WIDTH + j % WIDTH] = value;
        }
    }
    return HANSEL_OK;
}

/* Subtracts what later columns hold of these. */
static void subtract_later(float *factor, const float *pivots, uint32_t panels, uint32_t p) {
    quad room[WIDTH * WIDTH / 4]; /* aligned */
    float *turned = (float *)room;
    uint32_t q, i, k, m;
    for (q = p + 1; q < panels; q++) {
        const float *rows = block_of(factor, p, q);
        for (k = 0; k < WIDTH; k++) {
            for (m = 0; m < WIDTH; m++)
                turned[m * WIDTH + k] = -(pivots[q * WIDTH + m] * rows[k * WIDTH + m]);
        }
        for (i = 0; i <= p; i++) {
            add_product(block_of(factor, i, p), WIDTH, block_of(factor, i, q), WIDTH, turned,
                        WIDTH);
        }
    }
}

/* Divides row's element k by the pivot, and takes off those before it what it holds of them. */
static void eliminate(float *restrict row, const float *restrict pivot_row, uint32_t k) {
    float share = row[k] / pivot_row[k];
    uint32_t j;
    for (j = 0; j < k; j++) row[j] -= share * pivot_row[j];
    row[k] = share;
}

hansel_status hansel_feedback_factor(const hansel_feedback *f, float *factor, float *pivots,
                                     const uint32_t *order, uint32_t panel, hansel_fault *fault) {
    float *square = block_of(factor, panel, panel);
    uint32_t i, k;
    subtract_later(factor, pivots, panels_of(f->columns), panel);
    for (k = WIDTH; k-- > 0;) {
        float pivot = square[k * WIDTH + k];
        uint32_t column = panel * WIDTH + k;
        /* No eigenvalue is below the damping, so no pivot is, but for rounding. */
        if (!(pivot >= f->damping / 2 && pivot <= FLT_MAX)) {
            if (column < f->columns) column = order[column];
            return bad(fault, column, column);
        }
        pivots[column] = pivot;
        for (i = 0; i < k; i++) eliminate(square + i * WIDTH, square + k * WIDTH, k);
    }
    for (i = 0; i < panel * WIDTH; i++) {
        float *row = block_of(factor, 0, panel) + (uint64_t)i * WIDTH;
        for (k = WIDTH; k-- > 0;) eliminate(row, square + k * WIDTH, k);
    }
    for (k = 0; k < WIDTH; k++) {
        for (i = 0; i <= k; i++) square[k * WIDTH + i] = 0;
    }
    return HANSEL_OK;
}

/* Index of the grid's nearest value. */
static float nearest(float weight, float step, uint32_t *outside) {
    float q = weight / step;
    q = q < -1024.0f ? -1024.0f : q > 1024.0f ? 1024.0f : q;
    q = (q + HANSEL_ROUNDER) - HANSEL_ROUNDER;
    *outside += q < -128.0f || q > 127.0f;
    return q < -128.0f ? -128.0f : q > 127.0f ? 127.0f : q;
}

/* Columns of one panel, of one row: weights become what is lost of them. */
static void round_columns(float *weights, float *sums, int8_t *indices, const float *square,
                          const uint32_t *order, uint32_t count, float step, hansel_stats *stats) {
    uint32_t j, c;
    for (j = 0; j < count; j++) {
        const quad *row = (const quad *)(square + j * WIDTH);
        quad *later = (quad *)sums;
        float q = nearest(weights[j] + sums[j], step, &stats->saturated), value = step * q;
        float lost = weights[j] - (value > FLT_MAX ? FLT_MAX : value < -FLT_MAX ? -FLT_MAX : value);
        quad all = {lost, lost, lost, lost};
        for (c = j / 4; c < WIDTH / 4; c++) later[c] += all * row[c];
        weights[j] = lost;
        indices[order[j]] = (int8_t)q;
        stats->sum_error += (double)lost * (double)lost;
        lost = lost < 0 ? -lost : lost;
        if ((double)lost > stats->max_error) stats->max_error = (double)lost;
    }
}

hansel_status hansel_feedback_rows(int8_t *indices, uint32_t dtype, const void *src, uint32_t rows,
                                   float step, const hansel_feedback *f, const float *factor,
                                   const uint32_t *order, float *work, hansel_stats *stats,
                                   hansel_fault *fault) {
    const uint32_t columns = f->columns, panels = panels_of(columns);
    const uint64_t tall = ((uint64_t)rows + ROWS - 1) / ROWS * ROWS;
    const uint64_t pitch = (uint64_t)panels * WIDTH;
    const uint8_t *bytes = src;
    float *sums = work + tall * pitch, *row = sums + tall * WIDTH;
    /* Only read: what is shared with hansel_feedback_factor() writes. */
    float *blocks = (float *)(uintptr_t)factor;
    uint64_t r;
    uint32_t p, q, j;
    if (!hansel_is_float(dtype) || !(step >= HANSEL_MIN_STEP)) return HANSEL_ERR_ARGUMENT;
    memset(work, 0, (size_t)(tall * pitch) * sizeof *work);
    for (r = 0; r < rows; r++) {
        hansel_load_floats(row, dtype, bytes + r * columns * hansel_dtype_bytes(dtype), columns);
        for (j = 0; j < columns; j++) {
            if (!(row[j] >= -FLT_MAX && row[j] <= FLT_MAX)) {
                return hansel_fail(fault, HANSEL_ERR_NOT_FINITE, r * columns + j, 0,
                                   hansel_load32((const uint8_t *)(row + j)));
            }
            stats->sum_squares += (double)row[j] * (double)row[j];
        }
        for (j = 0; j < columns; j++) work[r * pitch + j] = row[order[j]];
    }
    for (p = 0; p < panels; p++) {
        uint32_t first = p * WIDTH, count = columns - first < WIDTH ? columns - first : WIDTH;
        memset(sums, 0, (size_t)tall * WIDTH * sizeof *sums);
        for (q = 0; q < p; q++) {
            add_product(sums, WIDTH, work + (uint64_t)q * WIDTH, pitch, block_of(blocks, q, p),
                        tall);
        }
        for (r = 0; r < rows; r++) {
            round_columns(work + r * pitch + first, sums + r * WIDTH, indices + r * columns,
                          block_of(blocks, p, p), order + first, count, step, stats);
        }
    }
    return HANSEL_OK;
}
