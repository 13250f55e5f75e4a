/* decode_blob.c - a whole blob in memory, for native programs; web/model does it in slices. */
#include "internal.h"

/* Bits of the payload's last byte that belong to the raw plane, if not all do. */
static uint32_t raw_end_bits(const hansel_blob *blob) { return blob->weights * blob->raw_bits & 7; }

/* Checksum and padding. */
static hansel_status check_payload(const hansel_blob *blob, const uint8_t *payload,
                                   hansel_fault *fault) {
    uint64_t bytes = blob->blob_bytes - blob->head_bytes, i;
    uint32_t crc = hansel_crc32c(0, payload, (size_t)bytes);
    if (crc != blob->payload_crc)
        return hansel_fail(fault, HANSEL_ERR_CHECKSUM,
                           blob->version < HANSEL_FORMAT_VERSION ? HANSEL_OFFSET_PAYLOAD_CRC
                                                                 : HANSEL_OFFSET_4_PAYLOAD_CRC,
                           blob->payload_crc, crc);
    /* Versions 1 to 3 pad words and raw plane; of the last byte version 4 uses only some bits. */
    for (i = 2 * blob->word_count; i < bytes; i++) {
        if (i == blob->raw_start) i += blob->weights * blob->raw_bits / 8;
        if (i == bytes) break;
        if (payload[i] >> (i == bytes - 1 ? raw_end_bits(blob) : 0))
            return hansel_fail(fault, HANSEL_ERR_RESERVED, blob->head_bytes, 0, payload[i]);
    }
    return HANSEL_OK;
}

/* Bytes of a weight that is decoded as dtype; 0 if it cannot be. */
static uint32_t decoded_bytes(const hansel_blob *blob, uint32_t dtype) {
    int is_there = blob->mode == HANSEL_GRID ? dtype <= HANSEL_I8 : dtype == blob->dtype;
    return is_there ? hansel_dtype_bytes(dtype) : 0;
}

/* Streams whose cursors are read, and whose symbols become weights, at a time. */
#define BATCH 64u

/* hansel_join() from the packed raw plane, of which weight `start` is the first; some at a time. */
static hansel_status join(uint8_t *dst, const hansel_blob *blob, const uint8_t *symbols,
                          const uint8_t *raw, uint64_t start, size_t count) {
    uint8_t expanded[3 * 256];
    size_t done, n, size = hansel_dtype_bytes(blob->dtype);
    for (done = 0; done < count; done += n) {
        uint64_t bit = (start + done) * blob->raw_bits;
        n = count - done < 256 ? count - done : 256;
        hansel_expand_raw(expanded, blob, raw + (bit >> 3), bit & 7, n);
        hansel_join(dst + done * size, blob, symbols + done, expanded, n);
    }
    return HANSEL_OK;
}

/* Without as_weights dtype is ignored, and dst receives symbols. */
static hansel_status decode(uint8_t *dst, size_t dst_bytes, int as_weights, uint32_t dtype,
                            const uint8_t *src, size_t src_bytes, hansel_fault *fault) {
    uint32_t table[HANSEL_MAX_SLOTS], cursors[BATCH + 1], first = 0, count, size;
    uint64_t start = 0, end;
    const uint8_t *words;
    hansel_blob blob;
    hansel_status status = hansel_read_head(&blob, src, src_bytes, fault);
    if (status != HANSEL_OK) return status;
    if (src_bytes != blob.blob_bytes)
        return hansel_fail(fault,
                           src_bytes < blob.blob_bytes ? HANSEL_ERR_TRUNCATED : HANSEL_ERR_TRAILING,
                           blob.blob_bytes, blob.blob_bytes, src_bytes);
    size = as_weights ? decoded_bytes(&blob, dtype) : 1;
    if (!size || dst_bytes != blob.weights * size) return HANSEL_ERR_ARGUMENT;
    words = src + blob.head_bytes;
    status = check_payload(&blob, words, fault);
    hansel_build_table(table, &blob);
    cursors[0] = 0;
    for (; status == HANSEL_OK && start < blob.weights; start = end, first += count) {
        uint32_t word = cursors[0];
        size_t weights;
        uint8_t *symbols;
        count = blob.stream_count - first < BATCH ? blob.stream_count - first : BATCH;
        end = hansel_stream_start(&blob, first + count);
        weights = (size_t)(end - start);
        /* At the end of their weights' place: no weight is written over a symbol still unread. */
        symbols = dst + weights * (size - 1);
        hansel_read_cursors(cursors, &blob, src, first, count, word);
        status = hansel_decode_streams(symbols, weights, &blob, table, cursors, first, count,
                                       words + 2 * (uint64_t)word,
                                       2 * (size_t)(cursors[count] - word), fault);
        if (status == HANSEL_OK && size > 1)
            status = blob.mode == HANSEL_GRID
                         ? hansel_dequantize(dst, dtype, symbols, weights, blob.step)
                         : join(dst, &blob, symbols, words + blob.raw_start, start, weights);
        cursors[0] = cursors[count];
        dst += weights * size;
    }
    return status;
}

hansel_status hansel_decode(void *dst, size_t dst_bytes, uint32_t dtype, const void *src,
                            size_t src_bytes, hansel_fault *fault) {
    return decode(dst, dst_bytes, 1, dtype, src, src_bytes, fault);
}

hansel_status hansel_decode_symbols(uint8_t *dst, size_t dst_bytes, const void *src,
                                    size_t src_bytes, hansel_fault *fault) {
    return decode(dst, dst_bytes, 0, 0, src, src_bytes, fault);
}
