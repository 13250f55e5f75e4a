/** What a person reads of a run in a minute: a line for each question, medians, and what was not steady. */

/** @typedef {import('./bench.js').Results} Results */
/** @typedef {Results['sets'][0]['coders'][0]} Row */

/** Rounds that differ by more make a figure doubtful. */
const UNSTEADY = 0.15;
/** Ratios of decoding, of encoding: what of which. @type {['encode' | 'decode', string, string, string][]} */
const RATIOS = [
  ['decode', 'open() and decode()', 'Hansel API, 1 thread', 'Hansel wasm SIMD, core'],
  ['decode', 'the same into an array used before', 'Hansel API, into', 'Hansel wasm SIMD, core'],
  ['decode', 'the same into WebAssembly memory', 'Hansel API, into wasm', 'Hansel wasm SIMD, core'],
  ['decode', 'open() and decode()', 'Hansel API, 1 thread', 'zstd -3 (wasm)'],
  ['decode', 'open() and decode()', 'Hansel API, 1 thread', "DecompressionStream('gzip')"],
  ['decode', 'a whole blob, natively', 'Hansel native, whole blob', 'Hansel native, streams'],
  ['encode', 'encode()', 'Hansel API, 1 thread', 'Hansel wasm SIMD, core'],
];

/** @param {readonly number[] | null | undefined} spread least, median, most */
const isUnsteady = (spread) => Boolean(spread && (spread[2] - spread[0]) / spread[1] > UNSTEADY);

/**
 * @param {Results} results
 * @returns {string} lines of plain text
 */
export function digest({ sets, machine }) {
  const lines = RATIOS.flatMap(([what, said, name, to]) => {
    const found = sets.flatMap(({ set, coders }) => {
      const [a, b] = [name, to].map((one) => coders.find((row) => row.name === one)?.[what]);
      return a && b ? [`${set} ${(a[1] / b[1]).toFixed(2)}${isUnsteady(a) || isUnsteady(b) ? '?' : ''}`] : [];
    });
    return found.length ? [`${what === 'decode' ? 'decoding' : 'coding'}: ${said}, to ${to}:  ${found.join('  ')}`] : [];
  });
  const isBusy = machine.load > 0.5 * machine.cores;
  return ['In a minute: ratios of medians, more is better; ? where rounds differ by more than 15 %.',
    ...isBusy ? [`The machine was busy: load ${machine.load.toFixed(2)} on ${machine.cores} cores before the start. `
      + 'Take none of these for what it can do.'] : [], ...lines].join('\n');
}
