/** The page that people read of a run of bench.js: medians, and what is asked most. */
import { machineText, ranged, short, table } from './report.js';

/** @typedef {import('./bench.js').Results} Results */

/** Coders of the summary, by their names in a run, and how a column is headed. */
const SIZES = {
  'Hansel API, 1 thread': 'Hansel, whole file', 'zstd -19 (wasm), 4 MiB': 'zstd -19',
  'zstd -3 (wasm)': 'zstd -3', 'brotli -5': 'brotli -5', 'gzip -6 (zlib)': 'gzip -6',
};
const DECODERS = {
  memcpy: 'memcpy', 'Hansel native, whole blob': 'native', 'Hansel wasm SIMD, core': 'wasm, core',
  'Hansel API, 1 thread': '**in a page**', 'zstd -3 (wasm)': 'zstd (wasm)',
  "DecompressionStream('gzip')": 'gzip (stream)', 'fzstd (JavaScript)': 'fzstd (JS)',
};
const ENCODERS = {
  'Hansel native, whole blob': 'native', 'Hansel wasm SIMD, core': 'wasm, core',
  'Hansel API, 1 thread': '**in a page**', 'zstd -3 (wasm)': 'zstd -3 (wasm)',
  'gzip -6 (zlib)': 'gzip -6', 'zstd -19 (wasm), 4 MiB': 'zstd -19 (wasm)',
};

/**
 * @param {Results['sets']} sets @param {Record<string, string>} columns
 * @param {(coder: Results['sets'][0]['coders'][0]) => string} cell
 */
const grid = (sets, columns, cell) => table([
  ['weights', 'entropy', ...Object.values(columns)],
  ...sets.map(({ set, what, entropy, coders }) => [
    `${set}: ${what}`, entropy.toFixed(3), ...Object.keys(columns).map((name) => {
      const coder = coders.find((one) => one.name === name);
      return coder ? cell(coder) : '-';
    })]),
]);

/** @param {import('./gpu.js').GpuReport['runs'][0]} run one renderer */
function gpuSummary({ where, adapter, decode, loads, products, glProducts }) {
  const find = (/** @type {typeof products} */ grids, /** @type {number} */ batch) => grids
    .flatMap(({ rows }) => rows).filter((row) => row.batch === batch && row.rows === row.columns);
  const ratios = (/** @type {typeof products} */ grids) => {
    const by = new Map();
    for (const batch of [1, 4, 16, 0]) {
      for (const row of find(grids, batch)) {
        const key = `${row.bits.toFixed(2)} ${row.form}`;
        by.set(key, [...by.get(key) ?? [row.bits.toFixed(2), row.form, row.memory.toFixed(2)],
          row.ratio[1].toPrecision(2)]);
      }
    }
    return table([['bits', 'in memory', 'bytes there', 'x F32', 'batch of 4', 'batch of 16', 'x int8'], ...by.values()]);
  };
  const [{ rows }] = decode;
  return `${where} on ${Object.values(adapter).filter(Boolean).join(', ')}. Decoding to GPU memory, about
4 bits: ${rows.map(({ name, speed }) => `${name} ${short(speed[1])}`).join(', ')} M weights/s.
load() of those, milliseconds: ${loads.map(({ way, ms }) => `${way} ${short(ms[1])}`).join('; ')}.

Products to products on int8 bytes of the same matrix, by the form of the weights in memory: coded as in
the file, prefix codes, or packed; bytes in parts of those in the file. WebGPU:

${ratios(products)}
${glProducts.length ? `
... and WebGL2:

${ratios(glProducts)}
` : ''}`;
}

/** @param {Results} results @param {string} details the full run's file @returns {string} Markdown */
export function summary(results, details) {
  const { sets, lengths, page, threads, gpu } = results;
  return `${machineText(results)}
All tables of this run: [${details}](${details}).

Bits a weight, everything in the file counted:

${grid(sets, SIZES, ({ bits }) => bits.toFixed(3))}

Decoded, millions of weights a second, medians, one thread:

${grid(sets, DECODERS, ({ decode }) => (decode ? short(decode[1]) : '-'))}

Coded, likewise:

${grid(sets, ENCODERS, ({ encode }) => (encode ? short(encode[1]) : '-'))}

![Bits a weight against decoding speed, on up16](bench.svg)

Longer streams are smaller, shorter ones keep more of a GPU busy (up16):

${table([['symbols a stream', 'over entropy', 'wasm decode M/s'], ...lengths.map(
    ({ length, wasm }) => [length, `${(100 * (wasm.bits / sets[0].entropy - 1)).toFixed(2)} %`,
      ranged(wasm.decode)])])}

In a page (${page[0].symbols} weights, milliseconds): import and open ${
  (page[0].load[1] + page[0].open[1]).toFixed(0)}, first decode ${page[0].first[1].toFixed(0)}, later
ones ${page[0].warm[1].toFixed(0)}; the longest task ${page[0].task[1].toFixed(1)}. Two threads, beside
one: ${threads.rows.slice(1).map(({ what, encodeGain, decodeGain }) => `${what} ${[
  encodeGain && `encode ${encodeGain[1].toPrecision(2)}`,
  decodeGain && `decode ${decodeGain[1].toPrecision(2)}`].filter(Boolean).join(', ')}`).join('; ')}.
${gpu ? `\n### On a GPU's side\n\n${gpu.runs.map(gpuSummary).join('\n')}` : ''}`;
}
