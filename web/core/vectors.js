/** The vectors of products: their padding, and the checks of what goes in, the same everywhere. */
import { convert } from './convert.js';
import { HanselError } from './errors.js';

/** Quads of columns in a row: rows are padded to four elements on GPUs. @param {number} columns */
export const rowQuads = (columns) => Math.ceil(columns / 4);

/** Vectors of a batch, at most. */
export const MAX_BATCH = 64;
/** Columns whose integer products certainly fit in 32 bits: 2^31 / 128 / 128. */
export const MAX_I8_COLUMNS = 131071;

/** @typedef {ArrayBufferView & {readonly length: number,
 *   readonly [Symbol.toStringTag]: 'Float16Array'}} Halves where the engine has Float16Array */
/** @typedef {Float32Array | Uint16Array | Halves} Vector F32, or F16: a Uint16Array holds bits */

/**
 * Checks a product's input; the same for all back ends.
 * @param {{rows?: number, columns: number, name: string}} matrix @param {any} x
 * @param {'Float32Array' | 'Int8Array' | 'Float32Array, or Uint16Array or Float16Array of F16'} type
 * @param {number} batch
 * @throws {HanselError} HANSEL_ERR_ARGUMENT
 */
export function checkVector({ columns, name }, x, type, batch) {
  const bad = (/** @type {string} */ what, /** @type {unknown} */ expected, /** @type {unknown} */ got) => (
    new HanselError('HANSEL_ERR_ARGUMENT', what, { expected, got, where: name }));
  if (!Number.isInteger(batch) || batch < 1 || batch > MAX_BATCH) {
    throw bad('impossible batch', `1 to ${MAX_BATCH} vectors`, batch);
  }
  const found = Object.prototype.toString.call(x).slice(8, -1);
  if (!type.split(/\W+/).includes(found)) throw bad('the vector has the wrong type', type, found);
  if (x.length !== batch * columns) {
    throw bad('the vector has the wrong length', `${batch * columns} elements`, x.length);
  }
}

/**
 * Checks the vectors of a floating-point product.
 * @param {{rows?: number, columns: number, name: string}} matrix @param {any} x @param {number} batch
 * @returns {Float32Array | Uint16Array} x, or the bits of its halves
 * @throws {HanselError} HANSEL_ERR_ARGUMENT
 */
export function checkFloats(matrix, x, batch) {
  checkVector(matrix, x, 'Float32Array, or Uint16Array or Float16Array of F16', batch);
  return x instanceof Float32Array || x instanceof Uint16Array ? x
    : new Uint16Array(x.buffer, x.byteOffset, x.length);
}

/**
 * Checks how a product on the GPU is given its vectors.
 * @param {string} xDtype @param {boolean} integer @param {string} name
 * @throws {HanselError} HANSEL_ERR_DTYPE
 */
export function checkXDtype(xDtype, integer, name) {
  if (xDtype === 'F32' || (xDtype === 'F16' && !integer)) return;
  throw new HanselError('HANSEL_ERR_DTYPE', 'no products with vectors of this dtype', {
    expected: integer ? 'no xDtype with integer' : 'F32 or F16', got: xDtype, where: name,
  });
}

/**
 * Whether integer products apply. @param {{mode: string, dtype: string, columns: number}} blob
 * @param {string} name
 */
export function checkInteger({ mode, dtype, columns }, name) {
  if (mode !== 'grid' && dtype !== 'I8') {
    throw new HanselError('HANSEL_ERR_DTYPE', 'integer products need integer weights', {
      expected: 'grid indices or I8', got: `${mode} ${dtype}`, where: name,
    });
  }
  if (columns > MAX_I8_COLUMNS) {
    throw new HanselError('HANSEL_ERR_LIMIT', 'int32 sums could overflow', {
      expected: `at most ${MAX_I8_COLUMNS} columns`, got: columns, where: name,
    });
  }
}

/**
 * Whether floating-point products apply: the one-byte dtypes but I8 are no numbers to us.
 * @param {{mode: string, dtype: string}} blob @param {string} name
 */
export function checkFloat({ mode, dtype }, name) {
  if (mode === 'grid' || ['I8', 'F32', 'F16', 'BF16'].includes(dtype)) return;
  throw new HanselError('HANSEL_ERR_DTYPE', 'no products with this dtype', {
    expected: 'F32, F16, BF16 or I8', got: dtype, where: name,
  });
}

/** Vectors as F32, exactly. @param {Float32Array | Uint16Array} x @returns {Float32Array} */
export function widened(x) {
  if (x instanceof Float32Array) return x;
  const bytes = new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
  return new Float32Array(/** @type {ArrayBuffer} */ (convert(bytes, 'F16', 'F32').buffer));
}

/** Vectors padded to whole steps. @template {Float32Array | Uint16Array | Int8Array} T
 * @param {T} x @param {number} columns @param {number} batch @returns {T} x itself if nothing is padded */
export function padVectors(x, columns, batch) {
  const stride = 4 * rowQuads(columns);
  if (stride === columns) return x;
  const padded = /** @type {T} */ (new (/** @type {any} */ (x.constructor))(batch * stride));
  for (let v = 0; v < batch; v++) padded.set(x.subarray(v * columns, (v + 1) * columns), v * stride);
  return padded;
}

/** A tensor that is not coded as a matrix: its rows are the last dimension. @param {number[]} shape */
export const viewOf = (shape) => ({
  rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), columns: shape[shape.length - 1] ?? 1,
});
