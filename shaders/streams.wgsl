// streams.wgsl - where weights lie in a GPU's memory: streams of four rows of a run of columns,
// in blocks of 64. FORMAT.md appendix A, src/prefix.c. Goes before all that reads or writes them.

const HANSEL_LANES: u32 = 4u;        // columns of a quad
const HANSEL_CODE_ROWS: u32 = 4u;
const HANSEL_BLOCK_STREAMS: u32 = 64u;

override group_size: u32 = 64u;

struct Streams {
    rows: u32,      // of this part
    columns: u32,
    run_quads: u32, // columns of a run, by fours
    run_count: u32, // runs of a row
    origin: u32,    // byte of level 0; center of packed weights
}

@group(0) @binding(0) var<uniform> streams: Streams;

// Streams of a run.
fn stream_quads() -> u32 {
    return (streams.rows + HANSEL_CODE_ROWS - 1u) / HANSEL_CODE_ROWS;
}

// Quads of columns of a row.
fn row_quads() -> u32 {
    return (streams.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
}

// Streams of the block that stream `quad` is of.
fn block_lanes(quad: u32) -> u32 {
    return min(stream_quads() - quad / HANSEL_BLOCK_STREAMS * HANSEL_BLOCK_STREAMS,
        HANSEL_BLOCK_STREAMS);
}

fn block_index(quad: u32, run: u32) -> u32 {
    return quad / HANSEL_BLOCK_STREAMS * streams.run_count + run;
}
