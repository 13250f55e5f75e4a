/*
 * crc32c.c - CRC-32C (Castagnoli polynomial, reflected: 0x82F63B78).
 *
 * Short inputs go a nibble at a time through 16 constants. Long ones go eight
 * bytes a round ("slicing by 8": M. Kounavis, F. Berry, "A Systematic Approach
 * to Building High Performance Software-Based CRC Generators", 2005) through
 * tables built on the stack: 2,048 steps, repaid after a few kilobytes, and no
 * 8 KiB of constants for a page to download.
 */
#include "layout.h"

#define CRC_POLYNOMIAL 0x82F63B78u
#define CRC_LONG_BYTES 8192u /* where the tables have paid for themselves */

static const uint32_t crc_nibble[16] = {
    0x00000000u, 0x105EC76Fu, 0x20BD8EDEu, 0x30E349B1u, 0x417B1DBCu, 0x5125DAD3u,
    0x61C69362u, 0x7198540Du, 0x82F63B78u, 0x92A8FC17u, 0xA24BB5A6u, 0xB21572C9u,
    0xC38D26C4u, 0xD3D3E1ABu, 0xE330A81Au, 0xF36E6F75u};

static uint32_t crc_short(uint32_t crc, const uint8_t *src, size_t src_bytes) {
    while (src_bytes--) {
        crc ^= *src++;
        crc = crc >> 4 ^ crc_nibble[crc & 15];
        crc = crc >> 4 ^ crc_nibble[crc & 15];
    }
    return crc;
}

static uint32_t crc_long(uint32_t crc, const uint8_t *src, size_t src_bytes) {
    uint32_t table[8][256];
    uint32_t i, k;
    for (i = 0; i < 256; i++) {
        uint32_t value = i;
        for (k = 0; k < 8; k++) value = value >> 1 ^ (CRC_POLYNOMIAL & (0u - (value & 1)));
        table[0][i] = value;
    }
    for (i = 0; i < 256; i++)
        for (k = 1; k < 8; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
    for (; src_bytes >= 8; src += 8, src_bytes -= 8) {
        uint32_t low = crc ^ hansel_load32(src), high = hansel_load32(src + 4);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
              table[4][low >> 24] ^ table[3][high & 255] ^ table[2][high >> 8 & 255] ^
              table[1][high >> 16 & 255] ^ table[0][high >> 24];
    }
    return crc_short(crc, src, src_bytes);
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
