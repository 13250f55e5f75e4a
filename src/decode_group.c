/*
 * decode_group.c - decode.c's twin for many streams side by side. A step of one stream is a chain
 * of dependent instructions some 50 cycles long; streams beside it hide that.
 *
 * It decodes whole steps as long as nothing can go wrong, lets decode.c finish each row that
 * has a step of fewer columns at its end, and leaves the rest to it: the tail, and all
 * checks. So it may not read outside src, and need not notice anything else. The loops
 * themselves are in decode_wasm.c (wasm), decode_sse_neon.c and decode_avx2.c.
 */
#include "decoder.h"

#if HANSEL_GROUP > 1u

/* clang-format off */
#define BIT(mask, lane) ((mask) >> (lane) & 1)
#define WORD(mask, lane, index) \
    BIT(mask, lane) ? 2 * (index) : 128, BIT(mask, lane) ? 2 * (index) + 1 : 128, 128, 128
#define REFILL(mask)                                          \
    {                                                         \
        WORD(mask, 0, 0), WORD(mask, 1, BIT(mask, 0)),        \
        WORD(mask, 2, BIT(mask, 0) + BIT(mask, 1)),           \
        WORD(mask, 3, BIT(mask, 0) + BIT(mask, 1) + BIT(mask, 2)) \
    }
/* clang-format on */
const uint8_t hansel_refills[16][16] __attribute__((aligned(16))) = {
    REFILL(0), REFILL(1), REFILL(2),  REFILL(3),  REFILL(4),  REFILL(5),  REFILL(6),  REFILL(7),
    REFILL(8), REFILL(9), REFILL(10), REFILL(11), REFILL(12), REFILL(13), REFILL(14), REFILL(15),
};

/*
 * With p < 12 slot bits, x = freq * (x >> p) + bias. Let r be the lowest 12 - p bits of
 * x >> p, then x >> p = (x >> 12 << 12 - p) + r, and so
 *
 *     x = (freq << 12 - p) * (x >> 12) + (freq * r + bias)
 *
 * which is a step with 12 slot bits: the slot is r << p | slot, and no field overflows,
 * since freq < 2^p. So the loop needs to know of 12 only.
 */
HANSEL_SMALL const uint32_t *hansel_wide_table(uint32_t wide[HANSEL_MAX_SLOTS],
                                               const uint32_t *table, uint32_t slot_bits) {
    uint32_t shift = HANSEL_MAX_SLOT_BITS - slot_bits, slot_count = 1u << slot_bits, r, slot;
    if (!shift) return table;
    for (r = 0; r < 1u << shift; r++) {
        for (slot = 0; slot < slot_count; slot++) {
            uint32_t entry = table[slot], freq = entry & HANSEL_FIELD_MASK;
            wide[r << slot_bits | slot] =
                entry - freq + (freq << shift) + (freq * r << HANSEL_BIAS_SHIFT);
        }
    }
    return wide;
}

/* Full steps before the tail or the row's last step, whichever is first. */
static HANSEL_SMALL uint64_t full_steps(const hansel_decoder *d, uint32_t width_log2) {
    uint64_t row_steps = (d->column_count - d->column) >> width_log2;
    if (d->column_count << (64 - width_log2) == 0) return d->step_count;
    return d->step_count < row_steps ? d->step_count : row_steps;
}

/* A loop for streams side by side. */
typedef struct kernel {
    void (*steps)(hansel_decoder *streams, const uint32_t *table, const hansel_fields *fields,
                  size_t step_count);
    uint32_t width, block; /* streams; steps come in multiples of block */
} kernel;

/* The fastest for count streams; width 0 where decode.c is. */
static kernel choose_kernel(uint32_t count) {
    kernel none = {NULL, 0, 0};
#if defined(__wasm_simd128__)
    kernel wasm = {hansel_steps_wasm, HANSEL_WASM_WIDTH, 1};
    return count < HANSEL_WASM_WIDTH / 2 ? none : wasm;
#else
    kernel quads = {hansel_steps_quads, HANSEL_QUADS_WIDTH, HANSEL_BLOCK_STEPS};
    hansel_variant variant = hansel_best_variant();
    if (count < HANSEL_QUADS_WIDTH / 2 || variant == HANSEL_SCALAR) return none;
#if defined(__x86_64__)
    if (count > HANSEL_QUADS_WIDTH && variant == HANSEL_AVX2) {
        kernel avx2 = {hansel_steps_avx2, HANSEL_AVX2_WIDTH, HANSEL_BLOCK_STEPS};
        return avx2;
    }
#endif
    return quads;
#endif
}

HANSEL_SMALL void hansel_decode_group(hansel_decoder *streams, uint32_t count,
                                      const uint32_t *table, const hansel_fields *fields,
                                      const uint8_t *src_end) {
    kernel loop = choose_kernel(count);
    uint32_t k;
    if (!loop.width) return;
    /* Too few? The first once more, to the same place. */
    for (k = count; k < loop.width; k++) streams[k] = streams[0];
    for (;;) {
        uint64_t steps = (uint64_t)-1;
        int are_ends = 1; /* short ones, of rows */
        for (k = 0; k < loop.width; k++) {
            const hansel_decoder *d = &streams[k];
            uint64_t full = full_steps(d, fields->width_log2);
            uint64_t safe = (uint64_t)(src_end - d->cursor) / (2 * HANSEL_LANES);
            if (steps > full) steps = full;
            if (steps > safe) steps = safe;
            are_ends &= d->step_count && full < loop.block && !d->bad && d->cursor <= d->end;
        }
        steps -= steps % loop.block;
        if (steps)
            loop.steps(streams, table, fields, (size_t)steps);
        else if (!are_ends)
            break;
        for (k = 0; k < loop.width; k++) {
            hansel_decoder *d = &streams[k];
            if (!steps) {
                hansel_finish_row(d, table, HANSEL_MAX_SLOT_BITS, fields);
                continue;
            }
            d->dst += steps << fields->width_log2;
            d->column = (d->column + (steps << fields->width_log2)) % d->column_count;
            d->step_count -= steps;
        }
    }
    if (count > loop.width)
        hansel_decode_group(streams + loop.width, count - loop.width, table, fields, src_end);
}

#endif
