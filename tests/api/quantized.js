/** Quantized tensors as other tools write them, by formula: GPTQ, AWQ, MLX, blocks of GGUF. */
import { formulaRandom } from './formula.js';

/** About Gaussian, sigma 1. @param {number} seed @param {number} i */
const gauss = (seed, i) => {
  let sum = 0;
  for (let k = 0; k < 6; k++) sum += formulaRandom(seed, 6 * i + k) / 2 ** 32 - 0.5;
  return sum * Math.SQRT2;
};

/** A code of so many bits, of a normal weight around the middle. */
const code = (/** @type {number} */ bits, /** @type {number} */ seed, /** @type {number} */ i,
  middle = 2 ** (bits - 1), sigma = 2 ** bits / 7) => (
  Math.max(0, Math.min(2 ** bits - 1, Math.round(middle + sigma * gauss(seed, i)))));

/** A positive half near 2^-7. */
const scale = (/** @type {number} */ seed, /** @type {number} */ i) => (
  Math.round(0x2000 + 300 * gauss(seed, i)));

/**
 * Codes in words, the lowest first.
 * @param {number} count codes @param {number} bits @param {(i: number) => number} value
 * @returns {Uint8Array}
 */
export function packed(count, bits, value) {
  const data = new Uint8Array(Math.ceil(count * bits / 8));
  for (let i = 0; i < count; i++) data[i * bits >> 3] |= value(i) << (i * bits & 7);
  return data;
}

/** @param {number} count @param {number} seed @returns {Uint8Array} of F16 */
const scales = (count, seed) => new Uint8Array(
  Uint16Array.from({ length: count }, (_, i) => scale(seed, i)).buffer);

/**
 * GPTQ: words hold codes of one column below each other; zero points a group and column.
 * @param {number} rows codes of a column @param {number} columns
 * @param {{group?: number, bits?: number, seed?: number, name?: string}} [options]
 */
export function gptq(rows, columns, { group = 32, bits = 4, seed = 1, name = 'layer' } = {}) {
  const each = 32 / bits;
  const groups = Math.ceil(rows / group);
  const pitch = Math.ceil(columns / each) * each;
  const half = 2 ** (bits - 1);
  const zero = (/** @type {number} */ g, /** @type {number} */ column) => (
    code(bits, seed, g * columns + column, half, half / 3));
  const value = (/** @type {number} */ i) => {
    const [a, b, c] = [Math.floor(i / each / columns), Math.floor(i / each) % columns, i % each];
    return code(bits, seed + 1, i, zero(Math.floor((a * each + c) / group), b), half / 4);
  };
  return {
    [`${name}.qweight`]: {
      dtype: 'I32', shape: [rows / each, columns], data: packed(rows * columns, bits, value),
    },
    [`${name}.qzeros`]: {
      dtype: 'I32', shape: [groups, pitch / each],
      data: packed(groups * pitch, bits, (i) => (i % pitch < columns
        ? zero(Math.floor(i / pitch), i % pitch) : 0)),
    },
    [`${name}.scales`]: { dtype: 'F16', shape: [groups, columns], data: scales(groups * columns, seed + 2) },
    [`${name}.g_idx`]: {
      dtype: 'I32', shape: [rows], data: Int32Array.from({ length: rows }, (_, i) => Math.floor(i / group)),
    },
  };
}

/** AWQ: words hold codes of one row. @param {number} rows @param {number} columns */
export function awq(rows, columns, { group = 32, seed = 5, name = 'layer' } = {}) {
  const groups = rows / group;
  const zero = (/** @type {number} */ i) => code(4, seed, i, 8, 3);
  return {
    [`${name}.qweight`]: {
      dtype: 'I32', shape: [rows, columns / 8],
      data: packed(rows * columns, 4, (i) => code(4, seed + 1, i,
        zero(Math.floor(i / columns / group) * columns + i % columns), 2)),
    },
    [`${name}.qzeros`]: {
      dtype: 'I32', shape: [groups, columns / 8], data: packed(groups * columns, 4, zero),
    },
    [`${name}.scales`]: { dtype: 'F16', shape: [groups, columns], data: scales(groups * columns, seed + 2) },
  };
}

/** MLX. @param {number} rows @param {number} columns @param {number} [bits] */
export function mlx(rows, columns, bits = 4, { group = 64, seed = 9, name = 'layer' } = {}) {
  const count = rows * Math.ceil(columns / group);
  const shape = [rows, Math.ceil(columns / group)];
  return {
    [`${name}.weight`]: {
      dtype: 'U32', shape: [rows, columns * bits / 32],
      data: packed(rows * columns, bits, (i) => code(bits, seed, i)),
    },
    [`${name}.scales`]: { dtype: 'F16', shape, data: scales(count, seed + 1) },
    [`${name}.biases`]: { dtype: 'F16', shape, data: scales(count, seed + 2) },
  };
}

/**
 * What lies in a block of GGUF: bits at bits, `h` for a half, by kind.
 * @type {Record<string, [number, [number, number | 'h', number][]]>}
 */
const BLOCKS = {
  Q4_0: [18, [[0, 'h', 1], [16, 4, 32]]],
  Q4_1: [20, [[0, 'h', 2], [32, 4, 32]]],
  Q5_0: [22, [[0, 'h', 1], [16, 8, 4], [48, 4, 32]]],
  Q5_1: [24, [[0, 'h', 2], [32, 8, 4], [64, 4, 32]]],
  Q8_0: [34, [[0, 'h', 1], [16, 8, 32]]],
  Q4_K: [144, [[0, 'h', 2], [32, 8, 12], [128, 4, 256]]],
  Q5_K: [176, [[0, 'h', 2], [32, 8, 12], [128, 8, 32], [384, 4, 256]]],
  Q6_K: [210, [[0, 4, 256], [1024, 2, 256], [1536, 8, 16], [1664, 'h', 1]]],
};
export const KINDS = Object.keys(BLOCKS);

/**
 * Blocks of a kind, as bytes.
 * @param {string} kind @param {number} rows @param {number} blocks a row @param {number} [seed]
 */
export function gguf(kind, rows, blocks, seed = 13) {
  const [size, fields] = BLOCKS[kind];
  const data = new Uint8Array(rows * blocks * size);
  for (let block = 0; block < rows * blocks; block++) {
    for (const [at, width, items] of fields) {
      const bits = width === 'h' ? 16 : width;
      for (let j = 0; j < items; j++) {
        const i = block * items + j;
        const value = width === 'h' ? scale(seed, i) : code(bits, seed + 1 + at, i);
        const bit = at + j * bits;
        data[block * size + (bit >> 3)] |= value << (bit & 7);
        if (bits === 16) data[block * size + (bit >> 3) + 1] |= value >> 8;
      }
    }
  }
  return { dtype: 'U8', shape: [rows, blocks * size], data };
}
