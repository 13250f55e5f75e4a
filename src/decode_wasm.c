/*
 * decode_wasm.c - the loop of decode_group.c for WebAssembly SIMD: eight streams side by side,
 * each with its four states in one register.
 */
#include "decoder.h"

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>

#define UNROLL _Pragma("clang loop unroll(full)")
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

/* x >> from, the lowest bits of that, times 2^shift: without a constant in a register. */
static inline v128_t field(v128_t x, uint32_t from, uint32_t bits, uint32_t shift) {
    x = wasm_i32x4_shl(x, 32 - from - bits);
    __asm__("" : "+r"(x)); /* or the compiler makes it an AND */
    return wasm_u32x4_shr(x, 32 - bits - shift);
}

static inline void find_entries(quad *q, v128_t x, const uint32_t *table) {
    q->entry.all =
        wasm_i32x4_add(field(x, 0, HANSEL_MAX_SLOT_BITS, 2), wasm_i32x4_splat((int32_t)table));
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
    words = wasm_i8x16_swizzle(wasm_v128_load64_zero(cursor), wasm_v128_load(hansel_refills[mask]));
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

/* What unfolding needs. Volatile: read where it is needed, and not kept in registers. */
typedef volatile struct unfolder { v128_t mask, origin; } unfolder;

static inline v128_t unfold(v128_t fields, const unfolder *u) {
    return wasm_i8x16_add(wasm_v128_and(fields, u->mask), u->origin);
}

/* The weights of a step of two streams, whose symbols are in the first two of symbols' u32s. */
static inline void write_step(uint8_t *even, uint8_t *odd, v128_t symbols, uint32_t fold,
                              uint32_t bits, const unfolder *u) {
    if (fold == 1) {
        wasm_v128_store32_lane(even, symbols, 0);
        wasm_v128_store32_lane(odd, symbols, 1);
    } else {
        v128_t next = wasm_u32x4_shr(symbols, bits);
        v128_t low = wasm_i32x4_shuffle(symbols, next, 0, 4, 1, 5);
        if (fold == 2) {
            v128_t weights = unfold(low, u);
            wasm_v128_store64_lane(even, weights, 0);
            wasm_v128_store64_lane(odd, weights, 1);
        } else {
            v128_t high = wasm_u32x4_shr(low, HANSEL_SYMBOL_BITS / 2);
            wasm_v128_store(even, unfold(wasm_i64x2_shuffle(low, high, 0, 2), u));
            wasm_v128_store(odd, unfold(wasm_i64x2_shuffle(low, high, 1, 3), u));
        }
    }
}

void hansel_steps_wasm(hansel_decoder *streams, const uint32_t *table, const hansel_fields *fields,
                       size_t step_count) {
    const uint32_t fold = fields->fold, width = HANSEL_LANES * fold;
    unfolder u;
    v128_t x[HANSEL_WASM_WIDTH];
    quad quads[HANSEL_WASM_WIDTH];
    uint8_t *dst[HANSEL_WASM_WIDTH];
    size_t at;
    uint32_t k;
    u.mask = wasm_i32x4_splat((int32_t)fields->mask);
    u.origin = wasm_i32x4_splat((int32_t)(fields->low ^ fields->high));
    UNROLL
    for (k = 0; k < HANSEL_WASM_WIDTH; k++) {
        x[k] = wasm_v128_load(streams[k].state);
        quads[k].cursor = streams[k].cursor;
        dst[k] = streams[k].dst;
        find_entries(&quads[k], x[k], table);
    }
    for (at = 0; at < width * step_count; at += width) {
        UNROLL
        for (k = 0; k < HANSEL_WASM_WIDTH; k += 2) {
            v128_t even = decode_step_simd(&x[k], &quads[k], table);
            v128_t odd = decode_step_simd(&x[k + 1], &quads[k + 1], table);
            v128_t symbols = wasm_i16x8_narrow_i32x4(even, odd);
            symbols = wasm_u8x16_narrow_i16x8(symbols, symbols);
            write_step(dst[k] + at, dst[k + 1] + at, symbols, fold, fields->bits, &u);
        }
    }
    UNROLL
    for (k = 0; k < HANSEL_WASM_WIDTH; k++) {
        wasm_v128_store(streams[k].state, x[k]);
        streams[k].cursor = quads[k].cursor;
    }
}

#endif
