/**
 * Coded weights on WebGL2, coded once more for a GPU's memory: prefix codes, or fields of a few bits,
 * in streams of four rows. FORMAT.md appendix A. Fragment shaders cannot make them: the CPU does.
 */
import { HanselError } from '../core/errors.js';
import { rowQuads } from '../core/vectors.js';
import { losslessUniforms } from './parts.js';
import { PACKED_UNIT, StreamLayout, bytesOf, sizesOf } from './stream_layout.js';
import { TILE } from './webgl_products.js';
import { WebGlStore } from './webgl_store.js';
import { readWeights } from './webgl_values.js';

/** Columns of a run: streams of 1024 weights. */
const RUN_COLUMNS = 256;
/** Marks of a run: marks.glsl. */
const MARKS = 16;
/** KIND of matvec_streams.frag.glsl. */
const KIND = { float: 0, integer: 1, lossless: 2 };
/** Fragments of a product, about: of a GPU, and of a CPU that pretends to be one. */
const FRAGMENTS = { gpu: 1 << 16, software: 1 << 11 };

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('../core/recoder.js').Code} Code */
/** @typedef {import('./recode.js').Recoded} Recoded */
/** @typedef {import('./webgl_context.js').Program} Program */
/** @typedef {import('./stream_layout.js').StreamPart & {words: WebGLTexture, bases: WebGLTexture,
 *   raw: WebGLTexture | null, symbols: WebGLTexture | null}} GlStreamsPart */

export class WebGlStreams extends WebGlStore {
  /** @type {GlStreamsPart[]} */
  parts = [];
  /** @type {WebGLTexture | null} */
  #table = null;

  /**
   * @param {import('./webgl_device.js').WebGl} gpu @param {string} name @param {Blob} blob
   * @param {Code} code
   */
  constructor(gpu, name, blob, code) {
    super(gpu, name);
    this.blob = blob;
    this.form = code.form;
    this.code = code;
    this.isPrefix = code.form === 'prefix';
    this.layout = new StreamLayout(code, blob.rows, blob.columns, RUN_COLUMNS, PACKED_UNIT);
    this.floatKind = blob.rawBytes ? KIND.lossless : KIND.float;
    this.isTall = code.table.length > gpu.textureSize;
    if (this.isPrefix) this.#table = this.weigh(this.#makeTable(), code.table.byteLength);
  }

  /** One row, where textures go so far: the fewest operations lead to it. */
  #makeTable() {
    const { gpu, code: { table } } = this;
    if (this.isTall) return gpu.filled(table);
    const texture = gpu.texture(table.length, 1, gpu.gl.R32UI);
    gpu.write(texture, 1, 0, table, table.length);
    return texture;
  }

  /** The next rows, as the CPU coded them. @param {number} rows @param {Recoded[]} blocks */
  addRows(rows, blocks) {
    const { gpu, layout } = this;
    const bases = layout.bases(sizesOf(blocks));
    const part = layout.nextPart(this.parts, rows);
    this.#checkRoom(4 * part.steps); // as symbols
    this.parts.push({
      ...part,
      words: this.#units(blocks), bases: this.weigh(gpu.filled(bases), bases.byteLength),
      raw: null, symbols: null,
    });
  }

  /** A part's raw plane. @param {number} index of the part @param {Recoded[]} blocks */
  addRaw(index, blocks) {
    this.parts[index].raw = this.#units(blocks);
  }

  /** @param {number} bytes of one texture of a part's @throws {HanselError} HANSEL_ERR_LIMIT */
  #checkRoom(bytes) {
    if (bytes <= this.gpu.bindingBytes) return;
    throw new HanselError('HANSEL_ERR_LIMIT', '256 rows are larger than a texture', {
      expected: `at most ${this.gpu.bindingBytes} bytes`, got: bytes, where: this.name,
    });
  }

  /** @param {Recoded[]} blocks @throws {HanselError} HANSEL_ERR_LIMIT */
  #units(blocks) {
    const { gpu } = this;
    const total = bytesOf(blocks);
    this.#checkRoom(total);
    const texture = this.weigh(gpu.array(total / 16, gpu.gl.RGBA32UI), total);
    let at = 0;
    for (const { bytes } of blocks) {
      gpu.writeBytes(texture, 4, at / 16, bytes);
      at += bytes.length;
    }
    return texture;
  }

  /** struct Streams of the shaders. @param {number} rows of a part */
  #uniforms(rows) {
    const { layout: { columns, runColumns, runCount }, code } = this;
    return {
      'streams.rows': rows, 'streams.columns': columns, 'streams.run_quads': runColumns / 4,
      'streams.run_count': runCount, 'streams.origin': code.origin << 24 >> 24 >>> 0,
    };
  }

  /** What shaders of such a form are compiled with. @returns {Record<string, number>} */
  get #defines() {
    const { weightsPerCode, bits } = this.code;
    return this.isPrefix
      ? { WEIGHTS_PER_CODE: weightsPerCode, SLOT_COUNT: 1 << bits, TALL_TABLE: this.isTall ? 1 : 0 }
      : { BITS: bits };
  }

  /** @param {GlStreamsPart} part */
  #inputs(part) {
    return {
      units: part.words, bases: part.bases, ...this.isPrefix ? { table: this.#table } : {},
    };
  }

  /** MatrixStore.decode(): RGBA32UI arrays of u32s of four symbols, rowQuads to a row. */
  async decode() {
    const { gpu, layout, parts, isPrefix } = this;
    const [unpack, marks] = await gpu.guard(() => Promise.all([
      gpu.program(isPrefix ? 'unpack_prefix' : 'unpack_packed', this.#defines),
      isPrefix ? gpu.program('marks', this.#defines) : null]));
    /** @type {WebGLTexture[]} */
    const made = [];
    try {
      await gpu.guard(async () => {
        this.checkAlive();
        for (const part of parts) {
          const symbols = this.keep(gpu.array(Math.ceil(part.steps / 4), gpu.gl.RGBA32UI));
          made.push(symbols);
          const uniforms = {
            ...this.#uniforms(part.rows), quad_count: part.rows * rowQuads(layout.columns),
            mark_quads: layout.runColumns / 4 / MARKS,
          };
          const found = marks ? this.#mark(marks, part, uniforms) : {};
          gpu.fill(unpack, { ...this.#inputs(part), ...found }, uniforms, symbols, 0,
            Math.ceil(part.steps / 4));
          for (const texture of Object.values(found)) gpu.free(texture);
        }
        await gpu.finished();
        this.checkAlive();
      });
    } catch (error) {
      for (const symbols of made) this.drop(symbols);
      throw error;
    }
    parts.forEach((part, i) => { part.symbols = made[i]; });
  }

  /**
   * Finds where streams of prefix codes can be entered.
   * @param {Program} program @param {GlStreamsPart} part
   * @param {import('./webgl_context.js').Uniforms} uniforms @returns {Record<string, WebGLTexture>}
   */
  #mark(program, part, uniforms) {
    const { gpu, layout: { runCount } } = this;
    const streams = Math.ceil(part.rows / 4) * runCount;
    const [first, second] = [0, 1].map(() => gpu.array(streams, gpu.gl.RGBA32UI));
    const width = 1 << gpu.widthLog2;
    gpu.begin(program);
    gpu.bind(program, this.#inputs(part));
    gpu.set(program, uniforms);
    gpu.attach([[first], [second]]);
    gpu.draw(0, width, Math.ceil(streams / width));
    gpu.rest();
    return { marks_0: first, marks_1: second };
  }

  /** @type {import('./matrix.js').MatrixStore['read']} */
  read(target, first, count, out) {
    return readWeights(this, target, first, count, out);
  }

  /** What readWeights() is to know of a part's raw plane. @param {GlStreamsPart} part */
  rawPlane({ raw, firstRow, rows }) {
    const pitch = this.blob.columns * this.blob.rawBytes;
    return {
      texture: raw, pitch, offset: -firstRow * pitch,
      ...raw ? { streams: { 'streams.rows': rows, raw_pitch: pitch } } : {},
    };
  }

  /* ---- products ---- */

  /**
   * How fragments lie in the sums' texture: pieces of rows one after the other.
   * @throws {HanselError} HANSEL_ERR_LIMIT
   */
  #grid() {
    const { gpu, name, layout: { rows, runCount, runColumns } } = this;
    const quads = Math.ceil(rows / 4);
    const wanted = quads * runCount / FRAGMENTS[gpu.isSoftware ? 'software' : 'gpu'];
    const size = 2 ** Math.floor(Math.log2(gpu.textureSize));
    const most = Math.floor(size * gpu.textureSize / quads); // pieces that fit the texture
    if (!most) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the sums do not fit a texture', {
        expected: `at most ${size * gpu.textureSize} fragments`, got: quads, where: name,
      });
    }
    const runsEach = Math.max(1, Math.ceil(runCount / most),
      Math.min(Math.ceil(wanted), Math.floor(gpu.drawSteps / runColumns)));
    const pieces = Math.ceil(runCount / runsEach);
    const fragments = quads * pieces;
    // A square is what rasterizers like best.
    const log2 = Math.min(Math.log2(size),
      Math.ceil(Math.log2(Math.max(1, Math.sqrt(fragments), fragments / gpu.textureSize))));
    return { quads, runsEach, pieces, log2, width: 2 ** log2, height: Math.ceil(fragments / 2 ** log2) };
  }

  /** @type {WebGlStore['compile']} */
  async compile(integer) {
    const { gpu, programs, code, isPrefix } = this;
    const defines = /** @type {Record<string, number>} */ ({
      ...this.#defines, KIND: integer ? KIND.integer : this.floatKind,
      ...isPrefix ? {} : { HAS_CENTER: code.origin && this.floatKind === KIND.float ? 1 : 0 },
    });
    for (const tile of integer ? [1] : [1, TILE]) {
      programs.set(`${integer} ${tile}`, await gpu.program(
        isPrefix ? 'matvec_prefix' : 'matvec_packed', { ...defines, TILE: tile }));
    }
    programs.set('reduce', await gpu.program('reduce'));
  }

  /** @type {WebGlStore['draw']} */
  draw(product) {
    const { gpu, blob, layout } = this;
    const { x, xOffset, xStride, batch, integer } = product;
    const tile = batch === 1 || integer ? 1 : TILE;
    const program = /** @type {Program} */ (this.programs.get(`${integer} ${tile}`));
    const { quads, runsEach, pieces, log2, width, height } = this.#grid();
    const { texture } = this.scratch(`sums ${tile}`, () => ({
      texture: this.keep(gpu.texture(width, height, gpu.gl.RGBA32UI, tile)),
    }));
    for (let first = 0; first < batch; first += tile) {
      gpu.begin(program);
      gpu.set(program, {
        'product.runs_each': runsEach, 'product.sum_quads': quads, 'product.grid_log2': log2,
        'product.x_start': xOffset + first * xStride, 'product.x_stride': xStride,
        'product.last': Math.min(tile, batch - first) - 1,
        'product.raw_bytes': blob.rawBytes, 'product.raw_units': layout.rawRoom(1, blob.rawBytes) / 16,
        ...losslessUniforms(blob),
      });
      gpu.attach(Array.from({ length: tile }, (_, i) => (
        /** @type {[WebGLTexture, number]} */ ([texture, i]))));
      for (const part of this.parts) {
        const from = part.firstRow / 4;
        const end = from + Math.ceil(part.rows / 4) + (pieces - 1) * quads;
        gpu.bind(program, {
          ...this.#inputs(part), x,
          ...!integer && this.floatKind === KIND.lossless ? { raw: part.raw } : {},
        });
        gpu.set(program, { ...this.#uniforms(part.rows), 'product.first_quad': from });
        const top = Math.floor(from / width);
        gpu.draw(top, width, Math.ceil(end / width) - top);
      }
      gpu.rest();
      this.reduce({
        texture, texels: tile, passRows: 4, segments: 1, layers: tile, log2, height, pieces,
        rowsPerStream: 4, streamStep: 1, pieceStep: quads,
      }, tile, first, layout.rows, product, !integer && blob.mode === 'grid' ? blob.step : 1);
    }
  }
}
