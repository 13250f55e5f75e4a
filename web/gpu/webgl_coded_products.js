/**
 * Products of coded weights on WebGL2: one fragment decodes one stream, and leaves its rows' sums in
 * a texture. matvec.frag.glsl.
 */
import { HanselError } from '../core/errors.js';
import { rowQuads } from '../core/vectors.js';
import { losslessUniforms, symbolColumns } from './parts.js';
import { TILE } from './webgl_products.js';
import { WebGlStore } from './webgl_store.js';

/** KIND of matvec.frag.glsl. */
const KIND = { float: 0, integer: 1, lossless: 2 };

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('./webgl_context.js').Program} Program */
/** @typedef {import('./parts.js').Part & {words: WebGLTexture | null, raw: WebGLTexture | null,
 *   cursors: WebGLTexture | null, symbols: WebGLTexture | null}} GlPart */
/**
 * How a tile's product is drawn.
 * @typedef {Omit<import('./webgl_store.js').Sums, 'texture'> & {isSplit: boolean, passes: number,
 *   blocks: number}} Drawing
 *   isSplit: streams take several passes; blocks follow each other downwards in the texture
 */

export class WebGlCodedProducts extends WebGlStore {
  /** @type {GlPart[]} */
  parts = [];
  /** The decoding table: GlContext.table(). @type {WebGLTexture | WebGLBuffer | null} */
  table = null;

  /** @param {import('./webgl_device.js').WebGl} gpu @param {string} name @param {Blob} blob */
  constructor(gpu, name, blob) {
    super(gpu, name);
    this.blob = blob;
    this.floatKind = blob.rawBytes ? KIND.lossless : KIND.float;
    this.pieces = Math.max(blob.pieces, 1);
    this.rowsPerStream = Math.max(blob.rowsPerStream, 1);
    this.streams = blob.streamCount || blob.rows;
  }

  /** struct Blob of the shaders, but for the part. */
  blobUniforms() {
    const { blob } = this;
    return {
      'blob.rows': blob.rows, 'blob.columns': blob.columns, 'blob.pieces': this.pieces,
      'blob.rows_per_stream': this.rowsPerStream, 'blob.slot_bits': blob.slotBits,
      'blob.origin': blob.origin, 'blob.alphabet_size': blob.alphabetSize,
      'blob.tail_bits': blob.tailBits, 'blob.tail_steps': blob.tailSteps,
    };
  }

  /** Where the raw bytes of a part's first weight are in its `raw`. @param {GlPart} part */
  rawStart({ startWeight, rawFrom }) {
    const { rawStart, rawBytes } = this.blob;
    return rawStart + startWeight * rawBytes - rawFrom;
  }

  /** @param {number} tile @returns {Drawing} @throws {HanselError} HANSEL_ERR_LIMIT */
  #drawing(tile) {
    const { gpu, blob, name, pieces, rowsPerStream, streams } = this;
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
      height: Math.ceil(streams / 2 ** log2), pieces, rowsPerStream,
    };
  }

  /** @param {boolean} integer @param {number} tile */
  #variant(integer, tile) {
    const { isSplit, texels } = this.#drawing(tile);
    return {
      KIND: integer ? KIND.integer : this.floatKind, TILE: tile, TEXELS: texels,
      IS_SPLIT: isSplit ? 1 : 0, WEIGHTS_PER_SYMBOL: this.blob.weightsPerSymbol,
    };
  }

  /** @type {WebGlStore['compile']} */
  async compile(integer) {
    const { gpu, programs } = this;
    for (const tile of integer ? [1] : [1, TILE]) {
      programs.set(`${integer} ${tile}`,
        await gpu.program('matvec', this.#variant(integer, tile)));
    }
    programs.set('reduce', await gpu.program('reduce'));
  }

  /** @type {WebGlStore['draw']} */
  draw(product) {
    const { blob } = this;
    const { x, xOffset, xStride, batch, integer } = product;
    const tile = batch === 1 || integer ? 1 : TILE;
    const program = /** @type {Program} */ (this.programs.get(`${integer} ${tile}`));
    const drawing = this.#drawing(tile);
    const scale = !integer && blob.mode === 'grid' ? blob.step : 1;
    for (let first = 0; first < batch; first += tile) {
      const texture = this.#multiply(program, drawing, tile, integer, x, {
        'product.x_start': xOffset + first * xStride, 'product.x_stride': xStride,
        'product.last': Math.min(tile, batch - first) - 1,
      });
      this.reduce({ ...drawing, texture }, tile, first, blob.rows, product, scale);
    }
  }

  /**
   * Draws the sums of one tile.
   * @param {Program} program @param {Drawing} drawing @param {number} tile @param {boolean} integer
   * @param {WebGLTexture} x @param {import('./webgl_context.js').Uniforms} uniforms of the tile
   * @returns {WebGLTexture} the sums
   */
  #multiply(program, drawing, tile, integer, x, uniforms) {
    const { gpu, blob } = this;
    const { sums, states, places } = this.#room(drawing, tile);
    const pretended = blob.streamCount ? null : this.#pretend();
    const width = 2 ** drawing.log2;
    const perBlock = drawing.layers / drawing.texels;
    gpu.begin(program);
    gpu.set(program, {
      ...this.blobUniforms(),
      // A tensor without streams is decoded from made-up ones.
      'blob.slot_bits': blob.streamCount ? blob.slotBits : 8, 'grid.log2': drawing.log2,
      'product.raw_bytes': blob.rawBytes, ...losslessUniforms(blob), ...uniforms,
    });
    for (const part of blob.weights ? this.parts : []) {
      const count = blob.streamCount ? part.count : this.streams;
      const y = Math.floor(part.first / width);
      const height = Math.ceil((part.first + count) / width) - y;
      gpu.set(program, {
        'blob.first_stream': part.first, 'grid.end': part.first + count,
        'product.raw_start': this.rawStart(part), 'product.raw_weight': part.startWeight,
      });
      const fixed = {
        words: pretended?.words ?? part.words, cursors: pretended?.cursors ?? part.cursors,
        slots: pretended?.table ?? this.table, x,
        ...(!integer && this.floatKind === KIND.lossless ? { raw: part.raw } : {}),
      };
      let last = 0;
      for (let pass = 0; pass < drawing.passes; pass++) {
        const block = Math.floor(pass / perBlock) * drawing.height;
        const first = Math.floor(pass / drawing.segments) * drawing.passRows;
        const segment = pass % drawing.segments;
        const [now, before] = [pass % 2, 1 - pass % 2];
        gpu.attach([
          ...Array.from({ length: drawing.texels }, (_, i) => (
            /** @type {[WebGLTexture, number]} */ ([sums, pass % perBlock * drawing.texels + i]))),
          ...(drawing.isSplit ? /** @type {[WebGLTexture][]} */ (
            [[states[now]], [places[now]]]) : [])]);
        gpu.bind(program, drawing.isSplit ? {
          ...fixed, src_state: states[before], src_cursor: places[before],
        } : fixed);
        gpu.set(program, {
          'grid.first_row': first, 'grid.row_end': first + drawing.passRows,
          'grid.first_step': drawing.segments > 1 ? segment * gpu.drawSteps : 0,
          'grid.step_end': drawing.segments > 1 ? (segment + 1) * gpu.drawSteps
            : rowQuads(blob.columns),
          'grid.src_row': last, 'grid.dst_row': block,
        });
        gpu.draw(block + y, width, height);
        last = block;
      }
    }
    gpu.rest();
    return sums;
  }

  /** Textures for what passes leave. @param {Drawing} drawing @param {number} tile */
  #room(drawing, tile) {
    const { gpu } = this;
    const { gl } = gpu;
    return this.scratch(`sums ${tile}`, () => {
      const [width, height] = [2 ** drawing.log2, drawing.height * drawing.blocks];
      const make = (/** @type {number} */ format, /** @type {number} */ layers) => this.keep(
        gpu.texture(width, height, format, layers || undefined));
      const pair = (/** @type {number} */ format) => (drawing.isSplit
        ? [make(format, 0), make(format, 0)] : []);
      return {
        sums: make(gl.RGBA32UI, drawing.layers), states: pair(gl.RGBA32UI), places: pair(gl.R32UI),
      };
    });
  }

  /**
   * A tensor without streams gets some: a stream to a row, all reading the same states, which its
   * one symbol of probability 1 never changes.
   */
  #pretend() {
    const { gpu, blob } = this;
    return this.scratch('pretended', () => ({
      words: this.keep(gpu.filled(new Uint32Array(8).fill(65536))),
      cursors: this.keep(gpu.filled(new Uint32Array(blob.rows + 1))),
      table: this.keep(gpu.table(new Uint32Array(256).map(
        (_, slot) => slot << 20 | blob.origin << 12 | 256))),
    }));
  }
}
