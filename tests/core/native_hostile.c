/* native_hostile.c - blobs cut, extended and changed in every way. */
#include "native.h"

static const char *const small_files[] = {"ok/annotated.hansel",
                                          "ok/rank-0-lossless.hansel",
                                          "ok/rank-3.hansel",
                                          "ok/rank-8-lossless.hansel",
                                          "ok/empty-3x0.hansel",
                                          "ok/alphabet-1.hansel",
                                          "ok/boundary-3x17.hansel",
                                          "ok/boundary-17x1.hansel",
                                          "ok/alphabet-2-skewed.hansel",
                                          "ok/pieces-uneven.hansel",
                                          "ok/bf16-special.hansel",
                                          "ok/fold-2-3x31.hansel",
                                          "ok/fold-4-3x31.hansel",
                                          "version_4/ok/annotated.hansel",
                                          "version_4/ok/rank-0-lossless.hansel",
                                          "version_4/ok/rank-3.hansel",
                                          "version_4/ok/rank-8-lossless.hansel",
                                          "version_4/ok/empty-3x0.hansel",
                                          "version_4/ok/alphabet-1.hansel",
                                          "version_4/ok/boundary-3x17.hansel",
                                          "version_4/ok/alphabet-2-skewed.hansel",
                                          "version_4/ok/pieces-uneven.hansel",
                                          "version_4/ok/bf16-special.hansel",
                                          "version_4/ok/window-bf16-positive.hansel",
                                          "version_4/ok/window-f16-negative.hansel",
                                          "version_4/ok/merged-conv-pieces.hansel",
                                          "version_4/ok/window-zeros.hansel",
                                          "version_4/ok/fold-2-3x31.hansel",
                                          "version_4/ok/fold-4-3x31.hansel"};
#define SMALL_FILES (sizeof small_files / sizeof *small_files)

void test_truncation(const char *root) {
    size_t i, n;
    for (i = 0; i < SMALL_FILES; i++) {
        bytes file = read_file(root, small_files[i]);
        uint8_t *longer = allocate(file.count + 16);
        current = small_files[i];
        for (n = 0; n < file.count; n += n < 2000 ? 1 : 61) {
            hansel_fault fault = {0, 0, 0};
            hansel_status status = decode_exact(file.at, n, &fault);
            check(status == HANSEL_ERR_TRUNCATED, "%zu of %zu bytes: status %d", n, file.count,
                  status);
            check(fault.expected > n && fault.expected <= file.count, "%zu bytes: expected %llu", n,
                  (unsigned long long)fault.expected);
        }
        memset(longer, 0, file.count + 16);
        memcpy(longer, file.at, file.count);
        for (n = file.count; n <= file.count + 16; n++)
            check(decode_exact(longer, n, NULL) ==
                      (n == file.count ? HANSEL_OK : HANSEL_ERR_TRAILING),
                  "%zu of %zu bytes", n, file.count);
        free(longer);
        free(file.at);
    }
}

static long accepted;

/* With right checksums any outcome is allowed but one outside the buffers. */
static void decode_sealed(uint8_t *blob, size_t blob_bytes) {
    hansel_status status;
    formula_seal(blob, blob_bytes);
    status = decode_exact(blob, blob_bytes, NULL);
    accepted += status == HANSEL_OK;
    check(status <= HANSEL_ERR_CORRUPT && status != HANSEL_ERR_ARGUMENT, "status %d", status);
}

void test_flips(const char *root) {
    size_t i, bit;
    for (i = 0; i < SMALL_FILES; i++) {
        bytes file = read_file(root, small_files[i]);
        current = small_files[i];
        for (bit = 0; bit < 8 * file.count; bit++) {
            uint8_t *flipped = exact(file.at, file.count);
            flipped[bit / 8] ^= (uint8_t)(1 << bit % 8);
            check(decode_exact(flipped, file.count, NULL) != HANSEL_OK, "bit %zu goes unseen", bit);
            decode_sealed(flipped, file.count);
            free(flipped);
        }
        free(file.at);
    }
}

/* Several bytes at once, half of the time within the head. */
void test_corruption(const char *root) {
    static const uint8_t telling[] = {0, 1, 2, 7, 8, 127, 128, 254, 255};
    uint32_t round, i, k, at = 0;
    bytes files[SMALL_FILES];
    current = "corruption";
    accepted = 0;
    for (i = 0; i < SMALL_FILES; i++) files[i] = read_file(root, small_files[i]);
    for (round = 0; round < 100000; round++) {
        const bytes *file = &files[round % SMALL_FILES];
        uint8_t *changed = exact(file->at, file->count);
        uint32_t count = 1 + formula_random(99, at++) % 8;
        size_t reach = formula_random(99, at++) & 1 && file->count > 96 ? 96 : file->count;
        for (k = 0; k < count; k++) {
            uint32_t random = formula_random(99, at++);
            uint8_t *byte = &changed[5 + formula_random(99, at++) % (reach - 5)];
            *byte = random & 1 ? telling[(random >> 8) % sizeof telling] : (uint8_t)(random >> 8);
        }
        decode_sealed(changed, file->count);
        free(changed);
    }
    check(accepted > 1000, "only %ld changed blobs decode: too few reach the streams", accepted);
    for (i = 0; i < SMALL_FILES; i++) free(files[i].at);
}
