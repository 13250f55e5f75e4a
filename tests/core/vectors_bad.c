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
    fprintf(json,
            "%s  {\"name\": \"%s\", \"file\": \"version_4/bad/%s.hansel\", \"status\": \"%s\"",
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

/* Bytes of the head replaced by others, an even number more or fewer. */
static void bad_splice(const char *name, const bytes *base, uint32_t offset, uint32_t old_bytes,
                       const uint8_t *src, uint32_t src_bytes, hansel_status wanted,
                       uint64_t position) {
    bytes bad;
    uint32_t head = (uint32_t)formula_load(base->at + HANSEL_OFFSET_4_HEAD_BYTES, 3);
    bad.count = base->count + src_bytes - old_bytes;
    bad.at = allocate(bad.count + 32);
    memcpy(bad.at, base->at, offset);
    memcpy(bad.at + offset, src, src_bytes);
    memcpy(bad.at + offset + src_bytes, base->at + offset + old_bytes,
           base->count - offset - old_bytes);
    formula_store(bad.at + HANSEL_OFFSET_4_HEAD_BYTES, 3, head + src_bytes - old_bytes);
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

static void read(hansel_blob *blob, const bytes *coded, const char *name) {
    if (hansel_read_head(blob, coded->at, coded->count, NULL) != HANSEL_OK) die(name, "head");
}

/* Where fields are, in matrices of fewer than 128 rows, columns and levels. */
enum {
    KIND = 16,
    RANK = 17,
    ROWS = 18,
    COLUMNS = 19,
    GRID_STEP = 20,
    GRID_LEVELS = 24,
    ORIGIN = 25,
    TABLE = 26,
    TAIL_STEPS = 27,
    CUT = 28,
    LENGTH_BASE = 29,
    LENGTH_BITS = 30,
    LOGS = 31,
    WINDOW = 20, /* of lossless floats, and what follows it */
    WINDOW_BASE = 21
};

static void write_bad_fields(const bytes *base) {
    static const field_change fields[] = {
        {"magic", HANSEL_OFFSET_MAGIC, 4, 0x4C534E49, HANSEL_ERR_MAGIC, 0},
        {"version-0", HANSEL_OFFSET_VERSION, 1, 0, HANSEL_ERR_VERSION, 4},
        {"version-5", HANSEL_OFFSET_VERSION, 1, 5, HANSEL_ERR_VERSION, 4},
        {"head-bytes-odd", HANSEL_OFFSET_4_HEAD_BYTES, 3, 41, HANSEL_ERR_HEADER, 5},
        {"head-bytes-16", HANSEL_OFFSET_4_HEAD_BYTES, 3, 16, HANSEL_ERR_HEADER, 5},
        {"head-bytes-0", HANSEL_OFFSET_4_HEAD_BYTES, 3, 0, HANSEL_ERR_HEADER, 5},
        {"head-bytes-huge", HANSEL_OFFSET_4_HEAD_BYTES, 3, 0xFFFFFE, HANSEL_ERR_TRUNCATED, 255},
        {"head-bytes-cuts-shape", HANSEL_OFFSET_4_HEAD_BYTES, 3, 18, HANSEL_ERR_HEADER, ROWS},
        {"head-bytes-cuts-step", HANSEL_OFFSET_4_HEAD_BYTES, 3, 22, HANSEL_ERR_HEADER, 255},
        {"head-bytes-cuts-levels", HANSEL_OFFSET_4_HEAD_BYTES, 3, 24, HANSEL_ERR_HEADER, 24},
        {"head-bytes-cuts-model", HANSEL_OFFSET_4_HEAD_BYTES, 3, 28, HANSEL_ERR_HEADER, 28},
        {"head-bytes-cuts-logs", HANSEL_OFFSET_4_HEAD_BYTES, 3, 36, HANSEL_ERR_TABLE, LOGS},
        {"dtype-0", KIND, 1, 0, HANSEL_ERR_HEADER, KIND},
        {"dtype-8", KIND, 1, 24, HANSEL_ERR_HEADER, KIND},
        {"dtype-i8-grid", KIND, 1, HANSEL_I8, HANSEL_ERR_HEADER, KIND},
        {"folded-by-8", KIND, 1, HANSEL_F32 + 96, HANSEL_ERR_RESERVED, KIND},
        {"kind-highest-bit", KIND, 1, HANSEL_F32 + 128, HANSEL_ERR_RESERVED, KIND},
        {"folded-by-2", KIND, 1, HANSEL_F32 + 32, HANSEL_ERR_HEADER, GRID_LEVELS},
        {"folded-by-4", KIND, 1, HANSEL_F32 + 64, HANSEL_ERR_HEADER, GRID_LEVELS},
        {"rank-9", RANK, 1, 9, HANSEL_ERR_HEADER, RANK},
        {"rank-15", RANK, 1, 15, HANSEL_ERR_HEADER, RANK},
        {"row-dims-1", RANK, 1, 2 + 16, HANSEL_ERR_HEADER, RANK},
        {"row-dims-2", RANK, 1, 2 + 32, HANSEL_ERR_HEADER, RANK},
        {"row-dims-15", RANK, 1, 2 + 240, HANSEL_ERR_HEADER, RANK},
        {"step-0", GRID_STEP, 4, 0, HANSEL_ERR_HEADER, GRID_STEP},
        {"step-negative-0", GRID_STEP, 4, 0x80000000, HANSEL_ERR_HEADER, GRID_STEP},
        {"step-negative", GRID_STEP, 4, 0xBF800000, HANSEL_ERR_HEADER, GRID_STEP},
        {"step-subnormal", GRID_STEP, 4, 0x007FFFFF, HANSEL_ERR_HEADER, GRID_STEP},
        {"step-infinite", GRID_STEP, 4, 0x7F800000, HANSEL_ERR_HEADER, GRID_STEP},
        {"step-nan", GRID_STEP, 4, 0x7FC00000, HANSEL_ERR_HEADER, GRID_STEP},
        {"levels-0", GRID_LEVELS, 1, 0, HANSEL_ERR_HEADER, GRID_LEVELS},
        {"levels-1", GRID_LEVELS, 1, 1, HANSEL_ERR_DIRECTORY, 255},
        {"levels-more", GRID_LEVELS, 1, 127, HANSEL_ERR_TABLE, 255},
        {"slot-bits-13", TABLE, 1, 5, HANSEL_ERR_HEADER, TABLE},
        {"slot-bits-15", TABLE, 1, 7, HANSEL_ERR_HEADER, TABLE},
        {"rice-bits-7", TABLE, 1, 0xE4, HANSEL_ERR_TABLE, LOGS},
        {"tail-steps-32", TAIL_STEPS, 1, 32, HANSEL_ERR_HEADER, TAIL_STEPS},
        {"tail-too-long", TAIL_STEPS, 1, 6, HANSEL_ERR_HEADER, TAIL_STEPS},
        {"cut-0", CUT, 1, 0, HANSEL_ERR_HEADER, CUT},
        {"cut-0-pieces", CUT, 1, 1, HANSEL_ERR_HEADER, CUT},
        {"cut-1-piece", CUT, 1, 3, HANSEL_ERR_HEADER, CUT},
        {"cut-rows-4", CUT, 1, 8, HANSEL_ERR_HEADER, CUT},
        {"cut-pieces-32", CUT, 1, 65, HANSEL_ERR_HEADER, CUT},
        {"cut-other", CUT, 1, 21, HANSEL_ERR_DIRECTORY, 255},
        {"length-base-7", LENGTH_BASE, 1, 7, HANSEL_ERR_DIRECTORY, 255},
        {"length-base-0", LENGTH_BASE, 1, 0, HANSEL_ERR_DIRECTORY, 255},
        {"length-bits-32", LENGTH_BITS, 1, 32, HANSEL_ERR_HEADER, LENGTH_BITS},
        {"length-bits-31", LENGTH_BITS, 1, 31, HANSEL_ERR_DIRECTORY, 5},
        {"logs-all-ones", LOGS, 8, 0xFFFFFFFFFFFFFFFF, HANSEL_ERR_TABLE, LOGS},
        {"logs-negative", LOGS, 1, 0x02, HANSEL_ERR_TABLE, LOGS},
    };
    static const uint8_t huge[] = {255, 255, 255, 255, 255, 255, 255, 255, 127};
    static const uint8_t endless[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    static const uint8_t two_48[] = {128, 128, 128, 128, 128, 128, 64};
    static const uint8_t two_40[] = {128, 128, 128, 128, 128, 160, 0};
    static const uint8_t two_32[] = {128, 128, 128, 128, 16};
    static const uint8_t many[] = {255, 255, 255, 255, 3};
    static const uint8_t l257[] = {129, 130, 0};
    hansel_blob blob;
    uint32_t last;
    read(&blob, base, "base");
    BAD_EACH(base, fields);
    bad_splice("shape-48-bits", base, ROWS, 1, two_48, sizeof two_48, HANSEL_ERR_HEADER, ROWS);
    bad_splice("shape-63-bits", base, ROWS, 1, huge, sizeof huge, HANSEL_ERR_HEADER, ROWS);
    bad_splice("shape-endless", base, ROWS, 1, endless, sizeof endless, HANSEL_ERR_HEADER, ROWS);
    bad_splice("shape-product", base, ROWS, 1, two_40, sizeof two_40, HANSEL_ERR_HEADER,
               ANY_POSITION);
    bad_splice("shape-columns", base, COLUMNS, 1, two_40, sizeof two_40, HANSEL_ERR_HEADER, ROWS);
    bad_splice("streams-many", base, ROWS, 1, many, 5, HANSEL_ERR_HEADER, ANY_POSITION);
    bad_splice("levels-257", base, GRID_LEVELS, 1, l257, 3, HANSEL_ERR_HEADER, GRID_LEVELS);
    bad_splice("cut-33-bits", base, CUT, 1, two_32, 5, HANSEL_ERR_HEADER, CUT);
    bad_splice("length-base-33-bits", base, LENGTH_BASE, 1, two_32, 5, HANSEL_ERR_HEADER,
               LENGTH_BASE);
    bad_splice("length-base-32-bits", base, LENGTH_BASE, 1, many, 5, HANSEL_ERR_DIRECTORY,
               ANY_POSITION);
    bad_field("length-base-sum", base, LENGTH_BASE, 1, blob.length_base + 1u, HANSEL_ERR_TRUNCATED,
              ANY_POSITION);
    bad_field("length-base-less", base, LENGTH_BASE, 1, blob.length_base - 1u, HANSEL_ERR_TRAILING,
              ANY_POSITION);
    last = blob.directory_offset + (uint32_t)(blob.stream_count * blob.length_bits / 8);
    if (blob.stream_count * blob.length_bits % 8 == 0) die("base", "no bits are left over");
    bad_field("directory-left-over", base, last, 1, base->at[last] | 128u, HANSEL_ERR_RESERVED,
              last);
    bad_field("head-bytes-more", base, HANSEL_OFFSET_4_HEAD_BYTES, 3, blob.head_bytes + 2,
              HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_4_HEAD_BYTES);
    bad_field("head-bytes-cuts-directory", base, HANSEL_OFFSET_4_HEAD_BYTES, 3, blob.head_bytes - 2,
              HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_4_HEAD_BYTES);
}

/* Lossless floats: windows that contradict themselves. */
static void write_bad_windows(const bytes *bf16, const bytes *f16) {
    static const field_change both[] = {
        {"window-sign-3", WINDOW, 1, 2 + 48, HANSEL_ERR_HEADER, WINDOW},
        {"window-sign-15", WINDOW, 1, 2 + 240, HANSEL_ERR_HEADER, WINDOW},
        {"window-mantissa-8", WINDOW, 1, 8, HANSEL_ERR_HEADER, WINDOW},
        {"window-mantissa-15", WINDOW, 1, 15, HANSEL_ERR_HEADER, WINDOW},
        {"window-mantissa-0", WINDOW, 1, 0, HANSEL_ERR_HEADER, 255},
        {"window-folded", KIND, 1, HANSEL_BF16 + 16 + 32, HANSEL_ERR_HEADER, KIND},
    };
    static const field_change halves[] = {
        {"window-f16-mantissa-2", WINDOW, 1, 2, HANSEL_ERR_HEADER, WINDOW},
        {"window-f16-mantissa-2-positive", WINDOW, 1, 2 + 16, HANSEL_ERR_HEADER, WINDOW},
    };
    static const uint8_t beyond[] = {255, 255, 129, 0}, most[] = {128, 128, 130, 0};
    hansel_blob blob;
    read(&blob, bf16, "windows");
    if (blob.window_base < 128) die("windows", "wants a base of two bytes");
    BAD_EACH(bf16, both);
    BAD_EACH(f16, halves);
    bad_splice("window-base-beyond", bf16, WINDOW_BASE, 2, beyond, 4, HANSEL_ERR_HEADER,
               ANY_POSITION);
    bad_splice("window-base-16-bits", bf16, WINDOW_BASE, 2, most, 4, HANSEL_ERR_HEADER,
               WINDOW_BASE);
    bad_field("window-origin-wraps", bf16, WINDOW_BASE + 3, 1, 255, HANSEL_ERR_HEADER,
              ANY_POSITION);
    if (blob.weights * blob.raw_bits % 8 == 0) die("windows", "wants bits left over");
    bad_field("raw-plane-bits-left-over", bf16, (uint32_t)bf16->count - 1, 1,
              bf16->at[bf16->count - 1] | 128u, HANSEL_ERR_RESERVED, blob.head_bytes);
    bad_flip("crc-raw-plane", bf16, bf16->count - 1, HANSEL_ERR_CHECKSUM, 12);
    bad_size("truncated-raw-plane", bf16, bf16->count - 1, HANSEL_ERR_TRUNCATED, bf16->count);
}

/* No streams. */
static void write_bad_constants(const bytes *constant, const bytes *empty) {
    bad_field("constant-levels-0", constant, GRID_LEVELS, 1, 0, HANSEL_ERR_HEADER, GRID_LEVELS);
    bad_field("constant-levels-2", constant, GRID_LEVELS, 1, 2, HANSEL_ERR_HEADER, ANY_POSITION);
    bad_field("constant-folded", constant, KIND, 1, HANSEL_F32 + 32, HANSEL_ERR_HEADER,
              GRID_LEVELS);
    bad_size("constant-trailing", constant, constant->count + 1, HANSEL_ERR_TRAILING,
             constant->count);
    bad_field("empty-levels-1", empty, GRID_LEVELS, 1, 1, HANSEL_ERR_HEADER, GRID_LEVELS);
    bad_field("empty-levels-2", empty, GRID_LEVELS, 1, 2, HANSEL_ERR_HEADER, GRID_LEVELS);
    bad_field("empty-padding", empty, (uint32_t)empty->count - 1, 1, 1, HANSEL_ERR_RESERVED,
              empty->count - 1);
}

static int is_padded(const bytes *coded) {
    hansel_blob blob;
    read(&blob, coded, "padding");
    return (blob.directory_offset + (blob.stream_count * blob.length_bits + 7) / 8) % 2;
}

/* Sizes and checksums. */
static void write_bad_sizes(const bytes *base, const bytes *padded) {
    hansel_blob blob;
    bytes bad;
    read(&blob, base, "base");
    bad_size("truncated-0", base, 0, HANSEL_ERR_TRUNCATED, 0);
    bad_size("truncated-15", base, 15, HANSEL_ERR_TRUNCATED, 15);
    bad_size("truncated-16", base, 16, HANSEL_ERR_TRUNCATED, 16);
    bad_size("truncated-head", base, blob.head_bytes - 1, HANSEL_ERR_TRUNCATED,
             blob.head_bytes - 1);
    bad_size("truncated-payload", base, blob.head_bytes, HANSEL_ERR_TRUNCATED, base->count);
    bad_size("truncated-last-byte", base, base->count - 1, HANSEL_ERR_TRUNCATED, base->count);
    bad_size("trailing-1", base, base->count + 1, HANSEL_ERR_TRAILING, base->count);
    bad_size("trailing-16", base, base->count + 16, HANSEL_ERR_TRAILING, base->count);
    bad_flip("crc-head-field", base, HANSEL_OFFSET_4_HEAD_CRC, HANSEL_ERR_CHECKSUM, 8);
    bad_flip("crc-head-shape", base, ROWS, HANSEL_ERR_CHECKSUM, 8);
    bad_flip("crc-head-last", base, blob.head_bytes - 1, HANSEL_ERR_CHECKSUM, 8);
    bad_flip("crc-payload-field", base, HANSEL_OFFSET_4_PAYLOAD_CRC, HANSEL_ERR_CHECKSUM, 8);
    bad_flip("crc-payload-first", base, blob.head_bytes, HANSEL_ERR_CHECKSUM, 12);
    bad_flip("crc-payload-last", base, base->count - 1, HANSEL_ERR_CHECKSUM, 12);
    bad = copy(base); /* a right head over a wrong payload checksum */
    formula_store(bad.at + HANSEL_OFFSET_4_PAYLOAD_CRC, 4, ~blob.payload_crc);
    formula_store(bad.at + HANSEL_OFFSET_4_HEAD_CRC, 4, 0);
    formula_store(bad.at + HANSEL_OFFSET_4_HEAD_CRC, 4, hansel_crc32c(0, bad.at, blob.head_bytes));
    write_bad("crc-payload-wrong", bad, HANSEL_ERR_CHECKSUM, 12);
    read(&blob, padded, "padded");
    bad_field("padding-head", padded, blob.head_bytes - 1, 1, 128, HANSEL_ERR_RESERVED,
              blob.head_bytes - 1);
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
            bad.count += 2;
            memmove(words + 2, words, (size_t)(bad.at + bad.count - words) - 2);
            formula_store(words, 2, next & 65535);
            formula_store(states + 4 * lane, 4, low);
            formula_store(bad.at + LENGTH_BASE, 1, blob->word_count + 1);
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
    read(&blob, base, "base");
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

    /* One stream: a word more, a word less. */
    read(&blob, one, "one");
    words = (uint32_t)blob.word_count;
    if (blob.stream_count != 1 || words <= 8 || words > 126) die("one", "wants another length");
    bad = copy(one);
    bad.count += 2;
    formula_store(bad.at + LENGTH_BASE, 1, words + 1);
    formula_seal(bad.at, bad.count);
    write_bad("words-left-over", bad, HANSEL_ERR_CORRUPT, 0);
    bad = copy(one);
    bad.count -= 2;
    formula_store(bad.at + LENGTH_BASE, 1, words - 1);
    formula_seal(bad.at, bad.count);
    write_bad("words-missing", bad, HANSEL_ERR_CORRUPT, 0);
    write_bad("state-low-consistent", low_state(one, &blob), HANSEL_ERR_CORRUPT, 0);

    /* Nothing but a tail: six symbols, alphabet of 3, digits of 2 bits. */
    read(&blob, tail, "tail");
    if (blob.alphabet_size != 3 || blob.tail_bits != 2 || blob.word_count != 8)
        die("tail", "shape");
    bad_field("tail-digit", tail, blob.head_bytes, 1, 3, HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-digit-second", tail, blob.head_bytes + 4, 1, 12, HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-rest", tail, blob.head_bytes, 1, tail->at[blob.head_bytes] | 16u,
              HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-rest-high", tail, blob.head_bytes + 12, 4,
              formula_load(tail->at + blob.head_bytes + 12, 4) + (1u << 31), HANSEL_ERR_CORRUPT, 0);
}

/* Several weights to a symbol, several dimensions to a row. */
static void write_bad_shapes(const bytes *folded, const bytes *merged) {
    enum { LEVELS = 20, FOLDED_CUT = 24, MERGED_CUT = 27 };
    hansel_blob blob;
    read(&blob, folded, "folded");
    if (blob.weights_per_symbol != 2 || blob.level_count <= 4) die("folded", "is not");
    bad_field("folded-more", folded, KIND, 1, HANSEL_I8 + 16 + 64, HANSEL_ERR_HEADER, LEVELS);
    bad_field("folded-levels-17", folded, LEVELS, 1, 17, HANSEL_ERR_HEADER, LEVELS);
    bad_field("folded-levels-1", folded, LEVELS, 1, 1, HANSEL_ERR_HEADER, LEVELS);
    /* 5 rows of 37 columns have 5 steps: 6 pieces would fit one weight to a symbol */
    bad_field("folded-pieces", folded, FOLDED_CUT, 1, 13, HANSEL_ERR_HEADER, FOLDED_CUT);
    bad_field("folded-state", folded, blob.head_bytes + 4, 4, 65535, HANSEL_ERR_CORRUPT, 0);
    read(&blob, merged, "merged");
    if (blob.row_dims != 3) die("merged", "is not");
    bad_field("merged-by-0", merged, RANK, 1, 4, HANSEL_ERR_HEADER, ANY_POSITION);
    bad_field("merged-by-1", merged, RANK, 1, 4 + 16, HANSEL_ERR_HEADER, RANK);
    /* columns are too few for the pieces */
    bad_field("merged-by-2", merged, RANK, 1, 4 + 32, HANSEL_ERR_HEADER, ANY_POSITION);
    bad_field("merged-by-4", merged, RANK, 1, 4 + 64, HANSEL_ERR_HEADER, RANK);
    bad_field("merged-state", merged, blob.head_bytes + 4, 4, 65535, HANSEL_ERR_CORRUPT, 0);
}

void write_bad_files(void) {
    vector v[] = {
        {"bad-base", HANSEL_F32, 2, {3, 124}, {FORMULA_GAUSS, 178, 0, 5, 0}, STEP_S(0.03125f, 40)},
        {"bad-bf16", HANSEL_BF16, 2, {5, 77}, {FORMULA_WEIGHTS, 256, 0, 5, 0}, LOSSLESS(16)},
        {"bad-f16", HANSEL_F16, 2, {5, 77}, {FORMULA_WEIGHTS, 256, 0, 5, 0}, LOSSLESS(16)},
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
        if (i != 7) v[i].options.weights_per_symbol = 1;
        coded[i] = encode(&v[i]);
    }
    write_bad_fields(&coded[0]);
    write_bad_windows(&coded[1], &coded[2]);
    write_bad_constants(&coded[3], &coded[4]);
    for (i = 0; !is_padded(&coded[i]); i++)
        if (i + 1 == sizeof v / sizeof *v) die("bad files", "one must be padded");
    write_bad_sizes(&coded[0], &coded[i]);
    write_bad_streams(&coded[0], &coded[5], &coded[6]);
    write_bad_shapes(&coded[7], &coded[8]);
    for (i = 0; i < sizeof v / sizeof *v; i++) free(coded[i].at);
}
