/**
 * Products of coded matrices on WebGPU: y = W x without W ever being decoded to
 * memory. Results are deterministic; integer ones are exact.
 */
import { DTYPES } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { checkFloat, checkInteger, checkXDtype, padVectors, rowQuads } from '../core/vectors.js';

/** Invocations of a workgroup. */
export const GROUP_SIZE = 64;
/** Workgroups along one dimension of a dispatch, at most, everywhere. */
export const GROUP_COLUMNS = 65535;
const SYMBOL_FLIP = 128 << 12;
const TILE = 4;
const KIND = { f32: 0, i8: 1, lossless: 2 };

/** @typedef {import('./webgpu_device.js').WebGpuMatrix} WebGpuMatrix */
/**
 * @typedef {object} ProductArguments
 * @property {GPUBuffer} x usage STORAGE: vectors of `columns` float32 (float16 with xDtype 'F16', int8
 *   with integer), each padded with zeros to a multiple of 4 elements
 * @property {GPUBuffer} y usage STORAGE, not x: receives vectors of `rows` float32 (int32)
 * @property {number} [xOffset] elements, a multiple of 4 @property {number} [yOffset] elements
 * @property {number} [xStride] elements from vector to vector, a multiple of 4; default: padded columns
 * @property {number} [yStride] elements from vector to vector; default: rows
 * @property {number} [batch] vectors, 1 to 64
 * @property {GPUBuffer} [bias] usage STORAGE: rows float32, added to every vector; not with integer
 * @property {boolean} [integer] int8 x, exact int32 y, not scaled by the step
 * @property {'F32' | 'F16'} [xDtype] of x, unless integer; F32 by default. F16 gives exactly what the
 *   same numbers give as F32
 */

/** The products of one matrix. */
export class Products {
  /** @type {Map<string, GPUBuffer>} */
  #uniforms = new Map();
  /** @type {Map<string, GPUComputePipeline>} */
  #pipelines = new Map();
  /** @type {GPUBuffer | null} */
  #none = null;
  /** Scratch by use, the largest last. @type {Map<string, GPUBuffer[]>} */
  #rooms = new Map();

  /** @param {WebGpuMatrix} matrix */
  constructor(matrix) {
    this.matrix = matrix;
    const { blob } = matrix;
    const isFloat = DTYPES[/** @type {'F32'} */ (blob.dtype)] <= 3;
    this.floatKind = blob.mode === 'grid' || !isFloat ? KIND.f32 : KIND.lossless;
    this.pieces = Math.max(blob.pieces, 1);
  }

  /**
   * Compiles what encode() will need, for one kind of product.
   * @param {boolean} integer @param {'F32' | 'F16'} [xDtype]
   */
  async prepare(integer, xDtype = 'F32') {
    const { gpu, blob, name } = this.matrix;
    checkXDtype(xDtype, integer, name);
    const kind = integer ? KIND.i8 : this.floatKind;
    // A tensor without streams is decoded from made-up ones: WebGpuMatrix.allocate().
    const slotBits = blob.streamCount ? blob.slotBits : 8;
    await gpu.guard(async () => {
      if (xDtype === 'F16') await this.prepareWidening();
      for (const tile of integer ? [1] : [1, TILE]) {
        this.#pipelines.set(`${kind} ${tile}`, await gpu.pipeline('matvec', 'matvec_streams', {
          slot_bits: slotBits, slot_count: 1 << slotBits, group_size: GROUP_SIZE, kind, tile,
          weights_per_symbol: blob.weightsPerSymbol,
          symbol_flip: kind === KIND.f32 && blob.weightsPerSymbol === 1 ? SYMBOL_FLIP : 0,
        }));
      }
      if (this.pieces > 1) {
        this.#pipelines.set(`reduce ${kind}`, await gpu.pipeline('reduce', 'reduce_pieces', {
          group_size: GROUP_SIZE, is_integer: integer ? 1 : 0,
        }));
      }
    });
  }

  /** A uniform buffer with these numbers, made once. @param {(number | {f32: number})[]} fields */
  #uniform(fields) {
    const key = JSON.stringify(fields);
    let buffer = this.#uniforms.get(key);
    if (!buffer) {
      const view = new DataView(new ArrayBuffer(Math.ceil(fields.length / 4) * 16));
      fields.forEach((field, i) => {
        if (typeof field === 'number') view.setUint32(4 * i, field, true);
        else view.setFloat32(4 * i, field.f32, true);
      });
      buffer = this.matrix.gpu.filled(new Uint8Array(view.buffer), GPUBufferUsage.UNIFORM, 'uniform');
      this.#uniforms.set(key, buffer);
    }
    return buffer;
  }

  /**
   * Records the product into a compute pass of yours; prepare() must have been awaited.
   * @param {GPUComputePassEncoder} pass @param {ProductArguments} argument
   */
  encode(pass, argument) {
    const { integer = false, xDtype = 'F32' } = argument;
    checkXDtype(xDtype, integer, this.matrix.name);
    const { x, y, xOffset = 0, yOffset = 0, xStride, yStride, batch = 1, bias } = xDtype === 'F16'
      ? this.widen(pass, argument) : argument;
    const { matrix, pieces } = this;
    const { gpu, blob } = matrix;
    matrix.checkAlive();
    (integer ? checkInteger : checkFloat)(blob, matrix.name);
    const kind = integer ? KIND.i8 : this.floatKind;
    const stride = xStride ?? 4 * rowQuads(blob.columns);
    const rows = blob.rows;
    if (xOffset % 4 || stride % 4 || (integer && bias)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible product', {
        expected: 'xOffset and xStride multiples of 4, no bias with integer',
        got: `${xOffset}, ${stride}, ${bias ? 'bias' : 'no bias'}`, where: matrix.name,
      });
    }
    if (!this.#pipelines.has(`${kind} 1`)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'await prepare() before encode()', { where: matrix.name });
    }
    this.#none ??= gpu.buffer(16, GPUBufferUsage.STORAGE, 'unused');
    const none = this.#none;
    const isWhole = pieces === 1;
    const sums = isWhole ? y : this.#room('sums of pieces', 4 * batch * rows * pieces);
    const scale = { f32: kind === KIND.f32 ? (blob.mode === 'grid' ? blob.step : 1) / 4096 : 1 };
    const rawStart = Math.ceil(2 * blob.wordCount / 16) * 16;
    const tile = integer || batch === 1 ? 1 : TILE;
    const pipeline = /** @type {GPUComputePipeline} */ (this.#pipelines.get(`${kind} ${tile}`));
    for (const part of matrix.parts) {
      for (let first = 0; first < batch; first += tile) {
        const product = this.#uniform([first, batch, xOffset / 4, stride / 4, isWhole ? yOffset : 0,
          isWhole ? yStride ?? rows : rows * pieces, DTYPES[/** @type {'F32'} */ (blob.dtype)],
          rawStart + part.startWeight * blob.rawBytes - part.rawFrom, part.startWeight, blob.rawBytes,
          isWhole && bias ? 1 : 0, scale]);
        gpu.record(pass, pipeline, [this.#uniform(matrix.blobUniform(part)), part.words,
          part.cursors, matrix.table, product, integer ? none : x, integer ? x : none,
          part.raw ?? none, bias ?? none, sums], matrix.streamCount(part));
      }
    }
    if (isWhole) return;
    const reduce = /** @type {GPUComputePipeline} */ (this.#pipelines.get(`reduce ${kind}`));
    const reduction = this.#uniform([rows * batch, GROUP_COLUMNS, rows, pieces, yOffset,
      yStride ?? rows, bias ? 1 : 0, { f32: 1 }]);
    gpu.record(pass, reduce, [reduction, sums, bias ?? none, y], rows * batch);
  }

  async prepareWidening() {
    this.#pipelines.set('widen', await this.matrix.gpu.pipeline('widen', 'widen_vectors', {
      group_size: GROUP_SIZE,
    }));
  }

  /**
   * Records that x becomes float32, once for all rows: cheaper than in the products' kernels.
   * @param {GPUComputePassEncoder} pass @param {ProductArguments} argument with xDtype 'F16'
   * @returns {ProductArguments} the same, with xDtype 'F32'
   */
  widen(pass, argument) {
    const { x, xOffset = 0, xStride, batch = 1 } = argument;
    const { gpu, blob: { columns }, name } = this.matrix;
    this.matrix.checkAlive();
    const steps = rowQuads(columns);
    const stride = xStride ?? 4 * steps;
    const pipeline = this.#pipelines.get('widen');
    if (xOffset % 4 || stride % 4 || !pipeline) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible product', {
        expected: "prepare(false, 'F16') awaited before, xOffset and xStride multiples of 4",
        got: `${xOffset}, ${stride}${pipeline ? '' : ', not prepared'}`, where: name,
      });
    }
    const wide = this.#room('widened x', 16 * steps * batch);
    gpu.record(pass, pipeline, [this.#uniform([steps * batch, GROUP_COLUMNS, steps, xOffset / 4,
      stride / 4]), x, wide], steps * batch);
    return { ...argument, x: wide, xOffset: 0, xStride: 4 * steps, xDtype: 'F32' };
  }

  /**
   * Scratch that lives until destroy(), since a pass that was recorded may still need it.
   * @param {string} use @param {number} bytes at least
   */
  #room(use, bytes) {
    const rooms = this.#rooms.get(use) ?? [];
    const last = rooms[rooms.length - 1];
    if (last && last.size >= bytes) return last;
    rooms.push(this.matrix.gpu.buffer(Math.max(bytes, 2 * (last?.size ?? 0)), GPUBufferUsage.STORAGE, use));
    this.#rooms.set(use, rooms);
    return rooms[rooms.length - 1];
  }

  /**
   * @param {Float32Array | Uint16Array | Int8Array} x @param {number} batch
   * @param {Float32Array | undefined} bias @param {boolean} integer @returns {Promise<ArrayBuffer>}
   */
  async run(x, batch, bias, integer) {
    const { gpu, blob } = this.matrix;
    const xDtype = x instanceof Uint16Array ? 'F16' : 'F32';
    await this.prepare(integer, xDtype);
    const usage = GPUBufferUsage.STORAGE;
    return gpu.guard(async () => {
      const padded = padVectors(x, blob.columns, batch);
      const scratch = [
        gpu.filled(new Uint8Array(padded.buffer, padded.byteOffset, padded.byteLength).slice(), usage, 'x'),
        gpu.buffer(4 * blob.rows * batch, usage | GPUBufferUsage.COPY_SRC, 'y'),
      ];
      if (bias) scratch.push(gpu.filled(bias.slice(), usage, 'bias'));
      try {
        const encoder = gpu.device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        this.encode(pass, { x: scratch[0], y: scratch[1], batch, bias: scratch[2], integer, xDtype });
        pass.end();
        gpu.device.queue.submit([encoder.finish()]);
        if (!blob.rows) return new ArrayBuffer(0);
        return /** @type {ArrayBuffer} */ ((await gpu.read(scratch[1], 0, 4 * blob.rows * batch)).buffer);
      } finally {
        for (const buffer of scratch) gpu.free(buffer);
      }
    });
  }

  destroy() {
    const { gpu } = this.matrix;
    for (const buffer of this.#uniforms.values()) gpu.free(buffer);
    gpu.free(this.#none);
    for (const buffer of [...this.#rooms.values()].flat()) gpu.free(buffer);
    this.#rooms.clear();
    this.#uniforms.clear();
  }
}
