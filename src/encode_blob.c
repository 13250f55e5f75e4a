/* encode_blob.c - a whole tensor in memory, for native programs; web/encode/tensor_encoder.js does
 * it in slices. */
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

/* For symbols, and for either streams' lengths or the counts of a window. */
static uint64_t scratch_bytes(const hansel_blob *blob, const hansel_options *options) {
    uint64_t numbers = bound_streams(blob->rows, blob->columns, options->stream_length);
    if (options->lossless && blob->raw_bytes && numbers <= HANSEL_WINDOW_COUNTS)
        numbers = HANSEL_WINDOW_COUNTS + 1;
    return hansel_align(blob->weights) + hansel_align(4 * numbers);
}

/* A head without its directory: 256 logarithms take up to 17 bits. */
#define HEAD_ROOM 1024u

/* Of the blob itself. */
static uint64_t bound(const hansel_blob *blob, uint32_t stream_length) {
    uint64_t streams = bound_streams(blob->rows, blob->columns, stream_length);
    return HEAD_ROOM + hansel_align(4 * streams) +
           hansel_align(2 * (HANSEL_STATE_WORDS * streams + blob->weights)) +
           hansel_align(blob->weights * hansel_dtype_raw_bytes(blob->dtype));
}

/* A tensor in memory on its way. */
typedef struct job {
    hansel_encoder e;
    const uint8_t *src;
    uint8_t *symbols, *room; /* for a byte of each weight; room's are of no use later */
    uint32_t *numbers;       /* lengths of streams, or counts of a window */
    size_t count;            /* of symbols */
    hansel_fault *fault;
} job;

/* Range and energy, or the bytes at e.blob.step with what is lost, slice by slice. */
static hansel_status walk(job *j) {
    hansel_encoder *e = &j->e;
    const hansel_blob *blob = &e->blob;
    size_t size = hansel_dtype_bytes(blob->dtype);
    uint64_t at, n;
    for (at = 0; at < blob->weights; at += n) {
        hansel_status status;
        const uint8_t *src = j->src + at * size;
        n = blob->weights - at < HANSEL_SLICE ? blob->weights - at : HANSEL_SLICE;
        status = e->work == HANSEL_WORK_SCAN
                     ? hansel_scan(&e->stats, blob->dtype, src, (size_t)n, j->fault)
                     : hansel_quantize(j->symbols + at, blob->dtype, src, (size_t)n, blob->step,
                                       (int)e->options.clamp, &e->stats, j->fault);
        if (status != HANSEL_OK) {
            if (j->fault) j->fault->position += at;
            return status;
        }
    }
    return HANSEL_OK;
}

/* Does what e asks for, but for CODE. */
static hansel_status do_work(job *j) {
    hansel_encoder *e = &j->e;
    const hansel_blob *blob = &e->blob;
    hansel_status status;
    if (e->work == HANSEL_WORK_FOLD) {
        j->count =
            hansel_fold(j->room, blob, 0, blob->stream_count, j->symbols, (size_t)blob->weights);
        hansel_histogram(e->counts, j->room, j->count);
        return HANSEL_OK;
    }
    if (e->work == HANSEL_WORK_WINDOW) {
        memset(j->numbers, 0, 4 * (HANSEL_WINDOW_COUNTS + 1));
        hansel_window_count(j->numbers, blob->dtype, j->src, (size_t)blob->weights);
        return HANSEL_OK;
    }
    /* The raw plane's place is known at the end; until then it is split off for
     * nothing, into the room that the words will take. */
    status = blob->mode == HANSEL_LOSSLESS
                 ? hansel_split(j->symbols, j->room, blob, j->src, (size_t)blob->weights)
                 : walk(j);
    if (e->work == HANSEL_WORK_MEASURE)
        hansel_histogram(e->counts, j->symbols, (size_t)blob->weights);
    return status;
}

size_t hansel_encode_room(const hansel_tensor *tensor, const hansel_options *options) {
    hansel_blob blob;
    uint64_t room;
    if (hansel_init(&blob, tensor->dtype, HANSEL_LOSSLESS, tensor->rank, tensor->shape, 0) !=
        HANSEL_OK)
        return 0;
    room = bound(&blob, options->stream_length) + scratch_bytes(&blob, options);
    return room <= SIZE_MAX ? (size_t)room : 0;
}

hansel_status hansel_encode(void *dst, size_t dst_bytes, size_t *blob_bytes,
                            const hansel_tensor *tensor, const hansel_options *options,
                            hansel_fault *fault) {
    job j;
    hansel_blob *blob = &j.e.blob;
    uint8_t *words;
    size_t out_bytes, payload = 0, head_bound, room = hansel_encode_room(tensor, options);
    hansel_status status =
        hansel_encoder_begin(&j.e, tensor->dtype, tensor->rank, tensor->shape, options);
    if (!room) return HANSEL_ERR_ARGUMENT;
    if (status != HANSEL_OK) return status;
    if (dst_bytes < room) return HANSEL_ERR_CAPACITY;
    out_bytes = (size_t)bound(blob, options->stream_length);
    j.src = tensor->data;
    j.room = words = dst;
    j.symbols = j.room + out_bytes;
    j.fault = fault;
    j.numbers = (uint32_t *)(void *)(j.symbols + hansel_align(blob->weights));
    while (j.e.work != HANSEL_WORK_DONE) {
        if (j.e.work == HANSEL_WORK_CODE) {
            /* Folded symbols come straight from FOLD. */
            if (blob->weights_per_symbol > 1)
                memcpy(j.symbols, j.room, j.count);
            else
                j.count = blob->stream_count ? (size_t)blob->weights : 0;
            head_bound = HEAD_ROOM + (size_t)hansel_align(4 * (uint64_t)blob->stream_count);
            words = j.room + head_bound;
            payload = hansel_encode_streams(words, out_bytes - head_bound, j.numbers, blob, 0,
                                            blob->stream_count, j.symbols, j.count);
            if (!payload && blob->stream_count) return HANSEL_ERR_ARGUMENT;
        } else {
            status = do_work(&j);
        }
        if (status == HANSEL_OK) status = hansel_encoder_next(&j.e, j.numbers);
        if (status != HANSEL_OK) return status;
    }
    memmove(j.room + blob->head_bytes, words, payload);
    words = j.room + blob->head_bytes;
    if (blob->raw_bytes) {
        uint8_t *raw = words + blob->raw_start;
        hansel_split(j.symbols, raw, blob, tensor->data, (size_t)blob->weights);
        hansel_pack_raw(raw, blob, raw, (size_t)blob->weights);
    }
    blob->payload_crc = hansel_crc32c(0, words, (size_t)(blob->blob_bytes - blob->head_bytes));
    *blob_bytes = (size_t)blob->blob_bytes;
    return hansel_write_head(dst, out_bytes, blob, j.numbers);
}
