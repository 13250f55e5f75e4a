/* variant.c - the fastest decoder that this processor can run. */
#include "decoder.h"

hansel_variant hansel_best_variant(void) {
    if (hansel_has_variant(HANSEL_AVX2)) return HANSEL_AVX2;
    return hansel_has_variant(HANSEL_QUADS) ? HANSEL_QUADS : HANSEL_SCALAR;
}
