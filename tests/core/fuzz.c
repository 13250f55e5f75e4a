/*
 * fuzz.c - libFuzzer's target; one input is one of two things by its first byte:
 *
 *   multiple of 4   a blob, decoded as it is and again repaired: sizes, sums and checksums made
 *                   right, so that what was changed reaches the streams. 'H' of the magic is one,
 *                   so that tests/vectors/ok and bad are a corpus as they lie there.
 *   other           options and a tensor to encode; decoding must give it back. Then the blob is
 *                   damaged, repaired and decoded
 *
 * Every blob is decoded by all decoders that this processor can run, whole, in ranges of streams
 * and to each dtype; they must come to the same end as a plain one does, below. A good blob is
 * coded once more in ways that the encoder would not choose.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "decoder.h"
#include "formula.h"

/* An all-equal blob of 80 bytes can claim 2^48 weights; memory is not the point here. */
#define MAX_WEIGHTS ((uint64_t)1 << 18)
#define MAX_BYTES ((uint64_t)1 << 17)

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *src, size_t src_bytes);

/* In place of src/variant.c's: the one being tried. */
static hansel_variant variant;
hansel_variant hansel_best_variant(void) { return variant; }

#define EACH_VARIANT                                                    \
    for (variant = HANSEL_SCALAR; variant < HANSEL_VARIANTS; variant++) \
        if (hansel_has_variant(variant))

static void *allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    REQUIRE(memory);
    return memory;
}

/* A copy that ends where its allocation ends. */
static void *exact(const void *src, size_t size) {
    void *copy = allocate(size);
    if (size) memcpy(copy, src, size);
    return copy;
}

/* ---- the plain decoder ---------------------------------------------------------- */

/* FORMAT.md 4.1 */
typedef struct slots {
    uint32_t start[256];
    uint8_t index[HANSEL_MAX_SLOTS];
} slots;

static void deal_slots(slots *s, const hansel_blob *blob) {
    uint32_t i, slot = 0;
    for (i = 0; i < blob->alphabet_size; i++) {
        s->start[i] = slot;
        while (slot < s->start[i] + blob->freq[i]) s->index[slot++] = (uint8_t)i;
    }
}

/* A stream, symbol by symbol as FORMAT.md sections 4.2 to 4.5 tell it; the decoders of src share
 * no line with it. Returns 0 if it breaks a rule. */
static int decode_plainly(uint8_t *dst, const hansel_blob *blob, const slots *s, uint64_t weights,
                          const uint8_t *words, uint32_t word_count) {
    const uint32_t fold = blob->weights_per_symbol, width = 4 * fold, bits = 8 / fold;
    const uint64_t columns = blob->pieces > 1 ? weights : blob->columns;
    const uint64_t row_steps = (columns + width - 1) / width;
    const uint64_t steps = weights / columns * row_steps;
    const uint64_t tail_start = steps < blob->tail_steps ? 0 : steps - blob->tail_steps;
    uint32_t x[4], cursor = 8, lane, k;
    uint64_t step;
    for (lane = 0; lane < 4; lane++) {
        x[lane] = hansel_load32(words + 4 * lane);
        if (x[lane] < 65536) return 0;
    }
    for (step = 0;; step++) {
        uint64_t row = step / row_steps, column = step % row_steps * width;
        if (step == tail_start) {
            if (cursor != word_count) return 0;
            for (lane = 0; lane < 4; lane++) {
                if (x[lane] < 65536) return 0;
                x[lane] -= 65536;
            }
        }
        if (step == steps) return !(x[0] | x[1] | x[2] | x[3]);
        for (lane = 0; lane < 4 && column + lane < columns; lane++) {
            uint32_t index, slot = x[lane] & ((1u << blob->slot_bits) - 1);
            if (step < tail_start) {
                index = s->index[slot];
                x[lane] = blob->freq[index] * (x[lane] >> blob->slot_bits) + slot - s->start[index];
            } else {
                index = x[lane] & ((1u << blob->tail_bits) - 1);
                x[lane] >>= blob->tail_bits;
                if (index >= blob->alphabet_size) return 0;
            }
            for (k = 0; k < fold && column + 4 * k + lane < columns; k++)
                dst[row * columns + column + 4 * k + lane] =
                    (uint8_t)(blob->origin + (index >> bits * k & ((1u << bits) - 1)));
        }
        for (lane = 0; step < tail_start && lane < 4 && column + lane < columns; lane++) {
            if (x[lane] >= 65536) continue;
            if (cursor == word_count) return 0;
            x[lane] = x[lane] << 16 | hansel_load16(words + 2 * cursor++);
        }
    }
}

/* ---- all decoders --------------------------------------------------------------- */

/* What decoding must come to. */
typedef struct outcome {
    hansel_blob blob;
    uint32_t *cursors;
    uint8_t *symbols, *is_bad; /* of every stream */
    uint32_t first_bad;        /* stream_count if none is */
} outcome;

static outcome expect(const hansel_blob *blob, const uint8_t *src) {
    const uint8_t *words = src + blob->head_bytes;
    outcome o = {*blob, NULL, NULL, NULL, 0};
    slots s;
    uint32_t i;
    o.cursors = allocate(4 * ((size_t)blob->stream_count + 1));
    o.symbols = allocate((size_t)blob->weights);
    o.is_bad = allocate(blob->stream_count);
    if (!blob->stream_count) memset(o.symbols, (int)blob->origin, (size_t)blob->weights);
    hansel_read_cursors(o.cursors, blob, src, 0, blob->stream_count, 0);
    deal_slots(&s, blob);
    for (i = 0; i < blob->stream_count; i++) {
        uint64_t start = hansel_stream_start(blob, i);
        o.is_bad[i] =
            !decode_plainly(o.symbols + start, blob, &s, hansel_stream_start(blob, i + 1) - start,
                            words + 2 * (size_t)o.cursors[i], o.cursors[i + 1] - o.cursors[i]);
    }
    while (o.first_bad < blob->stream_count && !o.is_bad[o.first_bad]) o.first_bad++;
    return o;
}

/* What was found in streams first .. end - 1: the first bad one is named, or all is as wanted. */
static void check_outcome(const outcome *o, hansel_status status, const hansel_fault *fault,
                          uint32_t first, uint32_t end, const uint8_t *found, const uint8_t *wanted,
                          size_t size) {
    while (first < end && !o->is_bad[first]) first++;
    REQUIRE(status == (first < end ? HANSEL_ERR_CORRUPT : HANSEL_OK));
    if (first < end)
        REQUIRE(fault->position == first && !fault->found &&
                fault->expected == o->cursors[first + 1] - o->cursors[first]);
    else
        REQUIRE(!size || !memcmp(found, wanted, size));
}

/* Streams in ranges, each from words and to symbols that are exact to the byte. */
static void check_ranges(const outcome *o, const uint8_t *src) {
    const hansel_blob *blob = &o->blob;
    uint32_t table[HANSEL_MAX_SLOTS], first, count;
    hansel_build_table(table, blob);
    for (first = 0; first < blob->stream_count; first += count) {
        uint64_t start = hansel_stream_start(blob, first);
        size_t size, words_bytes;
        uint8_t *words, *dst;
        hansel_fault fault = {0, 0, 0};
        hansel_status status;
        count = 1 + formula_random(blob->payload_crc, first) % (2 * HANSEL_GROUP + 1);
        if (count > blob->stream_count - first) count = blob->stream_count - first;
        size = (size_t)(hansel_stream_start(blob, first + count) - start);
        words_bytes = 2 * (size_t)(o->cursors[first + count] - o->cursors[first]);
        words = exact(src + blob->head_bytes + 2 * (size_t)o->cursors[first], words_bytes);
        dst = allocate(size);
        status = hansel_decode_streams(dst, size, blob, table, o->cursors + first, first, count,
                                       words, words_bytes, &fault);
        check_outcome(o, status, &fault, first, first + count, dst, o->symbols + start, size);
        free(words);
        free(dst);
    }
}

/* A blob whose payload is as its head says. */
static void check_decoders(const outcome *o, const uint8_t *src, size_t src_bytes) {
    const hansel_blob *blob = &o->blob;
    const size_t count = (size_t)blob->weights;
    uint8_t *wanted = allocate(4 * count), *raw = allocate(count * blob->raw_bytes);
    uint32_t dtype;
    hansel_expand_raw(raw, blob, src + blob->head_bytes + blob->raw_start, 0, count);
    for (dtype = 0; dtype <= HANSEL_F8_E5M2 + 1; dtype++) {
        int is_there =
            blob->mode == HANSEL_GRID ? dtype && dtype <= HANSEL_I8 : dtype == blob->dtype;
        size_t size = count * hansel_dtype_bytes(dtype);
        if (is_there && hansel_dtype_bytes(dtype) == 1)
            memcpy(wanted, o->symbols, count);
        else if (is_there && blob->mode == HANSEL_LOSSLESS)
            hansel_join(wanted, blob, o->symbols, raw, count);
        else if (is_there)
            hansel_dequantize(wanted, dtype, o->symbols, count, blob->step);
        /* What is corrupt is so for all dtypes; there is more to find in the time. */
        if (is_there && o->first_bad < blob->stream_count && dtype != blob->dtype) continue;
        EACH_VARIANT {
            hansel_fault fault = {0, 0, 0};
            uint8_t *dst = allocate(size);
            hansel_status status = hansel_decode(dst, size, dtype, src, src_bytes, &fault);
            if (is_there)
                check_outcome(o, status, &fault, 0, blob->stream_count, dst, wanted, size);
            else
                REQUIRE(status == HANSEL_ERR_ARGUMENT);
            free(dst);
        }
    }
    EACH_VARIANT {
        hansel_fault fault = {0, 0, 0};
        uint8_t *dst = allocate(count);
        hansel_status status = hansel_decode_symbols(dst, count, src, src_bytes, &fault);
        check_outcome(o, status, &fault, 0, blob->stream_count, dst, o->symbols, count);
        check_ranges(o, src);
        free(dst);
    }
    variant = HANSEL_SCALAR;
    free(wanted);
    free(raw);
}

static hansel_status decode(const uint8_t *src, size_t src_bytes) {
    hansel_blob blob;
    uint8_t *copy = exact(src, src_bytes);
    hansel_status status = hansel_read_head(&blob, copy, src_bytes, NULL);
    if (status == HANSEL_OK && blob.weights > MAX_WEIGHTS) status = HANSEL_ERR_CAPACITY;
    if (status == HANSEL_OK) {
        uint8_t *symbols = allocate((size_t)blob.weights);
        status = hansel_decode_symbols(symbols, (size_t)blob.weights, copy, src_bytes, NULL);
        REQUIRE(status != HANSEL_ERR_ARGUMENT);
        if (status == HANSEL_OK || status == HANSEL_ERR_CORRUPT) {
            outcome o = expect(&blob, copy);
            check_decoders(&o, copy, src_bytes);
            free(o.cursors);
            free(o.symbols);
            free(o.is_bad);
        }
        free(symbols);
    }
    free(copy);
    return status;
}

/* ---- changes that reach the streams ---------------------------------------------- */

/* Frequencies that fill the slots: the last ones lose what is too much, the first ones gain. */
static void repair_frequencies(uint8_t *src, uint32_t count, uint32_t slot_bits) {
    const uint32_t most = (1u << slot_bits) - 1;
    uint32_t freq[256], left = most + 1, i;
    for (i = 0; i < count; i++) {
        freq[i] = hansel_packed_load(src, i, slot_bits);
        if (freq[i] > left) freq[i] = left;
        left -= freq[i];
    }
    memset(src, 0, (size_t)hansel_packed_bytes(count, slot_bits));
    for (i = 0; i < count; i++) {
        uint32_t more = most - freq[i] < left ? most - freq[i] : left;
        hansel_packed_store(src, i, slot_bits, freq[i] + more);
        left -= more;
    }
}

/* Makes a head's sizes and sums right as long as hansel_read_head() says what is wrong with them,
 * and the padding and both checksums. blob has room for MAX_BYTES; returns its new size. */
static size_t repair(uint8_t *blob, size_t size) {
    uint32_t round;
    for (round = 0; size >= HANSEL_FIXED_BYTES && round < 8; round++) {
        uint32_t slot_bits = blob[HANSEL_OFFSET_SLOT_BITS];
        uint32_t alphabet = hansel_load16(blob + HANSEL_OFFSET_ALPHABET);
        hansel_blob found;
        hansel_fault fault = {0, 0, 0};
        hansel_status status;
        formula_store(blob + HANSEL_OFFSET_MAGIC, 4, HANSEL_MAGIC);
        blob[HANSEL_OFFSET_VERSION] =
            blob[HANSEL_OFFSET_ROW_DIMS] > 1              ? HANSEL_FORMAT_VERSION_MERGED
            : blob[HANSEL_OFFSET_WEIGHTS_PER_SYMBOL] == 1 ? HANSEL_FORMAT_VERSION_1
                                                          : HANSEL_FORMAT_VERSION_FOLDED;
        formula_seal(blob, size);
        status = hansel_read_head(&found, blob, size, &fault);
        if (status == HANSEL_OK) {
            uint64_t end = found.head_bytes + 2 * found.word_count;
            uint64_t raw = found.head_bytes + found.raw_start;
            uint64_t raw_end = raw + found.weights * found.raw_bytes, wanted = found.blob_bytes;
            if (wanted > MAX_BYTES) break;
            if (wanted > size) memset(blob + size, 0, (size_t)wanted - size);
            memset(blob + end, 0, (size_t)(raw - end));
            memset(blob + raw_end, 0, (size_t)(wanted - raw_end));
            formula_seal(blob, (size_t)wanted);
            return (size_t)wanted;
        }
        if (status == HANSEL_ERR_TRUNCATED) {
            if (fault.expected > MAX_BYTES) break;
            memset(blob + size, 0, (size_t)fault.expected - size);
            size = (size_t)fault.expected;
        } else if (status == HANSEL_ERR_DIRECTORY && fault.position == HANSEL_OFFSET_HEAD_BYTES) {
            formula_store(blob + HANSEL_OFFSET_HEAD_BYTES, 4, fault.expected);
        } else if (status == HANSEL_ERR_DIRECTORY && fault.position == HANSEL_OFFSET_BLOB_BYTES) {
            formula_store(blob + HANSEL_OFFSET_BLOB_BYTES, 8, fault.expected);
        } else if (status == HANSEL_ERR_RESERVED && fault.position >= HANSEL_OFFSET_SHAPE) {
            memset(blob + fault.position, 0, (size_t)(found.head_bytes - fault.position));
        } else if (status == HANSEL_ERR_TABLE) {
            uint64_t end = fault.position + hansel_packed_bytes(alphabet, slot_bits);
            if (end > found.head_bytes)
                formula_store(blob + HANSEL_OFFSET_HEAD_BYTES, 4, hansel_align(end));
            else
                repair_frequencies(blob + fault.position, alphabet, slot_bits);
        } else {
            break;
        }
    }
    return size;
}

/* The same of version 4. */
static size_t repair_new(uint8_t *blob, size_t size) {
    uint32_t round;
    for (round = 0; size >= HANSEL_MIN_HEAD_BYTES && round < 8; round++) {
        hansel_blob found;
        hansel_fault fault = {0, 0, 0};
        hansel_status status;
        formula_store(blob + HANSEL_OFFSET_MAGIC, 4, HANSEL_MAGIC);
        blob[HANSEL_OFFSET_VERSION] = HANSEL_FORMAT_VERSION;
        formula_seal(blob, size);
        status = hansel_read_head(&found, blob, size, &fault);
        if (status == HANSEL_OK) {
            uint64_t wanted = found.blob_bytes, bits = found.weights * found.raw_bits % 8;
            if (wanted > MAX_BYTES) break;
            if (wanted > size) memset(blob + size, 0, (size_t)wanted - size);
            if (bits) blob[wanted - 1] &= (uint8_t)((1u << bits) - 1);
            formula_seal(blob, (size_t)wanted);
            return (size_t)wanted;
        }
        if (status == HANSEL_ERR_TRUNCATED) {
            if (fault.expected > MAX_BYTES) break;
            memset(blob + size, 0, (size_t)fault.expected - size);
            size = (size_t)fault.expected;
        } else if (status == HANSEL_ERR_DIRECTORY && fault.position == HANSEL_OFFSET_4_HEAD_BYTES) {
            if (fault.expected > MAX_BYTES) break;
            formula_store(blob + HANSEL_OFFSET_4_HEAD_BYTES, 3, fault.expected);
        } else if (status == HANSEL_ERR_RESERVED && fault.position > HANSEL_MIN_HEAD_BYTES) {
            blob[fault.position] = 0;
        } else if (status == HANSEL_ERR_TABLE) {
            blob[fault.position] ^= (uint8_t)(1u << (round & 7)); /* perhaps other logarithms are */
        } else {
            break;
        }
    }
    return size;
}

/* ---- streams that the encoder would not write ------------------------------------ */

/* Another cut and another tail. Without one all states end at 2^16, where a refill begins. */
static void replan(hansel_blob *blob, uint32_t random) {
    uint32_t most = (uint32_t)hansel_row_steps(hansel_symbol_columns(blob, blob->columns));
    blob->pieces = random & 1 ? 1 + (random >> 1 & 63) % most : 1;
    most = blob->pieces > 1 ? 1 : (uint32_t)blob->rows;
    blob->rows_per_stream = 1 + (random >> 7 & 15) % most;
    REQUIRE(hansel_count_streams(blob));
    blob->tail_bits = hansel_bits_of(blob->alphabet_size - 1);
    blob->tail_steps = random >> 15 & 1 ? (random >> 16) % (31 / blob->tail_bits + 1) : 0;
}

static int fit(hansel_blob *blob, const uint8_t *symbols, size_t count, uint32_t slot_bits) {
    uint64_t counts[256] = {0};
    hansel_histogram(counts, symbols, count);
    return hansel_fit(blob, counts, slot_bits) >= 0 && blob->alphabet_size > 1;
}

/* Codes symbols as blob plans it, unless it has no frequency for one; they must come back. */
static void code(hansel_blob *blob, const uint8_t *symbols, const uint8_t *folded, size_t count,
                 const uint8_t *raw) {
    size_t weights = (size_t)blob->weights, size = (size_t)blob->stream_count;
    uint32_t *lengths = allocate(4 * size);
    uint8_t *words, *dst, *again = allocate(weights);
    size = (size_t)hansel_encode_bound(blob, 0, blob->stream_count);
    words = allocate(size);
    count = hansel_encode_streams(words, size, lengths, blob, 0, blob->stream_count, folded, count);
    if (count) {
        REQUIRE(hansel_finish(blob, lengths) == HANSEL_OK);
        size = (size_t)blob->blob_bytes;
        dst = allocate(size);
        memset(dst, 0, size);
        memcpy(dst + blob->head_bytes, words, count);
        memcpy(dst + blob->head_bytes + blob->raw_start, raw, (weights * blob->raw_bits + 7) / 8);
        REQUIRE(hansel_write_head(dst, size, blob, lengths) == HANSEL_OK);
        formula_seal(dst, size);
        REQUIRE(decode(dst, size) == HANSEL_OK);
        REQUIRE(hansel_decode_symbols(again, weights, dst, size, NULL) == HANSEL_OK);
        REQUIRE(!memcmp(again, symbols, weights));
        free(dst);
    }
    free(lengths);
    free(words);
    free(again);
}

/* A good blob once more with another plan; and every other time with other frequencies, of
 * weights so few that they fold. */
static void recode(const uint8_t *src, size_t src_bytes) {
    static const uint8_t masks[] = {3, 15, 255, 255};
    const uint8_t *raw;
    uint8_t *symbols, *folded;
    uint32_t random, slot_bits;
    size_t weights, i;
    hansel_blob blob;
    int is_fitted = 1;
    REQUIRE(hansel_read_head(&blob, src, src_bytes, NULL) == HANSEL_OK);
    if (!blob.stream_count || blob.weights > 1 << 14) return;
    raw = src + blob.head_bytes + blob.raw_start;
    weights = (size_t)blob.weights;
    random = formula_random(blob.payload_crc, (uint32_t)weights);
    slot_bits = HANSEL_MIN_SLOT_BITS + (random >> 24) % 5;
    symbols = allocate(weights);
    folded = allocate(weights);
    REQUIRE(hansel_decode_symbols(symbols, weights, src, src_bytes, NULL) == HANSEL_OK);
    if (random >> 27 & 1 || blob.version < HANSEL_FORMAT_VERSION) {
        for (i = 0; i < weights; i++) symbols[i] &= masks[random >> 28 & 3];
        blob.weights_per_symbol = 1;
        is_fitted = fit(&blob, symbols, weights, slot_bits);
        blob.weights_per_symbol = hansel_most_folded(&blob);
    }
    if (is_fitted) {
        size_t count;
        replan(&blob, random);
        count = hansel_fold(folded, &blob, 0, blob.stream_count, symbols, weights);
        if (blob.weights_per_symbol > 1 &&
            (random >> 27 & 1 || blob.version < HANSEL_FORMAT_VERSION)) {
            is_fitted = fit(&blob, folded, count, slot_bits);
            if (is_fitted) replan(&blob, random);
        }
        if (is_fitted) code(&blob, symbols, folded, count, raw);
    }
    free(symbols);
    free(folded);
}

/* Inputs; those whose repaired blob has streams that were decoded; those with a corrupt one. */
static unsigned long inputs, reached, corrupt;

static void decode_repaired(const uint8_t *src, size_t src_bytes) {
    static uint8_t blob[MAX_BYTES];
    hansel_status status;
    hansel_blob head;
    size_t size;
    if (src_bytes > MAX_BYTES) return;
    if (src_bytes) memcpy(blob, src, src_bytes);
    size = src_bytes > HANSEL_OFFSET_VERSION && blob[HANSEL_OFFSET_VERSION] >= HANSEL_FORMAT_VERSION
               ? repair_new(blob, src_bytes)
               : repair(blob, src_bytes);
    status = decode(blob, size);
    if (status != HANSEL_OK && status != HANSEL_ERR_CORRUPT) return;
    reached += hansel_read_head(&head, blob, size, NULL) == HANSEL_OK && head.stream_count;
    corrupt += status == HANSEL_ERR_CORRUPT;
    if (status == HANSEL_OK) recode(blob, size);
}

/* Some bits changed, mostly behind the head. */
static void decode_damaged(uint8_t *blob, size_t size, uint32_t seed) {
    uint32_t head = seed & 3 ? (uint32_t)formula_load(blob + HANSEL_OFFSET_4_HEAD_BYTES, 3) : 0, i;
    if (head == size) head = 0;
    for (i = 0; i <= (seed >> 2 & 7); i++) {
        uint32_t random = formula_random(seed, i);
        blob[head + (random >> 3) % (size - head)] ^= (uint8_t)(1u << (random & 7));
    }
    decode_repaired(blob, size);
}

/* ---- encoding ------------------------------------------------------------------- */

/* Sixteen bytes of options, the last four of which say what to damage; then the tensor. */
#define OPTION_BYTES 16

static void encode_decode(const uint8_t *src, size_t src_bytes) {
    static const float steps[] = {1, 0.07f, 1e-3f, 1e-30f, 1e30f, HANSEL_MIN_STEP, 0, 0};
    uint32_t dtype = 1 + src[1] % 7, rank = 1 + src[2] % 3;
    hansel_options options;
    hansel_blob blob;
    hansel_status status;
    uint64_t shape[3] = {1, 1, 1};
    size_t size = hansel_dtype_bytes(dtype), count = (src_bytes - OPTION_BYTES) / size;
    size_t room, written = 0;
    hansel_tensor tensor = {dtype, rank, {0}, NULL};
    uint8_t *weights, *dst, *symbols, *values;
    memset(&options, 0, sizeof options);
    options.lossless = src[3] & 1 || dtype > HANSEL_BF16;
    options.clamp = src[3] >> 1 & 1;
    options.step = options.lossless ? 0 : steps[src[4] & 7];
    options.target = options.step > 0 || options.lossless ? 0 : 1u + (src[4] >> 3 & 1);
    options.goal = (double)(1 + src[5]) / (options.target == HANSEL_TARGET_BITS ? 16 : 256);
    options.stream_length = src[6] ? 1u + src[6] * src[6] / 8u : 0;
    options.slot_bits = src[7] % 6 ? 7u + src[7] % 6 : 0;
    options.weights_per_symbol = (src[11] & 3) == 3 ? 4 : src[11] & 3;
    if (rank > 1) shape[rank - 1] = 1 + (uint64_t)(src[8] | src[9] << 8) % (count + 1);
    if (rank > 2) shape[1] = 1 + src[10] % 5;
    shape[0] = rank > 1 ? count / (shape[1] * shape[2]) : count;
    count = (size_t)(shape[0] * shape[1] * shape[2]);

    tensor.data = weights = exact(src + OPTION_BYTES, count * size);
    memcpy(tensor.shape, shape, sizeof shape);
    room = hansel_encode_room(&tensor, &options);
    dst = allocate(room);
    symbols = allocate(count);
    values = allocate(count * size);
    status = hansel_encode(dst, room, &written, &tensor, &options, NULL);
    if (options.lossless || status == HANSEL_OK) {
        REQUIRE(status == HANSEL_OK && written <= room);
        REQUIRE(decode(dst, written) == HANSEL_OK);
        REQUIRE(decode(dst, written - 1) == HANSEL_ERR_TRUNCATED);
        REQUIRE(hansel_read_head(&blob, dst, written, NULL) == HANSEL_OK);
        REQUIRE(blob.dtype == dtype && blob.rank == rank && blob.weights == count &&
                !memcmp(blob.shape, shape, 8 * rank));
        REQUIRE(hansel_decode_symbols(symbols, count, dst, written, NULL) == HANSEL_OK);
        if (options.lossless) {
            REQUIRE(hansel_decode(values, count * size, dtype, dst, written, NULL) == HANSEL_OK);
            REQUIRE(!memcmp(values, weights, count * size));
        } else {
            hansel_stats stats;
            memset(&stats, 0, sizeof stats);
            REQUIRE(hansel_quantize(values, dtype, weights, count, blob.step, (int)options.clamp,
                                    &stats, NULL) == HANSEL_OK);
            REQUIRE(!memcmp(values, symbols, count));
        }
    } else {
        REQUIRE(status == HANSEL_ERR_NOT_FINITE || status == HANSEL_ERR_RANGE);
        /* Clamped, every value has an index; but a rate or an error can be out of reach. */
        REQUIRE(status != HANSEL_ERR_RANGE || !options.clamp || options.target);
    }
    if (status == HANSEL_OK) recode(dst, written);
    if (status == HANSEL_OK) decode_damaged(dst, written, hansel_load32(src + 12));
    free(weights);
    free(dst);
    free(symbols);
    free(values);
}

/* ---- libFuzzer ------------------------------------------------------------------- */

static void report(void) {
    fprintf(stderr, "%lu inputs, %lu reached the streams, %lu of these are corrupt\n", inputs,
            reached, corrupt);
    if (inputs > 1000 && reached < inputs / 4) {
        fprintf(stderr, "too few: most damage is found before the streams\n");
        _exit(1);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    return atexit(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *src, size_t src_bytes) {
    inputs++;
    if (!src_bytes || src[0] % 4 == 0) {
        decode(src, src_bytes);
        decode_repaired(src, src_bytes);
    } else if (src_bytes >= OPTION_BYTES) {
        encode_decode(src, src_bytes);
    }
    return 0;
}
