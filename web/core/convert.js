/** Conversions between float dtypes, for decoded weights. */
import { typedArray } from './dtypes.js';

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** @param {number} half binary16 bits @returns {number} */
function fromHalf(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = half >> 10 & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** To nearest, ties to even. @param {number} value @returns {number} binary16 bits */
function toHalf(value) {
  float[0] = value;
  const sign = bits[0] >>> 16 & 0x8000;
  const rest = bits[0] & 0x7fffffff;
  if (rest > 0x7f800000) return sign | 0x7e00;
  if (rest >= 0x477ff000) return sign | 0x7c00;
  if (rest < 0x38800000) {
    float[0] = Math.abs(value) + 0.5; // the unit of a subnormal half is this sum's last place
    return sign | (bits[0] - 0x3f000000);
  }
  return sign | (rest - 0x38000000 + 0x0fff + (rest >>> 13 & 1)) >>> 13;
}

/** @param {number} value @returns {number} bfloat16 bits, to nearest, ties to even */
function toBfloat(value) {
  float[0] = value;
  if ((bits[0] & 0x7fffffff) > 0x7f800000) return bits[0] >>> 16 | 0x40;
  return (bits[0] + 0x7fff + (bits[0] >>> 16 & 1)) >>> 16;
}

/** @type {Record<string, [(stored: number) => number, (value: number) => number]>} */
const CONVERT = {
  F32: [(value) => value, (value) => value],
  F16: [fromHalf, toHalf],
  BF16: [(stored) => { bits[0] = stored << 16; return float[0]; }, toBfloat],
};

/**
 * Elements of one float dtype as another, rounded to nearest even.
 * @param {Uint8Array} bytes little-endian elements @param {string} from @param {string} to
 * @returns {Uint8Array} bytes itself when the dtypes are the same
 */
export function convert(bytes, from, to) {
  if (from === to) return bytes;
  const aligned = bytes.slice().buffer;
  const source = typedArray(from, aligned);
  const [load] = CONVERT[from];
  const [, store] = CONVERT[to];
  const target = typedArray(to, new ArrayBuffer(source.length * (to === 'F32' ? 4 : 2)));
  for (let i = 0; i < source.length; i++) target[i] = store(load(source[i]));
  return new Uint8Array(target.buffer);
}
