/**
 * Rows of different scale, dealt to classes with a table of their own: which rows go where, and the
 * matrices that come of it.
 */
import { dtypeBytes } from '../core/dtypes.js';
import { checkAborted } from '../core/errors.js';
import { MAX_CLASS_ROWS } from '../core/planes.js';
import { takeTurn } from '../core/turn.js';
import { elementCount } from '../file/safetensors.js';

/** Rows of fewer weights tell too little of themselves, and fill no step. */
const LEAST_COLUMNS = 8;
/** Tensors of fewer weights do not pay for two tables. */
const LEAST_WEIGHTS = 1 << 12;
/** Weights of a slice, and rows, each of which is a kilobyte of counts. */
const SLICE = 1 << 18;
const SLICE_ROWS = 1 << 12;
/** Of tensors of so many weights, blocks of some rows are asked first whether there is anything to gain. */
const LARGE = 1 << 22;
const SHARE = 8;
const BLOCK_BYTES = 1 << 14;
/** Bytes of a tensor kept in memory, to gather rows from; of others they are read anew. */
const KEEP_BYTES = 64 << 20;

/** @typedef {import('./encode.js').Input} Input */

/**
 * The matrix view of a tensor: its last dimension is a row.
 * @param {number[]} shape @returns {{rows: number, columns: number}}
 */
function view(shape) {
  const columns = shape[shape.length - 1] ?? 1;
  return { rows: columns ? elementCount(shape) / columns : 0, columns };
}

/**
 * Deals a tensor's rows to classes.
 * @param {import('../core/planes.js').Planes} planes @param {Input} input
 * @param {number} least bits that are worth it
 * @param {AbortSignal} [signal]
 * @returns {Promise<{map: Uint8Array<ArrayBuffer>, saved: number} | null>} each row's class, and how
 *   many bits that saves; null where one is best
 */
export async function findClasses(planes, { dtype, shape, read }, least, signal) {
  const { rows, columns } = view(shape);
  if (rows < 2 || rows > MAX_CLASS_ROWS || columns < LEAST_COLUMNS || rows * columns < LEAST_WEIGHTS) {
    return null;
  }
  const rowBytes = columns * dtypeBytes(dtype);
  const count = async (/** @type {number} */ row, /** @type {number} */ end) => {
    await takeTurn();
    checkAborted(signal);
    return planes.rowCounts(dtype, await read(row * rowBytes, end * rowBytes), end - row);
  };
  if (rows * columns >= LARGE && await mostSaved(rows, rowBytes, count) < least / 2) return null;
  const step = Math.min(SLICE_ROWS, Math.max(1, Math.floor(SLICE / columns)));
  const counts = new Uint32Array(256 * rows);
  for (let row = 0; row < rows; row += step) {
    counts.set(await count(row, Math.min(row + step, rows)), 256 * row);
  }
  const found = planes.classify(counts);
  return found.saved > 0 ? found : null;
}

/**
 * Bits that classes could save, as some of the rows have it: what each row would by a table of its own that cost
 * nothing, less what it seems to by chance (G. Miller, 1955).
 * @param {number} rows @param {number} rowBytes
 * @param {(row: number, end: number) => Promise<Uint32Array>} count 256 for each row
 * @returns {Promise<number>} of all rows
 */
async function mostSaved(rows, rowBytes, count) {
  const block = Math.max(1, Math.floor(BLOCK_BYTES / rowBytes));
  const period = SHARE * block;
  if (rows < 32 * period) return Infinity;
  const all = new Float64Array(256);
  const entropy = (/** @type {ArrayLike<number>} */ counts) => {
    let [total, sum, used] = [0, 0, 0];
    for (let i = 0; i < counts.length; i++) {
      const n = counts[i];
      if (!n) continue;
      total += n;
      sum += n * Math.log2(n);
      used++;
    }
    return total * Math.log2(total) - sum + (used - 1) / 2 * Math.LOG2E;
  };
  let [saved, seen] = [0, 0];
  for (let at = 0, i = 0; at + period <= rows; at += period, i++) {
    const row = at + block * (Math.imul(i, 0x9E3779B1) >>> 29); // no period of the tensor's own is missed
    const counts = await count(row, row + block);
    for (let j = 0; j < counts.length; j++) all[j & 255] += counts[j];
    for (let j = 0; j < counts.length; j += 256) saved -= entropy(counts.subarray(j, j + 256));
    seen += block;
  }
  return (saved + entropy(all)) * rows / seen;
}

/**
 * The map and the matrices of the classes, as tensors of their own.
 * @param {Input} input @param {Uint8Array} map each row's class
 * @returns {Input[]} the map first
 */
export function classInputs({ name, dtype, shape, read }, map) {
  const { columns } = view(shape);
  const rowBytes = columns * dtypeBytes(dtype);
  /** @type {number[][]} */
  const classes = [];
  map.forEach((k, row) => (classes[k] ??= []).push(row));
  /** @type {Promise<Uint8Array> | undefined} */
  let kept;
  const readFrom = async (/** @type {number} */ start, /** @type {number} */ end) => {
    if (map.length * rowBytes > KEEP_BYTES) return read(start, end);
    kept ??= read(0, map.length * rowBytes);
    return (await kept).subarray(start, end);
  };
  return [
    { name, dtype: 'U8', shape: [map.length], read: async (start, end) => map.subarray(start, end) },
    ...classes.map((rows) => ({
      name, dtype, shape: [rows.length, columns],
      /** @type {Input['read']} */
      read: async (start, end) => {
        const out = new Uint8Array(end - start);
        if (start === end) return out;
        const some = rows.slice(Math.floor(start / rowBytes), Math.ceil(end / rowBytes));
        const from = some[0] * rowBytes;
        const span = await readFrom(from, (some[some.length - 1] + 1) * rowBytes);
        let at = -(start % rowBytes);
        for (const row of some) {
          const low = Math.max(0, -at);
          const own = row * rowBytes - from;
          const high = Math.min(rowBytes, out.length - at);
          out.set(span.subarray(own + low, own + high), at + low);
          at += rowBytes;
        }
        return out;
      },
    })),
  ];
}
