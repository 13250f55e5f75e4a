// matvec_packed.glsl - mirrors matvec_packed.wgsl: a stream's part in a product, of packed weights. Goes
// after matvec_streams.frag.glsl.

#ifndef HAS_CENTER
#define HAS_CENTER 0 // or it is 0
#endif

float center; // times 2^WEIGHT_SHIFT

vec4 fields_weights(ivec4 fields, uint quad, uint k) {
#if KIND == 2
    return lossless_weights(uvec4((fields >> WEIGHT_SHIFT) + int(streams.origin)) & 255u, quad, k);
#elif HAS_CENTER
    return vec4(fields) + center;
#else
    return vec4(fields);
#endif
}

#define WEIGHTS(word, field, k) fields_weights(column_fields(word, field), quad, k)

// A quad of columns, which the first words begin with.
void add_quad(uvec4 words, uint quad) {
    load_x(quad);
#if BITS == 8
    ADD_COLUMN(WEIGHTS(words.x, 0u, 0u), x);
    ADD_COLUMN(WEIGHTS(words.y, 0u, 1u), y);
    ADD_COLUMN(WEIGHTS(words.z, 0u, 2u), z);
    ADD_COLUMN(WEIGHTS(words.w, 0u, 3u), w);
#elif BITS == 4
    ADD_COLUMN(WEIGHTS(words.x, 0u, 0u), x);
    ADD_COLUMN(WEIGHTS(words.x, 1u, 1u), y);
    ADD_COLUMN(WEIGHTS(words.y, 0u, 2u), z);
    ADD_COLUMN(WEIGHTS(words.y, 1u, 3u), w);
#else
    ADD_COLUMN(WEIGHTS(words.x, 0u, 0u), x);
    ADD_COLUMN(WEIGHTS(words.x, 1u, 1u), y);
    ADD_COLUMN(WEIGHTS(words.x, 2u, 2u), z);
    ADD_COLUMN(WEIGHTS(words.x, 3u, 3u), w);
#endif
}

void add_run(uint first, uint end, uint quad_of_rows, uint run) {
    begin_stream(quad_of_rows, run);
    center = float(int(streams.origin)) * float(1u << WEIGHT_SHIFT);
    uint quad = first;
    for (; quad + UNIT_QUADS <= end; quad += UNIT_QUADS) {
        uvec4 unit = load_unit(at);
        at += stride;
        add_quad(unit, quad);
#if BITS == 4
        add_quad(unit.zwxy, quad + 1u);
#elif BITS == 2
        add_quad(unit.yzwx, quad + 1u);
        add_quad(unit.zwxy, quad + 2u);
        add_quad(unit.wxyz, quad + 3u);
#elif BITS == 1
        add_quad(unit >> 4, quad + 1u);
        add_quad(unit.yzwx, quad + 2u);
        add_quad(unit.yzwx >> 4, quad + 3u);
        add_quad(unit.zwxy, quad + 4u);
        add_quad(unit.zwxy >> 4, quad + 5u);
        add_quad(unit.wxyz, quad + 6u);
        add_quad(unit.wxyz >> 4, quad + 7u);
#endif
    }
    // Part of a unit.
#if BITS == 4
    if (quad < end) {
        add_quad(load_unit(at), quad);
    }
#elif BITS < 4
    uvec4 unit = load_unit(at);
    for (uint column = 0u; quad < end; quad++, column += HANSEL_LANES) {
        add_quad(uvec4(unit[column * bits / 8u] >> (column * bits % 8u)), quad);
    }
#endif
}
