/* native_decode.c - hansel_decode gives what the functions it is made of give, and stays in dst. */
#include "native.h"

#define FENCE 64 /* bytes before and behind dst */

/* Decodes a vector as dtype, to an odd address. */
static void check_dtype(const bytes *file, uint32_t dtype, const uint8_t *wanted, size_t count) {
    size_t size = count * hansel_dtype_bytes(dtype), i;
    uint8_t *room = allocate(FENCE + 1 + size + FENCE), *dst = room + FENCE + 1;
    int is_whole = 1;
    memset(room, 0xA5, FENCE + 1 + size + FENCE);
    check(hansel_decode(dst, size, dtype, file->at, file->count, NULL) == HANSEL_OK &&
              !memcmp(dst, wanted, size),
          "as dtype %u", dtype);
    for (i = 0; i < FENCE; i++) is_whole &= room[i] == 0xA5 && dst[size + i] == 0xA5;
    check(is_whole && room[FENCE] == 0xA5, "dtype %u: written outside dst", dtype);
    check(hansel_decode(dst, size + 1, dtype, file->at, file->count, NULL) == HANSEL_ERR_ARGUMENT &&
              (!size || hansel_decode(dst, size - 1, dtype, file->at, file->count, NULL) ==
                            HANSEL_ERR_ARGUMENT),
          "dtype %u: a dst of another size", dtype);
    free(room);
}

/* Symbols and values are what hansel_decode_symbols and, of those, hansel_join or
 * hansel_dequantize found. */
void check_decode(const hansel_blob *blob, const bytes *file, const uint8_t *symbols,
                  const uint8_t *values) {
    size_t count = (size_t)blob->weights;
    uint8_t *other = allocate(4 * count);
    uint32_t dtype;
    check_dtype(file, blob->dtype, values, count);
    for (dtype = 0; dtype <= HANSEL_F8_E5M2 + 1; dtype++) {
        if (dtype == blob->dtype) continue;
        if (blob->mode == HANSEL_GRID && dtype && dtype <= HANSEL_I8) {
            if (dtype < HANSEL_I8) hansel_dequantize(other, dtype, symbols, count, blob->step);
            check_dtype(file, dtype, dtype < HANSEL_I8 ? other : symbols, count);
            continue;
        }
        check(hansel_decode(other, count * hansel_dtype_bytes(dtype), dtype, file->at, file->count,
                            NULL) == HANSEL_ERR_ARGUMENT,
              "as dtype %u", dtype);
    }
    free(other);
}
