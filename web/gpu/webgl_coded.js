/**
 * Coded weights on WebGL2: in textures as they lie in the file. Fragment shaders decode them there,
 * in passes to memory (decode.frag.glsl, order.frag.glsl), or as products go.
 */
import { HanselError } from '../core/errors.js';
import { rowQuads } from '../core/vectors.js';
import { allEqual, checkCountable, corrupt, cutParts, streamStep, symbolColumns } from './parts.js';
import { WebGlCodedProducts } from './webgl_coded_products.js';
import { readWeights } from './webgl_values.js';

/** Streams that are decoded at a time: their cursors are read back. */
const BAND_STREAMS = 1 << 20;
const FAULT = 0xffffffff;
/** Bytes of a texel of words or raw plane: RG32UI. */
const UNIT = 8;

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('./webgl_context.js').Program} Program */
/** @typedef {import('./webgl_coded_products.js').GlPart} GlPart */
/**
 * How the passes of a decoding lie in textures: see order.frag.glsl.
 * @typedef {object} Passes
 * @property {number} count of passes, 4 * texels steps each
 * @property {number} texels a fragment writes
 * @property {number} layers of the array texture, a multiple of texels
 * @property {number} blocks that follow each other downwards, each with all layers
 * @property {number} streams that fit at a time
 * @property {number} plain so many first passes have nothing but full steps before the tail
 * @property {boolean} isAligned all streams begin and end at multiples of four steps
 */

export class WebGlCoded extends WebGlCodedProducts {
  /** What bytes of the payload are written in multiples of. */
  unit = UNIT;

  /**
   * @param {import('./webgl_device.js').WebGl} gpu @param {string} name @param {Blob} blob
   * @param {import('../core/codec.js').Codec} codec
   */
  constructor(gpu, name, blob, codec) {
    super(gpu, name, blob);
    this.codec = codec;
  }

  /** Makes room. @param {Uint32Array} cursors of all streams, in words */
  allocate(cursors) {
    const { gpu, blob } = this;
    checkCountable(blob, this.name);
    const parts = cutParts(blob, cursors, {
      bytes: UNIT * gpu.arrayTexels, symbolBytes: 16 * gpu.arrayTexels,
      streams: Math.min(this.#passes().streams, gpu.arrayTexels - 1), align: UNIT,
    });
    const array = (/** @type {number} */ from, /** @type {number} */ to) => (
      to > from ? this.weigh(gpu.array((to - from) / UNIT, gpu.gl.RG32UI), to - from) : null);
    for (const part of parts) {
      const own = cursors.slice(part.first, part.first + part.count + 1)
        .map((cursor) => cursor - part.wordsFrom / 2);
      this.parts.push({
        ...part,
        words: array(part.wordsFrom, part.wordsTo),
        raw: array(part.rawFrom, part.rawTo),
        cursors: part.count ? this.weigh(gpu.filled(own), own.byteLength) : null,
        symbols: null,
      });
    }
    if (!blob.streamCount) return;
    const table = this.codec.buildTable(blob);
    this.table = this.weigh(gpu.table(table), table.byteLength);
  }

  /** Where the payload's bytes go. */
  ranges() {
    const { gpu } = this;
    const to = (/** @type {WebGLTexture | null} */ texture) => (
      /** @type {number} */ offset, /** @type {Uint8Array} */ bytes) => (
      gpu.writeBytes(/** @type {WebGLTexture} */ (texture), 2, offset / UNIT, bytes));
    return this.parts.flatMap((part) => [
      { from: part.wordsFrom, to: part.wordsTo, write: to(part.words) },
      { from: part.rawFrom, to: part.rawTo, write: to(part.raw) },
    ]);
  }

  /** @returns {Passes} @throws {HanselError} HANSEL_ERR_LIMIT */
  #passes() {
    const { gpu, blob } = this;
    const { pieces, rows, rowsPerStream } = blob;
    const row = rowQuads(symbolColumns(blob));
    const steps = pieces > 1 ? Math.ceil(row / pieces) : row * rowsPerStream;
    const least = pieces > 1 ? Math.floor(row / pieces)
      : row * (rows % rowsPerStream || rowsPerStream);
    const texels = gpu.attachments - 2;
    const count = Math.ceil(steps / (4 * texels));
    const most = Math.floor(gpu.layers / texels);
    const blocks = Math.max(1, Math.ceil(count / most));
    if (blocks > gpu.textureSize) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the streams are longer than WebGL2 allows', {
        expected: `at most ${16 * texels * most * gpu.textureSize} symbols`, got: 4 * steps,
        where: this.name,
      });
    }
    const coded = symbolColumns(blob) % 4 ? 0 : Math.max(0, least - blob.tailSteps - 1);
    return {
      plain: Math.floor(coded / (4 * texels)),
      isAligned: blob.weightsPerSymbol === 1 && row % 4 === 0
        && (pieces <= 1 || row % (4 * pieces) === 0),
      count, texels, layers: texels * Math.min(count, most), blocks,
      streams: 2 ** Math.floor(Math.log2(gpu.textureSize)) * Math.floor(gpu.textureSize / blocks),
    };
  }

  /**
   * Ranges of a part's streams, of whole texels of the decoded part. @param {GlPart} part
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

  /** MatrixStore.decode(): RGBA32UI arrays of u32s of four symbols, rowQuads to a row. */
  async decode() {
    const { gpu, parts } = this;
    /** @type {WebGLTexture[]} */
    const made = [];
    try {
      await gpu.guard(() => this.#decodeParts(made));
      this.checkAlive();
    } catch (error) {
      for (const symbols of made) this.drop(symbols);
      throw error;
    }
    parts.forEach((part, i) => { part.symbols = made[i]; });
  }

  /** @param {WebGLTexture[]} made receives the parts' symbols */
  async #decodeParts(made) {
    const { gpu, blob, parts } = this;
    const passes = this.#passes();
    const decoder = (/** @type {number} */ PLAIN) => gpu.program('decode',
      { ATTACHMENTS: gpu.attachments, PLAIN, WEIGHTS_PER_SYMBOL: blob.weightsPerSymbol });
    const programs = blob.streamCount ? await Promise.all([
      decoder(passes.plain ? 1 : 0), decoder(0),
      gpu.program('order', {
        ALIGNED: passes.isAligned ? 1 : 0, WEIGHTS_PER_SYMBOL: blob.weightsPerSymbol,
      })]) : null;
    for (const part of parts) {
      this.checkAlive();
      const texels = Math.ceil(part.steps / 4);
      const symbols = this.keep(gpu.array(texels, gpu.gl.RGBA32UI));
      made.push(symbols);
      if (!programs) {
        for (const { first, bytes } of allEqual(blob, part.steps)) {
          gpu.writeBytes(symbols, 4, first / 4, bytes);
        }
        continue;
      }
      for (const band of this.#bands(part)) {
        await this.#decodeBand(passes, programs, part, band, symbols);
        this.checkAlive();
      }
    }
  }

  /**
   * @param {Passes} passes @param {Program[]} programs @param {GlPart} part
   * @param {{first: number, end: number}} band @param {WebGLTexture} symbols
   */
  async #decodeBand(passes, [plain, general, order], part, band, symbols) {
    const { gpu, blob } = this;
    const { gl } = gpu;
    const count = band.end - band.first;
    // A square is what rasterizers like best.
    const most = Math.floor(gpu.textureSize / passes.blocks);
    const log2 = Math.ceil(Math.log2(Math.max(Math.sqrt(count), count / most)));
    const width = 2 ** log2;
    const height = Math.ceil(count / width);
    const tall = height * passes.blocks;
    const strips = gpu.texture(width, tall, gl.RGBA32UI, passes.layers);
    const states = [0, 1].map(() => gpu.texture(width, tall, gl.RGBA32UI));
    const places = [0, 1].map(() => gpu.texture(width, tall, gl.R32UI));
    try {
      const uniforms = {
        ...this.blobUniforms(), 'blob.first_stream': part.first, 'band.first': band.first,
        'band.end': band.end, 'band.grid_log2': log2,
      };
      const perBlock = passes.layers / passes.texels;
      let last = 0;
      for (let pass = 0; pass < passes.count; pass++) {
        const decode = pass < passes.plain ? plain : general;
        if (pass === 0 || pass === passes.plain) {
          gpu.begin(decode);
          gpu.set(decode, uniforms);
        }
        const row = Math.floor(pass / perBlock) * height;
        gpu.attach([[states[pass % 2]], [places[pass % 2]],
          ...Array.from({ length: passes.texels }, (_, i) => (
            /** @type {[WebGLTexture, number]} */ (
              [strips, pass % perBlock * passes.texels + i])))]);
        gpu.bind(decode, {
          words: part.words, cursors: part.cursors, slots: this.table,
          src_state: states[1 - pass % 2], src_cursor: places[1 - pass % 2],
        });
        gpu.set(decode, { first_step: 4 * passes.texels * pass, src_row: last, dst_row: row });
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
        'order.layers': passes.layers, 'order.block_rows': height,
      }, symbols, firstTexel, endTexel - firstTexel);
      const ends = await gpu.read(places[(passes.count - 1) % 2], last, width, height);
      for (let i = 0; i < count; i++) {
        if (ends[4 * i] === FAULT) throw corrupt(part.first + band.first + i, this.name);
      }
    } finally {
      for (const texture of [strips, ...states, ...places]) gpu.free(texture);
    }
  }

  /** @type {import('./matrix.js').MatrixStore['read']} */
  read(target, first, count, out) {
    return readWeights(this, target, first, count, out);
  }

  /** What readWeights() is to know of a part's raw plane. @param {GlPart} part */
  rawPlane(part) {
    const { columns, rawBytes } = this.blob;
    const pitch = columns * rawBytes;
    // Parts of whole streams may begin within a row.
    return { texture: part.raw, pitch, offset: this.rawStart(part) - part.startWeight * rawBytes };
  }

  /** @type {NonNullable<import('./matrix.js').MatrixStore['checksums']>} */
  async checksums(part) {
    const { gpu, blob } = this;
    const { count } = part;
    const program = await gpu.guard(() => gpu.program('checksum'));
    return gpu.guard(async () => {
      this.checkAlive();
      const starts = gpu.filled(Uint32Array.from({ length: count + 1 },
        (_, i) => streamStep(blob, part.first + i) - part.startStep));
      const sums = gpu.array(count, gpu.gl.R32UI);
      try {
        gpu.fill(program, { symbols: part.symbols, starts }, { stream_count: count }, sums, 0, count);
        return (await gpu.readArray(sums, 0, count)).filter((_, i) => i % 4 === 0);
      } finally {
        gpu.free(starts);
        gpu.free(sums);
      }
    });
  }
}
