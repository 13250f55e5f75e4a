/* encode_blob.c - a whole tensor in memory, for native programs; web/encode/encode.js does it in
 * slices. */
#include "internal.h"

static uint64_t bound_streams(uint64_t rows, uint64_t columns, uint32_t stream_length) {
    hansel_blob blob;
    memset(&blob, 0, sizeof blob);
    blob.rows = rows;
    blob.columns = columns;
    blob.weights = rows * columns;
    blob.alphabet_size = rows && columns ? 2 : 0;
    blob.weights_per_symbol = 1;
    hansel_plan(&blob, 0, stream_length);
    return blob.stream_count;
}

static uint64_t scratch_bytes(const hansel_blob *blob, uint32_t stream_length) {
    return hansel_align(blob->weights) +
           hansel_align(4 * bound_streams(blob->rows, blob->columns, stream_length));
}

/* Of the blob itself. */
static uint64_t bound(const hansel_blob *blob, uint32_t stream_length) {
    uint64_t streams = bound_streams(blob->rows, blob->columns, stream_length);
    uint64_t head = HANSEL_FIXED_BYTES + 8 * HANSEL_MAX_RANK + 384 + 4 * streams;
    return hansel_align(head) + hansel_align(2 * (HANSEL_STATE_WORDS * streams + blob->weights)) +
           hansel_align(blob->weights * hansel_dtype_raw_bytes(blob->dtype));
}

static hansel_status scan(const hansel_blob *blob, const void *src, hansel_stats *stats,
                          hansel_fault *fault) {
    const uint8_t *bytes = src;
    uint64_t at, n;
    for (at = 0; at < blob->weights; at += n) {
        hansel_status status;
        n = blob->weights - at < HANSEL_SLICE ? blob->weights - at : HANSEL_SLICE;
        status = hansel_scan(stats, blob->dtype, bytes + at * hansel_dtype_bytes(blob->dtype),
                             (size_t)n, fault);
        if (status != HANSEL_OK) {
            if (fault) fault->position += at;
            return status;
        }
    }
    return HANSEL_OK;
}

/* Model and partition, one weight to a symbol. */
static hansel_status fit_and_plan(hansel_blob *blob, const uint8_t *symbols,
                                  const hansel_options *options, double *bits) {
    uint64_t counts[256];
    memset(counts, 0, sizeof counts);
    hansel_histogram(counts, symbols, (size_t)blob->weights);
    blob->weights_per_symbol = 1;
    *bits = hansel_fit(blob, counts, options->slot_bits);
    if (*bits < 0) return HANSEL_ERR_ARGUMENT;
    *bits = hansel_plan(blob, *bits, options->stream_length);
    return HANSEL_OK;
}

/* Folds symbols in place, if told to or if that costs no more than HANSEL_FOLD_COST; room
 * holds as many bytes. Returns how many symbols there are then; *bits is the plan's. */
static uint64_t fold_if_cheap(hansel_blob *blob, uint8_t *symbols, uint8_t *room, double *bits,
                              const hansel_options *options) {
    uint32_t fold = hansel_most_folded(blob);
    if (options->weights_per_symbol && fold > options->weights_per_symbol)
        fold = options->weights_per_symbol;
    for (; fold > 1; fold /= 2) {
        uint64_t counts[256];
        hansel_blob folded = *blob;
        size_t count;
        double fitted;
        memset(counts, 0, sizeof counts);
        folded.weights_per_symbol = fold;
        hansel_plan(&folded, *bits, options->stream_length);
        count = hansel_fold(room, &folded, 0, folded.stream_count, symbols, (size_t)blob->weights);
        hansel_histogram(counts, room, count);
        fitted = hansel_fit(&folded, counts, options->slot_bits);
        if (fitted < 0) continue;
        fitted = hansel_plan(&folded, fitted, options->stream_length);
        if (!options->weights_per_symbol && fitted > HANSEL_FOLD_COST * *bits) continue;
        *blob = folded;
        *bits = fitted;
        memcpy(symbols, room, count);
        return count;
    }
    return blob->stream_count ? blob->weights : 0;
}

/* Symbols of the whole tensor at blob->step, their histogram and planned bits. */
static hansel_status measure(hansel_blob *blob, uint8_t *symbols, const void *src,
                             const hansel_options *options, hansel_stats *stats, double *bits,
                             hansel_fault *fault) {
    hansel_status status = HANSEL_OK;
    const uint8_t *bytes = src;
    uint64_t at, n;
    stats->sum_error = stats->max_error = 0;
    stats->saturated = 0;
    for (at = 0; at < blob->weights; at += n) {
        n = blob->weights - at < HANSEL_SLICE ? blob->weights - at : HANSEL_SLICE;
        status =
            hansel_quantize(symbols + at, blob->dtype, bytes + at * hansel_dtype_bytes(blob->dtype),
                            (size_t)n, blob->step, (int)options->clamp, stats, fault);
        if (status != HANSEL_OK) {
            if (fault) fault->position += at;
            return status;
        }
    }
    return fit_and_plan(blob, symbols, options, bits);
}

/* Square root by Newton's method: enough for a search, and no libm. */
static double root(double x) {
    double y = x > 1 ? x : 1;
    int i;
    for (i = 0; i < 1100; i++) {
        double next = 0.5 * (y + x / y);
        if (next >= y) break;
        y = next;
    }
    return x > 0 ? y : 0;
}

static hansel_status find_step(hansel_blob *blob, uint8_t *symbols, const void *src,
                               const hansel_options *options, double goal, hansel_stats *stats,
                               hansel_fault *fault) {
    hansel_search search;
    hansel_status status;
    double bits;
    if (!blob->weights) return HANSEL_OK; /* any step will do */
    hansel_search_begin(&search, options->target, goal, stats->low, stats->high);
    while (search.step > 0) {
        blob->step = search.step;
        status = measure(blob, symbols, src, options, stats, &bits, fault);
        if (status != HANSEL_OK) return status;
        if (options->target == HANSEL_TARGET_BITS)
            hansel_search_next(&search, bits / (double)blob->weights);
        else
            hansel_search_next(
                &search, stats->sum_squares > 0 ? root(stats->sum_error / stats->sum_squares) : 0);
    }
    blob->step = search.best;
    return search.best > 0 ? HANSEL_OK : HANSEL_ERR_RANGE;
}

/* All that comes after hansel_init(). out has room for bound() bytes, scratch scratch_bytes(). */
static hansel_status encode(uint8_t *out, size_t out_bytes, size_t *written, uint8_t *scratch,
                            const hansel_blob *described, const void *src,
                            const hansel_options *options, hansel_fault *fault) {
    hansel_blob blob = *described;
    hansel_stats stats;
    hansel_status status;
    uint8_t *symbols = scratch, *words;
    uint32_t *lengths;
    uint64_t head_bound;
    uint32_t round, mode = blob.mode, dtype = blob.dtype;
    size_t payload;
    double bits = 0;
    lengths = (uint32_t *)(void *)(symbols + hansel_align(blob.weights));
    /* The raw plane's place is known at the end; until then it is split off for
     * nothing, into the room that the words will take. */
    memset(&stats, 0, sizeof stats);
    if (mode == HANSEL_LOSSLESS) {
        hansel_split(symbols, out, dtype, src, (size_t)blob.weights);
        status = fit_and_plan(&blob, symbols, options, &bits);
        if (status != HANSEL_OK) return status;
    } else {
        status = scan(&blob, src, &stats, fault);
        if (status == HANSEL_OK && !(options->step > 0))
            status = find_step(&blob, symbols, src, options, options->goal, &stats, fault);
        if (status == HANSEL_OK)
            status = measure(&blob, symbols, src, options, &stats, &bits, fault);
        if (status != HANSEL_OK) return status;
    }
    for (round = 0;; round++) {
        double excess, wider;
        double single = bits;
        float coarse = blob.step;
        uint64_t count = fold_if_cheap(&blob, symbols, out, &bits, options);
        if (!round && mode == HANSEL_GRID && options->target == HANSEL_TARGET_BITS &&
            bits < single) { /* what folding saves is for a finer step, if that still folds */
            uint32_t fold = blob.weights_per_symbol, tries;
            double goal = options->goal + (single - bits) / (double)blob.weights;
            status = find_step(&blob, symbols, src, options, goal, &stats, fault);
            if (status != HANSEL_OK) return status;
            for (tries = 0; tries < 2; tries++) {
                status = measure(&blob, symbols, src, options, &stats, &bits, fault);
                if (status != HANSEL_OK) return status;
                count = fold_if_cheap(&blob, symbols, out, &bits, options);
                if (blob.weights_per_symbol == fold) break;
                blob.step = coarse;
            }
        }
        head_bound = hansel_align(HANSEL_FIXED_BYTES + 8 * HANSEL_MAX_RANK + 384 +
                                  4 * (uint64_t)blob.stream_count);
        words = out + head_bound;
        payload = hansel_encode_streams(words, out_bytes - (size_t)head_bound, lengths, &blob, 0,
                                        blob.stream_count, symbols, (size_t)count);
        if (!payload && blob.stream_count) return HANSEL_ERR_ARGUMENT;
        status = hansel_finish(&blob, lengths);
        if (status != HANSEL_OK) return status;
        if (mode != HANSEL_GRID || options->target != HANSEL_TARGET_BITS || !blob.weights) break;
        /* The plan was an estimate, the goal is a promise. */
        excess = (double)blob.blob_bytes * 8 / (double)blob.weights - options->goal;
        wider = (double)blob.step * (1.0005 + excess);
        if (excess <= 0 || round == HANSEL_RATE_ROUNDS || wider > HANSEL_MAX_STEP) break;
        blob.step = (float)wider;
        status = measure(&blob, symbols, src, options, &stats, &bits, fault);
        if (status != HANSEL_OK) return status;
    }
    memmove(out + blob.head_bytes, words, payload);
    words = out + blob.head_bytes;
    memset(words + payload, 0, (size_t)(blob.blob_bytes - blob.head_bytes - payload));
    if (blob.raw_bytes)
        hansel_split(symbols, words + blob.raw_start, dtype, src, (size_t)blob.weights);
    blob.payload_crc = hansel_crc32c(0, words, (size_t)(blob.blob_bytes - blob.head_bytes));
    *written = (size_t)blob.blob_bytes;
    return hansel_write_head(out, out_bytes, &blob, lengths);
}

size_t hansel_encode_room(const hansel_tensor *tensor, const hansel_options *options) {
    hansel_blob blob;
    uint64_t room;
    if (hansel_init(&blob, tensor->dtype, HANSEL_LOSSLESS, tensor->rank, tensor->shape, 0) !=
        HANSEL_OK)
        return 0;
    room = bound(&blob, options->stream_length) + scratch_bytes(&blob, options->stream_length);
    return room <= SIZE_MAX ? (size_t)room : 0;
}

hansel_status hansel_encode(void *dst, size_t dst_bytes, size_t *blob_bytes,
                            const hansel_tensor *tensor, const hansel_options *options,
                            hansel_fault *fault) {
    hansel_blob blob;
    hansel_status status;
    size_t out_bytes, room = hansel_encode_room(tensor, options);
    int has_aim = options->target ? options->target <= HANSEL_TARGET_ERROR && options->step == 0 &&
                                        options->goal > 0
                                  : options->step > 0;
    if (!room || (!options->lossless && !has_aim)) return HANSEL_ERR_ARGUMENT;
    status = hansel_init(&blob, tensor->dtype, options->lossless ? HANSEL_LOSSLESS : HANSEL_GRID,
                         tensor->rank, tensor->shape, options->step > 0 ? options->step : 1.0f);
    if (status != HANSEL_OK) return status;
    if (dst_bytes < room) return HANSEL_ERR_CAPACITY;
    out_bytes = (size_t)bound(&blob, options->stream_length);
    return encode(dst, out_bytes, blob_bytes, (uint8_t *)dst + out_bytes, &blob, tensor->data,
                  options, fault);
}
