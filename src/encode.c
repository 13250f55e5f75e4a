/*
 * encode.c - streams and head, the inverse of decode.c and head.c. FORMAT.md
 * sections 3 and 4.
 *
 * Coding runs backwards, from a stream's last symbol to its first, so that the
 * decoder runs forwards. For one lane:
 *
 *     if (x >= freq << (32 - slot_bits))  emit x mod 2^16;  x = x >> 16
 *     x = (x / freq << slot_bits) + x mod freq + start
 */
#include "layout.h"

/* ---- partition ----------------------------------------------------------- */

static uint64_t nearest_ratio(uint64_t a, uint64_t b) { return (a + b / 2) / b; }

/*
 * Longer streams are smaller, shorter ones are more: a GPU wants thousands at a time.
 * 4096 symbols cost +0.4 % at 4 bits, 1024 cost +1.4 % (docs/BENCHMARKS.md has the
 * curve), so a matrix is cut into 2048 streams as long as they stay between the two.
 * Lossless floats are for storage: there size comes first.
 */
static uint32_t default_stream_length(const hansel_blob *blob) {
    uint64_t length = blob->weights / blob->weights_per_symbol / 2048;
    if (blob->mode == HANSEL_LOSSLESS && blob->raw_bytes) return 4096;
    return length < 1024 ? 1024 : length > 4096 ? 4096 : (uint32_t)length;
}

/* Streams of about stream_length symbols: pieces of a row, or whole rows. */
static void partition(hansel_blob *blob, uint32_t stream_length) {
    uint64_t pieces, rows, most = hansel_row_steps(hansel_symbol_columns(blob, blob->columns));
    uint64_t weights = stream_length ? stream_length : default_stream_length(blob);
    weights *= blob->weights_per_symbol;
    blob->pieces = blob->rows_per_stream = 0;
    if (blob->alphabet_size < 2) return;
    pieces = nearest_ratio(blob->columns, weights);
    if (pieces > most) pieces = most;
    rows = nearest_ratio(weights, blob->columns);
    if (rows > blob->rows) rows = blob->rows;
    blob->pieces = pieces > 1 ? (uint32_t)pieces : 1;
    blob->rows_per_stream = pieces > 1 || rows < 1 ? 1 : (uint32_t)rows;
}

/*
 * The tail: k symbols of b bits ride in the low bits of each final state, which
 * starts from 2^16 + digits. That costs log2(2^16 + 2^(b k)) bits of state, and
 * saves coding k symbols; take the k with the best balance.
 */
static double choose_tail(hansel_blob *blob, double bits_per_symbol) {
    double best = HANSEL_WORD_BITS;
    uint32_t k, bits = 0;
    while (1u << bits < blob->alphabet_size) bits++;
    blob->tail_bits = bits;
    blob->tail_steps = 0;
    for (k = 1; k * bits <= HANSEL_MAX_TAIL_BITS; k++) {
        double digits = (double)((uint64_t)1 << (k * bits));
        double waste = hansel_log2(HANSEL_STATE_LOW + 0.5 * digits) - k * bits_per_symbol;
        if (waste >= best) continue;
        best = waste;
        blob->tail_steps = k;
    }
    return best;
}

HANSEL_SMALL double hansel_plan(hansel_blob *blob, double bits, uint32_t stream_length) {
    double head = 8.0 * (HANSEL_FIXED_BYTES + 8 * blob->rank + HANSEL_ALIGNMENT);
    double raw = 8.0 * (double)(blob->weights * blob->raw_bytes);
    double waste, idle, per_symbol, row_symbols;
    partition(blob, stream_length);
    hansel_count_streams(blob);
    blob->tail_bits = blob->tail_steps = 0;
    if (!blob->stream_count) return head + raw;
    row_symbols = (double)hansel_symbol_columns(blob, blob->columns);
    per_symbol = bits / ((double)blob->rows * row_symbols);
    waste = choose_tail(blob, per_symbol);
    /* Lanes that rest at the ends of rows carry fewer symbols in their tails. */
    idle = 1 - row_symbols / (double)(HANSEL_LANES * hansel_row_steps((uint64_t)row_symbols));
    waste += idle * blob->tail_steps * per_symbol;
    /* A stored state has 16 bits to spare, half of them used on average; a length
     * takes about six. */
    return head + raw + bits + blob->stream_count * (HANSEL_LANES * (waste + 8.25) + 6.0);
}

/* Code that would only grow: small loops, one whose SIMD needs no unrolling, what is called twice. */
#if defined(__clang__)
#define ROLLED _Pragma("clang loop vectorize(disable) unroll(disable)")
#define ROLLED_SIMD _Pragma("clang loop interleave(disable) unroll(disable)")
#define NOINLINE __attribute__((noinline))
#else
#define ROLLED
#define ROLLED_SIMD
#define NOINLINE
#endif

/* ---- several weights to a symbol -------------------------------------------- */

uint32_t hansel_most_folded(const hansel_blob *blob) {
    if (blob->raw_bytes || blob->alphabet_size < 2) return 1;
    return blob->alphabet_size <= 4 ? 4 : blob->alphabet_size <= 16 ? 2 : 1;
}

/* Elements of a[] with even numbers to its first half, the others to the second: the
 * inverse of unfold.c's zip(). */
static inline void unzip(hansel_quad *a, uint32_t count) {
    hansel_quad apart[HANSEL_MAX_FOLD];
    uint32_t k, half = count / 2;
    for (k = 0; k < half; k++) {
        apart[k] = HANSEL_SHUFFLE(a[2 * k], a[2 * k + 1], 0, 2, 4, 6);
        apart[k + half] = HANSEL_SHUFFLE(a[2 * k], a[2 * k + 1], 1, 3, 5, 7);
    }
    memcpy(a, apart, count * sizeof *a);
}

/* What fold_row() leaves, less than four steps: a step at a time, the last one filled up. */
static NOINLINE HANSEL_SMALL uint8_t *fold_rest(uint8_t *dst, const uint8_t *src,
                                                uint32_t columns, uint32_t origin, uint32_t fold,
                                                uint32_t *beyond) {
    const uint32_t bits = HANSEL_SYMBOL_BITS / fold, width = HANSEL_LANES * fold;
    const uint32_t rest = ~(((1u << bits) - 1) * 0x01010101u);
    const uint32_t low = (origin & 127) * 0x01010101u, high = (origin & 128) * 0x01010101u;
    while (columns) {
        uint8_t last[HANSEL_LANES * HANSEL_MAX_FOLD];
        uint32_t symbols = 0, count = columns < width ? columns : width, k;
        const uint8_t *at = src;
        if (count < width) {
            memset(last, (int)origin, sizeof last);
            ROLLED for (k = 0; k < count; k++) last[k] = src[k];
            at = last;
        }
        ROLLED for (k = 0; k < fold; k++) {
            uint32_t fields;
            memcpy(&fields, at + HANSEL_LANES * k, 4);
            fields = (fields ^ high) - low;
            *beyond |= fields & rest;
            symbols |= fields << k * bits;
        }
        memcpy(last, &symbols, HANSEL_LANES);
        ROLLED for (k = 0; k < HANSEL_LANES && k < count; k++) *dst++ = last[k];
        src += count;
        columns -= count;
    }
    return dst;
}

/*
 * The symbols of one row; in place is fine, since no symbol is written before its
 * weights are read. The inverse of unfold.c's unfold_row(): subtracting borrows from the
 * next byte only after a weight below origin, whose own byte is then 128 or more, beyond
 * the field.
 */
static inline uint8_t *fold_row(uint8_t *dst, const uint8_t *src, uint64_t columns,
                                uint32_t origin, uint32_t fold, uint32_t *beyond) {
    const uint32_t bits = HANSEL_SYMBOL_BITS / fold;
    const uint32_t rest = ~(((1u << bits) - 1) * 0x01010101u);
    const uint32_t low = (origin & 127) * 0x01010101u, high = (origin & 128) * 0x01010101u;
    uint64_t width = HANSEL_LANES * fold, column = 0;
    for (; columns - column >= 4 * width; column += 4 * width) { /* four steps at once */
        hansel_quad weights[HANSEL_MAX_FOLD], symbols = {0, 0, 0, 0}, over = {0, 0, 0, 0};
        uint32_t k, n;
        memcpy(weights, src + column, 4 * width);
        for (n = 1; n < fold; n *= 2) unzip(weights, fold);
        for (k = 0; k < fold; k++) {
            hansel_quad fields = (weights[k] ^ high) - low;
            over |= fields & rest;
            symbols |= fields << k * bits;
        }
        *beyond |= over[0] | over[1] | over[2] | over[3];
        memcpy(dst, &symbols, 16);
        dst += 16;
    }
    return fold_rest(dst, src + column, (uint32_t)(columns - column), origin, fold, beyond);
}

size_t hansel_fold(uint8_t *dst, const hansel_blob *blob, uint32_t first, uint32_t count,
                   const uint8_t *src, size_t src_bytes) {
    uint8_t *at = dst;
    uint32_t beyond = 0, i;
    uint64_t row;
    if (first > blob->stream_count || count > blob->stream_count - first) return 0;
    if (src_bytes != hansel_stream_start(blob, first + count) - hansel_stream_start(blob, first))
        return 0;
    if (blob->weights_per_symbol == 1) {
        memmove(dst, src, src_bytes);
        return src_bytes;
    }
    for (i = 0; i < count; i++) {
        hansel_extent extent = hansel_stream_extent(blob, first + i);
        for (row = 0; row < extent.row_count; row++) {
            at = blob->weights_per_symbol == 2
                     ? fold_row(at, src, extent.weight_columns, blob->origin, 2, &beyond)
                     : fold_row(at, src, extent.weight_columns, blob->origin, HANSEL_MAX_FOLD,
                                &beyond);
            src += extent.weight_columns;
        }
    }
    return beyond ? 0 : (size_t)(at - dst);
}

/* ---- streams --------------------------------------------------------------- */

/* What coding a symbol needs, 16 bytes. x / freq is x * reciprocal >> (32 + slot_bits),
 * reciprocal = ceil(2^(32 + slot_bits) / freq): exact for x < freq << (32 -
 * slot_bits), since the error x * (freq - 1) / (freq << (32 + slot_bits)) stays
 * below 1 / freq, and the product below 2^64. */
typedef struct coder {
    uint64_t reciprocal;
    uint32_t limit_high; /* (freq << (32 - slot_bits)) - 1: above it, emit first */
    uint16_t start;
    uint16_t complement; /* (1 << slot_bits) - freq */
} coder;

static HANSEL_SMALL void build_coders(coder coders[256], const hansel_blob *blob) {
    uint32_t index, start = 0;
    memset(coders, 0, 256 * sizeof *coders);
    for (index = 0; index < blob->alphabet_size; index++) {
        uint32_t freq = blob->freq[index];
        coder *c = &coders[(hansel_symbol_origin(blob) + index) & 255];
        if (!freq) continue;
        c->reciprocal = (((uint64_t)1 << (32 + blob->slot_bits)) + freq - 1) / freq;
        c->limit_high = (uint32_t)(((uint64_t)freq << (32 - blob->slot_bits)) - 1);
        c->start = (uint16_t)start;
        c->complement = (uint16_t)((1u << blob->slot_bits) - freq);
        start += freq;
    }
}

/* Whether all symbols have a frequency. A sweep by the alphabet's range first: SIMD can. */
static int all_coded(const coder coders[256], const hansel_blob *blob, const uint8_t *src,
                     size_t src_bytes) {
    uint8_t origin = (uint8_t)hansel_symbol_origin(blob), most = 0;
    uint32_t unused = 0, index;
    size_t k;
    ROLLED_SIMD for (k = 0; k < src_bytes; k++) {
        uint8_t at = (uint8_t)(src[k] - origin);
        most = at > most ? at : most;
    }
    if (src_bytes && most >= blob->alphabet_size) return 0;
    ROLLED for (index = 0; index < blob->alphabet_size; index++) unused |= !blob->freq[index];
    if (!unused) return 1;
    ROLLED for (k = 0, unused = 0; k < src_bytes; k++) unused |= !coders[src[k]].reciprocal;
    return !unused;
}

/*
 * One lane, one symbol: the inverse of rans_refill, then of rans_step. No branch: the low word
 * is stored whether or not it is emitted. There is room below, where the states will be.
 */
static inline uint8_t *rans_put(uint32_t *state, uint8_t *words, const coder *c,
                                uint32_t slot_bits) {
    uint32_t x = *state;
    uint16_t low = (uint16_t)x;
    size_t is_full = x > c->limit_high;
    memcpy(words - 2, &low, 2);
    words -= 2 * is_full;
    x = is_full ? x >> HANSEL_WORD_BITS : x;
    *state = x + c->start + (uint32_t)(x * c->reciprocal >> (32 + slot_bits)) * c->complement;
    return words;
}

/* Four lanes, step_count times, the last first. */
static uint8_t *put_steps(uint32_t *state, uint8_t *words, const coder *coders, const uint8_t *src,
                          uint64_t step_count, uint32_t slot_bits) {
    uint32_t x0 = state[0], x1 = state[1], x2 = state[2], x3 = state[3];
    const uint8_t *at = src + HANSEL_LANES * step_count;
    while (at != src) {
        at -= HANSEL_LANES;
        words = rans_put(&x3, words, &coders[at[3]], slot_bits);
        words = rans_put(&x2, words, &coders[at[2]], slot_bits);
        words = rans_put(&x1, words, &coders[at[1]], slot_bits);
        words = rans_put(&x0, words, &coders[at[0]], slot_bits);
    }
    state[0] = x0;
    state[1] = x1;
    state[2] = x2;
    state[3] = x3;
    return words;
}

static uint64_t stream_bound(const hansel_extent *extent) {
    return 2 * (HANSEL_STATE_WORDS + extent->row_count * extent->column_count);
}

uint64_t hansel_encode_bound(const hansel_blob *blob, uint32_t first, uint32_t count) {
    return 2 * ((uint64_t)HANSEL_STATE_WORDS * count + hansel_stream_start(blob, first + count) -
                hansel_stream_start(blob, first));
}

/* Codes a stream so that it ends at `words`; returns where it begins. */
static HANSEL_SMALL uint8_t *encode_stream(uint8_t *words, const hansel_blob *blob,
                                           const coder *coders, const hansel_extent *extent,
                                           const uint8_t *src) {
    uint32_t state[HANSEL_LANES], slot_bits = blob->slot_bits, lane;
    uint64_t tail = extent->step_count < blob->tail_steps ? extent->step_count : blob->tail_steps;
    uint64_t column = (extent->row_steps - 1) * HANSEL_LANES, left, run;
    const uint8_t *at = src + extent->row_count * extent->column_count;
    for (lane = 0; lane < HANSEL_LANES; lane++) state[lane] = 0;
    for (left = extent->step_count; left; left -= run) {
        uint64_t rest = extent->column_count - column;
        uint32_t lanes = rest < HANSEL_LANES ? (uint32_t)rest : HANSEL_LANES;
        run = 1;
        if (left == extent->step_count - tail)
            for (lane = 0; lane < HANSEL_LANES; lane++) state[lane] += HANSEL_STATE_LOW;
        if (left > extent->step_count - tail) {
            at -= lanes;
            ROLLED for (lane = 0; lane < lanes; lane++)
                state[lane] = state[lane] << blob->tail_bits |
                              ((at[lane] - hansel_symbol_origin(blob)) & 255);
        } else if (lanes < HANSEL_LANES) {
            at -= lanes;
            ROLLED for (lane = lanes; lane-- > 0;)
                words = rans_put(&state[lane], words, &coders[at[lane]], slot_bits);
        } else { /* to the row's beginning */
            run = column / HANSEL_LANES + 1;
            at -= HANSEL_LANES * run;
            column = 0;
            words = put_steps(state, words, coders, at, run, slot_bits);
        }
        column = column ? column - HANSEL_LANES : (extent->row_steps - 1) * HANSEL_LANES;
    }
    if (tail == extent->step_count)
        for (lane = 0; lane < HANSEL_LANES; lane++) state[lane] += HANSEL_STATE_LOW;
    words -= 2 * HANSEL_STATE_WORDS;
    for (lane = 0; lane < HANSEL_LANES; lane++) hansel_store32(words + 4 * lane, state[lane]);
    return words;
}

size_t hansel_encode_streams(void *dst, size_t dst_bytes, uint32_t *lengths,
                             const hansel_blob *blob, uint32_t first, uint32_t count,
                             const uint8_t *src, size_t src_bytes) {
    coder coders[256];
    uint32_t i;
    uint64_t start;
    uint8_t *to = dst;
    if (first > blob->stream_count || count > blob->stream_count - first) return 0;
    start = hansel_symbol_start(blob, first);
    if (src_bytes != hansel_symbol_start(blob, first + count) - start) return 0;
    if (dst_bytes < hansel_encode_bound(blob, first, count)) return 0;
    build_coders(coders, blob);
    if (!all_coded(coders, blob, src, src_bytes)) return 0;
    for (i = 0; i < count; i++) {
        hansel_extent extent = hansel_stream_extent(blob, first + i);
        uint8_t *end = to + stream_bound(&extent), *begin;
        begin = encode_stream(end, blob, coders, &extent, src);
        lengths[i] = (uint32_t)((end - begin) / 2);
        memmove(to, begin, (size_t)(end - begin));
        to += end - begin;
        src += extent.row_count * extent.column_count;
    }
    return (size_t)(to - (uint8_t *)dst);
}

/* ---- head ------------------------------------------------------------------ */

HANSEL_SMALL hansel_status hansel_init(hansel_blob *blob, uint32_t dtype, uint32_t mode,
                                       uint32_t rank, const uint64_t *shape, float step) {
    uint32_t i;
    int is_grid = mode == HANSEL_GRID;
    memset(blob, 0, sizeof *blob);
    if (!hansel_dtype_bytes(dtype) || mode > HANSEL_LOSSLESS || rank > HANSEL_MAX_RANK)
        return HANSEL_ERR_ARGUMENT;
    if (is_grid && (dtype > HANSEL_BF16 || !(step >= HANSEL_MIN_STEP && step <= 3.4e38f)))
        return HANSEL_ERR_ARGUMENT;
    blob->dtype = dtype;
    blob->mode = mode;
    blob->rank = rank;
    blob->weights_per_symbol = 1;
    blob->step = is_grid ? step : 0;
    blob->raw_bytes = is_grid ? 0 : hansel_dtype_raw_bytes(dtype);
    for (i = 0; i < rank; i++) blob->shape[i] = shape[i];
    return hansel_matrix_view(blob) ? HANSEL_OK : HANSEL_ERR_ARGUMENT;
}

HANSEL_SMALL hansel_status hansel_finish(hansel_blob *blob, const uint32_t *lengths) {
    uint32_t i, low = 0, high = 0, count = blob->stream_count;
    uint64_t words = 0, head;
    for (i = 0; i < count; i++) {
        if (i == 0 || lengths[i] < low) low = lengths[i];
        if (lengths[i] > high) high = lengths[i];
        words += lengths[i];
    }
    if (high - low > 0x7FFFFFFFu || (blob->alphabet_size > 1 && !count)) return HANSEL_ERR_ARGUMENT;
    blob->length_base = low;
    blob->length_bits = 0;
    while ((high - low) >> blob->length_bits) blob->length_bits++;
    blob->word_count = words;
    blob->directory_offset =
        (uint32_t)(HANSEL_FIXED_BYTES + 8 * blob->rank +
                   hansel_packed_bytes(count ? blob->alphabet_size : 0, blob->slot_bits));
    head = hansel_align(blob->directory_offset + hansel_packed_bytes(count, blob->length_bits));
    if (words >= HANSEL_MAX_WORDS || head >= 0xFFFFFFFFu) return HANSEL_ERR_ARGUMENT;
    blob->head_bytes = (uint32_t)head;
    blob->blob_bytes = head + hansel_align(2 * words) + hansel_align(blob->weights * blob->raw_bytes);
    return HANSEL_OK;
}

HANSEL_SMALL hansel_status hansel_write_head(void *dst, size_t dst_bytes,
                                             const hansel_blob *blob, const uint32_t *lengths) {
    uint8_t *head = dst;
    uint32_t i, step_bits;
    if (dst_bytes < blob->head_bytes) return HANSEL_ERR_CAPACITY;
    memset(head, 0, blob->head_bytes);
    hansel_store32(head + HANSEL_OFFSET_MAGIC, HANSEL_MAGIC);
    head[HANSEL_OFFSET_VERSION] = (uint8_t)(blob->weights_per_symbol > 1 ? HANSEL_VERSION_FOLDED
                                                                        : HANSEL_VERSION);
    head[HANSEL_OFFSET_DTYPE] = (uint8_t)blob->dtype;
    head[HANSEL_OFFSET_MODE] = (uint8_t)blob->mode;
    head[HANSEL_OFFSET_RANK] = (uint8_t)blob->rank;
    hansel_store32(head + HANSEL_OFFSET_HEAD_BYTES, blob->head_bytes);
    hansel_store64(head + HANSEL_OFFSET_BLOB_BYTES, blob->blob_bytes);
    hansel_store32(head + HANSEL_OFFSET_PAYLOAD_CRC, blob->payload_crc);
    memcpy(&step_bits, &blob->step, 4);
    hansel_store32(head + HANSEL_OFFSET_STEP, step_bits);
    head[HANSEL_OFFSET_CODED_PLANES] = 1;
    head[HANSEL_OFFSET_TABLES] = 1;
    head[HANSEL_OFFSET_WEIGHTS_PER_SYMBOL] = (uint8_t)blob->weights_per_symbol;
    head[HANSEL_OFFSET_RAW_BYTES] = (uint8_t)blob->raw_bytes;
    head[HANSEL_OFFSET_SLOT_BITS] = (uint8_t)blob->slot_bits;
    head[HANSEL_OFFSET_ORIGIN] = (uint8_t)blob->origin;
    hansel_store16(head + HANSEL_OFFSET_ALPHABET, blob->alphabet_size);
    head[HANSEL_OFFSET_TAIL_BITS] = (uint8_t)blob->tail_bits;
    head[HANSEL_OFFSET_TAIL_STEPS] = (uint8_t)blob->tail_steps;
    head[HANSEL_OFFSET_LENGTH_BITS] = (uint8_t)blob->length_bits;
    hansel_store32(head + HANSEL_OFFSET_LENGTH_BASE, blob->length_base);
    hansel_store32(head + HANSEL_OFFSET_PIECES, blob->pieces);
    hansel_store32(head + HANSEL_OFFSET_ROWS_PER_STREAM, blob->rows_per_stream);
    for (i = 0; i < blob->rank; i++) hansel_store64(head + HANSEL_OFFSET_SHAPE + 8 * i, blob->shape[i]);
    if (blob->stream_count) {
        uint8_t *freq = head + HANSEL_OFFSET_SHAPE + 8 * blob->rank;
        for (i = 0; i < blob->alphabet_size; i++)
            hansel_packed_store(freq, i, blob->slot_bits, blob->freq[i]);
        for (i = 0; i < blob->stream_count; i++)
            hansel_packed_store(head + blob->directory_offset, i, blob->length_bits,
                                lengths[i] - blob->length_base);
    }
    hansel_store32(head + HANSEL_OFFSET_HEAD_CRC, hansel_crc32c(0, head, blob->head_bytes));
    return HANSEL_OK;
}

/* ---- a whole tensor in memory ---------------------------------------------- */

static uint64_t bound_streams(uint64_t rows, uint64_t columns, uint32_t stream_length) {
    hansel_blob blob;
    memset(&blob, 0, sizeof blob);
    blob.rows = rows;
    blob.columns = columns;
    blob.weights = rows * columns;
    blob.alphabet_size = rows && columns ? 2 : 0;
    blob.weights_per_symbol = 1;
    partition(&blob, stream_length);
    hansel_count_streams(&blob);
    return blob.stream_count;
}

size_t hansel_encode_scratch(uint64_t rows, uint64_t columns, uint32_t stream_length) {
    return (size_t)(hansel_align(rows * columns) +
                    4 * bound_streams(rows, columns, stream_length) + HANSEL_ALIGNMENT);
}

size_t hansel_encode_blob_bound(uint64_t rows, uint64_t columns, uint32_t dtype,
                                uint32_t stream_length) {
    uint64_t streams = bound_streams(rows, columns, stream_length);
    uint64_t head = HANSEL_FIXED_BYTES + 8 * HANSEL_MAX_RANK + 384 + 4 * streams;
    return (size_t)(hansel_align(head) + hansel_align(2 * (HANSEL_STATE_WORDS * streams + rows * columns)) +
                    hansel_align(rows * columns * hansel_dtype_raw_bytes(dtype)));
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
        status = hansel_quantize(symbols + at, blob->dtype,
                                 bytes + at * hansel_dtype_bytes(blob->dtype), (size_t)n,
                                 blob->step, (int)options->clamp, stats, fault);
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
            hansel_search_next(&search, stats->sum_squares > 0
                                            ? root(stats->sum_error / stats->sum_squares)
                                            : 0);
    }
    blob->step = search.best;
    return search.best > 0 ? HANSEL_OK : HANSEL_ERR_RANGE;
}

hansel_status hansel_encode_blob(void *dst, size_t dst_bytes, size_t *written, void *scratch,
                                 size_t scratch_bytes, uint32_t dtype, uint32_t rank,
                                 const uint64_t *shape, const void *src,
                                 const hansel_options *options, hansel_fault *fault) {
    hansel_blob blob;
    hansel_stats stats;
    hansel_status status;
    uint8_t *symbols = scratch, *out = dst, *words;
    uint32_t *lengths;
    uint64_t head_bound;
    uint32_t round;
    size_t payload;
    double bits = 0;
    uint32_t mode = options->lossless ? HANSEL_LOSSLESS : HANSEL_GRID;
    int has_aim = options->target ? options->target <= HANSEL_TARGET_ERROR &&
                                        options->step == 0 && options->goal > 0
                                  : options->step > 0;
    if (mode == HANSEL_GRID && !has_aim) return HANSEL_ERR_ARGUMENT;
    status = hansel_init(&blob, dtype, mode, rank, shape,
                         options->step > 0 ? options->step : 1.0f);
    if (status != HANSEL_OK) return status;
    if (scratch_bytes < hansel_encode_scratch(blob.rows, blob.columns, options->stream_length) ||
        dst_bytes < hansel_encode_blob_bound(blob.rows, blob.columns, dtype, options->stream_length))
        return HANSEL_ERR_CAPACITY;
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
        payload = hansel_encode_streams(words, dst_bytes - (size_t)head_bound, lengths, &blob, 0,
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
        hansel_split(symbols, words + hansel_align(payload), dtype, src, (size_t)blob.weights);
    blob.payload_crc = hansel_crc32c(0, words, (size_t)(blob.blob_bytes - blob.head_bytes));
    *written = (size_t)blob.blob_bytes;
    return hansel_write_head(dst, dst_bytes, &blob, lengths);
}
