/* native_vectors.c - golden vectors: decode, ranges of streams, encode again; the bad ones. */
#include "native.h"

/* ---- vectors.json: one vector a line, every key once a line ------------------- */

/* Where the value of a key begins in the line; NULL if it has none. */
static const char *json_value(const char *line, const char *key) {
    char quoted[64];
    const char *found;
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    found = strstr(line, quoted);
    return found ? found + strlen(quoted) : NULL;
}

static double json_number(const char *line, const char *key) {
    const char *value = json_value(line, key);
    return value ? strtod(value, NULL) : 0;
}

static int json_is(const char *line, const char *key, const char *text) {
    const char *value = json_value(line, key);
    return value && value[0] == '"' && !strncmp(value + 1, text, strlen(text)) &&
           value[1 + strlen(text)] == '"';
}

static uint32_t json_crc(const char *line, const char *key) {
    const char *value = json_value(line, key);
    return value ? (uint32_t)strtoul(value + 1, NULL, 16) : 0;
}

static uint32_t json_name(const char *line, const char *key, const char *const *names,
                          uint32_t count) {
    uint32_t i;
    for (i = 0; i < count; i++)
        if (json_is(line, key, names[i])) return i;
    return count;
}

static void json_text(char *dst, size_t dst_bytes, const char *line, const char *key) {
    const char *value = json_value(line, key);
    size_t i = 0;
    for (value++; value[i] != '"' && i + 1 < dst_bytes; i++) dst[i] = value[i];
    dst[i] = 0;
}

static vector json_vector(const char *line) {
    static const char *const dtypes[] = {"",   "F32", "F16",     "BF16",
                                         "I8", "U8",  "F8_E4M3", "F8_E5M2"};
    vector v;
    const char *shape = json_value(line, "shape") + 1;
    memset(&v, 0, sizeof v);
    json_text(v.name, sizeof v.name, line, "name");
    json_text(v.file, sizeof v.file, line, "file");
    v.dtype = json_name(line, "dtype", dtypes, 8);
    while (*shape != ']') {
        char *end;
        v.shape[v.rank++] = strtoull(shape, &end, 10);
        shape = *end == ',' ? end + 1 : end;
    }
    v.input.kind = (formula_kind)json_name(line, "kind", formula_names, FORMULA_KINDS);
    v.input.scale = (uint32_t)json_number(line, "scale");
    v.input.low = (int32_t)json_number(line, "low");
    v.input.exponent = (uint32_t)json_number(line, "exponent");
    v.input.seed = (uint32_t)json_number(line, "seed");
    v.options.step = (float)json_number(line, "step");
    v.options.lossless = json_value(line, "lossless") != NULL;
    v.options.clamp = json_value(line, "clamp") != NULL;
    v.options.target = json_value(line, "bits")    ? HANSEL_TARGET_BITS
                       : json_value(line, "error") ? HANSEL_TARGET_ERROR
                                                   : 0;
    v.options.goal = json_number(line, json_value(line, "bits") ? "bits" : "error");
    v.options.stream_length = (uint32_t)json_number(line, "stream_length");
    v.options.slot_bits = (uint32_t)json_number(line, "precision");
    v.options.weights_per_symbol = (uint32_t)json_number(line, "weights_per_symbol");
    return v;
}

/* ---- golden vectors ----------------------------------------------------------- */

/* Any range of streams alone equals that part of the whole. */
static void check_range(const hansel_blob *blob, const uint8_t *head, const uint32_t *table,
                        const uint32_t *all, const uint8_t *symbols, uint32_t first,
                        uint32_t count) {
    uint32_t *cursors = allocate(4 * ((size_t)count + 1));
    uint64_t start = hansel_stream_start(blob, first),
             end = hansel_stream_start(blob, first + count);
    size_t src_bytes = 2 * (size_t)(all[first + count] - all[first]), size = (size_t)(end - start);
    uint8_t *words = exact(head + blob->head_bytes + 2 * (size_t)all[first], src_bytes);
    uint8_t *dst = allocate(size);
    hansel_read_cursors(cursors, blob, head, first, count, all[first]);
    check(!memcmp(cursors, all + first, 4 * ((size_t)count + 1)), "cursors of %u + %u", first,
          count);
    check(hansel_decode_streams(dst, size, blob, table, cursors, first, count, words, src_bytes,
                                NULL) == HANSEL_OK &&
              !memcmp(dst, symbols + start, size),
          "streams %u + %u", first, count);
    check(hansel_decode_streams(dst, size + 1, blob, table, cursors, first, count, words, src_bytes,
                                NULL) == HANSEL_ERR_ARGUMENT,
          "a byte too many in dst");
    check(hansel_decode_streams(dst, size, blob, table, cursors, first, count, words, src_bytes + 2,
                                NULL) == HANSEL_ERR_ARGUMENT,
          "a word too many in src");
    free(cursors);
    free(words);
    free(dst);
}

static void check_ranges(const hansel_blob *blob, const bytes *file, const uint8_t *symbols) {
    uint32_t *all = allocate(4 * ((size_t)blob->stream_count + 1)),
             *table = allocate(4 * HANSEL_MAX_SLOTS);
    uint32_t i, n = blob->stream_count;
    hansel_build_table(table, blob);
    hansel_read_cursors(all, blob, file->at, 0, n, 0);
    check(all[n] == blob->word_count, "cursors end at %u", all[n]);
    check_range(blob, file->at, table, all, symbols, 0, n);
    check_range(blob, file->at, table, all, symbols, n, 0);
    for (i = 0; i < n && i < 40; i++) check_range(blob, file->at, table, all, symbols, i, 1);
    for (i = 0; i < 20; i++) {
        uint32_t first = formula_random(n, i) % n;
        check_range(blob, file->at, table, all, symbols, first,
                    formula_random(~n, i) % (n - first + 1));
    }
    check(hansel_decode_streams(NULL, 0, blob, table, all, n + 1, 0, NULL, 0, NULL) ==
              HANSEL_ERR_ARGUMENT,
          "first beyond the end");
    check(hansel_decode_streams(NULL, 0, blob, table, all, 1, n, NULL, 0, NULL) ==
              HANSEL_ERR_ARGUMENT,
          "count beyond the end");
    free(all);
    free(table);
}

/* What the reference quantizer must find: division and rounding by libm. */
static int is_quantized(const vector *v, const uint8_t *src, const uint8_t *symbols, size_t count,
                        float step) {
    size_t i;
    for (i = 0; i < count; i++) {
        uint32_t bits = v->dtype == HANSEL_F32 ? (uint32_t)formula_load(src + 4 * i, 4)
                                               : (uint32_t)formula_load(src + 2 * i, 2);
        uint32_t fraction = bits & 1023, biased = bits >> 10 & 31;
        float weight, index;
        if (v->dtype == HANSEL_F16)
            weight =
                (float)ldexp((bits >> 15 ? -1 : 1) * (int)(biased ? fraction + 1024 : fraction),
                             (biased ? (int)biased : 1) - 25);
        else {
            if (v->dtype == HANSEL_BF16) bits <<= 16;
            memcpy(&weight, &bits, 4);
        }
        index = rintf(weight / step);
        if (v->options.clamp) index = fminf(127, fmaxf(-128, index));
        if ((float)(int8_t)symbols[i] != index) return 0;
    }
    return 1;
}

static void test_vector(const char *root, const char *line) {
    vector v = json_vector(line);
    bytes file = read_file(root, v.file), again;
    hansel_blob blob;
    hansel_stats stats;
    hansel_status status;
    uint32_t size = hansel_dtype_bytes(v.dtype);
    size_t count;
    uint8_t *src, *symbols, *values;
    current = v.name;
    memset(&stats, 0, sizeof stats);
    check(file.count == (size_t)json_number(line, "blob_bytes") &&
              hansel_crc32c(0, file.at, file.count) == json_crc(line, "blob_crc32c"),
          "the file");
    status = hansel_read_head(&blob, file.at, file.count, NULL);
    check(status == HANSEL_OK, "head: status %d", status);
    if (status != HANSEL_OK) return;
    count = (size_t)blob.weights;
    src = allocate(count * size);
    values = allocate(count * size);
    symbols = allocate(count);
    formula_fill(src, &v.input, v.dtype, count);
    check(hansel_crc32c(0, src, count * size) == json_crc(line, "source_crc32c"), "the formula");
    check(blob.dtype == v.dtype && blob.rank == v.rank &&
              !memcmp(blob.shape, v.shape, sizeof v.shape),
          "dtype or shape");
    check(blob.stream_count == (uint32_t)json_number(line, "streams"), "streams");
    check(blob.step == (float)json_number(line, "grid_step"), "step %.9g", (double)blob.step);

    status = hansel_decode_symbols(symbols, count, file.at, file.count, NULL);
    check(status == HANSEL_OK, "decode: status %d", status);
    check(hansel_crc32c(0, symbols, count) == json_crc(line, "symbols_crc32c"), "the symbols");
    check(hansel_decode_symbols(symbols, count + 1, file.at, file.count, NULL) ==
              HANSEL_ERR_ARGUMENT,
          "a dst of another size");
    if (v.options.lossless) {
        uint8_t *packed =
            exact(file.at + blob.head_bytes + blob.raw_start, (count * blob.raw_bits + 7) / 8);
        uint8_t *raw = allocate(count * blob.raw_bytes);
        hansel_expand_raw(raw, &blob, packed, 0, count);
        hansel_join(values, &blob, symbols, raw, count);
        check(!memcmp(values, src, count * size), "not lossless");
        free(raw);
        free(packed);
    } else {
        uint8_t *indices = allocate(count);
        check(is_quantized(&v, src, symbols, count, blob.step), "not quantized as libm does");
        hansel_quantize(indices, v.dtype, src, count, blob.step, 1, &stats, NULL);
        check(!memcmp(indices, symbols, count), "hansel_quantize differs");
        hansel_dequantize(values, v.dtype, symbols, count, blob.step);
        free(indices);
    }
    check(stats.saturated == (uint32_t)json_number(line, "saturated"), "saturated %u",
          stats.saturated);
    check(hansel_crc32c(0, values, count * size) == json_crc(line, "values_crc32c"), "the values");
    if (blob.stream_count) check_ranges(&blob, &file, symbols);
    check_decode(&blob, &file, symbols, values);
    check_prefix(&blob, symbols);

    /* Earlier versions are read only. */
    if (blob.version == HANSEL_FORMAT_VERSION) {
        again = encode(&v, src, &status);
        check(status == HANSEL_OK && again.count == file.count &&
                  !memcmp(again.at, file.at, file.count),
              "encoding gives other bytes, status %d", status);
        free(again.at);
    }
    free(src);
    free(values);
    free(symbols);
    free(file.at);
}

static void test_bad(const char *root, const char *line) {
    char name[64], file_name[96];
    hansel_fault fault = {0, 0, 0};
    hansel_status status;
    bytes file;
    json_text(name, sizeof name, line, "name");
    json_text(file_name, sizeof file_name, line, "file");
    current = name;
    file = read_file(root, file_name);
    status = decode_exact(file.at, file.count, &fault);
    check(status != HANSEL_OK && json_is(line, "status", hansel_status_name(status)), "status %d",
          status);
    if (json_value(line, "position"))
        check((double)fault.position == json_number(line, "position"), "position %llu",
              (unsigned long long)fault.position);
    check(decode_exact(file.at, file.count, NULL) == status, "other status without a fault");
    free(file.at);
}

/* Every vector's line; then those of the bad ones. */
static void test_file(const char *root, const char *name) {
    bytes file = read_file(root, name);
    char *text = allocate(file.count + 1), *line;
    int ok = 0, bad = 0;
    memcpy(text, file.at, file.count);
    text[file.count] = 0;
    for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (json_value(line, "formula"))
            test_vector(root, line), ok++;
        else if (json_value(line, "status"))
            test_bad(root, line), bad++;
    }
    current = name;
    check(ok >= 100 && bad >= 80, "only %d ok, %d bad", ok, bad);
    free(text);
    free(file.at);
}

void test_vectors(const char *root) {
    test_file(root, "vectors.json"); /* of versions 1 to 3 */
    test_file(root, "version_4/vectors.json");
}
