/**
 * A Llama's small operations on WebGL2: llama.frag.glsl, a draw each, from
 * texture to texture; only the vectors asked for are read back.
 */
import { HanselError } from '../core/errors.js';
import { rowQuads } from '../core/vectors.js';
import { MAX_BATCH, padVectors } from '../core/vectors.js';
import { LLAMA_GLSL } from './llama_shaders.js';
import { rotations } from './llama_wasm.js';

const KERNELS = ['norm', 'rotate', 'score', 'blend', 'gate', 'add'];

/**
 * @typedef {object} Vectors each padded to whole texels
 * @property {WebGLTexture} texture @property {number} width in elements
 * @property {WebGLTexture} [spare] what add() writes, before the two change places
 */
/** @param {Float32Array} floats @returns {Uint32Array} */
const bitsOf = ({ buffer, byteOffset, length }) => new Uint32Array(buffer, byteOffset, length);

/** As WasmOps. */
export class WebGlOps {
  count = 0;
  position = 0;
  /** @type {WebGLTexture[]} */
  #textures = [];
  /** @type {Map<string, import('../gpu/webgl_context.js').Program>} */
  #programs = new Map();
  #made = 0;
  /* Set by prepare(). */
  /** @type {Vectors} */
  // @ts-expect-error
  #scores;
  /** @type {Vectors} */
  // @ts-expect-error
  #rotations;

  /**
   * @param {import('../webgl.js').WebGl} backend
   * @param {import('./llama_config.js').LlamaConfig} config @param {number} context
   */
  constructor(backend, config, context) {
    this.backend = backend;
    this.epoch = backend.epoch;
    this.config = config;
    this.context = context;
    const { headDim, heads, keyHeads, epsilon } = config;
    this.sizes = {
      'run.head_dim': headDim, 'run.heads': heads, 'run.key_heads': keyHeads,
      'run.context': context, 'run.epsilon_bits': bitsOf(Float32Array.of(epsilon))[0],
    };
  }

  /** Compiles the shaders, and makes room for what only they know. */
  async prepare() {
    // The scores of a head are padded to whole texels.
    this.#scores = this.vectors(this.config.heads * 4 * rowQuads(this.context));
    this.#rotations = this.weights(rotations(this.config, this.context));
    await this.backend.guard(async () => {
      for (const [KERNEL, name] of KERNELS.entries()) {
        this.#programs.set(name, await this.backend.program(LLAMA_GLSL, { KERNEL }));
      }
    });
  }

  /** @param {number} texels */
  #texture(texels) {
    const { backend } = this;
    if (texels > backend.arrayTexels) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the vectors do not fit a texture', {
        expected: `at most ${4 * backend.arrayTexels} elements`, got: 4 * texels,
      });
    }
    const texture = backend.array(texels, backend.gl.RGBA32UI);
    this.#textures.push(texture);
    return texture;
  }

  /** @param {number} width @returns {Vectors} */
  vectors(width) {
    return { texture: this.#texture(MAX_BATCH * rowQuads(width)), width };
  }

  /** @param {number} width @returns {Vectors} */
  cache(width) {
    return { texture: this.#texture(this.context * rowQuads(width)), width };
  }

  /** @param {Float32Array} data @returns {Vectors} */
  weights(data) {
    const texture = this.#texture(rowQuads(data.length));
    this.backend.write(texture, 4, 0, bitsOf(padVectors(data, data.length, 1)));
    return { texture, width: data.length };
  }

  /**
   * @param {{count: number, position: number}} place @param {() => Promise<Vectors>} body
   * @returns {Promise<Float32Array>}
   */
  async run({ count, position }, body) {
    const { backend } = this;
    this.count = count;
    this.position = position;
    backend.checkLost(this.epoch);
    return backend.guard(async () => {
      const { texture, width } = await body();
      const steps = rowQuads(width);
      const padded = await backend.readArray(texture, 0, this.#made * steps);
      const found = new Uint32Array(this.#made * width);
      for (let v = 0; v < this.#made; v++) {
        found.set(padded.subarray(4 * v * steps, 4 * v * steps + width), v * width);
      }
      return new Float32Array(found.buffer);
    });
  }

  /** @param {Vectors} dst @param {Float32Array} data */
  write({ texture, width }, data) {
    this.backend.write(texture, 4, 0, bitsOf(padVectors(data, width, this.count)));
  }

  /** @param {string} name @param {WebGLTexture} dst @param {number} width @param {Vectors} values
   * @param {Vectors} more @param {number} [start] texel */
  #draw(name, dst, width, values, more, start = 0) {
    this.backend.fill(/** @type {import('../gpu/webgl_context.js').Program} */ (this.#programs.get(name)),
      { values: values.texture, more: more.texture }, {
        ...this.sizes, 'run.count': this.count, 'run.position': this.position, 'run.width': width,
        'run.start': start,
      }, dst, start, this.count * rowQuads(width));
  }

  /** @param {Vectors} dst @param {any} matrix @param {Vectors} src @param {number} [first] */
  multiply({ texture: y }, { products }, { texture: x, width }, first = 0) {
    this.#made = this.count - first;
    products.encode({ x, y, batch: this.#made, xOffset: first * rowQuads(width) });
  }

  /** @param {Vectors} cache @param {any} matrix @param {Vectors} src */
  multiplyIntoCache({ texture: y, width }, { products }, { texture: x }) {
    products.encode({ x, y, batch: this.count, yOffset: this.position * rowQuads(width) });
  }

  /** @param {Vectors} dst @param {Vectors} src @param {Vectors} weights */
  norm({ texture, width }, src, weights) {
    this.#draw('norm', texture, width, src, weights);
  }

  /** @param {Vectors} dst @param {Vectors} src */
  rotate({ texture, width }, src) {
    this.#draw('rotate', texture, width, src, this.#rotations);
  }

  /** @param {Vectors} cache @param {Vectors} src */
  rotateIntoCache({ texture, width }, src) {
    this.#draw('rotate', texture, width, src, this.#rotations, this.position * rowQuads(width));
  }

  /** @param {Vectors} dst @param {Vectors} queries @param {Vectors} keys @param {Vectors} values */
  attend({ texture, width }, queries, keys, values) {
    this.#draw('score', this.#scores.texture, this.#scores.width, queries, keys);
    this.#draw('blend', texture, width, this.#scores, values);
  }

  /** @param {Vectors} dst @param {Vectors} gates @param {Vectors} ups */
  gate({ texture, width }, gates, ups) {
    this.#draw('gate', texture, width, gates, ups);
  }

  /** @param {Vectors} dst @param {Vectors} src */
  add(dst, src) {
    dst.spare ??= this.vectors(dst.width).texture;
    this.#draw('add', dst.spare, dst.width, dst, src);
    [dst.texture, dst.spare] = [dst.spare, dst.texture];
  }

  destroy() {
    for (const texture of this.#textures) this.backend.free(texture);
    this.#textures = [];
  }
}
