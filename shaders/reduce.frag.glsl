// reduce.frag.glsl - makes vectors of the sums that matvec.frag.glsl left: adds up the pieces of a
// row, always in the same order, scales, and adds the bias. One fragment writes four rows of one
// vector.
//
// src holds the sums of fragment i at (i mod 2^grid_log2, i >> grid_log2): those of pass p in layers
// p * texels on, block_rows further down after every `layers` of them. dst is an array, four
// rows to a texel; rows beyond the last are 0. Goes after texels.glsl.

struct Reduction {
    uint y_start;         // of the tile's first vector, in texels
    uint y_stride;        // from vector to vector, in texels
    uint vectors;         // of the tile
    uint tile;
    uint rows;
    uint pieces;
    uint piece_step;      // from a piece to the next one of the same rows
    uint stream_step;     // from the pieces of a stream's rows to those of the next
    uint rows_per_stream;
    uint pass_rows;       // of a stream, in one pass
    uint segments;        // passes that such rows take
    uint texels;          // a fragment's, in one pass
    uint grid_log2;
    uint layers;
    uint block_rows;
    uint is_integer;
    uint has_bias;
    uint scale_bits;
};

uniform Reduction reduction;
uniform usampler2DArray src;
uniform usampler2D bias; // laid out as a vector of dst

layout(location = 0) out uvec4 dst;

const uint SPOILT_I8 = 0x80000000u; // of a stream that does not end as it must

uint load_sum(uint i, uint part, uint index) {
    uint k = part * reduction.texels + (index >> 2);
    uint x = i & ((1u << reduction.grid_log2) - 1u);
    uint y = (i >> reduction.grid_log2) + k / reduction.layers * reduction.block_rows;
    return texelFetch(src, ivec3(x, y, k % reduction.layers), 0)[index & 3u];
}

uint row_sum(uint row, uint vector) {
    uint stream = row / reduction.rows_per_stream;
    uint local = row - stream * reduction.rows_per_stream;
    uint batch_of_rows = local / reduction.pass_rows;
    uint first = batch_of_rows * reduction.segments;
    uint index = (local - batch_of_rows * reduction.pass_rows) * reduction.tile + vector;
    int integer = 0;
    bool is_spoilt = false;
    float sum = 0.0;
    for (uint piece = 0u; piece < reduction.pieces; piece++) {
        for (uint segment = 0u; segment < reduction.segments; segment++) {
            uint bits = load_sum(stream * reduction.stream_step + piece * reduction.piece_step,
                first + segment, index);
            integer += int(bits);
            is_spoilt = is_spoilt || bits == SPOILT_I8;
            sum += uintBitsToFloat(bits);
        }
    }
    if (reduction.is_integer != 0u) {
        return is_spoilt ? SPOILT_I8 : uint(integer);
    }
    sum *= uintBitsToFloat(reduction.scale_bits);
    if (reduction.has_bias != 0u) {
        sum += uintBitsToFloat(texelFetch(bias, texel_place(row >> 2), 0)[row & 3u]);
    }
    return floatBitsToUint(sum);
}

void main() {
    uint texel = fragment_texel();
    uint i = texel - reduction.y_start;
    uint vector = i / reduction.y_stride;
    uint row = 4u * (i - vector * reduction.y_stride);
    if (texel < reduction.y_start || vector >= reduction.vectors || row >= reduction.rows) {
        discard;
        return;
    }
    uvec4 bits = uvec4(0u);
    for (uint lane = 0u; lane < 4u; lane++) {
        bits = uvec4(bits.yzw, row + lane < reduction.rows ? row_sum(row + lane, vector) : 0u);
    }
    dst = bits;
}
