/*
 * hansel_slices.h - the parts of hansel.h's two calls, for work in slices: no side needs a whole
 * tensor at once, and streams can be decoded in any order, by any thread. hansel.h's rules hold.
 *
 *   decode    hansel_read_head  hansel_build_table  hansel_read_cursors  hansel_decode_streams
 *             hansel_dequantize | hansel_expand_raw  hansel_join
 *   encode    hansel_init  hansel_scan  hansel_quantize | hansel_window_*  hansel_split
 *             hansel_pack_raw  hansel_histogram
 *             hansel_fit  hansel_plan  hansel_fold  hansel_encode_streams  hansel_finish
 *             hansel_write_head; hansel_search_* finds the step for a rate or an error;
 *             hansel_encoder_begin and _next say which of these comes next, and decide
 *   feedback  hansel_feedback_begin  hansel_feedback_factor  hansel_feedback_rows
 *   multiply  hansel_matvec  hansel_matvec_i8
 */
#ifndef HANSEL_SLICES_H
#define HANSEL_SLICES_H

#include "format.h"
#include "hansel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- decoding ---------------------------------------------------------- */

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
 * shaders/decode_stream.wgsl, shaders/decode_stream.glsl.
 */
hansel_status hansel_decode_streams(uint8_t *dst, size_t dst_bytes, const hansel_blob *blob,
                                    const uint32_t *table, const uint32_t *cursors, uint32_t first,
                                    uint32_t count, const void *src, size_t src_bytes,
                                    hansel_fault *fault);

/* dst[i] = step * symbols[i] (signed), made finite and rounded to dtype (F32, F16, BF16: to
 * nearest, ties to even); dst holds count elements, whose last count bytes the symbols may be.
 * Returns HANSEL_ERR_ARGUMENT for other dtypes. */
hansel_status hansel_dequantize(void *dst, uint32_t dtype, const uint8_t *symbols, size_t count,
                                float step);

/* Lossless: symbols and raw bits back to count elements of blob's dtype; raw holds count *
 * raw_bytes bytes (hansel_expand_raw) and may be NULL where raw_bytes is 0. dst as for
 * hansel_dequantize(). FORMAT.md section 5. */
hansel_status hansel_join(void *dst, const hansel_blob *blob, const uint8_t *symbols,
                          const uint8_t *raw, size_t count);

/* count weights' bits of the raw plane, packed, from bit first_bit (0 to 7) of raw on, as
 * count * raw_bytes bytes. Reads only bytes that hold such bits. */
void hansel_expand_raw(uint8_t *dst, const hansel_blob *blob, const uint8_t *raw,
                       uint32_t first_bit, size_t count);

/* Elements of dtype F32, F16 or BF16 as binary32, exact. */
hansel_status hansel_widen(float *dst, uint32_t dtype, const void *src, size_t count);

/* Bytes of one weight in a lossless tensor's raw plane; 0 for an unknown dtype. */
uint32_t hansel_dtype_raw_bytes(uint32_t dtype);

/* CRC-32C (Castagnoli, reflected 0x82F63B78) of src, continuing crc; start with 0. */
uint32_t hansel_crc32c(uint32_t crc, const void *src, size_t src_bytes);

/* The CRC-32C of two byte sequences end to end, from that of each and the size of the second. */
uint32_t hansel_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_bytes);

/* ---- weights in a GPU's memory: FORMAT.md appendix A ------------------- */

typedef struct hansel_prefix {
    uint32_t weights_per_code; /* 1, 2 or 4, of as many rows */
    uint32_t level_count;      /* values that a weight can have */
    uint32_t origin;           /* the byte of level 0; level l is (origin + l) mod 256 */
    uint32_t pad;              /* level of rows beyond the last */
    uint32_t code_bits;        /* of the longest code */
    /* By levels, sum(level of row k * level_count^k): length << 16 | bits, the first bit lowest.
     * 0: never comes. */
    uint32_t codes[HANSEL_MAX_CODES];
} hansel_prefix;

/* Memory for hansel_prefix_fit(). */
typedef struct hansel_prefix_work {
    uint64_t weights[HANSEL_MAX_CODES], packages[2][HANSEL_MAX_CODES];
    uint16_t order[HANSEL_MAX_CODES];
    uint8_t lengths[HANSEL_MAX_CODES];
    uint8_t is_coin[HANSEL_CODE_BITS][2 * HANSEL_MAX_CODES];
} hansel_prefix_work;

/*
 * hansel_prefix_fit() - the cheapest prefix code for what a head says of the weights.
 *
 *   blob              with streams (alphabet_size >= 2)
 *   weights_per_code  1, 2 or 4; 0: as many as cost a 16th more at most
 *
 * HANSEL_ERR_ARGUMENT where level_count^weights_per_code exceeds HANSEL_MAX_CODES, and for four
 * weights to a code of which one is not from -32 to 31.
 */
hansel_status hansel_prefix_fit(hansel_prefix *prefix, const hansel_blob *blob,
                                uint32_t weights_per_code, hansel_prefix_work *work);

/* The decoding table, 1 << code_bits entries: weights as signed fields from the highest bit down,
 * of 8 bits (of 6 with four to a code), the first row's first, and the code's length in the
 * lowest 4. */
void hansel_prefix_table(uint32_t *table, const hansel_prefix *prefix);

/*
 * hansel_prefix_block() - codes some rows of a run of columns.
 *
 *   words    receives the streams' words, interleaved: word k of stream l is
 *            words[(k / unit * lanes + l) * unit + k % unit], lanes = ceil(rows / 4). Streams that
 *            are shorter than the longest are filled up with zeros. Room for hansel_prefix_bound()
 *   weights  bytes, as hansel_decode_streams() gives them, `pitch` from row to row
 *   rows     1 to HANSEL_BLOCK_ROWS
 *   unit     1 or 4: the longest stream's words are rounded up to a multiple of it
 *
 * Returns lanes * the words of the longest stream, or 0 where a weight has no code: the tail of a
 * stream can hold what has no frequency. Mirror: shaders/recode.wgsl.
 */
uint32_t hansel_prefix_block(uint32_t *words, const hansel_prefix *prefix, const uint8_t *weights,
                             uint64_t pitch, uint32_t rows, uint32_t columns, uint32_t unit);

/* Words that it may write. */
uint32_t hansel_prefix_bound(const hansel_prefix *prefix, uint32_t rows, uint32_t columns,
                             uint32_t unit);

/* Weights as fields of a few bits: two's complement of weight - center. */
typedef struct hansel_packed {
    uint32_t bits;   /* 1, 2, 4 or 8 */
    uint32_t center; /* as a byte; 0 where signed fields hold the weights as they are */
} hansel_packed;

/* The smallest fields that hold what a head says of the weights. HANSEL_ERR_ARGUMENT for a blob
 * without streams (alphabet_size < 2). */
hansel_status hansel_pack_fit(hansel_packed *packed, const hansel_blob *blob);

/*
 * hansel_pack_block() - like hansel_prefix_block(), packs some rows of a run of columns.
 *
 * Writes and returns lanes * the words of a stream, ceil(columns * bits / 8) rounded up to a
 * multiple of unit; 0 where a field does not hold a weight. Bytes of a raw plane are packed with 8
 * bits, center 0: columns are bytes then. Mirror: shaders/recode.wgsl.
 */
uint32_t hansel_pack_block(uint32_t *words, const hansel_packed *packed, const uint8_t *weights,
                           uint64_t pitch, uint32_t rows, uint32_t columns, uint32_t unit);

/* ---- tensors as several matrices: FORMAT.md section 7 ------------------- */

/* Items of a block, so many bits apart. */
typedef struct hansel_field {
    uint32_t block_bytes, bit_offset, item_bits, items;
    uint32_t width; /* bits of an item: 1 to 8, within a byte; 16 or 32, from a byte on */
} hansel_field;

/*
 * hansel_get_field() - elements of a plane: bytes, or what takes 2 or 4 of them.
 *
 *   src    blocks, from that of the first element on
 *   first  which item of its block the first element is, < items
 */
void hansel_get_field(void *dst, const hansel_field *field, const void *src, uint32_t first,
                      size_t count);

/* The inverse. dst, where items of less than a byte go to, must have been zeroed. Returns 1, or 0
 * for an element that does not fit its width. */
uint32_t hansel_put_field(void *dst, const hansel_field *field, const void *src, uint32_t first,
                          size_t count);

/* Which number of another plane belongs to element i = (a * columns + b) * depth + c, c < depth,
 * b < columns: floor((a * depth + c) / group) * pitch + b. None is 0, nor above 2^31. */
typedef struct hansel_base {
    uint32_t columns, depth, group, pitch;
} hansel_base;

/* dst[i] = (dst[i] + that number) mod 2^width, for elements first .. first + count - 1; values are
 * the other plane, all that is needed of it. */
void hansel_add_base(uint8_t *dst, const uint8_t *values, const hansel_base *base, uint64_t first,
                     size_t count, uint32_t width);

/* The inverse. */
void hansel_subtract_base(uint8_t *dst, const uint8_t *values, const hansel_base *base,
                          uint64_t first, size_t count, uint32_t width);

#define HANSEL_MAX_CLASSES 8
#define HANSEL_CLASS_SAMPLE 1024 /* rows that classes are made by */
#define HANSEL_CLASS_ROUNDS 6
#define HANSEL_CLASS_WORTH 0.9995 /* what three must not cost more than, of one */

/* Memory for hansel_classify(). */
typedef struct hansel_classes {
    /* By class and symbol; behind them, what it costs to name the class. */
    double bits[HANSEL_MAX_CLASSES][257], best[HANSEL_MAX_CLASSES][257];
    uint64_t sums[HANSEL_MAX_CLASSES][256];
    double keys[HANSEL_CLASS_SAMPLE];
    uint32_t rows[HANSEL_CLASS_SAMPLE], order[HANSEL_CLASS_SAMPLE], sizes[HANSEL_MAX_CLASSES];
    uint32_t used;        /* symbols that come: */
    uint8_t symbols[256]; /* these */
} hansel_classes;

/* Adds up what rows hold, 256 counts for each: bytes (of F8 without the sign), of F16, BF16 and F32
 * the eight bits behind the sign. */
void hansel_row_counts(uint32_t *counts, uint32_t dtype, const void *src, uint64_t rows,
                       uint64_t columns);

/*
 * hansel_classify() - deals rows to classes with a table of their own, so that all of it costs
 * least: k-means by code lengths, of 2 to HANSEL_MAX_CLASSES classes, the same on every machine.
 *
 *   map     receives each row's class, 0 where one table is best; every class has rows
 *   counts  256 for each row
 *
 * Returns how many bits it expects to save, tables, heads and map included.
 */
double hansel_classify(uint8_t *map, const uint32_t *counts, uint32_t rows, hansel_classes *work);

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

/* Adds how often finite weights of dtype F32, F16 or BF16 come to round(w / unit) = i - 32768, or
 * beyond the ends. From that follows what any coarser step would do to them. */
#define HANSEL_FINE_COUNTS 65536u
void hansel_fine_counts(uint32_t *counts, uint32_t dtype, const void *src, size_t count,
                        float unit);

/* Smallest step that holds low..high in 256 levels; 1 when all is 0. */
float hansel_smallest_step(float low, float high);

/* Lossless: weights to a coded plane (dst, count bytes) and their raw bits (count * raw_bytes
 * bytes; NULL where that is 0), as the blob's window has them. FORMAT.md section 5. */
hansel_status hansel_split(uint8_t *dst, uint8_t *raw, const hansel_blob *blob, const void *src,
                           size_t count);

/* The raw plane of count weights, a multiple of 8 unless they are the last: raw_bits of each. raw
 * is as hansel_split() gives it, and may be dst. Returns the bytes written. */
size_t hansel_pack_raw(uint8_t *dst, const hansel_blob *blob, const uint8_t *raw, size_t count);

/* Adds weights of dtype F32, F16 or BF16 to HANSEL_WINDOW_COUNTS counts of their exponents with the
 * highest 7 bits of their mantissas; the one behind these counts negative ones. */
void hansel_window_count(uint32_t *counts, uint32_t dtype, const void *src, size_t count);

/* The mantissa_bits, window_base and sign that cost least, from all weights' counts. */
void hansel_window_choose(hansel_blob *blob, const uint32_t *counts);

/* Adds the bytes of src to counts. */
void hansel_histogram(uint64_t counts[256], const uint8_t *src, size_t src_bytes);

/*
 * hansel_fit() - alphabet, slot_bits and frequencies with the smallest coded size.
 *
 *   counts     histogram of the coded bytes; any, all zero too
 *   slot_bits  8..12, or 0 to choose the one with the fewest bits, table included
 *   blob       dtype, mode and weights_per_symbol are read (and, where that is more than 1, what
 *              fitting one weight to a symbol wrote); slot_bits, alphabet_size, freq, log_bits,
 * logs, rice_bits and (one weight to a symbol) origin and level_count are written
 *
 * Frequencies are what levels' logarithms give (FORMAT.md section 12), in the units that cost
 * least; slots are as few as cost next to nothing. Returns
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
 * hansel_plan() - cut the tensor into streams of about stream_length symbols (0 chooses) and
 * choose the tail, after hansel_fit. bits
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
 * hansel_write_head; sets length_*, word_count, raw_start, head_bytes, blob_bytes.
 * FORMAT.md section 11. */
hansel_status hansel_finish(hansel_blob *blob, const uint32_t *lengths);

/* Writes the head (blob->head_bytes bytes). payload_crc must be set. */
hansel_status hansel_write_head(void *dst, size_t dst_bytes, const hansel_blob *blob,
                                const uint32_t *lengths);

typedef struct hansel_search {
    double goal;                  /* coded bits per weight, or relative RMS error */
    double low, high;             /* steps: too good a value; good enough */
    double low_value, high_value; /* what they measured */
    float step, best;             /* the next to measure; the best so far, 0 if none */
    uint32_t target, round;
} hansel_search;

/* A coded tensor that exceeds a wanted rate is coded again with its step times 1.0005 + the
 * excess in bits per weight, this often at most. */
#define HANSEL_RATE_ROUNDS 4u

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
void hansel_search_begin(hansel_search *search, uint32_t target, double goal, float low,
                         float high);
void hansel_search_next(hansel_search *search, double value);

/* ---- what to do next to code a tensor ---------------------------------------- */

/*
 * The one place where a step is searched, weights are folded and a wanted rate is kept. It looks at
 * no weights: it asks for work, the caller walks over the tensor and hands the sums back.
 *
 *     status = hansel_encoder_begin(&e, dtype, rank, shape, &options);
 *     while (status == HANSEL_OK && e.work != HANSEL_WORK_DONE) {
 *         ... do e.work, for all slices or all streams ...
 *         status = hansel_encoder_next(&e, numbers);
 *     }
 *
 * encode_blob.c does so for a tensor in memory, web/encode/tensor_encoder.js slice by slice. The
 * same sums give the same bytes.
 */

/* What a caller is to do. Sums start from zero each time, in slices as hansel_stats tells. */
typedef enum hansel_work {
    HANSEL_WORK_DONE = 0,
    HANSEL_WORK_SCAN = 1,    /* hansel_scan() all weights into stats */
    HANSEL_WORK_MEASURE = 2, /* hansel_quantize() them with blob.step into stats, or hansel_split()
                              * them; hansel_histogram() of the bytes into counts */
    HANSEL_WORK_FOLD = 3,    /* hansel_fold() the bytes of all streams of blob; hansel_histogram()
                              * of the symbols into counts */
    HANSEL_WORK_CODE = 4,    /* hansel_encode_streams() all symbols of blob, which hansel_fold()
                              * gives; what was coded before is void */
    HANSEL_WORK_WINDOW = 5   /* hansel_window_count() all weights */
} hansel_work;

typedef struct hansel_encoder {
    hansel_blob blob;     /* as planned so far; once DONE, hansel_write_head() wants payload_crc */
    hansel_stats stats;   /* of SCAN and the last MEASURE */
    uint64_t counts[256]; /* of MEASURE or FOLD */
    hansel_search search; /* its step is not 0 while one is searched */
    hansel_options options;
    double bits;           /* expected of the whole blob */
    double error, entropy; /* by the last MEASURE: relative RMS error; bits per weight */
    hansel_blob single;    /* with one weight to a symbol */
    double single_bits;
    float coarse;         /* step to go back to, if folding ends with a finer one; else 0 */
    uint32_t coarse_fold; /* weights to a symbol with that step */
    uint32_t fold, round; /* weights to a symbol to try; how often coded */
    uint32_t work;        /* hansel_work */
} hansel_encoder;

/*
 * hansel_encoder_begin() - returns HANSEL_OK, or HANSEL_ERR_ARGUMENT for what the format cannot
 * hold, for impossible options, and for those without a way to a step, or with two. options are not
 * retained.
 */
hansel_status hansel_encoder_begin(hansel_encoder *e, uint32_t dtype, uint32_t rank,
                                   const uint64_t *shape, const hansel_options *options);

/*
 * hansel_encoder_next() - takes what was asked for, and asks for more.
 *
 *   numbers  after CODE the word counts of all streams, as hansel_encode_streams() writes them;
 * after WINDOW the counts of hansel_window_count(); else not looked at
 *
 * Returns HANSEL_OK, HANSEL_ERR_RANGE where no step reaches the goal, or HANSEL_ERR_ARGUMENT for
 * impossible lengths; after an error *e is of no more use.
 */
hansel_status hansel_encoder_next(hansel_encoder *e, const uint32_t *numbers);

/* ---- error feedback -------------------------------------------------------- */

/*
 * Rounds weights so that later columns make up for what earlier ones lose, by H = mean of x x^T
 * over the inputs x of y = W x: symmetric, positive semidefinite, columns x columns. What comes out
 * are grid indices; step times them, as weights, are what the encoder codes without further loss.
 *
 *     begin    checks, sorts and damps H
 *     factor   panel by panel, from the last to the first: H = M D M^T
 *     rows     any rows of a matrix, in any order, by any thread
 *
 * Time: columns^3 / 6 multiply-adds for H, columns / 2 a weight. Memory that a caller lends is
 * aligned to 16 bytes.
 */
#define HANSEL_FEEDBACK_WIDTH 64u   /* columns of a panel */
#define HANSEL_FEEDBACK_MOST 32768u /* columns: M takes 2 GiB */
#define HANSEL_FEEDBACK_DAMPING 0.1 /* of H's mean diagonal, added to it */

typedef struct hansel_feedback {
    double mean;    /* of H's damped diagonal */
    double damping; /* what was added */
    uint32_t columns;
    uint32_t reserved;
} hansel_feedback;

/*
 * hansel_feedback_gather() - adds x x^T of some inputs to sums, from which hansel_feedback_mean()
 * makes H's upper triangle.
 *
 *   sums   hansel_feedback_floats(columns) numbers, zeros at first
 *   x      `count` inputs of `columns` numbers, 64 at most
 *   work   4096 * (panels + 1) floats
 *   h      as hansel_feedback_begin() takes it; `count` of all inputs
 */
void hansel_feedback_gather(float *sums, const float *x, uint32_t count, uint32_t columns,
                            float *work);
void hansel_feedback_mean(float *h, const float *sums, uint32_t columns, double count);

/* How many floats M takes; how many hansel_feedback_rows() needs to work with. */
uint64_t hansel_feedback_floats(uint32_t columns);
uint64_t hansel_feedback_work(uint32_t columns, uint32_t rows);

/*
 * hansel_feedback_begin() - starts with H.
 *
 *   factor   receives hansel_feedback_floats(columns) numbers
 *   order    receives `columns` numbers: columns by falling diagonal
 *   h        H's upper triangle by rows, columns * (columns + 1) / 2 numbers
 *   columns  1 to HANSEL_FEEDBACK_MOST
 *
 * Returns HANSEL_OK; HANSEL_ERR_HESSIAN where H is not finite or its diagonal is negative, with
 * fault->expected the row and fault->position the column; HANSEL_ERR_ARGUMENT.
 */
hansel_status hansel_feedback_begin(hansel_feedback *f, float *factor, uint32_t *order,
                                    const float *h, uint32_t columns, hansel_fault *fault);

/*
 * hansel_feedback_factor() - the next panel; panels go down from (columns - 1) / 64 to 0.
 *
 *   pivots  receives D: panels * 64 numbers in all, of which `columns` count
 *
 * Returns HANSEL_OK, or HANSEL_ERR_HESSIAN where H is not positive semidefinite, faults as above.
 */
hansel_status hansel_feedback_factor(const hansel_feedback *f, float *factor, float *pivots,
                                     const uint32_t *order, uint32_t panel, hansel_fault *fault);

/*
 * hansel_feedback_rows() - rounds some rows.
 *
 *   indices  receives rows * columns signed bytes, row-major; those that the grid does not hold
 *            become the nearer end, and stats->saturated counts them
 *   src      rows * columns weights of dtype F32, F16 or BF16
 *   work     hansel_feedback_work(columns, rows) floats
 *   stats    sum_squares, and sum_error and max_error of step * index, are added to
 *
 * Returns HANSEL_OK; HANSEL_ERR_NOT_FINITE with fault->position the index in src;
 * HANSEL_ERR_ARGUMENT for other dtypes and steps that no grid has.
 */
hansel_status hansel_feedback_rows(int8_t *indices, uint32_t dtype, const void *src, uint32_t rows,
                                   float step, const hansel_feedback *f, const float *factor,
                                   const uint32_t *order, float *work, hansel_stats *stats,
                                   hansel_fault *fault);

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

#ifdef __cplusplus
}
#endif

#endif
