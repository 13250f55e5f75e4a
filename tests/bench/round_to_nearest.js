/** The baseline: groups of weights, each with a scale in F16, rounded to the nearest integer. */
import { convert } from '../../web/core/convert.js';

/** Bits that a weight takes in such a file. @param {number} bits @param {number} size of a group */
export const storedBits = (bits, size) => bits + 16 / size;

/** As F16 stores it. @param {number} value */
function toHalf(value) {
  const bytes = new Uint8Array(Float32Array.of(value).buffer);
  return new Float32Array(convert(convert(bytes, 'F32', 'F16'), 'F16', 'F32').buffer)[0];
}

/**
 * As llama.cpp's Q4_0, for any number of bits: the group's largest weight becomes -2^(bits - 1), so
 * that all integers are used.
 * @param {Float32Array} weights row-major @param {number} bits @param {number} size weights of a
 *   group, which divide a row
 * @returns {Float32Array} what such a file holds
 */
export function toGroups(weights, bits, size) {
  const out = new Float32Array(weights.length);
  const half = 2 ** (bits - 1);
  for (let start = 0; start < weights.length; start += size) {
    const group = weights.subarray(start, start + size);
    const largest = group.reduce((most, w) => (Math.abs(w) > Math.abs(most) ? w : most), 0);
    const scale = toHalf(largest / -half);
    group.forEach((w, i) => {
      const q = scale ? Math.round(w / scale) : 0;
      out[start + i] = scale * Math.max(-half, Math.min(half - 1, q));
    });
  }
  return out;
}
