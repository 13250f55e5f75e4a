/** What the tests of the API share: tensors to code, reading all back, numbers bit by bit. */
import { RandomState } from '../../web/cli/sample.js';
import { convert } from '../../web/core/convert.js';
import { encodeTo, memorySpool } from '../../web/encode/encode.js';
import { encode, open } from '../../web/hansel.js';

export const SLICE = 262144; // weights coded at a time

export const count = (shape) => shape.reduce((n, extent) => n * extent, 1);
export const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
export const same = (a, b) => Buffer.compare(bytesOf(a), bytesOf(b)) === 0;

/** Normally distributed F32. */
export function gaussian(n, { seed = 1, sigma = 1 } = {}) {
  const random = new RandomState(seed);
  return Float32Array.from({ length: n }, () => sigma * random.gauss());
}

export const f32 = (shape, data = gaussian(count(shape))) => ({ dtype: 'F32', shape, data });

/** The same weights in another float dtype. */
export function as(dtype, { shape, data }) {
  const bytes = convert(bytesOf(data), 'F32', dtype);
  return { dtype, shape, data: bytes };
}

/** encode(), and what became of each tensor. */
export async function encodeWithReports(tensors, options = {}) {
  const inputs = Object.entries(tensors).map(([name, { dtype, shape, data }]) => ({
    name, dtype, shape, read: async (start, end) => bytesOf(data).subarray(start, end),
  }));
  const { reports } = await encodeTo(inputs, options, memorySpool());
  return { file: await encode(tensors, options), reports };
}

/** Every tensor decoded and verified; the model stays open. */
export async function readAll(file, options) {
  const model = await open(file, options);
  const result = new Map();
  for (const name of model.tensors.keys()) {
    await model.verify(name);
    result.set(name, await model.decode(name));
  }
  return { model, result };
}

/** sqrt(sum (a - b)^2 / sum b^2). */
export function relativeError(a, b) {
  let square = 0;
  let energy = 0;
  for (let i = 0; i < b.length; i++) {
    square += (a[i] - b[i]) ** 2;
    energy += b[i] ** 2;
  }
  return Math.sqrt(square / energy);
}

function roundHalfEven(x) {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The index of a weight on a grid, in binary32 arithmetic. */
export const gridIndex = (w, step) => Math.max(-128, Math.min(127,
  roundHalfEven(Math.fround(w / Math.fround(step)))));

/** binary16 to a number, by assembling binary32 bits. */
export function halfValue(half) {
  const sign = half >>> 15;
  let exponent = half >>> 10 & 31;
  let fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign ? -Infinity : Infinity;
  if (exponent === 0) {
    if (fraction === 0) return sign ? -0 : 0;
    for (exponent = 1; fraction < 1024; exponent--) fraction *= 2;
    fraction -= 1024;
  }
  return fromBits((sign << 31 | exponent + 112 << 23 | fraction << 13) >>> 0);
}

const word = new DataView(new ArrayBuffer(4));
export function fromBits(bits) {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}
export function toBits(value) {
  word.setFloat32(0, value);
  return word.getUint32(0);
}

/** What readHeader reads from. */
export async function sourceOf(bytes) {
  return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end) };
}
