// heatmap.frag.glsl - the mirror of heatmap.wgsl. Goes after shaders/weight.glsl, which reads
// the matrix.

uniform usampler2D symbols;
uniform vec2 origin, cells;
uniform float image_height, peak;
uniform uint rows, columns;
uniform vec4 zero, negative, positive;
out vec4 pixel;

const uint most_cells = 8u;

void main() {
    // Images count from above.
    vec2 at = vec2(floor(gl_FragCoord.x), image_height - 1.0 - floor(gl_FragCoord.y));
    vec2 start = origin + at * cells;
    uvec2 low = uvec2(clamp(start, vec2(0.0), vec2(float(columns) - 1.0, float(rows) - 1.0)));
    uvec2 past = uvec2(ceil(start + cells - 0.001));
    uvec2 high = clamp(past, low + 1u, max(low + 1u, uvec2(columns, rows)));
    uvec2 stride = (high - low + most_cells - 1u) / most_cells;
    int strongest = 0;
    for (uint row = low.y; row < high.y; row += stride.y) {
        for (uint column = low.x; column < high.x; column += stride.x) {
            uint quad_symbols = hansel_load(symbols, hansel_index(row, column, columns));
            int symbol = hansel_symbol(quad_symbols, column);
            if (abs(symbol) > abs(strongest)) strongest = symbol;
        }
    }
    float share = min(abs(float(strongest)) / peak, 1.0);
    pixel = mix(zero, strongest < 0 ? negative : positive, share);
}
