/*
 * native.c - tests of the C core: golden vectors, hostile bytes, and the
 * promises of hansel.h one by one.
 *
 *   build/native_test tests/vectors
 *
 * Buffers are allocated to the byte, so that a build with AddressSanitizer sees
 * every access beyond them.
 */
#include <stdarg.h>

#include "native.h"

static long passed, failed;
const char *current = "";

void check(int is_right, const char *format, ...) {
    va_list arguments;
    if (is_right) {
        passed++;
        return;
    }
    if (++failed > 50) return;
    printf("  FAILED %s: ", current);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

void *allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) {
        printf("out of memory\n");
        exit(1);
    }
    return memory;
}

/* A copy that ends where its allocation ends. */
void *exact(const void *src, size_t size) {
    void *copy = allocate(size);
    if (size) memcpy(copy, src, size);
    return copy;
}

bytes read_file(const char *root, const char *name) {
    char path[1024];
    bytes file = {NULL, 0};
    FILE *stream;
    long size;
    snprintf(path, sizeof path, "%s/%s", root, name);
    stream = fopen(path, "rb");
    if (!stream || fseek(stream, 0, SEEK_END) || (size = ftell(stream)) < 0) {
        printf("cannot read %s\n", path);
        exit(1);
    }
    rewind(stream);
    file.count = (size_t)size;
    file.at = allocate(file.count);
    if (fread(file.at, 1, file.count, stream) != file.count) exit(1);
    fclose(stream);
    return file;
}

bytes encode(const vector *v, const uint8_t *src, hansel_status *status) {
    hansel_tensor tensor = {v->dtype, v->rank, {0}, src};
    bytes out = {NULL, 0};
    size_t room;
    memcpy(tensor.shape, v->shape, sizeof tensor.shape);
    room = hansel_encode_room(&tensor, &v->options);
    out.at = allocate(room);
    *status = hansel_encode(out.at, room, &out.count, &tensor, &v->options, NULL);
    return out;
}

#define GUARD ((uint64_t)1 << 22) /* weights: an all-equal blob of 80 bytes can claim 2^48 */

/* Decodes from and into buffers that are exact to the byte, to symbols and to weights: both must
 * come to the same end. */
hansel_status decode_exact(const uint8_t *src, size_t src_bytes, hansel_fault *fault) {
    uint8_t *copy = exact(src, src_bytes), *dst;
    hansel_fault first = {0, 0, 0}, second = {0, 0, 0};
    hansel_blob blob;
    hansel_status status = hansel_read_head(&blob, copy, src_bytes, &first), again;
    if (status != HANSEL_OK || blob.weights <= GUARD) {
        size_t count = status == HANSEL_OK ? (size_t)blob.weights : 0, size = 0;
        if (status == HANSEL_OK) {
            dst = allocate(count);
            status = hansel_decode_symbols(dst, count, copy, src_bytes, fault ? &first : NULL);
            free(dst);
            size = count * hansel_dtype_bytes(blob.dtype);
        }
        dst = allocate(size);
        again = hansel_decode(dst, size, blob.dtype, copy, src_bytes, fault ? &second : NULL);
        check(again == status, "hansel_decode: status %d, not %d", again, status);
        check(!fault || !memcmp(&first, &second, sizeof first), "hansel_decode: another fault");
        free(dst);
    }
    if (fault) *fault = first;
    free(copy);
    return status;
}

/* ---- checksum ------------------------------------------------------------------ */

static void test_crc32c(void) {
    static const uint8_t read_command[48] = {
        /* RFC 3720, B.4 */
        0x01, 0xC0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
        0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
        0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
    static const uint32_t lengths[] = {2048, 16 * (79 + 128), 16 * (79 + 2 * 128), 20000};
    uint8_t block[32], *large = allocate(3 * 8192);
    uint32_t i, n;
    current = "crc32c";
    check(hansel_crc32c(0, "123456789", 9) == 0xE3069283u, "123456789");
    check(hansel_crc32c(0, "", 0) == 0 && hansel_crc32c(7, "", 0) == 7, "nothing");
    memset(block, 0, 32);
    check(hansel_crc32c(0, block, 32) == 0x8A9136AAu, "zeros");
    memset(block, 255, 32);
    check(hansel_crc32c(0, block, 32) == 0x62A8AB43u, "ones");
    for (i = 0; i < 32; i++) block[i] = (uint8_t)i;
    check(hansel_crc32c(0, block, 32) == 0x46DD794Eu, "up");
    for (i = 0; i < 32; i++) block[i] = (uint8_t)(31 - i);
    check(hansel_crc32c(0, block, 32) == 0x113FDB5Cu, "down");
    check(hansel_crc32c(0, read_command, 48) == 0xD9963A56u, "an iSCSI read command");
    for (i = 0; i < 3 * 8192; i++) large[i] = (uint8_t)formula_random(1, i);
    /* Whole, against pieces that stay short: where long inputs begin, and where their blocks
     * fill a chunk, two, many. */
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (n = lengths[i] - 18; n <= lengths[i] + 18; n++) {
            uint32_t at, size, crc = i;
            for (at = 0; at < n; at += size) {
                size = n - at < 1000 ? n - at : 1000;
                crc = hansel_crc32c(crc, large + i + at, size);
            }
            check(crc == hansel_crc32c(i, large + i, n), "%u bytes", n);
        }
    free(large);
}

/* ---- histogram ----------------------------------------------------------------- */

static void test_histogram(void) {
    uint8_t src[1000] = {0};
    uint64_t counts[256];
    uint32_t i, n, sum;
    current = "histogram";
    for (n = 0; n < 1000; n += 1 + n / 9) {
        memset(counts, 0, sizeof counts);
        for (i = 0; i < n; i++) src[i] = (uint8_t)(formula_random(n, i) % 3);
        hansel_histogram(counts, src, n);
        hansel_histogram(counts, src, n);
        for (i = sum = 0; i < n; i++) sum += src[i] == 1;
        check(counts[1] == 2 * sum && counts[0] + counts[1] + counts[2] == 2 * n, "%u bytes", n);
    }
}

/* ---- arguments -------------------------------------------------------------------- */

static void test_arguments(void) {
    hansel_blob blob;
    uint64_t shape[9] = {3, 5, 1, 1, 1, 1, 1, 1, 1}, counts[256];
    uint32_t lengths[15];
    static uint8_t dst[150000];
    uint8_t symbols[15];
    hansel_options options;
    float weights[15];
    hansel_tensor tensor = {HANSEL_F32, 2, {3, 5}, weights};
    size_t written, bound, i;
    current = "arguments";
    memset(&options, 0, sizeof options);
    check(hansel_init(&blob, 0, HANSEL_GRID, 2, shape, 1) == HANSEL_ERR_ARGUMENT, "dtype 0");
    check(hansel_init(&blob, 8, HANSEL_LOSSLESS, 2, shape, 0) == HANSEL_ERR_ARGUMENT, "dtype 8");
    check(hansel_init(&blob, HANSEL_I8, HANSEL_GRID, 2, shape, 1) == HANSEL_ERR_ARGUMENT,
          "I8 grid");
    check(hansel_init(&blob, HANSEL_F32, 2, 2, shape, 1) == HANSEL_ERR_ARGUMENT, "mode 2");
    check(hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 9, shape, 1) == HANSEL_ERR_ARGUMENT,
          "rank 9");
    check(hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 2, shape, 0) == HANSEL_ERR_ARGUMENT,
          "step 0");
    check(hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 2, shape, -1) == HANSEL_ERR_ARGUMENT,
          "step -1");
    check(hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 2, shape, 1e-40f) == HANSEL_ERR_ARGUMENT,
          "tiny");
    check(hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 2, shape, NAN) == HANSEL_ERR_ARGUMENT, "NaN");
    check(hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 2, shape, INFINITY) == HANSEL_ERR_ARGUMENT,
          "inf");
    shape[1] = (uint64_t)1 << 47;
    check(hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 2, shape, 1) == HANSEL_ERR_ARGUMENT, "shape");
    shape[1] = 5;
    for (i = 0; i < 15; i++) {
        symbols[i] = (uint8_t)(i % 3);
        weights[i] = (float)symbols[i];
    }
    memset(counts, 0, sizeof counts);
    hansel_histogram(counts, symbols, 15);
    check(hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 2, shape, 1) == HANSEL_OK, "a right one");
    hansel_plan(&blob, hansel_fit(&blob, counts, 0), 5);
    bound = (size_t)hansel_encode_bound(&blob, 0, 3);
    check(blob.stream_count == 3 && bound == 2 * (3 * 8 + 15), "the bound %zu", bound);
    written = hansel_encode_streams(dst, bound, lengths, &blob, 0, 3, symbols, 15);
    check(written && written <= bound, "written %zu", written);
    check(!hansel_encode_streams(dst, bound - 1, lengths, &blob, 0, 3, symbols, 15),
          "dst too small");
    check(!hansel_encode_streams(dst, bound, lengths, &blob, 0, 3, symbols, 14), "src too small");
    check(!hansel_encode_streams(dst, bound, lengths, &blob, 1, 3, symbols, 15), "no such streams");
    symbols[7] = 3;
    check(!hansel_encode_streams(dst, bound, lengths, &blob, 0, 3, symbols, 15), "no such symbol");
    check(hansel_finish(&blob, lengths) == HANSEL_OK &&
              hansel_write_head(dst, blob.head_bytes - 1, &blob, lengths) == HANSEL_ERR_CAPACITY,
          "head");

    options.step = 1;
    bound = hansel_encode_room(&tensor, &options);
    check(bound && bound <= sizeof dst, "room of %zu", bound);
    check(hansel_encode(dst, bound - 1, &written, &tensor, &options, NULL) == HANSEL_ERR_CAPACITY,
          "dst too small");
    check(hansel_encode(dst, bound, &written, &tensor, &options, NULL) == HANSEL_OK &&
              written < bound,
          "dst large enough");
    options.lossless = 1;
    tensor.shape[0] = (uint64_t)1 << 47;
    check(!hansel_encode_room(&tensor, &options) &&
              hansel_encode(dst, sizeof dst, &written, &tensor, &options, NULL) ==
                  HANSEL_ERR_ARGUMENT,
          "too large a tensor");
    tensor.shape[0] = 3;
    tensor.rank = 9;
    check(!hansel_encode_room(&tensor, &options), "room for rank 9");
}

/* Every option, one impossible value at a time. */
static void test_options(void) {
    const hansel_status ok = HANSEL_OK, bad = HANSEL_ERR_ARGUMENT;
    const struct {
        const char *name;
        uint32_t dtype;
        hansel_status status;
        hansel_options options;
    } cases[] = {
        {"step", HANSEL_F32, ok, {.step = 1}},
        {"rate", HANSEL_F32, ok, {.target = HANSEL_TARGET_BITS, .goal = 1000}},
        {"error", HANSEL_F32, ok, {.target = HANSEL_TARGET_ERROR, .goal = 0.1}},
        {"lossless and a step", HANSEL_F32, ok, {.lossless = 1, .step = 1}},
        {"lossless and a rate",
         HANSEL_F32,
         ok,
         {.lossless = 2, .target = HANSEL_TARGET_BITS, .goal = 1000}},
        {"bytes", HANSEL_I8, ok, {.lossless = 1}},
        {"long streams", HANSEL_F32, ok, {.step = 1, .stream_length = 0xFFFFFFFF}},
        {"precision 8", HANSEL_F32, ok, {.step = 1, .slot_bits = 8}},
        {"precision 12", HANSEL_F32, ok, {.step = 1, .slot_bits = 12}},
        {"folded by 1", HANSEL_F32, ok, {.step = 1, .weights_per_symbol = 1}},
        {"folded by 2", HANSEL_F32, ok, {.step = 1, .weights_per_symbol = 2}},
        {"folded by 4", HANSEL_F32, ok, {.step = 1, .weights_per_symbol = 4}},
        {"no aim", HANSEL_F32, bad, {.clamp = 1}},
        {"two aims", HANSEL_F32, bad, {.step = 1, .target = HANSEL_TARGET_BITS, .goal = 1000}},
        {"negative step", HANSEL_F32, bad, {.step = -1}},
        {"subnormal step", HANSEL_F32, bad, {.step = 1e-40f}},
        {"infinite step", HANSEL_F32, bad, {.step = INFINITY}},
        {"step NaN", HANSEL_F32, bad, {.step = NAN}},
        {"step NaN and a rate",
         HANSEL_F32,
         bad,
         {.step = NAN, .target = HANSEL_TARGET_BITS, .goal = 1000}},
        {"target 3", HANSEL_F32, bad, {.target = 3, .goal = 1}},
        {"target 3, lossless", HANSEL_F32, bad, {.target = 3, .lossless = 1}},
        {"no goal", HANSEL_F32, bad, {.target = HANSEL_TARGET_BITS}},
        {"negative goal", HANSEL_F32, bad, {.target = HANSEL_TARGET_ERROR, .goal = -1}},
        {"infinite goal", HANSEL_F32, bad, {.target = HANSEL_TARGET_ERROR, .goal = INFINITY}},
        {"goal NaN", HANSEL_F32, bad, {.target = HANSEL_TARGET_BITS, .goal = NAN}},
        {"precision 1", HANSEL_F32, bad, {.step = 1, .slot_bits = 1}},
        {"precision 7", HANSEL_F32, bad, {.step = 1, .slot_bits = 7}},
        {"precision 13", HANSEL_F32, bad, {.lossless = 1, .slot_bits = 13}},
        {"folded by 3", HANSEL_F32, bad, {.step = 1, .weights_per_symbol = 3}},
        {"folded by 5", HANSEL_F32, bad, {.step = 1, .weights_per_symbol = 5}},
        {"folded by 8", HANSEL_F32, bad, {.lossless = 1, .weights_per_symbol = 8}},
        {"a grid of bytes", HANSEL_I8, bad, {.step = 1}},
        {"dtype 0", HANSEL_F32 - 1, bad, {.lossless = 1}},
        {"dtype 8", HANSEL_F8_E5M2 + 1, bad, {.lossless = 1}},
    };
    static const float weights[] = {0, 1, 2, 1, 0, 3, 1, 0, 2, 0, 1, 3, 1, 1, 2};
    static uint8_t dst[150000];
    uint8_t symbols[15];
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        hansel_tensor tensor = {cases[i].dtype, 2, {3, 5}, weights};
        const hansel_options *options = &cases[i].options;
        hansel_encoder e;
        size_t written = 0;
        hansel_status status;
        current = cases[i].name;
        status = hansel_encoder_begin(&e, tensor.dtype, 2, tensor.shape, options);
        check(status == cases[i].status, "begin: status %d", status);
        status = hansel_encode(dst, sizeof dst, &written, &tensor, options, NULL);
        check(status == cases[i].status, "status %d", status);
        check(status != HANSEL_OK ||
                  hansel_decode_symbols(symbols, sizeof symbols, dst, written, NULL) == HANSEL_OK,
              "cannot be decoded");
    }
}

/* What hansel_encode refuses among many weights, and where. */
static void test_refusals(void) {
    static const struct {
        float weight;
        hansel_status status;
    } bad[] = {{NAN, HANSEL_ERR_NOT_FINITE},
               {INFINITY, HANSEL_ERR_NOT_FINITE},
               {128, HANSEL_ERR_RANGE},
               {-129, HANSEL_ERR_RANGE}};
    size_t count = HANSEL_SLICE + 100, room, written, i;
    float *weights = allocate(4 * count);
    hansel_tensor tensor = {HANSEL_F32, 1, {HANSEL_SLICE + 100}, weights};
    uint8_t *dst;
    hansel_options options;
    hansel_fault fault = {0, 0, 0};
    current = "refusals";
    memset(&options, 0, sizeof options);
    options.step = 1;
    room = hansel_encode_room(&tensor, &options);
    dst = allocate(room);
    for (i = 0; i < count; i++) weights[i] = (float)(i % 50);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        hansel_status status;
        weights[HANSEL_SLICE + 77] = bad[i].weight;
        status = hansel_encode(dst, room, &written, &tensor, &options, &fault);
        check(status == bad[i].status && fault.position == HANSEL_SLICE + 77,
              "%g: status %d at %llu", (double)bad[i].weight, status,
              (unsigned long long)fault.position);
    }
    free(weights);
    free(dst);
}

static void test_names(void) {
    current = "names";
    check(hansel_version() == HANSEL_VERSION, "version %u", hansel_version());
    check(!strcmp(hansel_status_name(HANSEL_OK), "HANSEL_OK") &&
              !strcmp(hansel_status_name(HANSEL_ERR_HESSIAN), "HANSEL_ERR_HESSIAN") &&
              !*hansel_status_name((hansel_status)(HANSEL_ERR_HESSIAN + 1)),
          "names of statuses");
}

/* A tensor without streams: any slice of it may be asked for. */
static void test_all_equal(void) {
    uint64_t shape[1] = {100}, counts[256] = {0};
    uint8_t dst[100];
    hansel_blob blob;
    current = "all equal";
    counts[253] = 100;
    hansel_init(&blob, HANSEL_F32, HANSEL_GRID, 1, shape, 1);
    hansel_plan(&blob, hansel_fit(&blob, counts, 0), 0);
    memset(dst, 0, sizeof dst);
    check(hansel_decode_streams(dst, 60, &blob, NULL, NULL, 0, 0, NULL, 0, NULL) == HANSEL_OK &&
              dst[0] == 253 && dst[59] == 253 && dst[60] == 0,
          "a slice");
    check(hansel_decode_streams(dst, 101, &blob, NULL, NULL, 0, 0, NULL, 0, NULL) ==
              HANSEL_ERR_ARGUMENT,
          "more than there is");
    check(hansel_decode_streams(dst, 60, &blob, NULL, NULL, 0, 1, NULL, 0, NULL) ==
              HANSEL_ERR_ARGUMENT,
          "a stream");
    check(hansel_decode_streams(dst, 60, &blob, NULL, NULL, 0, 0, dst, 2, NULL) ==
              HANSEL_ERR_ARGUMENT,
          "words");
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(const char *root);
    } with_files[] = {{"vectors", test_vectors},
                      {"truncation", test_truncation},
                      {"bit flips", test_flips},
                      {"corruption", test_corruption}};
    static const struct {
        const char *name;
        void (*run)(void);
    } alone[] = {{"crc32c", test_crc32c},       {"fit", test_fit},
                 {"search", test_search},       {"fold", test_fold},
                 {"quantize", test_quantize},   {"planes", test_planes},
                 {"histogram", test_histogram}, {"arguments", test_arguments},
                 {"options", test_options},     {"refusals", test_refusals},
                 {"names", test_names},         {"all equal", test_all_equal},
                 {"variants", test_variants},   {"prefix codes", test_prefix},
                 {"fields", test_fields},       {"feedback", test_feedback}};
    size_t i;
    long before = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: native_test tests/vectors\n");
        return 2;
    }
#define RUN(name_, call)                                                \
    do {                                                                \
        call;                                                           \
        printf("%-12s %7ld checks\n", name_, passed + failed - before); \
        before = passed + failed;                                       \
        fflush(stdout);                                                 \
    } while (0)
    for (variant = HANSEL_SCALAR; variant < HANSEL_VARIANTS; variant++) {
        printf("%s: %s\n", variant_names[variant],
               hansel_has_variant(variant) ? "" : "not on this processor");
        if (!hansel_has_variant(variant)) continue;
        for (i = 0; i < sizeof with_files / sizeof *with_files; i++)
            RUN(with_files[i].name, with_files[i].run(argv[1]));
    }
    variant = HANSEL_SCALAR;
    for (i = 0; i < sizeof alone / sizeof *alone; i++) RUN(alone[i].name, alone[i].run());
    RUN("F16", test_halves(HANSEL_F16));
    RUN("BF16", test_halves(HANSEL_BF16));
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed != 0;
}
