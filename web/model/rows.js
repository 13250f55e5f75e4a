/**
 * Some rows of a coded tensor: streams are independent, so only those that hold
 * the rows are read and decoded.
 */
import { convert } from '../core/convert.js';
import { dtypeBytes, typedArray } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { streamRanges } from '../core/ranges.js';
import { takeTurn } from '../core/turn.js';
import { viewOf } from '../core/vectors.js';
import { dtypeBits } from '../file/safetensors.js';
import { locate } from './tensor_reader.js';

/** Weights of a slice, unless one stream has more. */
const SLICE = 1 << 20;

/** @typedef {import('../core/codec.js').Blob} Blob */

/**
 * @param {number} first @param {number} count @param {number} rows @param {string} where
 * @throws {HanselError} HANSEL_ERR_ARGUMENT
 */
export function checkRows(first, count, rows, where) {
  if (Number.isSafeInteger(first) && Number.isSafeInteger(count) && first >= 0 && count >= 0
    && first + count <= rows) return;
  throw new HanselError('HANSEL_ERR_ARGUMENT', 'no such rows', {
    expected: `whole numbers, rows below ${rows}`, got: `${count} rows from ${first} on`, where,
  });
}

/**
 * @param {object} coded a coded tensor
 * @param {import('../core/codec.js').Codec} coded.codec
 * @param {Blob} coded.blob
 * @param {Uint32Array} coded.cursors as Codec.readCursors()
 * @param {(from: number, to: number) => Promise<Uint8Array> | Uint8Array} coded.read bytes of the
 *   payload; not modified
 * @param {number} from first weight @param {number} to behind the last
 * @param {string} dtype 'I8' gives a grid's indices
 * @returns {Promise<Uint8Array>} elements, row-major, the caller's
 * @throws {HanselError} HANSEL_ERR_CORRUPT
 */
export async function readWeights({ codec, blob, cursors, read }, from, to, dtype) {
  const { rawBytes, rawStart, dtype: own } = blob;
  const isGrid = blob.mode === 'grid';
  const size = dtypeBytes(dtype);
  const out = allocate((to - from) * size, 'rows');
  for (const { first, last, start, end } of streamRanges(codec, blob, SLICE, { from, to })) {
    await takeTurn();
    const words = await read(2 * cursors[first], 2 * cursors[last]);
    let bytes = codec.decodeStreams(blob, cursors.slice(first, last + 1), first, words, end - start,
      isGrid && dtype !== 'I8' ? dtype : undefined);
    if (rawBytes) {
      bytes = codec.join(own, bytes, await read(rawStart + start * rawBytes,
        rawStart + end * rawBytes));
    }
    const elements = isGrid ? bytes : convert(bytes, own, dtype);
    const [low, high] = [Math.max(start, from), Math.min(end, to)];
    out.set(elements.subarray((low - start) * size, (high - start) * size), (low - from) * size);
  }
  return out;
}

/**
 * Model.rows().
 * @param {import('./tensor_reader.js').TensorReader} reader of the head; its dtype is the result's
 * @param {Map<string, import('./tensor_reader.js').ReadHead>} heads those already read; added to
 * @param {number} first @param {number} count
 * @returns {Promise<any>}
 */
export async function readRows(reader, heads, first, count) {
  const { codec, dtype, name, tensor, place: { source, start }, wanted: { signal } } = reader;
  const { dtype: own, shape, mode } = tensor;
  const columns = shape[shape.length - 1] ?? 1; // a coded tensor's rows may be longer
  checkRows(first, count, viewOf(shape).rows, name);
  try {
    if (mode === 'pass-through') {
      const bits = columns * dtypeBits(own);
      if (bits % 8) {
        throw new HanselError('HANSEL_ERR_DTYPE', 'rows are not whole bytes', {
          expected: 'a multiple of 8 bits', got: `${bits} bits of ${own}`,
        });
      }
      const bytes = await source.read(start + first * bits / 8,
        start + (first + count) * bits / 8, { signal });
      const { buffer } = convert(bytes, own, dtype).slice();
      return typedArray(dtype, /** @type {ArrayBuffer} */ (buffer));
    }
    const known = heads.get(name) ?? await reader.readHead();
    heads.set(name, known);
    const { blob, cursors } = known;
    const payload = start + blob.headBytes;
    const bytes = await readWeights({
      codec, blob, cursors,
      read: (from, to) => source.read(payload + from, payload + to, { signal }),
    }, first * columns, (first + count) * columns, dtype);
    return typedArray(dtype, /** @type {ArrayBuffer} */ (bytes.buffer));
  } catch (error) {
    throw locate(error, name);
  }
}
