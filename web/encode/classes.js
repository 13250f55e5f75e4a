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
 * @param {AbortSignal} [signal]
 * @returns {Promise<{map: Uint8Array<ArrayBuffer>, saved: number} | null>} each row's class, and how
 *   many bits that saves; null where one is best
 */
export async function findClasses(planes, { dtype, shape, read }, signal) {
  const { rows, columns } = view(shape);
  if (rows < 2 || rows > MAX_CLASS_ROWS || columns < LEAST_COLUMNS || rows * columns < LEAST_WEIGHTS) {
    return null;
  }
  const rowBytes = columns * dtypeBytes(dtype);
  const step = Math.min(SLICE_ROWS, Math.max(1, Math.floor(SLICE / columns)));
  const counts = new Uint32Array(256 * rows);
  for (let row = 0; row < rows; row += step) {
    await takeTurn();
    checkAborted(signal);
    const end = Math.min(row + step, rows);
    counts.set(planes.rowCounts(dtype, await read(row * rowBytes, end * rowBytes), end - row), 256 * row);
  }
  const found = planes.classify(counts);
  return found.saved > 0 ? found : null;
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
