/* write_head.c - the head of a blob, written. FORMAT.md section 11. */
#include "internal.h"

/* Where the next byte goes; nowhere while bytes are only counted. */
typedef struct writer {
    uint8_t *dst;
    uint32_t at, bit; /* bit: of the byte at dst[at] */
} writer;

static void put_byte(writer *w, uint32_t byte) {
    if (w->dst) w->dst[w->at] = (uint8_t)byte;
    w->at++;
}

static void put_number(writer *w, uint64_t value) {
    for (; value >= 128; value >>= 7) put_byte(w, (uint32_t)value | 128);
    put_byte(w, (uint32_t)value);
}

static void put_word(writer *w, uint32_t word) {
    uint32_t i;
    for (i = 0; i < 32; i += 8) put_byte(w, word >> i);
}

/* Into zeros. */
static void put_bit(writer *w, uint32_t bit) {
    if (w->dst) w->dst[w->at] |= (uint8_t)(bit << w->bit);
    w->bit = (w->bit + 1) & 7;
    w->at += !w->bit;
}

/* Section 12. */
static void put_logs(writer *w, const hansel_blob *blob) {
    uint32_t i, k, before = 0;
    for (i = 0; i < blob->level_count; before = blob->logs[i++]) {
        uint32_t zigzag = hansel_zigzag(blob->logs[i], before);
        for (k = zigzag >> blob->rice_bits; k; k--) put_bit(w, 1);
        put_bit(w, 0);
        for (k = 0; k < blob->rice_bits; k++) put_bit(w, zigzag >> k & 1);
    }
    w->at += w->bit != 0;
    w->bit = 0;
}

/* Everything before the directory. Returns where that begins. */
static uint32_t put_fields(uint8_t *dst, const hansel_blob *blob) {
    writer w = {dst, HANSEL_OFFSET_4_PAYLOAD_CRC, 0};
    uint32_t i, step;
    put_word(&w, blob->payload_crc);
    put_byte(&w, blob->dtype | blob->mode << 4 | (blob->weights_per_symbol / 2) << 5);
    put_byte(&w, blob->rank | (blob->row_dims > 1 ? blob->row_dims : 0) << 4);
    for (i = 0; i < blob->rank; i++) put_number(&w, blob->shape[i]);
    memcpy(&step, &blob->step, 4);
    if (blob->mode == HANSEL_GRID) put_word(&w, step);
    if (blob->raw_bytes) {
        put_byte(&w, blob->mantissa_bits | blob->sign << 4);
        put_number(&w, blob->window_base);
    }
    put_number(&w, blob->level_count);
    if (blob->level_count) put_byte(&w, blob->origin);
    if (blob->stream_count) {
        put_byte(&w, (blob->slot_bits - HANSEL_MIN_SLOT_BITS) |
                         (blob->log_bits - HANSEL_MIN_LOG_BITS) << 3 | blob->rice_bits << 5);
        put_byte(&w, blob->tail_steps);
        put_number(&w, blob->pieces > 1 ? 2 * (uint64_t)blob->pieces + 1
                                        : 2 * (uint64_t)blob->rows_per_stream);
        put_number(&w, blob->length_base);
        put_byte(&w, blob->length_bits);
        put_logs(&w, blob);
    }
    return w.at;
}

HANSEL_SMALL hansel_status hansel_finish(hansel_blob *blob, const uint32_t *lengths) {
    uint32_t i, low = 0, high = 0, count = blob->stream_count;
    uint64_t words = 0, head;
    for (i = 0; i < count; i++) {
        if (i == 0 || lengths[i] < low) low = lengths[i];
        if (lengths[i] > high) high = lengths[i];
        words += lengths[i];
    }
    if (high - low > 0x7FFFFFFFu || (blob->level_count > 1 && !count)) return HANSEL_ERR_ARGUMENT;
    blob->length_base = low;
    blob->length_bits = 0;
    while ((high - low) >> blob->length_bits) blob->length_bits++;
    blob->directory_offset = put_fields(NULL, blob);
    head = blob->directory_offset + hansel_packed_bytes(count, blob->length_bits);
    head += head & 1;
    if (words >= HANSEL_MAX_WORDS || head > HANSEL_MAX_HEAD_BYTES) return HANSEL_ERR_ARGUMENT;
    blob->head_bytes = (uint32_t)head;
    blob->word_count = words;
    hansel_place_raw_plane(blob);
    return HANSEL_OK;
}

HANSEL_SMALL hansel_status hansel_write_head(void *dst, size_t dst_bytes, const hansel_blob *blob,
                                             const uint32_t *lengths) {
    uint8_t *head = dst;
    uint32_t i;
    if (dst_bytes < blob->head_bytes) return HANSEL_ERR_CAPACITY;
    memset(head, 0, blob->head_bytes);
    hansel_store32(head + HANSEL_OFFSET_4_HEAD_BYTES, blob->head_bytes);
    hansel_store32(head, HANSEL_MAGIC);
    head[HANSEL_OFFSET_VERSION] = HANSEL_FORMAT_VERSION;
    put_fields(head, blob);
    for (i = 0; i < blob->stream_count; i++)
        hansel_packed_store(head + blob->directory_offset, i, blob->length_bits,
                            lengths[i] - blob->length_base);
    hansel_store32(head + HANSEL_OFFSET_4_HEAD_CRC, hansel_crc32c(0, head, blob->head_bytes));
    return HANSEL_OK;
}
