// heatmap.wgsl - a decoded matrix as an image: goes after shaders/weight.wgsl, which reads it.
// A pixel shows the strongest of the weights that it covers. Mirrors: heatmap.frag.glsl, heatmap.js.

struct View {
    origin: vec2f,  // column and row at the image's upper left
    cells: vec2f,   // columns and rows to a pixel
    rows: u32,
    columns: u32,
    peak: f32,      // grid index that has the full colour
    unused: f32,
    zero: vec4f,
    negative: vec4f,
    positive: vec4f,
}

// Cells of a pixel that are looked at, in each direction.
const most_cells = 8u;

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<storage, read> symbols: array<u32>;

@vertex
fn cover(@builtin(vertex_index) corner: u32) -> @builtin(position) vec4f {
    return vec4f(f32(corner & 1u) * 4.0 - 1.0, f32(corner >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment
fn shade(@builtin(position) at: vec4f) -> @location(0) vec4f {
    let start = view.origin + floor(at.xy) * view.cells;
    let low = vec2u(clamp(start, vec2f(0.0), vec2f(f32(view.columns) - 1.0, f32(view.rows) - 1.0)));
    let past = vec2u(ceil(start + view.cells - 0.001));
    let high = clamp(past, low + 1u, max(low + 1u, vec2u(view.columns, view.rows)));
    let stride = (high - low + most_cells - 1u) / most_cells;
    var strongest = 0;
    for (var row = low.y; row < high.y; row += stride.y) {
        for (var column = low.x; column < high.x; column += stride.x) {
            let symbol = hansel_symbol(symbols[hansel_index(row, column, view.columns)], column);
            if (abs(symbol) > abs(strongest)) {
                strongest = symbol;
            }
        }
    }
    let share = min(abs(f32(strongest)) / view.peak, 1.0);
    return mix(view.zero, select(view.positive, view.negative, strongest < 0), share);
}
