/*
 * hansel.h - the Hansel codec: entropy-coded neural-network weights.
 *
 * One tensor becomes one self-describing *blob* (FORMAT.md): a head with the
 * shape, the frequency table and the stream directory, then the rANS words of
 * many independent streams, then, for some lossless dtypes, raw bytes.
 *
 *   decode   hansel_read_head  hansel_build_table  hansel_read_cursors
 *            hansel_decode_streams  hansel_dequantize | hansel_join
 *            hansel_decode_symbols (all of the above for a blob in memory)
 *   encode   hansel_scan  hansel_quantize | hansel_split  hansel_histogram
 *            hansel_fit  hansel_plan  hansel_encode_streams  hansel_write_head
 *            hansel_search_* (the step for a wanted rate or error)
 *            hansel_encode_blob (all of the above for a tensor in memory)
 *
 * Everything works on slices, so neither side needs a whole tensor at once.
 * Rules for the whole file: no function allocates, keeps a global or retains a
 * pointer; any thread; multi-byte values in memory are the host's own order,
 * which must be little-endian. Functions that read src or a blob are safe for
 * untrusted bytes; the other arguments are the caller's promise, checked where
 * a check is cheap (HANSEL_ERR_ARGUMENT).
 */
#ifndef HANSEL_H
#define HANSEL_H

#include <stddef.h>
#include <stdint.h>

#include "format.h"

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
    HANSEL_ERR_CAPACITY = 14    /* dst too small */
} hansel_status;

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

typedef enum hansel_mode { HANSEL_GRID = 0, HANSEL_LOSSLESS = 1 } hansel_mode;

/* What a status is about: position is a byte offset, a stream, a field's
 * offset in the head or a weight's index, as each function says. */
typedef struct hansel_fault {
    uint64_t position, expected, found;
} hansel_fault;

/* One blob's head, parsed (or, for the encoder, to be written). JavaScript reads it too: after a
 * change, `make structs`. */
typedef struct hansel_blob {
    uint64_t shape[HANSEL_MAX_RANK]; /* elements; rank entries used, the rest 0 */
    uint64_t rows, columns, weights; /* the matrix view, FORMAT.md 3.1 */
    uint64_t blob_bytes;             /* the whole blob */
    uint64_t word_count;             /* 16-bit words of all streams */
    float step;                      /* grid step, HANSEL_MIN_STEP or more; 0 when lossless */
    uint32_t head_bytes;             /* words start here; a multiple of 16 */
    uint32_t payload_crc;            /* CRC-32C of everything after the head */
    uint32_t dtype, mode, rank;
    uint32_t raw_bytes;                /* per weight, in the raw plane: 0, 1 or 3 */
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
} hansel_blob;

/* ---- decoding ---------------------------------------------------------- */

/*
 * hansel_read_head() - parse and check the head of a blob.
 *
 *   src, src_bytes  the blob's first bytes; bytes behind the head are ignored
 *   fault           receives position, expected and found on error; may be NULL
 *
 * Returns HANSEL_OK; HANSEL_ERR_TRUNCATED with fault->expected the bytes that
 * are needed (first HANSEL_FIXED_BYTES, then head_bytes: a reader that does
 * not know the size asks twice); MAGIC, VERSION, RESERVED, HEADER, TABLE or
 * DIRECTORY with fault->position the field's offset; CHECKSUM. On error *blob
 * is unspecified. The payload is not looked at. FORMAT.md sections 2 and 3.
 */
hansel_status hansel_read_head(hansel_blob *blob, const void *src, size_t src_bytes,
                               hansel_fault *fault);

/*
 * hansel_build_table() - the decoding table: table[slot], slot < 1 << slot_bits,
 * is bias << 20 | symbol << 12 | freq. blob must have alphabet_size >= 2.
 * FORMAT.md section 4.1.
 */
void hansel_build_table(uint32_t table[HANSEL_MAX_SLOTS], const hansel_blob *blob);

/*
 * hansel_read_cursors() - where streams begin.
 *
 *   cursors  receives count + 1 numbers: the first word of each stream from
 *            first on, counted from the payload's start, and the end of the last
 *   head     the bytes that hansel_read_head accepted
 *   start    the first word of stream `first` (0 for first = 0)
 */
void hansel_read_cursors(uint32_t *cursors, const hansel_blob *blob, const void *head,
                         uint32_t first, uint32_t count, uint32_t start);

/* First weight (row-major index) of a stream; stream_count gives weights. FORMAT.md 3.1. */
uint64_t hansel_stream_start(const hansel_blob *blob, uint32_t stream);
/* Like hansel_stream_start, but counts symbols: fewer than weights where they are folded. */
uint64_t hansel_symbol_start(const hansel_blob *blob, uint32_t stream);

/*
 * hansel_decode_streams() - decode a range of streams: THE reference decoder.
 *
 *   dst        receives the symbols as bytes, row-major, of streams first ..
 *              first + count - 1, which is one contiguous range of weights;
 *              any alignment. Grid and I8: signed grid indices; others: the byte
 *   dst_bytes  exactly hansel_stream_start(first + count) - hansel_stream_start(first);
 *              a tensor without streams (all equal): any number up to weights
 *   cursors    count + 1 numbers from hansel_read_cursors, for stream first on
 *   src        the words of those streams: src[0] is word cursors[0]; 2-byte aligned
 *   src_bytes  exactly 2 * (cursors[count] - cursors[0])
 *   fault      position is the stream at fault; may be NULL
 *
 * Returns HANSEL_OK, HANSEL_ERR_ARGUMENT (sizes) or HANSEL_ERR_CORRUPT. On
 * error dst holds unspecified bytes; nothing outside it is written. Work is
 * bounded by the weights asked for. FORMAT.md section 4. Mirrors:
 * shaders/decode.wgsl, shaders/decode.frag.glsl.
 */
hansel_status hansel_decode_streams(uint8_t *dst, size_t dst_bytes, const hansel_blob *blob,
                                    const uint32_t *table, const uint32_t *cursors, uint32_t first,
                                    uint32_t count, const void *src, size_t src_bytes,
                                    hansel_fault *fault);

/*
 * hansel_decode_symbols() - head, checksums, padding and all streams of a blob
 * in memory. src is 4-byte aligned, src_bytes its exact size (one more is
 * HANSEL_ERR_TRAILING); dst_bytes must equal blob->weights. Errors as above.
 * Stack: two decoding tables and a little more (40 KiB).
 */
hansel_status hansel_decode_symbols(uint8_t *dst, size_t dst_bytes, const void *src,
                                    size_t src_bytes, hansel_fault *fault);

/* dst[i] = step * symbols[i] (signed), made finite and rounded to dtype (F32, F16, BF16: to
 * nearest, ties to even); dst holds count elements. Returns HANSEL_ERR_ARGUMENT for other dtypes.
 */
hansel_status hansel_dequantize(void *dst, uint32_t dtype, const uint8_t *symbols, size_t count,
                                float step);

/* Lossless planes back to count elements of dtype; raw holds count * raw_bytes bytes
 * and may be NULL where raw_bytes is 0. FORMAT.md section 5. */
hansel_status hansel_join(void *dst, uint32_t dtype, const uint8_t *symbols, const uint8_t *raw,
                          size_t count);

/* Elements of dtype F32, F16 or BF16 as binary32, exact. */
hansel_status hansel_widen(float *dst, uint32_t dtype, const void *src, size_t count);

/* Bytes of one element; raw plane bytes per weight when lossless; 0 for an unknown dtype. */
uint32_t hansel_dtype_bytes(uint32_t dtype);
uint32_t hansel_dtype_raw_bytes(uint32_t dtype);

/* CRC-32C (Castagnoli, reflected 0x82F63B78) of src, continuing crc; start with 0. */
uint32_t hansel_crc32c(uint32_t crc, const void *src, size_t src_bytes);

/* The CRC-32C of two byte sequences end to end, from that of each and the size of the second. */
uint32_t hansel_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_bytes);

/* ---- encoding ---------------------------------------------------------- */

/*
 * Sums over weights, added to by each call: a slice is summed from zero, then
 * added. Floating-point sums depend on the cut, so encoders that must agree cut
 * a tensor alike: slices of HANSEL_SLICE weights from the start, added in order.
 */
#define HANSEL_SLICE 262144u
typedef struct hansel_stats {
    double sum_squares; /* of the weights */
    double sum_error;   /* of the squared quantization errors */
    double max_error;   /* largest absolute quantization error, in binary32 arithmetic */
    float low, high;    /* smallest and largest weight, and 0 */
    uint32_t reserved;
    uint32_t saturated; /* weights clamped */
} hansel_stats;

/*
 * hansel_scan() - range and energy of count weights of dtype F32, F16 or BF16.
 * Adds to sum_squares, widens low..high. Returns HANSEL_ERR_NOT_FINITE with
 * fault->position the index in this slice, HANSEL_ERR_ARGUMENT for other dtypes.
 */
hansel_status hansel_scan(hansel_stats *stats, uint32_t dtype, const void *src, size_t count,
                          hansel_fault *fault);

/*
 * hansel_quantize() - weights to grid indices, q = round_half_even(w / step) in
 * binary32 arithmetic, for F32, F16, BF16 (weights already scanned: finite).
 *
 *   dst    receives count signed bytes
 *   clamp  0: an index outside -128..127 is HANSEL_ERR_RANGE, fault->position its
 *          index; 1: it becomes the nearer end, and stats->saturated counts it
 *   stats  sum_error and max_error are added to
 */
hansel_status hansel_quantize(uint8_t *dst, uint32_t dtype, const void *src, size_t count,
                              float step, int clamp, hansel_stats *stats, hansel_fault *fault);

/* Smallest step that holds low..high in 256 levels; 1 when all is 0. */
float hansel_smallest_step(float low, float high);

/* Lossless: weights to a coded plane (dst, count bytes) and a raw plane
 * (count * hansel_dtype_raw_bytes; NULL where that is 0). FORMAT.md section 5. */
hansel_status hansel_split(uint8_t *dst, uint8_t *raw, uint32_t dtype, const void *src,
                           size_t count);

/* Adds the bytes of src to counts. */
void hansel_histogram(uint64_t counts[256], const uint8_t *src, size_t src_bytes);

/*
 * hansel_fit() - alphabet, slot_bits and frequencies with the smallest coded size.
 *
 *   counts     histogram of the coded bytes; any, all zero too
 *   slot_bits  8..12, or 0 to choose the one with the fewest bits, table included
 *   blob       dtype, mode and weights_per_symbol are read; slot_bits, alphabet_size, freq
 *              and (one weight to a symbol) origin are written
 *
 * Frequencies minimize sum(counts * log2(2^slot_bits / freq)) exactly (greedy on
 * marginal gains, optimal since the cost is separable and convex). Returns
 * the cost of all weights and of the table in bits, or a negative number for a bad slot_bits
 * and for folded symbols that are all equal or more than the slots.
 */
double hansel_fit(hansel_blob *blob, const uint64_t counts[256], uint32_t slot_bits);

/* Entropy of the histogram in bits per weight; 0 for an empty one. */
double hansel_entropy(const uint64_t counts[256]);

/*
 * hansel_init() - a blob descriptor for the encoder: dtype, mode, shape, step.
 * Returns HANSEL_ERR_ARGUMENT for what the format cannot hold.
 */
hansel_status hansel_init(hansel_blob *blob, uint32_t dtype, uint32_t mode, uint32_t rank,
                          const uint64_t *shape, float step);

/* How many weights a symbol can hold, after hansel_fit with one each: 4 (up to 4 levels), 2
 * (up to 16) or 1. FORMAT.md 4.5. */
uint32_t hansel_most_folded(const hansel_blob *blob);

/* Folding is faster to decode, and chosen where the blob gets larger by this factor at most. */
#define HANSEL_FOLD_COST 1.005

/*
 * hansel_fold() - the symbols of streams first .. first + count - 1, weights_per_symbol
 * weights to each. To choose a model for them: set weights_per_symbol on a fitted blob, plan,
 * fold, and fit and plan again with the histogram of the result.
 *
 *   dst  receives the symbols, at most src_bytes; may be src
 *   src  the coded bytes of the weights of those streams, row-major, exactly
 *
 * Returns how many symbols there are, or 0 when src_bytes or a weight outside
 * origin .. origin + levels - 1 makes it impossible.
 */
size_t hansel_fold(uint8_t *dst, const hansel_blob *blob, uint32_t first, uint32_t count,
                   const uint8_t *src, size_t src_bytes);

/*
 * hansel_plan() - cut the tensor into streams of about stream_length symbols (0: 1024
 * to 4096, for 2048 streams if there can be) and choose the tail, after hansel_fit. bits
 * is hansel_fit's result. Returns the expected bits of the whole blob. FORMAT.md sections 3.1
 * and 4.4.
 */
double hansel_plan(hansel_blob *blob, double bits, uint32_t stream_length);

/* Bytes that hansel_encode_streams may write for a range of streams, at most. */
uint64_t hansel_encode_bound(const hansel_blob *blob, uint32_t first, uint32_t count);

/*
 * hansel_encode_streams() - code streams first .. first + count - 1.
 *
 *   dst, dst_bytes  room for hansel_encode_bound() bytes; 2-byte aligned
 *   lengths         receives count word counts
 *   src, src_bytes  the symbols of those streams, row-major (hansel_fold), exactly
 *
 * Returns the bytes written to dst, or 0 when src_bytes, dst_bytes or a symbol
 * outside the fitted alphabet makes it impossible.
 */
size_t hansel_encode_streams(void *dst, size_t dst_bytes, uint32_t *lengths,
                             const hansel_blob *blob, uint32_t first, uint32_t count,
                             const uint8_t *src, size_t src_bytes);

/* Directory coding and all sizes, from the lengths of all streams. Call before
 * hansel_write_head; sets length_*, word_count, head_bytes, blob_bytes. */
hansel_status hansel_finish(hansel_blob *blob, const uint32_t *lengths);

/* Writes the head (blob->head_bytes bytes). payload_crc must be set. */
hansel_status hansel_write_head(void *dst, size_t dst_bytes, const hansel_blob *blob,
                                const uint32_t *lengths);

/* The search for a step. */
typedef enum hansel_target { HANSEL_TARGET_BITS = 1, HANSEL_TARGET_ERROR = 2 } hansel_target;

typedef struct hansel_search {
    double goal;                  /* coded bits per weight, or relative RMS error */
    double low, high;             /* steps: too good a value; good enough */
    double low_value, high_value; /* what they measured */
    float step, best;             /* the next to measure; the best so far, 0 if none */
    uint32_t target, round;
} hansel_search;

/*
 * hansel_search_begin/next() - find the step for a rate or an error.
 *
 * begin: low, high are the weights' range (hansel_scan). Then, as long as
 * search->step > 0, measure the tensor quantized with that step (target BITS:
 * hansel_plan's result per weight; ERROR: sqrt(sum_error / sum_squares)) and
 * hand the value to next. The end is search->best: for BITS the smallest step
 * that costs at most goal, for ERROR the largest that errs at most goal; 0 if
 * no step can. Deterministic: no libm.
 */
/* A coded tensor that exceeds a wanted rate is coded again with its step times 1.0005 + the
 * excess in bits per weight, this often at most. */
#define HANSEL_RATE_ROUNDS 4u

void hansel_search_begin(hansel_search *search, uint32_t target, double goal, float low,
                         float high);
void hansel_search_next(hansel_search *search, double value);

/* ---- products ------------------------------------------------------------- */

/*
 * hansel_matvec() - adds a slice's share of y = W x, for `batch` vectors at once.
 *
 *   y         y[b * y_stride + r] for the r-th row that the slice touches
 *   weights   count grid indices (signed bytes; scale y by the step at the end), or,
 *             with is_float, count binary32 weights
 *   start     row-major index of the slice's first weight
 *   columns   of the matrix, > 0
 *   x         batch vectors of `columns` elements
 *
 * NaN and infinity in x go where arithmetic takes them. Summation order is fixed:
 * eight interleaved partial sums for each row of a slice, then slice after slice.
 */
void hansel_matvec(float *y, uint64_t y_stride, const void *weights, uint32_t is_float,
                   uint64_t start, uint64_t count, uint64_t columns, const float *x,
                   uint32_t batch);

/* Like hansel_matvec, but exact: grid indices times signed bytes. A row's sum must fit
 * in 32 bits, which 131,071 columns guarantee. */
void hansel_matvec_i8(int32_t *y, const int8_t *symbols, uint64_t start, uint64_t count,
                      uint64_t columns, const int8_t *x);

/* ---- whole tensors in memory (tests, native programs) -------------------- */

typedef struct hansel_options {
    float step;      /* grid step; 0: see target */
    uint32_t target; /* 0, HANSEL_TARGET_BITS or HANSEL_TARGET_ERROR */
    double goal;
    uint32_t lossless, clamp;    /* booleans */
    uint32_t stream_length;      /* symbols; 0 chooses, 1024 to 4096 by size */
    uint32_t slot_bits;          /* 8..12; 0 chooses */
    uint32_t weights_per_symbol; /* 1, 2 or 4, or fewer if there are too many levels; 0 chooses */
} hansel_options;

/*
 * hansel_encode_blob() - code one tensor. scratch holds hansel_encode_scratch() bytes,
 * 16-byte aligned; dst hansel_encode_blob_bound() bytes: of options->stream_length, and of
 * the rows and columns that hansel_init() gives a blob of that dtype and shape.
 * *written receives the blob's size.
 */
hansel_status hansel_encode_blob(void *dst, size_t dst_bytes, size_t *written, void *scratch,
                                 size_t scratch_bytes, uint32_t dtype, uint32_t rank,
                                 const uint64_t *shape, const void *src,
                                 const hansel_options *options, hansel_fault *fault);
size_t hansel_encode_scratch(uint64_t rows, uint64_t columns, uint32_t stream_length);
size_t hansel_encode_blob_bound(uint64_t rows, uint64_t columns, uint32_t dtype,
                                uint32_t stream_length);

#endif
