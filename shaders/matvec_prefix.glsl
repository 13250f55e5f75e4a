// matvec_prefix.glsl - mirrors matvec_prefix.wgsl: a stream's part in a product, of prefix codes. Goes
// after matvec_streams.frag.glsl.

#if KIND == 2
#define WEIGHTS(entries, k) \
    lossless_weights(uvec4(column_fields(entries) >> WEIGHT_SHIFT) & 255u, quad, k)
#else
#define WEIGHTS(entries, k) vec4(column_fields(entries))
#endif

void add_quad(uint quad) {
    load_x(quad);
    uvec4 entries = next_entries();
#if WEIGHTS_PER_CODE == 4
    ADD_COLUMN(WEIGHTS(entries.x, 0u), x);
    ADD_COLUMN(WEIGHTS(entries.y, 1u), y);
    entries = next_entries();
    ADD_COLUMN(WEIGHTS(entries.x, 2u), z);
    ADD_COLUMN(WEIGHTS(entries.y, 3u), w);
#else
    ADD_COLUMN(WEIGHTS(entries, 0u), x);
    entries = next_entries();
    ADD_COLUMN(WEIGHTS(entries, 1u), y);
    entries = next_entries();
    ADD_COLUMN(WEIGHTS(entries, 2u), z);
    entries = next_entries();
    ADD_COLUMN(WEIGHTS(entries, 3u), w);
#endif
}

void add_run(uint first, uint end, uint quad_of_rows, uint run) {
    begin_stream(quad_of_rows, run);
    uint quad = first;
#if WEIGHTS_PER_CODE == 4 // two quads are short enough for one fetch of words
    for (; quad + 1u < end; quad += 2u) {
        begin_quad();
        add_quad(quad);
        add_quad(quad + 1u);
        end_quad();
    }
#endif
    for (; quad < end; quad++) {
        begin_quad();
        add_quad(quad);
        end_quad();
    }
}
