/**
 * Products on WebGPU: y = W x without W ever being decoded to memory. Results are deterministic;
 * integer ones are exact.
 */
import { padVectors, rowQuads } from '../core/vectors.js';
import { Products } from './products.js';

/** Invocations of a workgroup. */
export const GROUP_SIZE = 64;
/** Workgroups along one dimension of a dispatch, at most, everywhere. */
export const GROUP_COLUMNS = 65535;
/** Vectors that a kernel multiplies at a time, in a batch. */
export const TILE = 4;

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

/** @extends {Products<import('./webgpu_store.js').WebGpuStore>} */
export class WebGpuProducts extends Products {
  /** @type {GPUComputePipeline | null} */
  #widening = null;

  async compileWidening() {
    this.#widening = await this.store.gpu.pipeline('widen', 'widen_vectors', {
      group_size: GROUP_SIZE,
    });
  }

  /**
   * Records the product into a compute pass of yours; prepare() must have been awaited.
   * @param {GPUComputePassEncoder} pass @param {ProductArguments} argument
   * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _DESTROYED, _LOST
   */
  encode(pass, argument) {
    const { rows, columns } = this.matrix;
    const quads = rowQuads(columns);
    const { xOffset = 0, yOffset = 0, xStride = 4 * quads, yStride = rows } = argument;
    const { x, y, batch, bias, integer, xDtype } = this.check(argument, xOffset % 4 || xStride % 4
      ? `x from ${xOffset}, every ${xStride} elements, which are no multiples of 4` : '');
    const given = { x, xOffset, xStride };
    const { store } = this;
    if (xDtype === 'F16') { // once for all rows: cheaper than in the products' kernels
      const wide = store.room('widened x', 16 * quads * batch);
      store.gpu.record(pass, /** @type {GPUComputePipeline} */ (this.#widening),
        [store.uniform([quads * batch, GROUP_COLUMNS, quads, xOffset / 4, xStride / 4]), x, wide],
        quads * batch);
      Object.assign(given, { x: wide, xOffset: 0, xStride: 4 * quads });
    }
    store.record(pass, { ...given, y, yOffset, yStride, batch, bias, integer });
  }

  /** @type {import('./matrix.js').Multiply} */
  async multiply(x, batch, bias, integer) {
    const { matrix: { rows, columns }, store: { gpu } } = this;
    const xDtype = x instanceof Uint16Array ? 'F16' : 'F32';
    await this.prepare(integer, xDtype);
    const usage = GPUBufferUsage.STORAGE;
    return gpu.guard(async () => {
      this.matrix.checkAlive();
      const padded = padVectors(x, columns, batch);
      const scratch = [
        gpu.filled(new Uint8Array(padded.buffer, padded.byteOffset, padded.byteLength).slice(), usage, 'x'),
        gpu.buffer(4 * rows * batch, usage | GPUBufferUsage.COPY_SRC, 'y'),
      ];
      if (bias) scratch.push(gpu.filled(bias.slice(), usage, 'bias'));
      try {
        const encoder = gpu.device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        this.encode(pass, { x: scratch[0], y: scratch[1], batch, bias: scratch[2], integer, xDtype });
        pass.end();
        gpu.device.queue.submit([encoder.finish()]);
        if (!rows) return new ArrayBuffer(0);
        return /** @type {ArrayBuffer} */ ((await gpu.read(scratch[1], 0, 4 * rows * batch)).buffer);
      } finally {
        for (const buffer of scratch) gpu.free(buffer);
      }
    });
  }
}
