/** Rows of matrices that are not coded: which dtypes there are, how they lie, how they arrive. */
import { convert } from '../core/convert.js';
import { HanselError } from '../core/errors.js';

/** What rows are padded to on GPUs, in bytes: what one load fetches. */
export const ROW_ALIGN = 16;
/** Bytes read back at a time. */
const READ_BYTES = 16 << 20;
/** As shaders/matvec_plain.wgsl. @type {Record<string, {code: number, bytes: number}>} */
export const KINDS = {
  F32: { code: 1, bytes: 4 }, F16: { code: 2, bytes: 2 }, BF16: { code: 3, bytes: 2 },
  I8: { code: 4, bytes: 1 },
};

/**
 * @typedef {'group' | 'invocation'} Layout who computes a row: many, which is best on a GPU, or one
 *   invocation (fragment), which is best where a CPU pretends to be one
 */
/**
 * @typedef {object} PlainDescription
 * @property {import('../core/dtypes.js').Dtype} dtype F32, F16, BF16 or I8: packed elements, lowest bits first
 * @property {number} rows @property {number} columns
 * @property {number} [scale] of the product, such as a grid's step; default 1; not of integer ones
 * @property {string} [name] for errors
 */
/**
 * @typedef {object} PlainRows what a store of plain rows is told
 * @property {import('../core/dtypes.js').Dtype} dtype @property {number} rows @property {number} columns
 * @property {number} rowPitch bytes from row to row
 * @property {Layout} [layout] @property {number} scale
 */

/** @param {string} dtype @param {string} name @throws {HanselError} HANSEL_ERR_DTYPE */
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
  const pitch = rowPitch ?? Math.ceil(rowBytes / 4) * 4;
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
 * MatrixStore.read() of rows that lie in parts.
 * @param {PlainRows} plain
 * @param {{firstRow: number, rows: number}[]} parts
 * @param {(part: any, start: number, bytes: number) => Promise<Uint8Array>} read bytes of a part; of
 *   the padding behind the last row none need be there
 * @param {string} target a dtype, or 'symbols' of I8 @param {number} first @param {number} count
 * @param {Uint8Array} out receives count rows
 */
export async function readRows({ dtype, columns, rowPitch }, parts, read, target, first, count, out) {
  const rowBytes = columns * KINDS[dtype].bytes;
  const outBytes = out.length / count;
  const unit = Math.max(1, Math.floor(READ_BYTES / rowPitch));
  for (const part of parts) {
    const end = Math.min(first + count, part.firstRow + part.rows);
    for (let row = Math.max(first, part.firstRow); row < end; row += unit) {
      const some = Math.min(unit, end - row);
      const padded = await read(part, (row - part.firstRow) * rowPitch, some * rowPitch);
      const rows = new Uint8Array(some * rowBytes);
      for (let i = 0; i < some; i++) {
        rows.set(padded.subarray(i * rowPitch, i * rowPitch + rowBytes), i * rowBytes);
      }
      out.set(target === 'symbols' ? rows : convert(rows, dtype, target), (row - first) * outBytes);
    }
  }
}

/** Bytes of rows, in chunks of any size, to padded rows on a GPU. */
export class RowUpload {
  /** Of the tensor, at the next byte. */
  row = 0;
  /** Of the row, likewise. */
  at = 0;

  /**
   * @param {number} rowBytes @param {number} rowPitch a multiple of align
   * @param {number} partRows rows that are written at a time, at most, and never across multiples
   * @param {number} align what bytes are written in multiples of
   * @param {(row: number, at: number, bytes: Uint8Array) => void} write
   */
  constructor(rowBytes, rowPitch, partRows, align, write) {
    this.rowBytes = rowBytes;
    this.rowPitch = rowPitch;
    this.partRows = partRows;
    this.write = write;
    /** The row that a chunk left unfinished, from `at - carried` on. */
    this.align = align;
    this.carry = new Uint8Array(align);
    this.carried = 0;
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    const { rowBytes } = this;
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
    const whole = joint.length - joint.length % this.align;
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
