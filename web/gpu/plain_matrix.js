/**
 * What matrices that are not coded share on all back ends: which there are, how
 * their rows arrive, and the interface of a loaded matrix.
 */
import { convert } from '../core/convert.js';
import { typedArray } from '../core/dtypes.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { takeTurn } from '../core/turn.js';
import { checkFloat, checkFloats, checkInteger, checkVector } from '../core/vectors.js';
import { decodeTarget } from './parts.js';

/** What rows are padded to, in bytes: what one load of a GPU's fetches. */
export const ROW_ALIGN = 16;
/** Bytes read back at a time. */
const READ_BYTES = 16 << 20;
/** As shaders/matvec_plain.wgsl. @type {Record<string, {code: number, bytes: number}>} */
export const KINDS = {
  F32: { code: 1, bytes: 4 }, F16: { code: 2, bytes: 2 }, BF16: { code: 3, bytes: 2 },
  I8: { code: 4, bytes: 1 },
};

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../core/vectors.js').Vector} Vector */
/**
 * @typedef {'group' | 'invocation'} Layout who computes a row: many, which is best on a GPU, or one
 *   invocation (fragment), which is best where a CPU pretends to be one
 */
/**
 * @typedef {object} PlainOptions
 * @property {AbortSignal} [signal] @property {Layout} [layout] default: by the adapter
 * @property {(progress: {done: number, total: number, tensor: string}) => void} [onProgress] in bytes
 */
/**
 * @typedef {object} PlainDescription
 * @property {string} dtype F32, F16, BF16 or I8: packed elements, lowest bits first
 * @property {number} rows @property {number} columns
 * @property {number} [scale] of the product, such as a grid's step; default 1; not of integer ones
 * @property {string} [name] for errors
 */

export const ceilTo = (/** @type {number} */ n, /** @type {number} */ unit) => (
  Math.ceil(n / unit) * unit);

/**
 * Rows of a matrix that lies in parts.
 * @template {{firstRow: number, rows: number}} P
 * @param {P[]} parts @param {number} rowPitch bytes from row to row
 * @param {number} firstRow @param {number} count
 * @param {(part: P, start: number, bytes: number) => Promise<Uint8Array>} read bytes of a part
 * @returns {Promise<Uint8Array>} count * rowPitch bytes
 */
export async function gatherRows(parts, rowPitch, firstRow, count, read) {
  const out = new Uint8Array(count * rowPitch);
  for (const part of parts) {
    const from = Math.max(firstRow, part.firstRow);
    const end = Math.min(firstRow + count, part.firstRow + part.rows);
    if (from >= end) continue;
    out.set(await read(part, (from - part.firstRow) * rowPitch, (end - from) * rowPitch),
      (from - firstRow) * rowPitch);
  }
  return out;
}

/** @param {string} dtype @param {string} name */
export function checkDtype(dtype, name) {
  if (Object.hasOwn(KINDS, dtype)) return;
  throw new HanselError('HANSEL_ERR_DTYPE', 'no products with this dtype', {
    expected: Object.keys(KINDS).join(', '), got: dtype, where: name,
  });
}

/**
 * How rows of a buffer or texture of the caller's lie.
 * @param {PlainDescription & {rowPitch?: number}} description @param {number} [size] bytes there
 * @returns {number} bytes from row to row
 * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE
 */
export function checkPitch({ dtype, rows, columns, rowPitch, name = 'plain matrix' }, size = Infinity) {
  checkDtype(dtype, name);
  const rowBytes = columns * KINDS[dtype].bytes;
  const pitch = rowPitch ?? ceilTo(rowBytes, 4);
  const bytes = rows ? (rows - 1) * pitch + rowBytes : 0;
  if (![rows, columns].every(Number.isSafeInteger) || Math.min(rows, columns) < 0
    || pitch % 4 || !(pitch >= rowBytes) || size < bytes) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'the buffer cannot hold this matrix', {
      expected: 'a pitch that is a multiple of 4 and holds a row, and room for all rows',
      got: `${rows} x ${columns} ${dtype}, pitch ${pitch}, ${size} bytes`, where: name,
    });
  }
  return pitch;
}

/**
 * A tensor that was passed through, as a matrix.
 * @param {Model} model @param {string} name
 * @returns {{dtype: string, rows: number, columns: number, rowBytes: number, rowPitch: number}}
 * @throws {HanselError} HANSEL_ERR_TENSOR; HANSEL_ERR_DTYPE when it is coded or no float or I8
 */
export function plainTensor(model, name) {
  const { dtype, shape, mode } = model.tensor(name);
  if (mode !== 'pass-through') {
    throw new HanselError('HANSEL_ERR_DTYPE', 'the tensor is coded: load() takes it', {
      expected: 'a tensor that was passed through', got: mode, where: name,
    });
  }
  checkDtype(dtype, name);
  const columns = shape[shape.length - 1] ?? 1;
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const rowBytes = columns * KINDS[dtype].bytes;
  return { dtype, rows, columns, rowBytes, rowPitch: ceilTo(rowBytes, ROW_ALIGN) };
}

/**
 * A tensor's bytes as they arrive.
 * @param {Model} model @param {string} name @param {PlainOptions} options
 * @param {(bytes: Uint8Array) => Promise<void> | void} push
 */
export async function pushBytes(model, name, { signal, onProgress }, push) {
  const total = model.tensor(name).bytes;
  let done = 0;
  for await (const { bytes } of model.slices(name, { signal })) {
    checkAborted(signal);
    await push(bytes);
    done += bytes.length;
    onProgress?.({ done, total, tensor: name });
  }
}

/** Bytes of rows, in chunks of any size, to padded rows on a GPU. */
export class RowUpload {
  /** Of the tensor, at the next byte. */
  row = 0;
  /** Of the row, likewise. */
  at = 0;

  /**
   * @param {number} rowBytes @param {number} rowPitch a multiple of ROW_ALIGN
   * @param {number} partRows rows that are written at a time, at most, and never across multiples
   * @param {(row: number, at: number, bytes: Uint8Array) => void} write gets multiples of ROW_ALIGN
   */
  constructor(rowBytes, rowPitch, partRows, write) {
    this.rowBytes = rowBytes;
    this.rowPitch = rowPitch;
    this.partRows = partRows;
    this.write = write;
    /** The row that a chunk left unfinished, from `at - carried` on. */
    this.carry = new Uint8Array(ROW_ALIGN);
    this.carried = 0;
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    const { rowBytes, rowPitch } = this;
    for (let from = 0; from < bytes.length;) {
      const isStart = this.at === 0;
      const whole = isStart ? Math.min(Math.floor((bytes.length - from) / rowBytes),
        this.partRows - this.row % this.partRows) : 0;
      if (whole) {
        this.#write(0, this.#padded(bytes.subarray(from, from + whole * rowBytes), whole));
        this.row += whole;
        from += whole * rowBytes;
        continue;
      }
      const count = Math.min(rowBytes - this.at, bytes.length - from);
      this.#piece(bytes.subarray(from, from + count), this.at + count === rowBytes);
      from += count;
    }
  }

  /** Rows with their padding. @param {Uint8Array} bytes @param {number} rows */
  #padded(bytes, rows) {
    const { rowBytes, rowPitch } = this;
    if (rowPitch === rowBytes) return bytes;
    const padded = new Uint8Array(rows * rowPitch);
    for (let row = 0; row < rows; row++) {
      padded.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), row * rowPitch);
    }
    return padded;
  }

  /** A row's next bytes: whole units are written, the others wait for more.
   * @param {Uint8Array} bytes @param {boolean} isLast */
  #piece(bytes, isLast) {
    const { rowPitch } = this;
    const start = this.at - this.carried;
    const joint = new Uint8Array(isLast ? rowPitch - start : this.carried + bytes.length);
    joint.set(this.carry.subarray(0, this.carried));
    joint.set(bytes, this.carried);
    const whole = joint.length - joint.length % ROW_ALIGN;
    this.#write(start, joint.subarray(0, whole));
    this.carried = joint.length - whole;
    this.carry.set(joint.subarray(whole));
    this.at = isLast ? 0 : this.at + bytes.length;
    if (isLast) this.row++;
  }

  /** @param {number} at of the row @param {Uint8Array} bytes */
  #write(at, bytes) {
    if (bytes.length) this.write(this.row, at, bytes);
  }
}

/**
 * The interface of a matrix that is not coded. A back end's own class adds what multiplies and what
 * reads back.
 */
export class PlainBase {
  /** What load() read it from, for verify(). @type {Model | null} */
  model = null;
  #isDestroyed = false;

  /** @param {PlainDescription & {rowPitch: number}} description */
  constructor({ dtype, rows, columns, rowPitch, scale = 1, name = 'plain matrix' }) {
    this.name = name;
    this.dtype = dtype;
    this.mode = /** @type {const} */ ('pass-through');
    this.rows = rows;
    this.columns = columns;
    /** Bytes from row to row. */
    this.rowPitch = rowPitch;
    this.scale = scale;
    /** What products ask of a coded matrix. */
    this.blob = { mode: 'plain', dtype, rows, columns, pieces: 1 };
  }

  /** @throws {HanselError} HANSEL_ERR_DESTROYED */
  checkAlive() {
    if (!this.#isDestroyed) return;
    throw new HanselError('HANSEL_ERR_DESTROYED', 'the matrix was destroyed', { where: this.name });
  }

  /**
   * The product. @param {Float32Array | Uint16Array | Int8Array} x @param {number} batch
   * @param {Float32Array | undefined} bias @param {boolean} integer
   * @returns {Promise<ArrayBuffer>} of float32 or int32
   */
  multiply(x, batch, bias, integer) {
    throw new Error(`no product of ${x.length}, ${batch}, ${bias?.length}, ${integer}`);
  }

  /**
   * Rows with their padding. @param {number} firstRow @param {number} count
   * @returns {Promise<Uint8Array>} count * rowPitch bytes; of the last row's padding none need be there
   */
  readRows(firstRow, count) {
    throw new Error(`no rows ${firstRow}, ${count}`);
  }

  /** As WebGpuMatrix.matvec(). @param {Vector} x @param {{bias?: Float32Array}} [options] */
  async matvec(x, { bias } = {}) {
    return this.matmul(x, 1, { bias });
  }

  /**
   * As WebGpuMatrix.matmul().
   * @param {Vector} x @param {number} batch @param {{bias?: Float32Array}} [options]
   * @returns {Promise<Float32Array>}
   */
  async matmul(x, batch, { bias } = {}) {
    this.checkAlive();
    const { rows, name } = this;
    checkFloat(this.blob, name);
    const vectors = checkFloats(this, x, batch);
    if (bias) checkVector({ rows, columns: rows, name: `${name} bias` }, bias, 'Float32Array', 1);
    return new Float32Array(await this.multiply(vectors, batch, bias, false));
  }

  /**
   * I8 weights times signed bytes: exact, not scaled.
   * @param {Int8Array} x @returns {Promise<Int32Array>} rows
   * @throws {HanselError} HANSEL_ERR_DTYPE for floats, HANSEL_ERR_LIMIT above 131,071 columns
   */
  async matvecI8(x) {
    this.checkAlive();
    checkInteger(this.blob, this.name);
    checkVector(this, x, 'Int8Array', 1);
    return new Int32Array(await this.multiply(x, 1, undefined, true));
  }

  /**
   * The weights, read back, not scaled.
   * @param {{dtype?: string}} [options] 'F32' (the default for floats), 'F16' or 'BF16'; I8 has only
   *   its own
   * @returns {Promise<any>} row-major typed array @throws {HanselError} HANSEL_ERR_DTYPE, _DESTROYED
   */
  async decode({ dtype } = {}) {
    this.checkAlive();
    const { target } = decodeTarget(/** @type {any} */ (this.blob), dtype, this.name);
    return typedArray(target, /** @type {ArrayBuffer} */ (
      convert(await this.#bytes(), this.dtype, target).buffer));
  }

  /** @returns {Promise<Int8Array>} I8 weights, row-major @throws {HanselError} HANSEL_ERR_DTYPE */
  async symbols() {
    if (this.dtype !== 'I8') {
      throw new HanselError('HANSEL_ERR_DTYPE', 'a tensor that is not coded has no symbols', {
        expected: 'I8, or a coded tensor', got: this.dtype, where: this.name,
      });
    }
    return this.decode();
  }

  async #bytes() {
    const { rows, columns, rowPitch } = this;
    const rowBytes = columns * KINDS[this.dtype].bytes;
    const out = allocate(rows * rowBytes, this.name);
    const unit = Math.max(1, Math.floor(READ_BYTES / Math.max(rowPitch, 1)));
    for (let first = 0; first < rows && rowBytes; first += unit) {
      const count = Math.min(unit, rows - first);
      const padded = await this.readRows(first, count);
      this.checkAlive();
      for (let i = 0; i < count; i++) {
        out.set(padded.subarray(i * rowPitch, i * rowPitch + rowBytes), (first + i) * rowBytes);
      }
    }
    return out;
  }

  /**
   * Compares what was loaded with the file.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{ok: true} | {ok: false, tensor: string, row: number, column: number,
   *   expected: number, got: number}>} the first byte that differs
   * @throws {HanselError} HANSEL_ERR_ARGUMENT if load() did not make the matrix; as Model.verify()
   */
  async verify({ signal } = {}) {
    this.checkAlive();
    const { model, name, columns } = this;
    if (!model) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'no file to compare with', {
        expected: 'a matrix that load() made', where: name,
      });
    }
    const bytes = await this.#bytes();
    let at = 0;
    for await (const { bytes: expected } of model.slices(name, { signal })) {
      await takeTurn();
      for (let i = 0; i < expected.length; i++, at++) {
        if (bytes[at] === expected[i]) continue;
        const element = Math.floor(at / KINDS[this.dtype].bytes);
        return {
          ok: /** @type {const} */ (false), tensor: name, row: Math.floor(element / columns),
          column: element % columns, expected: expected[i], got: bytes[at],
        };
      }
    }
    return { ok: /** @type {const} */ (true) };
  }

  /** Frees the memory, but nothing of yours. The matrix cannot be used afterwards. */
  destroy() {
    this.#isDestroyed = true;
  }
}
