/*
 * encoder.h - what to do next to code a tensor: the one place where a step is searched, weights are
 * folded and a wanted rate is kept. It looks at no weights: it asks for work, the caller walks over
 * the tensor and hands the sums back.
 *
 *     status = hansel_encoder_begin(&e, dtype, rank, shape, &options);
 *     while (status == HANSEL_OK && e.work != HANSEL_WORK_DONE) {
 *         ... do e.work, for all slices or all streams ...
 *         status = hansel_encoder_next(&e, lengths);
 *     }
 *
 * encode_blob.c does so for a tensor in memory, web/encode/tensor_encoder.js slice by slice. The
 * same sums give the same bytes.
 */
#ifndef HANSEL_ENCODER_H
#define HANSEL_ENCODER_H

#include "hansel.h"

/* What a caller is to do. Sums start from zero each time, in slices as hansel_stats tells. */
typedef enum hansel_work {
    HANSEL_WORK_DONE = 0,
    HANSEL_WORK_SCAN = 1,    /* hansel_scan() all weights into stats */
    HANSEL_WORK_MEASURE = 2, /* hansel_quantize() them with blob.step into stats, or hansel_split()
                              * them; hansel_histogram() of the bytes into counts */
    HANSEL_WORK_FOLD = 3,    /* hansel_fold() the bytes of all streams of blob; hansel_histogram()
                              * of the symbols into counts */
    HANSEL_WORK_CODE = 4     /* hansel_encode_streams() all symbols of blob, which hansel_fold()
                              * gives; what was coded before is void */
} hansel_work;

typedef struct hansel_encoder {
    hansel_blob blob;     /* as planned so far; once DONE, hansel_write_head() wants payload_crc */
    hansel_stats stats;   /* of SCAN and the last MEASURE */
    uint64_t counts[256]; /* of MEASURE or FOLD */
    hansel_search search; /* its step is not 0 while one is searched */
    hansel_options options;
    double bits;           /* expected of the whole blob */
    double error, entropy; /* by the last MEASURE: relative RMS error; bits per weight */
    hansel_blob single;    /* with one weight to a symbol */
    double single_bits;
    float coarse;         /* step to go back to, if folding ends with a finer one; else 0 */
    uint32_t coarse_fold; /* weights to a symbol with that step */
    uint32_t fold, round; /* weights to a symbol to try; how often coded */
    uint32_t work;        /* hansel_work */
} hansel_encoder;

/*
 * hansel_encoder_begin() - returns HANSEL_OK, or HANSEL_ERR_ARGUMENT for what the format cannot
 * hold and for options without a way to a step, or with two. options are not retained.
 */
hansel_status hansel_encoder_begin(hansel_encoder *e, uint32_t dtype, uint32_t rank,
                                   const uint64_t *shape, const hansel_options *options);

/*
 * hansel_encoder_next() - takes what was asked for, and asks for more.
 *
 *   lengths  after CODE the word counts of all streams, as hansel_encode_streams() writes them;
 *            else not looked at
 *
 * Returns HANSEL_OK, HANSEL_ERR_RANGE where no step reaches the goal, or HANSEL_ERR_ARGUMENT for
 * impossible slot_bits and lengths; after an error *e is of no more use.
 */
hansel_status hansel_encoder_next(hansel_encoder *e, const uint32_t *lengths);

#endif
