// streams_packed.wgsl - reads streams of fields of a few bits: FORMAT.md appendix A. Goes after
// streams.wgsl.

override bits: u32 = 8u; // 1, 2, 4 or 8

@group(0) @binding(1) var<storage, read> units: array<vec4<u32>>; // words by four
@group(0) @binding(2) var<storage, read> bases: array<u32>;       // of blocks, in words

fn load_table(invocation: u32) {
}

// Quads of columns in a unit.
fn unit_quads() -> u32 {
    return 8u / bits;
}

fn first_unit(quad: u32, run: u32) -> u32 {
    return bases[block_index(quad, run)] / 4u + quad % HANSEL_BLOCK_STREAMS;
}

// The fields of a quad of columns, a word to each: on top of the bytes of four rows. `words` holds
// them as a unit does, is_odd says that its first four columns are others.
fn fields(words: vec4<u32>, is_odd: bool) -> vec4<u32> {
    var shifts = vec4(0u);
    if (bits == 4u) {
        shifts = vec4(4u, 0u, 4u, 0u);
    } else if (bits == 2u) {
        shifts = vec4(6u, 4u, 2u, 0u);
    } else if (bits == 1u) {
        shifts = select(vec4(7u, 6u, 5u, 4u), vec4(3u, 2u, 1u, 0u), is_odd);
    }
    return (words << shifts) & vec4((256u - (256u >> bits)) * 0x01010101u);
}

// The weights of four rows, times 2^(8 - bits), and less the center.
fn integers(field: u32) -> vec4<i32> {
    return vec4<i32>(vec4(field) << vec4(24u, 16u, 8u, 0u)) >> vec4(24u);
}
