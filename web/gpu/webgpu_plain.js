/**
 * Matrices on WebGPU that are not coded: tensors that passed through, decoded
 * ones, your own. Uploaded as they lie; products take the fastest layout known.
 */
import { HanselError } from '../core/errors.js';
import { checkFloat, checkInteger, checkXDtype, rowQuads } from '../core/vectors.js';
import {
  KINDS, PlainBase, RowUpload, checkPitch, gatherRows, plainTensor, pushBytes,
} from './plain_matrix.js';
import { isSoftware } from './renderer.js';
import { GROUP_COLUMNS, GROUP_SIZE, Products } from './webgpu_products.js';

const TILE = 4;

/** @typedef {import('./webgpu_device.js').WebGpu} WebGpu */
/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('./plain_matrix.js').Layout} Layout */
/** @typedef {import('./plain_matrix.js').PlainDescription} PlainDescription */
/** @typedef {{buffer: GPUBuffer, firstRow: number, rows: number}} PlainPart */
/**
 * @typedef {PlainDescription & {buffer: GPUBuffer, rowPitch?: number, layout?: Layout}} PlainBuffer
 *   buffer: usage STORAGE (and COPY_SRC, for decode()); stays yours. rowPitch: bytes from row to row,
 *   a multiple of 4 (of 16 is faster); default: rows padded to 4 bytes, as WebGpuMatrix.buffer has
 *   them. Padding can hold anything. layout: by default the adapter's
 */

/** The layout for an adapter. @param {GPUAdapterInfo | null} info @returns {Layout} */
export function pickLayout(info) {
  const { vendor, architecture, device, description } = info ?? {};
  return info?.isFallbackAdapter || isSoftware([vendor, architecture, device, description].join(' '))
    ? 'invocation' : 'group';
}

/**
 * WebGpu.load() for tensors that were passed through: their bytes go to the GPU as they arrive,
 * unconverted, each row padded to 16 bytes.
 * @param {WebGpu} gpu @param {Model} model @param {string} name
 * @param {import('./plain_matrix.js').PlainOptions} [options]
 * @returns {Promise<PlainMatrix>}
 */
export async function loadWebGpuPlain(gpu, model, name, options = {}) {
  const { dtype, rows, columns, rowBytes, rowPitch } = plainTensor(model, name);
  await gpu.ready();
  const partRows = Math.min(rows, Math.floor(gpu.bindingBytes / Math.max(rowPitch, 1)));
  if (rows && !partRows) {
    throw new HanselError('HANSEL_ERR_LIMIT', 'a row is larger than the GPU allows', {
      expected: `at most ${gpu.bindingBytes} bytes`, got: rowPitch, where: name,
    });
  }
  const { layout } = options;
  const matrix = new PlainMatrix(gpu, { dtype, rows, columns, rowPitch, layout, name });
  try {
    matrix.isOwner = true;
    matrix.model = model;
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    await gpu.guard(() => {
      for (let firstRow = 0; firstRow < rows; firstRow += partRows) {
        const count = Math.min(partRows, rows - firstRow);
        const buffer = gpu.buffer(count * rowPitch, STORAGE | COPY_DST | COPY_SRC, 'plain weights');
        matrix.parts.push({ buffer, firstRow, rows: count });
      }
    });
    const upload = new RowUpload(rowBytes, rowPitch, partRows, (row, at, bytes) => {
      const { buffer, firstRow } = matrix.parts[Math.floor(row / partRows)];
      gpu.device.queue.writeBuffer(buffer, (row - firstRow) * rowPitch + at,
        /** @type {Uint8Array<ArrayBuffer>} */ (bytes));
    });
    await pushBytes(model, name, options, (bytes) => gpu.guard(() => upload.push(bytes)));
    return matrix;
  } catch (error) {
    matrix.destroy();
    throw error;
  }
}

/** A matrix on the GPU that is not coded. Made by WebGpu.load() or PlainMatrix.fromBuffer(). */
export class PlainMatrix extends PlainBase {
  /** @type {PlainPart[]} */
  parts = [];
  /** Whether the buffers are destroyed with the matrix. */
  isOwner = false;

  /**
   * @param {WebGpu} gpu
   * @param {Omit<PlainBuffer, 'buffer'> & {rowPitch: number}} description
   */
  constructor(gpu, description) {
    super(description);
    this.gpu = gpu;
    this.layout = description.layout ?? pickLayout(gpu.info);
    /** y = W x, for your own command encoders: prepare() and encode() as for coded matrices. */
    this.products = new PlainProducts(this);
  }

  /**
   * A matrix in a buffer of yours, or of a decoded tensor: `PlainMatrix.fromBuffer(gpu, { buffer:
   * w.buffer, dtype: 'I8', rows: w.rows, columns: w.columns, scale: w.step })`.
   * @param {WebGpu} gpu @param {PlainBuffer} description
   * @returns {PlainMatrix} destroy() leaves the buffer alone
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT
   */
  static fromBuffer(gpu, description) {
    const { buffer, rows, name = 'plain matrix' } = description;
    const rowPitch = checkPitch(description, buffer.size);
    if (buffer.size > gpu.bindingBytes) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the buffer is larger than a binding', {
        expected: `at most ${gpu.bindingBytes} bytes`, got: buffer.size, where: name,
      });
    }
    const matrix = new PlainMatrix(gpu, { ...description, rowPitch });
    if (rows) matrix.parts.push({ buffer, firstRow: 0, rows });
    return matrix;
  }

  /** @type {PlainBase['multiply']} */
  async multiply(x, batch, bias, integer) {
    return this.products.run(x, batch, bias, integer);
  }

  /** @type {PlainBase['readRows']} */
  async readRows(firstRow, count) {
    const { gpu, parts, rowPitch } = this;
    return gatherRows(parts, rowPitch, firstRow, count, ({ buffer }, start, bytes) => (
      gpu.guard(() => gpu.read(buffer, start, Math.min(bytes, buffer.size - start)))));
  }

  destroy() {
    super.destroy();
    if (this.isOwner) for (const { buffer } of this.parts) this.gpu.free(buffer);
    this.products.destroy();
    this.parts = [];
  }
}

/** The products of one plain matrix: those of coded ones, but for the kernel. */
class PlainProducts extends Products {
  /** @type {Map<string, GPUBuffer>} */
  #uniforms = new Map();
  /** @type {Map<string, GPUComputePipeline>} */
  #pipelines = new Map();
  /** @type {GPUBuffer | null} */
  #none = null;
  #rowLanes;

  /** @param {PlainMatrix} plain */
  constructor(plain) {
    super(/** @type {any} */ (plain));
    const { dtype, columns } = plain;
    this.plain = plain;
    // No more invocations than a row has work for.
    const { bytes } = KINDS[dtype];
    const pieces = Math.max(1, Math.ceil(columns * bytes / (plain.rowPitch % 16 ? 4 : 16)));
    this.#rowLanes = plain.layout === 'group'
      ? Math.min(GROUP_SIZE, 2 ** Math.ceil(Math.log2(pieces))) : 1;
  }

  /** Compiles what encode() will need. @param {boolean} integer @param {'F32' | 'F16'} [xDtype] */
  async prepare(integer, xDtype = 'F32') {
    const { gpu, dtype, rowPitch, name } = this.plain;
    checkXDtype(xDtype, integer, name);
    await gpu.guard(async () => {
      if (xDtype === 'F16') await this.prepareWidening();
      for (const tile of integer ? [1] : [1, TILE]) {
        const constants = {
          group_size: GROUP_SIZE, row_lanes: this.#rowLanes, dtype: KINDS[dtype].code, tile,
          is_integer: integer ? 1 : 0, wide: rowPitch % 16 ? 0 : 1,
        };
        this.#pipelines.set(`${integer} ${tile}`,
          await gpu.pipeline('matvec_plain', 'matvec_rows', constants));
      }
    });
  }

  /**
   * Records the product into a compute pass of yours; prepare() must have been awaited.
   * @param {GPUComputePassEncoder} pass
   * @param {import('./webgpu_products.js').ProductArguments} argument
   */
  encode(pass, argument) {
    const { integer = false, xDtype = 'F32' } = argument;
    const { plain } = this;
    const { gpu, rows, columns, name } = plain;
    plain.checkAlive();
    checkXDtype(xDtype, integer, name);
    const { x, y, xOffset = 0, yOffset = 0, xStride, yStride, batch = 1, bias } = xDtype === 'F16'
      ? this.widen(pass, argument) : argument;
    (integer ? checkInteger : checkFloat)(plain.blob, name);
    const stride = xStride ?? 4 * rowQuads(columns);
    if (xOffset % 4 || stride % 4 || (integer && bias)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible product', {
        expected: 'xOffset and xStride multiples of 4, no bias with integer',
        got: `${xOffset}, ${stride}, ${bias ? 'bias' : 'no bias'}`, where: name,
      });
    }
    const tile = integer || batch === 1 ? 1 : TILE;
    const pipeline = this.#pipelines.get(`${integer} ${tile}`);
    if (!pipeline) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'await prepare() before encode()', {
        where: name,
      });
    }
    this.#none ??= gpu.buffer(16, GPUBufferUsage.STORAGE, 'unused');
    const none = this.#none;
    for (const { buffer, firstRow, rows: count } of plain.parts) {
      for (let first = 0; first < batch; first += tile) {
        const uniform = this.#uniform([firstRow, count, GROUP_COLUMNS, columns, plain.rowPitch / 4,
          first, batch, xOffset / 4, stride / 4, yOffset, yStride ?? rows, bias ? 1 : 0],
        plain.scale);
        gpu.record(pass, pipeline, [uniform, buffer, buffer, integer ? none : x,
          integer ? x : none, bias ?? none, y], count * this.#rowLanes);
      }
    }
  }

  /** A uniform buffer with struct Plain, made once.
   * @param {number[]} fields @param {number} scale */
  #uniform(fields, scale) {
    const { gpu } = this.plain;
    const key = String(fields);
    let buffer = this.#uniforms.get(key);
    if (!buffer) {
      const data = new Uint32Array(16);
      data.set(fields);
      new Float32Array(data.buffer)[fields.length] = scale;
      buffer = gpu.filled(data, GPUBufferUsage.UNIFORM, 'uniform');
      this.#uniforms.set(key, buffer);
    }
    return buffer;
  }

  destroy() {
    const { gpu } = this.plain;
    for (const buffer of this.#uniforms.values()) gpu.free(buffer);
    gpu.free(this.#none);
    this.#uniforms.clear();
    super.destroy();
  }
}
