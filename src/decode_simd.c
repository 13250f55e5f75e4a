/*
 * decode_simd.c - decode.c's twin for WebAssembly SIMD: eight streams side by side,
 * each with its four states in one register. One stream alone is a chain of
 * dependent instructions some 50 cycles long per step; eight hide that.
 *
 * It decodes whole steps as long as nothing can go wrong, and leaves the rest to
 * decode.c: the end of each row that is not a multiple of four, the tail, and all
 * checks. So it may not read outside src, and need not notice anything else.
 */
#include "decoder.h"

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>

#define UNROLL _Pragma("clang loop unroll(full)")
#define SMALL __attribute__((minsize)) /* not hot: no unrolling */
#define SPLAT(value) wasm_i32x4_const_splat(value)

/*
 * A stream's next step. Volatile, since the engine computes at once what goes to
 * memory; what stays in registers it puts off to the end of the loop's body, and
 * then has twice as many values to keep as there are registers. And reading lanes
 * from memory is cheaper than extracting them.
 */
typedef volatile struct quad {
    union {
        v128_t all;
        const uint32_t *lane[HANSEL_LANES];
    } entry; /* addresses of table entries */
    const uint8_t *cursor;
} quad;
_Static_assert(sizeof(const uint32_t *) == 4, "addresses have 32 bits");

/*
 * REFILL(mask) - for i8x16.swizzle: the next words go to the lanes in mask, in
 * order, each to the low half of its lane. 128 gives a zero byte.
 */
#define BIT(mask, lane) ((mask) >> (lane) & 1)
#define WORD(mask, lane, index) \
    BIT(mask, lane) ? 2 * (index) : 128, BIT(mask, lane) ? 2 * (index) + 1 : 128, 128, 128
#define REFILL(mask)                                          \
    {                                                         \
        WORD(mask, 0, 0), WORD(mask, 1, BIT(mask, 0)),        \
        WORD(mask, 2, BIT(mask, 0) + BIT(mask, 1)),           \
        WORD(mask, 3, BIT(mask, 0) + BIT(mask, 1) + BIT(mask, 2)) \
    }
static const uint8_t refills[16][16] __attribute__((aligned(16))) = {
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
SMALL const uint32_t *hansel_wide_table(uint32_t wide[HANSEL_MAX_SLOTS],
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

/* x >> from, the lowest bits of that, times 2^shift: without a constant in a register. */
static inline v128_t field(v128_t x, uint32_t from, uint32_t bits, uint32_t shift) {
    x = wasm_i32x4_shl(x, 32 - from - bits);
    __asm__("" : "+r"(x)); /* or the compiler makes it an AND */
    return wasm_u32x4_shr(x, 32 - bits - shift);
}

static inline void find_entries(quad *q, v128_t x, const uint32_t *table) {
    q->entry.all = wasm_i32x4_add(field(x, 0, HANSEL_MAX_SLOT_BITS, 2),
                                  wasm_i32x4_splat((int32_t)table));
}

/* Four lanes; returns their symbols. */
static inline v128_t rans_step_simd(v128_t *x, const quad *q) {
    const uint32_t *e0 = q->entry.lane[0], *e1 = q->entry.lane[1];
    const uint32_t *e2 = q->entry.lane[2], *e3 = q->entry.lane[3];
    v128_t entry = wasm_v128_load32_zero(e0);
    entry = wasm_v128_load32_lane(e1, entry, 1);
    entry = wasm_v128_load32_lane(e2, entry, 2);
    entry = wasm_v128_load32_lane(e3, entry, 3);
    *x = wasm_i32x4_add(wasm_i32x4_mul(wasm_v128_and(entry, SPLAT(HANSEL_FIELD_MASK)),
                                       wasm_u32x4_shr(*x, HANSEL_MAX_SLOT_BITS)),
                        wasm_u32x4_shr(entry, HANSEL_BIAS_SHIFT));
    return field(entry, HANSEL_SYMBOL_SHIFT, 8, 0);
}

/* Reads eight bytes. A short lane's x << 16 | word is more than x; the other lanes get 0. */
static inline void rans_refill_simd(v128_t *x, quad *q) {
    const uint8_t *cursor = q->cursor;
    v128_t high = wasm_u32x4_shr(*x, HANSEL_WORD_BITS), is_short, words;
    uint32_t mask;
    __asm__("" : "+r"(high)); /* or the compiler makes it x < 2^16, which costs twice as much */
    is_short = wasm_i32x4_eq(high, SPLAT(0));
    mask = wasm_i32x4_bitmask(is_short);
    words = wasm_i8x16_swizzle(wasm_v128_load64_zero(cursor), wasm_v128_load(refills[mask]));
    q->cursor = cursor + 2 * __builtin_popcount(mask);
    *x = wasm_u32x4_max(
        *x, wasm_v128_or(wasm_v128_and(wasm_i32x4_shl(*x, HANSEL_WORD_BITS), is_short), words));
}

static inline v128_t decode_step_simd(v128_t *x, quad *q, const uint32_t *table) {
    v128_t symbols = rans_step_simd(x, q);
    rans_refill_simd(x, q);
    find_entries(q, *x, table);
    return symbols;
}

/* step_count steps of HANSEL_GROUP streams: 8 * step_count bytes can be read at each cursor. */
static __attribute__((noinline)) void decode_steps_simd(hansel_decoder *streams,
                                                        const uint32_t *table,
                                                        size_t step_count) {
    v128_t x[HANSEL_GROUP];
    quad quads[HANSEL_GROUP];
    uint8_t *dst[HANSEL_GROUP];
    size_t at;
    uint32_t k;
    UNROLL for (k = 0; k < HANSEL_GROUP; k++) {
        x[k] = wasm_v128_load(streams[k].state);
        quads[k].cursor = streams[k].cursor;
        dst[k] = streams[k].dst;
        find_entries(&quads[k], x[k], table);
    }
    for (at = 0; at < HANSEL_LANES * step_count; at += HANSEL_LANES) {
        UNROLL for (k = 0; k < HANSEL_GROUP; k += 2) {
            v128_t even = decode_step_simd(&x[k], &quads[k], table);
            v128_t odd = decode_step_simd(&x[k + 1], &quads[k + 1], table);
            v128_t symbols = wasm_i16x8_narrow_i32x4(even, odd);
            symbols = wasm_u8x16_narrow_i16x8(symbols, symbols);
            wasm_v128_store32_lane(dst[k] + at, symbols, 0);
            wasm_v128_store32_lane(dst[k + 1] + at, symbols, 1);
        }
    }
    UNROLL for (k = 0; k < HANSEL_GROUP; k++) {
        wasm_v128_store(streams[k].state, x[k]);
        streams[k].cursor = quads[k].cursor;
    }
}

/* Full steps before the tail or the first row's last step, whichever is first. */
SMALL static uint64_t full_steps(const hansel_decoder *d) {
    uint64_t row_steps = (d->column_count - d->column) / HANSEL_LANES;
    if (d->column_count % HANSEL_LANES == 0) return d->step_count;
    return d->step_count < row_steps ? d->step_count : row_steps;
}

SMALL void hansel_decode_group(hansel_decoder *streams, uint32_t count, const uint32_t *table,
                               const uint8_t *src_end) {
    uint32_t k;
    if (count < HANSEL_GROUP / 2) return; /* not faster */
    /* Too few? The first once more, to the same place. */
    for (k = count; k < HANSEL_GROUP; k++) streams[k] = streams[0];
    for (;;) {
        uint64_t steps = full_steps(&streams[0]);
        for (k = 0; k < HANSEL_GROUP; k++) {
            hansel_decoder *d = &streams[k];
            uint64_t full = full_steps(d);
            uint64_t safe = (uint64_t)(src_end - d->cursor) / (2 * HANSEL_LANES);
            if (steps > full) steps = full;
            if (steps > safe) steps = safe;
        }
        if (!steps) return;
        decode_steps_simd(streams, table, (size_t)steps);
        for (k = 0; k < HANSEL_GROUP; k++) {
            hansel_decoder *d = &streams[k];
            d->dst += HANSEL_LANES * steps;
            d->column = (d->column + HANSEL_LANES * steps) % d->column_count;
            d->step_count -= steps;
        }
    }
}

#endif
