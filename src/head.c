/* head.c - the head of a blob, of any version, read. FORMAT.md sections 2, 3 and 11. */
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
                  : version == HANSEL_FORMAT_VERSION_1 || (fold != 2 && fold != HANSEL_MAX_FOLD))
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

/* Every stream holds its states. Sets word_count. */
static hansel_status sum_lengths(hansel_blob *blob, const uint8_t *head, uint32_t base_offset,
                                 hansel_fault *fault) {
    uint64_t words = (uint64_t)blob->stream_count * blob->length_base, i;
    if (blob->stream_count && blob->length_base < HANSEL_STATE_WORDS)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, base_offset, HANSEL_STATE_WORDS,
                           blob->length_base);
    if (blob->length_bits)
        for (i = 0; i < blob->stream_count; i++)
            words += hansel_packed_load(head + blob->directory_offset, i, blob->length_bits);
    if (words >= HANSEL_MAX_WORDS)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, blob->directory_offset, HANSEL_MAX_WORDS,
                           words);
    blob->word_count = words;
    return HANSEL_OK;
}

/* All streams together fill the payload exactly. */
static hansel_status read_directory(hansel_blob *blob, const uint8_t *head, hansel_fault *fault) {
    uint64_t end =
        blob->directory_offset + hansel_packed_bytes(blob->stream_count, blob->length_bits);
    uint64_t bytes, i;
    hansel_status status;
    if (hansel_align(end) != blob->head_bytes)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_HEAD_BYTES, hansel_align(end),
                           blob->head_bytes);
    for (i = end; i < blob->head_bytes; i++)
        if (head[i]) return hansel_fail(fault, HANSEL_ERR_RESERVED, i, 0, head[i]);
    status = sum_lengths(blob, head, HANSEL_OFFSET_LENGTH_BASE, fault);
    if (status != HANSEL_OK) return status;
    blob->raw_start = hansel_align(2 * blob->word_count);
    bytes = blob->head_bytes + blob->raw_start + hansel_align(blob->weights * blob->raw_bytes);
    if (bytes != blob->blob_bytes)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_BLOB_BYTES, bytes,
                           blob->blob_bytes);
    return HANSEL_OK;
}

/* Versions 1 to 3. */
static hansel_status read_old(hansel_blob *blob, const uint8_t *head, hansel_fault *fault) {
    hansel_status status = check_fixed(head, fault);
    if (status == HANSEL_OK) status = read_fields(blob, head, fault);
    if (status == HANSEL_OK) status = read_frequencies(blob, head, fault);
    if (status == HANSEL_OK) status = read_directory(blob, head, fault);
    blob->raw_bits = 8 * blob->raw_bytes;
    blob->mantissa_bits = blob->dtype == HANSEL_F16 ? 3 : 0;
    blob->level_count = blob->alphabet_size;
    return status;
}

/* ---- version 4 ----------------------------------------------------------- */

/* What is left of a head to be read. */
typedef struct cursor {
    const uint8_t *head;
    uint32_t at, end;
    int is_short; /* something was read beyond the end, or a number does not end */
} cursor;

static uint32_t read_byte(cursor *c) {
    if (c->at < c->end) return c->head[c->at++];
    c->is_short = 1;
    return 0;
}

static uint64_t read_number(cursor *c) {
    uint64_t value = 0;
    uint32_t shift = 0, byte = 128;
    for (; byte >= 128 && shift < 63; shift += 7) {
        byte = read_byte(c);
        value |= (uint64_t)(byte & 127) << shift;
    }
    c->is_short |= byte >= 128;
    return value;
}

static uint32_t read_bit(cursor *c, uint32_t *bit) {
    uint32_t at = c->at + (*bit >> 3);
    if (at >= c->end) c->is_short = 1;
    return c->is_short ? 0 : c->head[at] >> ((*bit)++ & 7) & 1;
}

/* Logarithms of the levels' frequencies: FORMAT.md section 12. */
static hansel_status read_logs(hansel_blob *blob, cursor *c, hansel_fault *fault) {
    const uint32_t most = (HANSEL_MAX_OCTAVES << blob->log_bits) + 1;
    uint32_t i, k, bit = 0, log = 0;
    for (i = 0; i < blob->level_count; i++) {
        uint32_t high = 0, low = 0, zigzag;
        while (high <= 2 * most && read_bit(c, &bit)) high++;
        for (k = 0; k < blob->rice_bits; k++) low |= read_bit(c, &bit) << k;
        zigzag = high << blob->rice_bits | low;
        log += zigzag & 1 ? ~(zigzag >> 1) : zigzag >> 1;
        if (c->is_short || log > most)
            return hansel_fail(fault, HANSEL_ERR_TABLE, c->at, most, log);
        blob->logs[i] = (uint8_t)log;
    }
    if (!hansel_levels_to_frequencies(blob))
        return hansel_fail(fault, HANSEL_ERR_TABLE, c->at, 1u << blob->slot_bits, 0);
    for (; bit & 7; bit++)
        if (c->head[c->at + (bit >> 3)] >> (bit & 7) & 1)
            return hansel_fail(fault, HANSEL_ERR_RESERVED, c->at + (bit >> 3), 0, 1);
    c->at += bit >> 3;
    return HANSEL_OK;
}

/* The next byte or number, refused where it is cut off or not from low to high. */
static int take(uint32_t *dst, cursor *c, int is_byte, uint64_t low, uint64_t high,
                hansel_fault *fault) {
    uint32_t offset = c->at;
    uint64_t value = is_byte ? read_byte(c) : read_number(c);
    *dst = (uint32_t)value;
    if (!c->is_short && value >= low && value <= high) return 1;
    hansel_fail(fault, HANSEL_ERR_HEADER, offset, value < low ? low : high, value);
    return 0;
}

/* Lossless floats: what their symbols mean. */
static hansel_status read_window(hansel_blob *blob, cursor *c, hansel_fault *fault) {
    uint32_t offset = c->at, byte;
    uint32_t least = blob->dtype == HANSEL_F16 ? 3 : 0;
    if (!take(&byte, c, 1, least, 0x2F, fault)) return HANSEL_ERR_HEADER;
    blob->mantissa_bits = byte & 15;
    blob->sign = byte >> 4;
    if (blob->mantissa_bits < least || blob->mantissa_bits > HANSEL_MAX_MANTISSA_BITS)
        return hansel_fail(fault, HANSEL_ERR_HEADER, offset, HANSEL_MAX_MANTISSA_BITS, byte);
    if (!take(&blob->window_base, c, 0, 0, HANSEL_WINDOW_COUNTS - 1, fault))
        return HANSEL_ERR_HEADER;
    hansel_count_raw_bits(blob);
    return HANSEL_OK;
}

/* What streams there are, and of what symbols. */
static hansel_status read_model(hansel_blob *blob, cursor *c, hansel_fault *fault) {
    uint32_t byte, cut, offset = c->at;
    hansel_status status;
    if (!take(&byte, c, 1, 0, 255, fault)) return HANSEL_ERR_HEADER;
    blob->slot_bits = HANSEL_MIN_SLOT_BITS + (byte & 7);
    blob->log_bits = HANSEL_MIN_LOG_BITS + (byte >> 3 & 3);
    blob->rice_bits = byte >> 5;
    if (blob->slot_bits > HANSEL_MAX_SLOT_BITS)
        return hansel_fail(fault, HANSEL_ERR_HEADER, offset, HANSEL_MAX_SLOT_BITS, blob->slot_bits);
    if (!take(&blob->tail_steps, c, 1, 0, HANSEL_MAX_TAIL_BITS, fault) ||
        !take(&cut, c, 0, 2, 0xFFFFFFFFu, fault))
        return HANSEL_ERR_HEADER;
    blob->pieces = cut & 1 ? cut >> 1 : 1;
    blob->rows_per_stream = cut & 1 ? 1 : cut >> 1;
    if (cut == 3 || !hansel_count_streams(blob))
        return hansel_fail(fault, HANSEL_ERR_HEADER, offset + 2, 1, cut);
    if (!take(&blob->length_base, c, 0, 0, 0xFFFFFFFFu, fault) ||
        !take(&blob->length_bits, c, 1, 0, HANSEL_MAX_LENGTH_BITS, fault))
        return HANSEL_ERR_HEADER;
    if ((status = read_logs(blob, c, fault)) != HANSEL_OK) return status;
    blob->tail_bits = hansel_bits_of(blob->alphabet_size - 1);
    if (blob->tail_bits * blob->tail_steps > HANSEL_MAX_TAIL_BITS)
        return hansel_fail(fault, HANSEL_ERR_HEADER, offset + 1, HANSEL_MAX_TAIL_BITS,
                           blob->tail_bits * blob->tail_steps);
    return HANSEL_OK;
}

/* From the levels on. */
static hansel_status read_levels(hansel_blob *blob, cursor *c, hansel_fault *fault) {
    uint32_t offset = c->at, most;
    if (!take(&blob->level_count, c, 0, blob->weights != 0,
              blob->weights ? 1u << HANSEL_SYMBOL_BITS / blob->weights_per_symbol : 0, fault))
        return HANSEL_ERR_HEADER;
    if (blob->level_count < 2 && blob->weights_per_symbol > 1)
        return hansel_fail(fault, HANSEL_ERR_HEADER, offset, 2, blob->level_count);
    blob->alphabet_size = blob->level_count;
    if (!blob->level_count) return HANSEL_OK;
    offset = c->at;
    if (!take(&blob->origin, c, 1, 0, 255, fault)) return HANSEL_ERR_HEADER;
    /* The largest symbol's field is still one of the dtype's. */
    most = (blob->dtype == HANSEL_F16 ? 32u : 256u) << blob->mantissa_bits;
    if (blob->raw_bytes && (blob->origin + blob->level_count > 256 ||
                            blob->window_base + blob->origin + blob->level_count > most))
        return hansel_fail(fault, HANSEL_ERR_HEADER, offset, most,
                           blob->window_base + blob->origin);
    return blob->level_count > 1 ? read_model(blob, c, fault) : HANSEL_OK;
}

static hansel_status read_new(hansel_blob *blob, const uint8_t *head, hansel_fault *fault) {
    cursor c = {head, HANSEL_MIN_HEAD_BYTES, blob->head_bytes, 0};
    uint32_t byte, low;
    uint64_t i, end, used;
    hansel_status status = HANSEL_OK;
    blob->payload_crc = hansel_load32(head + HANSEL_OFFSET_4_PAYLOAD_CRC);
    if (!take(&byte, &c, 1, 1, 255, fault)) return HANSEL_ERR_HEADER;
    blob->dtype = byte & 15;
    blob->mode = byte >> 4 & 1;
    blob->weights_per_symbol = 1u << (byte >> 5 & 3);
    if (byte >> 7 || blob->weights_per_symbol > HANSEL_MAX_FOLD)
        return hansel_fail(fault, HANSEL_ERR_RESERVED, HANSEL_MIN_HEAD_BYTES, 0, byte);
    low = blob->mode == HANSEL_GRID ? HANSEL_BF16 : HANSEL_F8_E5M2;
    if (!hansel_dtype_bytes(blob->dtype) || blob->dtype > low)
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_MIN_HEAD_BYTES, low, blob->dtype);
    blob->raw_bytes = blob->mode == HANSEL_GRID ? 0 : hansel_dtype_raw_bytes(blob->dtype);
    if (blob->raw_bytes && blob->weights_per_symbol > 1)
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_MIN_HEAD_BYTES, 1,
                           blob->weights_per_symbol);
    if (!take(&byte, &c, 1, 0, 255, fault)) return HANSEL_ERR_HEADER;
    blob->rank = byte & 15;
    blob->row_dims = byte >> 4 ? byte >> 4 : 1;
    if (blob->rank > HANSEL_MAX_RANK || byte >> 4 == 1 ||
        (blob->row_dims > 1 && blob->row_dims >= blob->rank))
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_MIN_HEAD_BYTES + 1, HANSEL_MAX_RANK,
                           byte);
    for (i = 0; i < blob->rank; i++) blob->shape[i] = read_number(&c);
    if (c.is_short || !hansel_matrix_view(blob))
        return hansel_fail(fault, HANSEL_ERR_HEADER, HANSEL_MIN_HEAD_BYTES + 2, HANSEL_MAX_WEIGHTS,
                           blob->shape[0]);
    if (blob->mode == HANSEL_GRID) {
        uint32_t bits = 0;
        for (i = 0; i < 32; i += 8) bits |= read_byte(&c) << i;
        if (c.is_short || bits < 0x00800000u || bits >= 0x7F800000u)
            return hansel_fail(fault, HANSEL_ERR_HEADER, c.at - 4, 1, bits);
        memcpy(&blob->step, &bits, 4);
    } else if (blob->raw_bytes) {
        status = read_window(blob, &c, fault);
    }
    if (status == HANSEL_OK) status = read_levels(blob, &c, fault);
    if (status != HANSEL_OK) return status;
    blob->directory_offset = c.at;
    used = (uint64_t)blob->stream_count * blob->length_bits;
    end = c.at + (used + 7) / 8;
    if (end + (end & 1) != blob->head_bytes)
        return hansel_fail(fault, HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_4_HEAD_BYTES, end + (end & 1),
                           blob->head_bytes);
    if (used & 7 && head[end - 1] >> (used & 7))
        return hansel_fail(fault, HANSEL_ERR_RESERVED, end - 1, 0, head[end - 1]);
    if (end & 1 && head[end]) return hansel_fail(fault, HANSEL_ERR_RESERVED, end, 0, head[end]);
    status = sum_lengths(blob, head, c.at, fault);
    hansel_place_raw_plane(blob);
    return status;
}

hansel_status hansel_read_head(hansel_blob *blob, const void *src, size_t src_bytes,
                               hansel_fault *fault) {
    static const uint8_t zero[4] = {0, 0, 0, 0};
    const uint8_t *head = src;
    uint32_t crc, expected, version, crc_offset, least, unit, offset;
    memset(blob, 0, sizeof *blob);
    if (src_bytes < HANSEL_MIN_HEAD_BYTES)
        return hansel_fail(fault, HANSEL_ERR_TRUNCATED, src_bytes, HANSEL_MIN_HEAD_BYTES,
                           src_bytes);
    if (hansel_load32(head) != HANSEL_MAGIC)
        return hansel_fail(fault, HANSEL_ERR_MAGIC, 0, HANSEL_MAGIC, hansel_load32(head));
    version = head[HANSEL_OFFSET_VERSION];
    if (version < HANSEL_FORMAT_VERSION_1 || version > HANSEL_FORMAT_VERSION)
        return hansel_fail(fault, HANSEL_ERR_VERSION, HANSEL_OFFSET_VERSION, HANSEL_FORMAT_VERSION,
                           version);
    blob->version = version;
    if (version == HANSEL_FORMAT_VERSION) {
        offset = HANSEL_OFFSET_4_HEAD_BYTES;
        least = HANSEL_MIN_HEAD_BYTES + 2;
        unit = 2;
        crc_offset = HANSEL_OFFSET_4_HEAD_CRC;
        blob->head_bytes = hansel_load32(head + offset) & HANSEL_MAX_HEAD_BYTES;
    } else {
        if (src_bytes < HANSEL_FIXED_BYTES)
            return hansel_fail(fault, HANSEL_ERR_TRUNCATED, src_bytes, HANSEL_FIXED_BYTES,
                               src_bytes);
        offset = HANSEL_OFFSET_HEAD_BYTES;
        least = HANSEL_FIXED_BYTES + 8u * head[HANSEL_OFFSET_RANK];
        unit = HANSEL_ALIGNMENT;
        crc_offset = HANSEL_OFFSET_HEAD_CRC;
        blob->head_bytes = hansel_load32(head + offset);
    }
    if (blob->head_bytes % unit || blob->head_bytes < least)
        return hansel_fail(fault, HANSEL_ERR_HEADER, offset, (least + unit - 1) / unit * unit,
                           blob->head_bytes);
    if (src_bytes < blob->head_bytes)
        return hansel_fail(fault, HANSEL_ERR_TRUNCATED, src_bytes, blob->head_bytes, src_bytes);
    crc = hansel_crc32c(0, head, crc_offset);
    crc = hansel_crc32c(crc, zero, 4);
    crc = hansel_crc32c(crc, head + crc_offset + 4, blob->head_bytes - crc_offset - 4);
    expected = hansel_load32(head + crc_offset);
    if (crc != expected) return hansel_fail(fault, HANSEL_ERR_CHECKSUM, crc_offset, expected, crc);
    return version == HANSEL_FORMAT_VERSION ? read_new(blob, head, fault)
                                            : read_old(blob, head, fault);
}
