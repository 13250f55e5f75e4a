/**
 * Coding weights once more as they are loaded, for a GPU's memory: in which form, and the way from a
 * file's streams to the words of FORMAT.md appendix A on the CPU. Loaded when a GPU loads coded
 * weights.
 */
import { RAW_CODE, Recoder } from '../core/recoder.js';
import { checkAborted } from '../core/errors.js';
import { streamRanges } from '../core/ranges.js';
import { ByteReader } from '../file/byte_reader.js';
import { createPool, mapOrdered } from '../workers/pool.js';
import { BLOCK_ROWS, COLUMN_LIMIT, PACKED_UNIT } from './stream_layout.js';

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('../core/recoder.js').Code} Code */
/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {'auto' | 'prefix' | 'packed' | 'coded'} Form */
/** @typedef {{bytes: Uint8Array<ArrayBuffer>, sizes: Uint32Array<ArrayBuffer>}} Recoded */

/** Weights of a part, about: what is coded before it goes to the GPU. */
export const PART_WEIGHTS = 1 << 25;
/** Weights that are decoded at a time. */
const SLICE = 1 << 18;
/** Tensors of fewer weights are coded by the calling thread alone. */
const MIN_THREADED = 1 << 20;
/** Streams of narrower rows are too short to be worth it. */
const LEAST_COLUMNS = 32;
/** Rows are padded to streams of four. */
const MOST_PADDING = 1.1;
/** Packed weights may take so much more than coded ones: they are multiplied faster. */
const PACKED_COST = 1.125;
/** Prefix codes take about so much more, and their table. */
const PREFIX_COST = 1.1;
/** Bits of a weight from which on prefix codes save next to nothing. */
const MOST_BITS = 7.5;

/** @type {Promise<Recoder> | undefined} */
let recoder;

/** @returns {Promise<Recoder>} one for all */
export function loadRecoder() {
  if (!recoder) {
    recoder = Recoder.create();
    recoder.catch(() => { recoder = undefined; });
  }
  return recoder;
}

/** Bits of a weight, one to a code. @param {Code} code @param {Blob} blob */
const meanBits = ({ codes }, { freq, slotBits }) => (
  freq.reduce((sum, slots, level) => sum + slots * (codes[level] >>> 16), 0) / 2 ** slotBits);

/**
 * How a tensor's weights are to lie in a GPU's memory.
 * @param {Form} as what is wanted @param {Blob} blob
 * @param {{bindingBytes: number, mostPrefixLevels?: number}} gpu mostPrefixLevels: from which on it
 *   multiplies bytes faster than codes, unless it has floats to put together
 * @returns {Promise<Code | null>} null: coded, as they came
 */
export async function pickCode(as, blob, { bindingBytes, mostPrefixLevels = Infinity }) {
  // Without streams all weights are equal, and take no memory at all.
  if (as === 'coded' || !blob.streamCount || blob.columns > COLUMN_LIMIT) return null;
  if (as === 'packed') return (await loadRecoder()).fitPacked(blob);
  if (as === 'prefix') return (await loadRecoder()).fitPrefix(blob);
  // A byte a weight, and padding, is always enough. Rows of blocks are not divided.
  const rows = 4 * Math.ceil(blob.rows / 4);
  const most = Math.min(rows, BLOCK_ROWS) * (blob.columns + 2 * PACKED_UNIT) * Math.max(1, blob.rawBytes);
  if (blob.columns < LEAST_COLUMNS || rows > MOST_PADDING * blob.rows || most > bindingBytes) return null;
  const core = await loadRecoder();
  const packed = core.fitPacked(blob);
  const prefix = /** @type {Code} */ (core.fitPrefix(blob)); // some number to a code is possible
  const coded = 2 * blob.wordCount;
  const isPacked = blob.weights * packed.bits / 8 <= Math.max(PACKED_COST * coded,
    PREFIX_COST * coded + prefix.table.byteLength)
    || (prefix.weightsPerCode === 1 && meanBits(prefix, blob) > MOST_BITS)
    || (!blob.rawBytes && prefix.levelCount > mostPrefixLevels);
  return isPacked ? packed : prefix;
}

/**
 * Slices end to end as blocks of whole rows.
 * @param {AsyncIterable<Uint8Array>} slices @param {number} rowBytes @param {number} rows
 * @returns {AsyncGenerator<{bytes: Uint8Array, rows: number}>}
 */
async function* blocksOf(slices, rowBytes, rows) {
  let row = 0;
  let filled = 0;
  let block = new Uint8Array(Math.min(BLOCK_ROWS, rows) * rowBytes);
  for await (const slice of slices) {
    for (let at = 0; at < slice.length;) {
      const some = slice.subarray(at, at + block.length - filled);
      block.set(some, filled);
      at += some.length;
      filled += some.length;
      if (filled < block.length) continue;
      const count = block.length / rowBytes;
      row += count;
      yield { bytes: block, rows: count };
      block = new Uint8Array(Math.min(BLOCK_ROWS, rows - row) * rowBytes);
      filled = 0;
    }
  }
}

/** One reading of a payload, in order: streams, then the raw plane. */
export class Recoding {
  #model;
  #blob;
  #cursors;
  #chunks;
  #signal;
  #bytes;
  /** @type {import('../workers/pool.js').Pool | undefined} */
  #pool;

  /**
   * @param {Model} model
   * @param {{blob: Blob, cursors: Uint32Array, chunks: AsyncGenerator<Uint8Array>}} payload
   * @param {AbortSignal} [signal]
   */
  constructor(model, { blob, cursors, chunks }, signal) {
    this.#model = model;
    this.#blob = blob;
    this.#cursors = cursors;
    this.#chunks = chunks;
    this.#signal = signal;
    this.#bytes = new ByteReader({ [Symbol.asyncIterator]: () => ({ next: () => chunks.next() }) });
  }

  /** Workers, where there is enough for them to do. @param {import('../core/codec.js').Codec} codec */
  #poolOf(codec) {
    const isLarge = this.#blob.weights >= MIN_THREADED;
    return createPool(codec, isLarge ? this.#model.threads ?? 2 : 1);
  }

  /** @returns {AsyncGenerator<Uint8Array>} symbols, range of streams after range */
  async* #symbols() {
    const { codec } = this.#model;
    const [blob, cursors] = [this.#blob, this.#cursors];
    const pool = this.#poolOf(codec);
    const bytes = this.#bytes;
    const tasks = async function* () {
      for (const { first, last, start, end } of streamRanges(codec, blob, SLICE, { cursors })) {
        const words = await bytes.take(2 * (cursors[last] - cursors[first]));
        yield [blob, cursors.slice(first, last + 1), first, words, end - start];
      }
    };
    const decoded = mapOrdered(tasks(), pool.width, (args) => pool.run('decodeRange', args));
    for await (const { bytes: symbols } of decoded) yield symbols;
  }

  /** @returns {AsyncGenerator<Uint8Array>} the raw plane */
  async* #raw() {
    const { weights, rawBytes, wordCount } = this.#blob;
    await this.#bytes.take(-2 * wordCount & 15);
    for (let left = weights * rawBytes; left > 0;) {
      const some = await this.#bytes.some(left);
      left -= some.length;
      yield some;
    }
  }

  /**
   * @param {AsyncIterable<Uint8Array>} slices @param {Code} code
   * @param {import('./stream_layout.js').StreamLayout} layout @param {number} unit
   * @param {number} scale bytes of a weight in the slices
   * @returns {AsyncGenerator<Recoded & {rows: number}>} rows of blocks
   */
  async* #recode(slices, code, { rows, columns, runColumns }, unit, scale) {
    this.#pool ??= this.#poolOf(/** @type {any} */ (await loadRecoder()));
    const pool = this.#pool;
    const width = scale * columns;
    const recoded = mapOrdered(blocksOf(slices, width, rows), pool.width, async (block) => ({
      rows: block.rows,
      ...await pool.run('recodeRows',
        [code, block.bytes, block.rows, width, scale * runColumns, unit]),
    }));
    for await (const some of recoded) {
      checkAborted(this.#signal);
      yield some;
    }
  }

  /** @param {import('./stream_layout.js').StreamLayout} layout */
  streams(layout) {
    return this.#recode(this.#symbols(), layout.code, layout, layout.unit, 1);
  }

  /** The raw plane, after streams() or words(). @param {import('./stream_layout.js').StreamLayout} layout */
  raw(layout) {
    return this.#recode(this.#raw(), RAW_CODE, layout, PACKED_UNIT, this.#blob.rawBytes);
  }

  /** The words of all streams as they are. @returns {AsyncGenerator<Uint8Array>} */
  async* words() {
    for (let left = 2 * this.#blob.wordCount; left > 0;) {
      const some = await this.#bytes.some(left);
      left -= some.length;
      yield some;
    }
  }

  /** Reads what is left, and has the checksum checked. */
  async end() {
    for (;;) {
      const { done } = await this.#chunks.next();
      if (done) return;
    }
  }
}
