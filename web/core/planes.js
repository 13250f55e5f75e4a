/**
 * Tensors as several matrices: the wasm build of src/planes.c. Synchronous, stateless between
 * calls.
 */
import { DTYPES, dtypeBytes } from './dtypes.js';
import { HanselError } from './errors.js';
import * as C from './structs.js';
import { Wasm, loadFile } from './wasm.js';

/**
 * Items of a block: FORMAT.md section 7.
 * @typedef {object} Field
 * @property {number} blockBytes
 * @property {number} bitOffset
 * @property {number} itemBits from one to the next
 * @property {number} items
 * @property {number} width bits of an item: 1 to 8, 16 or 32
 */
/** @typedef {{columns: number, depth: number, group: number, pitch: number}} Base which number of
 *   another plane is to be added to which element: FORMAT.md section 7 */

/** Rows that can be dealt to classes, at most: each takes a kilobyte. */
export const MAX_CLASS_ROWS = 65536;

/** @type {Promise<Planes> | undefined} */
let planes;

/** @returns {Promise<Planes>} one for all @throws {import('./errors.js').HanselError} HANSEL_ERR_SOURCE */
export function loadPlanes() {
  if (!planes) {
    planes = loadFile('planes.wasm').then((module) => new Planes(module));
    planes.catch(() => { planes = undefined; });
  }
  return planes;
}

/** @param {Field} field @param {number} element @returns {number} byte where its block begins */
const blockStart = ({ blockBytes, items }, element) => Math.floor(element / items) * blockBytes;

/**
 * The bytes that hold some elements.
 * @param {Field} field @param {number} first @param {number} end elements
 * @returns {[number, number]} start and end of whole blocks
 */
export const bytesOf = (field, first, end) => (
  [blockStart(field, first), blockStart(field, end + field.items - 1)]);

/** One wasm instance. */
export class Planes {
  /** @param {WebAssembly.Module} module */
  constructor(module) {
    this.wasm = new Wasm(module);
  }

  /** @param {Field} field @returns {number} address of a hansel_field */
  #field({ blockBytes, bitOffset, itemBits, items, width }) {
    return this.wasm.put(new Uint8Array(
      Uint32Array.of(blockBytes, bitOffset, itemBits, items, width).buffer));
  }

  /**
   * @param {Field} field @param {Uint8Array} bytes as bytesOf() says
   * @param {number} first element @param {number} end behind the last
   * @returns {Uint8Array<ArrayBuffer>} elements of a plane
   */
  get(field, bytes, first, end) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const size = (end - first) * Math.ceil(field.width / 8);
      const to = wasm.alloc(size);
      wasm.call.hansel_get_field(to, this.#field(field), wasm.put(bytes), first % field.items,
        end - first);
      return wasm.get(to, size);
    });
  }

  /**
   * The inverse.
   * @param {Field} field @param {Uint8Array} into where items go that are zero still, as bytesOf()
   *   says
   * @param {Uint8Array} elements @param {number} first
   * @throws {HanselError} HANSEL_ERR_CORRUPT for one that is too large
   */
  put(field, into, elements, first) {
    const { wasm } = this;
    wasm.scoped(() => {
      const to = wasm.put(into);
      if (!wasm.call.hansel_put_field(to, this.#field(field), wasm.put(elements),
        first % field.items, elements.length / Math.ceil(field.width / 8))) {
        throw new HanselError('HANSEL_ERR_CORRUPT', 'an element of a plane is too large', {
          expected: `less than ${2 ** field.width}`, got: elements.reduce((a, b) => Math.max(a, b)),
        });
      }
      wasm.get(to, into.length, into);
    });
  }

  /**
   * Adds a base's numbers, or subtracts them.
   * @param {Base} base @param {Uint8Array} values the whole plane that they come from
   * @param {Uint8Array} elements changed @param {number} first of them @param {number} width
   * @param {boolean} [isMinus]
   */
  addBase({ columns, depth, group, pitch }, values, elements, first, width, isMinus = false) {
    const { wasm } = this;
    // What a slice needs begins in the row of its first element; rows go by `group` of them, which
    // are whole groups of numbers.
    const rowOf = (/** @type {number} */ i) => Math.floor(i / depth / columns);
    const skipped = Math.floor(rowOf(first) / group) * group;
    const last = Math.floor((rowOf(first + elements.length - 1) * depth + depth - 1) / group);
    wasm.scoped(() => {
      const struct = wasm.put(new Uint8Array(Uint32Array.of(columns, depth, group, pitch).buffer));
      const to = wasm.put(elements);
      const from = wasm.put(values.subarray(skipped * depth / group * pitch, last * pitch + columns));
      const call = isMinus ? wasm.call.hansel_subtract_base : wasm.call.hansel_add_base;
      call(to, from, struct, BigInt(first - skipped * columns * depth), elements.length, width);
      wasm.get(to, elements.length, elements);
    });
  }

  /**
   * What each of some rows holds, for classify().
   * @param {string} dtype @param {Uint8Array} bytes whole rows @param {number} rows
   * @returns {Uint32Array<ArrayBuffer>} 256 counts a row
   */
  rowCounts(dtype, bytes, rows) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const counts = wasm.zero(1024 * rows);
      wasm.call.hansel_row_counts(counts, DTYPES[/** @type {'F32'} */ (dtype)], wasm.put(bytes),
        BigInt(rows), BigInt(bytes.length / dtypeBytes(dtype) / rows));
      return new Uint32Array(wasm.get(counts, 1024 * rows).buffer);
    });
  }

  /**
   * Deals rows to classes.
   * @param {Uint32Array} counts 256 for each row
   * @returns {{map: Uint8Array<ArrayBuffer>, saved: number}} each row's class; bits that are saved, 0
   *   where one class is best
   */
  classify(counts) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const rows = counts.length / 256;
      const map = wasm.alloc(rows);
      const saved = wasm.call.hansel_classify(map,
        wasm.put(new Uint8Array(counts.buffer, counts.byteOffset, counts.byteLength)), rows,
        wasm.alloc(C.SIZEOF_CLASSES));
      return { map: wasm.get(map, rows), saved };
    });
  }
}
