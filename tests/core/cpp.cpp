// cpp.cpp - both headers are C++, and what they declare links from it.
#include <stdio.h>

#include "hansel.h"
#include "hansel_slices.h"

int main() {
    const uint8_t symbols[] = {1, 2, 2};
    uint64_t counts[256] = {};
    hansel_histogram(counts, symbols, sizeof symbols);
    if (counts[1] == 1 && counts[2] == 2 && hansel_version() == HANSEL_VERSION) return 0;
    puts("C++ does not see what C sees");
    return 1;
}
