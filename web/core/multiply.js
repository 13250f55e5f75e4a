/** Products with slices of coded and plain weights: src/matvec.c. */
import { DTYPES } from './dtypes.js';
import { MAX_SLOTS, SIZEOF_FAULT } from './structs.js';

/** @typedef {import('./codec.js').Codec} Codec */
/** @typedef {import('./codec.js').Blob} Blob */

/** Weights multiplied at a time: what stays in a core's cache. Rows that it cuts are rounded alike
 * wherever products are made by it. */
export const BATCH = 1 << 16;

/**
 * What a product's sums become, in place.
 * @template {Float32Array | Int32Array} Y
 * @param {Y} y vectors; integers stay as they are @param {number} scale
 * @param {Float32Array} [bias] added to each vector @returns {Y} y
 */
export function scaled(y, scale, bias) {
  if (y instanceof Float32Array) {
    for (let i = 0; i < y.length; i++) y[i] = y[i] * scale + (bias ? bias[i % bias.length] : 0);
  }
  return y;
}

/**
 * @param {Codec} codec @param {Blob} blob @param {Uint8Array} raw a part of the raw plane
 * @param {number} firstBit that counts, 0 to 7 @param {number} count weights
 * @returns {Uint8Array<ArrayBuffer>} rawBytes for each, as hansel_expand_raw()
 */
export function expandRaw({ wasm }, blob, raw, firstBit, count) {
  return wasm.scoped(() => {
    const whole = wasm.alloc(count * blob.rawBytes);
    wasm.call.hansel_expand_raw(whole, wasm.put(blob.struct), wasm.put(raw), firstBit, count);
    return wasm.get(whole, count * blob.rawBytes);
  });
}

/**
 * Adds the share of some streams to y = W x: src/matvec.c.
 * @param {Codec} codec a decoder
 * @param {Blob} blob @param {Uint32Array} cursors as for decodeStreams @param {number} first
 * @param {Uint8Array} words @param {number} start row-major index of their first weight
 * @param {number} count of weights @param {Uint8Array} raw rawBytes for each, empty without a raw plane
 * @param {Float32Array | Int8Array} x batch vectors; Int8Array: one, and y is Int32Array
 * @param {number} batch @param {Float32Array | Int32Array} y batch vectors of rows, added to;
 *   of grid matrices not yet scaled by the step
 */
export function multiplyStreams(codec, blob, cursors, first, words, start, count, raw, x, batch, y) {
  const { wasm } = codec;
  wasm.scoped(() => {
    const fault = wasm.zero(SIZEOF_FAULT);
    const struct = wasm.put(blob.struct);
    const table = wasm.alloc(4 * MAX_SLOTS);
    let weights = wasm.alloc(count);
    if (blob.streamCount) wasm.call.hansel_build_table(table, struct);
    const at = wasm.put(new Uint8Array(cursors.buffer, cursors.byteOffset, cursors.byteLength));
    codec.check(wasm.call.hansel_decode_streams(weights, count, struct, table, at, first,
      Math.max(cursors.length - 1, 0), wasm.put(words), words.length, fault), fault, 'stream');
    const isFloat = blob.mode === 'lossless' && DTYPES[/** @type {'F32'} */ (blob.dtype)] <= 3;
    if (isFloat) {
      const joined = wasm.alloc(4 * count);
      wasm.call.hansel_join(joined, struct, weights, wasm.put(raw), count);
      weights = wasm.alloc(4 * count);
      wasm.call.hansel_widen(weights, DTYPES[/** @type {'F32'} */ (blob.dtype)], joined, count);
    }
    addProduct(wasm, weights, isFloat, start, count, blob, x, batch, y);
  });
}

/**
 * Like multiplyStreams, but for weights that are not coded.
 * @param {Codec} codec a decoder
 * @param {{dtype: string, rows: number, columns: number}} matrix of F32, F16, BF16 or I8
 * @param {Uint8Array} bytes of the weights from start on @param {number} start
 * @param {number} count @param {Float32Array | Int8Array} x
 * @param {number} batch @param {Float32Array | Int32Array} y
 */
export function multiplyPlain({ wasm }, { dtype, rows, columns }, bytes, start, count, x, batch, y) {
  wasm.scoped(() => {
    let weights = wasm.put(bytes);
    if (dtype === 'F16' || dtype === 'BF16') {
      const wide = wasm.alloc(4 * count);
      wasm.call.hansel_widen(wide, DTYPES[dtype], weights, count);
      weights = wide;
    }
    addProduct(wasm, weights, dtype !== 'I8', start, count, { rows, columns }, x, batch, y);
  });
}

/**
 * @param {import('./wasm.js').Wasm} wasm
 * @param {number} weights where they are: float32, or int8 @param {boolean} isFloat
 * @param {number} start @param {number} count @param {{rows: number, columns: number}} matrix
 * @param {Float32Array | Int8Array} x @param {number} batch
 * @param {Float32Array | Int32Array} y
 */
function addProduct(wasm, weights, isFloat, start, count, { rows, columns }, x, batch, y) {
  const row = Math.floor(start / columns);
  const touched = Math.ceil((start + count) / columns) - row;
  const vector = wasm.put(new Uint8Array(x.buffer, x.byteOffset, x.byteLength));
  const sums = wasm.zero(4 * touched * batch);
  const big = [start, count, columns].map(BigInt);
  if (x instanceof Int8Array) wasm.call.hansel_matvec_i8(sums, weights, ...big, vector);
  else {
    wasm.call.hansel_matvec(sums, BigInt(touched), weights, isFloat ? 1 : 0, ...big, vector, batch);
  }
  const part = x instanceof Int8Array ? new Int32Array(wasm.memory.buffer, sums, touched)
    : new Float32Array(wasm.memory.buffer, sums, touched * batch);
  for (let b = 0; b < batch; b++) {
    for (let r = 0; r < touched; r++) y[b * rows + row + r] += part[b * touched + r];
  }
}
