/*
 * fuzz.c - libFuzzer's target; one input is one of two things by its first byte:
 *
 *   multiple of 4   a blob, decoded as it is and again with magic, version and
 *                   checksums made right. 'H' of the magic is one, so that
 *                   tests/vectors/ok and bad are a corpus as they lie there.
 *   other           options and a tensor to encode; decoding must give it back
 */
#include <stdlib.h>

#include "formula.h"

/* An all-equal blob of 80 bytes can claim 2^48 weights; memory is not the point here. */
#define MAX_WEIGHTS ((uint64_t)1 << 22)

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *src, size_t src_bytes);

/* A copy that ends where its allocation ends. */
static void *exact(const void *src, size_t size) {
    void *copy = malloc(size ? size : 1);
    REQUIRE(copy);
    if (size) memcpy(copy, src, size);
    return copy;
}

/* Streams one by one, through the same functions as a reader of slices. */
static void decode_slices(const hansel_blob *blob, const uint8_t *src, const uint8_t *symbols) {
    uint32_t table[HANSEL_MAX_SLOTS], cursors[3] = {0, 0, 0}, first, count;
    hansel_build_table(table, blob);
    for (first = 0; first < blob->stream_count; first += count) {
        uint64_t start = hansel_stream_start(blob, first);
        size_t size, words_bytes;
        uint8_t *words, *dst;
        count = first + 1 < blob->stream_count && first % 3 ? 2 : 1;
        size = (size_t)(hansel_stream_start(blob, first + count) - start);
        hansel_read_cursors(cursors, blob, src, first, count, cursors[0]);
        words_bytes = 2 * (size_t)(cursors[count] - cursors[0]);
        words = exact(src + blob->head_bytes + 2 * (size_t)cursors[0], words_bytes);
        dst = malloc(size);
        REQUIRE(dst);
        REQUIRE(hansel_decode_streams(dst, size, blob, table, cursors, first, count, words,
                                      words_bytes, NULL) == HANSEL_OK);
        REQUIRE(!memcmp(dst, symbols + start, size));
        free(words);
        free(dst);
        cursors[0] = cursors[count];
    }
    REQUIRE(cursors[0] == blob->word_count);
}

static hansel_status decode(const uint8_t *src, size_t src_bytes) {
    hansel_blob blob;
    hansel_fault fault = {0, 0, 0};
    uint8_t *copy = exact(src, src_bytes), *symbols, *values;
    hansel_status status = hansel_read_head(&blob, copy, src_bytes, &fault);
    if (status == HANSEL_OK && blob.weights <= MAX_WEIGHTS) {
        size_t count = (size_t)blob.weights, size = hansel_dtype_bytes(blob.dtype);
        symbols = malloc(count ? count : 1);
        values = malloc(count ? count * size : 1);
        REQUIRE(symbols && values);
        status = hansel_decode_symbols(symbols, count, copy, src_bytes, &fault);
        REQUIRE(status != HANSEL_ERR_ARGUMENT);
        REQUIRE(hansel_decode(values, count * size, blob.dtype, copy, src_bytes, NULL) == status);
        if (status == HANSEL_OK) {
            uint32_t crc = hansel_crc32c(0, values, count * size);
            const uint8_t *raw = copy + blob.head_bytes + blob.raw_start;
            REQUIRE((blob.mode == HANSEL_GRID
                         ? hansel_dequantize(values, blob.dtype, symbols, count, blob.step)
                         : hansel_join(values, blob.dtype, symbols, raw, count)) == HANSEL_OK);
            REQUIRE(hansel_crc32c(0, values, count * size) == crc);
            if (blob.stream_count) decode_slices(&blob, copy, symbols);
        }
        free(symbols);
        free(values);
    }
    free(copy);
    return status;
}

static void decode_hostile(const uint8_t *src, size_t src_bytes) {
    uint8_t *fixed = exact(src, src_bytes);
    decode(src, src_bytes);
    if (src_bytes >= HANSEL_FIXED_BYTES) {
        formula_store(fixed + HANSEL_OFFSET_MAGIC, 4, HANSEL_MAGIC);
        fixed[HANSEL_OFFSET_VERSION] =
            fixed[HANSEL_OFFSET_ROW_DIMS] > 1              ? HANSEL_FORMAT_VERSION_MERGED
            : fixed[HANSEL_OFFSET_WEIGHTS_PER_SYMBOL] == 1 ? HANSEL_FORMAT_VERSION
                                                           : HANSEL_FORMAT_VERSION_FOLDED;
        formula_seal(fixed, src_bytes);
        decode(fixed, src_bytes);
    }
    free(fixed);
}

/* Sixteen bytes of options, then the tensor. */
#define OPTION_BYTES 16

static void encode_decode(const uint8_t *src, size_t src_bytes) {
    static const float steps[] = {1, 0.07f, 1e-3f, 1e-30f, 1e30f, HANSEL_MIN_STEP, 0, 0};
    uint32_t dtype = 1 + src[1] % 7, rank = 1 + src[2] % 3;
    hansel_options options;
    hansel_blob blob;
    hansel_status status;
    uint64_t shape[3] = {1, 1, 1};
    size_t size = hansel_dtype_bytes(dtype), count = (src_bytes - OPTION_BYTES) / size;
    size_t room, written = 0;
    hansel_tensor tensor = {dtype, rank, {0}, NULL};
    uint8_t *weights, *dst, *symbols, *values;
    memset(&options, 0, sizeof options);
    options.lossless = src[3] & 1 || dtype > HANSEL_BF16;
    options.clamp = src[3] >> 1 & 1;
    options.step = options.lossless ? 0 : steps[src[4] & 7];
    options.target = options.step > 0 || options.lossless ? 0 : 1u + (src[4] >> 3 & 1);
    options.goal = (double)(1 + src[5]) / (options.target == HANSEL_TARGET_BITS ? 16 : 256);
    options.stream_length = src[6] ? 1u + src[6] * src[6] / 8u : 0;
    options.slot_bits = src[7] % 6 ? 7u + src[7] % 6 : 0;
    options.weights_per_symbol = (src[11] & 3) == 3 ? 4 : src[11] & 3;
    if (rank > 1) shape[rank - 1] = 1 + (uint64_t)(src[8] | src[9] << 8) % (count + 1);
    if (rank > 2) shape[1] = 1 + src[10] % 5;
    shape[0] = rank > 1 ? count / (shape[1] * shape[2]) : count;
    count = (size_t)(shape[0] * shape[1] * shape[2]);

    tensor.data = weights = exact(src + OPTION_BYTES, count * size);
    memcpy(tensor.shape, shape, sizeof shape);
    room = hansel_encode_room(&tensor, &options);
    dst = malloc(room);
    symbols = malloc(count ? count : 1);
    values = malloc(count ? count * size : 1);
    REQUIRE(dst && symbols && values);
    status = hansel_encode(dst, room, &written, &tensor, &options, NULL);
    if (options.lossless || status == HANSEL_OK) {
        REQUIRE(status == HANSEL_OK && written <= room);
        REQUIRE(decode(dst, written) == HANSEL_OK);
        REQUIRE(decode(dst, written - 1) == HANSEL_ERR_TRUNCATED);
        REQUIRE(hansel_read_head(&blob, dst, written, NULL) == HANSEL_OK);
        REQUIRE(blob.dtype == dtype && blob.rank == rank && blob.weights == count &&
                !memcmp(blob.shape, shape, 8 * rank));
        REQUIRE(hansel_decode_symbols(symbols, count, dst, written, NULL) == HANSEL_OK);
        if (options.lossless) {
            REQUIRE(hansel_decode(values, count * size, dtype, dst, written, NULL) == HANSEL_OK);
            REQUIRE(!memcmp(values, weights, count * size));
        } else {
            hansel_stats stats;
            memset(&stats, 0, sizeof stats);
            REQUIRE(hansel_quantize(values, dtype, weights, count, blob.step, (int)options.clamp,
                                    &stats, NULL) == HANSEL_OK);
            REQUIRE(!memcmp(values, symbols, count));
        }
    } else {
        REQUIRE(status == HANSEL_ERR_NOT_FINITE || status == HANSEL_ERR_RANGE);
        /* Clamped, every value has an index; but a rate or an error can be out of reach. */
        REQUIRE(status != HANSEL_ERR_RANGE || !options.clamp || options.target);
    }
    free(weights);
    free(dst);
    free(symbols);
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *src, size_t src_bytes) {
    if (!src_bytes || src[0] % 4 == 0)
        decode_hostile(src, src_bytes);
    else if (src_bytes >= OPTION_BYTES)
        encode_decode(src, src_bytes);
    return 0;
}
