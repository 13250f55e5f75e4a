/*
 * fold.c - several weights to a symbol: FORMAT.md 4.5. The inverse is hansel_unfold() in
 * internal.h, which the decoders and the shaders have each in its own form.
 */
#include "internal.h"

uint32_t hansel_most_folded(const hansel_blob *blob) {
    if (blob->raw_bytes || blob->alphabet_size < 2) return 1;
    return blob->alphabet_size <= 4 ? 4 : blob->alphabet_size <= 16 ? 2 : 1;
}

/* Weights as fields; *over collects bits beyond them. */
static inline hansel_quad to_fields(hansel_quad weights, const hansel_fields *fields,
                                    hansel_quad *over) {
    weights = (weights ^ fields->high) - fields->low;
    *over |= weights & ~fields->mask;
    return weights;
}

/* Elements with even numbers, and above them by `bits` those with odd ones. */
static inline hansel_quad pair_up(hansel_quad a, hansel_quad b, uint32_t bits) {
    return HANSEL_SHUFFLE(a, b, 0, 2, 4, 6) | HANSEL_SHUFFLE(a, b, 1, 3, 5, 7) << bits;
}

/* The symbols of four steps, from 16 * fold weights. */
static inline hansel_quad fold_block(const uint8_t *src, const hansel_fields *fields,
                                     hansel_quad *over) {
    hansel_quad a = to_fields(hansel_load_quad(src), fields, over);
    hansel_quad b = to_fields(hansel_load_quad(src + 16), fields, over);
    hansel_quad symbols = pair_up(a, b, fields->bits);
    if (fields->fold == HANSEL_MAX_FOLD) {
        a = to_fields(hansel_load_quad(src + 32), fields, over);
        b = to_fields(hansel_load_quad(src + 48), fields, over);
        symbols = pair_up(symbols, pair_up(a, b, fields->bits), 2 * fields->bits);
    }
    return symbols;
}

/*
 * The symbols of one row; in place is fine, since no symbol is written before its
 * weights are read. The inverse of hansel_unfold(): subtracting borrows from the
 * next byte only after a weight below origin, whose own byte is then 128 or more, beyond
 * the field.
 */
static uint8_t *fold_row(uint8_t *dst, const uint8_t *src, uint64_t columns,
                         const hansel_blob *blob, hansel_quad *beyond) {
    const hansel_fields f = hansel_fields_of(blob);
    const uint64_t width = 4 * HANSEL_LANES * f.fold; /* four steps at once */
    hansel_quad symbols = {0, 0, 0, 0}, over = *beyond;
    uint8_t last[4 * HANSEL_LANES * HANSEL_MAX_FOLD];
    size_t rest = 0; /* symbols of the last steps, if those are fewer; these are filled up */
    while (columns) {
        if (columns < width) {
            memset(last, (int)blob->origin, sizeof last);
            memcpy(last, src, (size_t)columns);
            src = last;
            rest = (size_t)hansel_symbol_columns(blob, columns);
            columns = width;
        }
        symbols = fold_block(src, &f, &over);
        src += width;
        columns -= width;
        if (rest) break;
        memcpy(dst, &symbols, sizeof symbols);
        dst += sizeof symbols;
    }
    memcpy(dst, &symbols, rest);
    *beyond = over;
    return dst + rest;
}

HANSEL_SMALL size_t hansel_fold(uint8_t *dst, const hansel_blob *blob, uint32_t first,
                                uint32_t count, const uint8_t *src, size_t src_bytes) {
    uint8_t *at = dst;
    hansel_quad beyond = {0, 0, 0, 0};
    uint32_t i;
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
            at = fold_row(at, src, extent.weight_columns, blob, &beyond);
            src += extent.weight_columns;
        }
    }
    return beyond[0] | beyond[1] | beyond[2] | beyond[3] ? 0 : (size_t)(at - dst);
}
