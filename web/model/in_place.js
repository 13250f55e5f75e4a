/**
 * Results in WebAssembly memory, where they are decoded to without a copy: Model.decode() with { wasm: true }, and into
 * what that gave. Each has an instance of its own, and memory that never grows: to grow would take its array away.
 */
import { Codec } from '../core/codec.js';
import { HanselError } from '../core/errors.js';
import { needing } from '../core/memory.js';
import { createPool } from '../workers/pool.js';
import { isSeveral } from './tensor.js';
import { TensorReader } from './tensor_reader.js';

/** Bytes that decoding a slice takes besides the result; none are touched that are not needed. */
const SCRATCH = 1 << 25;
/** Weights of a stream that fits in there. */
const MOST_STREAM = 1 << 20;
const [PAGE, MOST_PAGES] = [65536, 65536];

/** What decodes into a buffer. @type {WeakMap<ArrayBufferLike, Codec>} */
const owners = new WeakMap();

/**
 * @param {Codec} codec whose module it runs @param {number} bytes @param {string} name for messages
 * @returns {Uint8Array} zeros @throws {HanselError} HANSEL_ERR_MEMORY
 */
export function roomInWasm(codec, bytes, name) {
  const own = new Codec(codec.wasm.module);
  const { wasm } = own;
  const pages = Math.ceil((wasm.base + bytes + SCRATCH) / PAGE);
  if (pages > MOST_PAGES) {
    throw new HanselError('HANSEL_ERR_MEMORY', 'more than WebAssembly memory holds', {
      expected: `at most ${MOST_PAGES * PAGE - SCRATCH} bytes`, got: bytes, where: name,
    });
  }
  needing(`WebAssembly memory of ${bytes} bytes`, () => wasm.memory.grow(pages - wasm.memory.buffer.byteLength / PAGE), name);
  const at = wasm.reserve(bytes);
  owners.set(wasm.memory.buffer, own);
  return new Uint8Array(wasm.memory.buffer, at, bytes);
}

/**
 * A reader of a tensor that decodes into such memory.
 * @param {import('./model.js').Model} model @param {string} name @param {import('./tensor_reader.js').Reading} wanted
 *   out lies in it
 * @returns {Promise<TensorReader | null>} null where that is another's, or it does not go without more memory
 */
export async function readerInWasm(model, name, wanted) {
  const own = wanted.out && owners.get(wanted.out.buffer);
  const [tensor, place] = [model.tensor(name), model.place(name)];
  if (!own || tensor.mode === 'pass-through' || isSeveral(place)) return null;
  const pool = createPool(own);
  const reader = new TensorReader({ codec: own, pools: [pool, pool] }, name, tensor, place, wanted);
  const { blob } = await reader.readHead();
  const isShort = blob.columns / Math.max(blob.pieces, 1) * blob.rowsPerStream <= MOST_STREAM;
  if (isShort && 4 * blob.streamCount < SCRATCH / 4) return reader;
  await reader.close();
  return null;
}
