/* native_feedback.c - error feedback, against its definition by H's inverse, in double. */
#include <float.h>

#include "native.h"

typedef struct feedback {
    hansel_feedback about;
    float *factor, *pivots;
    uint32_t *order;
} feedback;

static float *floats(uint64_t count) { return allocate((size_t)count * sizeof(float)); }

static double uniform(uint32_t seed, uint32_t i) {
    return (double)formula_random(seed, i) / 4294967296.0 - 0.5;
}

/* The upper triangle of the mean x x^T of some inputs whose columns differ in size and go together.
 */
static float *make_hessian(uint32_t columns, uint32_t inputs, uint32_t seed) {
    float *h = floats((uint64_t)columns * (columns + 1) / 2);
    double *sums = allocate(columns * (columns + 1) / 2 * sizeof(double));
    double *x = allocate(columns * sizeof(double));
    uint32_t t, i, j, at;
    memset(sums, 0, columns * (columns + 1) / 2 * sizeof(double));
    for (t = 0; t < inputs; t++) {
        for (i = 0; i < columns; i++)
            x[i] = uniform(seed + t, i) * (1 + i % 7) + (i ? 0.6 * x[i - 1] : 0) + 0.1;
        for (i = at = 0; i < columns; i++)
            for (j = i; j < columns; j++) sums[at++] += x[i] * x[j];
    }
    for (at = 0; at < columns * (columns + 1) / 2; at++) h[at] = (float)(sums[at] / inputs);
    free(sums);
    free(x);
    return h;
}

static hansel_status prepare(feedback *f, const float *h, uint32_t columns, hansel_fault *fault) {
    uint32_t panels = (columns + HANSEL_FEEDBACK_WIDTH - 1) / HANSEL_FEEDBACK_WIDTH, p;
    hansel_status status;
    f->factor = floats(hansel_feedback_floats(columns));
    f->pivots = floats(panels * HANSEL_FEEDBACK_WIDTH);
    f->order = allocate(columns * sizeof(uint32_t));
    status = hansel_feedback_begin(&f->about, f->factor, f->order, h, columns, fault);
    for (p = panels; status == HANSEL_OK && p-- > 0;)
        status = hansel_feedback_factor(&f->about, f->factor, f->pivots, f->order, p, fault);
    return status;
}

static void release(feedback *f) {
    free(f->factor);
    free(f->pivots);
    free(f->order);
}

static hansel_status round_rows(const feedback *f, int8_t *indices, uint32_t dtype, const void *w,
                                uint32_t rows, float step, hansel_stats *stats,
                                hansel_fault *fault) {
    float *work = floats(hansel_feedback_work(f->about.columns, rows));
    hansel_status status = hansel_feedback_rows(indices, dtype, w, rows, step, &f->about, f->factor,
                                                f->order, work, stats, fault);
    free(work);
    return status;
}

static double *square(uint32_t n) { return allocate((size_t)n * n * sizeof(double)); }

/* The inverse of a damped, sorted H, and its upper Cholesky factor: U^T U. */
static double *inverse_factor(const float *h, const uint32_t *order, uint32_t n, double damping) {
    double *a = square(n), *u = square(n);
    uint32_t i, j, k;
    for (i = 0; i < n; i++) {
        for (j = 0; j < n; j++) {
            uint32_t low = order[i] < order[j] ? order[i] : order[j],
                     high = order[i] + order[j] - low;
            a[i * n + j] = (double)h[low * n - low * (low + 1) / 2 + high] + (i == j ? damping : 0);
        }
    }
    for (k = 0; k < n; k++) { /* Gauss and Jordan, in place */
        double pivot = 1 / a[k * n + k];
        a[k * n + k] = 1;
        for (j = 0; j < n; j++) a[k * n + j] *= pivot;
        for (i = 0; i < n; i++) {
            double factor = a[i * n + k];
            if (i == k) continue;
            a[i * n + k] = 0;
            for (j = 0; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
        }
    }
    memset(u, 0, (size_t)n * n * sizeof(double));
    for (i = 0; i < n; i++) {
        for (j = i; j < n; j++) {
            double sum = a[i * n + j];
            for (k = 0; k < i; k++) sum -= u[k * n + i] * u[k * n + j];
            u[i * n + j] = j == i ? sqrt(sum) : sum / u[i * n + i];
        }
    }
    free(a);
    return u;
}

/* What GPTQ does, a row at a time; checks indices that are not near a tie. */
static void compare(const feedback *f, const float *h, const float *w, const int8_t *indices,
                    uint32_t rows, float step) {
    const uint32_t n = f->about.columns;
    double *u = inverse_factor(h, f->order, n, f->about.damping), *x = allocate(n * sizeof(double));
    uint32_t r, j, t;
    for (j = 0; j < n; j++) {
        double pivot = 1 / (u[j * n + j] * u[j * n + j]);
        check(fabs((double)f->pivots[j] / pivot - 1) < 1e-3, "pivot %u is %g, not %g", j,
              (double)f->pivots[j], pivot);
    }
    for (r = 0; r < rows; r++) {
        for (j = 0; j < n; j++) x[j] = (double)w[r * n + f->order[j]];
        for (j = 0; j < n; j++) {
            double exact = x[j] / (double)step, e;
            int found = indices[r * n + f->order[j]];
            double limited = exact < -128 ? -128 : exact > 127 ? 127 : exact;
            check(fabs(found - limited) < 0.502, "row %u, column %u: %d of %g", r, j, found, exact);
            /* What was chosen goes on, so that one tie does not change all that follows. */
            e = (x[j] - (double)step * found) / u[j * n + j];
            for (t = j + 1; t < n; t++) x[t] -= e * u[j * n + t];
        }
    }
    free(u);
    free(x);
}

/* The harm (w - v)^T H (w - v) of all rows. */
static double harm(const float *h, const float *w, const int8_t *indices, uint32_t rows, uint32_t n,
                   float step) {
    double sum = 0;
    uint32_t r, i, j, at;
    for (r = 0; r < rows; r++) {
        for (i = at = 0; i < n; i++) {
            double a = (double)w[r * n + i] - (double)step * indices[r * n + i];
            for (j = i; j < n; j++) {
                double b = (double)w[r * n + j] - (double)step * indices[r * n + j];
                sum += (i == j ? 1 : 2) * a * b * (double)h[at++];
            }
        }
    }
    return sum;
}

static void test_size(uint32_t columns, uint32_t rows) {
    float *h = make_hessian(columns, columns / 2 + 3, columns),
          *w = floats((uint64_t)rows * columns);
    int8_t *indices = allocate(rows * columns), *again = allocate(rows * columns);
    const float step = 0.07f;
    hansel_stats stats = {0}, other = {0};
    double error = 0, plain, fed;
    hansel_fault fault;
    feedback f;
    uint32_t i;
    for (i = 0; i < rows * columns; i++) w[i] = (float)uniform(columns + rows, i);
    check(prepare(&f, h, columns, &fault) == HANSEL_OK, "%u columns", columns);
    check(round_rows(&f, indices, HANSEL_F32, w, rows, step, &stats, &fault) == HANSEL_OK, "rows");
    compare(&f, h, w, indices, rows, step);
    for (i = 0; i < rows * columns; i++) {
        double e = (double)w[i] - (double)(step * (float)indices[i]);
        error += e * e;
    }
    check(fabs(stats.sum_error / error - 1) < 1e-5, "error %g, not %g", stats.sum_error, error);
    /* A row does not depend on those beside it. */
    for (i = 0; i < rows; i++)
        round_rows(&f, again + i * columns, HANSEL_F32, w + i * columns, 1, step, &other, &fault);
    check(!memcmp(indices, again, rows * columns), "%u columns: rows depend on each other",
          columns);
    fed = harm(h, w, indices, rows, columns, step);
    hansel_quantize((uint8_t *)again, HANSEL_F32, w, rows * columns, step, 1, &other, &fault);
    plain = harm(h, w, again, rows, columns, step);
    if (columns > 16)
        check(fed < 0.8 * plain, "%u columns: harm %g, plainly %g", columns, fed, plain);
    release(&f);
    free(h);
    free(w);
    free(indices);
    free(again);
}

/* H is what its inputs say, gathered in any portions. */
static void test_gather(uint32_t columns, uint32_t inputs) {
    uint32_t panels = (columns + HANSEL_FEEDBACK_WIDTH - 1) / HANSEL_FEEDBACK_WIDTH, t, i, j, at,
             some;
    uint64_t size = hansel_feedback_floats(columns);
    float *x = floats(inputs * columns), *sums = floats(size), *work = floats(4096 * (panels + 1));
    float *h = floats(columns * (columns + 1) / 2);
    memset(sums, 0, size * sizeof(float));
    for (i = 0; i < inputs * columns; i++) x[i] = (float)uniform(columns, i);
    for (t = 0; t < inputs; t += some) {
        some = 1 + (t * 7 + 63) % 64;
        if (some > inputs - t) some = inputs - t;
        hansel_feedback_gather(sums, x + t * columns, some, columns, work);
    }
    hansel_feedback_mean(h, sums, columns, inputs);
    for (i = at = 0; i < columns; i++) {
        for (j = i; j < columns; j++, at++) {
            double sum = 0;
            for (t = 0; t < inputs; t++)
                sum += (double)x[t * columns + i] * (double)x[t * columns + j];
            check(fabs((double)h[at] - sum / inputs) < 1e-6, "%u, %u: %g, not %g", i, j,
                  (double)h[at], sum / inputs);
        }
    }
    free(x);
    free(sums);
    free(work);
    free(h);
}

/* Without inputs, and with one that is not there, rounding is plain. */
static void test_plain(void) {
    static float h[6],
        w[5 * 3] = {0.1f, -0.26f, 3, 9, -20, 0, 1.3f, 0.24f, 0.5f, 0.75f, 1, 1, 2, 3, 4};
    const int8_t expected[15] = {0, -1, 6, 18, -40, 0, 3, 0, 1, 2, 2, 2, 4, 6, 8};
    int8_t indices[15], clamped[3];
    const float far[3] = {1e30f, -1e30f, 64};
    hansel_stats stats = {0};
    hansel_fault fault;
    feedback f;
    check(prepare(&f, h, 3, &fault) == HANSEL_OK, "H = 0");
    check(f.about.mean == 1 && f.pivots[0] == 1, "H = 0 is the unit");
    round_rows(&f, indices, HANSEL_F32, w, 5, 0.5f, &stats, &fault);
    check(!memcmp(indices, expected, 15), "H = 0 rounds plainly");
    round_rows(&f, clamped, HANSEL_F32, far, 1, 0.5f, &stats, &fault);
    check(clamped[0] == 127 && clamped[1] == -128 && clamped[2] == 127 && stats.saturated == 3,
          "%d %d %d, %u saturated", clamped[0], clamped[1], clamped[2], stats.saturated);
    release(&f);
}

/* Weights of two bytes are those of four that they stand for. */
static void test_dtypes(void) {
    const uint16_t half[4] = {0x3C00, 0xB555, 0x0001, 0x7BFF},
                   bfloat[4] = {0x3F80, 0xBEAA, 1, 0x4240};
    float *h = make_hessian(4, 9, 1), *wide = floats(4);
    int8_t a[4], b[4];
    hansel_stats stats = {0};
    hansel_fault fault;
    feedback f;
    uint32_t i;
    prepare(&f, h, 4, &fault);
    hansel_load_floats(wide, HANSEL_F16, (const uint8_t *)half, 4);
    round_rows(&f, a, HANSEL_F16, half, 1, 600, &stats, &fault);
    round_rows(&f, b, HANSEL_F32, wide, 1, 600, &stats, &fault);
    check(!memcmp(a, b, 4) && a[3] == 109, "F16: %d", a[3]);
    for (i = 0; i < 4; i++) {
        uint32_t bits = (uint32_t)bfloat[i] << 16;
        memcpy(wide + i, &bits, 4);
    }
    round_rows(&f, a, HANSEL_BF16, bfloat, 1, 0.5f, &stats, &fault);
    round_rows(&f, b, HANSEL_F32, wide, 1, 0.5f, &stats, &fault);
    check(!memcmp(a, b, 4) && a[3] == 96, "BF16: %d", a[3]);
    check(round_rows(&f, a, HANSEL_U8, half, 1, 1, &stats, &fault) == HANSEL_ERR_ARGUMENT, "U8");
    check(round_rows(&f, a, HANSEL_F32, wide, 1, 0, &stats, &fault) == HANSEL_ERR_ARGUMENT,
          "no step");
    wide[2] = NAN;
    check(round_rows(&f, a, HANSEL_F32, wide, 1, 1, &stats, &fault) == HANSEL_ERR_NOT_FINITE &&
              fault.position == 2,
          "NaN");
    release(&f);
    free(h);
    free(wide);
}

static void expect_bad(const char *what, float *h, uint32_t columns, uint64_t row,
                       uint64_t column) {
    hansel_fault fault = {0};
    feedback f;
    hansel_status status = prepare(&f, h, columns, &fault);
    check(status == HANSEL_ERR_HESSIAN && fault.expected == row && fault.position == column,
          "%s: %s at %u, %u", what, hansel_status_name(status), (unsigned)fault.expected,
          (unsigned)fault.position);
    release(&f);
}

static void test_bad(void) {
    float nan[6] = {1, 0, 0, 1, NAN, 1}, infinite[3] = {1, -INFINITY, 1},
          negative[3] = {1, 0, -1e-9f};
    float indefinite[3] = {1, 2, 1}, huge[3] = {FLT_MAX, FLT_MAX, FLT_MAX};
    hansel_feedback f;
    hansel_fault fault;
    expect_bad("NaN", nan, 3, 1, 2);
    expect_bad("infinity", infinite, 2, 0, 1);
    expect_bad("negative", negative, 2, 1, 1);
    expect_bad("indefinite", indefinite, 2, 0, 0);
    expect_bad("overflow", huge, 2, 1, 1);
    check(hansel_feedback_begin(&f, NULL, NULL, nan, 0, &fault) == HANSEL_ERR_ARGUMENT,
          "no columns");
    check(hansel_feedback_begin(&f, NULL, NULL, nan, HANSEL_FEEDBACK_MOST + 1, &fault) ==
              HANSEL_ERR_ARGUMENT,
          "too many columns");
}

void test_feedback(void) {
    static const uint32_t sizes[][2] = {{1, 1},  {2, 3},   {3, 9},   {63, 5},  {64, 4},
                                        {65, 7}, {129, 6}, {200, 3}, {257, 10}};
    uint32_t i;
    current = "error feedback";
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) test_size(sizes[i][0], sizes[i][1]);
    test_gather(1, 1);
    test_gather(70, 200);
    test_gather(128, 64);
    test_plain();
    test_dtypes();
    test_bad();
}
