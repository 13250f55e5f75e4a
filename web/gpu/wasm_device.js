/**
 * The CPU behind the GPUs' interface: coded bytes stay in memory as they are, and
 * products decode them a slice at a time.
 */
import { typedArray } from '../core/dtypes.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { multiplyStreams } from '../core/multiply.js';
import { streamRanges } from '../core/ranges.js';
import { takeTurn } from '../core/turn.js';
import { checkFloat, checkFloats, checkInteger, checkVector, widened } from '../core/vectors.js';
import { checkRows, decodeRange } from '../model/rows.js';
import { decodeTarget } from './parts.js';
import { loadWasmPlain } from './wasm_plain.js';

/** Weights decoded at a time: what stays in a core's cache. */
const BATCH = 1 << 16;

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('../core/vectors.js').Vector} Vector */

/** Opened by gpu(), or with new. */
export class WasmBackend {
  kind = /** @type {const} */ ('wasm');

  /**
   * Loads a tensor; if it is not coded, a WasmPlainMatrix.
   * @param {Model} model @param {string} name
   * @param {{signal?: AbortSignal,
   *   onProgress?: (progress: {done: number, total: number, tensor: string}) => void}} [options]
   * @returns {Promise<WasmMatrix | import('./wasm_plain.js').WasmPlainMatrix>}
   * @throws {HanselError} as Model.decode()
   */
  async load(model, name, { signal, onProgress } = {}) {
    if (model.tensor(name).mode === 'pass-through') {
      return loadWasmPlain(model, name, { signal, onProgress });
    }
    const { blob, cursors, chunks } = await model.payload(name, { signal });
    const payload = allocate(blob.blobBytes - blob.headBytes, name);
    let done = 0;
    for await (const chunk of chunks) {
      checkAborted(signal);
      payload.set(chunk, done);
      done += chunk.length;
      onProgress?.({ done, total: payload.length, tensor: name });
    }
    return new WasmMatrix(model, name, blob, cursors, payload);
  }

  destroy() {}
}

/** A coded matrix in memory. */
export class WasmMatrix {
  /** @type {Uint8Array | null} */
  #payload;
  #cursors;

  /**
   * @param {Model} model @param {string} name @param {Blob} blob @param {Uint32Array} cursors
   * @param {Uint8Array} payload
   */
  constructor(model, name, blob, cursors, payload) {
    this.model = model;
    this.name = name;
    this.blob = blob;
    this.rows = blob.rows;
    this.columns = blob.columns;
    this.#cursors = cursors;
    this.#payload = payload;
  }

  checkAlive() {
    if (!this.#payload) {
      throw new HanselError('HANSEL_ERR_DESTROYED', 'the matrix was destroyed', { where: this.name });
    }
    return this.#payload;
  }

  /** @returns {Promise<Int8Array>} as Model.symbols() */
  async symbols() {
    this.checkAlive();
    return this.model.symbols(this.name);
  }

  /** @param {{dtype?: string}} [options] as Model.decode(); floats come as F32 unless told */
  async decode({ dtype } = {}) {
    this.checkAlive();
    const own = this.blob.dtype;
    const isFloat = own === 'F32' || own === 'F16' || own === 'BF16';
    return this.model.decode(this.name, { dtype: dtype ?? (isFloat ? 'F32' : own) });
  }

  /**
   * Rows of the matrix view, from the coded bytes in memory; floats come as F32 unless told.
   * @param {number} first @param {number} count @param {{dtype?: string}} [options]
   * @returns {Promise<any>} typed array
   */
  async decodeRows(first, count, { dtype } = {}) {
    this.checkAlive();
    const { blob, model: { codec }, name } = this;
    const { target } = decodeTarget(blob, dtype, name);
    checkRows(first, count, blob.rows, name);
    const read = (/** @type {number} */ from, /** @type {number} */ to) => (
      this.checkAlive().subarray(from, to));
    return typedArray(target, /** @type {ArrayBuffer} */ (
      (await decodeRange({ codec, blob, cursors: this.#cursors, read }, first * blob.columns,
        (first + count) * blob.columns, target)).buffer));
  }

  /** The reference cannot differ from itself, but its file can be damaged. */
  async verify() {
    this.checkAlive();
    await this.model.verify(this.name);
    return { ok: /** @type {const} */ (true) };
  }

  /** As WebGpuMatrix.matvec(). @param {Vector} x @param {{bias?: Float32Array}} [options] */
  matvec(x, { bias } = {}) {
    return this.matmul(x, 1, { bias });
  }

  /**
   * As WebGpuMatrix.matmul().
   * @param {Vector} x @param {number} batch @param {{bias?: Float32Array}} [options]
   * @returns {Promise<Float32Array>}
   */
  async matmul(x, batch, { bias } = {}) {
    this.checkAlive();
    const { blob, rows } = this;
    checkFloat(blob, this.name);
    const vectors = widened(checkFloats(this, x, batch));
    if (bias) checkVector({ rows, columns: rows, name: `${this.name} bias` }, bias, 'Float32Array', 1);
    const y = new Float32Array(rows * batch);
    await this.#multiply(vectors, batch, y);
    const scale = blob.mode === 'grid' ? blob.step : 1;
    for (let i = 0; i < y.length; i++) y[i] = y[i] * scale + (bias ? bias[i % rows] : 0);
    return y;
  }

  /** As WebGpuMatrix.matvecI8(). @param {Int8Array} x @returns {Promise<Int32Array>} */
  async matvecI8(x) {
    this.checkAlive();
    checkInteger(this.blob, this.name);
    checkVector(this, x, 'Int8Array', 1);
    const y = new Int32Array(this.rows);
    await this.#multiply(x, 1, y);
    return y;
  }

  /** @param {Float32Array | Int8Array} x @param {number} batch @param {Float32Array | Int32Array} y */
  async #multiply(x, batch, y) {
    const { blob, model: { codec } } = this;
    const { rawBytes } = blob;
    const cursors = this.#cursors;
    const rawStart = Math.ceil(2 * blob.wordCount / 16) * 16;
    for (const { first, last, start, end } of streamRanges(codec, blob, BATCH)) {
      await takeTurn();
      const payload = this.checkAlive();
      const words = payload.subarray(2 * cursors[first], 2 * cursors[last]);
      const raw = payload.subarray(rawStart + start * rawBytes, rawStart + end * rawBytes);
      multiplyStreams(codec, blob, cursors.slice(first, last + 1), first, words, start, end - start,
        raw, x, batch, y);
    }
  }

  /** Frees the coded bytes. The matrix cannot be used afterwards. */
  destroy() {
    this.#payload = null;
  }
}
