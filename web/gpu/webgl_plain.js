/**
 * Weights on WebGL2 that are not coded: tensors that passed through, decoded ones, your own.
 * Uploaded as they lie, 16 bytes to a texel.
 */
import { HanselError } from '../core/errors.js';
import { KINDS, ROW_ALIGN, checkPitch, readRows } from './plain_rows.js';
import { TILE } from './webgl_products.js';
import { WebGlStore } from './webgl_store.js';

/** Rows of a fragment. */
const ROWS = 4;
/** Fragments that keep a GPU busy: fewer rows are shared by more of them. */
const FRAGMENTS = 1 << 15;

/** @typedef {import('./webgl_device.js').WebGl} WebGl */
/** @typedef {import('./plain_rows.js').PlainRows} PlainRows */
/** @typedef {{texture: WebGLTexture, firstRow: number, rows: number}} GlPlainPart */
/**
 * @typedef {import('./plain_rows.js').PlainDescription & {texture: WebGLTexture, rowPitch?: number,
 *   layout?: import('./plain_rows.js').Layout}}
 *   PlainTexture texture: RGBA32UI, an array in rows of 2^gpu.widthLog2 texels, 16 bytes to a texel;
 *   stays yours. rowPitch: bytes from row to row, a multiple of 4 (of 16 is faster); default: rows
 *   padded to 4 bytes, as Matrix.texture has them. Padding can hold anything
 */

export class WebGlPlain extends WebGlStore {
  /** @type {GlPlainPart[]} */
  parts = [];

  /** @param {WebGl} gpu @param {string} name @param {PlainRows} plain */
  constructor(gpu, name, plain) {
    super(gpu, name);
    this.form = /** @type {const} */ ('plain');
    this.plain = plain;
    this.layout = plain.layout ?? (gpu.isSoftware ? 'invocation' : 'group');
  }

  /**
   * A texture of the user's.
   * @param {WebGl} gpu @param {PlainTexture} description
   * @returns {WebGlPlain} free() leaves the texture alone
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE; HANSEL_ERR_LIMIT if no texture can hold it
   */
  static inTexture(gpu, description) {
    const { texture, dtype, rows, columns, layout, scale = 1, name = 'plain matrix' } = description;
    const rowPitch = checkPitch(description);
    if (rows * rowPitch > ROW_ALIGN * gpu.arrayTexels) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'no texture holds this matrix', {
        expected: `at most ${ROW_ALIGN * gpu.arrayTexels} bytes`, got: rows * rowPitch, where: name,
      });
    }
    const store = new WebGlPlain(gpu, name, { dtype, rows, columns, rowPitch, layout, scale });
    if (rows) store.parts.push({ texture, firstRow: 0, rows });
    return store;
  }

  /** Makes room. @returns {number} rows of a part, but for the last */
  allocate() {
    const { gpu, name, plain: { rows, rowPitch } } = this;
    const most = Math.floor(ROW_ALIGN * gpu.arrayTexels / Math.max(rowPitch, 1));
    const partRows = rows <= most ? rows : most - most % ROWS;
    if (rows && !partRows) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'four rows are larger than a texture', {
        expected: `at most ${ROW_ALIGN * gpu.arrayTexels} bytes`, got: ROWS * rowPitch, where: name,
      });
    }
    for (let firstRow = 0; firstRow < rows; firstRow += partRows) {
      const count = Math.min(partRows, rows - firstRow);
      const texture = this.weigh(gpu.array(count * rowPitch / ROW_ALIGN, gpu.gl.RGBA32UI),
        count * rowPitch);
      this.parts.push({ texture, firstRow, rows: count });
    }
    return partRows;
  }

  /** @param {number} row @param {number} at byte of the row @param {Uint8Array} bytes */
  write(row, at, bytes) {
    const { texture, firstRow } = this.parts[Math.floor(row / this.parts[0].rows)];
    this.gpu.writeBytes(texture, 4, ((row - firstRow) * this.plain.rowPitch + at) / ROW_ALIGN, bytes);
  }

  /** @type {import('./matrix.js').MatrixStore['read']} */
  read(target, first, count, out) {
    const { gpu } = this;
    return readRows(this.plain, this.parts, async ({ texture }, start, bytes) => {
      const texel = Math.floor(start / ROW_ALIGN);
      const words = await gpu.guard(() => {
        this.checkAlive();
        return gpu.readArray(texture, texel, Math.ceil((start + bytes) / ROW_ALIGN) - texel);
      });
      return new Uint8Array(words.buffer, words.byteOffset + start - texel * ROW_ALIGN, bytes);
    }, target, first, count, out);
  }

  /** How fragments lie in the sums' texture. @throws {HanselError} HANSEL_ERR_LIMIT */
  #grid() {
    const { gpu, layout, name, plain: { rows, columns, dtype } } = this;
    const groups = Math.ceil(rows / ROWS);
    const loads = Math.max(1, Math.ceil(columns * KINDS[dtype].bytes / ROW_ALIGN));
    const pieces = layout === 'invocation' ? 1
      : Math.max(1, Math.min(64, Math.floor(loads / 4), Math.floor(FRAGMENTS / groups)));
    const fragments = groups * pieces;
    const log2 = Math.ceil(Math.log2(Math.max(1, Math.sqrt(fragments))));
    if (2 ** log2 > gpu.textureSize) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the sums do not fit a texture', {
        expected: `at most ${gpu.textureSize ** 2} fragments`, got: fragments, where: name,
      });
    }
    return { pieces, log2, width: 2 ** log2, height: Math.ceil(fragments / 2 ** log2) };
  }

  /** @type {WebGlStore['compile']} */
  async compile(integer) {
    const { gpu, programs, plain: { dtype, rowPitch } } = this;
    for (const tile of integer ? [1] : [1, TILE]) {
      programs.set(`${integer} ${tile}`, await gpu.program('matvec_plain', {
        DTYPE: KINDS[dtype].code, TILE: tile, IS_INTEGER: integer ? 1 : 0,
        WIDE: rowPitch % ROW_ALIGN ? 0 : 1,
      }));
    }
    programs.set('reduce', await gpu.program('reduce'));
  }

  /** @type {WebGlStore['draw']} */
  draw(product) {
    const { gpu, plain: { rows, columns, rowPitch, scale } } = this;
    const { x, xOffset, xStride, batch, integer } = product;
    const tile = batch === 1 || integer ? 1 : TILE;
    const program = /** @type {import('./webgl_context.js').Program} */ (
      this.programs.get(`${integer} ${tile}`));
    const { pieces, log2, width, height } = this.#grid();
    const { texture } = this.scratch(`sums ${tile}`, () => ({
      texture: this.keep(gpu.texture(width, height, gpu.gl.RGBA32UI, tile)),
    }));
    for (let first = 0; first < batch; first += tile) {
      gpu.begin(program);
      gpu.set(program, {
        'plain.columns': columns, 'plain.row_pitch': rowPitch / 4, 'plain.pieces': pieces,
        'plain.grid_log2': log2, 'plain.x_start': xOffset + first * xStride,
        'plain.x_stride': xStride, 'plain.last': Math.min(tile, batch - first) - 1,
      });
      gpu.attach(Array.from({ length: tile }, (_, i) => (
        /** @type {[WebGLTexture, number]} */ ([texture, i]))));
      for (const { texture: weights, firstRow, rows: own } of this.parts) {
        const from = firstRow / ROWS * pieces;
        const end = from + Math.ceil(own / ROWS) * pieces;
        gpu.bind(program, { weights, x });
        gpu.set(program, { 'plain.first': from, 'plain.end': end, 'plain.rows': own });
        const top = Math.floor(from / width);
        gpu.draw(top, width, Math.ceil(end / width) - top);
      }
      gpu.rest();
      this.reduce({
        texture, texels: tile, passRows: ROWS, segments: 1, layers: tile, log2, height, pieces,
        rowsPerStream: ROWS,
      }, tile, first, rows, product, integer ? 1 : scale);
    }
  }
}
