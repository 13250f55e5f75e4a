/**
 * Files of quantized weights, as the field's tools lay them out: floats of 32, 16 and 8 bits, int8 by
 * rows, GGUF's blocks in U8 tensors, codes and scales apart, GPTQ and MLX. The same bytes everywhere:
 * nothing but binary64 arithmetic, rounded once.
 */

/** @typedef {{name: string, shape: number[], values: Float32Array}} Weights */
/** @typedef {{name: string, dtype: string, shape: number[], data: ArrayBufferView}} Stored */
/** @typedef {(weights: Weights) => Stored[]} Layout */

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/** To the nearest whole number, ties to the even one. @param {number} x */
const round = (x) => {
  const low = Math.floor(x);
  return x - low > 0.5 || (x - low === 0.5 && low % 2) ? low + 1 : low;
};
/** @param {number} x @param {number} low @param {number} high */
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

/** Bits of a binary32. @param {number} x */
function bitsOf(x) {
  single[0] = x;
  return word[0];
}

/** Bits of the nearest binary16; what is too large becomes the largest. @param {number} x */
export function toHalf(x) {
  const bits = bitsOf(x);
  const [sign, rest] = [bits >>> 16 & 0x8000, bits & 0x7FFFFFFF];
  if (rest >= 0x47800000) return sign | 0x7BFF;
  if (rest < 0x38800000) return sign | round(Math.abs(Math.fround(x)) * 2 ** 24);
  const half = (rest - 0x38000000) / 2 ** 13;
  return sign | Math.min(round(half), 0x7BFF);
}

/** @param {number} half @returns {number} the value of a finite binary16 */
export function fromHalf(half) {
  const [exponent, fraction] = [half >> 10 & 31, half & 1023];
  const value = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24;
  return half & 0x8000 ? -value : value;
}

/** @param {number} x finite */
const toBfloat = (x) => {
  const bits = bitsOf(x);
  return (bits + 0x7FFF + (bits >>> 16 & 1)) >>> 16 & 0xFFFF;
};

/** @param {number} x @returns {number} bits of the nearest F8_E4M3, 448 at most */
function toE4M3(x) {
  const sign = x < 0 || Object.is(x, -0) ? 128 : 0;
  const size = Math.abs(x);
  if (!size) return sign;
  const exponent = Math.max((bitsOf(size) >>> 23) - 127, -6);
  const steps = round(size / 2 ** (exponent - 3));
  return sign | Math.min(exponent === -6 ? steps : ((exponent + 7) << 3) + steps - 8, 0x7E);
}

/** @param {Weights} weights @param {'F32' | 'F16' | 'BF16'} dtype @returns {Stored[]} */
function asFloats({ name, shape, values }, dtype) {
  const data = dtype === 'F32' ? values
    : Uint16Array.from(values, dtype === 'F16' ? toHalf : toBfloat);
  return [{ name, dtype, shape, data }];
}

/** @param {Float32Array} values @param {number} start @param {number} end */
function largestOf(values, start, end) {
  let largest = 0;
  for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i]));
  return largest;
}

/** Lowest and highest, with what to start from: 0, or nothing.
 * @param {Float32Array} values @param {number} start @param {number} end @param {number} [from] */
function rangeOf(values, start, end, from = 0) {
  let [low, high] = [from, -from];
  for (let i = start; i < end; i++) {
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  return { low, high };
}

/**
 * Blocks of 32 weights, each written by `pack`.
 * @param {Weights} weights @param {number} size bytes of a block
 * @param {(block: Uint8Array, values: Float32Array) => void} pack
 * @returns {Stored[]}
 */
function inBlocks({ name, shape: [rows, columns], values }, size, pack) {
  const data = new Uint8Array(values.length / 32 * size);
  for (let b = 0; b < values.length / 32; b++) {
    pack(data.subarray(b * size, (b + 1) * size), values.subarray(32 * b, 32 * b + 32));
  }
  return [{ name, dtype: 'U8', shape: [rows, columns / 32 * size], data }];
}

/** @param {Uint8Array} dst @param {number} at @param {number} half */
function putHalf(dst, at, half) {
  dst[at] = half & 255;
  dst[at + 1] = half >> 8;
}

/** @type {Layout} */
const q80 = (weights) => inBlocks(weights, 34, (block, values) => {
  const scale = largestOf(values, 0, 32) / 127;
  const inverse = scale ? 1 / scale : 0;
  putHalf(block, 0, toHalf(scale));
  for (let i = 0; i < 32; i++) block[2 + i] = Math.round(values[i] * inverse);
});

/** @type {Layout} */
const q40 = (weights) => inBlocks(weights, 18, (block, values) => {
  let extreme = 0;
  for (const value of values) if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  const scale = extreme / -8;
  const inverse = scale ? 1 / scale : 0;
  const code = (/** @type {number} */ i) => Math.min(15, Math.floor(values[i] * inverse + 8.5));
  putHalf(block, 0, toHalf(scale));
  for (let i = 0; i < 16; i++) block[2 + i] = code(i) | code(16 + i) << 4;
});

/** Scale and minimum of 32 weights that err least, of some tried. @param {Float32Array} values */
function fitBlock(values) {
  const [low, high] = [Math.min(0, ...values), Math.max(...values)];
  const found = { error: 1e30, scale: 0, minimum: 0 };
  for (let trial = 0; trial <= 20; trial++) {
    const inverse = (15 + 0.1 * trial - 1) / (high - low || 1);
    const levels = Array.from(values, (x) => clamp(round(inverse * (x - low)), 0, 15));
    let [sum, squares, x, product] = [0, 0, 0, 0];
    for (const [i, level] of levels.entries()) {
      sum += level;
      squares += level * level;
      x += values[i];
      product += values[i] * level;
    }
    const determinant = 32 * squares - sum * sum;
    if (determinant <= 0) continue;
    let scale = (32 * product - x * sum) / determinant;
    let minimum = (squares * x - sum * product) / determinant;
    if (minimum > 0) [scale, minimum] = [product / squares, 0];
    let error = 0;
    for (const [i, level] of levels.entries()) error += (scale * level + minimum - values[i]) ** 2;
    if (error < found.error) Object.assign(found, { error, scale, minimum });
  }
  return found;
}

/** Superblocks of 256. @type {Layout} */
const q4K = ({ name, values }) => {
  const data = new Uint8Array(values.length / 256 * 144);
  for (let b = 0; b < values.length / 256; b++) {
    const block = data.subarray(144 * b, 144 * b + 144);
    const parts = Array.from({ length: 8 }, (_, j) => (
      values.subarray(256 * b + 32 * j, 256 * b + 32 * j + 32)));
    const fits = parts.map(fitBlock);
    const largest = [fits.map(({ scale }) => scale), fits.map(({ minimum }) => -minimum)]
      .map((all) => Math.max(...all));
    const halves = largest.map((x) => toHalf(x / 63));
    const units = halves.map(fromHalf);
    halves.forEach((half, i) => putHalf(block, 2 * i, half));
    const sixes = [fits.map(({ scale }) => scale), fits.map(({ minimum }) => -minimum)]
      .map((all, i) => all.map((x) => (largest[i] ? Math.min(63, round(63 / largest[i] * x)) : 0)));
    for (let j = 0; j < 4; j++) {
      const [high, low] = [sixes.map((all) => all[j + 4]), sixes.map((all) => all[j])];
      block[4 + j] = low[0] | high[0] >> 4 << 6;
      block[8 + j] = low[1] | high[1] >> 4 << 6;
      block[12 + j] = (high[0] & 15) | (high[1] & 15) << 4;
    }
    const codes = parts.map((part, j) => Array.from(part, (x) => {
      const scale = units[0] * sixes[0][j];
      return scale ? clamp(round((x + units[1] * sixes[1][j]) / scale), 0, 15) : 0;
    }));
    for (let j = 0; j < 4; j++) {
      for (let i = 0; i < 32; i++) block[16 + 32 * j + i] = codes[2 * j][i] | codes[2 * j + 1][i] << 4;
    }
  }
  return [{ name, dtype: 'U8', shape: [values.length / 256, 144], data }];
};

/** Int8 and a scale for each row. @type {Layout} */
const int8 = ({ name, shape, values }) => {
  const [rows, columns] = shape;
  const data = new Int8Array(values.length);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const [start, end] = [row * columns, (row + 1) * columns];
    scales[row] = largestOf(values, start, end) / 127;
    for (let i = start; i < end; i++) data[i] = round(values[i] / (scales[row] || 1));
  }
  return [{ name, dtype: 'I8', shape, data },
    { name: `${name}_scale`, dtype: 'F32', shape: [rows], data: scales }];
};

/** Groups of a row. @param {number} columns @param {number} size */
const groupsOf = (columns, size) => Array.from({ length: Math.ceil(columns / size) },
  (_, group) => [group * size, Math.min(columns, (group + 1) * size)]);

/** Nibbles of groups of 32, a scale for each. @type {Layout} */
const int4 = ({ name, shape: [rows, columns], values }) => {
  const groups = groupsOf(columns, 32);
  const data = new Uint8Array(values.length / 2);
  const scales = new Uint16Array(rows * groups.length);
  for (let row = 0; row < rows; row++) {
    for (const [g, [from, to]] of groups.entries()) {
      const start = row * columns;
      const half = toHalf(largestOf(values, start + from, start + to) / 7);
      scales[row * groups.length + g] = half;
      for (let i = start + from; i < start + to; i++) {
        data[i >> 1] |= (clamp(round(values[i] / (fromHalf(half) || 1)), -8, 7) & 15) << 4 * (i & 1);
      }
    }
  }
  return [{ name: `${name}.q`, dtype: 'U8', shape: [rows, columns / 2], data },
    { name: `${name}.s`, dtype: 'F16', shape: [rows, groups.length], data: scales }];
};

/** Q4_0, its scales apart. @type {Layout} */
const q40Apart = (weights) => {
  const [{ data: blocks }] = q40(weights);
  const { name, shape: [rows, columns], values } = weights;
  const count = values.length / 32;
  const bytes = new Uint8Array(blocks.buffer);
  const data = new Uint8Array(16 * count);
  const scales = new Uint16Array(count);
  for (let b = 0; b < count; b++) {
    scales[b] = bytes[18 * b] | bytes[18 * b + 1] << 8;
    data.set(bytes.subarray(18 * b + 2, 18 * b + 18), 16 * b);
  }
  return [{ name: `${name}.q`, dtype: 'U8', shape: [rows, columns / 2], data },
    { name: `${name}.s`, dtype: 'F16', shape: [rows, columns / 32], data: scales }];
};

/** Codes and zero points of groups of 64 columns, eight to a word, columns after rows. @type {Layout} */
const gptq = ({ name, shape: [rows, columns], values }) => {
  const groups = groupsOf(columns, 64);
  const words = Math.ceil(rows / 8);
  const weights = new Uint32Array(columns / 8 * rows);
  const zeros = new Uint32Array(groups.length * words);
  const scales = new Uint16Array(groups.length * rows);
  const index = Uint32Array.from({ length: columns }, (_, c) => Math.floor(c / 64));
  for (let row = 0; row < rows; row++) {
    for (const [g, [from, to]] of groups.entries()) {
      const { low, high } = rangeOf(values, row * columns + from, row * columns + to);
      const half = toHalf((high - low) / 15);
      const scale = fromHalf(half) || 1;
      const zero = clamp(round(-low / scale), 0, 15);
      scales[g * rows + row] = half;
      zeros[g * words + (row >> 3)] |= (zero - 1 & 15) << 4 * (row & 7);
      for (let c = from; c < to; c++) {
        const code = clamp(round(values[row * columns + c] / scale) + zero, 0, 15);
        weights[(c >> 3) * rows + row] |= code << 4 * (c & 7);
      }
    }
  }
  const base = name.replace(/\.weight$/, '');
  return [{ name: `${base}.qweight`, dtype: 'I32', shape: [columns / 8, rows], data: weights },
    { name: `${base}.qzeros`, dtype: 'I32', shape: [groups.length, words], data: zeros },
    { name: `${base}.scales`, dtype: 'F16', shape: [groups.length, rows], data: scales },
    { name: `${base}.g_idx`, dtype: 'I32', shape: [columns], data: index }];
};

/** Codes of groups of 64, eight to a word, with scale and bias. @type {Layout} */
const mlx = ({ name, shape: [rows, columns], values }) => {
  const groups = groupsOf(columns, 64);
  const weights = new Uint32Array(values.length / 8);
  const scales = new Uint16Array(rows * groups.length);
  const biases = new Uint16Array(rows * groups.length);
  for (let row = 0; row < rows; row++) {
    for (const [g, [from, to]] of groups.entries()) {
      const start = row * columns;
      const { low, high } = rangeOf(values, start + from, start + to, 1e30);
      const isLow = Math.abs(low) > Math.abs(high);
      let scale = Math.max((high - low) / 15, 1e-7) * (isLow ? 1 : -1);
      let bias = 0;
      const edge = isLow ? low : high;
      const steps = round(edge / scale);
      if (steps) [scale, bias] = [edge / steps, edge];
      scales[row * groups.length + g] = toHalf(scale);
      biases[row * groups.length + g] = toHalf(bias);
      for (let i = start + from; i < start + to; i++) {
        weights[i >> 3] |= clamp(round((values[i] - bias) / scale), 0, 15) << 4 * (i & 7);
      }
    }
  }
  const base = name.replace(/\.weight$/, '');
  const shape = [rows, groups.length];
  return [{ name: `${base}.weight`, dtype: 'U32', shape: [rows, columns / 8], data: weights },
    { name: `${base}.scales`, dtype: 'F16', shape, data: scales },
    { name: `${base}.biases`, dtype: 'F16', shape, data: biases }];
};

/** F8, scaled to its largest number. @type {Layout} */
const f8 = ({ name, shape, values }) => {
  const scale = Math.fround(largestOf(values, 0, values.length) / 448);
  return [{ name, dtype: 'F8_E4M3', shape, data: Uint8Array.from(values, (x) => toE4M3(x / scale)) },
    { name: `${name}_scale`, dtype: 'F32', shape: [1], data: Float32Array.of(scale) }];
};

/** What becomes of matrices, and to what vectors are rounded.
 * @type {Record<string, {what: string, matrix: Layout, vector: 'F32' | 'F16' | 'BF16'}>} */
export const LAYOUTS = {
  bf16: { what: 'BF16', matrix: (w) => asFloats(w, 'BF16'), vector: 'BF16' },
  f16: { what: 'F16', matrix: (w) => asFloats(w, 'F16'), vector: 'F16' },
  f32: { what: 'F32', matrix: (w) => asFloats(w, 'F32'), vector: 'F32' },
  f8: { what: 'F8_E4M3, a scale for each tensor', matrix: f8, vector: 'F32' },
  int8: { what: 'int8, a scale for each row', matrix: int8, vector: 'F32' },
  q8_0: { what: 'GGUF Q8_0', matrix: q80, vector: 'F32' },
  q4_0: { what: 'GGUF Q4_0', matrix: q40, vector: 'F32' },
  q4_k: { what: 'GGUF Q4_K', matrix: q4K, vector: 'F32' },
  int4: { what: 'int4 absmax / 7, groups of 32', matrix: int4, vector: 'F16' },
  q4_0s: { what: 'Q4_0, scales apart', matrix: q40Apart, vector: 'F32' },
  gptq: { what: 'GPTQ, 4 bits, groups of 64', matrix: gptq, vector: 'F16' },
  mlx: { what: 'MLX, 4 bits, groups of 64', matrix: mlx, vector: 'F16' },
};

/**
 * A safetensors file.
 * @param {keyof typeof LAYOUTS} layout @param {Weights[]} all @returns {Uint8Array}
 */
export function quantizedFile(layout, all) {
  const { matrix, vector } = LAYOUTS[layout];
  const stored = all.flatMap((weights) => (
    weights.shape.length < 2 ? asFloats(weights, vector) : matrix(weights)));
  /** @type {Record<string, object>} */
  const header = {};
  let at = 0;
  for (const { name, dtype, shape, data: { byteLength } } of stored) {
    header[name] = { dtype, shape, data_offsets: [at, at + byteLength] };
    at += byteLength;
  }
  const json = JSON.stringify(header);
  const text = new TextEncoder().encode(json.padEnd(Math.ceil((json.length + 8) / 8) * 8 - 8));
  const file = new Uint8Array(8 + text.length + at);
  new DataView(file.buffer).setUint32(0, text.length, true);
  file.set(text, 8);
  at = 8 + text.length;
  for (const { data: { buffer, byteOffset, byteLength } } of stored) {
    file.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  return file;
}

/** The tensors of a plain safetensors file of F32. @param {Uint8Array} file @returns {Weights[]} */
export function readWeights(file) {
  const { buffer, byteOffset } = file;
  const length = new DataView(buffer, byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  delete header.__metadata__;
  return Object.entries(header).map(([name, { shape, data_offsets: [from, to] }]) => ({
    name, shape, values: new Float32Array(file.slice(8 + length + from, 8 + length + to).buffer),
  }));
}

/** Numbers above 0 and below 1, the same everywhere. @param {number} seed */
function uniform(seed) {
  return () => {
    seed = Math.imul(seed, 1664525) + 1013904223 >>> 0;
    let hash = seed ^ seed >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    hash ^= hash >>> 12;
    hash = Math.imul(hash, 0x297a2d39);
    return ((hash ^ hash >>> 15) >>> 0) / 2 ** 32 + 2 ** -33;
  };
}

/**
 * One matrix whose rows have different scales.
 * @param {'gauss' | 'laplace'} kind @param {number} [rows] @param {number} [columns]
 * @returns {Weights[]}
 */
export function synthetic(kind, rows = 2048, columns = 4096) {
  const next = uniform(12345);
  const gauss = () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
  const laplace = () => {
    const u = next() - 0.5;
    return -Math.sign(u) * Math.log(1 - 2 * Math.abs(u)) / Math.SQRT2;
  };
  const draw = kind === 'gauss' ? gauss : laplace;
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const scale = 0.02 * Math.exp(0.5 * gauss());
    for (let c = 0; c < columns; c++) values[row * columns + c] = scale * draw();
  }
  return [{ name: 'w', shape: [rows, columns], values }];
}
