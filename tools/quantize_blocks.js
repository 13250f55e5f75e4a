/**
 * The blocks that GGUF files keep weights in, by ggml's published layouts. Scales are chosen by the largest
 * weights of a block alone: valid blocks, but not llama.cpp's choices to the bit.
 */
import { convert } from '../web/core/convert.js';

/**
 * @typedef {object} BlockType
 * @property {number} id of ggml @property {number} weights of a block @property {number} bytes of a block
 * @property {number[]} [halves] where a block's numbers of binary16 are
 * @property {(x: Float32Array, y: DataView) => number[]} [write] one block but for its halves, which it returns;
 *   floats have none
 */

/** Weights that share the scales' scales of a K type. */
const SUPER_BLOCK = 256;
/** Scales and offsets of K types have so many bits. */
const MAX_SCALE = 63;

const clamp = (/** @type {number} */ q, /** @type {number} */ least, /** @type {number} */ most) => (
  Math.min(Math.max(q, least), most));
const inverse = (/** @type {number} */ d) => (d ? 1 / d : 0);
/** The value of the largest magnitude, with its sign. @param {Float32Array} x */
const extreme = (x) => x.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);

/** Codes of 4 bits, the second half of them in the upper halves of bytes. @param {DataView} y @param {number} at
 * @param {Uint8Array} q */
function putNibbles(y, at, q) {
  const half = q.length / 2;
  for (let i = 0; i < half; i++) y.setUint8(at + i, q[i] & 15 | (q[i + half] & 15) << 4);
}

/** Blocks of 32: a scale, with an offset or not, then the codes' fifth bits, then the rest.
 * @param {number} id @param {number} bits 4 or 5 @param {boolean} hasOffset @returns {BlockType} */
function small(id, bits, hasOffset) {
  const levels = 1 << bits;
  const high = hasOffset ? 4 : 2;
  const low = high + (bits === 5 ? 4 : 0);
  return {
    id, weights: 32, bytes: low + 16, halves: hasOffset ? [0, 2] : [0],
    write(x, y) {
      const least = Math.min(...x);
      const d = hasOffset ? (Math.max(...x) - least) / (levels - 1) : extreme(x) / (-levels / 2);
      const zero = hasOffset ? -least * inverse(d) : levels / 2;
      const q = new Uint8Array(x.map((value) => clamp(Math.floor(value * inverse(d) + zero + 0.5), 0, levels - 1)));
      if (bits === 5) y.setUint32(high, q.reduce((sum, code, i) => sum + (code >> 4) * 2 ** i, 0), true);
      putNibbles(y, low, q);
      return hasOffset ? [d, least] : [d];
    },
  };
}

/** Eight scales and eight offsets of 6 bits in 12 bytes. @param {DataView} y @param {number} at
 * @param {Uint8Array} scales @param {Uint8Array} offsets */
function putScales(y, at, scales, offsets) {
  for (let i = 0; i < 4; i++) {
    y.setUint8(at + i, scales[i] | scales[i + 4] >> 4 << 6);
    y.setUint8(at + 4 + i, offsets[i] | offsets[i + 4] >> 4 << 6);
    y.setUint8(at + 8 + i, scales[i + 4] & 15 | (offsets[i + 4] & 15) << 4);
  }
}

/** Eight times 32 weights, each with a scale and an offset. @param {number} id @param {number} bits 4 or 5
 * @returns {BlockType} */
function withOffsets(id, bits) {
  const most = (1 << bits) - 1;
  const low = 16 + (bits === 5 ? 32 : 0);
  return {
    id, weights: SUPER_BLOCK, bytes: low + SUPER_BLOCK / 2, halves: [0, 2],
    write(x, y) {
      const parts = Array.from({ length: 8 }, (_, i) => x.subarray(32 * i, 32 * i + 32));
      const leasts = parts.map((part) => Math.min(0, ...part));
      const steps = parts.map((part, i) => (Math.max(...part) - leasts[i]) / most);
      const unit = Math.max(...steps) / MAX_SCALE;
      const offsetUnit = -Math.min(...leasts) / MAX_SCALE;
      const scales = Uint8Array.from(steps, (step) => Math.round(step * inverse(unit)));
      const offsets = Uint8Array.from(leasts, (least) => Math.round(-least * inverse(offsetUnit)));
      putScales(y, 4, scales, offsets);
      const q = new Uint8Array(x.map((value, i) => clamp(Math.round(
        (value + offsetUnit * offsets[i >> 5]) * inverse(unit * scales[i >> 5])), 0, most)));
      for (let i = 0; i < 4; i++) putNibbles(y, low + 32 * i, q.subarray(64 * i, 64 * i + 64));
      for (let i = 0; i < low - 16; i++) {
        y.setUint8(16 + i, parts.reduce((sum, _, part) => sum | (q[32 * part + i] >> 4) << part, 0));
      }
      return [unit, offsetUnit];
    },
  };
}

/** Sixteen times 16 weights, each with a scale. @type {BlockType} */
const Q6_K = {
  id: 14, weights: SUPER_BLOCK, bytes: 210, halves: [208],
  write(x, y) {
    const steps = Float32Array.from({ length: 16 }, (_, i) => extreme(x.subarray(16 * i, 16 * i + 16)) / -32);
    const unit = extreme(steps) / -128;
    const scales = Int8Array.from(steps, (step) => clamp(Math.round(step * inverse(unit)), -128, 127));
    scales.forEach((scale, i) => y.setInt8(192 + i, scale));
    const q = new Uint8Array(x.map((value, i) => (
      clamp(Math.round(value * inverse(unit * scales[i >> 4])), -32, 31) + 32)));
    for (let half = 0; half < 2; half++) {
      for (let i = 0; i < 32; i++) {
        const [a, b, c, e] = [0, 32, 64, 96].map((at) => q[128 * half + at + i]);
        y.setUint8(64 * half + i, a & 15 | (c & 15) << 4);
        y.setUint8(64 * half + 32 + i, b & 15 | (e & 15) << 4);
        y.setUint8(128 + 32 * half + i, a >> 4 | b >> 4 << 2 | c >> 4 << 4 | e >> 4 << 6);
      }
    }
    return [unit];
  },
};

/** By ggml's names. @type {Record<string, BlockType>} */
export const BLOCK_TYPES = {
  F32: { id: 0, weights: 1, bytes: 4 },
  F16: { id: 1, weights: 1, bytes: 2 },
  BF16: { id: 30, weights: 1, bytes: 2 },
  Q8_0: {
    id: 8, weights: 32, bytes: 34, halves: [0],
    write(x, y) {
      const d = Math.abs(extreme(x)) / 127;
      x.forEach((value, i) => y.setInt8(2 + i, Math.round(value * inverse(d))));
      return [d];
    },
  },
  Q4_0: small(2, 4, false),
  Q4_1: small(3, 4, true),
  Q5_0: small(6, 5, false),
  Q5_1: small(7, 5, true),
  Q4_K: withOffsets(12, 4),
  Q5_K: withOffsets(13, 5),
  Q6_K,
};

/** What llama.cpp takes for rows that are no multiple of 256. @type {Record<string, string>} */
const SHORT_ROWS = { Q4_K: 'Q5_0', Q5_K: 'Q5_1', Q6_K: 'Q8_0' };

/**
 * @param {string} type that is wanted @param {number} columns of a matrix
 * @returns {string} the type that its rows fit
 */
export function typeForRows(type, columns) {
  for (const one of [type, SHORT_ROWS[type]]) {
    if (one && columns % BLOCK_TYPES[one].weights === 0) return one;
  }
  return 'F16';
}

/**
 * @param {Float32Array} weights whole rows, each of whole blocks @param {string} type of BLOCK_TYPES
 * @returns {Uint8Array} the blocks
 */
export function quantize(weights, type) {
  const { weights: count, bytes, halves = [], write } = BLOCK_TYPES[type];
  if (!write) return convert(new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength), 'F32', type);
  const blocks = new Uint8Array(weights.length / count * bytes);
  const numbers = [];
  for (let i = 0; i * count < weights.length; i++) {
    const block = new DataView(blocks.buffer, i * bytes, bytes);
    numbers.push(...write(weights.subarray(i * count, (i + 1) * count), block));
  }
  const stored = convert(new Uint8Array(Float32Array.from(numbers).buffer), 'F32', 'F16');
  for (let i = 0; i < numbers.length; i++) {
    const at = Math.floor(i / halves.length) * bytes + halves[i % halves.length];
    blocks.set(stored.subarray(2 * i, 2 * i + 2), at);
  }
  return blocks;
}
