/**
 * Coded weights on WebGL2: the bytes go to textures as they arrive, and fragment
 * shaders decode them there, in passes. web/gpu/webgl_context.js is the context.
 */
import { DTYPES, typedArray } from '../core/dtypes.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { checkFloat, checkFloats, checkInteger, checkVector, rowQuads } from '../core/vectors.js';
import {
  LARGEST, RangeWriter, allEqual, cutParts, decodeTarget, firstDifference, referenceChecksums, streamStep, symbolColumns, unpad,
} from './parts.js';
import { GlContext } from './webgl_context.js';
import { loadWebGlPlain } from './webgl_plain.js';
import { GlProducts } from './webgl_products.js';

/** Texels read back at a time: 16 MiB. */
const READ_TEXELS = 1 << 20;
/** Streams that are decoded at a time: their cursors are read back. */
const BAND_STREAMS = 1 << 20;
const FAULT = 0xffffffff;
/** Bytes of a texel of words or raw plane: RG32UI. */
const UNIT = 8;

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('./parts.js').Part} Part */
/** @typedef {import('../core/vectors.js').Vector} Vector */
/** @typedef {import('./webgl_context.js').GlOptions} GlOptions */
/** @typedef {Part & {words: WebGLTexture | null, raw: WebGLTexture | null,
 *   cursors: WebGLTexture | null, symbols: WebGLTexture | null}} GlPart */
/**
 * How the passes of a decoding lie in textures: see order.frag.glsl.
 * @typedef {object} Plan
 * @property {number} passes of 4 * texels steps each
 * @property {number} texels a fragment writes
 * @property {number} layers of the array texture, a multiple of texels
 * @property {number} blocks that follow each other downwards, each with all layers
 * @property {number} streams that fit at a time
 * @property {number} plain so many first passes have nothing but full steps before the tail
 * @property {boolean} isAligned all streams begin and end at multiples of four steps
 */

/**
 * Opens WebGL2, in a page or a worker.
 *
 * With `gl` of your own: calls leave default bindings (no program, framebuffer, vertex array,
 * PIXEL_*_BUFFER, uniform buffer 0, nor textures and samplers on units 0 to 6, unit 0 active), and
 * change viewport, pixelStorei, colorMask (all true) and capabilities (all that affect drawing
 * disabled). Errors you left in getError() are dropped. Call preventDefault() in your
 * webglcontextlost listener, or the context never comes back.
 * @param {GlOptions} [options]
 * @returns {Promise<WebGl>}
 * @throws {HanselError} HANSEL_ERR_ADAPTER when there is none
 * @example
 * const gpu = await webgl();
 * const w = await gpu.load(model, 'w');
 * const symbols = await w.symbols();
 */
export async function webgl(options = {}) {
  const self = new WebGl(options);
  await self.ready();
  return self;
}

/** One WebGL2 context. Make one with webgl(). */
export class WebGl extends GlContext {
  kind = /** @type {const} */ ('webgl');

  /**
   * Loads a tensor: its bytes go to the GPU as they arrive, as they lie in the file. If it is not
   * coded, what comes is a GlPlainMatrix.
   * @param {Model} model retained by the matrix, for verify() @param {string} name
   * @param {{signal?: AbortSignal,
   *   onProgress?: (progress: {done: number, total: number, tensor: string}) => void}} [options]
   *   progress in bytes
   * @returns {Promise<WebGlMatrix | import('./webgl_plain.js').GlPlainMatrix>}
   * @throws {HanselError} HANSEL_ERR_LIMIT, _MEMORY, _LOST, _GPU, and as Model.decode()
   */
  async load(model, name, { signal, onProgress } = {}) {
    if (model.tensor(name).mode === 'pass-through') {
      return loadWebGlPlain(this, model, name, { signal, onProgress });
    }
    await this.ready();
    const { blob, cursors, chunks } = await model.payload(name, { signal });
    const matrix = new WebGlMatrix(this, model, name, blob);
    try {
      await this.guard(() => matrix.allocate(cursors));
      const writer = new RangeWriter(matrix.ranges(), UNIT);
      const total = blob.blobBytes - blob.headBytes;
      for await (const chunk of chunks) {
        checkAborted(signal);
        matrix.checkAlive();
        writer.push(chunk);
        onProgress?.({ done: writer.at, total, tensor: name });
      }
      await this.guard(() => matrix.checkAlive());
      return matrix;
    } catch (error) {
      matrix.destroy();
      throw error;
    } finally {
      await chunks.return(undefined);
    }
  }
}

/** A coded matrix on the GPU. Make one with WebGl.load(). */
export class WebGlMatrix {
  /** @type {GlPart[]} */
  parts = [];
  /** The decoding table: GlContext.table(). @type {WebGLTexture | WebGLBuffer | null} */
  table = null;
  /** @type {Promise<GlPart[]> | null} */
  #decoding = null;
  #isDestroyed = false;
  #epoch;

  /** @param {WebGl} gpu @param {Model} model @param {string} name @param {Blob} blob */
  constructor(gpu, model, name, blob) {
    this.gpu = gpu;
    this.model = model;
    this.name = name;
    this.blob = blob;
    this.#epoch = gpu.epoch;
    const { dtype, shape, mode, step, rows, columns } = blob;
    Object.assign(this, { dtype, shape, mode, step });
    /** y = W x on the coded weights, from texture to texture. */
    this.products = new GlProducts(this);
    /** Rows and columns of the matrix view. */
    this.rows = rows;
    this.columns = columns;
    /** u32s of a decoded row: four symbols each, the last padded with zeros. */
    this.rowQuads = rowQuads(columns);
  }

  /** @param {Uint32Array} cursors */
  allocate(cursors) {
    const { gpu, blob } = this;
    if (blob.weights + 4 * blob.rows >= 2 ** 32) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'shaders count weights in 32 bits', {
        expected: 'fewer than 2^32', got: blob.weights, where: this.name,
      });
    }
    const parts = cutParts(blob, cursors, {
      bytes: UNIT * gpu.arrayTexels, symbolBytes: 16 * gpu.arrayTexels,
      streams: Math.min(this.#plan().streams, gpu.arrayTexels - 1), align: UNIT,
    });
    const array = (/** @type {number} */ from, /** @type {number} */ to) => (
      to > from ? gpu.array((to - from) / UNIT, gpu.gl.RG32UI) : null);
    for (const part of parts) {
      const own = cursors.slice(part.first, part.first + part.count + 1)
        .map((cursor) => cursor - part.wordsFrom / 2);
      this.parts.push({
        ...part,
        words: array(part.wordsFrom, part.wordsTo),
        raw: array(part.rawFrom, part.rawTo),
        cursors: part.count ? gpu.filled(own) : null,
        symbols: null,
      });
    }
    if (blob.streamCount) this.table = gpu.table(this.model.codec.buildTable(blob));
  }

  /** Where the payload's bytes go. */
  ranges() {
    const { gpu } = this;
    const to = (/** @type {WebGLTexture | null} */ texture) => (
      /** @type {number} */ offset, /** @type {Uint8Array} */ bytes) => {
      const whole = bytes.byteOffset % 4 ? bytes.slice() : bytes;
      gpu.write(/** @type {WebGLTexture} */ (texture), 2, offset / UNIT,
        new Uint32Array(whole.buffer, whole.byteOffset, whole.length / 4));
    };
    return this.parts.flatMap((part) => [
      { from: part.wordsFrom, to: part.wordsTo, write: to(part.words) },
      { from: part.rawFrom, to: part.rawTo, write: to(part.raw) },
    ]);
  }

  /** @throws {HanselError} HANSEL_ERR_DESTROYED, _LOST */
  checkAlive() {
    if (this.#isDestroyed) {
      throw new HanselError('HANSEL_ERR_DESTROYED', 'the matrix was destroyed', { where: this.name });
    }
    this.gpu.checkLost(this.#epoch);
  }

  /** struct Blob of decode_stream.glsl, but for the part. */
  blobUniforms() {
    const { blob } = this;
    return {
      'blob.rows': blob.rows, 'blob.columns': blob.columns, 'blob.pieces': blob.pieces,
      'blob.rows_per_stream': blob.rowsPerStream, 'blob.slot_bits': blob.slotBits,
      'blob.origin': blob.origin, 'blob.alphabet_size': blob.alphabetSize,
      'blob.tail_bits': blob.tailBits, 'blob.tail_steps': blob.tailSteps,
    };
  }

  /** @returns {Plan} @throws {HanselError} HANSEL_ERR_LIMIT */
  #plan() {
    const { gpu, blob } = this;
    const { pieces, rows, rowsPerStream } = blob;
    const row = rowQuads(symbolColumns(blob));
    const steps = pieces > 1 ? Math.ceil(row / pieces) : row * rowsPerStream;
    const least = pieces > 1 ? Math.floor(row / pieces)
      : row * (rows % rowsPerStream || rowsPerStream);
    const texels = gpu.attachments - 2;
    const passes = Math.ceil(steps / (4 * texels));
    const most = Math.floor(gpu.layers / texels);
    const blocks = Math.max(1, Math.ceil(passes / most));
    if (blocks > gpu.textureSize) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the streams are longer than WebGL2 allows', {
        expected: `at most ${16 * texels * most * gpu.textureSize} symbols`, got: 4 * steps,
        where: this.name,
      });
    }
    const coded = symbolColumns(blob) % 4 ? 0 : Math.max(0, least - blob.tailSteps - 1);
    return {
      plain: Math.floor(coded / (4 * texels)),
      isAligned: blob.weightsPerSymbol === 1 && row % 4 === 0 && (pieces <= 1 || row % (4 * pieces) === 0),
      passes, texels, layers: texels * Math.min(passes, most), blocks,
      streams: 2 ** Math.floor(Math.log2(gpu.textureSize)) * Math.floor(gpu.textureSize / blocks),
    };
  }

  /**
   * Ranges of a part's streams, of whole texels of the decoded part. @param {Part} part
   * @returns {{first: number, end: number}[]} counted from the part's first
   */
  #bands({ first, count, startStep }) {
    const { blob } = this;
    const start = (/** @type {number} */ i) => streamStep(blob, first + i) - startStep;
    const bands = [];
    for (let at = 0, end; at < count; at = end) {
      const last = Math.min(at + BAND_STREAMS, count);
      end = Math.min(last, at + Math.max(1, Math.floor(this.gpu.bandSteps / start(1))));
      while (end > at && end < count && start(end) % 4) end--;
      if (end === at) end = count;
      bands.push({ first: at, end });
    }
    return bands;
  }

  /**
   * Decodes to GPU memory, once: afterwards each part has its `symbols`, a texture as `texture` is.
   * @returns {Promise<GlPart[]>}
   * @throws {HanselError} HANSEL_ERR_CORRUPT with the stream, _LOST, _MEMORY, _GPU, _DESTROYED
   */
  async decodeOnGpu() {
    this.checkAlive();
    this.#decoding ??= this.gpu.guard(() => this.#decode()).catch((error) => {
      this.#decoding = null;
      throw error;
    });
    return this.#decoding;
  }

  async #decode() {
    const { gpu, blob, parts } = this;
    /** @type {WebGLTexture[]} */
    const made = [];
    try {
      const plan = this.#plan();
      const decoder = (/** @type {number} */ PLAIN) => gpu.program('decode',
        { ATTACHMENTS: gpu.attachments, PLAIN, WEIGHTS_PER_SYMBOL: blob.weightsPerSymbol });
      const programs = blob.streamCount ? await Promise.all([
        decoder(plan.plain ? 1 : 0), decoder(0),
        gpu.program('order', {
          ALIGNED: plan.isAligned ? 1 : 0, WEIGHTS_PER_SYMBOL: blob.weightsPerSymbol,
        })]) : null;
      for (const part of parts) {
        this.checkAlive();
        const symbols = gpu.array(Math.ceil(part.steps / 4), gpu.gl.RGBA32UI);
        made.push(symbols);
        if (!programs) {
          const steps = new Uint32Array(4 * Math.ceil(part.steps / 4));
          steps.set(new Uint32Array(allEqual(blob, part.steps).buffer));
          gpu.write(symbols, 4, 0, steps);
          continue;
        }
        for (const band of this.#bands(part)) {
          await this.#decodeBand(plan, programs, part, band, symbols);
          this.checkAlive();
        }
      }
      parts.forEach((part, i) => { part.symbols = made[i]; });
      return parts;
    } catch (error) {
      for (const texture of made) gpu.free(texture);
      throw error;
    }
  }

  /**
   * @param {Plan} plan @param {import('./webgl_context.js').Program[]} programs @param {GlPart} part
   * @param {{first: number, end: number}} band @param {WebGLTexture} symbols
   */
  async #decodeBand(plan, [plain, general, order], part, band, symbols) {
    const { gpu, blob } = this;
    const { gl } = gpu;
    const count = band.end - band.first;
    // A square is what rasterizers like best.
    const most = Math.floor(gpu.textureSize / plan.blocks);
    const log2 = Math.ceil(Math.log2(Math.max(Math.sqrt(count), count / most)));
    const width = 2 ** log2;
    const height = Math.ceil(count / width);
    const tall = height * plan.blocks;
    const strips = gpu.texture(width, tall, gl.RGBA32UI, plan.layers);
    const states = [0, 1].map(() => gpu.texture(width, tall, gl.RGBA32UI));
    const places = [0, 1].map(() => gpu.texture(width, tall, gl.R32UI));
    try {
      const uniforms = {
        ...this.blobUniforms(), 'blob.first_stream': part.first, 'band.first': band.first,
        'band.end': band.end, 'band.grid_log2': log2,
      };
      const perBlock = plan.layers / plan.texels;
      let last = 0;
      for (let pass = 0; pass < plan.passes; pass++) {
        const decode = pass < plan.plain ? plain : general;
        if (pass === 0 || pass === plan.plain) {
          gpu.begin(decode);
          gpu.set(decode, uniforms);
        }
        const row = Math.floor(pass / perBlock) * height;
        gpu.attach([[states[pass % 2]], [places[pass % 2]],
          ...Array.from({ length: plan.texels }, (_, i) => /** @type {[WebGLTexture, number]} */ (
            [strips, pass % perBlock * plan.texels + i]))]);
        gpu.bind(decode, {
          words: part.words, cursors: part.cursors, slots: this.table,
          src_state: states[1 - pass % 2], src_cursor: places[1 - pass % 2],
        });
        gpu.set(decode, { first_step: 4 * plan.texels * pass, src_row: last, dst_row: row });
        gpu.draw(row, width, height);
        last = row;
      }
      const startStep = streamStep(blob, part.first + band.first);
      const endStep = streamStep(blob, part.first + band.end);
      const firstTexel = (startStep - part.startStep) / 4;
      const endTexel = Math.ceil((endStep - part.startStep) / 4);
      gpu.fill(order, { src: strips }, {
        'order.first_texel': firstTexel, 'order.end_texel': endTexel,
        'order.dst_start': part.startStep, 'order.end_quad': endStep,
        'order.columns': blob.columns, 'order.origin': blob.origin,
        'order.row_steps': rowQuads(symbolColumns(blob)), 'order.pieces': blob.pieces,
        'order.rows_per_stream': blob.rowsPerStream,
        'order.first_stream': part.first + band.first, 'order.grid_log2': log2,
        'order.layers': plan.layers, 'order.block_rows': height,
      }, symbols, firstTexel, endTexel - firstTexel);
      const ends = await gpu.read(places[(plan.passes - 1) % 2], last, width, height);
      for (let i = 0; i < count; i++) {
        if (ends[4 * i] !== FAULT) continue;
        throw new HanselError('HANSEL_ERR_CORRUPT', 'a stream does not end as it must', {
          expected: 'an exact end', got: `none, in stream ${part.first + band.first + i}`,
          where: this.name,
        });
      }
    } finally {
      for (const texture of [strips, ...states, ...places]) gpu.free(texture);
    }
  }

  /**
   * The decoded matrix, for your own shaders: RGBA32UI, an array in rows of 2^gpu.widthLog2 texels
   * (2048 but for smaller limits), a step to a component, rowQuads of them to a matrix row, a
   * column's symbol in byte column % 4. shaders/weight.glsl reads it. Lives until destroy(). Decode
   * first.
   * @returns {WebGLTexture}
   * @throws {HanselError} HANSEL_ERR_ARGUMENT when not decoded yet, or cut into parts
   */
  get texture() {
    this.checkAlive();
    const [part] = this.parts;
    if (this.parts.length !== 1 || !part.symbols) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'no single decoded texture', {
        expected: 'decodeOnGpu() before, and a tensor in one part',
        got: `${this.parts.length} parts${part.symbols ? '' : ', not decoded'}`, where: this.name,
      });
    }
    return part.symbols;
  }

  /**
   * The symbols, decoded on the GPU and read back: equal to Model.symbols().
   * @returns {Promise<Int8Array>} row-major @throws {HanselError} as decodeOnGpu()
   */
  async symbols() {
    const parts = await this.decodeOnGpu();
    const out = allocate(this.blob.weights, this.name);
    await this.#gather(parts, 1, out, (part, step, count) => this.gpu.readArray(
      /** @type {WebGLTexture} */ (part.symbols), step / 4, Math.ceil(count / 4)));
    return new Int8Array(out.buffer);
  }

  /**
   * @param {GlPart[]} parts @param {number} size bytes of an element @param {Uint8Array} out
   * @param {(part: GlPart, step: number, count: number) => Promise<Uint32Array>} read
   */
  async #gather(parts, size, out, read) {
    const unit = 4 * Math.min(READ_TEXELS, this.gpu.arrayTexels) / size;
    for (const part of parts) {
      for (let step = 0; step < part.steps; step += unit) {
        const count = Math.min(unit, part.steps - step);
        const { buffer, byteOffset } = await this.gpu.guard(() => {
          this.checkAlive();
          return read(part, step, count);
        });
        unpad(new Uint8Array(buffer, byteOffset, 4 * size * count), part.startStep + step,
          this.columns, size, out);
      }
    }
  }

  /**
   * The weights, put together on the GPU and read back: equal to Model.decode() with that dtype.
   * @param {{dtype?: string}} [options] 'F32' (the default for float tensors), 'F16' or 'BF16'; the
   *   one-byte dtypes have only their own
   * @returns {Promise<any>} row-major typed array
   * @throws {HanselError} HANSEL_ERR_DTYPE, as decodeOnGpu()
   */
  async decode({ dtype } = {}) {
    const { blob, gpu } = this;
    const { target, isFloat } = decodeTarget(blob, dtype, this.name);
    if (!isFloat) return typedArray(target, /** @type {ArrayBuffer} */ ((await this.symbols()).buffer));
    const parts = await this.decodeOnGpu();
    const program = await gpu.guard(() => gpu.program('values'));
    const size = target === 'F32' ? 4 : 2;
    const out = allocate(blob.weights * size, this.name);
    await this.#gather(parts, size, out,
      (part, step, count) => this.#values(program, part, step, count, target));
    return typedArray(target, /** @type {ArrayBuffer} */ (out.buffer));
  }

  /**
   * @param {import('./webgl_context.js').Program} program @param {GlPart} part
   * @param {number} step of the part @param {number} count steps @param {string} dtype @returns {Promise<Uint32Array>} padded rows
   */
  async #values(program, part, step, count, dtype) {
    const { gpu, blob } = this;
    const texels = Math.ceil(count / (dtype === 'F32' ? 1 : 2));
    const rawStart = Math.ceil(2 * blob.wordCount / 16) * 16;
    const bits = new Uint32Array(Float32Array.of(blob.step, LARGEST[dtype]).buffer);
    const target = gpu.array(texels, gpu.gl.RGBA32UI);
    try {
      gpu.fill(program, { symbols: part.symbols, raw: part.raw ?? part.symbols }, {
        'values.first_quad': part.startStep + step, 'values.quad_count': count,
        'values.symbols_start': part.startStep, 'values.columns': blob.columns,
        'values.mode': blob.mode === 'grid' ? 0 : 1,
        'values.dtype': DTYPES[/** @type {'F32'} */ (blob.dtype)],
        'values.dst_dtype': DTYPES[/** @type {'F32'} */ (dtype)],
        'values.step_bits': bits[0], 'values.limit_bits': bits[1],
        'values.raw_bytes': blob.rawBytes,
        'values.raw_start': rawStart + part.startWeight * blob.rawBytes - part.rawFrom,
        'values.raw_weight': part.startWeight,
      }, target, 0, texels);
      return await gpu.readArray(target, 0, texels);
    } finally {
      gpu.free(target);
    }
  }

  /**
   * As WebGpuMatrix.matvec(). @param {Vector} x @param {{bias?: Float32Array}} [options]
   * @returns {Promise<Float32Array>} rows
   */
  async matvec(x, { bias } = {}) {
    return this.matmul(x, 1, { bias });
  }

  /**
   * As WebGpuMatrix.matmul(). NaN, infinity and subnormal numbers are as good as the GPU's.
   * @param {Vector} x @param {number} batch 1 to 64 @param {{bias?: Float32Array}} [options]
   * @returns {Promise<Float32Array>} batch vectors of `rows` elements
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT, _DESTROYED, _LOST, _MEMORY
   */
  async matmul(x, batch, { bias } = {}) {
    this.checkAlive();
    const { rows, name } = this;
    checkFloat(this.blob, name);
    const vectors = checkFloats(this, x, batch);
    if (bias) checkVector({ rows, columns: rows, name: `${name} bias` }, bias, 'Float32Array', 1);
    const { buffer, byteOffset, length } = await this.products.run(vectors, batch, bias, false);
    return new Float32Array(buffer, byteOffset, length);
  }

  /** As WebGpuMatrix.matvecI8(). @param {Int8Array} x @returns {Promise<Int32Array>} rows */
  async matvecI8(x) {
    this.checkAlive();
    checkInteger(this.blob, this.name);
    checkVector(this, x, 'Int8Array', 1);
    const { buffer, byteOffset, length } = await this.products.run(x, 1, undefined, true);
    return new Int32Array(buffer, byteOffset, length);
  }

  /**
   * Compares what the GPU decodes with what the wasm decodes, by checksums computed on the GPU.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{ok: true} | {ok: false, tensor: string, row: number, column: number,
   *   expected: number, got: number}>} the first symbol that differs
   */
  async verify({ signal } = {}) {
    const { gpu, blob } = this;
    const parts = await this.decodeOnGpu();
    const reference = new Uint8Array((await this.model.symbols(this.name, { signal })).buffer);
    const differs = async () => firstDifference(this.name, this.columns,
      new Uint8Array((await this.symbols()).buffer), reference);
    if (!blob.streamCount) { // one fragment would have to sum up everything
      const symbols = await this.symbols();
      return symbols.every((symbol) => symbol === blob.origin << 24 >> 24) ? { ok: true } : differs();
    }
    const sums = referenceChecksums(blob, reference);
    const program = await gpu.guard(() => gpu.program('checksum'));
    for (const part of parts) {
      const found = await gpu.guard(() => this.#checksums(program, part));
      for (let i = 0; 4 * i < found.length; i++) {
        if (found[4 * i] !== sums[part.first + i]) return differs();
      }
    }
    return { ok: true };
  }

  /**
   * @param {import('./webgl_context.js').Program} program @param {GlPart} part
   * @returns {Promise<Uint32Array>} every fourth is one
   */
  async #checksums(program, part) {
    this.checkAlive();
    const { gpu, blob } = this;
    const { count } = part;
    const starts = gpu.filled(Uint32Array.from({ length: count + 1 },
      (_, i) => streamStep(blob, part.first + i) - part.startStep));
    const sums = gpu.array(count, gpu.gl.R32UI);
    try {
      gpu.fill(program, { symbols: part.symbols, starts }, { stream_count: count }, sums, 0, count);
      return await gpu.readArray(sums, 0, count);
    } finally {
      gpu.free(starts);
      gpu.free(sums);
    }
  }

  /** Frees the GPU's memory. The matrix cannot be used afterwards. */
  destroy() {
    this.#isDestroyed = true;
    for (const { words, raw, cursors, symbols } of this.parts) {
      for (const texture of [words, raw, cursors, symbols]) this.gpu.free(texture);
    }
    this.gpu.free(this.table);
    this.products.destroy();
    this.parts = [];
  }
}
