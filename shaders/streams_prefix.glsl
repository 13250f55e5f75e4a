// streams_prefix.glsl - mirrors streams_prefix.wgsl: reads streams of prefix codes. FORMAT.md
// appendix A. Goes after streams.glsl.
//
// A stream begins with begin_stream(); a quad of columns with begin_quad(), then come its entries,
// then end_quad(). Texture fetches cost most, so words come by four, and a quad's are picked from
// eight of them at once.

#ifndef WEIGHTS_PER_CODE
#define WEIGHTS_PER_CODE 2 // 1, 2 or 4
#endif
#ifndef SLOT_COUNT
#define SLOT_COUNT 4096 // 2^code_bits
#endif
#ifndef TALL_TABLE
#define TALL_TABLE 0 // whether the table is an array, since one row of a texture does not hold it
#endif

const uint LENGTH_MASK = 31u; // of a table entry

uniform usampler2D table;

// On software renderers too a row of a texture is faster than a uniform block.
uint load_entry(uint window) {
    uint slot = window & (uint(SLOT_COUNT) - 1u);
#if TALL_TABLE
    return texelFetch(table, texel_place(slot), 0).x;
#else
    return texelFetch(table, ivec2(slot, 0), 0).x;
#endif
}

// A window on a stream's words: the next bit is bit `used` of here.
uint at; // unit there
uint stride; // from unit to unit
uint used;
uint passed; // bits of the stream before that one
uvec4 here;
uvec4 there;

// Where a quad's codes are read: the next bit is bit `bit` of near.x.
uvec4 near;
uint beyond; // the word after near's
uint bit;
uint words_passed;

void load_window() {
    here = load_unit(at);
    at += stride;
    there = load_unit(at);
}

void begin_stream(uint quad, uint run) {
    stride = block_lanes(quad);
    at = first_unit(quad, run);
    used = passed = 0u;
    load_window();
}

void begin_quad() {
    uint two = 0u - (used >> 6);
    uint one = 0u - ((used >> 5) & 1u);
    uvec4 low = here ^ ((here ^ uvec4(here.zw, there.xy)) & two);
    uvec2 high = there.xy ^ ((there.xy ^ there.zw) & two);
    near = low ^ ((low ^ uvec4(low.yzw, high.x)) & one);
    beyond = high.x ^ ((high.x ^ high.y) & one);
    bit = used & 31u;
    words_passed = used >> 5;
}

// The table entries of a column's codes, or of two columns' where a code is a column: at most 32 bits.
uvec4 next_entries() {
    uint window = (near.x >> bit) | ((near.y << 1) << (31u - bit));
    uvec4 entries = uvec4(load_entry(window), 0u, 0u, 0u);
    window >>= entries.x & LENGTH_MASK;
    entries.y = load_entry(window);
    uint lengths = entries.x + entries.y;
#if WEIGHTS_PER_CODE == 1
    window >>= entries.y & LENGTH_MASK;
    entries.z = load_entry(window);
    window >>= entries.z & LENGTH_MASK;
    entries.w = load_entry(window);
    lengths += entries.z + entries.w;
#endif
    bit += lengths & 63u;
    uint crosses = bit >> 5;
    bit &= 31u;
    words_passed += crosses;
    near ^= (near ^ uvec4(near.yzw, beyond)) & (0u - crosses);
    return entries;
}

void end_quad() {
    uint end = 32u * words_passed + bit;
    passed += end - used;
    used = end & 127u;
    uint crosses = 0u - (end >> 7);
    here ^= (here ^ there) & crosses;
    at += stride & crosses;
    there = load_unit(at);
}

// The weights of four rows, times 2^WEIGHT_SHIFT: at the top of an integer their signs are in place.
#if WEIGHTS_PER_CODE == 4
const uint WEIGHT_SHIFT = 26u;

ivec4 column_fields(uint entry) {
    return ivec4((uvec4(entry) << uvec4(0, 6, 12, 18)) & 0xFC000000u);
}
#else
const uint WEIGHT_SHIFT = 24u;

ivec4 column_fields(uvec4 entries) {
#if WEIGHTS_PER_CODE == 2
    entries = uvec4(entries.x, entries.x << 8, entries.y, entries.y << 8);
#endif
    return ivec4(entries & 0xFF000000u);
}
#endif

// Of the next quad of columns: weights of four rows.
ivec4 column_0;
ivec4 column_1;
ivec4 column_2;
ivec4 column_3;

void next_quad() {
    begin_quad();
    uvec4 entries = next_entries();
#if WEIGHTS_PER_CODE == 4
    column_0 = column_fields(entries.x) >> WEIGHT_SHIFT;
    column_1 = column_fields(entries.y) >> WEIGHT_SHIFT;
    entries = next_entries();
    column_2 = column_fields(entries.x) >> WEIGHT_SHIFT;
    column_3 = column_fields(entries.y) >> WEIGHT_SHIFT;
#else
    column_0 = column_fields(entries) >> WEIGHT_SHIFT;
    column_1 = column_fields(next_entries()) >> WEIGHT_SHIFT;
    column_2 = column_fields(next_entries()) >> WEIGHT_SHIFT;
    column_3 = column_fields(next_entries()) >> WEIGHT_SHIFT;
#endif
    end_quad();
}
