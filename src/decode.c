/*
 * decode.c - the reference decoder: scalar, plain, the document. FORMAT.md section 4.
 *
 * A stream is decoded in steps of four symbols, one per lane. Every lane has
 * its own rANS state x in [2^16, 2^32) (J. Duda, "Asymmetric numeral systems",
 * 2013; the word-aligned, interleaved form is F. Giesen, "Interleaved entropy
 * coders", 2014). A step is, for each lane,
 *
 *     entry = table[x mod 2^slot_bits]
 *     x     = freq * (x >> slot_bits) + bias
 *     if (x < 2^16) x = x << 16 | next word            "refill"
 *
 * and since freq * (x >> 12) >= 2^4, one word is always enough. The last
 * tail_steps steps lie in the final states themselves, as plain digits.
 *
 * decode_group.c is a faster twin for the long middle part of streams.
 * The shaders mirror rans_step, rans_refill, decode_part, decode_steps (there decode_step),
 * tail_symbol, tail_step and decode_stream, in that order; tests/api/mirror.test.js sees to it.
 */
#include "decoder.h"

void hansel_build_table(uint32_t table[HANSEL_MAX_SLOTS], const hansel_blob *blob) {
    uint32_t slot = 0, index, bias;
    for (index = 0; index < blob->alphabet_size; index++) {
        uint32_t symbol = (hansel_symbol_origin(blob) + index) & 255, freq = blob->freq[index];
        for (bias = 0; bias < freq; bias++)
            table[slot++] = bias << HANSEL_BIAS_SHIFT | symbol << HANSEL_SYMBOL_SHIFT | freq;
    }
}

void hansel_read_cursors(uint32_t *cursors, const hansel_blob *blob, const void *head,
                         uint32_t first, uint32_t count, uint32_t start) {
    const uint8_t *directory = (const uint8_t *)head + blob->directory_offset;
    uint32_t i;
    for (i = 0; i < count; i++) {
        cursors[i] = start;
        start += blob->length_base +
                 hansel_packed_load(directory, (uint64_t)first + i, blob->length_bits);
    }
    cursors[count] = start;
}

/* One lane, one symbol. */
static inline uint32_t rans_step(uint32_t *state, const uint32_t *table, uint32_t slot_bits) {
    uint32_t entry = table[*state & ((1u << slot_bits) - 1)];
    *state = (entry & HANSEL_FIELD_MASK) * (*state >> slot_bits) + (entry >> HANSEL_BIAS_SHIFT);
    return entry >> HANSEL_SYMBOL_SHIFT & 255;
}

/* Never reads past the end: a stream that wants to is corrupt, and says so. */
static inline void rans_refill(uint32_t *state, hansel_decoder *d) {
    if (*state >= HANSEL_STATE_LOW) return;
    if (d->cursor == d->end) {
        d->bad = 1;
        return;
    }
    *state = *state << HANSEL_WORD_BITS | hansel_load16(d->cursor);
    d->cursor += 2;
}

/* A step of the first lane_count lanes; the others rest. Returns their symbols as bytes, the first
 * lane's lowest. */
static inline uint32_t decode_part(hansel_decoder *d, const uint32_t *table, uint32_t slot_bits,
                                   uint32_t lane_count) {
    uint32_t symbols = 0, lane;
    for (lane = 0; lane < lane_count; lane++)
        symbols |= rans_step(&d->state[lane], table, slot_bits) << 8 * lane;
    for (lane = 0; lane < lane_count; lane++) rans_refill(&d->state[lane], d);
    return symbols;
}

/* The weights of a full step. */
static inline void write_step(uint8_t *dst, uint32_t symbols, const hansel_fields *fields) {
    uint32_t k;
    for (k = 0; k < fields->fold; k++, dst += HANSEL_LANES)
        hansel_store32(dst, hansel_unfold(fields, symbols, k));
}

/* The first count weights of a step. */
static HANSEL_SMALL void write_part(uint8_t *dst, uint32_t symbols, uint32_t count,
                                    const hansel_fields *fields) {
    uint32_t i;
    if (count >> fields->width_log2)
        write_step(dst, symbols, fields);
    else
        for (i = 0; i < count; i++)
            dst[i] = (uint8_t)(hansel_unfold(fields, symbols, i / HANSEL_LANES) >>
                               8 * (i % HANSEL_LANES));
}

/*
 * decode_steps() - decode_part of four lanes, step_count times, where the caller knows
 * that 4 * step_count words are left: no step takes more than four, so nothing
 * is checked, and the refill has no branch:
 *
 *     short = x < 2^16                   0 or 1
 *     x = x << (16 * short) | (word & -short);  cursor += short
 *
 * The word is read whether or not it is needed. dst receives symbols.
 */
static void decode_steps(uint8_t *dst, hansel_decoder *d, const uint32_t *table, uint32_t slot_bits,
                         uint64_t step_count) {
    uint32_t x0 = d->state[0], x1 = d->state[1], x2 = d->state[2], x3 = d->state[3];
    const uint8_t *cursor = d->cursor;
#define REFILL(x)                                                                               \
    do {                                                                                        \
        uint32_t is_short = (x) < HANSEL_STATE_LOW;                                             \
        (x) = (x) << (HANSEL_WORD_BITS * is_short) | (hansel_load16(cursor) & (0u - is_short)); \
        cursor += 2 * is_short;                                                                 \
    } while (0)
    for (; step_count; step_count--, dst += HANSEL_LANES) {
        dst[0] = (uint8_t)rans_step(&x0, table, slot_bits);
        dst[1] = (uint8_t)rans_step(&x1, table, slot_bits);
        dst[2] = (uint8_t)rans_step(&x2, table, slot_bits);
        dst[3] = (uint8_t)rans_step(&x3, table, slot_bits);
        REFILL(x0);
        REFILL(x1);
        REFILL(x2);
        REFILL(x3);
    }
#undef REFILL
    d->state[0] = x0;
    d->state[1] = x1;
    d->state[2] = x2;
    d->state[3] = x3;
    d->cursor = cursor;
}

/* Steps whose folded symbols wait to be unfolded. */
#define BUFFER_STEPS 64u

void hansel_finish_row(hansel_decoder *d, const uint32_t *table, uint32_t slot_bits,
                       const hansel_fields *fields) {
    const hansel_fields f = *fields; /* what is stored cannot be this */
    const uint32_t width = 1u << f.width_log2;
    uint8_t buffer[HANSEL_LANES * BUFFER_STEPS];
    do {
        uint64_t columns = d->column_count - d->column, i;
        uint64_t steps = (uint64_t)(d->end - d->cursor) / (2 * HANSEL_LANES);
        if (steps > d->step_count) steps = d->step_count;
        if (steps > columns >> f.width_log2) steps = columns >> f.width_log2;
        if (!steps) { /* the row's last step, or one for which the words may not last */
            uint32_t count = columns < width ? (uint32_t)columns : width;
            uint32_t lane_count = count < HANSEL_LANES ? count : HANSEL_LANES;
            write_part(d->dst, decode_part(d, table, slot_bits, lane_count), count, &f);
            steps = 1;
            columns = count;
        } else {
            if (f.fold == 1) {
                decode_steps(d->dst, d, table, slot_bits, steps);
            } else {
                if (steps > BUFFER_STEPS) steps = BUFFER_STEPS;
                decode_steps(buffer, d, table, slot_bits, steps);
                for (i = 0; i < steps; i++)
                    write_step(d->dst + (i << f.width_log2),
                               hansel_load32(buffer + HANSEL_LANES * i), &f);
            }
            columns = steps << f.width_log2;
        }
        d->dst += columns;
        d->step_count -= steps;
        d->column += columns;
    } while (d->step_count && d->column < d->column_count && !d->bad);
    if (d->column == d->column_count) d->column = 0;
}

/* One digit of a final state: an alphabet index. FORMAT.md 4.4. */
static inline uint32_t tail_symbol(uint32_t *digits, const hansel_blob *blob, uint32_t *bad) {
    uint32_t index = *digits & ((1u << blob->tail_bits) - 1);
    *digits >>= blob->tail_bits;
    *bad |= index >= blob->alphabet_size;
    return (hansel_symbol_origin(blob) + index) & 255;
}

/* One step of the tail; returns as decode_part(). */
static inline uint32_t tail_step(uint32_t *state, const hansel_blob *blob, uint32_t lane_count,
                                 uint32_t *bad) {
    uint32_t symbols = 0, lane;
    for (lane = 0; lane < lane_count; lane++)
        symbols |= tail_symbol(&state[lane], blob, bad) << 8 * lane;
    return symbols;
}

static void open_stream(hansel_decoder *d, uint8_t *dst, const hansel_blob *blob,
                        hansel_extent extent, const uint8_t *src, const uint8_t *end) {
    uint64_t steps = extent.step_count;
    uint32_t lane;
    d->bad = 0;
    for (lane = 0; lane < HANSEL_LANES; lane++) {
        d->state[lane] = hansel_load32(src + 4 * lane);
        d->bad |= d->state[lane] < HANSEL_STATE_LOW;
    }
    d->cursor = src + 2 * HANSEL_STATE_WORDS;
    d->end = end;
    d->dst = dst;
    d->column = 0;
    d->column_count = extent.weight_columns;
    d->tail_count = steps < blob->tail_steps ? (uint32_t)steps : blob->tail_steps;
    d->step_count = steps - d->tail_count;
}

/* All steps that are left. Returns 0 when the stream does not end as it must. */
static int decode_stream(hansel_decoder *d, const hansel_blob *blob, const uint32_t *table,
                         const hansel_fields *fields) {
    const uint32_t width = 1u << fields->width_log2;
    uint32_t lane, bad = 0;
    if (d->cursor > d->end) d->bad = 1;
    while (d->step_count && !d->bad) hansel_finish_row(d, table, blob->slot_bits, fields);
    if (d->bad || d->cursor != d->end) return 0;
    for (lane = 0; lane < HANSEL_LANES; lane++) d->state[lane] -= HANSEL_STATE_LOW;
    for (; d->tail_count; d->tail_count--) {
        uint64_t columns = d->column_count - d->column;
        uint32_t count = columns < width ? (uint32_t)columns : width;
        uint32_t lane_count = count < HANSEL_LANES ? count : HANSEL_LANES;
        write_part(d->dst, tail_step(d->state, blob, lane_count, &bad), count, fields);
        d->dst += count;
        d->column = columns == count ? 0 : d->column + count;
    }
    return !bad && !(d->state[0] | d->state[1] | d->state[2] | d->state[3]);
}

hansel_status hansel_decode_streams(uint8_t *dst, size_t dst_bytes, const hansel_blob *blob,
                                    const uint32_t *table, const uint32_t *cursors, uint32_t first,
                                    uint32_t count, const void *src, size_t src_bytes,
                                    hansel_fault *fault) {
    const hansel_fields fields = hansel_fields_of(blob);
    uint32_t wide[HANSEL_MAX_SLOTS];
    const uint32_t *wide_table;
    const uint8_t *start_word = src;
    hansel_decoder streams[HANSEL_GROUP];
    uint64_t start, symbols;
    uint32_t i, k, group;
    if (first > blob->stream_count || count > blob->stream_count - first)
        return HANSEL_ERR_ARGUMENT;
    if (!blob->stream_count) { /* all equal: any slice looks the same */
        if (dst_bytes > blob->weights || src_bytes) return HANSEL_ERR_ARGUMENT;
        if (dst_bytes) memset(dst, (int)blob->origin, dst_bytes);
        return HANSEL_OK;
    }
    start = hansel_stream_start(blob, first);
    symbols = hansel_stream_start(blob, first + count) - start;
    if (symbols != dst_bytes) return HANSEL_ERR_ARGUMENT;
    if (src_bytes != 2 * (uint64_t)(cursors[count] - cursors[0])) return HANSEL_ERR_ARGUMENT;
    wide_table = hansel_wide_table(wide, table, blob->slot_bits);
    for (i = 0; i < count; i += group) {
        group = count - i < HANSEL_GROUP ? count - i : HANSEL_GROUP;
        for (k = 0; k < group; k++) {
            const uint8_t *words = start_word + 2 * (size_t)(cursors[i + k] - cursors[0]);
            const uint8_t *end = start_word + 2 * (size_t)(cursors[i + k + 1] - cursors[0]);
            hansel_extent extent = hansel_stream_extent(blob, first + i + k);
            uint8_t *row = dst + (hansel_stream_start(blob, first + i + k) - start);
            open_stream(&streams[k], row, blob, extent, words, end);
        }
        hansel_decode_group(streams, group, wide_table, &fields, start_word + src_bytes);
        for (k = 0; k < group; k++) {
            if (decode_stream(&streams[k], blob, table, &fields)) continue;
            if (fault) {
                fault->position = (uint64_t)first + i + k;
                fault->expected = cursors[i + k + 1] - cursors[i + k];
                fault->found = 0;
            }
            return HANSEL_ERR_CORRUPT;
        }
    }
    return HANSEL_OK;
}
