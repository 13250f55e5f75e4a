/**
 * Weights on WebGPU that are not coded: tensors that passed through, decoded ones, your own.
 * Uploaded as they lie; products take the fastest layout known.
 */
import { HanselError } from '../core/errors.js';
import { KINDS, checkPitch, readRows } from './plain_rows.js';
import { isFallback } from './renderer.js';
import { GROUP_COLUMNS, GROUP_SIZE, TILE } from './webgpu_products.js';
import { WebGpuStore } from './webgpu_store.js';

/** @typedef {import('./webgpu_device.js').WebGpu} WebGpu */
/** @typedef {import('./plain_rows.js').Layout} Layout */
/** @typedef {import('./plain_rows.js').PlainRows} PlainRows */
/** @typedef {{buffer: GPUBuffer, firstRow: number, rows: number}} PlainPart */
/**
 * @typedef {import('./plain_rows.js').PlainDescription & {buffer: GPUBuffer, rowPitch?: number,
 *   layout?: Layout}} PlainBuffer
 *   buffer: usage STORAGE (and COPY_SRC, for decode()); stays yours. rowPitch: bytes from row to row,
 *   a multiple of 4 (of 16 is faster); default: rows padded to 4 bytes, as Matrix.buffer has them.
 *   Padding can hold anything. layout: by default the adapter's
 */

/** The layout for an adapter. @param {GPUAdapterInfo | null} info @returns {Layout} */
export function pickLayout(info) {
  return isFallback(info) ? 'invocation' : 'group';
}

/** Rows of an invocation, for each of which it loads x once: 1 or 4. */
const ROWS_EACH = 4;
/** Groups that a GPU is to be given, at least, where a group shares its rows. */
const LEAST_GROUPS = 512;

export class WebGpuPlain extends WebGpuStore {
  /** @type {PlainPart[]} */
  parts = [];
  /** Invocations that share rows. */
  #rowLanes;
  /** Rows that they take with a single vector. */
  #rowsEach;

  /** @param {WebGpu} gpu @param {string} name @param {PlainRows} plain */
  constructor(gpu, name, plain) {
    super(gpu, name);
    this.form = /** @type {const} */ ('plain');
    this.plain = plain;
    this.layout = plain.layout ?? pickLayout(gpu.info);
    // No more invocations than a row has work for.
    const loads = Math.max(1, Math.ceil(
      plain.columns * KINDS[plain.dtype].bytes / (plain.rowPitch % 16 ? 4 : 16)));
    this.#rowLanes = this.layout === 'group'
      ? Math.min(GROUP_SIZE, 2 ** Math.ceil(Math.log2(loads))) : 1;
    const groups = plain.rows * this.#rowLanes / (ROWS_EACH * GROUP_SIZE);
    this.#rowsEach = this.layout === 'group' && groups < LEAST_GROUPS ? 1 : ROWS_EACH;
  }

  /**
   * A buffer of the user's.
   * @param {WebGpu} gpu @param {PlainBuffer} description
   * @returns {WebGpuPlain} free() leaves the buffer alone
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT
   */
  static inBuffer(gpu, description) {
    const { buffer, dtype, rows, columns, layout, scale = 1, name = 'plain matrix' } = description;
    const rowPitch = checkPitch(description, buffer.size);
    if (buffer.size > gpu.bindingBytes) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the buffer is larger than a binding', {
        expected: `at most ${gpu.bindingBytes} bytes`, got: buffer.size, where: name,
      });
    }
    const store = new WebGpuPlain(gpu, name, { dtype, rows, columns, rowPitch, layout, scale });
    if (rows) store.parts.push({ buffer, firstRow: 0, rows });
    return store;
  }

  /** Makes room. @returns {number} rows of a part, but for the last */
  allocate() {
    const { gpu, name, plain: { rows, rowPitch } } = this;
    const partRows = Math.min(rows, Math.floor(gpu.bindingBytes / Math.max(rowPitch, 1)));
    if (rows && !partRows) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'a row is larger than the GPU allows', {
        expected: `at most ${gpu.bindingBytes} bytes`, got: rowPitch, where: name,
      });
    }
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    for (let firstRow = 0; firstRow < rows; firstRow += partRows) {
      const count = Math.min(partRows, rows - firstRow);
      const buffer = this.weigh(
        gpu.buffer(count * rowPitch, STORAGE | COPY_DST | COPY_SRC, 'plain weights'));
      this.parts.push({ buffer, firstRow, rows: count });
    }
    return partRows;
  }

  /** @param {number} row @param {number} at byte of the row @param {Uint8Array} bytes */
  write(row, at, bytes) {
    const { buffer, firstRow } = this.parts[Math.floor(row / this.parts[0].rows)];
    this.gpu.device.queue.writeBuffer(buffer, (row - firstRow) * this.plain.rowPitch + at,
      /** @type {Uint8Array<ArrayBuffer>} */ (bytes));
  }

  /** @type {import('./matrix.js').MatrixStore['read']} */
  read(target, first, count, out) {
    const { gpu } = this;
    return readRows(this.plain, this.parts, ({ buffer }, start, bytes) => gpu.guard(() => {
      this.checkAlive();
      return gpu.read(buffer, start, Math.min(bytes, buffer.size - start));
    }), target, first, count, out);
  }

  /** @type {WebGpuStore['compile']} */
  async compile(integer) {
    const { gpu, plain: { dtype, rowPitch } } = this;
    for (const tile of integer ? [1] : [1, TILE]) {
      const constants = {
        group_size: GROUP_SIZE, row_lanes: this.#rowLanes, dtype: KINDS[dtype].code, tile,
        is_integer: integer ? 1 : 0, wide: rowPitch % 16 ? 0 : 1,
        rows_each: tile === 1 ? this.#rowsEach : 1,
      };
      this.pipelines.set(`${integer} ${tile}`,
        await gpu.pipeline('matvec_plain', 'matvec_rows', constants));
    }
  }

  /** @type {WebGpuStore['record']} */
  record(pass, { x, y, xOffset, yOffset, xStride, yStride, batch, bias, integer }) {
    const { gpu, none, plain: { columns, rowPitch, scale } } = this;
    const tile = integer || batch === 1 ? 1 : TILE;
    const pipeline = /** @type {GPUComputePipeline} */ (this.pipelines.get(`${integer} ${tile}`));
    for (const { buffer, firstRow, rows } of this.parts) {
      for (let first = 0; first < batch; first += tile) {
        const uniform = this.uniform([firstRow, rows, GROUP_COLUMNS, columns, rowPitch / 4, first,
          batch, xOffset / 4, xStride / 4, yOffset, yStride, bias ? 1 : 0, { f32: scale }]);
        gpu.record(pass, pipeline, [uniform, buffer, buffer, integer ? none : x,
          integer ? x : none, bias ?? none, y],
        Math.ceil(rows / (tile === 1 ? this.#rowsEach : 1)) * this.#rowLanes);
      }
    }
  }
}
