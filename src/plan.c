/*
 * plan.c - what comes before coding: the tensor's description, its cut into streams, their tails,
 * and what all of it will cost. FORMAT.md sections 3.1 and 4.4.
 */
#include "internal.h"

/*
 * A step is cut short by the end of its row, so rows of three columns, the kernels of a
 * convolution, would be slow. Such dimensions are made one, but never the first, nor in
 * what is small anyway.
 */
static void merge_dims(hansel_blob *blob) {
    if (blob->weights < 4096 || blob->columns >= 16) return;
    while (blob->row_dims + 1 < blob->rank && blob->columns < 64) {
        blob->row_dims++;
        if (hansel_matrix_view(blob)) continue;
        blob->row_dims--;
        hansel_matrix_view(blob);
        break;
    }
}

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
    blob->weights_per_symbol = blob->row_dims = 1;
    blob->step = is_grid ? step : 0;
    blob->version = HANSEL_FORMAT_VERSION;
    blob->raw_bytes = is_grid ? 0 : hansel_dtype_raw_bytes(dtype);
    if (blob->raw_bytes) {
        blob->mantissa_bits = dtype == HANSEL_F16 ? 3 : 0;
        hansel_count_raw_bits(blob);
    }
    for (i = 0; i < rank; i++) blob->shape[i] = shape[i];
    if (!hansel_matrix_view(blob)) return HANSEL_ERR_ARGUMENT;
    merge_dims(blob);
    return HANSEL_OK;
}

static uint64_t nearest_ratio(uint64_t a, uint64_t b) { return (a + b / 2) / b; }

/*
 * Longer streams are smaller, shorter ones are more: a GPU wants thousands at a time.
 * 4096 symbols cost +0.4 % at 4 bits, 1024 cost +1.4 % (docs/BENCHMARKS.md has the
 * curve), so a matrix is cut into 2048 streams as long as they stay between the two.
 * What is coded without loss is for storage: there size comes first. Where there is too little to
 * keep a GPU busy, eight streams are as many as a CPU decodes at a time.
 */
static uint32_t default_stream_length(const hansel_blob *blob) {
    const int is_large = blob->weights > 262144;
    const uint64_t symbols = blob->weights / blob->weights_per_symbol;
    const uint64_t least = is_large ? 1024 : 4096, most = is_large ? 4096 : 16384;
    const uint64_t length = symbols / (is_large ? 2048 : 8);
    if (blob->mode == HANSEL_LOSSLESS) return 16384;
    return (uint32_t)(length < least ? least : length > most ? most : length);
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
    /* The last stream no shorter than need be: what is decoded side by side ends with the first. */
    if (rows > 1) rows = (blob->rows - 1) / ((blob->rows - 1) / rows + 1) + 1;
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
    uint32_t k, bits = hansel_bits_of(blob->alphabet_size - 1);
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
    double head = 8.0 * (HANSEL_MIN_HEAD_BYTES + 12 + 2 * blob->rank);
    double raw = (double)(blob->weights * blob->raw_bits);
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
