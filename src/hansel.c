/* hansel.c - what callers ask of dtypes, statuses and the library. */
#include "internal.h"

uint32_t hansel_dtype_bytes(uint32_t dtype) {
    static const uint8_t bytes[] = {0, 4, 2, 2, 1, 1, 1, 1};
    return dtype < sizeof bytes ? bytes[dtype] : 0;
}

uint32_t hansel_dtype_raw_bytes(uint32_t dtype) {
    uint32_t bytes = hansel_dtype_bytes(dtype);
    return bytes ? bytes - 1 : 0;
}

uint32_t hansel_version(void) { return HANSEL_VERSION; }

const char *hansel_status_name(hansel_status status) {
#define NAME(status) [status] = #status
    static const char *const names[] = {
        NAME(HANSEL_OK),
        NAME(HANSEL_ERR_ARGUMENT),
        NAME(HANSEL_ERR_TRUNCATED),
        NAME(HANSEL_ERR_TRAILING),
        NAME(HANSEL_ERR_MAGIC),
        NAME(HANSEL_ERR_VERSION),
        NAME(HANSEL_ERR_RESERVED),
        NAME(HANSEL_ERR_HEADER),
        NAME(HANSEL_ERR_CHECKSUM),
        NAME(HANSEL_ERR_TABLE),
        NAME(HANSEL_ERR_DIRECTORY),
        NAME(HANSEL_ERR_CORRUPT),
        NAME(HANSEL_ERR_NOT_FINITE),
        NAME(HANSEL_ERR_RANGE),
        NAME(HANSEL_ERR_CAPACITY),
        NAME(HANSEL_ERR_HESSIAN),
    };
#undef NAME
    return (size_t)status < sizeof names / sizeof *names ? names[status] : "";
}
