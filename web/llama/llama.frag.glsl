// llama.frag.glsl - mirrors llama.wgsl: what a Llama computes between its matrix products. One
// fragment writes four elements; KERNEL says of which function.
//
// Goes after texels.glsl. Textures are read as arrays, four float32 to a texel, as bits.
// Vectors lie one after the other, each padded with zeros to whole texels.

#ifndef KERNEL
#define KERNEL 0 // 0 norm, 1 rotate, 2 score, 3 blend, 4 gate, 5 add
#endif

struct Run {
    uint count;     // vectors
    uint position;  // of the first
    uint start;     // texel where dst's first vector begins
    uint width;     // elements of dst's vectors
    uint head_dim;
    uint heads;
    uint key_heads;
    uint context;   // positions of a cache
    uint epsilon_bits;
};

uniform Run run;
uniform usampler2D values; // src of llama.wgsl
uniform usampler2D more;

layout(location = 0) out uvec4 dst;

uint quads(uint elements) {
    return (elements + 3u) / 4u;
}

vec4 value_quad(uint texel) {
    return uintBitsToFloat(texelFetch(values, texel_place(texel), 0));
}

vec4 more_quad(uint texel) {
    return uintBitsToFloat(texelFetch(more, texel_place(texel), 0));
}

float value_at(uint index) {
    return value_quad(index >> 2)[index & 3u];
}

float more_at(uint index) {
    return more_quad(index >> 2)[index & 3u];
}

// RMSNorm of a vector, times the weights `more`.
vec4 norm(uint vector, uint quad) {
    uint steps = quads(run.width);
    vec4 sum = vec4(0.0);
    for (uint k = 0u; k < steps; k++) {
        vec4 some = value_quad(vector * steps + k);
        sum += some * some;
    }
    float mean = (sum.x + sum.y + sum.z + sum.w) / float(run.width);
    return value_quad(vector * steps + quad)
        * inversesqrt(mean + uintBitsToFloat(run.epsilon_bits)) * more_quad(quad);
}

// RoPE: element i of a head turns with element i + head_dim / 2. `more` holds, for each position,
// head_dim / 2 cosines and as many sines.
float rotate(uint vector, uint column) {
    uint half_dim = run.head_dim / 2u;
    uint stride = 4u * quads(run.width);
    bool is_second = column % run.head_dim >= half_dim;
    uint other = is_second ? column - half_dim : column + half_dim;
    uint turn = (run.position + vector) * run.head_dim + column % run.head_dim % half_dim;
    float own = value_at(vector * stride + column);
    float paired = value_at(vector * stride + other);
    return own * more_at(turn) + (is_second ? paired : -paired) * more_at(turn + half_dim);
}

// How much a query (of `values`) attends to a key (of `more`): width is heads * padded context.
float score(uint vector, uint column) {
    uint stride = 4u * quads(run.context);
    uint head = column / stride;
    uint key = column % stride;
    if (key > run.position + vector) {
        return 0.0;
    }
    uint from_query = vector * 4u * quads(run.heads * run.head_dim) + head * run.head_dim;
    uint from_key = key * 4u * quads(run.key_heads * run.head_dim)
        + head / (run.heads / run.key_heads) * run.head_dim;
    float sum = 0.0;
    for (uint k = 0u; k < run.head_dim; k++) {
        sum += value_at(from_query + k) * more_at(from_key + k);
    }
    return sum / sqrt(float(run.head_dim));
}

// Values (more), weighted by the softmax of the scores.
float blend(uint vector, uint column) {
    uint head = column / run.head_dim;
    uint scores = (vector * run.heads + head) * 4u * quads(run.context);
    uint from_value = head / (run.heads / run.key_heads) * run.head_dim + column % run.head_dim;
    uint stride = 4u * quads(run.key_heads * run.head_dim);
    uint seen = run.position + vector + 1u;
    float most = value_at(scores);
    for (uint p = 1u; p < seen; p++) {
        most = max(most, value_at(scores + p));
    }
    float total = 0.0;
    float sum = 0.0;
    for (uint p = 0u; p < seen; p++) {
        float share = exp(value_at(scores + p) - most);
        total += share;
        sum += share * more_at(from_value + p * stride);
    }
    return sum / total;
}

// SwiGLU of the gates and `more`.
vec4 gate(uint texel) {
    vec4 gates = value_quad(texel);
    return gates / (1.0 + exp(-gates)) * more_quad(texel);
}

// The residual connection.
vec4 add(uint texel) {
    return value_quad(texel) + more_quad(texel);
}

float element(uint vector, uint column) {
#if KERNEL == 1
    return rotate(vector, column);
#elif KERNEL == 2
    return score(vector, column);
#else
    return blend(vector, column);
#endif
}

void main() {
    uint texel = fragment_texel();
    uint i = texel - run.start;
    uint steps = quads(run.width);
    if (texel < run.start || i >= run.count * steps) {
        discard;
        return;
    }
    uint vector = i / steps;
    uint quad = i % steps;
#if KERNEL == 0
    vec4 quad_of_dst = norm(vector, quad);
#elif KERNEL == 4
    vec4 quad_of_dst = gate(i);
#elif KERNEL == 5
    vec4 quad_of_dst = add(i);
#else
    vec4 quad_of_dst = vec4(0.0);
    for (uint column = 4u * quad; column < 4u * quad + 4u; column++) {
        quad_of_dst = vec4(quad_of_dst.yzw, column < run.width ? element(vector, column) : 0.0);
    }
#endif
    dst = floatBitsToUint(quad_of_dst);
}
