/**
 * Products of coded matrices on WebGL2: y = W x without W ever being decoded to
 * memory. Results are deterministic; integer ones are exact.
 *
 * Vectors lie in RGBA32UI textures that serve as arrays (rows of 2^gpu.widthLog2
 * texels): four elements to a texel, as bits of float32 or int32, each vector
 * padded with zeros to whole texels. x and y are laid out alike, so one layer's y is
 * the next one's x. Vectors of float16 lie in RG32UI textures likewise: four to a texel.
 */
import { DTYPES } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { checkFloat, checkInteger, checkXDtype, padVectors, rowQuads } from '../core/vectors.js';
import { symbolColumns } from './parts.js';

const TILE = 4;
const KIND = { float: 0, integer: 1, lossless: 2 };

/** @typedef {import('./webgl_device.js').WebGlMatrix} WebGlMatrix */
/** @typedef {import('./webgl_context.js').Program} Program */
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
 * How the sums lie in their texture: see reduce.frag.glsl.
 * @typedef {object} Plan
 * @property {boolean} isSplit streams take several passes
 * @property {number} texels that a fragment writes @property {number} passes
 * @property {number} passRows of a stream @property {number} segments passes that such rows take
 * @property {number} layers of the texture
 * @property {number} blocks that follow each other downwards
 * @property {number} log2 of a block's width @property {number} height of a block
 */
/** @typedef {{sums: WebGLTexture, states: WebGLTexture[], places: WebGLTexture[]}} Scratch */

/**
 * The products of one matrix: matrix.products.
 * @example
 * for (const w of layers) await w.products.prepare(false);
 * const [a, b] = [layers[0].products.input(x), layers[0].products.output()];
 * layers[0].products.encode({ x: a, y: b });
 * layers[1].products.encode({ x: b, y: a }); // nothing is read back in between
 * const y = new Float32Array((await layers[1].products.read(a)).buffer);
 */
export class GlProducts {
  /** @type {Map<string, Program>} */
  #programs = new Map();
  /** By tile. @type {Map<number, Scratch>} */
  #scratch = new Map();
  /** Vectors that were widened. @type {{texture: WebGLTexture, texels: number} | null} */
  #wide = null;
  /** For a tensor without streams.
   * @type {{words: WebGLTexture, cursors: WebGLTexture, table: WebGLTexture | WebGLBuffer} | null} */
  #pretended = null;

  /** @param {WebGlMatrix} matrix */
  constructor(matrix) {
    this.matrix = matrix;
    const { blob } = matrix;
    const isFloat = DTYPES[/** @type {'F32'} */ (blob.dtype)] <= 3;
    this.floatKind = blob.mode === 'grid' || !isFloat ? KIND.float : KIND.lossless;
    this.pieces = Math.max(blob.pieces, 1);
    this.streams = blob.streamCount || blob.rows;
    this.rowsPerStream = Math.max(blob.rowsPerStream, 1);
  }

  /** @param {number} tile @returns {Plan} @throws {HanselError} HANSEL_ERR_LIMIT */
  #plan(tile) {
    const { matrix: { gpu, blob, name }, pieces, rowsPerStream, streams } = this;
    const pieceSteps = Math.ceil(rowQuads(symbolColumns(blob)) / pieces);
    const segments = Math.max(1, Math.ceil(pieceSteps / gpu.drawSteps));
    const need = Math.ceil(rowsPerStream * tile / 4);
    const isSplit = need > gpu.attachments || rowsPerStream * pieceSteps > gpu.drawSteps;
    const texels = isSplit ? gpu.attachments - 2 : 2 ** Math.ceil(Math.log2(need));
    const passRows = Math.max(1, Math.min(4 * texels / tile,
      Math.floor(gpu.drawSteps / Math.max(pieceSteps, 1))));
    const passes = Math.ceil(rowsPerStream / passRows) * segments;
    const perBlock = Math.min(passes, Math.floor(gpu.layers / texels));
    const blocks = Math.ceil(passes / perBlock);
    const tallest = Math.floor(gpu.textureSize / blocks);
    const log2 = Math.ceil(Math.log2(Math.max(1, Math.sqrt(streams), streams / tallest)));
    if (!tallest || 2 ** log2 > gpu.textureSize) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the sums do not fit a texture', {
        expected: `at most ${gpu.textureSize} x ${tallest} streams`, got: streams, where: name,
      });
    }
    return {
      isSplit, texels, passes, passRows, segments, layers: perBlock * texels, blocks, log2,
      height: Math.ceil(streams / 2 ** log2),
    };
  }

  /** @param {boolean} integer @param {number} tile */
  #variant(integer, tile) {
    const { isSplit, texels } = this.#plan(tile);
    return {
      KIND: integer ? KIND.integer : this.floatKind, TILE: tile, TEXELS: texels,
      IS_SPLIT: isSplit ? 1 : 0, WEIGHTS_PER_SYMBOL: this.matrix.blob.weightsPerSymbol,
    };
  }

  /**
   * Compiles what encode() will need, for one kind of product.
   * @param {boolean} integer @param {'F32' | 'F16'} [xDtype]
   */
  async prepare(integer, xDtype = 'F32') {
    const { gpu, name } = this.matrix;
    this.matrix.checkAlive();
    checkXDtype(xDtype, integer, name);
    await gpu.guard(async () => {
      if (xDtype === 'F16') await this.prepareWidening();
      for (const tile of integer ? [1] : [1, TILE]) {
        const variant = this.#variant(integer, tile);
        this.#programs.set(JSON.stringify(variant), await gpu.program('matvec', variant));
      }
      this.#programs.set('reduce', await gpu.program('reduce'));
    });
  }

  /**
   * Issues the product's draws; nothing waits or is read back. prepare() must have been awaited.
   * A stream takes one draw, and more of them where it holds more rows than the attachments do
   * (16 or 32, or those divided by four in a batch): narrow matrices are slower for it.
   * @param {GlProductArguments} argument
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT, _DESTROYED, _LOST
   */
  encode(argument) {
    const { integer = false, xDtype = 'F32' } = argument;
    const { matrix } = this;
    const { gpu, blob } = matrix;
    matrix.checkAlive();
    checkXDtype(xDtype, integer, matrix.name);
    const { x, y, xOffset = 0, yOffset = 0, xStride, yStride, batch = 1, bias } = xDtype === 'F16'
      ? this.widen(argument) : argument;
    (integer ? checkInteger : checkFloat)(blob, matrix.name);
    const reduce = this.#programs.get('reduce');
    const most = batch === 1 || integer ? 1 : TILE;
    const compute = this.#programs.get(JSON.stringify(this.#variant(integer, most)));
    const stride = yStride ?? rowQuads(blob.rows);
    this.checkArguments(Boolean(reduce && compute), argument, stride);
    if (!blob.rows || !reduce || !compute) return;
    const plan = this.#plan(most);
    for (let first = 0; first < batch; first += most) {
      const count = Math.min(most, batch - first);
      const xStep = xStride ?? matrix.rowQuads;
      const { sums } = this.#multiply(compute, plan, most, integer, x, {
        'product.x_start': xOffset + first * xStep, 'product.x_stride': xStep,
        'product.last': count - 1,
      });
      this.reduce(reduce, sums, {
        ...plan, first, count, tile: most, y, yOffset, stride, bias, x, integer,
        scale: !integer && blob.mode === 'grid' ? blob.step : 1, pieces: this.pieces,
        rowsPerStream: this.rowsPerStream,
      });
    }
  }

  /**
   * What encode() cannot do. @param {boolean} isPrepared @param {GlProductArguments} argument
   * @param {number} stride of y, in texels @throws {HanselError} HANSEL_ERR_ARGUMENT
   */
  checkArguments(isPrepared, { x, y, bias, integer = false }, stride) {
    const { rows, name } = this.matrix;
    if (isPrepared && x !== y && !(integer && bias) && stride >= rowQuads(rows)) return;
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible product', {
      expected: 'prepare() awaited before, y not x, no bias with integer, room for a vector of y',
      got: isPrepared ? `${x === y ? 'x' : 'y'}, ${bias ? 'a bias' : 'no bias'}, ${stride} texels`
        : 'not prepared', where: name,
    });
  }

  /**
   * Makes vectors of a tile's sums.
   * @param {Program} program reduce.frag.glsl @param {WebGLTexture} sums
   * @param {{first: number, count: number, tile: number, y: WebGLTexture, yOffset: number,
   *   stride: number, bias: WebGLTexture | undefined, x: WebGLTexture, integer: boolean,
   *   scale: number, pieces: number, rowsPerStream: number} & Omit<Plan, 'isSplit' | 'passes' |
   *   'blocks'>} how first: vector of the batch; count: vectors; x: stands in for a bias
   */
  reduce(program, sums, {
    first, count, tile, y, yOffset, stride, bias, x, integer, scale, pieces, rowsPerStream, passRows,
    segments, texels, layers, log2, height,
  }) {
    const { gpu, rows } = this.matrix;
    const start = yOffset + first * stride;
    gpu.fill(program, { src: sums, bias: bias ?? x }, {
      'reduction.y_start': start, 'reduction.y_stride': stride, 'reduction.vectors': count,
      'reduction.tile': tile, 'reduction.rows': rows, 'reduction.pieces': pieces,
      'reduction.rows_per_stream': rowsPerStream, 'reduction.pass_rows': passRows,
      'reduction.segments': segments, 'reduction.texels': texels, 'reduction.grid_log2': log2,
      'reduction.layers': layers, 'reduction.block_rows': height,
      'reduction.is_integer': integer ? 1 : 0, 'reduction.has_bias': bias ? 1 : 0,
      'reduction.scale_bits': new Uint32Array(Float32Array.of(scale).buffer)[0],
    }, y, start, (count - 1) * stride + rowQuads(rows));
  }

  async prepareWidening() {
    this.#programs.set('widen', await this.matrix.gpu.program('widen'));
  }

  /**
   * Makes x float32, once for all rows: cheaper than in the products' shaders.
   * @param {GlProductArguments} argument with xDtype 'F16'
   * @returns {GlProductArguments} the same, with xDtype 'F32'
   */
  widen(argument) {
    const { x, xOffset = 0, xStride, batch = 1 } = argument;
    const { gpu, name, rowQuads: steps } = this.matrix;
    const program = this.#programs.get('widen');
    if (!program) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible product', {
        expected: "prepare(false, 'F16') awaited before", got: 'not prepared', where: name,
      });
    }
    const texels = steps * batch;
    if (!this.#wide || this.#wide.texels < texels) {
      gpu.free(this.#wide?.texture);
      this.#wide = null;
      this.#wide = { texture: this.#vectors(texels), texels };
    }
    const { texture } = this.#wide;
    gpu.fill(program, { halves: x }, {
      'widening.texels': texels, 'widening.row_quads': Math.max(steps, 1), 'widening.start': xOffset,
      'widening.stride': xStride ?? steps,
    }, texture, 0, texels);
    return { ...argument, x: texture, xOffset: 0, xStride: steps, xDtype: 'F32' };
  }

  /**
   * Draws the sums of one tile.
   * @param {Program} program @param {Plan} plan @param {number} tile @param {boolean} integer
   * @param {WebGLTexture} x @param {import('./webgl_context.js').Uniforms} uniforms of the tile
   */
  #multiply(program, plan, tile, integer, x, uniforms) {
    const { matrix } = this;
    const { gpu, blob } = matrix;
    const scratch = this.#room(plan, tile);
    const pretended = blob.streamCount ? null : this.#pretend();
    const width = 2 ** plan.log2;
    const perBlock = plan.layers / plan.texels;
    const rawStart = Math.ceil(2 * blob.wordCount / 16) * 16;
    gpu.begin(program);
    gpu.set(program, {
      ...matrix.blobUniforms(), 'blob.pieces': this.pieces,
      'blob.rows_per_stream': this.rowsPerStream,
      // A tensor without streams is decoded from made-up ones.
      'blob.slot_bits': blob.streamCount ? blob.slotBits : 8, 'grid.log2': plan.log2,
      'product.dtype': DTYPES[/** @type {'F32'} */ (blob.dtype)],
      'product.raw_bytes': blob.rawBytes, ...uniforms,
    });
    for (const part of blob.weights ? matrix.parts : []) {
      const count = blob.streamCount ? part.count : this.streams;
      const y = Math.floor(part.first / width);
      const height = Math.ceil((part.first + count) / width) - y;
      gpu.set(program, {
        'blob.first_stream': part.first, 'grid.end': part.first + count,
        'product.raw_start': rawStart + part.startWeight * blob.rawBytes - part.rawFrom,
        'product.raw_weight': part.startWeight,
      });
      const fixed = {
        words: pretended?.words ?? part.words, cursors: pretended?.cursors ?? part.cursors,
        slots: pretended?.table ?? matrix.table, x,
        ...(!integer && this.floatKind === KIND.lossless ? { raw: part.raw } : {}),
      };
      let last = 0;
      for (let pass = 0; pass < plan.passes; pass++) {
        const block = Math.floor(pass / perBlock) * plan.height;
        const first = Math.floor(pass / plan.segments) * plan.passRows;
        const segment = pass % plan.segments;
        const [now, before] = [pass % 2, 1 - pass % 2];
        gpu.attach([
          ...Array.from({ length: plan.texels }, (_, i) => /** @type {[WebGLTexture, number]} */ (
            [scratch.sums, pass % perBlock * plan.texels + i])),
          ...(plan.isSplit ? /** @type {[WebGLTexture][]} */ (
            [[scratch.states[now]], [scratch.places[now]]]) : [])]);
        gpu.bind(program, plan.isSplit ? {
          ...fixed, src_state: scratch.states[before], src_cursor: scratch.places[before],
        } : fixed);
        gpu.set(program, {
          'grid.first_row': first, 'grid.row_end': first + plan.passRows,
          'grid.first_step': plan.segments > 1 ? segment * gpu.drawSteps : 0,
          'grid.step_end': plan.segments > 1 ? (segment + 1) * gpu.drawSteps : matrix.rowQuads,
          'grid.src_row': last, 'grid.dst_row': block,
        });
        gpu.draw(block + y, width, height);
        last = block;
      }
    }
    gpu.rest();
    return scratch;
  }

  /**
   * Textures for what passes leave; kept.
   * @param {Plan} plan @param {number} tile @returns {Scratch}
   */
  #room(plan, tile) {
    const { gpu } = this.matrix;
    const { gl } = gpu;
    let found = this.#scratch.get(tile);
    if (!found) {
      const [width, height] = [2 ** plan.log2, plan.height * plan.blocks];
      const pair = (/** @type {number} */ format) => (plan.isSplit
        ? [gpu.texture(width, height, format), gpu.texture(width, height, format)] : []);
      found = {
        sums: gpu.texture(width, height, gl.RGBA32UI, plan.layers),
        states: pair(gl.RGBA32UI), places: pair(gl.R32UI),
      };
      this.#scratch.set(tile, found);
    }
    return found;
  }

  /**
   * A tensor without streams gets some: a stream to a row, all reading the same states, which its
   * one symbol of probability 1 never changes.
   */
  #pretend() {
    const { gpu, blob } = this.matrix;
    this.#pretended ??= {
      words: gpu.filled(new Uint32Array(8).fill(65536)),
      cursors: gpu.filled(new Uint32Array(blob.rows + 1)),
      table: gpu.table(new Uint32Array(256).map(
        (_, slot) => slot << 20 | blob.origin << 12 | 256)),
    };
    return this.#pretended;
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
    const { gpu } = this.matrix;
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
  #vectors(texels, format = this.matrix.gpu.gl.RGBA32UI) {
    const { gpu, name } = this.matrix;
    this.matrix.checkAlive();
    if (texels > gpu.arrayTexels) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the vectors do not fit a texture', {
        expected: `at most ${4 * gpu.arrayTexels} elements`, got: 4 * texels, where: name,
      });
    }
    return gpu.array(texels, format);
  }

  /**
   * Reads y back. @param {WebGLTexture} y as output() makes it @param {number} [batch]
   * @returns {Promise<Uint32Array>} vectors of `rows` elements, as bits; its buffer holds no more
   */
  async read(y, batch = 1) {
    const { gpu, rows } = this.matrix;
    const steps = rowQuads(rows);
    const padded = await gpu.guard(() => gpu.readArray(y, 0, batch * steps));
    const out = new Uint32Array(batch * rows);
    for (let v = 0; v < batch; v++) {
      out.set(padded.subarray(4 * steps * v, 4 * steps * v + rows), v * rows);
    }
    return out;
  }

  /**
   * @param {Float32Array | Uint16Array | Int8Array} x @param {number} batch
   * @param {Float32Array | undefined} bias @param {boolean} integer
   * @returns {Promise<Uint32Array>} bits
   */
  async run(x, batch, bias, integer) {
    const { gpu, rows, columns } = this.matrix;
    await this.prepare(integer, x instanceof Uint16Array ? 'F16' : 'F32');
    const out = new Uint32Array(batch * rows);
    if (!rows) return out;
    // As many vectors at a time as a texture holds.
    const most = Math.floor(gpu.arrayTexels / Math.max(rowQuads(columns), rowQuads(rows)));
    const unit = Math.max(1, most > TILE ? most - most % TILE : most);
    for (let first = 0; first < batch; first += unit) {
      const count = Math.min(unit, batch - first);
      const some = x.subarray(first * columns, (first + count) * columns);
      try {
        out.set(await gpu.guard(() => this.#once(some, count, bias, integer)), first * rows);
      } catch (error) {
        this.destroy(); // what did not fit into memory must not be used again
        throw error;
      }
    }
    return out;
  }

  /**
   * @param {Float32Array | Uint16Array | Int8Array} x @param {number} batch
   * @param {Float32Array | undefined} bias @param {boolean} integer @returns {Promise<Uint32Array>}
   */
  async #once(x, batch, bias, integer) {
    const { gpu, rows } = this.matrix;
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
        bias: bias && keep(this.input(bias, 1, rows)),
      });
      return await this.read(y, batch);
    } finally {
      for (const texture of scratch) gpu.free(texture);
    }
  }

  destroy() {
    const { gpu } = this.matrix;
    for (const { sums, states, places } of this.#scratch.values()) {
      for (const texture of [sums, ...states, ...places]) gpu.free(texture);
    }
    for (const texture of Object.values(this.#pretended ?? {})) gpu.free(texture);
    gpu.free(this.#wide?.texture);
    this.#scratch.clear();
    this.#wide = null;
    this.#pretended = null;
  }
}
