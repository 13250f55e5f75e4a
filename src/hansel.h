/*
 * hansel.h - entropy-coded neural-network weights: one tensor becomes one *blob*, a run of bytes
 * that describes itself (FORMAT.md), and a blob becomes a tensor again.
 *
 * Synopsis
 *
 *   Decode the src_bytes bytes of a blob at src:
 *
 *     hansel_blob blob;
 *     status = hansel_read_head(&blob, src, src_bytes, NULL);  - dtype, rank, shape, weights
 *     dst_bytes = blob.weights * hansel_dtype_bytes(blob.dtype);
 *     status = hansel_decode(dst, dst_bytes, blob.dtype, src, src_bytes, NULL);
 *
 *   Encode a matrix of floats at 4 bits a weight:
 *
 *     hansel_tensor tensor = {HANSEL_F32, 2, {rows, columns}, weights};
 *     hansel_options options = {.target = HANSEL_TARGET_BITS, .goal = 4};
 *     dst_bytes = hansel_encode_room(&tensor, &options);
 *     status = hansel_encode(dst, dst_bytes, &blob_bytes, &tensor, &options, NULL);
 *
 *   Also: hansel_decode_symbols, hansel_status_name, hansel_version. example.c is a whole program,
 *   and hansel_slices.h has the parts of all this, for tensors that memory does not hold at once.
 *
 * Rules: no function allocates, keeps a global or retains a pointer; any thread; multi-byte values
 * in memory are little-endian, and so is the host. Functions that read a blob are safe for
 * untrusted bytes; other arguments are the caller's promise, checked where a check is cheap
 * (HANSEL_ERR_ARGUMENT). The same input and options give the same bytes on every machine: floating
 * point must be the standard's, in all of a program (gcc's -ffast-math changes it for every file
 * when it links).
 */
#ifndef HANSEL_H
#define HANSEL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "Hansel needs a little-endian host"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Of the library; FORMAT.md counts versions of the format by itself. */
#define HANSEL_VERSION_MAJOR 1
#define HANSEL_VERSION_MINOR 4
#define HANSEL_VERSION_PATCH 0
#define HANSEL_VERSION \
    (10000 * HANSEL_VERSION_MAJOR + 100 * HANSEL_VERSION_MINOR + HANSEL_VERSION_PATCH)

/* The HANSEL_VERSION that the library was compiled as. */
uint32_t hansel_version(void);

/* Stable numbers; web/core/errors.js carries the same names. FORMAT.md section 8. */
typedef enum hansel_status {
    HANSEL_OK = 0,
    HANSEL_ERR_ARGUMENT = 1,    /* a caller's argument is impossible */
    HANSEL_ERR_TRUNCATED = 2,   /* fewer bytes than the format needs */
    HANSEL_ERR_TRAILING = 3,    /* more bytes than the format allows */
    HANSEL_ERR_MAGIC = 4,       /* not a Hansel blob */
    HANSEL_ERR_VERSION = 5,     /* a version this library does not know */
    HANSEL_ERR_RESERVED = 6,    /* a reserved field or padding byte is not zero */
    HANSEL_ERR_HEADER = 7,      /* head fields out of range or contradictory */
    HANSEL_ERR_CHECKSUM = 8,    /* CRC-32C mismatch */
    HANSEL_ERR_TABLE = 9,       /* frequencies do not sum to 1 << slot_bits */
    HANSEL_ERR_DIRECTORY = 10,  /* stream lengths impossible or not filling the payload */
    HANSEL_ERR_CORRUPT = 11,    /* a stream does not end as it must */
    HANSEL_ERR_NOT_FINITE = 12, /* NaN or infinity among weights to be quantized */
    HANSEL_ERR_RANGE = 13,      /* a grid index outside -128..127, saturation not allowed */
    HANSEL_ERR_CAPACITY = 14,   /* dst too small */
    HANSEL_ERR_HESSIAN = 15     /* a Hessian that is not finite or not positive semidefinite */
} hansel_status;

/* "HANSEL_ERR_TRUNCATED" and so on; "" for a number that is no status. */
const char *hansel_status_name(hansel_status status);

/* The numbers of FORMAT.md section 2. */
typedef enum hansel_dtype {
    HANSEL_F32 = 1,
    HANSEL_F16 = 2,
    HANSEL_BF16 = 3,
    HANSEL_I8 = 4,
    HANSEL_U8 = 5,
    HANSEL_F8_E4M3 = 6,
    HANSEL_F8_E5M2 = 7
} hansel_dtype;

/* Grid: step * q, q from -128 to 127. */
typedef enum hansel_mode { HANSEL_GRID = 0, HANSEL_LOSSLESS = 1 } hansel_mode;

/* What a status is about: position is a byte offset, a stream, a field's
 * offset in the head or a weight's index, as each function says. */
typedef struct hansel_fault {
    uint64_t position, expected, found;
} hansel_fault;

#define HANSEL_MAX_RANK 8u

/*
 * One blob's head, parsed: what it holds, and how it is coded. JavaScript reads it too: after a
 * change, `make structs`.
 */
typedef struct hansel_blob {
    uint64_t shape[HANSEL_MAX_RANK]; /* elements; rank entries used, the rest 0 */
    uint64_t rows, columns, weights; /* the matrix view, FORMAT.md 3.1 */
    uint64_t blob_bytes;             /* the whole blob */
    uint64_t word_count;             /* 16-bit words of all streams */
    float step;                      /* grid step, 0 when lossless */
    uint32_t head_bytes;             /* the payload starts here; an even number */
    uint32_t payload_crc;            /* CRC-32C of everything after the head */
    uint32_t dtype, mode, rank;
    uint32_t raw_bytes;                /* that hold a weight's raw bits: 0, 1 or 3 */
    uint32_t slot_bits;                /* the frequencies sum to 1 << slot_bits */
    uint32_t origin;                   /* byte of alphabet index 0 */
    uint32_t alphabet_size;            /* 0 (no weights), 1 (all equal, no streams) .. 256 */
    uint32_t tail_bits, tail_steps;    /* the last steps of a stream, FORMAT.md 4.4 */
    uint32_t length_bits, length_base; /* directory coding, FORMAT.md 3.3 */
    uint32_t pieces, rows_per_stream;  /* partition, FORMAT.md 3.1 */
    uint32_t stream_count;
    uint32_t directory_offset;   /* in the head, bytes */
    uint32_t weights_per_symbol; /* 1, 2 or 4: FORMAT.md 4.5 */
    uint16_t freq[256];          /* by alphabet index */
    uint32_t row_dims;           /* the last dimensions, that a row is made of */
    uint64_t raw_start;          /* the raw plane, in bytes from the payload's start */
    uint32_t version;            /* of the head: 1 to 4 */
    uint32_t raw_bits;           /* of a weight in the raw plane */
    uint32_t mantissa_bits;      /* lossless floats: in a symbol, FORMAT.md section 5 */
    uint32_t window_base, sign;  /* ... what symbols count from; 0 raw, 1 all +, 2 all - */
    uint32_t level_count;        /* of a weight; alphabet_size, unless they are folded */
    uint32_t log_bits;           /* levels' logarithms count 2^-log_bits, FORMAT.md section 12 */
    uint32_t rice_bits;          /* of their differences */
    uint8_t logs[256];           /* by level; 0: it never comes */
} hansel_blob;

/* ---- decoding ---------------------------------------------------------- */

/*
 * hansel_read_head() - parse and check the head of a blob.
 *
 *   src, src_bytes  the blob's first bytes; bytes behind the head are ignored
 *   fault           receives position, expected and found on error; may be NULL
 *
 * Returns HANSEL_OK; HANSEL_ERR_TRUNCATED with fault->expected the bytes that
 * are needed (first 16, then head_bytes, of versions 1 to 3 first 56: a reader that does not
 * know the size asks again); MAGIC, VERSION, RESERVED, HEADER, TABLE or
 * DIRECTORY with fault->position the field's offset; CHECKSUM. On error *blob
 * is unspecified. The payload is not looked at. FORMAT.md sections 2, 3 and 11.
 */
hansel_status hansel_read_head(hansel_blob *blob, const void *src, size_t src_bytes,
                               hansel_fault *fault);

/* Bytes of one element; 0 for an unknown dtype. */
uint32_t hansel_dtype_bytes(uint32_t dtype);

/*
 * hansel_decode() - a whole blob to weights: head, checksums, padding, all streams, and what
 * dtype asks for.
 *
 *   dst        receives the weights, row-major; any alignment
 *   dst_bytes  exactly blob.weights * hansel_dtype_bytes(dtype)
 *   dtype      the blob's own; for a grid any of F32, F16 and BF16 (FORMAT.md section 6), or I8
 *              for grid indices
 *   src        one whole blob; 4-byte aligned
 *   src_bytes  its exact size: one more is HANSEL_ERR_TRAILING
 *   fault      as hansel_read_head() fills it; for HANSEL_ERR_CORRUPT position is the stream, for
 *              HANSEL_ERR_TRUNCATED and TRAILING expected is the blob's size; may be NULL
 *
 * Returns HANSEL_OK, HANSEL_ERR_ARGUMENT for a dtype that the blob has not got or another
 * dst_bytes, or what is wrong with the blob: hansel_read_head()'s statuses, TRUNCATED, TRAILING,
 * CHECKSUM, RESERVED (padding), CORRUPT. On error dst holds unspecified bytes; nothing outside it
 * is written. Stack: two decoding tables and a little more (40 KiB). FORMAT.md sections 4 to 6.
 */
hansel_status hansel_decode(void *dst, size_t dst_bytes, uint32_t dtype, const void *src,
                            size_t src_bytes, hansel_fault *fault);

/* Like hansel_decode(), but dst receives blob.weights bytes as they were coded: signed grid
 * indices, one-byte weights, or the coded plane of lossless floats (FORMAT.md section 5). */
hansel_status hansel_decode_symbols(uint8_t *dst, size_t dst_bytes, const void *src,
                                    size_t src_bytes, hansel_fault *fault);

/* ---- encoding ---------------------------------------------------------- */

typedef struct hansel_tensor {
    uint32_t dtype, rank;
    uint64_t shape[HANSEL_MAX_RANK]; /* elements, first dimension first; rank entries are read */
    const void *data;                /* row-major; any alignment */
} hansel_tensor;

/* What a grid's step is searched for, if it is not given. */
typedef enum hansel_target {
    HANSEL_TARGET_BITS = 1, /* the smallest that costs at most goal bits a weight, all included */
    HANSEL_TARGET_ERROR = 2 /* the largest whose relative RMS error is at most goal */
} hansel_target;

/* How to code a tensor. All zero but one of step, target with goal, and lossless is fine. */
typedef struct hansel_options {
    float step;                  /* of the grid; 0: see target */
    uint32_t target;             /* 0, HANSEL_TARGET_BITS or HANSEL_TARGET_ERROR */
    double goal;                 /* finite, above 0 */
    uint32_t lossless;           /* boolean, goes before step and target; I8, U8 and F8 know no
                                  * other way */
    uint32_t clamp;              /* boolean: weights beyond the grid become its ends */
    uint32_t stream_length;      /* symbols; 0 chooses: 1024 to 4096 by size, 4096 to 16384 for
                                  * small tensors, 16384 without loss */
    uint32_t slot_bits;          /* 8..12; 0 chooses */
    uint32_t weights_per_symbol; /* 1, 2 or 4, or fewer if there are too many levels; 0 chooses */
} hansel_options;

/* Bytes that hansel_encode() wants of dst: the largest blob, and room to work. 0 for a tensor that
 * the format or this machine cannot hold. */
size_t hansel_encode_room(const hansel_tensor *tensor, const hansel_options *options);

/*
 * hansel_encode() - code one tensor.
 *
 *   dst         the blob begins here; 16-byte aligned, as malloc() gives it
 *   dst_bytes   hansel_encode_room() or more; what lies behind the blob is unspecified
 *   blob_bytes  receives the blob's size
 *   fault       for NOT_FINITE and RANGE position is the weight's index; may be NULL
 *
 * Returns HANSEL_OK; HANSEL_ERR_CAPACITY for too small a dst; HANSEL_ERR_ARGUMENT for options that
 * are impossible or contradict each other, or a tensor that the format cannot hold; in grid mode
 * NOT_FINITE, and RANGE for a weight beyond the grid (without clamp) or a goal that no step
 * reaches. FORMAT.md sections 3 to 6.
 */
hansel_status hansel_encode(void *dst, size_t dst_bytes, size_t *blob_bytes,
                            const hansel_tensor *tensor, const hansel_options *options,
                            hansel_fault *fault);

#ifdef __cplusplus
}
#endif

#endif
