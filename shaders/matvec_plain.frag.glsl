// matvec_plain.frag.glsl - mirrors matvec_plain.wgsl: y = W x for a matrix that is not coded. A
// fragment computes four rows, so that x is fetched once for all of them, and takes each piece-th
// 16 bytes of them where `pieces` fragments share the work. reduce.frag.glsl adds the pieces up,
// scales, and puts rows in order: a fragment is to it a stream of four rows.
//
// Goes after texels.glsl. Textures are read as arrays.

#ifndef DTYPE
#define DTYPE 4 // of W
#endif
#ifndef TILE
#define TILE 1 // vectors at a time: 1 or 4
#endif
#ifndef IS_INTEGER
#define IS_INTEGER 0 // signed bytes times integers, exact
#endif
#ifndef WIDE
#define WIDE 1 // rows begin at multiples of 16 bytes
#endif

const uint HANSEL_LANES = 4u;

// In u32s for a step of four weights, and steps in 16 bytes.
#if DTYPE == 4
const uint STEP_WORDS = 1u;
#elif DTYPE == 1
const uint STEP_WORDS = 4u;
#else
const uint STEP_WORDS = 2u;
#endif
const uint QUAD_STEPS = 4u / STEP_WORDS;

// Fragment i of the matrix lies at (i mod 2^grid_log2, i >> grid_log2): piece i mod pieces of the
// rows from 4 * (i / pieces) on.
struct Plain {
    uint first;     // fragment of this part of W
    uint end;
    uint rows;      // of this part of W
    uint columns;
    uint row_pitch; // in u32s
    uint pieces;
    uint grid_log2;
    uint x_start;   // of the tile's first vector, in steps
    uint x_stride;  // from vector to vector, in steps
    uint last;      // vector of the tile
};

uniform Plain plain;
uniform usampler2D weights; // 16 bytes to a texel
uniform usampler2D x;       // a step to a texel: bits of binary32, or integers

layout(location = 0) out uvec4 dst0; // TILE 1: a sum to each of four rows
#if TILE == 4                        // else a row to each, a sum to each vector
layout(location = 1) out uvec4 dst1;
layout(location = 2) out uvec4 dst2;
layout(location = 3) out uvec4 dst3;
#endif

// By row. Beyond the batch, vectors repeat what is there; nothing of it is kept.
#if IS_INTEGER
ivec4 sum_0;
#else
vec4 sum_0;
vec4 sum_1;
vec4 sum_2;
vec4 sum_3;
#endif
uint x_1;
uint x_2;
uint x_3;

uvec4 load(usampler2D src, uint index) {
    return texelFetch(src, texel_place(index), 0);
}

#if IS_INTEGER
int across(ivec4 v) {
    return (v.x + v.y) + (v.z + v.w);
}

ivec4 step_weights(uint word) {
    return (ivec4(uvec4(word) << uvec4(24, 16, 8, 0)) >> 24);
}

// A step of four rows: a word each.
void add_step(uvec4 word, uint index) {
    ivec4 v = ivec4(load(x, index));
    sum_0 += ivec4(across(step_weights(word.x) * v), across(step_weights(word.y) * v),
        across(step_weights(word.z) * v), across(step_weights(word.w) * v));
}
#else
// A step of four rows.
void add(mat4 row_weights, uint index) {
    sum_0 += uintBitsToFloat(load(x, index)) * row_weights;
#if TILE == 4
    sum_1 += uintBitsToFloat(load(x, index + x_1)) * row_weights;
    sum_2 += uintBitsToFloat(load(x, index + x_2)) * row_weights;
    sum_3 += uintBitsToFloat(load(x, index + x_3)) * row_weights;
#endif
}

#if DTYPE == 4
// Four signed bytes times 2^24: keeping them at the top saves a shift, and is exact.
vec4 step_weights(uint word) {
    return vec4(ivec4((uvec4(word) << uvec4(24, 16, 8, 0)) & 0xFF000000u));
}

void add_step(uvec4 word, uint index) {
    add(mat4(step_weights(word.x), step_weights(word.y), step_weights(word.z),
        step_weights(word.w)), index);
}
#elif DTYPE == 2
// unpackHalf2x16() may flush subnormals; W's are exact: integers times 2^-24.
vec4 step_weights(uvec2 pair) {
    uvec4 bits = uvec4(pair.x & 0xFFFFu, pair.x >> 16, pair.y & 0xFFFFu, pair.y >> 16);
    uvec4 rest = bits & 0x7FFFu;
    uvec4 is_small = 0u - uvec4(lessThan(rest, uvec4(0x0400u)));
    uvec4 is_wild = uvec4(greaterThanEqual(rest, uvec4(0x7C00u))); // infinity and NaN stay so
    uvec4 normal = (rest << 13) + 0x38000000u * (1u + is_wild);
    uvec4 subnormal = floatBitsToUint(vec4(rest) * (1.0 / 16777216.0));
    return uintBitsToFloat((normal ^ ((normal ^ subnormal) & is_small)) | ((bits & 0x8000u) << 16));
}
#elif DTYPE == 3
vec4 step_weights(uvec2 pair) {
    return uintBitsToFloat(uvec4(pair.x << 16, pair.x & 0xFFFF0000u, pair.y << 16,
        pair.y & 0xFFFF0000u));
}
#endif
#endif

// 16 bytes of four rows, all of them weights; index is where their x begins.
void add_quad(uvec4 a, uvec4 b, uvec4 c, uvec4 d, uint index) {
#if DTYPE == 4
    add_step(uvec4(a.x, b.x, c.x, d.x), index);
    add_step(uvec4(a.y, b.y, c.y, d.y), index + 1u);
    add_step(uvec4(a.z, b.z, c.z, d.z), index + 2u);
    add_step(uvec4(a.w, b.w, c.w, d.w), index + 3u);
#elif DTYPE == 1
    add(mat4(uintBitsToFloat(a), uintBitsToFloat(b), uintBitsToFloat(c), uintBitsToFloat(d)), index);
#else
    add(mat4(step_weights(a.xy), step_weights(b.xy), step_weights(c.xy), step_weights(d.xy)), index);
    add(mat4(step_weights(a.zw), step_weights(b.zw), step_weights(c.zw), step_weights(d.zw)),
        index + 1u);
#endif
}

uint load_word(uint index) {
    return load(weights, index >> 2)[index & 3u];
}

#if !IS_INTEGER
// The first lane_count weights of a row's step, the others 0 whatever is there.
vec4 part_weights(uint index, uint lane_count) {
#if DTYPE == 4
    vec4 all_weights = step_weights(load_word(index));
#elif DTYPE == 1
    vec4 all_weights = uintBitsToFloat(uvec4(load_word(index), load_word(index + 1u),
        load_word(index + 2u), load_word(index + 3u)));
#else
    vec4 all_weights = step_weights(uvec2(load_word(index), load_word(index + 1u)));
#endif
    return vec4(all_weights.x, lane_count > 1u ? all_weights.y : 0.0,
        lane_count > 2u ? all_weights.z : 0.0, lane_count > 3u ? all_weights.w : 0.0);
}
#endif

// The first lane_count weights of a step.
void add_part(uvec4 start, uint index, uint lane_count) {
#if IS_INTEGER
    uint mask = lane_count < 4u ? (1u << (8u * lane_count)) - 1u : 0xFFFFFFFFu;
    add_step(uvec4(load_word(start.x), load_word(start.y), load_word(start.z), load_word(start.w))
        & mask, index);
#else
    add(mat4(part_weights(start.x, lane_count), part_weights(start.y, lane_count),
        part_weights(start.z, lane_count), part_weights(start.w, lane_count)), index);
#endif
}

void main() {
    uint i = (uint(gl_FragCoord.y) << plain.grid_log2) + uint(gl_FragCoord.x);
    if (i < plain.first || i >= plain.end) {
        discard;
        return;
    }
    uint piece = i % plain.pieces;
    uint row = 4u * ((i - plain.first) / plain.pieces);
    uint row_steps = (plain.columns + HANSEL_LANES - 1u) / HANSEL_LANES;
    uvec4 start = min(row + uvec4(0, 1, 2, 3), plain.rows - 1u) * plain.row_pitch;
#if IS_INTEGER
    sum_0 = ivec4(0);
#else
    sum_0 = sum_1 = sum_2 = sum_3 = vec4(0.0);
#endif
    x_1 = min(1u, plain.last) * plain.x_stride;
    x_2 = min(2u, plain.last) * plain.x_stride;
    x_3 = min(3u, plain.last) * plain.x_stride;
    uint quad_count = 0u;
#if WIDE
    quad_count = plain.columns / (HANSEL_LANES * QUAD_STEPS);
    uvec4 place = start >> 2;
    for (uint quad = piece; quad < quad_count; quad += plain.pieces) {
        add_quad(load(weights, place.x + quad), load(weights, place.y + quad),
            load(weights, place.z + quad), load(weights, place.w + quad),
            plain.x_start + quad * QUAD_STEPS);
    }
#endif
    for (uint column = quad_count * QUAD_STEPS + piece; column < row_steps;
         column += plain.pieces) { // in steps
        add_part(start + column * STEP_WORDS, plain.x_start + column,
            min(HANSEL_LANES, plain.columns - HANSEL_LANES * column));
    }
#if DTYPE == 4 && !IS_INTEGER // see above; not with the scale, which can be very small
    const float I8_SCALE = 1.0 / 16777216.0;
    sum_0 *= I8_SCALE;
#if TILE == 4
    sum_1 *= I8_SCALE;
    sum_2 *= I8_SCALE;
    sum_3 *= I8_SCALE;
#endif
#endif
#if IS_INTEGER
    dst0 = uvec4(sum_0);
#elif TILE == 4
    dst0 = floatBitsToUint(vec4(sum_0.x, sum_1.x, sum_2.x, sum_3.x));
    dst1 = floatBitsToUint(vec4(sum_0.y, sum_1.y, sum_2.y, sum_3.y));
    dst2 = floatBitsToUint(vec4(sum_0.z, sum_1.z, sum_2.z, sum_3.z));
    dst3 = floatBitsToUint(vec4(sum_0.w, sum_1.w, sum_2.w, sum_3.w));
#else
    dst0 = floatBitsToUint(sum_0);
#endif
}
