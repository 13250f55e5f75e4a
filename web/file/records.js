/** What the directory says of each tensor, and what of it cannot be (FORMAT.md section 7). */
import { DTYPES, DTYPE_NAMES } from '../core/dtypes.js';
import { locate } from '../core/errors.js';
import { malformed } from './header_crc.js';
import { elementCount, isCount } from './safetensors.js';

/** Kinds of records. */
export const [STORED, DEFLATED, LOSSLESS, GRID, PLANES] = /** @type {const} */ ([0, 1, 2, 3, 4]);
/** Entropies are in so many parts of a bit. */
export const ENTROPY_UNIT = 512;
/** No deflated bytes become more than so many times as many, and these. */
export const [INFLATE_RATIO, INFLATE_MORE] = [1032, 64];
const [MAX_CLASSES, MAX_PLANES, MAX_BLOCK] = [8, 64, 4096];
/** Of planes that do not say it. @type {Record<string, number>} */
const WIDTHS = { F16: 16, BF16: 16, F32: 32 };

/**
 * @typedef {object} Matrix elements in blobs
 * @property {number[]} blobs bytes of each: one, or the map of classes and then each class's
 * @property {number} entropy of an element, raw bits included, in 1/512 bit
 */
/**
 * @typedef {object} Base what is subtracted from a plane's elements: those of another plane
 * @property {string} tensor name @property {number} plane
 * @property {number} columns @property {number} depth @property {number} group
 * @property {number} pitch
 */
/**
 * @typedef {object} Plane items of all blocks
 * @property {number} bitOffset of the first item in a block
 * @property {number} itemBits from item to item @property {number} items of a block
 * @property {'U8' | 'F16' | 'BF16' | 'F32'} dtype of its blobs
 * @property {number} width bits of an item
 * @property {Base} [base] @property {Matrix} matrix
 */
/** @typedef {{kind: 0, crc32c: number}} Stored */
/** @typedef {{kind: 1, bytes: number, crc32c: number}} Deflated crc32c: of what it inflates to */
/** @typedef {{kind: 2, matrix: Matrix}} Lossless */
/** @typedef {{kind: 3, step: number, matrix: Matrix}} Grid */
/** @typedef {{kind: 4, blockBytes: number, planes: Plane[]}} Planes */
/** @typedef {Stored | Deflated | Lossless | Grid | Planes} TensorRecord */
/** @typedef {import('./safetensors.js').TensorEntry} TensorEntry */

/** @param {TensorRecord} record @returns {Matrix[]} in the order of its parts */
export const matricesOf = (record) => ('planes' in record ? record.planes.map(({ matrix }) => matrix)
  : 'matrix' in record ? [record.matrix] : []);

/** @param {TensorRecord} record @param {number} size of the tensor
 * @returns {number[]} bytes of each of its parts */
export const partsOf = (record, size) => (record.kind === STORED ? [size]
  : record.kind === DEFLATED ? [record.bytes] : matricesOf(record).flatMap(({ blobs }) => blobs));

/** Reads forward; where it ends early, that is an error. */
export class Cursor {
  #view;
  #at;

  /** @param {Uint8Array} bytes @param {number} at */
  constructor(bytes, at) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#at = at;
  }

  get left() {
    return this.bytes.length - this.#at;
  }

  /** @param {number} count @returns {number} where so many bytes begin */
  #skip(count) {
    if (count > this.left) throw malformed('the directory ends early', `${count} bytes`, `${this.left}`);
    this.#at += count;
    return this.#at - count;
  }

  byte() {
    return this.#view.getUint8(this.#skip(1));
  }

  word() {
    return this.#view.getUint32(this.#skip(4), true);
  }

  float() {
    return this.#view.getFloat32(this.#skip(4), true);
  }

  /** Seven bits a byte, the lowest first. */
  number() {
    let value = 0;
    for (let unit = 1, last = 128; last > 127; unit *= 128) {
      last = this.byte();
      value += last % 128 * unit;
      if (!isCount(value)) throw malformed('a number is too large', 'less than 2^53');
    }
    return value;
  }

  /** @param {number} count */
  some(count) {
    const start = this.#skip(count);
    return this.bytes.subarray(start, start + count);
  }
}

/**
 * @param {Cursor} cursor behind the header; at the end afterwards
 * @param {Map<string, TensorEntry>} tensors of the header
 * @returns {Map<string, TensorRecord>}
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_MANIFEST
 */
export function readRecords(cursor, tensors) {
  const names = [...tensors.keys()];
  /** @type {Map<string, TensorRecord>} */
  const records = new Map();
  for (const [name, entry] of tensors) {
    try {
      records.set(name, readRecord(cursor, entry, names));
    } catch (error) {
      throw locate(error, name);
    }
  }
  if (cursor.left) throw malformed('something follows the last record', '0 bytes', `${cursor.left}`);
  for (const [name, record] of records) {
    for (const plane of record.kind === PLANES ? record.planes : []) {
      if (plane.base) checkBase(name, plane, plane.base, tensors, records);
    }
  }
  return records;
}

/** @param {boolean} isRight @param {string} message @param {unknown} [got] @param {string} [where] */
function check(isRight, message, got, where) {
  if (!isRight) throw malformed(message, undefined, got === undefined ? got : `${got}`, where);
}

/** @param {Cursor} cursor @param {TensorEntry} entry @param {string[]} names of all tensors
 * @returns {TensorRecord} */
function readRecord(cursor, { dtype, shape, start, end }, names) {
  const size = end - start;
  const kind = cursor.byte();
  if (kind === STORED) return { kind, crc32c: cursor.word() };
  if (kind === DEFLATED) {
    const bytes = cursor.number();
    check(size <= INFLATE_RATIO * bytes + INFLATE_MORE, `so few bytes do not inflate to ${size}`, bytes);
    return { kind, bytes, crc32c: cursor.word() };
  }
  if (kind === LOSSLESS) {
    check(dtype in DTYPES, 'a dtype that is not coded', dtype);
    return { kind, matrix: readMatrix(cursor, elementCount(shape.slice(0, -1))) };
  }
  if (kind === GRID) {
    check(dtype in DTYPES && DTYPES[/** @type {'F32'} */ (dtype)] <= DTYPES.BF16,
      'a grid of a dtype that has none', dtype);
    const step = cursor.float();
    check(step >= 2 ** -126 && step < Infinity, 'an impossible step', step);
    return { kind, step, matrix: readMatrix(cursor, 1) };
  }
  check(kind === PLANES, 'an unknown kind', kind);
  const blockBytes = cursor.number();
  check(blockBytes > 0 && blockBytes <= MAX_BLOCK && size % blockBytes === 0,
    `blocks that do not fill ${size} bytes`, blockBytes);
  const count = cursor.number();
  check(count > 0 && count <= MAX_PLANES, 'no number of planes', count);
  const planes = Array.from({ length: count }, () => readPlane(cursor, size / blockBytes, names));
  checkCover(planes, 8 * blockBytes);
  return { kind: /** @type {4} */ (kind), blockBytes, planes };
}

/** @param {Cursor} cursor @param {number} rows @returns {Matrix} */
function readMatrix(cursor, rows) {
  const classes = cursor.number();
  check(classes > 0 && classes <= Math.min(MAX_CLASSES, Math.max(rows, 1)), 'no number of classes',
    classes);
  const blobs = Array.from({ length: classes > 1 ? classes + 1 : 1 }, () => cursor.number());
  return { blobs, entropy: cursor.number() };
}

/** @param {Cursor} cursor @param {number} blocks @param {string[]} names @returns {Plane} */
function readPlane(cursor, blocks, names) {
  const [bitOffset, itemBits, items] = [cursor.number(), cursor.number(), cursor.number()];
  const dtype = /** @type {Plane['dtype']} */ (DTYPE_NAMES[cursor.byte()]);
  check(dtype === 'U8' || dtype in WIDTHS, 'no dtype of a plane', dtype);
  const width = WIDTHS[dtype] ?? cursor.byte();
  check(dtype !== 'U8' || (width > 0 && width < 9), 'no width of a plane', width);
  const hasBase = cursor.byte();
  check(hasBase === 0 || (hasBase === 1 && dtype === 'U8'), 'neither a base nor none', hasBase);
  const plane = { bitOffset, itemBits, items, dtype, width };
  if (!hasBase) return { ...plane, matrix: readMatrix(cursor, blocks * items) };
  const [tensor, ...numbers] = Array.from({ length: 6 }, () => cursor.number());
  check(tensor < names.length, 'a base that is not there', tensor);
  const [number, columns, depth, group, pitch] = numbers;
  const base = { tensor: names[tensor], plane: number, columns, depth, group, pitch };
  return { ...plane, base, matrix: readMatrix(cursor, blocks * items) };
}

/** Planes cover each bit of a block once. @param {Plane[]} planes @param {number} bits of a block */
function checkCover(planes, bits) {
  const isTaken = new Uint8Array(bits);
  let left = bits;
  for (const { bitOffset, itemBits, items, dtype, width } of planes) {
    check(items > 0 && bitOffset + (items - 1) * itemBits + width <= bits, 'a plane beyond its block');
    for (let at = bitOffset, item = 0; item < items; item++, at += itemBits) {
      check(at % 8 + (dtype === 'U8' ? width : 8) <= 8, 'an item across bytes', at);
      for (let bit = at; bit < at + width; bit++) {
        check(!isTaken[bit], 'planes that overlap', bit);
        isTaken[bit] = 1;
      }
      left -= width;
    }
  }
  check(left === 0, 'bits that are in no plane', left);
}

/**
 * @param {string} name @param {Plane} plane of that tensor @param {Base} base of it
 * @param {Map<string, TensorEntry>} tensors @param {Map<string, TensorRecord>} records
 */
function checkBase(name, { items, width }, base, tensors, records) {
  const { tensor, plane, columns, depth, group, pitch } = base;
  const other = records.get(tensor);
  check(other?.kind === PLANES && other.planes.every((one) => !one.base), 'a base that has no planes, or a base',
    tensor, name);
  const planes = /** @type {Planes} */ (other);
  const below = planes.planes[plane];
  check(below?.dtype === 'U8' && below.width === width, 'no such base', plane, name);
  const elements = (/** @type {string} */ of, /** @type {number} */ each) => {
    const { start, end } = /** @type {TensorEntry} */ (tensors.get(of));
    return (end - start) / /** @type {Planes} */ (records.get(of)).blockBytes * each;
  };
  const rows = elements(name, items) / (columns * depth);
  const last = Math.floor((rows * depth - 1) / group) * pitch + columns - 1;
  check(Number.isInteger(rows) && (rows === 0 || last < elements(tensor, below.items)),
    'a base that does not fit', [columns, depth, group, pitch], name);
}
