/*
 * crc32c.c - CRC-32C (Castagnoli polynomial, reflected: 0x82F63B78).
 *
 * A nibble at a time through 16 constants. Of long inputs, only what is left of them after blocks
 * of 16 bytes were pushed ahead: with y = x^128, modulo the polynomial
 *
 *     y^79 = y^75 + y^71 + y^58 + y^18 + y^12 + y + 1,
 *
 * so a block may be replaced by its copies, added 4, 8, 21, 61, 67, 78 and 79 blocks further on.
 * No tables, and no multiplication without carry, which WebAssembly has not got (S. Russell,
 * "Chorba: A novel CRC32 implementation", 2024, arXiv:2412.16398; this polynomial was found by
 * trying all of eight terms, and is the shortest).
 */
#include "internal.h"

#define CRC_POLYNOMIAL 0x82F63B78u
#define CRC_REACH 79u        /* blocks */
#define CRC_CHUNK 128u       /* blocks pushed ahead between two moves of what is remembered */
#define CRC_LONG_BYTES 2048u /* where it pays; more than CRC_REACH blocks */

typedef uint64_t crc_block __attribute__((vector_size(16)));

static const uint32_t crc_nibble[16] = {0x00000000u, 0x105EC76Fu, 0x20BD8EDEu, 0x30E349B1u,
                                        0x417B1DBCu, 0x5125DAD3u, 0x61C69362u, 0x7198540Du,
                                        0x82F63B78u, 0x92A8FC17u, 0xA24BB5A6u, 0xB21572C9u,
                                        0xC38D26C4u, 0xD3D3E1ABu, 0xE330A81Au, 0xF36E6F75u};

static uint32_t crc_short(uint32_t crc, const uint8_t *src, size_t src_bytes) {
    while (src_bytes--) {
        crc ^= *src++;
        crc = crc >> 4 ^ crc_nibble[crc & 15];
        crc = crc >> 4 ^ crc_nibble[crc & 15];
    }
    return crc;
}

static inline crc_block load_block(const uint8_t *src) {
    crc_block block;
    memcpy(&block, src, sizeof block);
    return block;
}

/* What blocks before this place have pushed to it. */
static inline crc_block pushed_to(const crc_block *at) {
    return at[-4] ^ at[-8] ^ at[-21] ^ at[-61] ^ at[-67] ^ at[-78] ^ at[-79];
}

static uint32_t crc_long(uint32_t crc, const uint8_t *src, size_t src_bytes) {
    crc_block pushed[CRC_REACH + CRC_CHUNK], rest[CRC_REACH];
    crc_block *const next = pushed + CRC_REACH, *to = next;
    size_t left = src_bytes / sizeof *next - CRC_REACH, count, i;
    memset(pushed, 0, sizeof pushed);
    memcpy(pushed, &crc, 4); /* only the first block is 79 ahead of this */
    do {
        count = left < CRC_CHUNK ? left : CRC_CHUNK;
        if (!left) { /* the last ones stay */
            memset(next, 0, CRC_REACH * sizeof *next);
            count = CRC_REACH;
            to = rest;
        }
        for (i = 0; i < count; i++, src += sizeof *next)
            to[i] = load_block(src) ^ pushed_to(next + i);
        memmove(pushed, pushed + count, CRC_REACH * sizeof *next);
        left -= count;
    } while (to == next);
    crc = crc_short(0, (const uint8_t *)rest, sizeof rest);
    return crc_short(crc, src, src_bytes % sizeof *next);
}

uint32_t hansel_crc32c(uint32_t crc, const void *src, size_t src_bytes) {
    return ~(src_bytes < CRC_LONG_BYTES ? crc_short : crc_long)(~crc, src, src_bytes);
}

/* a * b mod the polynomial; the highest bit is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (; b; b <<= 1) {
        product ^= a & (0u - (b >> 31));
        a = a >> 1 ^ (CRC_POLYNOMIAL & (0u - (a & 1)));
    }
    return product;
}

/* Bytes behind it multiply a CRC by x^8 each; what initial and final xor add cancels out. */
uint32_t hansel_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_bytes) {
    uint32_t power = 0x00800000u; /* x^8 */
    for (; second_bytes; second_bytes >>= 1) {
        if (second_bytes & 1) first = multiply(first, power);
        power = multiply(power, power);
    }
    return first ^ second;
}
