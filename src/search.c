/* search.c - the step for a wanted rate or error. */
#include "internal.h"

/* 2^x for |x| < 1000, by the power series of e^(x ln 2) on [0, 1). */
static double exp2_exact(double x) {
    int whole = (int)x, k;
    double part, sum = 1;
    uint64_t bits;
    if (whole > x) whole--;
    part = (x - whole) * 0.69314718055994531;
    for (k = 18; k >= 1; k--) sum = 1 + sum * part / k;
    bits = (uint64_t)(whole + 1023) << 52;
    memcpy(&x, &bits, 8);
    return x * sum;
}

#define SEARCH_ROUNDS 24
#define SEARCH_CLOSE 1.0005 /* ratio of the bracket's ends at which it is good enough */

/*
 * Rate falls and error grows with the step. low is the finest step that holds
 * all weights, high one that makes them all zero; the answer is bracketed
 * between a step that is too fine (rate above goal, error below) and one that
 * is not. Near the answer bits ~ c - log2(step) and error ~ c * step, so the
 * next probe follows that line from the nearer end, kept inside the bracket.
 */
void hansel_search_begin(hansel_search *search, uint32_t target, double goal, float low,
                         float high) {
    float step = hansel_smallest_step(low, high), reach = high > -low ? high : -low;
    memset(search, 0, sizeof *search);
    search->goal = goal;
    search->target = target;
    search->low = step;
    search->high = 2.5 * (double)reach < HANSEL_MAX_STEP ? 2.5 * (double)reach : HANSEL_MAX_STEP;
    search->low_value = search->high_value = -1;
    search->step = goal > 0 ? step : 0; /* NaN too */
}

static double search_guess(const hansel_search *search, double step, double value) {
    if (search->target == HANSEL_TARGET_ERROR)
        return value > 0 ? step * search->goal / value : step * 2;
    return step * exp2_exact(value - search->goal > 16 ? 16 : value - search->goal);
}

void hansel_search_next(hansel_search *search, double value) {
    double step = search->step, next, ratio;
    int is_error = search->target == HANSEL_TARGET_ERROR;
    int within = value <= search->goal;
    /* The wanted end: BITS the smallest step within goal, ERROR the largest. */
    if (within) search->best = search->step;
    if (search->round == 0 && within != is_error) { /* finest step: done either way */
        search->step = 0;
        return;
    }
    if (search->round == 0 || within == is_error) { /* too fine */
        search->low = step;
        search->low_value = value;
    } else {
        search->high = step;
        search->high_value = value;
    }
    ratio = search->high / search->low;
    if (++search->round >= SEARCH_ROUNDS || ratio < SEARCH_CLOSE ||
        (is_error ? within && value > search->goal * 0.9995
                  : within && value > search->goal - 0.0005)) {
        search->step = 0;
        return;
    }
    next = search_guess(search, step, value);
    /* Every third round halves the bracket, whatever the line says. The middle is
     * low * 2^(log2(ratio) / 2). */
    if (search->round % 3 == 2 || !(next > search->low * 1.0001 && next < search->high * 0.9999))
        next = search->low * exp2_exact(0.5 * hansel_log2(ratio));
    search->step = (float)next;
}
