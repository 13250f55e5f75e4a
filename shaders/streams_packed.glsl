// streams_packed.glsl - mirrors streams_packed.wgsl: reads streams of fields of a few bits. FORMAT.md
// appendix A. Goes after streams.glsl.

#ifndef BITS
#define BITS 8 // of a field: 1, 2, 4 or 8
#endif

const uint bits = uint(BITS);
const uint UNIT_QUADS = 8u / bits;      // quads of columns in a unit
const uint WEIGHT_SHIFT = 32u - bits;

// Column k of a word: fields of four rows, times 2^WEIGHT_SHIFT: at the top of an integer their signs
// are in place.
ivec4 column_fields(uint word, uint k) {
    return ivec4((uvec4(word) << (uvec4(24, 16, 8, 0) + (8u - bits - k * bits))) &
        ~(0xFFFFFFFFu >> bits));
}

uint at;     // unit of the next quad
uint next;   // quad of that unit
uint stride; // from unit to unit
ivec4 column_0; // of the next quad of columns: weights of four rows
ivec4 column_1;
ivec4 column_2;
ivec4 column_3;

void begin_stream(uint quad, uint run) {
    stride = block_lanes(quad);
    at = first_unit(quad, run);
    next = 0u;
}

ivec4 column_weights(uvec4 unit, uint k) {
    uint column = next * HANSEL_LANES + k;
    uint word = unit[column * bits / 8u];
    return (column_fields(word, column % (8u / bits)) >> WEIGHT_SHIFT) + int(streams.origin);
}

void next_quad() {
    uvec4 unit = load_unit(at);
    column_0 = column_weights(unit, 0u);
    column_1 = column_weights(unit, 1u);
    column_2 = column_weights(unit, 2u);
    column_3 = column_weights(unit, 3u);
    next++;
    if (next == UNIT_QUADS) {
        next = 0u;
        at += stride;
    }
}

void seek(uint quad, uint run, uint local) {
    begin_stream(quad, run);
    at += local / UNIT_QUADS * stride;
    next = local % UNIT_QUADS;
}
