/*
 * vectors_bad.c - hostile blobs: good ones with a field, a size or a word changed
 * and, where that is not the point, the checksums made right again.
 */
#include "vectors.h"

#define ANY_POSITION ((uint64_t)-1)

static bytes copy(const bytes *src) {
    bytes out;
    out.count = src->count;
    out.at = allocate(src->count + 32);
    memcpy(out.at, src->at, src->count);
    memset(out.at + src->count, 0, 32);
    return out;
}

/* Takes the bytes. Position is fault->position, as hansel.h defines it. */
static void write_bad(const char *name, bytes bad, hansel_status wanted, uint64_t position) {
    uint8_t *exact = allocate(bad.count), *dst;
    hansel_blob blob;
    hansel_fault fault = {0, 0, 0};
    hansel_status status;
    size_t weights = 0;
    if (bad.count) memcpy(exact, bad.at, bad.count);
    if (hansel_read_head(&blob, exact, bad.count, NULL) == HANSEL_OK && blob.weights < 1 << 20)
        weights = (size_t)blob.weights;
    dst = allocate(weights);
    status = hansel_decode_symbols(dst, weights, exact, bad.count, &fault);
    if (status != wanted || (position != ANY_POSITION && position != fault.position)) {
        fprintf(stderr, "status %d, position %llu, expected %llu, found %llu\n", (int)status,
                (unsigned long long)fault.position, (unsigned long long)fault.expected,
                (unsigned long long)fault.found);
        die(name, "is not bad in the way intended");
    }
    write_file("bad", name, bad.at, bad.count);
    fprintf(json, "%s  {\"name\": \"%s\", \"file\": \"bad/%s.hansel\", \"status\": \"%s\"",
            separator, name, name, hansel_status_name(wanted));
    if (position != ANY_POSITION)
        fprintf(json, ", \"position\": %llu", (unsigned long long)position);
    fprintf(json, "}");
    separator = ",\n";
    free(exact);
    free(dst);
    free(bad.at);
}

/* One field changed, checksums right. */
static void bad_field(const char *name, const bytes *base, uint32_t offset, uint32_t size,
                      uint64_t value, hansel_status wanted, uint64_t position) {
    bytes bad = copy(base);
    formula_store(bad.at + offset, size, value);
    formula_seal(bad.at, bad.count);
    write_bad(name, bad, wanted, position);
}

/* One field changed, many times. */
typedef struct field_change {
    const char *name;
    uint8_t offset, size;
    uint64_t value;
    uint8_t status, position; /* 255: any */
} field_change;

static void bad_each(const bytes *base, const field_change *changes, size_t count) {
    for (; count; count--, changes++)
        bad_field(changes->name, base, changes->offset, changes->size, changes->value,
                  (hansel_status)changes->status,
                  changes->position == 255 ? ANY_POSITION : changes->position);
}
#define BAD_EACH(base, changes) bad_each(base, changes, sizeof(changes) / sizeof *(changes))

/* Two fields changed. */
static void bad_fields(const char *name, const bytes *base, uint32_t offset, uint32_t size,
                       uint64_t value, uint32_t offset2, uint32_t size2, uint64_t value2,
                       hansel_status wanted, uint64_t position) {
    bytes bad = copy(base);
    formula_store(bad.at + offset, size, value);
    formula_store(bad.at + offset2, size2, value2);
    formula_seal(bad.at, bad.count);
    write_bad(name, bad, wanted, position);
}

/* A bit flipped, checksums left as they were. */
static void bad_flip(const char *name, const bytes *base, size_t at, hansel_status wanted,
                     uint64_t position) {
    bytes bad = copy(base);
    bad.at[at] ^= 1;
    write_bad(name, bad, wanted, position);
}

/* Cut, or extended by zeros. */
static void bad_size(const char *name, const bytes *base, size_t count, hansel_status wanted,
                     uint64_t position) {
    bytes bad = copy(base);
    bad.count = count;
    write_bad(name, bad, wanted, position);
}

static void write_bad_fields(const bytes *base, const bytes *lossless, const bytes *constant,
                             const bytes *empty) {
    static const field_change fields[] = {
        {"magic", HANSEL_OFFSET_MAGIC, 4, 0x4C534E49, HANSEL_ERR_MAGIC, 0},
        {"version-0", HANSEL_OFFSET_VERSION, 1, 0, HANSEL_ERR_VERSION, HANSEL_OFFSET_VERSION},
        {"version-2", HANSEL_OFFSET_VERSION, 1, 2, HANSEL_ERR_RESERVED,
         34}, /* one weight to a symbol */
        {"version-3", HANSEL_OFFSET_VERSION, 1, 3, HANSEL_ERR_RESERVED,
         43}, /* one dimension to a row */
        {"version-4", HANSEL_OFFSET_VERSION, 1, 4, HANSEL_ERR_VERSION, HANSEL_OFFSET_VERSION},
        {"coded-planes-0", HANSEL_OFFSET_CODED_PLANES, 1, 0, HANSEL_ERR_RESERVED, 32},
        {"coded-planes-2", HANSEL_OFFSET_CODED_PLANES, 1, 2, HANSEL_ERR_RESERVED, 32},
        {"tables-0", HANSEL_OFFSET_TABLES, 1, 0, HANSEL_ERR_RESERVED, 33},
        {"tables-2", HANSEL_OFFSET_TABLES, 1, 2, HANSEL_ERR_RESERVED, 33},
        {"weights-per-symbol-0", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 0, HANSEL_ERR_RESERVED, 34},
        {"weights-per-symbol-2", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 2, HANSEL_ERR_RESERVED, 34},
        {"row-dims-1", HANSEL_OFFSET_ROW_DIMS, 1, 1, HANSEL_ERR_RESERVED, 43},
        {"row-dims-2", HANSEL_OFFSET_ROW_DIMS, 1, 2, HANSEL_ERR_RESERVED, 43},
        {"dtype-0", HANSEL_OFFSET_DTYPE, 1, 0, HANSEL_ERR_HEADER, HANSEL_OFFSET_DTYPE},
        {"dtype-8", HANSEL_OFFSET_DTYPE, 1, 8, HANSEL_ERR_HEADER, HANSEL_OFFSET_DTYPE},
        {"dtype-i8-grid", HANSEL_OFFSET_DTYPE, 1, HANSEL_I8, HANSEL_ERR_HEADER,
         HANSEL_OFFSET_DTYPE},
        {"mode-2", HANSEL_OFFSET_MODE, 1, 2, HANSEL_ERR_HEADER, HANSEL_OFFSET_MODE},
        {"mode-lossless-step", HANSEL_OFFSET_MODE, 1, 1, HANSEL_ERR_HEADER, HANSEL_OFFSET_STEP},
        {"rank-9", HANSEL_OFFSET_RANK, 1, 9, HANSEL_ERR_HEADER, HANSEL_OFFSET_RANK},
        {"head-bytes-misaligned", HANSEL_OFFSET_HEAD_BYTES, 4, 136, HANSEL_ERR_HEADER, 8},
        {"head-bytes-small", HANSEL_OFFSET_HEAD_BYTES, 4, 64, HANSEL_ERR_HEADER, 8},
        {"head-bytes-0", HANSEL_OFFSET_HEAD_BYTES, 4, 0, HANSEL_ERR_HEADER, 8},
        {"head-bytes-huge", HANSEL_OFFSET_HEAD_BYTES, 4, 0xFFFFFFF0, HANSEL_ERR_TRUNCATED, 255},
        {"head-bytes-cuts-table", HANSEL_OFFSET_HEAD_BYTES, 4, 80, HANSEL_ERR_TABLE, 72},
        {"step-0", HANSEL_OFFSET_STEP, 4, 0, HANSEL_ERR_HEADER, HANSEL_OFFSET_STEP},
        {"step-negative-0", HANSEL_OFFSET_STEP, 4, 0x80000000, HANSEL_ERR_HEADER, 28},
        {"step-negative", HANSEL_OFFSET_STEP, 4, 0xBF800000, HANSEL_ERR_HEADER, 28},
        {"step-subnormal", HANSEL_OFFSET_STEP, 4, 0x007FFFFF, HANSEL_ERR_HEADER, 28},
        {"step-infinite", HANSEL_OFFSET_STEP, 4, 0x7F800000, HANSEL_ERR_HEADER, 28},
        {"step-nan", HANSEL_OFFSET_STEP, 4, 0x7FC00000, HANSEL_ERR_HEADER, 28},
        {"raw-bytes-grid", HANSEL_OFFSET_RAW_BYTES, 1, 3, HANSEL_ERR_HEADER, 35},
        {"precision-7", HANSEL_OFFSET_SLOT_BITS, 1, 7, HANSEL_ERR_HEADER, 36},
        {"precision-13", HANSEL_OFFSET_SLOT_BITS, 1, 13, HANSEL_ERR_HEADER, 36},
        {"precision-other", HANSEL_OFFSET_SLOT_BITS, 1, 9, HANSEL_ERR_TABLE, 72},
        {"alphabet-0", HANSEL_OFFSET_ALPHABET, 2, 0, HANSEL_ERR_HEADER, 38},
        {"alphabet-1", HANSEL_OFFSET_ALPHABET, 2, 1, HANSEL_ERR_HEADER, 48},
        {"alphabet-257", HANSEL_OFFSET_ALPHABET, 2, 257, HANSEL_ERR_HEADER, 38},
        {"tail-bits-9", HANSEL_OFFSET_TAIL_BITS, 1, 9, HANSEL_ERR_HEADER, 40},
        {"tail-bits-few", HANSEL_OFFSET_TAIL_BITS, 1, 2, HANSEL_ERR_HEADER, 40},
        {"tail-steps-32", HANSEL_OFFSET_TAIL_STEPS, 1, 32, HANSEL_ERR_HEADER, 41},
        {"tail-too-long", HANSEL_OFFSET_TAIL_STEPS, 1, 6, HANSEL_ERR_HEADER, 41},
        {"length-bits-32", HANSEL_OFFSET_LENGTH_BITS, 1, 32, HANSEL_ERR_HEADER, 42},
        {"length-bits-31", HANSEL_OFFSET_LENGTH_BITS, 1, 31, HANSEL_ERR_DIRECTORY, 8},
        {"length-base-7", HANSEL_OFFSET_LENGTH_BASE, 4, 7, HANSEL_ERR_DIRECTORY, 44},
        {"length-base-0", HANSEL_OFFSET_LENGTH_BASE, 4, 0, HANSEL_ERR_DIRECTORY, 44},
        {"length-base-huge", HANSEL_OFFSET_LENGTH_BASE, 4, 0xFFFFFFFF, HANSEL_ERR_DIRECTORY, 255},
        {"pieces-0", HANSEL_OFFSET_PIECES, 4, 0, HANSEL_ERR_HEADER, 48},
        {"pieces-beyond-steps", HANSEL_OFFSET_PIECES, 4, 32, HANSEL_ERR_HEADER, 48},
        {"pieces-huge", HANSEL_OFFSET_PIECES, 4, 0xFFFFFFFF, HANSEL_ERR_HEADER, 48},
        {"pieces-other", HANSEL_OFFSET_PIECES, 4, 10, HANSEL_ERR_DIRECTORY, 255},
        {"rows-per-stream-0", HANSEL_OFFSET_ROWS_PER_STREAM, 4, 0, HANSEL_ERR_HEADER, 48},
        {"pieces-and-rows", HANSEL_OFFSET_ROWS_PER_STREAM, 4, 2, HANSEL_ERR_HEADER, 48},
        {"shape-48-bits", HANSEL_OFFSET_SHAPE, 8, (uint64_t)1 << 48, HANSEL_ERR_HEADER, 56},
        {"shape-64-bits", HANSEL_OFFSET_SHAPE, 8, (uint64_t)-1, HANSEL_ERR_HEADER, 56},
        {"shape-product", HANSEL_OFFSET_SHAPE, 8, (uint64_t)1 << 44, HANSEL_ERR_HEADER, 56},
        {"shape-columns", HANSEL_OFFSET_SHAPE + 8, 8, (uint64_t)1 << 35, HANSEL_ERR_HEADER, 56},
        {"shape-0", HANSEL_OFFSET_SHAPE, 8, 0, HANSEL_ERR_HEADER, 38},
        {"streams-31-bits", HANSEL_OFFSET_SHAPE, 8, 715827883, HANSEL_ERR_HEADER, 48},
        {"streams-many", HANSEL_OFFSET_SHAPE, 8, 700000000, HANSEL_ERR_DIRECTORY, 8},
        {"shape-other", HANSEL_OFFSET_SHAPE, 8, 4, HANSEL_ERR_DIRECTORY, 255},
    };
    uint32_t directory_length_base =
        (uint32_t)formula_load(base->at + HANSEL_OFFSET_LENGTH_BASE, 4);
    BAD_EACH(base, fields);
    bad_field("length-base-sum", base, HANSEL_OFFSET_LENGTH_BASE, 4, directory_length_base + 1,
              HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_BLOB_BYTES);
    bad_field("blob-bytes-more", base, HANSEL_OFFSET_BLOB_BYTES, 8, base->count + 16,
              HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_BLOB_BYTES);
    bad_field("blob-bytes-less", base, HANSEL_OFFSET_BLOB_BYTES, 8, base->count - 16,
              HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_BLOB_BYTES);
    bad_field("blob-bytes-64-bits", base, HANSEL_OFFSET_BLOB_BYTES, 8,
              (uint64_t)base->count + ((uint64_t)1 << 63), HANSEL_ERR_DIRECTORY, 16);
    bad_field("head-bytes-more", base, HANSEL_OFFSET_HEAD_BYTES, 4,
              formula_load(base->at + HANSEL_OFFSET_HEAD_BYTES, 4) + 16, HANSEL_ERR_DIRECTORY, 8);
    bad_field("head-bytes-cuts-directory", base, HANSEL_OFFSET_HEAD_BYTES, 4,
              formula_load(base->at + HANSEL_OFFSET_HEAD_BYTES, 4) - 16, HANSEL_ERR_DIRECTORY, 8);
    bad_field("frequency-plus-1", base, 72, 1, base->at[72] + 1u, HANSEL_ERR_TABLE, 72);
    bad_field("frequency-minus-1", base, 72, 1, base->at[72] - 1u, HANSEL_ERR_TABLE, 72);
    bad_fields("pieces-1-rows-4", base, HANSEL_OFFSET_PIECES, 4, 1, HANSEL_OFFSET_ROWS_PER_STREAM,
               4, 4, HANSEL_ERR_HEADER, HANSEL_OFFSET_PIECES);

    bad_fields("shape-product-wraps", base, HANSEL_OFFSET_SHAPE, 8, (uint64_t)1 << 40,
               HANSEL_OFFSET_SHAPE + 8, 8, (uint64_t)1 << 24, HANSEL_ERR_HEADER,
               HANSEL_OFFSET_SHAPE);

    bad_field("raw-bytes-0", lossless, HANSEL_OFFSET_RAW_BYTES, 1, 0, HANSEL_ERR_HEADER, 35);
    bad_field("raw-bytes-3", lossless, HANSEL_OFFSET_RAW_BYTES, 1, 3, HANSEL_ERR_HEADER, 35);
    bad_field("lossless-step", lossless, HANSEL_OFFSET_STEP, 4, 0x3F800000, HANSEL_ERR_HEADER, 28);
    bad_field("lossless-dtype", lossless, HANSEL_OFFSET_DTYPE, 1, HANSEL_U8, HANSEL_ERR_HEADER, 35);
    bad_field("lossless-f16", lossless, HANSEL_OFFSET_DTYPE, 1, HANSEL_F32, HANSEL_ERR_HEADER, 35);

    bad_field("constant-pieces", constant, HANSEL_OFFSET_PIECES, 4, 1, HANSEL_ERR_HEADER, 48);
    bad_field("constant-rows", constant, HANSEL_OFFSET_ROWS_PER_STREAM, 4, 1, HANSEL_ERR_HEADER,
              48);
    bad_field("constant-tail-bits", constant, HANSEL_OFFSET_TAIL_BITS, 1, 1, HANSEL_ERR_HEADER, 40);
    bad_field("constant-tail-steps", constant, HANSEL_OFFSET_TAIL_STEPS, 1, 1, HANSEL_ERR_HEADER,
              40);
    bad_field("constant-length-bits", constant, HANSEL_OFFSET_LENGTH_BITS, 1, 1, HANSEL_ERR_HEADER,
              40);
    bad_field("constant-length-base", constant, HANSEL_OFFSET_LENGTH_BASE, 4, 8, HANSEL_ERR_HEADER,
              40);
    bad_field("constant-alphabet-0", constant, HANSEL_OFFSET_ALPHABET, 2, 0, HANSEL_ERR_HEADER, 38);
    bad_field("constant-alphabet-2", constant, HANSEL_OFFSET_ALPHABET, 2, 2, HANSEL_ERR_HEADER, 48);
    bad_field("constant-head-padding", constant, 79, 1, 1, HANSEL_ERR_RESERVED, 79);
    bad_field("empty-alphabet-1", empty, HANSEL_OFFSET_ALPHABET, 2, 1, HANSEL_ERR_HEADER, 38);
    bad_field("empty-alphabet-2", empty, HANSEL_OFFSET_ALPHABET, 2, 2, HANSEL_ERR_HEADER, 38);
}

/* Sizes, checksums, padding: base's last words are followed by padding. */
static void write_bad_sizes(const bytes *base, const bytes *lossless) {
    hansel_blob blob;
    bytes bad;
    size_t words_end, head_end;
    if (hansel_read_head(&blob, base->at, base->count, NULL) != HANSEL_OK) die("base", "head");
    words_end = blob.head_bytes + 2 * (size_t)blob.word_count;
    head_end = blob.directory_offset + (blob.stream_count * blob.length_bits + 7) / 8;
    if (words_end == base->count || head_end == blob.head_bytes) die("base", "needs padding");

    bad_size("truncated-0", base, 0, HANSEL_ERR_TRUNCATED, 0);
    bad_size("truncated-55", base, 55, HANSEL_ERR_TRUNCATED, 55);
    bad_size("truncated-56", base, 56, HANSEL_ERR_TRUNCATED, 56);
    bad_size("truncated-head", base, blob.head_bytes - 1, HANSEL_ERR_TRUNCATED,
             blob.head_bytes - 1);
    bad_size("truncated-payload", base, blob.head_bytes, HANSEL_ERR_TRUNCATED, base->count);
    bad_size("truncated-last-byte", base, base->count - 1, HANSEL_ERR_TRUNCATED, base->count);
    bad_size("trailing-1", base, base->count + 1, HANSEL_ERR_TRAILING, base->count);
    bad_size("trailing-16", base, base->count + 16, HANSEL_ERR_TRAILING, base->count);

    bad_flip("crc-head-field", base, HANSEL_OFFSET_HEAD_CRC, HANSEL_ERR_CHECKSUM, 12);
    bad_flip("crc-head-shape", base, HANSEL_OFFSET_SHAPE, HANSEL_ERR_CHECKSUM, 12);
    bad_flip("crc-head-last", base, blob.head_bytes - 1, HANSEL_ERR_CHECKSUM, 12);
    bad_flip("crc-payload-field", base, HANSEL_OFFSET_PAYLOAD_CRC, HANSEL_ERR_CHECKSUM, 12);
    bad_flip("crc-payload-first", base, blob.head_bytes, HANSEL_ERR_CHECKSUM, 24);
    bad_flip("crc-payload-last", base, base->count - 1, HANSEL_ERR_CHECKSUM, 24);
    bad_flip("crc-raw-plane", lossless, lossless->count - 16, HANSEL_ERR_CHECKSUM, 24);
    bad = copy(base); /* a right head over a wrong payload checksum */
    formula_store(bad.at + HANSEL_OFFSET_PAYLOAD_CRC, 4, ~blob.payload_crc);
    formula_store(bad.at + HANSEL_OFFSET_HEAD_CRC, 4, 0);
    formula_store(bad.at + HANSEL_OFFSET_HEAD_CRC, 4, hansel_crc32c(0, bad.at, blob.head_bytes));
    write_bad("crc-payload-wrong", bad, HANSEL_ERR_CHECKSUM, 24);

    bad_field("padding-head", base, blob.head_bytes - 1, 1, 128, HANSEL_ERR_RESERVED,
              blob.head_bytes - 1);
    bad_field("padding-words-first", base, (uint32_t)words_end, 1, 1, HANSEL_ERR_RESERVED,
              blob.head_bytes);
    bad_field("padding-words-last", base, (uint32_t)base->count - 1, 1, 1, HANSEL_ERR_RESERVED,
              blob.head_bytes);
    bad_field("padding-raw-plane", lossless, (uint32_t)lossless->count - 1, 1, 1,
              HANSEL_ERR_RESERVED, ANY_POSITION);
}

/*
 * One stream that decodes to the right symbols and ends as it must, but for an
 * initial state below 2^16: the encoder has emitted a word where none was due.
 * Lane by lane, until a lane is found whose first step takes no word.
 */
static bytes low_state(const bytes *one, const hansel_blob *blob) {
    bytes bad = copy(one);
    uint32_t table[HANSEL_MAX_SLOTS], lane, p = blob->slot_bits;
    uint8_t *states = bad.at + blob->head_bytes, *words = states + 2 * HANSEL_STATE_WORDS;
    hansel_build_table(table, blob);
    for (lane = 0; lane < HANSEL_LANES; lane++) {
        uint32_t state = (uint32_t)formula_load(states + 4 * lane, 4);
        uint32_t slot = state & ((1u << p) - 1), freq = table[slot] & HANSEL_FIELD_MASK;
        uint32_t bias = table[slot] >> HANSEL_BIAS_SHIFT & HANSEL_FIELD_MASK;
        uint32_t next = freq * (state >> p) + bias, high = next >> 16;
        uint32_t low = (high / freq << p) + slot - bias + high % freq;
        if (high && low < HANSEL_STATE_LOW) {
            memmove(words + 2, words, (size_t)(bad.at + bad.count - words) - 2);
            formula_store(words, 2, next & 65535);
            formula_store(states + 4 * lane, 4, low);
            formula_store(bad.at + HANSEL_OFFSET_LENGTH_BASE, 4, blob->word_count + 1);
            formula_seal(bad.at, bad.count);
            return bad;
        }
        if (!high) words += 2;
    }
    die("low_state", "wants another stream");
    return bad;
}

/* Streams that do not end as they must. */
static void write_bad_streams(const bytes *base, const bytes *one, const bytes *tail) {
    hansel_blob blob;
    uint32_t cursors[64], i, words;
    bytes bad;
    if (hansel_read_head(&blob, base->at, base->count, NULL) != HANSEL_OK) die("base", "head");
    if (blob.stream_count >= 64 || blob.length_bits > 4 || !blob.length_bits)
        die("base", "wants few streams");
    hansel_read_cursors(cursors, &blob, base->at, 0, blob.stream_count, 0);
    bad_field("state-low-first", base, blob.head_bytes, 4, 65535, HANSEL_ERR_CORRUPT, 0);
    bad_field("state-0-lane-3", base, blob.head_bytes + 12, 4, 0, HANSEL_ERR_CORRUPT, 0);
    i = blob.stream_count - 1;
    bad_field("state-low-last", base, blob.head_bytes + 2 * cursors[i], 4, 65535,
              HANSEL_ERR_CORRUPT, i);
    bad_field("state-other", base, blob.head_bytes + 2 * cursors[2], 4, 0xFFFFFFFF,
              HANSEL_ERR_CORRUPT, 2);

    /* 9 * 2^29 words and more, and the blob's size says so too */
    bad_fields(
        "words-33-bits", base, HANSEL_OFFSET_LENGTH_BASE, 4, 1u << 29, HANSEL_OFFSET_BLOB_BYTES, 8,
        blob.head_bytes +
            (2 * (blob.word_count + (uint64_t)blob.stream_count * ((1u << 29) - blob.length_base)) +
             15) /
                16 * 16,
        HANSEL_ERR_DIRECTORY, blob.directory_offset);

    bad = copy(base); /* two neighbours' lengths exchanged: the sum stays */
    for (i = 0; cursors[i + 1] - cursors[i] == cursors[i + 2] - cursors[i + 1]; i++)
        if (i + 3 > blob.stream_count) die("base", "wants unequal streams");
    {
        uint8_t *directory = bad.at + blob.directory_offset;
        uint32_t bit = i * blob.length_bits, mask = (1u << blob.length_bits) - 1, first, second;
        uint64_t packed = formula_load(directory + bit / 8, 4);
        first = (uint32_t)(packed >> bit % 8) & mask;
        second = (uint32_t)(packed >> (bit % 8 + blob.length_bits)) & mask;
        packed ^= (uint64_t)((first ^ second) | (first ^ second) << blob.length_bits) << bit % 8;
        formula_store(directory + bit / 8, 4, packed);
    }
    formula_seal(bad.at, bad.count);
    write_bad("lengths-exchanged", bad, HANSEL_ERR_CORRUPT, i);

    /* One stream: a word more, a word less; the padding hides it from the sizes. */
    if (hansel_read_head(&blob, one->at, one->count, NULL) != HANSEL_OK) die("one", "head");
    words = (uint32_t)blob.word_count;
    if (blob.stream_count != 1 || words <= 8 || words % 8 < 2) die("one", "wants another length");
    bad_field("words-left-over", one, HANSEL_OFFSET_LENGTH_BASE, 4, words + 1, HANSEL_ERR_CORRUPT,
              0);
    bad_fields("words-missing", one, HANSEL_OFFSET_LENGTH_BASE, 4, words - 1,
               blob.head_bytes + 2 * words - 2, 2, 0, HANSEL_ERR_CORRUPT, 0);

    write_bad("state-low-consistent", low_state(one, &blob), HANSEL_ERR_CORRUPT, 0);

    /* Nothing but a tail: six symbols, alphabet of 3, digits of 2 bits. */
    if (hansel_read_head(&blob, tail->at, tail->count, NULL) != HANSEL_OK) die("tail", "head");
    if (blob.alphabet_size != 3 || blob.tail_bits != 2 || blob.word_count != 8)
        die("tail", "shape");
    bad_field("tail-digit", tail, blob.head_bytes, 1, 3, HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-digit-second", tail, blob.head_bytes + 4, 1, 12, HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-rest", tail, blob.head_bytes, 1, tail->at[blob.head_bytes] | 16u,
              HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-rest-high", tail, blob.head_bytes + 12, 4,
              formula_load(tail->at + blob.head_bytes + 12, 4) + (1u << 31), HANSEL_ERR_CORRUPT, 0);
}

/* Several weights to a symbol. */
static void write_bad_folded(const bytes *folded, const bytes *lossless, const bytes *constant) {
    static const field_change changes[] = {
        {"folded-version-1", HANSEL_OFFSET_VERSION, 1, 1, HANSEL_ERR_RESERVED, 34},
        {"folded-by-0", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 0, HANSEL_ERR_RESERVED, 34},
        {"folded-by-1", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 1, HANSEL_ERR_RESERVED, 34},
        {"folded-by-3", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 3, HANSEL_ERR_RESERVED, 34},
        {"folded-by-4", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 4, HANSEL_ERR_CORRUPT, 0},
        {"folded-by-8", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 8, HANSEL_ERR_RESERVED, 34},
    };
    hansel_blob blob;
    if (hansel_read_head(&blob, folded->at, folded->count, NULL) != HANSEL_OK)
        die("folded", "head");
    if (blob.weights_per_symbol != 2) die("folded", "is not");
    BAD_EACH(folded, changes);
    bad_fields("folded-by-3-slot-bits", folded, HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 3,
               HANSEL_OFFSET_SLOT_BITS, 1, 13, HANSEL_ERR_RESERVED,
               34); /* reserved before ranges */
    bad_fields("folded-raw-plane", lossless, HANSEL_OFFSET_VERSION, 1, 2,
               HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 2, HANSEL_ERR_HEADER, 34);
    bad_fields("folded-constant", constant, HANSEL_OFFSET_VERSION, 1, 2,
               HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 2, HANSEL_ERR_HEADER, 34);
    /* 5 rows of 37 columns have 5 steps: 6 pieces would fit one weight to a symbol */
    bad_field("folded-pieces", folded, HANSEL_OFFSET_PIECES, 4, 6, HANSEL_ERR_HEADER,
              HANSEL_OFFSET_PIECES);
    bad_field("folded-state", folded, blob.head_bytes + 4, 4, 65535, HANSEL_ERR_CORRUPT, 0);
}

/* Several dimensions to a row. */
static void write_bad_merged(const bytes *merged) {
    static const field_change changes[] = {
        {"merged-version-1", HANSEL_OFFSET_VERSION, 1, 1, HANSEL_ERR_RESERVED, 43},
        {"merged-version-2", HANSEL_OFFSET_VERSION, 1, 2, HANSEL_ERR_RESERVED, 34},
        {"merged-by-0", HANSEL_OFFSET_ROW_DIMS, 1, 0, HANSEL_ERR_RESERVED, 43},
        {"merged-by-1", HANSEL_OFFSET_ROW_DIMS, 1, 1, HANSEL_ERR_RESERVED, 43},
        /* columns are too few for the pieces */
        {"merged-by-2", HANSEL_OFFSET_ROW_DIMS, 1, 2, HANSEL_ERR_HEADER, HANSEL_OFFSET_PIECES},
        {"merged-by-4", HANSEL_OFFSET_ROW_DIMS, 1, 4, HANSEL_ERR_HEADER, 43},
        {"merged-by-255", HANSEL_OFFSET_ROW_DIMS, 1, 255, HANSEL_ERR_HEADER, 43},
        {"merged-by-3-weights", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 3, HANSEL_ERR_RESERVED, 34},
    };
    hansel_blob blob;
    if (hansel_read_head(&blob, merged->at, merged->count, NULL) != HANSEL_OK)
        die("merged", "head");
    if (blob.row_dims != 3) die("merged", "is not");
    BAD_EACH(merged, changes);
    bad_field("merged-state", merged, blob.head_bytes + 4, 4, 65535, HANSEL_ERR_CORRUPT, 0);
}

void write_bad_files(void) {
    vector v[] = {
        {"bad-base", HANSEL_F32, 2, {3, 124}, {FORMULA_GAUSS, 178, 0, 5, 0}, STEP_S(0.03125f, 40)},
        {"bad-lossless", HANSEL_BF16, 2, {5, 7}, {FORMULA_WEIGHTS, 256, 0, 5, 0}, LOSSLESS(16)},
        {"bad-constant", HANSEL_F32, 2, {2, 3}, {FORMULA_CONSTANT, 0, 1, 0, 0}, STEP(1)},
        {"bad-empty", HANSEL_F32, 2, {0, 3}, {FORMULA_CONSTANT, 0, 1, 0, 0}, STEP(1)},
        {"bad-one", HANSEL_F32, 2, {1, 64}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP(0.03125f)},
        {"bad-tail", HANSEL_F32, 2, {1, 6}, {FORMULA_UNIFORM, 4, -1, 0, 0}, STEP(1)},
        {"bad-folded", HANSEL_I8, 2, {5, 37}, {FORMULA_UNIFORM, 11, -5, 0, 0}, FOLD_L(16, 2)},
        {"bad-merged", HANSEL_I8, 4, {16, 29, 3, 3}, {FORMULA_GAUSS, 64, 0, 0, 0}, LOSSLESS(64)},
    };
    bytes coded[sizeof v / sizeof *v];
    size_t i;
    for (i = 0; i < sizeof v / sizeof *v; i++) {
        if (i != 6) v[i].options.weights_per_symbol = 1;
        coded[i] = encode(&v[i]);
    }
    write_bad_fields(&coded[0], &coded[1], &coded[2], &coded[3]);
    write_bad_sizes(&coded[0], &coded[1]);
    write_bad_streams(&coded[0], &coded[4], &coded[5]);
    write_bad_folded(&coded[6], &coded[1], &coded[2]);
    write_bad_merged(&coded[7]);
    for (i = 0; i < sizeof v / sizeof *v; i++) free(coded[i].at);
}
