/** A Llama's small operations on the CPU: plain loops, and the reference for the shaders. */
import { MAX_BATCH } from '../core/vectors.js';

/** @typedef {{data: Float32Array, width: number}} Vectors one after the other */

/**
 * Cosines and sines of RoPE, position after position: headDim / 2 of each.
 * @param {{headDim: number, theta: number}} config @param {number} context
 */
export function rotations({ headDim, theta }, context) {
  const half = headDim / 2;
  const table = new Float32Array(context * headDim);
  for (let position = 0; position < context; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * theta ** (-i / half);
      table[position * headDim + i] = Math.cos(angle);
      table[position * headDim + half + i] = Math.sin(angle);
    }
  }
  return table;
}

/** What llama_webgpu.js and llama_webgl.js do, too, method for method. */
export class WasmOps {
  /**
   * @param {import('../gpu/wasm_device.js').WasmBackend} backend
   * @param {import('./llama_config.js').LlamaConfig} config @param {number} context
   */
  constructor(backend, config, context) {
    this.backend = backend;
    this.config = config;
    this.context = context;
    this.rotations = rotations(config, context);
    /** Of this run: vectors, and the first one's position. */
    this.count = 0;
    this.position = 0;
  }

  async prepare() {}

  /** Room for a run's vectors. @param {number} width @returns {Vectors} */
  vectors(width) {
    return { data: new Float32Array(MAX_BATCH * width), width };
  }

  /** Room for a vector of each position. @param {number} width @returns {Vectors} */
  cache(width) {
    return { data: new Float32Array(this.context * width), width };
  }

  /** @param {Float32Array} data of a norm @returns {Vectors} */
  weights(data) {
    return { data, width: data.length };
  }

  /**
   * @param {{count: number, position: number}} place @param {() => Promise<Vectors>} body calls the
   *   operations below, and returns the vectors to read
   * @returns {Promise<Float32Array>} as many of them as the last product made
   */
  async run({ count, position }, body) {
    this.count = count;
    this.position = position;
    const { data, width } = await body();
    return data.slice(0, this.made * width);
  }

  /** Vectors that the last product made. */
  made = 0;

  /** Where in its sequence a vector of this run stands. @param {number} index */
  positionOf(index) {
    return this.position + index;
  }

  /** Where in a cache its sequence begins, in vectors. @param {number} index */
  startOf(index) { // eslint-disable-line no-unused-vars
    return 0;
  }

  /** @param {Vectors} dst @param {Float32Array} data */
  write({ data: dst }, data) {
    dst.set(data);
  }

  /** @param {Vectors} dst @param {any} matrix @param {Vectors} src @param {number} [first] of src */
  async multiply(dst, matrix, src, first = 0) {
    this.made = this.count - first;
    const x = src.data.subarray(first * src.width, this.count * src.width);
    dst.data.set(await matrix.matmul(x, this.made));
  }

  /** @param {Vectors} cache @param {any} matrix @param {Vectors} src */
  async multiplyIntoCache(cache, matrix, src) {
    const { data, width } = cache;
    const y = await matrix.matmul(src.data.subarray(0, this.count * src.width), this.count);
    for (let i = 0; i < this.count; i++) {
      data.set(y.subarray(i * width, (i + 1) * width), (this.startOf(i) + this.positionOf(i)) * width);
    }
  }

  /** RMSNorm. @param {Vectors} dst @param {Vectors} src @param {Vectors} weights */
  norm({ data: dst, width }, { data: src }, { data: weights }) {
    for (let at = 0; at < this.count * width; at += width) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += src[at + i] * src[at + i];
      const scale = 1 / Math.sqrt(sum / width + this.config.epsilon);
      for (let i = 0; i < width; i++) dst[at + i] = src[at + i] * scale * weights[i];
    }
  }

  /** RoPE: element i of a head turns with element i + headDim / 2. @param {Vectors} dst
   * @param {Vectors} src */
  rotate(dst, src) {
    this.#rotate(dst.data, src, (i) => i * src.width);
  }

  /** @param {Vectors} cache @param {Vectors} src */
  rotateIntoCache(cache, src) {
    this.#rotate(cache.data, src, (i) => (this.startOf(i) + this.positionOf(i)) * src.width);
  }

  /** @param {Float32Array} dst @param {Vectors} src @param {(index: number) => number} placeOf in dst */
  #rotate(dst, { data: src, width }, placeOf) {
    const { headDim } = this.config;
    const half = headDim / 2;
    for (let at = 0; at < this.count * width; at += headDim) {
      const index = Math.floor(at / width);
      const turn = this.positionOf(index) * headDim;
      const to = placeOf(index) + at % width;
      for (let i = 0; i < half; i++) {
        const [cos, sin] = [this.rotations[turn + i], this.rotations[turn + half + i]];
        const [a, b] = [src[at + i], src[at + half + i]];
        dst[to + i] = a * cos - b * sin;
        dst[to + half + i] = b * cos + a * sin;
      }
    }
  }

  /** Causal attention. @param {Vectors} dst @param {Vectors} queries @param {Vectors} keys
   * @param {Vectors} values */
  attend({ data: dst, width }, { data: queries }, { data: keys, width: keyWidth }, { data: values }) {
    const { headDim, heads, keyHeads } = this.config;
    const scores = new Float64Array(this.context);
    const sums = new Float64Array(headDim);
    for (let at = 0; at < this.count * width; at += headDim) {
      const index = Math.floor(at / width);
      const seen = this.positionOf(index) + 1;
      const keyHead = this.startOf(index) * keyWidth + Math.floor(at % width / headDim / (heads / keyHeads)) * headDim;
      let most = -Infinity;
      for (let p = 0, key = keyHead; p < seen; p++, key += keyWidth) {
        let [even, odd] = [0, 0];
        for (let i = 0; i < headDim; i += 2) {
          even += queries[at + i] * keys[key + i];
          odd += queries[at + i + 1] * keys[key + i + 1];
        }
        scores[p] = (even + odd) / Math.sqrt(headDim);
        most = Math.max(most, scores[p]);
      }
      let total = 0;
      for (let p = 0; p < seen; p++) total += scores[p] = Math.exp(scores[p] - most);
      sums.fill(0);
      for (let p = 0, value = keyHead; p < seen; p++, value += keyWidth) {
        const share = scores[p];
        for (let i = 0; i < headDim; i++) sums[i] += share * values[value + i];
      }
      for (let i = 0; i < headDim; i++) dst[at + i] = sums[i] / total;
    }
  }

  /** SwiGLU. @param {Vectors} dst @param {Vectors} gates @param {Vectors} ups */
  gate({ data: dst, width }, { data: gates }, { data: ups }) {
    for (let i = 0; i < this.count * width; i++) {
      dst[i] = gates[i] / (1 + Math.exp(-gates[i])) * ups[i];
    }
  }

  /** @param {Vectors} dst @param {Vectors} src */
  add({ data: dst, width }, { data: src }) {
    for (let i = 0; i < this.count * width; i++) dst[i] += src[i];
  }

  destroy() {}
}
