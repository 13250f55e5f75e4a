/*
 * vectors.c - writes tests/vectors: ok/, bad/ and vectors.json.
 *
 *   build/vectors tests/vectors
 *
 * The files are golden: a byte that changes for the same input is a change of
 * the format. So this runs on purpose only, never as part of the tests. It
 * checks what it writes: an ok blob decodes to its input, a bad one is refused
 * for the reason it was made for.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "formula.h"

static const char *const dtype_names[] = {"", "F32", "F16", "BF16", "I8", "U8", "F8_E4M3",
                                          "F8_E5M2"};
static const char *const status_names[] = {
    "HANSEL_OK", "HANSEL_ERR_ARGUMENT", "HANSEL_ERR_TRUNCATED", "HANSEL_ERR_TRAILING",
    "HANSEL_ERR_MAGIC", "HANSEL_ERR_VERSION", "HANSEL_ERR_RESERVED", "HANSEL_ERR_HEADER",
    "HANSEL_ERR_CHECKSUM", "HANSEL_ERR_TABLE", "HANSEL_ERR_DIRECTORY", "HANSEL_ERR_CORRUPT"};

static const char *root;
static FILE *json;
static const char *separator;
static size_t total_bytes, file_count;

static void die(const char *name, const char *why) {
    fprintf(stderr, "vectors: %s: %s\n", name, why);
    exit(1);
}

static void *allocate(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory) die("malloc", "out of memory");
    return memory;
}

static void write_file(const char *folder, const char *name, const void *src, size_t src_bytes) {
    char path[1024];
    FILE *file;
    snprintf(path, sizeof path, "%s/%s/%s.hansel", root, folder, name);
    file = fopen(path, "wb");
    if (!file || fwrite(src, 1, src_bytes, file) != src_bytes || fclose(file))
        die(path, "cannot write");
    total_bytes += src_bytes;
    file_count++;
}

/* ---- ok --------------------------------------------------------------------- */

typedef struct vector {
    const char *name;
    uint32_t dtype, rank;
    uint64_t shape[HANSEL_MAX_RANK];
    formula input; /* its seed is made of the name */
    hansel_options options;
} vector;

typedef struct bytes {
    uint8_t *at;
    size_t count;
} bytes;

/* Which test reads what is said in tests/vectors/README.md. */
static void describe(const vector *v, const hansel_blob *blob, const bytes *coded, uint32_t source,
                     uint32_t symbols, uint32_t values, uint32_t saturated) {
    const hansel_options *o = &v->options;
    uint32_t i;
    fprintf(json, "%s  {\"name\": \"%s\", \"file\": \"ok/%s.hansel\", \"dtype\": \"%s\", \"shape\": [",
            separator, v->name, v->name, dtype_names[v->dtype]);
    for (i = 0; i < v->rank; i++)
        fprintf(json, "%s%llu", i ? ", " : "", (unsigned long long)v->shape[i]);
    fprintf(json, "], \"mode\": \"%s\", \"formula\": {\"kind\": \"%s\", \"scale\": %u, \"low\": %d, "
                  "\"exponent\": %u, \"seed\": %u}, \"options\": {",
            o->lossless ? "lossless" : "grid", formula_names[v->input.kind], v->input.scale,
            v->input.low, v->input.exponent, v->input.seed);
    if (o->lossless) fprintf(json, "\"lossless\": true");
    else if (o->target == HANSEL_TARGET_BITS) fprintf(json, "\"bits\": %.9g", o->goal);
    else if (o->target == HANSEL_TARGET_ERROR) fprintf(json, "\"error\": %.9g", o->goal);
    else fprintf(json, "\"step\": %.9g", (double)o->step);
    if (o->clamp) fprintf(json, ", \"clamp\": true");
    if (o->stream_length) fprintf(json, ", \"stream_length\": %u", o->stream_length);
    if (o->precision) fprintf(json, ", \"precision\": %u", o->precision);
    fprintf(json, "}, \"grid_step\": %.9g, \"saturated\": %u, \"streams\": %u, \"blob_bytes\": %zu, "
                  "\"source_crc32c\": \"%08x\", \"blob_crc32c\": \"%08x\", "
                  "\"symbols_crc32c\": \"%08x\", \"values_crc32c\": \"%08x\"}",
            (double)blob->step, saturated, blob->stream_count, coded->count, source,
            hansel_crc32c(0, coded->at, coded->count), symbols, values);
    separator = ",\n";
}

static bytes encode(vector *v) {
    hansel_blob view;
    bytes out;
    size_t bound, scratch_bytes;
    uint8_t *src, *scratch;
    hansel_status status;
    v->input.seed = hansel_crc32c(0, v->name, strlen(v->name));
    if (hansel_init(&view, v->dtype, HANSEL_LOSSLESS, v->rank, v->shape, 0) != HANSEL_OK)
        die(v->name, "bad shape");
    src = allocate((size_t)view.weights * hansel_dtype_bytes(v->dtype));
    formula_fill(src, &v->input, v->dtype, view.weights);
    bound = hansel_encode_blob_bound(view.rows, view.columns, v->dtype, v->options.stream_length);
    scratch_bytes = hansel_encode_scratch(view.rows, view.columns, v->options.stream_length);
    scratch = allocate(scratch_bytes);
    out.at = allocate(bound);
    status = hansel_encode_blob(out.at, bound, &out.count, scratch, scratch_bytes, v->dtype,
                                v->rank, v->shape, src, &v->options, NULL);
    if (status != HANSEL_OK) die(v->name, status_names[status < 12 ? status : 1]);
    free(src);
    free(scratch);
    return out;
}

static void write_vector(vector v) {
    bytes coded = encode(&v);
    hansel_blob blob;
    hansel_stats stats;
    uint32_t size = hansel_dtype_bytes(v.dtype);
    uint8_t *src, *symbols, *values;
    size_t count;
    memset(&stats, 0, sizeof stats);
    if (hansel_read_head(&blob, coded.at, coded.count, NULL) != HANSEL_OK) die(v.name, "head");
    count = (size_t)blob.weights;
    src = allocate(count * size);
    values = allocate(count * size);
    symbols = allocate(count);
    formula_fill(src, &v.input, v.dtype, count);
    if (hansel_decode_symbols(symbols, count, coded.at, coded.count, NULL) != HANSEL_OK)
        die(v.name, "does not decode");
    if (v.options.lossless) {
        const uint8_t *raw = coded.at + blob.head_bytes + (2 * blob.word_count + 15) / 16 * 16;
        hansel_join(values, v.dtype, symbols, raw, count);
        if (memcmp(values, src, count * size)) die(v.name, "not lossless");
    } else {
        uint8_t *wanted = allocate(count);
        hansel_dequantize(values, v.dtype, symbols, count, blob.step);
        hansel_quantize(wanted, v.dtype, src, count, blob.step, 1, &stats, NULL);
        if (memcmp(wanted, symbols, count)) die(v.name, "wrong symbols");
        free(wanted);
    }
    write_file("ok", v.name, coded.at, coded.count);
    describe(&v, &blob, &coded, hansel_crc32c(0, src, count * size),
             hansel_crc32c(0, symbols, count), hansel_crc32c(0, values, count * size),
             stats.saturated);
    free(src);
    free(values);
    free(symbols);
    free(coded.at);
}

#define STEP(s) {.step = (s)}
#define STEP_S(s, length) {.step = (s), .stream_length = (length)}
#define STEP_P(s, bits) {.step = (s), .stream_length = 256, .precision = (bits)}
#define LOSSLESS(length) {.lossless = 1, .stream_length = (length)}

/* 0.03125 = 2^-5 is a step on which the weights lie; 0.07 is one on which none does. */
static const vector vectors[] = {
    {"annotated", HANSEL_F32, 2, {4, 35}, {FORMULA_GAUSS, 11, 0, 1, 0}, STEP_S(0.5f, 64)},

    {"rank-0", HANSEL_F32, 0, {0}, {FORMULA_CONSTANT, 0, -7, 2, 0}, STEP(0.25f)},
    {"rank-0-lossless", HANSEL_BF16, 0, {0}, {FORMULA_WEIGHTS, 160, 0, 5, 0}, LOSSLESS(0)},
    {"rank-1", HANSEL_F32, 1, {77}, {FORMULA_GAUSS, 80, 0, 5, 0}, STEP_S(0.07f, 32)},
    {"rank-3", HANSEL_F16, 3, {3, 5, 7}, {FORMULA_GAUSS, 80, 0, 5, 0}, STEP_S(0.07f, 16)},
    {"rank-8", HANSEL_BF16, 8, {1, 2, 1, 3, 1, 2, 2, 9}, {FORMULA_GAUSS, 80, 0, 5, 0}, STEP_S(0.07f, 16)},
    {"rank-8-lossless", HANSEL_I8, 8, {2, 1, 2, 1, 2, 1, 2, 5}, {FORMULA_GAUSS, 80, 0, 0, 0}, LOSSLESS(16)},

    {"empty-0", HANSEL_F32, 1, {0}, {FORMULA_GAUSS, 80, 0, 5, 0}, STEP(0.07f)},
    {"empty-3x0", HANSEL_F16, 2, {3, 0}, {FORMULA_GAUSS, 80, 0, 5, 0}, STEP(0.07f)},
    {"empty-0x3", HANSEL_BF16, 2, {0, 3}, {FORMULA_GAUSS, 80, 0, 5, 0}, STEP(0.07f)},
    {"empty-0x3-lossless", HANSEL_BF16, 2, {0, 3}, {FORMULA_GAUSS, 80, 0, 5, 0}, LOSSLESS(0)},

    {"f32-grid", HANSEL_F32, 2, {19, 67}, {FORMULA_GAUSS, 320, 0, 5, 0}, STEP_S(0.07f, 64)},
    {"f16-grid", HANSEL_F16, 2, {19, 67}, {FORMULA_GAUSS, 320, 0, 5, 0}, STEP_S(0.07f, 64)},
    {"bf16-grid", HANSEL_BF16, 2, {19, 67}, {FORMULA_GAUSS, 320, 0, 5, 0}, STEP_S(0.07f, 64)},
    {"f32-lossless", HANSEL_F32, 2, {19, 67}, {FORMULA_WEIGHTS, 800, 0, 9, 0}, LOSSLESS(64)},
    {"f16-lossless", HANSEL_F16, 2, {19, 67}, {FORMULA_WEIGHTS, 800, 0, 9, 0}, LOSSLESS(64)},
    {"bf16-lossless", HANSEL_BF16, 2, {19, 67}, {FORMULA_WEIGHTS, 800, 0, 9, 0}, LOSSLESS(64)},
    {"f32-special", HANSEL_F32, 2, {9, 61}, {FORMULA_SPECIAL, 800, 0, 9, 0}, LOSSLESS(64)},
    {"f16-special", HANSEL_F16, 2, {9, 61}, {FORMULA_SPECIAL, 800, 0, 9, 0}, LOSSLESS(64)},
    {"bf16-special", HANSEL_BF16, 2, {9, 61}, {FORMULA_SPECIAL, 800, 0, 9, 0}, LOSSLESS(64)},
    {"i8", HANSEL_I8, 2, {19, 67}, {FORMULA_GAUSS, 240, 0, 0, 0}, LOSSLESS(64)},
    {"i8-uniform", HANSEL_I8, 2, {31, 67}, {FORMULA_UNIFORM, 256, -128, 0, 0}, LOSSLESS(1024)},
    {"u8", HANSEL_U8, 2, {19, 67}, {FORMULA_GAUSS, 240, 128, 0, 0}, LOSSLESS(64)},
    {"f8-e4m3", HANSEL_F8_E4M3, 2, {19, 67}, {FORMULA_LAPLACE, 64, 40, 0, 0}, LOSSLESS(64)},
    {"f8-e5m2", HANSEL_F8_E5M2, 2, {19, 67}, {FORMULA_LAPLACE, 64, 56, 0, 0}, LOSSLESS(64)},

    {"precision-8", HANSEL_F32, 2, {32, 64}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_P(0.03125f, 8)},
    {"precision-9", HANSEL_F32, 2, {32, 64}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_P(0.03125f, 9)},
    {"precision-10", HANSEL_F32, 2, {32, 64}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_P(0.03125f, 10)},
    {"precision-11", HANSEL_F32, 2, {32, 64}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_P(0.03125f, 11)},
    {"precision-12", HANSEL_F32, 2, {32, 64}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_P(0.03125f, 12)},
    {"precision-8-alphabet-256", HANSEL_U8, 2, {16, 128}, {FORMULA_UNIFORM, 256, 0, 0, 0},
     {.lossless = 1, .stream_length = 256, .precision = 8}},

    {"alphabet-1", HANSEL_F32, 2, {17, 23}, {FORMULA_CONSTANT, 0, -100, 5, 0}, STEP(0.03125f)},
    {"alphabet-1-zero", HANSEL_F16, 2, {17, 23}, {FORMULA_CONSTANT, 0, 0, 5, 0}, STEP(0.03125f)},
    {"alphabet-1-lossless", HANSEL_F32, 2, {17, 23}, {FORMULA_WEIGHTS, 0, 1365, 10, 0}, LOSSLESS(64)},
    {"alphabet-2", HANSEL_F32, 2, {17, 123}, {FORMULA_UNIFORM, 2, -1, 5, 0}, STEP_S(0.03125f, 64)},
    {"alphabet-2-skewed", HANSEL_F32, 2, {17, 623}, {FORMULA_SKEWED, 300, -1, 5, 0}, STEP_S(0.03125f, 4096)},
    {"alphabet-2-rare", HANSEL_U8, 2, {1, 20000}, {FORMULA_SKEWED, 9000, 255, 0, 0}, LOSSLESS(4096)},
    {"alphabet-3", HANSEL_F32, 2, {17, 123}, {FORMULA_UNIFORM, 3, -1, 5, 0}, STEP_S(0.03125f, 64)},
    {"alphabet-45", HANSEL_F32, 2, {17, 123}, {FORMULA_UNIFORM, 45, -20, 5, 0}, STEP_S(0.03125f, 64)},
    {"alphabet-256", HANSEL_F32, 2, {37, 123}, {FORMULA_UNIFORM, 256, -128, 5, 0}, STEP_S(0.03125f, 512)},
    {"gaps", HANSEL_F32, 2, {17, 123}, {FORMULA_GAPS, 9, -20, 5, 0}, STEP_S(0.03125f, 64)},
    {"gaps-wide", HANSEL_U8, 2, {17, 123}, {FORMULA_GAPS, 52, 0, 0, 0}, LOSSLESS(64)},
    {"laplace", HANSEL_F32, 2, {31, 123}, {FORMULA_LAPLACE, 128, 0, 7, 0}, STEP_S(0.07f, 128)},
    {"ends", HANSEL_F32, 2, {3, 123}, {FORMULA_GAPS, 52, -128, 5, 0}, STEP_S(0.03125f, 64)},

    {"clamp", HANSEL_F32, 2, {11, 123}, {FORMULA_GAUSS, 960, 0, 5, 0},
     {.step = 0.0125f, .clamp = 1, .stream_length = 128}},
    {"clamp-f16", HANSEL_F16, 2, {11, 123}, {FORMULA_GAUSS, 960, 30, 5, 0},
     {.step = 0.03125f, .clamp = 1, .stream_length = 128}},

    {"length-4", HANSEL_F32, 2, {5, 403}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 4)},
    {"length-16", HANSEL_F32, 2, {5, 403}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 16)},
    {"length-64", HANSEL_F32, 2, {5, 1499}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 64)},
    {"length-1024", HANSEL_F32, 2, {5, 2503}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 1024)},
    {"length-4096", HANSEL_F32, 2, {3, 12301}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 4096)},
    {"rows-uneven", HANSEL_F32, 2, {1001, 7}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 64)},
    {"rows-long", HANSEL_F32, 2, {701, 13}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 4096)},
    {"pieces-uneven", HANSEL_F32, 2, {7, 89}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 16)},
    {"prime", HANSEL_F32, 2, {101, 61}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 128)},

    {"bits-4", HANSEL_F32, 2, {64, 512}, {FORMULA_GAUSS, 1024, 0, 12, 0},
     {.target = HANSEL_TARGET_BITS, .goal = 4, .stream_length = 512}},
    {"bits-2.5-f16", HANSEL_F16, 2, {64, 256}, {FORMULA_GAUSS, 1024, 0, 12, 0},
     {.target = HANSEL_TARGET_BITS, .goal = 2.5}},
    {"error-bf16", HANSEL_BF16, 2, {64, 256}, {FORMULA_GAUSS, 1024, 0, 12, 0},
     {.target = HANSEL_TARGET_ERROR, .goal = 0.03125}},
    {"large", HANSEL_F32, 2, {257, 1031}, {FORMULA_GAUSS, 208, 0, 6, 0}, STEP_S(0.0625f, 0)},
};

/* Stream boundaries, S = 16: as one row, one column and three rows. */
static void write_boundaries(void) {
    static const uint64_t columns[] = {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 33, 40};
    char name[64];
    vector v = {name, HANSEL_F32, 2, {0}, {FORMULA_GAUSS, 48, 0, 5, 0}, STEP_S(0.03125f, 16)};
    size_t i, k;
    for (k = 0; k < 3; k++)
        for (i = 0; i < sizeof columns / sizeof *columns; i++) {
            v.shape[0] = k == 0 ? 1 : k == 1 ? columns[i] : 3;
            v.shape[1] = k == 1 ? 1 : columns[i];
            snprintf(name, sizeof name, "boundary-%ux%u", (unsigned)v.shape[0],
                     (unsigned)v.shape[1]);
            write_vector(v);
        }
}

/* ---- bad -------------------------------------------------------------------- */

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
    fprintf(json, "%s  {\"name\": \"%s\", \"file\": \"bad/%s.hansel\", \"status\": \"%s\"", separator,
            name, name, status_names[wanted]);
    if (position != ANY_POSITION) fprintf(json, ", \"position\": %llu", (unsigned long long)position);
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
    static const struct {
        const char *name;
        uint8_t offset, size;
        uint64_t value;
        uint8_t status, position;
    } fields[] = {
        {"magic", HANSEL_OFFSET_MAGIC, 4, 0x4C534E49, HANSEL_ERR_MAGIC, 0},
        {"version-0", HANSEL_OFFSET_VERSION, 1, 0, HANSEL_ERR_VERSION, HANSEL_OFFSET_VERSION},
        {"version-2", HANSEL_OFFSET_VERSION, 1, 2, HANSEL_ERR_VERSION, HANSEL_OFFSET_VERSION},
        {"coded-planes-0", HANSEL_OFFSET_CODED_PLANES, 1, 0, HANSEL_ERR_RESERVED, 32},
        {"coded-planes-2", HANSEL_OFFSET_CODED_PLANES, 1, 2, HANSEL_ERR_RESERVED, 32},
        {"tables-0", HANSEL_OFFSET_TABLES, 1, 0, HANSEL_ERR_RESERVED, 33},
        {"tables-2", HANSEL_OFFSET_TABLES, 1, 2, HANSEL_ERR_RESERVED, 33},
        {"weights-per-symbol-0", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 0, HANSEL_ERR_RESERVED, 34},
        {"weights-per-symbol-2", HANSEL_OFFSET_WEIGHTS_PER_SYMBOL, 1, 2, HANSEL_ERR_RESERVED, 34},
        {"reserved-43", HANSEL_OFFSET_RESERVED, 1, 1, HANSEL_ERR_RESERVED, 43},
        {"dtype-0", HANSEL_OFFSET_DTYPE, 1, 0, HANSEL_ERR_HEADER, HANSEL_OFFSET_DTYPE},
        {"dtype-8", HANSEL_OFFSET_DTYPE, 1, 8, HANSEL_ERR_HEADER, HANSEL_OFFSET_DTYPE},
        {"dtype-i8-grid", HANSEL_OFFSET_DTYPE, 1, HANSEL_I8, HANSEL_ERR_HEADER, HANSEL_OFFSET_DTYPE},
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
        {"precision-7", HANSEL_OFFSET_PRECISION, 1, 7, HANSEL_ERR_HEADER, 36},
        {"precision-13", HANSEL_OFFSET_PRECISION, 1, 13, HANSEL_ERR_HEADER, 36},
        {"precision-other", HANSEL_OFFSET_PRECISION, 1, 9, HANSEL_ERR_TABLE, 72},
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
        {"shape-2^48", HANSEL_OFFSET_SHAPE, 8, (uint64_t)1 << 48, HANSEL_ERR_HEADER, 56},
        {"shape-2^64", HANSEL_OFFSET_SHAPE, 8, (uint64_t)-1, HANSEL_ERR_HEADER, 56},
        {"shape-product", HANSEL_OFFSET_SHAPE, 8, (uint64_t)1 << 44, HANSEL_ERR_HEADER, 56},
        {"shape-product-wraps", HANSEL_OFFSET_SHAPE, 8, (uint64_t)1 << 61, HANSEL_ERR_HEADER, 56},
        {"shape-columns", HANSEL_OFFSET_SHAPE + 8, 8, (uint64_t)1 << 35, HANSEL_ERR_HEADER, 56},
        {"shape-0", HANSEL_OFFSET_SHAPE, 8, 0, HANSEL_ERR_HEADER, 38},
        {"streams-2^31", HANSEL_OFFSET_SHAPE, 8, 715827883, HANSEL_ERR_HEADER, 48},
        {"streams-many", HANSEL_OFFSET_SHAPE, 8, 700000000, HANSEL_ERR_DIRECTORY, 8},
        {"shape-other", HANSEL_OFFSET_SHAPE, 8, 4, HANSEL_ERR_DIRECTORY, 255},
    };
    uint32_t directory_length_base = (uint32_t)formula_load(base->at + HANSEL_OFFSET_LENGTH_BASE, 4);
    size_t i;
    for (i = 0; i < sizeof fields / sizeof *fields; i++)
        bad_field(fields[i].name, base, fields[i].offset, fields[i].size, fields[i].value,
                  (hansel_status)fields[i].status,
                  fields[i].position == 255 ? ANY_POSITION : fields[i].position);

    bad_field("length-base-sum", base, HANSEL_OFFSET_LENGTH_BASE, 4, directory_length_base + 1,
              HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_BLOB_BYTES);
    bad_field("blob-bytes-more", base, HANSEL_OFFSET_BLOB_BYTES, 8, base->count + 16,
              HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_BLOB_BYTES);
    bad_field("blob-bytes-less", base, HANSEL_OFFSET_BLOB_BYTES, 8, base->count - 16,
              HANSEL_ERR_DIRECTORY, HANSEL_OFFSET_BLOB_BYTES);
    bad_field("blob-bytes-2^64", base, HANSEL_OFFSET_BLOB_BYTES, 8,
              (uint64_t)base->count + ((uint64_t)1 << 63), HANSEL_ERR_DIRECTORY, 16);
    bad_field("head-bytes-more", base, HANSEL_OFFSET_HEAD_BYTES, 4,
              formula_load(base->at + HANSEL_OFFSET_HEAD_BYTES, 4) + 16, HANSEL_ERR_DIRECTORY, 8);
    bad_field("head-bytes-cuts-directory", base, HANSEL_OFFSET_HEAD_BYTES, 4,
              formula_load(base->at + HANSEL_OFFSET_HEAD_BYTES, 4) - 16, HANSEL_ERR_DIRECTORY, 8);
    bad_field("frequency-plus-1", base, 72, 1, base->at[72] + 1u, HANSEL_ERR_TABLE, 72);
    bad_field("frequency-minus-1", base, 72, 1, base->at[72] - 1u, HANSEL_ERR_TABLE, 72);
    bad_fields("pieces-1-rows-4", base, HANSEL_OFFSET_PIECES, 4, 1, HANSEL_OFFSET_ROWS_PER_STREAM, 4,
               4, HANSEL_ERR_HEADER, HANSEL_OFFSET_PIECES);

    bad_field("raw-bytes-0", lossless, HANSEL_OFFSET_RAW_BYTES, 1, 0, HANSEL_ERR_HEADER, 35);
    bad_field("raw-bytes-3", lossless, HANSEL_OFFSET_RAW_BYTES, 1, 3, HANSEL_ERR_HEADER, 35);
    bad_field("lossless-step", lossless, HANSEL_OFFSET_STEP, 4, 0x3F800000, HANSEL_ERR_HEADER, 28);
    bad_field("lossless-dtype", lossless, HANSEL_OFFSET_DTYPE, 1, HANSEL_U8, HANSEL_ERR_HEADER, 35);
    bad_field("lossless-f16", lossless, HANSEL_OFFSET_DTYPE, 1, HANSEL_F32, HANSEL_ERR_HEADER, 35);

    bad_field("constant-pieces", constant, HANSEL_OFFSET_PIECES, 4, 1, HANSEL_ERR_HEADER, 48);
    bad_field("constant-rows", constant, HANSEL_OFFSET_ROWS_PER_STREAM, 4, 1, HANSEL_ERR_HEADER, 48);
    bad_field("constant-tail-bits", constant, HANSEL_OFFSET_TAIL_BITS, 1, 1, HANSEL_ERR_HEADER, 40);
    bad_field("constant-tail-steps", constant, HANSEL_OFFSET_TAIL_STEPS, 1, 1, HANSEL_ERR_HEADER, 40);
    bad_field("constant-length-bits", constant, HANSEL_OFFSET_LENGTH_BITS, 1, 1, HANSEL_ERR_HEADER, 40);
    bad_field("constant-length-base", constant, HANSEL_OFFSET_LENGTH_BASE, 4, 8, HANSEL_ERR_HEADER, 40);
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
    bad_size("truncated-head", base, blob.head_bytes - 1, HANSEL_ERR_TRUNCATED, blob.head_bytes - 1);
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
    bad_field("state-low-last", base, blob.head_bytes + 2 * cursors[i], 4, 65535, HANSEL_ERR_CORRUPT, i);
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

    /* One stream: a word more, a word less; the padding hides it from the sizes. */
    if (hansel_read_head(&blob, one->at, one->count, NULL) != HANSEL_OK) die("one", "head");
    words = (uint32_t)blob.word_count;
    if (blob.stream_count != 1 || words <= 8 || words % 8 < 2) die("one", "wants another length");
    bad_field("words-left-over", one, HANSEL_OFFSET_LENGTH_BASE, 4, words + 1, HANSEL_ERR_CORRUPT, 0);
    bad_fields("words-missing", one, HANSEL_OFFSET_LENGTH_BASE, 4, words - 1,
               blob.head_bytes + 2 * words - 2, 2, 0, HANSEL_ERR_CORRUPT, 0);

    /* Nothing but a tail: six symbols, alphabet of 3, digits of 2 bits. */
    if (hansel_read_head(&blob, tail->at, tail->count, NULL) != HANSEL_OK) die("tail", "head");
    if (blob.alphabet_size != 3 || blob.tail_bits != 2 || blob.word_count != 8) die("tail", "shape");
    bad_field("tail-digit", tail, blob.head_bytes, 1, 3, HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-digit-second", tail, blob.head_bytes + 4, 1, 12, HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-rest", tail, blob.head_bytes, 1, tail->at[blob.head_bytes] | 16u,
              HANSEL_ERR_CORRUPT, 0);
    bad_field("tail-rest-high", tail, blob.head_bytes + 12, 4,
              formula_load(tail->at + blob.head_bytes + 12, 4) + (1u << 31), HANSEL_ERR_CORRUPT, 0);
}

static void write_bad_files(void) {
    vector v[] = {
        {"bad-base", HANSEL_F32, 2, {3, 124}, {FORMULA_GAUSS, 178, 0, 5, 0}, STEP_S(0.03125f, 40)},
        {"bad-lossless", HANSEL_BF16, 2, {5, 7}, {FORMULA_WEIGHTS, 256, 0, 5, 0}, LOSSLESS(16)},
        {"bad-constant", HANSEL_F32, 2, {2, 3}, {FORMULA_CONSTANT, 0, 1, 0, 0}, STEP(1)},
        {"bad-empty", HANSEL_F32, 2, {0, 3}, {FORMULA_CONSTANT, 0, 1, 0, 0}, STEP(1)},
        {"bad-one", HANSEL_F32, 2, {1, 64}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP(0.03125f)},
        {"bad-tail", HANSEL_F32, 2, {1, 6}, {FORMULA_UNIFORM, 4, -1, 0, 0}, STEP(1)},
    };
    bytes coded[6];
    size_t i;
    for (i = 0; i < 6; i++) coded[i] = encode(&v[i]);
    write_bad_fields(&coded[0], &coded[1], &coded[2], &coded[3]);
    write_bad_sizes(&coded[0], &coded[1]);
    write_bad_streams(&coded[0], &coded[4], &coded[5]);
    for (i = 0; i < 6; i++) free(coded[i].at);
}

static void make_folder(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (mkdir(path, 0777) && errno != EEXIST) die(path, "cannot make the folder");
}

int main(int argc, char **argv) {
    char path[1024];
    size_t i;
    if (argc != 2) {
        fprintf(stderr, "usage: vectors FOLDER\n");
        return 2;
    }
    root = argv[1];
    make_folder("ok");
    make_folder("bad");
    snprintf(path, sizeof path, "%s/vectors.json", root);
    json = fopen(path, "w");
    if (!json) die(path, "cannot write");
    fprintf(json, "{\"ok\": [\n");
    separator = "";
    for (i = 0; i < sizeof vectors / sizeof *vectors; i++) write_vector(vectors[i]);
    write_boundaries();
    fprintf(json, "\n], \"bad\": [\n");
    separator = "";
    write_bad_files();
    fprintf(json, "\n]}\n");
    if (fclose(json)) die(path, "cannot write");
    printf("%zu files, %zu bytes\n", file_count, total_bytes);
    return 0;
}
