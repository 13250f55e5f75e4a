// matvec_streams.frag.glsl - mirrors matvec_streams.wgsl: y = W x by weights in streams of four rows
// (FORMAT.md appendix A). One fragment reads the same four rows of some runs of columns, uses each
// weight for all vectors of a tile, and leaves their sums to reduce.frag.glsl, to which it is a
// piece of a stream of four rows. The reference for the sums is src/matvec.c.
//
// Goes after lossless_bits.glsl and streams_prefix.glsl or streams_packed.glsl, and before
// matvec_prefix.glsl or matvec_packed.glsl, which define add_run().

#ifndef KIND
#define KIND 0 // 0 grid indices times binary32, 1 indices times signed bytes, 2 lossless weights
#endif
#ifndef TILE
#define TILE 1 // vectors at a time: 1 or 4
#endif

// Fragment i lies at (i mod 2^grid_log2, i >> grid_log2): neighbours read neighbouring words.
struct Product {
    uint runs_each;  // runs of columns of a fragment
    uint first_quad; // of rows: of this part
    uint sum_quads;  // of the matrix
    uint grid_log2;
    uint x_start;    // of the tile's first vector, in quads of columns
    uint x_stride;   // from vector to vector, in quads
    uint last;       // vector of the tile
    uint raw_bytes;
    uint raw_units;  // of a stream's rows
};

uniform Product product;
uniform usampler2D x; // a quad to a texel: bits of binary32, or integers

layout(location = 0) out uvec4 dst0; // TILE 1: a sum to each of four rows
#if TILE == 4                        // else a row to each, a sum to each vector
layout(location = 1) out uvec4 dst1;
layout(location = 2) out uvec4 dst2;
layout(location = 3) out uvec4 dst3;
#endif

const float WEIGHT_SCALE = 1.0 / float(1u << WEIGHT_SHIFT);

// Of the tile's vectors: sums of four rows, and x of four columns. Beyond the batch, vectors repeat
// what is there; nothing of it is kept.
vec4 sum_0;
vec4 x_0;
#if TILE == 4
vec4 sum_1;
vec4 sum_2;
vec4 sum_3;
vec4 x_1;
vec4 x_2;
vec4 x_3;
#endif
uvec4 x_at; // where the vectors begin
#if KIND == 1
ivec4 total; // of runs
#endif

vec4 load_vector(uint index) {
    uvec4 four = texelFetch(x, texel_place(index), 0);
#if KIND == 1
    return vec4(ivec4(four));
#else
    return uintBitsToFloat(four);
#endif
}

#if KIND == 2
uniform usampler2D raw; // by four words, as units
uint raw_at;            // unit of the next quad
uint raw_stride;        // from unit to unit
uvec4 raw_0;
uvec4 raw_1;
uvec4 raw_2;

uvec4 load_raw_unit(uint index) {
    return texelFetch(raw, texel_place(index), 0);
}

// Of a quad of columns, raw_bytes bytes of each.
void load_raw() {
    raw_0 = load_raw_unit(raw_at);
    if (product.raw_bytes > 1u) {
        raw_1 = load_raw_unit(raw_at + raw_stride);
        raw_2 = load_raw_unit(raw_at + 2u * raw_stride);
    }
    raw_at += product.raw_bytes * raw_stride;
}

// Column k's raw bytes, the lowest in x: a byte to each of four rows.
uvec3 raw_column(uint k) {
    if (product.raw_bytes == 1u) {
        return uvec3(raw_0[k], 0u, 0u);
    }
    return k == 0u ? raw_0.xyz : k == 1u ? uvec3(raw_0.w, raw_1.xy)
        : k == 2u ? uvec3(raw_1.zw, raw_2.x) : raw_2.yzw;
}

// Weights of four rows from their symbols, in column k of quad `quad`; 0 where there is none.
vec4 lossless_weights(uvec4 symbols, uint quad, uint k) {
    uvec3 words = raw_column(k);
    vec4 weights = vec4(0.0);
    if (quad * HANSEL_LANES + k < streams.columns) {
        for (uint row = 0u; row < HANSEL_CODE_ROWS; row++) {
            uvec3 bytes = (words >> (8u * row)) & 255u;
            uint bits = join_bits(symbols.x, bytes.x | (bytes.y << 8) | (bytes.z << 16));
            weights = vec4(weights.yzw, uintBitsToFloat(float_bits(bits)));
            symbols = symbols.yzwx;
        }
    }
    return weights;
}
#endif

void load_x(uint quad) {
#if KIND == 2
    load_raw();
#endif
    x_0 = load_vector(x_at.x + quad);
#if TILE == 4
    x_1 = load_vector(x_at.y + quad);
    x_2 = load_vector(x_at.z + quad);
    x_3 = load_vector(x_at.w + quad);
#endif
}

// Weights of four rows, in column x, y, z or w of the quad that load_x() was given.
#if TILE == 4
void add_column(vec4 column, vec4 elements) {
    sum_0 += column * elements.x;
    sum_1 += column * elements.y;
    sum_2 += column * elements.z;
    sum_3 += column * elements.w;
}
#define ADD_COLUMN(column, k) add_column(column, vec4(x_0.k, x_1.k, x_2.k, x_3.k))
#else
#define ADD_COLUMN(column, k) sum_0 += (column) * x_0.k
#endif

// Quads of columns from first to end: a run, of four rows.
void add_run(uint first, uint end, uint quad_of_rows, uint run);

void main() {
    uint i = (uint(gl_FragCoord.y) << product.grid_log2) + uint(gl_FragCoord.x);
    uint group = i / product.sum_quads;
    uint quad = i - group * product.sum_quads - product.first_quad; // huge before the part
    if (quad >= stream_quads() || group * product.runs_each >= streams.run_count) {
        discard;
        return;
    }
    x_at = product.x_start + min(uvec4(0, 1, 2, 3), uvec4(product.last)) * product.x_stride;
    sum_0 = vec4(0.0);
#if TILE == 4
    sum_1 = sum_2 = sum_3 = vec4(0.0);
#endif
#if KIND == 1
    total = ivec4(0);
#endif
    uint last = min((group + 1u) * product.runs_each, streams.run_count);
    for (uint run = group * product.runs_each; run < last; run++) {
        uint first = run * streams.run_quads;
#if KIND == 2
        raw_stride = block_lanes(quad);
        raw_at = quad / HANSEL_BLOCK_STREAMS * HANSEL_BLOCK_STREAMS * product.raw_units +
            first * product.raw_bytes * raw_stride + quad % HANSEL_BLOCK_STREAMS;
#endif
        add_run(first, min(first + streams.run_quads, row_quads()), quad, run);
#if KIND == 1
        total += ivec4(sum_0 * WEIGHT_SCALE); // of 1024 columns at most a sum is exact
        sum_0 = vec4(0.0);
#endif
    }
#if KIND == 0 // where weights are integers, at the top of 32 bits
    sum_0 *= WEIGHT_SCALE;
#if TILE == 4
    sum_1 *= WEIGHT_SCALE;
    sum_2 *= WEIGHT_SCALE;
    sum_3 *= WEIGHT_SCALE;
#endif
#endif
#if KIND == 1
    dst0 = uvec4(total);
#elif TILE == 4
    dst0 = floatBitsToUint(vec4(sum_0.x, sum_1.x, sum_2.x, sum_3.x));
    dst1 = floatBitsToUint(vec4(sum_0.y, sum_1.y, sum_2.y, sum_3.y));
    dst2 = floatBitsToUint(vec4(sum_0.z, sum_1.z, sum_2.z, sum_3.z));
    dst3 = floatBitsToUint(vec4(sum_0.w, sum_1.w, sum_2.w, sum_3.w));
#else
    dst0 = floatBitsToUint(sum_0);
#endif
}
