/** What a coded tensor's head tells people: Model.head(). */
import { FIXED_BYTES } from '../core/codec.js';

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
 *   padding: number}} bytes that add up to the tensor's: fixed fields and shape, frequencies,
 *   stream lengths, streams, raw plane, and what rounds them up to 16
 */

/** @param {Blob} blob @returns {Head} */
export function describeHead(blob) {
  const { rows, columns, slotBits, alphabetSize, streamCount, shape, weights } = blob;
  const table = streamCount ? Math.ceil(alphabetSize * slotBits / 8) : 0;
  const directory = Math.ceil(streamCount * blob.lengthBits / 8);
  const fixed = FIXED_BYTES + 8 * shape.length;
  const [payload, raw] = [2 * blob.wordCount, weights * blob.rawBytes];
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
