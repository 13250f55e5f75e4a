// streams.glsl - mirrors streams.wgsl: where weights lie in a GPU's memory, streams of four rows of
// a run of columns, in blocks of 64. FORMAT.md appendix A. Words lie by four in the texels of an
// array. Goes after texels.glsl, and before streams_prefix.glsl or streams_packed.glsl.

const uint HANSEL_LANES = 4u;         // columns of a quad
const uint HANSEL_CODE_ROWS = 4u;
const uint HANSEL_BLOCK_STREAMS = 64u;

struct Streams {
    uint rows;      // of this part
    uint columns;
    uint run_quads; // columns of a run, by fours
    uint run_count; // runs of a row
    uint origin;    // center of packed weights
};

uniform Streams streams;
uniform usampler2D units; // words by four
uniform usampler2D bases; // of blocks, in words

// Streams of a run.
uint stream_quads() {
    return (streams.rows + HANSEL_CODE_ROWS - 1u) / HANSEL_CODE_ROWS;
}

// Quads of columns of a row.
uint row_quads() {
    return (streams.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
}

// Streams of the block that stream `quad` is of.
uint block_lanes(uint quad) {
    return min(stream_quads() - quad / HANSEL_BLOCK_STREAMS * HANSEL_BLOCK_STREAMS,
        HANSEL_BLOCK_STREAMS);
}

uint block_index(uint quad, uint run) {
    return quad / HANSEL_BLOCK_STREAMS * streams.run_count + run;
}

uvec4 load_unit(uint index) {
    return texelFetch(units, texel_place(index), 0);
}

uint first_unit(uint quad, uint run) {
    return texelFetch(bases, texel_place(block_index(quad, run)), 0).x / 4u +
        quad % HANSEL_BLOCK_STREAMS;
}
