/*
 * wasm.c - what the WebAssembly module shows: the functions of hansel_slices.h named in
 * the Makefile's EXPORTS, and these proofs that web/core/codec.js reads the structs
 * where they are. No allocator: memory from __heap_base on is the caller's.
 */
#include "hansel_slices.h"

#define PROVE(type, field, offset) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field)

PROVE(hansel_fault, position, 0);
PROVE(hansel_fault, expected, 8);
PROVE(hansel_fault, found, 16);

PROVE(hansel_blob, shape, 0);
PROVE(hansel_blob, rows, 64);
PROVE(hansel_blob, columns, 72);
PROVE(hansel_blob, weights, 80);
PROVE(hansel_blob, blob_bytes, 88);
PROVE(hansel_blob, word_count, 96);
PROVE(hansel_blob, step, 104);
PROVE(hansel_blob, head_bytes, 108);
PROVE(hansel_blob, payload_crc, 112);
PROVE(hansel_blob, dtype, 116);
PROVE(hansel_blob, mode, 120);
PROVE(hansel_blob, rank, 124);
PROVE(hansel_blob, raw_bytes, 128);
PROVE(hansel_blob, slot_bits, 132);
PROVE(hansel_blob, origin, 136);
PROVE(hansel_blob, alphabet_size, 140);
PROVE(hansel_blob, tail_bits, 144);
PROVE(hansel_blob, tail_steps, 148);
PROVE(hansel_blob, length_bits, 152);
PROVE(hansel_blob, length_base, 156);
PROVE(hansel_blob, pieces, 160);
PROVE(hansel_blob, rows_per_stream, 164);
PROVE(hansel_blob, stream_count, 168);
PROVE(hansel_blob, directory_offset, 172);
PROVE(hansel_blob, weights_per_symbol, 176);
PROVE(hansel_blob, freq, 180);
PROVE(hansel_blob, row_dims, 692);
PROVE(hansel_blob, raw_start, 696);
_Static_assert(sizeof(hansel_blob) == 704, "hansel_blob");

PROVE(hansel_stats, sum_squares, 0);
PROVE(hansel_stats, sum_error, 8);
PROVE(hansel_stats, max_error, 16);
PROVE(hansel_stats, low, 24);
PROVE(hansel_stats, high, 28);
PROVE(hansel_stats, saturated, 36);
_Static_assert(sizeof(hansel_stats) == 40, "hansel_stats");

PROVE(hansel_search, step, 40);
PROVE(hansel_search, best, 44);
_Static_assert(sizeof(hansel_search) == 56, "hansel_search");
