/*
 * vectors.c - writes tests/vectors/version_4: ok/, bad/ and vectors.json. Those of versions 1
 * to 3 lie in tests/vectors, and are not written any more.
 *
 *   build/vectors tests/vectors/version_4
 *
 * The files are golden: a byte that changes for the same input is a change of
 * the format. So this runs on purpose only, never as part of the tests. It
 * checks what it writes: an ok blob decodes to its input, a bad one is refused
 * for the reason it was made for.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <sys/stat.h>

#include "vectors.h"

static const char *const dtype_names[] = {"",   "F32", "F16",     "BF16",
                                          "I8", "U8",  "F8_E4M3", "F8_E5M2"};

static const char *root;
FILE *json;
const char *separator;
static size_t total_bytes, file_count;

void die(const char *name, const char *why) {
    fprintf(stderr, "vectors: %s: %s\n", name, why);
    exit(1);
}

void *allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) die("malloc", "out of memory");
    return memory;
}

void write_file(const char *folder, const char *name, const void *src, size_t src_bytes) {
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

/*
 * One line of vectors.json, all a test needs: the formula makes the source's bytes
 * (source_crc32c), encoding them with the options must give the file (blob_crc32c,
 * grid_step, saturated), decoding the file the symbols as bytes (symbols_crc32c)
 * and the values in the source's dtype (values_crc32c).
 */
static void describe(const vector *v, const hansel_blob *blob, const bytes *coded, uint32_t source,
                     uint32_t symbols, uint32_t values, uint32_t saturated) {
    const hansel_options *o = &v->options;
    uint32_t i;
    fprintf(json,
            "%s  {\"name\": \"%s\", \"file\": \"version_4/ok/%s.hansel\", \"dtype\": \"%s\", "
            "\"shape\": [",
            separator, v->name, v->name, dtype_names[v->dtype]);
    for (i = 0; i < v->rank; i++)
        fprintf(json, "%s%llu", i ? ", " : "", (unsigned long long)v->shape[i]);
    fprintf(json,
            "], \"mode\": \"%s\", \"formula\": {\"kind\": \"%s\", \"scale\": %u, \"low\": %d, "
            "\"exponent\": %u, \"seed\": %u}, \"options\": {",
            o->lossless ? "lossless" : "grid", formula_names[v->input.kind], v->input.scale,
            v->input.low, v->input.exponent, v->input.seed);
    if (o->lossless)
        fprintf(json, "\"lossless\": true");
    else if (o->target == HANSEL_TARGET_BITS)
        fprintf(json, "\"bits\": %.9g", o->goal);
    else if (o->target == HANSEL_TARGET_ERROR)
        fprintf(json, "\"error\": %.9g", o->goal);
    else
        fprintf(json, "\"step\": %.9g", (double)o->step);
    if (o->clamp) fprintf(json, ", \"clamp\": true");
    if (o->stream_length) fprintf(json, ", \"stream_length\": %u", o->stream_length);
    if (o->slot_bits) fprintf(json, ", \"precision\": %u", o->slot_bits);
    if (o->weights_per_symbol) fprintf(json, ", \"weights_per_symbol\": %u", o->weights_per_symbol);
    fprintf(json,
            "}, \"grid_step\": %.9g, \"saturated\": %u, \"streams\": %u, \"blob_bytes\": %zu, "
            "\"source_crc32c\": \"%08x\", \"blob_crc32c\": \"%08x\", "
            "\"symbols_crc32c\": \"%08x\", \"values_crc32c\": \"%08x\"}",
            (double)blob->step, saturated, blob->stream_count, coded->count, source,
            hansel_crc32c(0, coded->at, coded->count), symbols, values);
    separator = ",\n";
}

bytes encode(vector *v) {
    hansel_tensor tensor = {v->dtype, v->rank, {0}, NULL};
    hansel_blob view;
    bytes out;
    size_t room;
    uint8_t *src;
    hansel_status status;
    v->input.seed = hansel_crc32c(0, v->name, strlen(v->name));
    if (hansel_init(&view, v->dtype, HANSEL_LOSSLESS, v->rank, v->shape, 0) != HANSEL_OK)
        die(v->name, "bad shape");
    src = allocate((size_t)view.weights * hansel_dtype_bytes(v->dtype));
    formula_fill(src, &v->input, v->dtype, view.weights);
    memcpy(tensor.shape, v->shape, sizeof tensor.shape);
    tensor.data = src;
    room = hansel_encode_room(&tensor, &v->options);
    out.at = allocate(room);
    status = hansel_encode(out.at, room, &out.count, &tensor, &v->options, NULL);
    if (status != HANSEL_OK) die(v->name, hansel_status_name(status));
    free(src);
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
        uint8_t *raw = allocate(count * blob.raw_bytes);
        hansel_expand_raw(raw, &blob, coded.at + blob.head_bytes + blob.raw_start, 0, count);
        hansel_join(values, &blob, symbols, raw, count);
        free(raw);
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

/* 0.03125 = 2^-5 is a step on which the weights lie; 0.07 is one on which none does. */
static const vector vectors[] = {
    {"annotated", HANSEL_F32, 2, {4, 35}, {FORMULA_GAUSS, 11, 0, 1, 0}, STEP_S(0.5f, 64)},

    {"rank-0", HANSEL_F32, 0, {0}, {FORMULA_CONSTANT, 0, -7, 2, 0}, STEP(0.25f)},
    {"rank-0-lossless", HANSEL_BF16, 0, {0}, {FORMULA_WEIGHTS, 160, 0, 5, 0}, LOSSLESS(0)},
    {"rank-1", HANSEL_F32, 1, {77}, {FORMULA_GAUSS, 80, 0, 5, 0}, STEP_S(0.07f, 32)},
    {"rank-3", HANSEL_F16, 3, {3, 5, 7}, {FORMULA_GAUSS, 80, 0, 5, 0}, STEP_S(0.07f, 16)},
    {"rank-8",
     HANSEL_BF16,
     8,
     {1, 2, 1, 3, 1, 2, 2, 9},
     {FORMULA_GAUSS, 80, 0, 5, 0},
     STEP_S(0.07f, 16)},
    {"rank-8-lossless",
     HANSEL_I8,
     8,
     {2, 1, 2, 1, 2, 1, 2, 5},
     {FORMULA_GAUSS, 80, 0, 0, 0},
     LOSSLESS(16)},

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
    {"precision-8-alphabet-256",
     HANSEL_U8,
     2,
     {16, 128},
     {FORMULA_UNIFORM, 256, 0, 0, 0},
     {.lossless = 1, .stream_length = 256, .slot_bits = 8}},

    {"alphabet-1", HANSEL_F32, 2, {17, 23}, {FORMULA_CONSTANT, 0, -100, 5, 0}, STEP(0.03125f)},
    {"alphabet-1-zero", HANSEL_F16, 2, {17, 23}, {FORMULA_CONSTANT, 0, 0, 5, 0}, STEP(0.03125f)},
    {"alphabet-1-lossless",
     HANSEL_F32,
     2,
     {17, 23},
     {FORMULA_WEIGHTS, 0, 1365, 10, 0},
     LOSSLESS(64)},
    {"alphabet-2", HANSEL_F32, 2, {17, 123}, {FORMULA_UNIFORM, 2, -1, 5, 0}, STEP_S(0.03125f, 64)},
    {"alphabet-2-skewed",
     HANSEL_F32,
     2,
     {17, 623},
     {FORMULA_SKEWED, 300, -1, 5, 0},
     STEP_S(0.03125f, 4096)},
    {"alphabet-2-rare",
     HANSEL_U8,
     2,
     {1, 20000},
     {FORMULA_SKEWED, 9000, 255, 0, 0},
     LOSSLESS(4096)},
    {"alphabet-3", HANSEL_F32, 2, {17, 123}, {FORMULA_UNIFORM, 3, -1, 5, 0}, STEP_S(0.03125f, 64)},
    {"alphabet-45",
     HANSEL_F32,
     2,
     {17, 123},
     {FORMULA_UNIFORM, 45, -20, 5, 0},
     STEP_S(0.03125f, 64)},
    {"alphabet-256",
     HANSEL_F32,
     2,
     {37, 123},
     {FORMULA_UNIFORM, 256, -128, 5, 0},
     STEP_S(0.03125f, 512)},
    {"gaps", HANSEL_F32, 2, {17, 123}, {FORMULA_GAPS, 9, -20, 5, 0}, STEP_S(0.03125f, 64)},
    {"gaps-wide", HANSEL_U8, 2, {17, 123}, {FORMULA_GAPS, 52, 0, 0, 0}, LOSSLESS(64)},
    {"laplace", HANSEL_F32, 2, {31, 123}, {FORMULA_LAPLACE, 128, 0, 7, 0}, STEP_S(0.07f, 128)},
    {"ends", HANSEL_F32, 2, {3, 123}, {FORMULA_GAPS, 52, -128, 5, 0}, STEP_S(0.03125f, 64)},

    {"clamp",
     HANSEL_F32,
     2,
     {11, 123},
     {FORMULA_GAUSS, 960, 0, 5, 0},
     {.step = 0.0125f, .clamp = 1, .stream_length = 128}},
    {"clamp-f16",
     HANSEL_F16,
     2,
     {11, 123},
     {FORMULA_GAUSS, 960, 30, 5, 0},
     {.step = 0.03125f, .clamp = 1, .stream_length = 128}},

    {"length-4", HANSEL_F32, 2, {5, 403}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 4)},
    {"length-16", HANSEL_F32, 2, {5, 403}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 16)},
    {"length-64", HANSEL_F32, 2, {5, 1499}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 64)},
    {"length-1024", HANSEL_F32, 2, {5, 2503}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 1024)},
    {"length-4096",
     HANSEL_F32,
     2,
     {3, 12301},
     {FORMULA_GAUSS, 64, 0, 5, 0},
     STEP_S(0.03125f, 4096)},
    {"rows-uneven", HANSEL_F32, 2, {1001, 7}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 64)},
    {"rows-long", HANSEL_F32, 2, {701, 13}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 4096)},
    {"pieces-uneven", HANSEL_F32, 2, {7, 89}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 16)},
    {"prime", HANSEL_F32, 2, {101, 61}, {FORMULA_GAUSS, 64, 0, 5, 0}, STEP_S(0.03125f, 128)},

    {"bits-4",
     HANSEL_F32,
     2,
     {64, 512},
     {FORMULA_GAUSS, 1024, 0, 12, 0},
     {.target = HANSEL_TARGET_BITS, .goal = 4, .stream_length = 512}},
    {"bits-2.5-f16",
     HANSEL_F16,
     2,
     {64, 256},
     {FORMULA_GAUSS, 1024, 0, 12, 0},
     {.target = HANSEL_TARGET_BITS, .goal = 2.5}},
    {"error-bf16",
     HANSEL_BF16,
     2,
     {64, 256},
     {FORMULA_GAUSS, 1024, 0, 12, 0},
     {.target = HANSEL_TARGET_ERROR, .goal = 0.03125}},
    {"large", HANSEL_F32, 2, {257, 1031}, {FORMULA_GAUSS, 208, 0, 6, 0}, STEP_S(0.0625f, 0)},
};

/* Several weights to a symbol: FORMAT.md 4.5. */
static const vector folded[] = {
    {"fold-2-annotated",
     HANSEL_I8,
     2,
     {3, 21},
     {FORMULA_UNIFORM, 7, -3, 0, 0},
     {.lossless = 1, .stream_length = 8, .slot_bits = 8, .weights_per_symbol = 2}},
    {"fold-2-levels-16", HANSEL_I8, 2, {31, 123}, {FORMULA_UNIFORM, 16, -8, 0, 0}, FOLD_L(128, 2)},
    {"fold-2-high", HANSEL_I8, 2, {31, 123}, {FORMULA_UNIFORM, 16, 112, 0, 0}, FOLD_L(128, 2)},
    {"fold-2-low", HANSEL_I8, 2, {31, 123}, {FORMULA_UNIFORM, 16, -128, 0, 0}, FOLD_L(128, 2)},
    {"fold-2-u8", HANSEL_U8, 2, {31, 123}, {FORMULA_UNIFORM, 16, 120, 0, 0}, FOLD_L(128, 2)},
    {"fold-2-f8", HANSEL_F8_E4M3, 2, {19, 67}, {FORMULA_UNIFORM, 9, 250, 0, 0}, FOLD_L(64, 2)},
    {"fold-2-f16", HANSEL_F16, 2, {19, 67}, {FORMULA_GAUSS, 40, 0, 5, 0}, FOLD_S(0.0625f, 64, 2)},
    {"fold-2-bf16", HANSEL_BF16, 2, {19, 67}, {FORMULA_GAUSS, 40, 0, 5, 0}, FOLD_S(0.0625f, 64, 2)},
    {"fold-2-length-4",
     HANSEL_F32,
     2,
     {5, 403},
     {FORMULA_GAUSS, 24, 0, 5, 0},
     FOLD_S(0.03125f, 4, 2)},
    {"fold-2-length-1024",
     HANSEL_F32,
     2,
     {5, 5003},
     {FORMULA_GAUSS, 24, 0, 5, 0},
     FOLD_S(0.03125f, 1024, 2)},
    {"fold-2-rows",
     HANSEL_F32,
     2,
     {1001, 7},
     {FORMULA_GAUSS, 24, 0, 5, 0},
     FOLD_S(0.03125f, 64, 2)},
    {"fold-2-rows-13",
     HANSEL_F32,
     2,
     {701, 13},
     {FORMULA_GAUSS, 24, 0, 5, 0},
     FOLD_S(0.03125f, 512, 2)},
    {"fold-2-pieces",
     HANSEL_F32,
     2,
     {7, 187},
     {FORMULA_GAUSS, 24, 0, 5, 0},
     FOLD_S(0.03125f, 16, 2)},
    {"fold-2-chosen",
     HANSEL_F32,
     2,
     {128, 512},
     {FORMULA_GAUSS, 1024, 0, 12, 0},
     {.target = HANSEL_TARGET_BITS, .goal = 2.25, .stream_length = 1024}},
    {"fold-4-levels-3", HANSEL_I8, 2, {31, 123}, {FORMULA_UNIFORM, 3, -1, 0, 0}, FOLD_L(128, 4)},
    {"fold-4-levels-4",
     HANSEL_BF16,
     2,
     {31, 123},
     {FORMULA_UNIFORM, 4, -2, 5, 0},
     FOLD_S(0.03125f, 128, 4)},
    {"fold-4-high", HANSEL_I8, 2, {31, 123}, {FORMULA_UNIFORM, 4, 124, 0, 0}, FOLD_L(128, 4)},
    {"fold-4-skewed", HANSEL_U8, 2, {1, 20000}, {FORMULA_SKEWED, 9000, 255, 0, 0}, FOLD_L(1024, 4)},
    {"fold-4-rows",
     HANSEL_F32,
     2,
     {1001, 7},
     {FORMULA_UNIFORM, 3, -1, 5, 0},
     FOLD_S(0.03125f, 64, 4)},
    {"fold-4-rows-19",
     HANSEL_F32,
     2,
     {701, 19},
     {FORMULA_UNIFORM, 3, -1, 5, 0},
     FOLD_S(0.03125f, 512, 4)},
    {"fold-4-pieces",
     HANSEL_F32,
     2,
     {7, 379},
     {FORMULA_UNIFORM, 3, -1, 5, 0},
     FOLD_S(0.03125f, 16, 4)},
    {"fold-4-chosen", HANSEL_I8, 2, {257, 1031}, {FORMULA_UNIFORM, 3, -1, 0, 0}, {.lossless = 1}},
};

/* Several dimensions to a row: FORMAT.md 3.1. */
static const vector merged[] = {
    {"merged-conv",
     HANSEL_F32,
     4,
     {24, 16, 3, 3},
     {FORMULA_GAUSS, 64, 0, 5, 0},
     STEP_S(0.03125f, 128)},
    {"merged-conv-pieces",
     HANSEL_F32,
     4,
     {7, 64, 3, 3},
     {FORMULA_GAUSS, 64, 0, 5, 0},
     STEP_S(0.03125f, 100)},
    {"merged-conv-1d", HANSEL_BF16, 3, {40, 37, 3}, {FORMULA_WEIGHTS, 256, 0, 5, 0}, LOSSLESS(256)},
    {"merged-1x1", HANSEL_I8, 4, {70, 61, 1, 1}, {FORMULA_GAUSS, 64, 0, 0, 0}, LOSSLESS(128)},
    {"merged-depthwise",
     HANSEL_F16,
     4,
     {500, 1, 3, 3},
     {FORMULA_GAUSS, 64, 0, 5, 0},
     STEP_S(0.0625f, 64)},
    {"merged-7x7", HANSEL_F32, 4, {31, 3, 7, 7}, {FORMULA_WEIGHTS, 256, 0, 5, 0}, LOSSLESS(512)},
    {"merged-fold-2", HANSEL_I8, 4, {31, 17, 3, 3}, {FORMULA_UNIFORM, 16, -8, 0, 0}, FOLD_L(64, 2)},
    {"merged-fold-4", HANSEL_U8, 4, {31, 17, 3, 3}, {FORMULA_UNIFORM, 3, 250, 0, 0}, FOLD_L(64, 4)},
    {"merged-constant", HANSEL_I8, 4, {16, 32, 3, 3}, {FORMULA_CONSTANT, 0, -7, 0, 0}, LOSSLESS(0)},
    {"merged-4x4", HANSEL_I8, 4, {9, 31, 4, 4}, {FORMULA_GAUSS, 64, 0, 0, 0}, LOSSLESS(128)},
    {"merged-rank-8",
     HANSEL_I8,
     8,
     {2, 3, 1, 5, 1, 7, 5, 7},
     {FORMULA_GAUSS, 64, 0, 0, 0},
     LOSSLESS(96)},
    {"merged-not-16", HANSEL_I8, 3, {17, 16, 16}, {FORMULA_GAUSS, 64, 0, 0, 0}, LOSSLESS(96)},
    {"merged-not-small", HANSEL_I8, 3, {65, 21, 3}, {FORMULA_GAUSS, 64, 0, 0, 0}, LOSSLESS(96)},
};

/* Lossless floats whose symbols are windows on exponent and mantissa: FORMAT.md 5. */
static const vector windows[] = {
    {"window-bf16", HANSEL_BF16, 2, {64, 257}, {FORMULA_GAUSS, 4000, 0, 12, 0}, LOSSLESS(0)},
    {"window-f16", HANSEL_F16, 2, {64, 257}, {FORMULA_GAUSS, 4000, 0, 12, 0}, LOSSLESS(0)},
    {"window-f32", HANSEL_F32, 2, {64, 257}, {FORMULA_WEIGHTS, 4000, 0, 12, 0}, LOSSLESS(0)},
    {"window-bf16-positive", HANSEL_BF16, 2, {5, 77}, {FORMULA_UNIFORM, 99, 1, 9, 0}, LOSSLESS(16)},
    {"window-f16-positive", HANSEL_F16, 1, {777}, {FORMULA_UNIFORM, 600, 200, 14, 0}, LOSSLESS(64)},
    {"window-f32-positive", HANSEL_F32, 1, {777}, {FORMULA_UNIFORM, 600, 500, 14, 0}, LOSSLESS(0)},
    {"window-bf16-negative",
     HANSEL_BF16,
     2,
     {9, 9},
     {FORMULA_UNIFORM, 70, -71, 7, 0},
     LOSSLESS(16)},
    {"window-f16-negative", HANSEL_F16, 2, {9, 9}, {FORMULA_UNIFORM, 70, -71, 7, 0}, LOSSLESS(16)},
    {"window-f32-negative", HANSEL_F32, 2, {9, 9}, {FORMULA_UNIFORM, 70, -71, 7, 0}, LOSSLESS(16)},
    {"window-no-raw-bits",
     HANSEL_BF16,
     2,
     {7, 31},
     {FORMULA_UNIFORM, 128, 128, 8, 0},
     LOSSLESS(64)},
    {"window-zeros", HANSEL_BF16, 2, {31, 67}, {FORMULA_GAPS, 30, -60, 9, 0}, LOSSLESS(64)},
    {"window-all-zero", HANSEL_F32, 2, {3, 5}, {FORMULA_CONSTANT, 0, 0, 5, 0}, LOSSLESS(0)},
    {"window-one", HANSEL_F16, 2, {1, 1}, {FORMULA_CONSTANT, 0, -3, 5, 0}, LOSSLESS(0)},
    {"window-f32-special", HANSEL_F32, 2, {31, 61}, {FORMULA_SPECIAL, 800, 0, 9, 0}, LOSSLESS(0)},
    {"window-f16-special", HANSEL_F16, 2, {31, 61}, {FORMULA_SPECIAL, 800, 0, 9, 0}, LOSSLESS(0)},
    {"window-bf16-special", HANSEL_BF16, 2, {31, 61}, {FORMULA_SPECIAL, 800, 0, 9, 0}, LOSSLESS(0)},
};

/* Stream boundaries, S = 16 symbols: as one row, one column and three rows. */
static void write_boundaries(const char *prefix, uint32_t fold, uint32_t scale) {
    static const uint64_t columns[] = {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 33, 40};
    char name[64];
    vector v = {name, HANSEL_F32, 2, {0}, {FORMULA_GAUSS, scale, 0, 5, 0}, STEP_S(0.03125f, 16)};
    size_t i, k;
    v.options.weights_per_symbol = fold;
    for (k = 0; k < 3; k++)
        for (i = 0; i < sizeof columns / sizeof *columns; i++) {
            if (k && columns[i] == 1) continue; /* there already */
            v.shape[0] = k == 0 ? 1 : k == 1 ? columns[i] : 3;
            v.shape[1] = k == 1 ? 1 : columns[i];
            snprintf(name, sizeof name, "%s-%ux%u", prefix, (unsigned)v.shape[0],
                     (unsigned)v.shape[1]);
            write_vector(v);
        }
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
    for (i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        vector v = vectors[i];
        v.options.weights_per_symbol = 1;
        write_vector(v);
    }
    write_boundaries("boundary", 1, 48);
    for (i = 0; i < sizeof folded / sizeof *folded; i++) write_vector(folded[i]);
    write_boundaries("fold-2", 2, 24);
    write_boundaries("fold-4", 4, 8);
    for (i = 0; i < sizeof merged / sizeof *merged; i++) {
        vector v = merged[i];
        if (!v.options.weights_per_symbol) v.options.weights_per_symbol = 1;
        write_vector(v);
    }
    for (i = 0; i < sizeof windows / sizeof *windows; i++) {
        vector v = windows[i];
        v.options.weights_per_symbol = 1;
        write_vector(v);
    }
    fprintf(json, "\n], \"bad\": [\n");
    separator = "";
    write_bad_files();
    fprintf(json, "\n]}\n");
    if (fclose(json)) die(path, "cannot write");
    printf("%zu files, %zu bytes\n", file_count, total_bytes);
    return 0;
}
