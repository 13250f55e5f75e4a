/** Matrices on the CPU that are not coded: their bytes stay in memory as they lie in the file. */
import { convert } from '../core/convert.js';
import { typedArray } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { multiplyPlain } from '../core/multiply.js';
import { takeTurn } from '../core/turn.js';
import { widened } from '../core/vectors.js';
import { checkRows } from '../model/rows.js';
import { decodeTarget } from './parts.js';
import { KINDS, PlainBase, plainTensor, pushBytes } from './plain_matrix.js';

/** Weights multiplied at a time: what stays in a core's cache. */
const BATCH = 1 << 16;

/** @typedef {import('../model/model.js').Model} Model */

/**
 * WasmBackend.load() for tensors that were passed through.
 * @param {Model} model @param {string} name
 * @param {import('./plain_matrix.js').PlainOptions} [options]
 * @returns {Promise<WasmPlainMatrix>}
 */
export async function loadWasmPlain(model, name, options = {}) {
  const { dtype, rows, columns, rowBytes } = plainTensor(model, name);
  const bytes = allocate(rows * rowBytes, name);
  let at = 0;
  await pushBytes(model, name, options, (some) => {
    bytes.set(some, at);
    at += some.length;
  });
  const matrix = new WasmPlainMatrix(model.codec, bytes, { dtype, rows, columns, name });
  matrix.model = model;
  return matrix;
}

/** A matrix in memory that is not coded. Made by WasmBackend.load(), or with new. */
export class WasmPlainMatrix extends PlainBase {
  /** @type {Uint8Array | null} */
  #bytes;

  /**
   * @param {import('../core/codec.js').Codec} codec @param {Uint8Array} bytes of all elements, retained
   * @param {import('./plain_matrix.js').PlainDescription} description
   * @throws {HanselError} HANSEL_ERR_ARGUMENT if the bytes are not as many as the elements take
   */
  constructor(codec, bytes, description) {
    const { dtype, rows, columns, name } = description;
    const rowPitch = columns * KINDS[dtype].bytes;
    super({ ...description, rowPitch });
    if (bytes.length !== rows * rowPitch) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'not the bytes of this matrix', {
        expected: `${rows * rowPitch} bytes`, got: bytes.length, where: name,
      });
    }
    this.codec = codec;
    this.#bytes = bytes;
  }

  /** @type {PlainBase['multiply']} */
  async multiply(x, batch, bias, integer) {
    const { rows, columns, dtype, scale } = this;
    const vectors = x instanceof Uint16Array ? widened(x) : x;
    const y = integer ? new Int32Array(rows) : new Float32Array(rows * batch);
    const { bytes: size } = KINDS[dtype];
    for (let start = 0; start < rows * columns; start += BATCH) {
      await takeTurn();
      this.checkAlive();
      const count = Math.min(BATCH, rows * columns - start);
      const slice = /** @type {Uint8Array} */ (this.#bytes).subarray(start * size,
        (start + count) * size);
      multiplyPlain(this.codec, { dtype, rows, columns }, slice, start, count, vectors, batch, y);
    }
    for (let i = 0; i < y.length && !integer; i++) y[i] = y[i] * scale + (bias ? bias[i % rows] : 0);
    return /** @type {ArrayBuffer} */ (y.buffer);
  }

  /** @type {PlainBase['readRows']} */
  async readRows(firstRow, count) {
    return /** @type {Uint8Array} */ (this.#bytes).subarray(firstRow * this.rowPitch,
      (firstRow + count) * this.rowPitch);
  }

  /**
   * As WasmMatrix.decodeRows(); a row is the last dimension.
   * @param {number} first @param {number} count @param {{dtype?: string}} [options]
   * @returns {Promise<any>} typed array, the caller's
   */
  async decodeRows(first, count, { dtype } = {}) {
    this.checkAlive();
    const { target } = decodeTarget({ dtype: this.dtype }, dtype, this.name);
    checkRows(first, count, this.rows, this.name);
    const bytes = convert(await this.readRows(first, count), this.dtype, target);
    return typedArray(target, /** @type {ArrayBuffer} */ (bytes.slice().buffer));
  }

  destroy() {
    super.destroy();
    this.#bytes = null;
  }
}
