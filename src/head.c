/* head.c - the head of a blob, read and written. FORMAT.md sections 2 and 3. */
#include "internal.h"

/* Fields of the fixed part that a blob has too, in the same order of bytes. */
#define FIELD(name, offset, size) \
    { offset, size, offsetof(hansel_blob, name) }
static const struct {
    uint8_t offset, size;
    uint16_t member;
} fields[] = {
    FIELD(dtype, HANSEL_OFFSET_DTYPE, 1),
    FIELD(mode, HANSEL_OFFSET_MODE, 1),
    FIELD(rank, HANSEL_OFFSET_RANK, 1),
    FIELD(head_bytes, HANSEL_OFFSET_HEAD_BYTES, 4),
    FIELD(blob_bytes, HANSEL_OFFSET_BLOB_BYTES, 8),
    FIELD(payload_crc, HANSEL_OFFSET_PAYLOAD_CRC, 4),
    FIELD(step, HANSEL_OFFSET_STEP, 4),
    FIELD(weights_per_symbol, HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1),
    FIELD(raw_bytes, HANSEL_OFFSET_RAW_BYTES, 1),
    FIELD(slot_bits, HANSEL_OFFSET_SLOT_BITS, 1),
    FIELD(origin, HANSEL_OFFSET_ORIGIN, 1),
    FIELD(alphabet_size, HANSEL_OFFSET_ALPHABET, 2),
    FIELD(tail_bits, HANSEL_OFFSET_TAIL_BITS, 1),
    FIELD(tail_steps, HANSEL_OFFSET_TAIL_STEPS, 1),
    FIELD(length_bits, HANSEL_OFFSET_LENGTH_BITS, 1),
    FIELD(row_dims, HANSEL_OFFSET_ROW_DIMS, 1),
    FIELD(length_base, HANSEL_OFFSET_LENGTH_BASE, 4),
    FIELD(pieces, HANSEL_OFFSET_PIECES, 4),
    FIELD(rows_per_stream, HANSEL_OFFSET_ROWS_PER_STREAM, 4),
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

hansel_status hansel_fail(hansel_fault *fault, hansel_status status, uint64_t position,
                          uint64_t expected, uint64_t found) {
    if (fault) {
        fault->position = position;
        fault->expected = expected;
        fault->found = found;
    }
    return status;
}

/* The fields that do not depend on others: what each must be. */
static hansel_status check_fixed(const uint8_t *head, hansel_fault *fault) {
    static const struct {
        uint8_t offset, low, high, status;
    } rules[] = {
        {HANSEL_OFFSET_CODED_PLANES, 1, 1, HANSEL_ERR_RESERVED},
        {HANSEL_OFFSET_TABLES, 1, 1, HANSEL_ERR_RESERVED},
        {HANSEL_OFFSET_DTYPE, HANSEL_F32, HANSEL_F8_E5M2, HANSEL_ERR_HEADER},
        {HANSEL_OFFSET_MODE, HANSEL_GRID, HANSEL_LOSSLESS, HANSEL_ERR_HEADER},
        {HANSEL_OFFSET_RANK, 0, HANSEL_MAX_RANK, HANSEL_ERR_HEADER},
        {HANSEL_OFFSET_SLOT_BITS, HANSEL_MIN_SLOT_BITS, HANSEL_MAX_SLOT_BITS, HANSEL_ERR_HEADER},
        {HANSEL_OFFSET_TAIL_BITS, 0, 8, HANSEL_ERR_HEADER},
        {HANSEL_OFFSET_TAIL_STEPS, 0, HANSEL_MAX_TAIL_BITS, HANSEL_ERR_HEADER},
        {HANSEL_OFFSET_LENGTH_BITS, 0, HANSEL_MAX_LENGTH_BITS, HANSEL_ERR_HEADER},
    };
    size_t i;
    uint32_t version = head[HANSEL_OFFSET_VERSION], fold = head[HANSEL_OFFSET_WEIGHTS_PER_SYMBOL];
    uint32_t row_dims = head[HANSEL_OFFSET_ROW_DIMS];
    /* Version 1 knows 1, 2 the others, 3 all. */
    if (fold == 1 ? version == HANSEL_FORMAT_VERSION_FOLDED
                  : version == HANSEL_FORMAT_VERSION || (fold != 2 && fold != HANSEL_MAX_FOLD))
        return hansel_fail(fault, HANSEL_ERR_RESERVED, HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, version,
                           fold);
    if ((row_dims >= 2) != (version == HANSEL_FORMAT_VERSION_MERGED) || row_dims == 1)
        return hansel_fail(fault, HANSEL_ERR_RESERVED, HANSEL_OFFSET_ROW_DIMS,
                           version == HANSEL_FORMAT_VERSION_MERGED ? 2 : 0, row_dims);
    for (i = 0; i < sizeof rules / sizeof *rules; i++) {
        uint8_t value = head[rules[i].offset];
        if (value < rules[i].low || value > rules[i].high)
            return hansel_fail(fault, (hansel_status)rules[i].status, rules[i].offset,
                               value < rules[i].low ? rules[i].low : rules[i].high, value);
    }
    return HANSEL_OK;
}

/* Everything up to the frequencies; blob->directory_offset is where they start. */
static hansel_status read_fields(hansel_blob *blob, const uint8_t *head, hansel_fault *fault) {
    uint32_t i, float_bits, grid_dtype;
    for (i = 0; i < FIELD_COUNT; i++)
        memcpy((uint8_t *)blob + fields[i].member, head + fields[i].offset, fields[i].size);
    if (!blob->row_dims) blob->row_dims = 1;

    float_bits = hansel_load32(head + HANSEL_OFFSET_STEP);
    grid_dtype =
        blob->dtype == HANSEL_F32 || blob->dtype == HANSEL_F16 || blob->dtype == HANSEL_BF16;
    if (blob->mode == HANSEL_GRID && !grid_dtype)
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_DTYPE, HANSEL_F32, blob->dtype);
    /* lossless: 0; grid: a positive, finite, normal number */
    if (blob->mode == HANSEL_GRID ? float_bits < 0x00800000u || float_bits >= 0x7F800000u
                                  : float_bits != 0)
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_STEP, blob->mode == HANSEL_GRID,
                           float_bits);
    i = blob->mode == HANSEL_GRID ? 0 : hansel_dtype_raw_bytes(blob->dtype);
    if (blob->raw_bytes != i)
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_RAW_BYTES, i, blob->raw_bytes);
    if (blob->weights_per_symbol > 1 && (blob->raw_bytes || blob->alphabet_size < 2))
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1,
                           blob->weights_per_symbol);

    if (blob->row_dims > 1 && blob->row_dims >= blob->rank)
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_ROW_DIMS, blob->rank - 1,
                           blob->row_dims);
    for (i = 0; i < blob->rank; i++)
        blob->shape[i] = hansel_load64(head + HANSEL_OFFSET_SHAPE + 8 * i);
    if (!hansel_matrix_view(blob))
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_SHAPE, HANSEL_MAX_WEIGHTS,
                           blob->shape[0]);
    if (blob->alphabet_size > 256 || (blob->alphabet_size == 0) != (blob->weights == 0))
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_ALPHABET,
                           blob->weights ? 256 : 0, blob->alphabet_size);
    if (blob->alphabet_size > 1u << blob->tail_bits && blob->tail_steps)
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_TAIL_BITS, 8, blob->tail_bits);
    if (blob->tail_bits * blob->tail_steps > HANSEL_MAX_TAIL_BITS)
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_TAIL_STEPS, HANSEL_MAX_TAIL_BITS,
                           blob->tail_bits * blob->tail_steps);
    if (!hansel_count_streams(blob))
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_PIECES, blob->alphabet_size > 1,
                           blob->pieces);
    if (!blob->stream_count &&
        (blob->tail_bits | blob->tail_steps | blob->length_bits | blob->length_base))
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_TAIL_BITS, 0,
                           blob->tail_bits | blob->tail_steps | blob->length_bits |
                               blob->length_base);
    blob->directory_offset = HANSEL_FIXED_BYTES + 8 * blob->rank;
    return HANSEL_OK;
}

static hansel_status read_frequencies(hansel_blob *blob, const uint8_t *head, hansel_fault *fault) {
    const uint8_t *src = head + blob->directory_offset;
    uint32_t i, sum = 0, count = blob->stream_count ? blob->alphabet_size : 0;
    uint64_t bytes = hansel_packed_bytes(count, blob->slot_bits);
    if (blob->directory_offset + bytes > blob->head_bytes)
        return hansel_fail(fault, HANSEL_ERR_TABLE, blob->directory_offset, bytes,
                           blob->head_bytes - blob->directory_offset);
    for (i = 0; i < count; i++) {
        blob->freq[i] = (uint16_t)hansel_packed_load(src, i, blob->slot_bits);
        sum += blob->freq[i];
    }
    /* freq < 1 << slot_bits by its width, so no table entry can overflow. */
    if (count && sum != 1u << blob->slot_bits)
        return hansel_fail(fault, HANSEL_ERR_TABLE, blob->directory_offset, 1u << blob->slot_bits,
                           sum);
    blob->directory_offset += (uint32_t)bytes;
    return HANSEL_OK;
}

/* Where words and raw plane lie. Returns the payload's size. */
static uint64_t place_payload(hansel_blob *blob, uint64_t words) {
    blob->word_count = words;
    blob->raw_start = hansel_align(2 * words);
    return blob->raw_start + hansel_align(blob->weights * blob->raw_bytes);
}

/* Every stream holds its states; all together fill the payload exactly. */
static hansel_status read_directory(hansel_blob *blob, const uint8_t *head, hansel_fault *fault) {
    uint64_t end =
        blob->directory_offset + hansel_packed_bytes(blob->stream_count, blob->length_bits);
    uint64_t words = 0, payload, i;
    if (hansel_align(end) != blob->head_bytes)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_HEAD_BYTES, hansel_align(end),
                           blob->head_bytes);
    for (i = end; i < blob->head_bytes; i++)
        if (head[i]) return hansel_fail(fault, HANSEL_ERR_RESERVED, i, 0, head[i]);
    if (blob->stream_count && blob->length_base < HANSEL_STATE_WORDS)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_LENGTH_BASE,
                           HANSEL_STATE_WORDS, blob->length_base);
    words = (uint64_t)blob->stream_count * blob->length_base;
    if (blob->length_bits)
        for (i = 0; i < blob->stream_count; i++)
            words += hansel_packed_load(head + blob->directory_offset, i, blob->length_bits);
    if (words >= HANSEL_MAX_WORDS)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, blob->directory_offset, HANSEL_MAX_WORDS,
                           words);
    payload = place_payload(blob, words);
    if (blob->head_bytes + payload != blob->blob_bytes)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_BLOB_BYTES,
                           blob->head_bytes + payload, blob->blob_bytes);
    return HANSEL_OK;
}

hansel_status hansel_read_head(hansel_blob *blob, const void *src, size_t src_bytes,
                               hansel_fault *fault) {
    static const uint8_t zero[4] = {0, 0, 0, 0};
    const uint8_t *head = src;
    hansel_status status;
    uint32_t crc, expected;
    memset(blob, 0, sizeof *blob);
    if (src_bytes < HANSEL_FIXED_BYTES)
        return hansel_fail(fault, HANSEL_ERR_TRUNCATED, src_bytes, HANSEL_FIXED_BYTES, src_bytes);
    if (hansel_load32(head) != HANSEL_MAGIC)
        return hansel_fail(fault, HANSEL_ERR_MAGIC, 0, HANSEL_MAGIC, hansel_load32(head));
    if (head[HANSEL_OFFSET_VERSION] < HANSEL_FORMAT_VERSION ||
        head[HANSEL_OFFSET_VERSION] > HANSEL_FORMAT_VERSION_MERGED)
        return hansel_fail(fault, HANSEL_ERR_VERSION, HANSEL_OFFSET_VERSION,
                           HANSEL_FORMAT_VERSION_MERGED, head[HANSEL_OFFSET_VERSION]);
    blob->head_bytes = hansel_load32(head + HANSEL_OFFSET_HEAD_BYTES);
    if (blob->head_bytes % HANSEL_ALIGNMENT ||
        blob->head_bytes < HANSEL_FIXED_BYTES + 8u * head[HANSEL_OFFSET_RANK])
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_OFFSET_HEAD_BYTES,
                           hansel_align(HANSEL_FIXED_BYTES + 8u * head[HANSEL_OFFSET_RANK]),
                           blob->head_bytes);
    if (src_bytes < blob->head_bytes)
        return hansel_fail(fault, HANSEL_ERR_TRUNCATED, src_bytes, blob->head_bytes, src_bytes);
    crc = hansel_crc32c(0, head, HANSEL_OFFSET_HEAD_CRC);
    crc = hansel_crc32c(crc, zero, 4);
    crc = hansel_crc32c(crc, head + HANSEL_OFFSET_BLOB_BYTES,
                        blob->head_bytes - HANSEL_OFFSET_BLOB_BYTES);
    expected = hansel_load32(head + HANSEL_OFFSET_HEAD_CRC);
    if (crc != expected)
        return hansel_fail(fault, HANSEL_ERR_CHECKSUM, HANSEL_OFFSET_HEAD_CRC, expected, crc);
    if ((status = check_fixed(head, fault)) != HANSEL_OK) return status;
    if ((status = read_fields(blob, head, fault)) != HANSEL_OK) return status;
    if ((status = read_frequencies(blob, head, fault)) != HANSEL_OK) return status;
    return read_directory(blob, head, fault);
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
    blob->directory_offset =
        (uint32_t)(HANSEL_FIXED_BYTES + 8 * blob->rank +
                   hansel_packed_bytes(count ? blob->alphabet_size : 0, blob->slot_bits));
    head = hansel_align(blob->directory_offset + hansel_packed_bytes(count, blob->length_bits));
    if (words >= HANSEL_MAX_WORDS || head >= 0xFFFFFFFFu) return HANSEL_ERR_ARGUMENT;
    blob->head_bytes = (uint32_t)head;
    blob->blob_bytes = head + place_payload(blob, words);
    return HANSEL_OK;
}

HANSEL_SMALL hansel_status hansel_write_head(void *dst, size_t dst_bytes, const hansel_blob *blob,
                                             const uint32_t *lengths) {
    uint8_t *head = dst;
    uint32_t i;
    if (dst_bytes < blob->head_bytes) return HANSEL_ERR_CAPACITY;
    memset(head, 0, blob->head_bytes);
    hansel_store32(head + HANSEL_OFFSET_MAGIC, HANSEL_MAGIC);
    head[HANSEL_OFFSET_VERSION] =
        (uint8_t)(blob->row_dims > 1             ? HANSEL_FORMAT_VERSION_MERGED
                  : blob->weights_per_symbol > 1 ? HANSEL_FORMAT_VERSION_FOLDED
                                                 : HANSEL_FORMAT_VERSION);
    for (i = 0; i < FIELD_COUNT; i++)
        memcpy(head + fields[i].offset, (const uint8_t *)blob + fields[i].member, fields[i].size);
    if (blob->row_dims == 1) head[HANSEL_OFFSET_ROW_DIMS] = 0;
    head[HANSEL_OFFSET_CODED_PLANES] = 1;
    head[HANSEL_OFFSET_TABLES] = 1;
    for (i = 0; i < blob->rank; i++)
        hansel_store64(head + HANSEL_OFFSET_SHAPE + 8 * i, blob->shape[i]);
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
