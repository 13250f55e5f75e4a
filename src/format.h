/*
 * format.h - every number of the Hansel blob, in one place (but HANSEL_MAX_RANK, which hansel.h
 * needs).
 *
 * FORMAT.md explains them; shaders/ mirror the ones marked (mirrored) under
 * the same names, and tests/api/mirror.test.js fails when they drift.
 */
#ifndef HANSEL_FORMAT_H
#define HANSEL_FORMAT_H

#define HANSEL_MAGIC 0x4C534E48u /* "HNSL", little-endian */
#define HANSEL_FORMAT_VERSION_1 1u
#define HANSEL_FORMAT_VERSION_FOLDED 2u /* several weights to a symbol */
#define HANSEL_FORMAT_VERSION_MERGED 3u /* several dimensions to a row */
#define HANSEL_FORMAT_VERSION 4u        /* what is written: numbers of as many bytes as they need */

/* rANS (FORMAT.md section 4). */
#define HANSEL_LANES 4u         /* (mirrored) states per stream: one quad */
#define HANSEL_WORD_BITS 16u    /* (mirrored) one refill */
#define HANSEL_STATE_LOW 65536u /* (mirrored) a state lives in [2^16, 2^32) */
#define HANSEL_MIN_SLOT_BITS 8u
#define HANSEL_MAX_SLOT_BITS 12u
#define HANSEL_MAX_SLOTS 4096u /* (mirrored) 1 << HANSEL_MAX_SLOT_BITS */
#define HANSEL_STATE_WORDS 8u  /* (mirrored) initial states of a stream, in words */
#define HANSEL_SYMBOL_BITS 8u  /* (mirrored) shared by the weights of a symbol */
#define HANSEL_MAX_FOLD 4u     /* weights in a symbol, at most */

/* In a GPU's memory: FORMAT.md appendix A. */
#define HANSEL_CODE_BITS 12u   /* of a prefix code, at most */
#define HANSEL_SINGLE_BITS 8u  /* of one weight, at most: four such codes fit 32 bits */
#define HANSEL_MAX_CODES 4096u /* 1 << HANSEL_CODE_BITS */
#define HANSEL_CODE_ROWS 4u    /* of a stream */
#define HANSEL_BLOCK_ROWS 256u
#define HANSEL_BLOCK_STREAMS 64u /* HANSEL_BLOCK_ROWS / HANSEL_CODE_ROWS, interleaved */

/* One table entry per slot (mirrored): bias << 20 | symbol << 12 | freq. bias is on
 * top, so that one shift gets it: it is wanted first. */
#define HANSEL_SYMBOL_SHIFT 12u
#define HANSEL_BIAS_SHIFT 20u
#define HANSEL_FIELD_MASK 4095u

/* The head of version 4 (FORMAT.md section 11). */
#define HANSEL_MIN_HEAD_BYTES 16u       /* before its fields; tells head_bytes in every version */
#define HANSEL_MAX_HEAD_BYTES 0xFFFFFFu /* of version 4 */
#define HANSEL_OFFSET_4_HEAD_BYTES 5u
#define HANSEL_OFFSET_4_HEAD_CRC 8u
#define HANSEL_OFFSET_4_PAYLOAD_CRC 12u
#define HANSEL_MAX_MANTISSA_BITS 7u
#define HANSEL_WINDOW_COUNTS 32768u /* of fields with so many; see hansel_window_count() */
#define HANSEL_MIN_LOG_BITS 1u
#define HANSEL_MAX_LOG_BITS 4u
#define HANSEL_MAX_RICE_BITS 7u
#define HANSEL_MAX_OCTAVES 15u /* between the weights of levels */

/* Fixed part of the head of versions 1 to 3 (FORMAT.md section 2); the shape follows. */
#define HANSEL_OFFSET_MAGIC 0u
#define HANSEL_OFFSET_VERSION 4u
#define HANSEL_OFFSET_DTYPE 5u
#define HANSEL_OFFSET_MODE 6u
#define HANSEL_OFFSET_RANK 7u
#define HANSEL_OFFSET_HEAD_BYTES 8u
#define HANSEL_OFFSET_HEAD_CRC 12u
#define HANSEL_OFFSET_BLOB_BYTES 16u
#define HANSEL_OFFSET_PAYLOAD_CRC 24u
#define HANSEL_OFFSET_STEP 28u
#define HANSEL_OFFSET_CODED_PLANES 32u
#define HANSEL_OFFSET_TABLES 33u
#define HANSEL_OFFSET_WEIGHTS_PER_SYMBOL 34u
#define HANSEL_OFFSET_RAW_BYTES 35u
#define HANSEL_OFFSET_SLOT_BITS 36u
#define HANSEL_OFFSET_ORIGIN 37u
#define HANSEL_OFFSET_ALPHABET 38u
#define HANSEL_OFFSET_TAIL_BITS 40u
#define HANSEL_OFFSET_TAIL_STEPS 41u
#define HANSEL_OFFSET_LENGTH_BITS 42u
#define HANSEL_OFFSET_ROW_DIMS 43u
#define HANSEL_OFFSET_LENGTH_BASE 44u
#define HANSEL_OFFSET_PIECES 48u
#define HANSEL_OFFSET_ROWS_PER_STREAM 52u
#define HANSEL_OFFSET_SHAPE 56u
#define HANSEL_FIXED_BYTES 56u

#define HANSEL_ALIGNMENT 16u /* versions 1 to 3: head, words, raw plane: each padded to this */
#define HANSEL_MAX_WEIGHTS ((uint64_t)1 << 48)
#define HANSEL_MAX_COLUMNS ((uint64_t)1 << 34)
#define HANSEL_MAX_STREAMS ((uint64_t)1 << 31)
#define HANSEL_MAX_WORDS ((uint64_t)1 << 32)
#define HANSEL_MAX_LENGTH_BITS 31u
#define HANSEL_MAX_STEP 3e38            /* as the encoder chooses */
#define HANSEL_MIN_STEP 1.17549435e-38f /* smallest normal: a GPU may flush less to 0 */
#define HANSEL_MAX_TAIL_BITS 31u        /* tail_bits * tail_steps at most */

#endif
