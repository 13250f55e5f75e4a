/** What is coded: int8 symbols with the distributions of quantized weights, the same everywhere. */
import { SAMPLE_COLUMNS, sampleRows64 } from '../../web/cli/sample.js';

/**
 * What each set is made of, from randn: the reference matrix of `hansel sample`.
 * @type {Record<string, {what: string, symbol: (randn: number) => number}>}
 */
export const SETS = {
  up16: { what: 'round(4 randn), about 4 bits', symbol: (x) => Math.round(4 * x) },
  seed8: {
    what: 'round(52 randn) wrapped to int8, about 8 bits: the reference matrix',
    symbol: (x) => Math.round(52 * Math.fround(x)),
  },
  g3: { what: 'round(1.5 randn), about 3 bits', symbol: (x) => Math.round(1.5 * x) },
  g1: { what: 'round(0.6 randn), nearly ternary', symbol: (x) => Math.round(0.6 * x) },
  g4: {
    what: 'round(4 randn) clamped to -8..7, as int4 weights have it',
    symbol: (x) => Math.max(-8, Math.min(7, Math.round(4 * x))),
  },
  ternary: {
    what: 'round(0.6 randn) clamped to -1..1',
    symbol: (x) => Math.max(-1, Math.min(1, Math.round(0.6 * x))),
  },
};

/**
 * @typedef {object} Task what a coder is given
 * @property {string} set
 * @property {Uint8Array} data int8 symbols as bytes, row-major
 * @property {number[]} shape rows and columns
 * @property {string} path of a file that holds the same
 */

/**
 * @param {string} set @param {number} rows
 * @returns {{data: Uint8Array, shape: number[]}} rows of SAMPLE_COLUMNS symbols
 */
export function makeData(set, rows) {
  const { symbol } = SETS[set];
  const data = new Int8Array(rows * SAMPLE_COLUMNS);
  let at = 0;
  for (const slice of sampleRows64({ rows })) {
    for (let i = 0; i < slice.length; i++) data[at++] = symbol(slice[i]);
  }
  return { data: new Uint8Array(data.buffer), shape: [rows, SAMPLE_COLUMNS] };
}

/** Bits per symbol, of the bytes taken as independent. @param {Uint8Array} data */
export function entropyOf(data) {
  const counts = new Float64Array(256);
  for (let i = 0; i < data.length; i++) counts[data[i]]++;
  return counts.reduce((sum, n) => (n ? sum - n * Math.log2(n / data.length) : sum), 0)
    / data.length;
}
