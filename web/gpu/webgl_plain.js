/**
 * Matrices on WebGL2 that are not coded: tensors that passed through, decoded
 * ones, your own. Uploaded as they lie, 16 bytes to a texel.
 */
import { HanselError } from '../core/errors.js';
import { checkFloat, checkInteger, checkXDtype, rowQuads } from '../core/vectors.js';
import {
  KINDS, PlainBase, ROW_ALIGN, RowUpload, checkPitch, gatherRows, plainTensor, pushBytes,
} from './plain_matrix.js';
import { GlProducts } from './webgl_products.js';

const TILE = 4;
/** Rows of a fragment. */
const ROWS = 4;
/** Fragments that keep a GPU busy: fewer rows are shared by more of them. */
const FRAGMENTS = 1 << 15;
const I8_SCALE = 2 ** -24;

/** @typedef {import('./webgl_device.js').WebGl} WebGl */
/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('./plain_matrix.js').Layout} Layout */
/** @typedef {import('./plain_matrix.js').PlainDescription} PlainDescription */
/** @typedef {{texture: WebGLTexture, firstRow: number, rows: number}} GlPlainPart */
/**
 * @typedef {PlainDescription & {texture: WebGLTexture, rowPitch?: number, layout?: Layout}}
 *   PlainTexture texture: RGBA32UI, an array in rows of 2^gpu.widthLog2 texels, 16 bytes to a texel;
 *   stays yours. rowPitch: bytes from row to row, a multiple of 4 (of 16 is faster); default: rows
 *   padded to 4 bytes, as WebGlMatrix.texture has them. Padding can hold anything
 */

/**
 * WebGl.load() for tensors that were passed through.
 * @param {WebGl} gpu @param {Model} model @param {string} name
 * @param {import('./plain_matrix.js').PlainOptions} [options]
 * @returns {Promise<GlPlainMatrix>}
 */
export async function loadWebGlPlain(gpu, model, name, options = {}) {
  const { dtype, rows, columns, rowBytes, rowPitch } = plainTensor(model, name);
  await gpu.ready();
  const most = Math.floor(ROW_ALIGN * gpu.arrayTexels / Math.max(rowPitch, 1));
  const partRows = rows <= most ? rows : most - most % ROWS;
  if (rows && !partRows) {
    throw new HanselError('HANSEL_ERR_LIMIT', 'four rows are larger than a texture', {
      expected: `at most ${ROW_ALIGN * gpu.arrayTexels} bytes`, got: ROWS * rowPitch, where: name,
    });
  }
  const { layout } = options;
  const matrix = new GlPlainMatrix(gpu, { dtype, rows, columns, rowPitch, layout, name });
  try {
    matrix.isOwner = true;
    matrix.model = model;
    await gpu.guard(() => {
      for (let firstRow = 0; firstRow < rows; firstRow += partRows) {
        const count = Math.min(partRows, rows - firstRow);
        const texture = gpu.array(count * rowPitch / ROW_ALIGN, gpu.gl.RGBA32UI);
        matrix.parts.push({ texture, firstRow, rows: count });
      }
    });
    const upload = new RowUpload(rowBytes, rowPitch, partRows, (row, at, bytes) => {
      const { texture, firstRow } = matrix.parts[Math.floor(row / partRows)];
      const whole = bytes.byteOffset % 4 ? bytes.slice() : bytes;
      gpu.write(texture, 4, ((row - firstRow) * rowPitch + at) / ROW_ALIGN,
        new Uint32Array(whole.buffer, whole.byteOffset, whole.length / 4));
    });
    await pushBytes(model, name, options, (bytes) => {
      matrix.checkAlive();
      upload.push(bytes);
    });
    await gpu.guard(() => matrix.checkAlive());
    return matrix;
  } catch (error) {
    matrix.destroy();
    throw error;
  }
}

/** A matrix on the GPU that is not coded. Made by WebGl.load() or GlPlainMatrix.fromTexture(). */
export class GlPlainMatrix extends PlainBase {
  /** @type {GlPlainPart[]} */
  parts = [];
  /** Whether the textures are freed with the matrix. */
  isOwner = false;
  #epoch;

  /**
   * @param {WebGl} gpu
   * @param {Omit<PlainTexture, 'texture'> & {rowPitch: number}} description
   */
  constructor(gpu, description) {
    super(description);
    this.gpu = gpu;
    this.#epoch = gpu.epoch;
    this.rowQuads = rowQuads(this.columns);
    this.layout = description.layout ?? (gpu.isSoftware ? 'invocation' : 'group');
    /** y = W x, from texture to texture: prepare() and encode() as for coded matrices. */
    this.products = new GlPlainProducts(this);
  }

  /**
   * A matrix in a texture of yours, or of a decoded tensor: `GlPlainMatrix.fromTexture(gpu, {
   * texture: w.texture, dtype: 'I8', rows: w.rows, columns: w.columns, scale: w.step })`.
   * @param {WebGl} gpu @param {PlainTexture} description
   * @returns {GlPlainMatrix} destroy() leaves the texture alone
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE; HANSEL_ERR_LIMIT if no texture can hold it
   */
  static fromTexture(gpu, description) {
    const { texture, rows, name = 'plain matrix' } = description;
    const rowPitch = checkPitch(description);
    if (rows * rowPitch > ROW_ALIGN * gpu.arrayTexels) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'no texture holds this matrix', {
        expected: `at most ${ROW_ALIGN * gpu.arrayTexels} bytes`, got: rows * rowPitch, where: name,
      });
    }
    const matrix = new GlPlainMatrix(gpu, { ...description, rowPitch });
    if (rows) matrix.parts.push({ texture, firstRow: 0, rows });
    return matrix;
  }

  /** @throws {HanselError} HANSEL_ERR_DESTROYED, _LOST */
  checkAlive() {
    super.checkAlive();
    this.gpu.checkLost(this.#epoch);
  }

  /** @type {PlainBase['multiply']} */
  async multiply(x, batch, bias, integer) {
    return /** @type {ArrayBuffer} */ ((await this.products.run(x, batch, bias, integer)).buffer);
  }

  /** @type {PlainBase['readRows']} */
  async readRows(firstRow, count) {
    const { gpu, parts, rowPitch } = this;
    return gatherRows(parts, rowPitch, firstRow, count, async ({ texture }, start, bytes) => {
      const first = Math.floor(start / ROW_ALIGN);
      const texels = Math.ceil((start + bytes) / ROW_ALIGN) - first;
      const words = await gpu.guard(() => gpu.readArray(texture, first, texels));
      const skipped = start - first * ROW_ALIGN;
      return new Uint8Array(words.buffer, words.byteOffset + skipped, bytes);
    });
  }

  destroy() {
    super.destroy();
    if (this.isOwner) for (const { texture } of this.parts) this.gpu.free(texture);
    this.products.destroy();
    this.parts = [];
  }
}

/** The products of one plain matrix: those of coded ones, but for the shader. */
class GlPlainProducts extends GlProducts {
  /** @type {Map<string, import('./webgl_context.js').Program>} */
  #programs = new Map();
  /** Sums, by tile. @type {Map<number, WebGLTexture>} */
  #sums = new Map();

  /** @param {GlPlainMatrix} plain */
  constructor(plain) {
    super(/** @type {any} */ (plain));
    this.plain = plain;
  }

  /** How fragments lie in the sums' texture. @throws {HanselError} HANSEL_ERR_LIMIT */
  #grid() {
    const { gpu, rows, columns, dtype, layout, name } = this.plain;
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

  /** Compiles what encode() will need. @param {boolean} integer @param {'F32' | 'F16'} [xDtype] */
  async prepare(integer, xDtype = 'F32') {
    const { gpu, dtype, rowPitch, name } = this.plain;
    this.plain.checkAlive();
    checkXDtype(xDtype, integer, name);
    await gpu.guard(async () => {
      if (xDtype === 'F16') await this.prepareWidening();
      for (const tile of integer ? [1] : [1, TILE]) {
        this.#programs.set(`${integer} ${tile}`, await gpu.program('matvec_plain', {
          DTYPE: KINDS[dtype].code, TILE: tile, IS_INTEGER: integer ? 1 : 0,
          WIDE: rowPitch % ROW_ALIGN ? 0 : 1,
        }));
      }
      this.#programs.set('reduce', await gpu.program('reduce'));
    });
  }

  /**
   * Issues the product's draws; nothing waits or is read back. prepare() must have been awaited.
   * @param {import('./webgl_products.js').GlProductArguments} argument
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT, _DESTROYED, _LOST
   */
  encode(argument) {
    const { integer = false, xDtype = 'F32' } = argument;
    const { plain } = this;
    const { gpu, rows, columns, dtype, rowPitch, name } = plain;
    plain.checkAlive();
    checkXDtype(xDtype, integer, name);
    (integer ? checkInteger : checkFloat)(plain.blob, name);
    const { x, y, xOffset = 0, yOffset = 0, xStride, yStride, batch = 1, bias } = xDtype === 'F16'
      ? this.widen(argument) : argument;
    const tile = batch === 1 || integer ? 1 : TILE;
    const reduce = this.#programs.get('reduce');
    const program = this.#programs.get(`${integer} ${tile}`);
    const stride = yStride ?? rowQuads(rows);
    this.checkArguments(Boolean(reduce && program), argument, stride);
    if (!rows || !reduce || !program) return;
    const { pieces, log2, width, height } = this.#grid();
    const sums = this.#sums.get(tile) ?? gpu.texture(width, height, gpu.gl.RGBA32UI, tile);
    this.#sums.set(tile, sums);
    const scale = integer ? 1 : plain.scale * (dtype === 'I8' ? I8_SCALE : 1);
    const xStep = xStride ?? plain.rowQuads;
    for (let first = 0; first < batch; first += tile) {
      const count = Math.min(tile, batch - first);
      gpu.begin(program);
      gpu.set(program, {
        'plain.columns': columns, 'plain.row_pitch': rowPitch / 4, 'plain.pieces': pieces,
        'plain.grid_log2': log2, 'plain.x_start': xOffset + first * xStep,
        'plain.x_stride': xStep, 'plain.last': count - 1,
      });
      gpu.attach(Array.from({ length: tile }, (_, i) => (
        /** @type {[WebGLTexture, number]} */ ([sums, i]))));
      for (const { texture, firstRow, rows: own } of plain.parts) {
        const from = firstRow / ROWS * pieces;
        const end = from + Math.ceil(own / ROWS) * pieces;
        gpu.bind(program, { weights: texture, x });
        gpu.set(program, { 'plain.first': from, 'plain.end': end, 'plain.rows': own });
        const top = Math.floor(from / width);
        gpu.draw(top, width, Math.ceil(end / width) - top);
      }
      gpu.rest();
      this.reduce(reduce, sums, {
        first, count, tile, y, yOffset, stride, bias, x, integer, scale, pieces,
        rowsPerStream: ROWS, passRows: ROWS, segments: 1, texels: tile, layers: tile, log2, height,
      });
    }
  }

  destroy() {
    for (const texture of this.#sums.values()) this.plain.gpu.free(texture);
    this.#sums.clear();
    super.destroy();
  }
}
