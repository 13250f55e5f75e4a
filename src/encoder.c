/* encoder.c - the step, the folding and the rate of a tensor: what to do next to code it. */
#include <float.h>

#include "internal.h"

/* Square root, rounded to nearest on every machine; no libm. x is 0 or positive and normal. */
static double root(double x) {
#if defined(__wasm__)
    return __builtin_sqrt(x);
#else
    uint64_t bits, digits = 0, rest = 0, fraction;
    int exponent, i;
    if (!(x > 0)) return 0;
    memcpy(&bits, &x, 8);
    exponent = (int)(bits >> 52) - 1023;
    fraction = ((bits & 0x000FFFFFFFFFFFFFull) | 0x0010000000000000ull) << (exponent & 1);
    /* By hand: two bits of the fraction for each of the root's 53, and one more to round by. The
     * root of 53 bits is never half way between two numbers. */
    for (i = 53; i >= 0; i--) {
        uint32_t pair = i > 26 ? (uint32_t)(fraction >> (2 * (i - 27))) & 3 : 0;
        uint64_t trial = digits << 2 | 1;
        rest = rest << 2 | pair;
        digits <<= 1;
        if (rest < trial) continue;
        rest -= trial;
        digits |= 1;
    }
    digits = (digits + 1) >> 1;
    bits = ((uint64_t)((exponent - (exponent & 1)) / 2 + 1022) << 52) + digits;
    memcpy(&x, &bits, 8);
    return x;
#endif
}

static int has_rate(const hansel_encoder *e) { return e->options.target == HANSEL_TARGET_BITS; }

static hansel_status ask(hansel_encoder *e, hansel_work work) {
    memset(e->counts, 0, sizeof e->counts);
    e->work = work;
    return HANSEL_OK;
}

static hansel_status ask_measure(hansel_encoder *e, float step) {
    e->stats.sum_error = e->stats.max_error = 0;
    e->stats.saturated = 0;
    e->blob.step = step;
    e->blob.weights_per_symbol = 1;
    return ask(e, HANSEL_WORK_MEASURE);
}

static hansel_status begin_search(hansel_encoder *e, double goal) {
    hansel_search_begin(&e->search, e->options.target, goal, e->stats.low, e->stats.high);
    return ask_measure(e, e->search.step);
}

/* Whether every field is one that it may be, whatever the others are. */
static int are_possible(const hansel_options *options) {
    uint32_t slot_bits = options->slot_bits, fold = options->weights_per_symbol;
    return options->target <= HANSEL_TARGET_ERROR && fold <= HANSEL_MAX_FOLD && fold != 3 &&
           (!slot_bits || (slot_bits >= HANSEL_MIN_SLOT_BITS && slot_bits <= HANSEL_MAX_SLOT_BITS));
}

HANSEL_SMALL hansel_status hansel_encoder_begin(hansel_encoder *e, uint32_t dtype, uint32_t rank,
                                                const uint64_t *shape,
                                                const hansel_options *options) {
    int has_aim = options->target
                      ? options->step == 0 && options->goal > 0 && options->goal <= DBL_MAX
                      : options->step > 0;
    memset(e, 0, sizeof *e);
    e->options = *options;
    e->work = HANSEL_WORK_SCAN;
    if (!are_possible(options)) return HANSEL_ERR_ARGUMENT;
    if (options->lossless) {
        e->options.target = 0;
        e->work = hansel_dtype_raw_bytes(dtype) ? HANSEL_WORK_WINDOW : HANSEL_WORK_MEASURE;
    } else if (!has_aim) {
        return HANSEL_ERR_ARGUMENT;
    }
    return hansel_init(&e->blob, dtype, options->lossless ? HANSEL_LOSSLESS : HANSEL_GRID, rank,
                       shape, options->target ? 1.0f : options->step);
}

/* Model and partition by the counts, and e->bits; 0 if there are none. */
static int fit_and_plan(hansel_encoder *e) {
    double bits = hansel_fit(&e->blob, e->counts, e->options.slot_bits);
    if (bits < 0) return 0;
    e->bits = hansel_plan(&e->blob, bits, e->options.stream_length);
    return 1;
}

/* The next weights_per_symbol to try; after the last, what comes after planning. */
static hansel_status go_on(hansel_encoder *e) {
    hansel_blob *blob = &e->blob;
    if (e->fold > 1) {
        blob->weights_per_symbol = e->fold;
        hansel_plan(blob, e->single_bits, e->options.stream_length);
        return ask(e, HANSEL_WORK_FOLD);
    }
    if (has_rate(e) && !e->round) {
        /* What folding saves is for a finer step, if that still folds. */
        if (!e->coarse_fold && e->bits < e->single_bits) {
            e->coarse = blob->step;
            e->coarse_fold = blob->weights_per_symbol;
            return begin_search(e, e->options.goal +
                                       (e->single_bits - e->bits) / (double)blob->weights);
        }
        if (e->coarse > 0 && blob->weights_per_symbol != e->coarse_fold) {
            float step = e->coarse;
            e->coarse = 0;
            return ask_measure(e, step);
        }
    }
    return ask(e, HANSEL_WORK_CODE);
}

static hansel_status measured(hansel_encoder *e) {
    const hansel_stats *stats = &e->stats;
    hansel_blob *blob = &e->blob;
    if (!fit_and_plan(e)) return HANSEL_ERR_ARGUMENT;
    e->entropy = hansel_entropy(e->counts);
    e->error = stats->sum_squares > 0 ? root(stats->sum_error / stats->sum_squares) : 0;
    if (e->search.step > 0) {
        float step;
        hansel_search_next(&e->search, has_rate(e) ? e->bits / (double)blob->weights : e->error);
        step = e->search.step > 0 ? e->search.step : e->search.best;
        if (!(step > 0)) return HANSEL_ERR_RANGE;
        if (e->search.step > 0 || step != blob->step) return ask_measure(e, step);
    }
    e->single = *blob;
    e->single_bits = e->bits;
    e->fold = hansel_most_folded(blob);
    if (e->options.weights_per_symbol && e->fold > e->options.weights_per_symbol)
        e->fold = e->options.weights_per_symbol;
    return go_on(e);
}

static hansel_status folded(hansel_encoder *e) {
    if (fit_and_plan(e) &&
        (e->options.weights_per_symbol || e->bits <= HANSEL_FOLD_COST * e->single_bits)) {
        e->fold = 1;
    } else {
        e->blob = e->single;
        e->bits = e->single_bits;
        e->fold /= 2;
    }
    return go_on(e);
}

static hansel_status coded(hansel_encoder *e, const uint32_t *lengths) {
    const hansel_blob *blob = &e->blob;
    double excess, wider;
    hansel_status status = hansel_finish(&e->blob, lengths);
    e->work = HANSEL_WORK_DONE;
    if (status != HANSEL_OK || !has_rate(e) || !blob->weights) return status;
    /* The plan was an estimate, the goal is a promise. */
    excess = (double)blob->blob_bytes * 8 / (double)blob->weights - e->options.goal;
    wider = (double)blob->step * (1.0005 + excess);
    if (excess <= 0 || e->round == HANSEL_RATE_ROUNDS || wider > HANSEL_MAX_STEP) return HANSEL_OK;
    e->round++;
    return ask_measure(e, (float)wider);
}

HANSEL_SMALL hansel_status hansel_encoder_next(hansel_encoder *e, const uint32_t *numbers) {
    if (e->work == HANSEL_WORK_MEASURE) return measured(e);
    if (e->work == HANSEL_WORK_FOLD) return folded(e);
    if (e->work == HANSEL_WORK_CODE) return coded(e, numbers);
    if (e->work == HANSEL_WORK_WINDOW) {
        hansel_window_choose(&e->blob, numbers);
        return ask(e, HANSEL_WORK_MEASURE);
    }
    return e->options.target && e->blob.weights ? begin_search(e, e->options.goal)
                                                : ask_measure(e, e->blob.step);
}
