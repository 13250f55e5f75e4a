/**
 * Products on WebGL2: y = W x without W ever being decoded to memory. Results are deterministic;
 * integer ones are exact.
 *
 * Vectors lie in RGBA32UI textures that serve as arrays (rows of 2^gpu.widthLog2
 * texels): four elements to a texel, as bits of float32 or int32, each vector
 * padded with zeros to whole texels. x and y are laid out alike, so one layer's y is
 * the next one's x. Vectors of float16 lie in RG32UI textures likewise: four to a texel.
 */
import { HanselError } from '../core/errors.js';
import { padVectors, rowQuads } from '../core/vectors.js';
import { Products } from './products.js';

/** Vectors that a shader multiplies at a time, in a batch. */
export const TILE = 4;

/**
 * @typedef {object} GlProductArguments
 * @property {WebGLTexture} x vectors of `columns` float32 (float16 with xDtype 'F16', int32 from -128
 *   to 127 with integer)
 * @property {WebGLTexture} y not x: receives vectors of `rows` float32 (int32 with integer)
 * @property {number} [xOffset] texels @property {number} [yOffset] texels
 * @property {number} [xStride] texels from vector to vector; default: columns / 4, rounded up
 * @property {number} [yStride] likewise; default: rows / 4, rounded up
 * @property {number} [batch] vectors, 1 to 64
 * @property {WebGLTexture} [bias] a vector of `rows` float32, added to every y; not with integer
 * @property {boolean} [integer] exact int32 sums of grid indices (or I8 weights) times x, not
 *   scaled by the step
 * @property {'F32' | 'F16'} [xDtype] of x, unless integer; F32 by default. F16 gives exactly what the
 *   same numbers give as F32
 */

/**
 * The products of one matrix: matrix.products.
 * @extends {Products<import('./webgl_store.js').WebGlStore>}
 * @example
 * for (const w of layers) await w.products.prepare(false);
 * const [a, b] = [layers[0].products.input(x), layers[0].products.output()];
 * layers[0].products.encode({ x: a, y: b });
 * layers[1].products.encode({ x: b, y: a }); // nothing is read back in between
 * const y = new Float32Array((await layers[1].products.read(a)).buffer);
 */
export class WebGlProducts extends Products {
  /** @type {import('./webgl_context.js').Program | null} */
  #widening = null;

  async compileWidening() {
    this.#widening = await this.store.gpu.program('widen');
  }

  /**
   * Issues the product's draws; nothing waits or is read back. prepare() must have been awaited.
   * A stream takes one draw, and more of them where it holds more rows than the attachments do
   * (16 or 32, or those divided by four in a batch): narrow matrices are slower for it.
   * @param {GlProductArguments} argument
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT, _DESTROYED, _LOST
   */
  encode(argument) {
    const { rows, columns } = this.matrix;
    const quads = rowQuads(columns);
    const {
      xOffset = 0, yOffset = 0, xStride = quads, yStride = rowQuads(rows),
    } = argument;
    const { x, y, batch, bias, integer, xDtype } = this.check(argument,
      argument.x === argument.y ? 'y that is x'
        : yStride < rowQuads(rows) ? `no room for a vector of y in ${yStride} texels` : '');
    const given = { x, xOffset, xStride };
    if (!rows) return;
    if (xDtype === 'F16') {
      Object.assign(given, {
        x: this.#widen(x, xOffset, xStride, batch), xOffset: 0, xStride: quads,
      });
    }
    this.store.draw({ ...given, y, yOffset, yStride, batch, bias, integer });
  }

  /**
   * Makes x float32, once for all rows: cheaper than in the products' shaders.
   * @param {WebGLTexture} halves @param {number} start texel @param {number} stride texels
   * @param {number} batch @returns {WebGLTexture}
   */
  #widen(halves, start, stride, batch) {
    const { store } = this;
    const quads = rowQuads(this.matrix.columns);
    const texels = quads * batch;
    const make = () => ({ texture: store.keep(this.#vectors(texels)), texels });
    if (store.scratch('widened x', make).texels < texels) store.forget('widened x');
    const { texture } = store.scratch('widened x', make);
    store.gpu.fill(/** @type {import('./webgl_context.js').Program} */ (this.#widening), { halves }, {
      'widening.texels': texels, 'widening.row_quads': Math.max(quads, 1), 'widening.start': start,
      'widening.stride': stride,
    }, texture, 0, texels);
    return texture;
  }

  /* ---- vectors ---- */

  /**
   * Vectors as a texture of yours: free it with gpu.free().
   * @param {Float32Array | Uint16Array | Int8Array} x batch vectors of `size` elements, not retained;
   *   a Uint16Array holds float16 bits, for xDtype 'F16'
   * @param {number} [batch] @param {number} [size] `columns` by default; rows for a bias
   * @returns {WebGLTexture} @throws {HanselError} HANSEL_ERR_LIMIT
   */
  input(x, batch = 1, size = this.matrix.columns) {
    const { gpu } = this.store;
    const padded = padVectors(x, size, batch);
    if (padded instanceof Uint16Array) {
      const texture = this.#vectors(batch * rowQuads(size), gpu.gl.RG32UI);
      gpu.write(texture, 2, 0, new Uint32Array(padded.slice().buffer));
      return texture;
    }
    const texture = this.#vectors(batch * rowQuads(size));
    gpu.write(texture, 4, 0, padded instanceof Float32Array
      ? new Uint32Array(padded.buffer, padded.byteOffset, padded.length)
      : new Uint32Array(Int32Array.from(padded).buffer));
    return texture;
  }

  /**
   * Room for y: free it with gpu.free(). @param {number} [batch] vectors of `rows` elements
   * @returns {WebGLTexture} @throws {HanselError} HANSEL_ERR_LIMIT
   */
  output(batch = 1) {
    return this.#vectors(batch * rowQuads(this.matrix.rows));
  }

  /** @param {number} texels @param {number} [format] */
  #vectors(texels, format = this.store.gpu.gl.RGBA32UI) {
    const { matrix, store: { gpu } } = this;
    matrix.checkAlive();
    if (texels > gpu.arrayTexels) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the vectors do not fit a texture', {
        expected: `at most ${4 * gpu.arrayTexels} elements`, got: 4 * texels, where: matrix.name,
      });
    }
    return gpu.array(texels, format);
  }

  /**
   * Reads y back. @param {WebGLTexture} y as output() makes it @param {number} [batch]
   * @returns {Promise<Uint32Array>} vectors of `rows` elements, as bits; its buffer holds no more
   */
  async read(y, batch = 1) {
    const { matrix: { rows }, store: { gpu } } = this;
    const quads = rowQuads(rows);
    const padded = await gpu.guard(() => gpu.readArray(y, 0, batch * quads));
    const out = new Uint32Array(batch * rows);
    for (let v = 0; v < batch; v++) {
      out.set(padded.subarray(4 * quads * v, 4 * quads * v + rows), v * rows);
    }
    return out;
  }

  /** @type {import('./matrix.js').Multiply} */
  async multiply(x, batch, bias, integer) {
    const { matrix: { rows, columns }, store } = this;
    await this.prepare(integer, x instanceof Uint16Array ? 'F16' : 'F32');
    const out = new Uint32Array(batch * rows);
    if (!rows) return out.buffer;
    // As many vectors at a time as a texture holds.
    const most = Math.floor(store.gpu.arrayTexels / Math.max(rowQuads(columns), rowQuads(rows)));
    const unit = Math.max(1, most > TILE ? most - most % TILE : most);
    for (let first = 0; first < batch; first += unit) {
      const count = Math.min(unit, batch - first);
      const some = x.subarray(first * columns, (first + count) * columns);
      try {
        out.set(await store.gpu.guard(() => this.#once(some, count, bias, integer)), first * rows);
      } catch (error) {
        store.forget();
        throw error;
      }
    }
    return out.buffer;
  }

  /**
   * @param {Float32Array | Uint16Array | Int8Array} x @param {number} batch
   * @param {Float32Array | undefined} bias @param {boolean} integer @returns {Promise<Uint32Array>}
   */
  async #once(x, batch, bias, integer) {
    const { gpu } = this.store;
    /** @type {WebGLTexture[]} */
    const scratch = [];
    const keep = (/** @type {WebGLTexture} */ texture) => {
      scratch.push(texture);
      return texture;
    };
    try {
      const y = keep(this.output(batch));
      this.encode({
        x: keep(this.input(x, batch)), y, batch, integer,
        xDtype: x instanceof Uint16Array ? 'F16' : 'F32',
        bias: bias && keep(this.input(bias, 1, this.matrix.rows)),
      });
      return await this.read(y, batch);
    } finally {
      for (const texture of scratch) gpu.free(texture);
    }
  }
}
