/**
 * A Llama's small operations on WebGPU: llama.wgsl. A run is one command
 * buffer, and only the vectors asked for are read back.
 */
import { HanselError } from '../core/errors.js';
import { rowQuads } from '../core/vectors.js';
import { MAX_BATCH } from '../core/vectors.js';
import { GROUP_SIZE } from '../gpu/webgpu_products.js';
import { LLAMA_WGSL } from './llama_shaders.js';
import { rotations } from './llama_wasm.js';

/** Vectors that products take at a time: more of them would cost the same. */
const TILE = 4;

/** @typedef {{buffer: GPUBuffer, width: number}} Vectors each padded to a multiple of four elements */

/** As WasmOps. Calls between prepare() and run() are free of waiting. */
export class WebGpuOps {
  count = 0;
  position = 0;
  /** @type {GPUBuffer[]} */
  #buffers = [];
  /** @type {Map<string, GPUComputePipeline>} */
  #pipelines = new Map();
  /* Set by prepare(). */
  /** @type {GPUBuffer} */
  // @ts-expect-error
  #place;
  /** @type {GPUBuffer} */
  // @ts-expect-error
  #scores;
  /** @type {GPUBuffer} */
  // @ts-expect-error
  #rotations;
  /** Vectors on their way to a cache. @type {Vectors} */
  // @ts-expect-error
  #fresh;
  /** @type {GPUBuffer} */
  // @ts-expect-error
  #staging;
  /** @type {GPUComputePassEncoder} */
  // @ts-expect-error set by run()
  #pass;
  #made = 0;

  /**
   * @param {import('../webgpu.js').WebGpu} backend
   * @param {import('./llama_config.js').LlamaConfig} config @param {number} context
   */
  constructor(backend, config, context) {
    this.backend = backend;
    this.device = backend.device;
    this.config = config;
    this.context = context;
  }

  /** @param {number} bytes @param {GPUBufferUsageFlags} usage @param {string} label */
  #buffer(bytes, usage, label) {
    if (bytes > this.backend.bindingBytes) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the vectors do not fit a binding', {
        expected: `at most ${this.backend.bindingBytes} bytes`, got: bytes,
      });
    }
    const buffer = this.backend.buffer(bytes, usage, `llama ${label}`);
    this.#buffers.push(buffer);
    return buffer;
  }

  /** Compiles the shaders, and makes room for what only they know. */
  async prepare() {
    const { headDim, heads, keyHeads, hidden, intermediate, epsilon, vocab } = this.config;
    const { STORAGE, UNIFORM, COPY_DST, MAP_READ } = GPUBufferUsage;
    this.#place = this.#buffer(8, UNIFORM | COPY_DST, 'place');
    this.#scores = this.#buffer(4 * MAX_BATCH * heads * this.context, STORAGE, 'scores');
    this.#rotations = this.weights(rotations(this.config, this.context)).buffer;
    this.#fresh = this.vectors(keyHeads * headDim);
    this.#staging = this.#buffer(16 * MAX_BATCH * rowQuads(vocab), MAP_READ | COPY_DST, 'staging');
    const [queries, keys] = [heads * headDim, keyHeads * headDim];
    for (const [name, entry, width, isCache] of /** @type {const} */ ([
      ['norm', 'norm', hidden, 0], ['rotate', 'rotate', queries, 0],
      ['rotateIntoCache', 'rotate', keys, 1], ['store', 'store', keys, 1],
      ['score', 'score', 4, 0], ['blend', 'blend', queries, 0], ['gate', 'gate', intermediate, 0],
      ['add', 'add', hidden, 0],
    ])) {
      this.#pipelines.set(name, await this.backend.guard(() => this.backend.pipeline(
        LLAMA_WGSL, entry, {
          group_size: GROUP_SIZE, width, head_dim: headDim, heads, key_heads: keyHeads,
          context: this.context, is_cache: isCache, epsilon,
        })));
    }
  }

  /** @param {number} width @returns {Vectors} */
  vectors(width) {
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    const bytes = 16 * MAX_BATCH * rowQuads(width);
    return { buffer: this.#buffer(bytes, STORAGE | COPY_DST | COPY_SRC, 'vectors'), width };
  }

  /** @param {number} width @returns {Vectors} */
  cache(width) {
    const buffer = this.#buffer(16 * this.context * rowQuads(width), GPUBufferUsage.STORAGE, 'cache');
    return { buffer, width };
  }

  /** @param {Float32Array<ArrayBuffer>} data @returns {Vectors} */
  weights(data) {
    const { STORAGE, COPY_DST } = GPUBufferUsage;
    const buffer = this.#buffer(data.byteLength, STORAGE | COPY_DST, 'weights');
    this.backend.device.queue.writeBuffer(buffer, 0, data);
    return { buffer, width: data.length };
  }

  /**
   * @param {{count: number, position: number}} place @param {() => Promise<Vectors>} body
   * @returns {Promise<Float32Array>}
   */
  async run({ count, position }, body) {
    const { backend, device } = this;
    if (backend.device !== device) {
      throw new HanselError('HANSEL_ERR_LOST', 'the GPU device was lost; load again');
    }
    this.count = count;
    this.position = position;
    return backend.guard(async () => {
      device.queue.writeBuffer(this.#place, 0, Uint32Array.of(count, position));
      const encoder = device.createCommandEncoder();
      this.#pass = encoder.beginComputePass();
      const { buffer, width } = await body();
      this.#pass.end();
      const staging = this.#staging;
      const stride = 4 * rowQuads(width);
      const bytes = 4 * this.#made * stride;
      encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(GPUMapMode.READ, 0, bytes);
      const padded = new Float32Array(staging.getMappedRange(0, bytes).slice(0));
      staging.unmap();
      if (stride === width) return padded;
      const found = new Float32Array(this.#made * width);
      for (let v = 0; v < this.#made; v++) {
        found.set(padded.subarray(v * stride, v * stride + width), v * width);
      }
      return found;
    });
  }

  /** @param {Vectors} dst @param {Float32Array<ArrayBuffer>} data unpadded */
  write({ buffer, width }, data) {
    const { queue } = this.backend.device;
    if (width % 4 === 0) {
      queue.writeBuffer(buffer, 0, data);
      return;
    }
    for (let v = 0; v < this.count; v++) {
      queue.writeBuffer(buffer, 16 * v * rowQuads(width), data, v * width, width);
    }
  }

  /** @param {string} name @param {number} invocations @param {...GPUBuffer} buffers */
  #record(name, invocations, ...buffers) {
    this.backend.record(this.#pass, /** @type {GPUComputePipeline} */ (this.#pipelines.get(name)),
      [this.#place, ...buffers], invocations);
  }

  /** @param {Vectors} dst @param {any} matrix @param {Vectors} src @param {number} [first] */
  multiply({ buffer: y, width }, { products }, { buffer: x, width: columns }, first = 0) {
    this.#made = this.count - first;
    // Whole tiles: there are fewer batches then that products keep a buffer for.
    const batch = this.#made === 1 ? 1 : Math.ceil(this.#made / TILE) * TILE;
    products.encode(this.#pass, {
      x, y, batch, xOffset: 4 * first * rowQuads(columns), yStride: 4 * rowQuads(width),
    });
  }

  /** @param {Vectors} cache @param {any} matrix @param {Vectors} src */
  multiplyIntoCache(cache, matrix, src) {
    // Not at once: products keep a buffer for each offset in y that they have seen.
    const fresh = this.#fresh;
    this.multiply(fresh, matrix, src);
    this.#record('store', this.count * rowQuads(cache.width), cache.buffer, fresh.buffer);
  }

  /** @param {Vectors} dst @param {Vectors} src @param {Vectors} weights */
  norm({ buffer, width }, src, weights) {
    this.#record('norm', this.count * rowQuads(width), buffer, src.buffer, weights.buffer);
  }

  /** @param {Vectors} dst @param {Vectors} src */
  rotate({ buffer, width }, src) {
    this.#record('rotate', this.count * width, buffer, src.buffer, this.#rotations);
  }

  /** @param {Vectors} cache @param {Vectors} src */
  rotateIntoCache({ buffer, width }, src) {
    this.#record('rotateIntoCache', this.count * width, buffer, src.buffer, this.#rotations);
  }

  /** @param {Vectors} dst @param {Vectors} queries @param {Vectors} keys @param {Vectors} values */
  attend({ buffer, width }, queries, keys, values) {
    const scores = this.count * this.config.heads * (this.position + this.count);
    this.#record('score', scores, this.#scores, queries.buffer, keys.buffer);
    this.#record('blend', this.count * width, buffer, this.#scores, values.buffer);
  }

  /** @param {Vectors} dst @param {Vectors} gates @param {Vectors} ups */
  gate({ buffer, width }, gates, ups) {
    this.#record('gate', this.count * rowQuads(width), buffer, gates.buffer, ups.buffer);
  }

  /** @param {Vectors} dst @param {Vectors} src */
  add({ buffer, width }, src) {
    this.#record('add', this.count * rowQuads(width), buffer, src.buffer);
  }

  destroy() {
    for (const buffer of this.#buffers) this.backend.free(buffer);
    this.#buffers = [];
  }
}
