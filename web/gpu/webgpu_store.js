/** What coded and plain matrices on WebGPU share: small buffers, and how kernels are recorded. */
import { Store } from './store.js';
import { WebGpuProducts } from './webgpu_products.js';

/** @typedef {import('./webgpu_device.js').WebGpu} WebGpu */

/** @extends {Store<GPUBuffer>} */
export class WebGpuStore extends Store {
  /** @type {Map<string, GPUBuffer>} */
  #uniforms = new Map();
  /** Scratch by use, the largest last. @type {Map<string, GPUBuffer[]>} */
  #rooms = new Map();

  /** @param {WebGpu} gpu @param {string} name */
  constructor(gpu, name) {
    super(gpu, name);
    this.gpu = gpu;
    /** Of products, by what they are for. @type {Map<string, GPUComputePipeline>} */
    this.pipelines = new Map();
  }

  /** Keeps memory that is the weights'. @param {GPUBuffer} buffer */
  weigh(buffer) {
    this.bytes += buffer.size;
    return this.keep(buffer);
  }

  /** @param {import('./matrix.js').Matrix} matrix */
  makeProducts(matrix) {
    return new WebGpuProducts(matrix, this);
  }

  /** A uniform buffer with these numbers, made once. @param {(number | {f32: number})[]} fields */
  uniform(fields) {
    const key = JSON.stringify(fields);
    let buffer = this.#uniforms.get(key);
    if (!buffer) {
      const view = new DataView(new ArrayBuffer(Math.ceil(fields.length / 4) * 16));
      fields.forEach((field, i) => {
        if (typeof field === 'number') view.setUint32(4 * i, field, true);
        else view.setFloat32(4 * i, field.f32, true);
      });
      buffer = this.keep(this.gpu.filled(new Uint8Array(view.buffer), GPUBufferUsage.UNIFORM, 'uniform'));
      this.#uniforms.set(key, buffer);
    }
    return buffer;
  }

  /** What is bound where a kernel reads nothing. */
  get none() {
    return this.room('unused', 16);
  }

  /**
   * Scratch that lives until destroy(), since a pass that was recorded may still need it.
   * @param {string} use @param {number} bytes at least
   */
  room(use, bytes) {
    const rooms = this.#rooms.get(use) ?? [];
    const last = rooms[rooms.length - 1];
    if (last && last.size >= bytes) return last;
    const size = Math.max(bytes, 2 * (last?.size ?? 0));
    rooms.push(this.keep(this.gpu.buffer(size, GPUBufferUsage.STORAGE, use)));
    this.#rooms.set(use, rooms);
    return rooms[rooms.length - 1];
  }

  /**
   * Compiles what record() will need, for one kind of product.
   * @param {boolean} integer @returns {Promise<void>}
   */
  async compile(integer) {
    throw new Error(`no kernels of ${this.name}, ${integer}`);
  }

  /**
   * Records a product.
   * @param {GPUComputePassEncoder} pass
   * @param {Required<Omit<import('./webgpu_products.js').ProductArguments, 'bias' | 'xDtype'>>
   *   & {bias?: GPUBuffer}} product
   */
  record(pass, product) {
    throw new Error(`no product of ${this.name}, ${pass.label}, ${product.batch}`);
  }
}
