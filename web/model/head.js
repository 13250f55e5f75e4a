/** What a coded tensor's head tells people: Model.head(). */
import { BLOB_LEVEL_COUNT, BLOB_LOGS, BLOB_RICE_BITS } from '../core/structs.js';

/** @typedef {import('../core/codec.js').Blob} Blob */
/**
 * How a tensor is coded, and where its bytes go.
 * @typedef {object} Head
 * @property {number} rows of the matrix view, by which GPUs multiply: FORMAT.md 3.1
 * @property {number} columns more than the last dimension where that is short and not the second
 * @property {number} precision bits of probability
 * @property {number} weightsPerSymbol of the coder: 1, 2 or 4
 * @property {Map<number, number>} frequencies of the weights' grid indices, -128 to 127 (of
 *   lossless tensors: of the coded bytes, as signed ones), without those of frequency 0; they sum
 *   to weightsPerSymbol * 2^precision
 * @property {number} streams
 * @property {{fixed: number, table: number, directory: number, payload: number, raw: number,
 *   padding: number}} bytes that add up to the tensor's: fields and shape, frequencies,
 *   stream lengths, streams, raw plane, and what rounds them up
 */

/** @param {Blob} blob @returns {Head} */
export function describeHead(blob) {
  const { rows, columns, slotBits, alphabetSize, streamCount, weights } = blob;
  const table = !streamCount ? 0 : blob.version < 4 ? Math.ceil(alphabetSize * slotBits / 8)
    : Math.ceil(logBits(blob) / 8);
  const directory = Math.ceil(streamCount * blob.lengthBits / 8);
  const fixed = blob.directoryOffset - table;
  const [payload, raw] = [2 * blob.wordCount, Math.ceil(weights * blob.rawBits / 8)];
  return {
    rows,
    columns,
    precision: slotBits,
    weightsPerSymbol: blob.weightsPerSymbol,
    frequencies: weightFrequencies(blob),
    streams: streamCount,
    bytes: {
      fixed, table, directory, payload, raw,
      padding: blob.blobBytes - fixed - table - directory - payload - raw,
    },
  };
}

/** Bits of the levels' logarithms: FORMAT.md section 12. @param {Blob} blob */
function logBits({ struct }) {
  const view = new DataView(struct.buffer, struct.byteOffset);
  const rice = view.getUint32(BLOB_RICE_BITS, true);
  let bits = 0;
  let before = 0;
  for (const log of struct.subarray(BLOB_LOGS, BLOB_LOGS + view.getUint32(BLOB_LEVEL_COUNT, true))) {
    bits += ((log < before ? 2 * (before - log) - 1 : 2 * (log - before)) >> rice) + 1 + rice;
    before = log;
  }
  return bits;
}

/**
 * How often each weight's symbol occurs in the coder's symbols, which may hold several.
 * @param {Blob} blob @returns {Map<number, number>}
 */
function weightFrequencies({ freq, origin, weightsPerSymbol }) {
  const found = new Map();
  const bits = 8 / weightsPerSymbol;
  for (const [index, f] of freq.entries()) {
    for (let k = 0; f && k < weightsPerSymbol; k++) {
      const symbol = (origin + (index >> bits * k & 2 ** bits - 1)) << 24 >> 24;
      found.set(symbol, (found.get(symbol) ?? 0) + f);
    }
  }
  return found;
}
