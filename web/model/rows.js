/**
 * Some rows of a coded tensor: streams are independent, so only those that hold
 * the rows are read and decoded.
 */
import { convert } from '../core/convert.js';
import { dtypeBytes, typedArray } from '../core/dtypes.js';
import { HanselError, locate } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { streamRanges } from '../core/ranges.js';
import { takeTurn } from '../core/turn.js';
import { viewOf } from '../core/vectors.js';
import { dtypeBits } from '../file/safetensors.js';
import { TensorReader, drain } from './tensor_reader.js';

/** Weights of a slice, unless one stream has more. */
const SLICE = 1 << 20;
/** Streams between two whose first word is kept: a head of a hundred bytes can claim 2^27 streams. */
const STRIDE = 1 << 12;

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {{slice: (first: number, end: number) => Uint32Array}} Cursors some of those of
 *   Codec.readCursors(), which gives all */
/** @typedef {{blob: Blob, cursors: Cursors}} KnownHead */

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
 * Where weights' raw bits are.
 * @param {Blob} blob @param {number} start weight @param {number} end behind the last
 * @returns {{from: number, to: number, firstBit: number}} bytes of the payload, and the bit of the first
 */
export function rawRange({ rawStart, rawBits }, start, end) {
  const bit = start * rawBits;
  return {
    from: rawStart + Math.floor(bit / 8), to: rawStart + Math.ceil(end * rawBits / 8), firstBit: bit % 8,
  };
}

/**
 * @param {object} coded a coded tensor
 * @param {import('../core/codec.js').Codec} coded.codec
 * @param {Blob} coded.blob
 * @param {Cursors} coded.cursors
 * @param {(from: number, to: number) => Promise<Uint8Array> | Uint8Array} coded.read bytes of the
 *   payload; not modified
 * @param {number} from first weight @param {number} to behind the last
 * @param {string} dtype 'I8' gives a grid's indices
 * @returns {Promise<Uint8Array>} elements, row-major, the caller's
 * @throws {HanselError} HANSEL_ERR_CORRUPT
 */
export async function readWeights({ codec, blob, cursors, read }, from, to, dtype) {
  const { dtype: own } = blob;
  const isGrid = blob.mode === 'grid';
  const size = dtypeBytes(dtype);
  const out = allocate((to - from) * size, 'rows');
  for (const { first, last, start, end } of streamRanges(codec, blob, SLICE, { from, to })) {
    await takeTurn();
    const some = cursors.slice(first, last + 1);
    const words = await read(2 * some[0], 2 * some[last - first]);
    let bytes = codec.decodeStreams(blob, some, first, words, end - start,
      isGrid && dtype !== 'I8' ? dtype : undefined);
    if (blob.rawBytes) {
      const { from: low, to: high, firstBit } = rawRange(blob, start, end);
      bytes = codec.joinPacked(blob, bytes, await read(low, high), firstBit);
    }
    const elements = isGrid ? bytes : convert(bytes, own, dtype);
    const [low, high] = [Math.max(start, from), Math.min(end, to)];
    out.set(elements.subarray((low - start) * size, (high - start) * size), (low - from) * size);
  }
  return out;
}

/**
 * @param {import('../core/codec.js').Codec} codec
 * @param {import('./tensor_reader.js').ReadHead} read
 * @returns {Cursors} which takes a 500th of the memory of all
 */
function sparseCursors(codec, { blob, head }) {
  /** The first word of every STRIDEth stream. */
  const starts = [0];
  const { wasm } = codec;
  const upTo = (/** @type {number} */ stream, /** @type {number} */ end) => wasm.scoped(() => {
    const at = wasm.alloc(4 * (end - stream + 1));
    wasm.call.hansel_read_cursors(at, wasm.put(blob.struct), wasm.put(head), stream, end - stream,
      starts[stream / STRIDE]);
    return new Uint32Array(wasm.get(at, 4 * (end - stream + 1)).buffer);
  });
  for (let stream = 0; stream + STRIDE <= blob.streamCount; stream += STRIDE) {
    starts.push(upTo(stream, stream + STRIDE)[STRIDE]);
  }
  return {
    slice(first, end) {
      const from = first - first % STRIDE;
      return upTo(from, end - 1).slice(first - from);
    },
  };
}

/**
 * Model.rows().
 * @param {TensorReader | import('./several.js').SeveralReader} reader of the head; its dtype is the
 *   result's
 * @param {Map<string, KnownHead>} heads those already read; added to
 * @param {number} first @param {number} count
 * @returns {Promise<any>}
 */
export async function readRows(reader, heads, first, count) {
  const { codec, dtype, name, tensor, place: { source, start }, wanted: { signal } } = reader;
  const { dtype: own, shape, mode } = tensor;
  const columns = shape[shape.length - 1] ?? 1; // a coded tensor's rows may be longer
  checkRows(first, count, viewOf(shape).rows, name);
  try {
    const bits = columns * dtypeBits(own);
    if (bits % 8) {
      throw new HanselError('HANSEL_ERR_DTYPE', 'rows are not whole bytes', {
        expected: 'a multiple of 8 bits', got: `${bits} bits of ${own}`,
      });
    }
    if (!(reader instanceof TensorReader)) {
      const rowBytes = columns * dtypeBits(dtype) / 8;
      const all = allocate(viewOf(shape).rows * rowBytes, name);
      reader.wanted.out = all;
      await drain(reader.slices());
      const { buffer } = all.slice(first * rowBytes, (first + count) * rowBytes);
      return typedArray(dtype, buffer);
    }
    if (mode === 'pass-through') {
      const bytes = await source.read(start + first * bits / 8,
        start + (first + count) * bits / 8, { signal });
      const { buffer } = convert(bytes, own, dtype).slice();
      return typedArray(dtype, /** @type {ArrayBuffer} */ (buffer));
    }
    let known = heads.get(name);
    if (!known) {
      const read = await reader.readHead();
      known = { blob: read.blob, cursors: sparseCursors(codec, read) };
      heads.set(name, known);
    }
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
