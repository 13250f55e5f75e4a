/* write_head.c - the head of a blob, written: the mirror of head.c. FORMAT.md sections 2 and 3. */
#include "layout.h"

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
