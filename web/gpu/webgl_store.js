/** What coded and plain matrices on WebGL2 share: scratch, and how sums become vectors. */
import { rowQuads } from '../core/vectors.js';
import { Store } from './store.js';
import { WebGlProducts } from './webgl_products.js';

/** @typedef {import('./webgl_context.js').Program} Program */
/**
 * How the sums of a product lie in their texture: see reduce.frag.glsl.
 * @typedef {object} Sums
 * @property {WebGLTexture} texture
 * @property {number} texels that a fragment writes
 * @property {number} passRows rows of a stream in one pass
 * @property {number} segments passes that such rows take
 * @property {number} layers of the texture
 * @property {number} log2 of a block's width @property {number} height of a block
 * @property {number} pieces of a row @property {number} rowsPerStream
 * @property {number} [streamStep] fragments from the pieces of a stream's rows to those of the next
 *   stream; default: pieces
 * @property {number} [pieceStep] from piece to piece; default: 1
 */
/**
 * A product, as WebGlProducts.encode() checked it: strides and offsets in texels.
 * @typedef {Required<Omit<import('./webgl_products.js').GlProductArguments, 'bias' | 'xDtype'>>
 *   & {bias?: WebGLTexture}} GlProduct
 */

/** @extends {Store<WebGLTexture | WebGLBuffer>} */
export class WebGlStore extends Store {
  /** @type {Map<string, Record<string, any>>} */
  #scratch = new Map();

  /** @param {import('./webgl_device.js').WebGl} gpu @param {string} name */
  constructor(gpu, name) {
    super(gpu, name);
    this.gpu = gpu;
    /** Of products, by what they are for. @type {Map<string, Program>} */
    this.programs = new Map();
  }

  /**
   * Keeps memory that is the weights'.
   * @template {WebGLTexture | WebGLBuffer} T
   * @param {T} thing @param {number} bytes of it that are used @returns {T}
   */
  weigh(thing, bytes) {
    this.bytes += bytes;
    return this.keep(thing);
  }

  /** @param {import('./matrix.js').Matrix} matrix */
  makeProducts(matrix) {
    return new WebGlProducts(matrix, this);
  }

  /**
   * Textures that draws need, made once and kept.
   * @template {Record<string, any>} T
   * @param {string} use @param {() => T} make @returns {T}
   */
  scratch(use, make) {
    const found = this.#scratch.get(use) ?? make();
    this.#scratch.set(use, found);
    return /** @type {T} */ (found);
  }

  /** Frees scratch: what did not fit into memory must not be used again. @param {string} [use] */
  forget(use) {
    for (const [key, found] of this.#scratch) {
      if (use !== undefined && key !== use) continue;
      this.#scratch.delete(key);
      for (const thing of Object.values(found).flat()) {
        if (thing instanceof WebGLTexture || thing instanceof WebGLBuffer) this.drop(thing);
      }
    }
  }

  /**
   * Compiles what draw() will need, for one kind of product.
   * @param {boolean} integer @returns {Promise<void>}
   */
  async compile(integer) {
    throw new Error(`no programs of ${this.name}, ${integer}`);
  }

  /** Issues a product's draws. @param {GlProduct} product */
  draw(product) {
    throw new Error(`no product of ${this.name}, ${product.batch}`);
  }

  /**
   * Makes vectors of a tile's sums.
   * @param {Sums} sums @param {number} tile vectors that were multiplied at a time
   * @param {number} first vector of the batch @param {number} rows @param {GlProduct} product
   * @param {number} scale
   */
  reduce(sums, tile, first, rows, { x, y, yOffset, yStride, batch, bias, integer }, scale) {
    const { gpu } = this;
    const start = yOffset + first * yStride;
    const count = Math.min(tile, batch - first);
    const program = /** @type {Program} */ (this.programs.get('reduce'));
    gpu.fill(program, { src: sums.texture, bias: bias ?? x }, {
      'reduction.y_start': start, 'reduction.y_stride': yStride, 'reduction.vectors': count,
      'reduction.tile': tile, 'reduction.rows': rows, 'reduction.pieces': sums.pieces,
      'reduction.stream_step': sums.streamStep ?? sums.pieces,
      'reduction.piece_step': sums.pieceStep ?? 1,
      'reduction.rows_per_stream': sums.rowsPerStream, 'reduction.pass_rows': sums.passRows,
      'reduction.segments': sums.segments, 'reduction.texels': sums.texels,
      'reduction.grid_log2': sums.log2, 'reduction.layers': sums.layers,
      'reduction.block_rows': sums.height, 'reduction.is_integer': integer ? 1 : 0,
      'reduction.has_bias': bias ? 1 : 0,
      'reduction.scale_bits': new Uint32Array(Float32Array.of(scale).buffer)[0],
    }, y, start, (count - 1) * yStride + rowQuads(rows));
  }
}
