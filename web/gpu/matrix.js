/**
 * A matrix on a device: one interface, whatever the device and however the weights lie there. All
 * checks and all rules about a matrix's life are here; what a device does with the weights is in
 * its stores, web/gpu/{webgpu,webgl,wasm}_{coded,plain}.js.
 */
import { DTYPES, typedArray } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { refuse } from '../core/options.js';
import {
  checkFloat, checkFloats, checkInteger, checkVector, rowQuads,
} from '../core/vectors.js';
import { checkRows } from '../model/rows.js';
import { verifyCoded, verifyPlain } from './verify.js';

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../core/vectors.js').Vector} Vector */
/** @typedef {import('../core/dtypes.js').Dtype} Dtype */
/**
 * @template {Dtype} D
 * @typedef {import('../core/dtypes.js').ArrayOf<D>} ArrayOf
 */
/** @typedef {(x: Float32Array | Uint16Array | Int8Array, batch: number,
 *   bias: Float32Array | undefined, integer: boolean) => Promise<ArrayBuffer>} Multiply */
/**
 * What a device can do with one matrix's weights. Arguments are checked already.
 * @typedef {object} MatrixStore
 * @property {any[]} parts ranges of streams or rows that the device's limits made of it
 * @property {() => void} checkAlive
 * @property {() => void} free
 * @property {boolean} isFreed
 * @property {'prefix' | 'packed' | 'coded' | 'plain'} form how the weights lie
 * @property {number} bytes that they take
 * @property {() => Promise<void>} [decode] coded weights on a GPU: to its memory, each part's
 *   `symbols`; throws HANSEL_ERR_CORRUPT with the stream
 * @property {(target: string, first: number, count: number, out: Uint8Array) => Promise<void>} read
 *   rows as elements of a dtype, or with 'symbols' the coded bytes, after decode() where there is one
 * @property {(part: any) => Promise<Uint32Array>} [checksums] of a part's streams, after decode()
 * @property {Multiply} [multiply] where there is no makeProducts
 * @property {(matrix: Matrix) => {multiply: Multiply} & Record<string, any>} [makeProducts] for
 *   command encoders of the user's too
 * @property {import('../core/codec.js').Blob} [blob] of coded weights
 */
/**
 * @typedef {object} Facts what a matrix is
 * @property {string} name for errors; the tensor's, if it was loaded
 * @property {Dtype} dtype @property {number[]} shape
 * @property {'grid' | 'lossless' | 'pass-through'} mode
 * @property {number} step of the grid; 0 without one
 * @property {number} rows @property {number} columns
 * @property {number} scale of float products: the step, or whatever a plain matrix is given
 * @property {Model | null} model where it was read from
 */

/** Made by load() of a device, or by the functions of hansel/plain. */
export class Matrix {
  /** @type {Promise<void> | null} */
  #decoding = null;

  /** @param {any} gpu @param {MatrixStore} store @param {Facts} facts */
  constructor(gpu, store, { name, dtype, shape, mode, step, rows, columns, scale, model }) {
    /** The device it lies on. */
    this.gpu = gpu;
    /** @type {MatrixStore} */
    this.store = store;
    this.name = name;
    /** Of the weights, before coding. */
    this.dtype = dtype;
    this.shape = shape;
    this.mode = mode;
    /** The grid's step; 0 unless mode is 'grid'. */
    this.step = step;
    /** Rows and columns of the matrix view: y has `rows` elements, x `columns`. */
    this.rows = rows;
    this.columns = columns;
    /** Float products are multiplied by it. */
    this.scale = scale;
    this.model = model;
    /** u32s of a decoded row: four symbols each, the last padded with zeros. */
    this.rowQuads = rowQuads(columns);
    /** y = W x for your own command encoders; null on the CPU. */
    this.products = store.makeProducts?.(this) ?? null;
  }

  /** The former name of rowQuads. @returns {number} */
  get rowSteps() {
    return this.rowQuads;
  }

  /** How the weights lie there: 'prefix' or 'packed' codes (FORMAT.md appendix A), 'coded' as in the
   * file, or 'plain'. */
  get form() {
    return this.store.form;
  }

  /** Bytes that they take on the device; decoded copies and scratch are not counted. */
  get bytes() {
    return this.store.bytes;
  }

  /** How it lies on the device: as many ranges as the device's limits need. */
  get parts() {
    return this.store.parts;
  }

  /** The head of coded weights. */
  get blob() {
    return this.store.blob;
  }

  /** @throws {HanselError} HANSEL_ERR_DESTROYED, _LOST */
  checkAlive() {
    this.store.checkAlive();
  }

  /**
   * Runs a call, products' too. If destroy() comes meanwhile, that is what the call reports,
   * whatever it met.
   * @template T @param {() => Promise<T>} body @returns {Promise<T>}
   */
  async use(body) {
    this.checkAlive();
    try {
      const result = await body();
      this.checkAlive();
      return result;
    } catch (error) {
      if (this.store.isFreed) this.checkAlive();
      throw error;
    }
  }

  /**
   * Decodes coded weights to GPU memory, once: afterwards `buffer` (WebGPU) or `texture` (WebGL2)
   * holds them.
   * @returns {Promise<any[]>} the parts, each with its `symbols`
   * @throws {HanselError} HANSEL_ERR_CORRUPT with the stream, HANSEL_ERR_DTYPE if the matrix is not
   *   coded, HANSEL_ERR_ADAPTER on the CPU; _LOST, _MEMORY, _GPU, _DESTROYED
   */
  async decodeOnGpu() {
    this.checkAlive();
    const { store } = this;
    if (!store.decode) {
      throw store.blob
        ? new HanselError('HANSEL_ERR_ADAPTER', 'no GPU memory to decode to', { where: this.name })
        : new HanselError('HANSEL_ERR_DTYPE', 'the matrix is not coded: there is nothing to decode', {
          expected: 'a coded tensor', got: this.mode, where: this.name,
        });
    }
    this.#decoding ??= this.use(() => /** @type {() => Promise<void>} */ (store.decode)
      .call(store)).catch((error) => {
      this.#decoding = null;
      throw error;
    });
    await this.#decoding;
    this.checkAlive();
    return this.parts;
  }

  /**
   * The decoded matrix, for your own shaders: array<u32>, rowQuads u32s to a row, a column's symbol
   * in byte column % 4 (shaders/weight.wgsl reads it). Lives until destroy(). Decode first.
   * @returns {GPUBuffer}
   * @throws {HanselError} HANSEL_ERR_ARGUMENT when not decoded yet, or cut into parts
   */
  get buffer() {
    return this.#decoded();
  }

  /**
   * As buffer, on WebGL2: RGBA32UI, an array in rows of 2^gpu.widthLog2 texels (2048 but for smaller
   * limits), four u32s to a texel (shaders/weight.glsl reads it).
   * @returns {WebGLTexture} @throws {HanselError} HANSEL_ERR_ARGUMENT, likewise
   */
  get texture() {
    return this.#decoded();
  }

  #decoded() {
    this.checkAlive();
    const { parts } = this;
    if (parts.length !== 1 || !parts[0].symbols) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'no single decoded buffer or texture', {
        expected: 'decodeOnGpu() before, and a tensor in one part',
        got: `${parts.length} parts${parts[0]?.symbols ? '' : ', not decoded'}`, where: this.name,
      });
    }
    return parts[0].symbols;
  }

  /**
   * Rows as elements of a dtype, or coded symbols.
   * @param {string} target as MatrixStore.read() @param {number} size bytes of an element
   * @param {number} first @param {number} count @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async #read(target, size, first = 0, count = this.rows) {
    if (this.store.decode) await this.decodeOnGpu();
    return this.use(async () => {
      const out = allocate(count * this.columns * size, this.name);
      if (out.length) await this.store.read(target, first, count, out);
      return out;
    });
  }

  /**
   * What a matrix decodes to.
   * @param {string | undefined} dtype wanted
   * @returns {{target: string, size: number}} @throws {HanselError} HANSEL_ERR_DTYPE
   */
  #target(dtype) {
    const isFloat = DTYPES[/** @type {'F32'} */ (this.dtype)] <= 3;
    const target = dtype ?? (isFloat ? 'F32' : this.dtype);
    if (isFloat ? !['F32', 'F16', 'BF16'].includes(target) : target !== this.dtype) {
      throw new HanselError('HANSEL_ERR_DTYPE', 'the matrix cannot be decoded to that dtype', {
        expected: isFloat ? 'F32, F16 or BF16' : this.dtype, got: target, where: this.name,
      });
    }
    return { target, size: target === 'F32' ? 4 : isFloat ? 2 : 1 };
  }

  /**
   * The coded symbols (of a matrix that is not coded: I8 weights), read back: equal to
   * Model.symbols().
   * @returns {Promise<Int8Array>} row-major, the caller's
   * @throws {HanselError} HANSEL_ERR_DTYPE without symbols; as decodeOnGpu()
   */
  async symbols() {
    if (!this.blob && this.dtype !== 'I8') {
      throw new HanselError('HANSEL_ERR_DTYPE', 'a tensor that is not coded has no symbols', {
        expected: 'I8, or a coded tensor', got: this.dtype, where: this.name,
      });
    }
    return new Int8Array((await this.#read('symbols', 1)).buffer);
  }

  /**
   * The weights, put together on the device and read back: equal to Model.decode() with that dtype.
   * A plain matrix's scale is not in them.
   * @template {Dtype} [D=Dtype]
   * @param {{dtype?: D}} [options] 'F32' (the default for float tensors), 'F16' or 'BF16'; the
   *   one-byte dtypes have only their own
   * @returns {Promise<ArrayOf<D>>} row-major typed array, the caller's
   * @throws {HanselError} HANSEL_ERR_DTYPE, as decodeOnGpu()
   */
  async decode({ dtype, ...rest } = {}) {
    await refuse(rest, 'w.decode');
    this.checkAlive();
    const { target, size } = this.#target(dtype);
    return typedArray(target, (await this.#read(target, size)).buffer);
  }

  /**
   * Rows of the matrix view, such as those of an embedding.
   * @template {Dtype} [D=Dtype]
   * @param {number} first @param {number} count @param {{dtype?: D}} [options] as decode()
   * @returns {Promise<ArrayOf<D>>} count rows, row-major, a typed array, the caller's
   * @throws {HanselError} HANSEL_ERR_ARGUMENT for rows that are not there; as decode()
   */
  async decodeRows(first, count, { dtype, ...rest } = {}) {
    await refuse(rest, 'w.decodeRows');
    this.checkAlive();
    const { target, size } = this.#target(dtype);
    checkRows(first, count, this.rows, this.name);
    return typedArray(target, (await this.#read(target, size, first, count)).buffer);
  }

  /**
   * y = W x, decoding coded weights as it goes. The error is that of binary32 sums in the kernel's
   * order: relative to the norm, below 1e-5 for 4096 columns. NaN and infinity go where arithmetic
   * takes them (on WebGL2 as well as the GPU does it). x in F16 gives exactly what the same numbers
   * give in F32. A result with NaN has the matrix decoded once, to tell whether a stream is corrupt.
   * @param {Vector} x `columns` elements @param {{bias?: Float32Array}} [options] bias: rows
   * @returns {Promise<Float32Array>} rows
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT, _DESTROYED, _LOST, _MEMORY,
   *   _CORRUPT with the stream
   */
  async matvec(x, { bias, ...rest } = {}) {
    await refuse(rest, 'w.matvec');
    return this.matmul(x, 1, { bias });
  }

  /**
   * Like matvec, for a batch: each weight is decoded once for every four vectors.
   * @param {Vector} x batch vectors of `columns` elements, one after the other
   * @param {number} batch 1 to 64 @param {{bias?: Float32Array}} [options]
   * @returns {Promise<Float32Array>} batch vectors of `rows` elements
   */
  async matmul(x, batch, { bias, ...rest } = {}) {
    await refuse(rest, 'w.matmul');
    this.checkAlive();
    const { rows, name } = this;
    checkFloat(this, name);
    const vectors = checkFloats(this, x, batch);
    if (bias) checkVector({ columns: rows, name: `${name} bias` }, bias, 'Float32Array', 1);
    return new Float32Array(await this.#multiply(vectors, batch, bias, false));
  }

  /**
   * Grid indices (or I8 weights) times signed bytes: exact, not scaled.
   * @param {Int8Array} x `columns` elements @returns {Promise<Int32Array>} rows
   * @throws {HanselError} HANSEL_ERR_DTYPE for lossless floats, HANSEL_ERR_LIMIT above 131,071 columns
   */
  async matvecI8(x) {
    this.checkAlive();
    checkInteger(this, this.name);
    checkVector(this, x, 'Int8Array', 1);
    return new Int32Array(await this.#multiply(x, 1, undefined, true));
  }

  /** @type {Multiply} */
  async #multiply(x, batch, bias, integer) {
    const { multiply } = this.products ?? this.store;
    const result = await this.use(() => /** @type {Multiply} */ (multiply)
      .call(this.products ?? this.store, x, batch, bias, integer));
    // What a corrupt stream comes to (matvec.wgsl), or x. Decoding tells which, and of what stream.
    const isOdd = this.store.decode && this.form === 'coded' && (integer ? new Int32Array(result).includes(-(2 ** 31))
      : new Float32Array(result).some(Number.isNaN));
    if (isOdd) await this.decodeOnGpu();
    return result;
  }

  /**
   * Compares what lies on the device with the file: coded weights by checksums of what the GPU
   * decodes and what the wasm decodes, others byte by byte.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{ok: true} | {ok: false, tensor: string, row: number, column: number,
   *   expected: number, got: number}>} the first symbol, or byte, that differs
   * @throws {HanselError} HANSEL_ERR_ARGUMENT if load() did not make the matrix; as Model.symbols(),
   *   decodeOnGpu()
   */
  async verify({ signal, ...rest } = {}) {
    await refuse(rest, 'w.verify');
    const { model } = this;
    this.checkAlive();
    if (!model) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'no file to compare with', {
        expected: 'a matrix that load() made', where: this.name,
      });
    }
    if (this.store.decode) await this.decodeOnGpu();
    return this.use(() => (this.blob ? verifyCoded : verifyPlain)(this, model, signal));
  }

  /** Frees its memory, but nothing of yours. The matrix cannot be used afterwards. */
  destroy() {
    this.store.free();
  }
}
