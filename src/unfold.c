/*
 * unfold.c - weights from symbols that hold several of them: FORMAT.md 4.5. The inverse is
 * hansel_fold() in encode.c; the shaders' unfold() does the same for four columns.
 */
#include "decoder.h"

/* Elements of a[0 .. count / 2 - 1] and of the other half, in turn. */
static inline void zip(hansel_quad *a, uint32_t count) {
    hansel_quad zipped[HANSEL_MAX_FOLD];
    uint32_t k, half = count / 2;
    for (k = 0; k < half; k++) {
        zipped[2 * k] = HANSEL_SHUFFLE(a[k], a[k + half], 0, 4, 1, 5);
        zipped[2 * k + 1] = HANSEL_SHUFFLE(a[k], a[k + half], 2, 6, 3, 7);
    }
    memcpy(a, zipped, count * sizeof *a);
}

/* Weight by weight: the last of a row. */
static HANSEL_SMALL void unfold_rest(uint8_t *dst, const uint8_t *src, uint64_t columns,
                                     uint32_t origin, uint32_t fold) {
    const uint32_t bits = HANSEL_SYMBOL_BITS / fold, width = HANSEL_LANES * fold;
    uint32_t k, n;
    for (; columns; columns -= n, dst += n, src += HANSEL_LANES) {
        uint8_t symbols[HANSEL_LANES] = {0, 0, 0, 0};
        n = columns < width ? (uint32_t)columns : width;
        memcpy(symbols, src, n < HANSEL_LANES ? n : HANSEL_LANES);
        for (k = 0; k < n; k++)
            dst[k] = (uint8_t)((symbols[k % HANSEL_LANES] >> k / HANSEL_LANES * bits &
                                ((1u << bits) - 1)) + origin);
    }
}

/*
 * unfold_row() - weights from the symbols of a row: field k of a symbol of lane l in step i is the
 * weight of column 4 * (i * fold + k) + l, less origin. A step at a time its fields are as many
 * times four bytes, to each of which origin is added without a carry into the next.
 */
static inline void unfold_row(uint8_t *dst, const uint8_t *src, uint64_t columns, uint32_t origin,
                              uint32_t fold) {
    const uint32_t bits = HANSEL_SYMBOL_BITS / fold, width = HANSEL_LANES * fold;
    const uint32_t fields = ((1u << bits) - 1) * 0x01010101u;
    const uint32_t low = (origin & 127) * 0x01010101u, high = (origin & 128) * 0x01010101u;
    uint32_t k, n;
    for (; columns >= 4 * width; columns -= 4 * width) { /* four steps at once */
        hansel_quad symbols, weights[HANSEL_MAX_FOLD];
        memcpy(&symbols, src, 16);
        for (k = 0; k < fold; k++) weights[k] = (((symbols >> k * bits) & fields) + low) ^ high;
        for (n = 1; n < fold; n *= 2) zip(weights, fold);
        memcpy(dst, weights, 16 * fold);
        src += 16;
        dst += 16 * fold;
    }
    unfold_rest(dst, src, columns, origin, fold);
}

void hansel_unfold(uint8_t *dst, const uint8_t *src, const hansel_blob *blob,
                   const hansel_extent *extent) {
    uint64_t row;
    for (row = 0; row < extent->row_count; row++) {
        if (blob->weights_per_symbol == 2)
            unfold_row(dst, src, extent->weight_columns, blob->origin, 2);
        else
            unfold_row(dst, src, extent->weight_columns, blob->origin, HANSEL_MAX_FOLD);
        dst += extent->weight_columns;
        src += extent->column_count;
    }
}
