/**
 * Whole files of quantized weights beside general compressors, each at its strongest: what `make bench`
 * prints as its table of sizes.
 *
 *   node tests/bench/file_sizes.js [--quick]
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { encode, open } from '../../web/hansel.js';
import { initZstd, zstd } from './coders.js';
import { LAYOUTS, quantizedFile, readWeights, synthetic } from './quantized.js';
import { fileSizeTable } from './report.js';

/** @typedef {{model: string, layout: string, what: string, bytes: number, hansel: number,
 *   encode: number, decode: number, peers: Record<string, number | null>}} FileSize seconds;
 *   peers: null where there is no such program */

/** What the files are made of: the trained model, and rows of different scale. */
export const MODELS = {
  trained: async () => readWeights(new Uint8Array(
    await readFile(new URL('../../build/licence-llama.safetensors', import.meta.url)))),
  gauss: async () => synthetic('gauss'),
  laplace: async () => synthetic('laplace'),
};

/** @param {Uint8Array} file @param {string} path of the same */
function compressed(file, path) {
  const xz = () => {
    try {
      return execFileSync('xz', ['-9e', '-k', '-c', '-T1', path], { maxBuffer: 1 << 28 }).length;
    } catch (error) {
      if (/** @type {any} */ (error).code === 'ENOENT') return null;
      throw error;
    }
  };
  return {
    'gzip -9': gzipSync(file, { level: 9 }).length,
    'zstd -19': zstd.compress(file, 19).length,
    'xz -9e': xz(),
    'brotli -11': brotliCompressSync(file, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24,
        [constants.BROTLI_PARAM_SIZE_HINT]: file.length,
      },
    }).length,
  };
}

/** Seconds of the fastest of some rounds, the first of which is not counted.
 * @param {() => Promise<unknown>} run @param {number} rounds */
async function time(run, rounds) {
  let least = Infinity;
  for (let i = -1; i < rounds; i++) {
    const start = performance.now();
    await run();
    if (i >= 0) least = Math.min(least, performance.now() - start);
  }
  return least / 1000;
}

/** All tensors of a coded file. @param {Uint8Array} file */
async function decodeAll(file) {
  const model = await open(file);
  for (const name of model.tensors.keys()) await model.decode(name);
}

/**
 * @param {boolean} quick the trained model only
 * @param {(what: string) => void} say
 * @returns {Promise<FileSize[]>}
 */
export async function measureFiles(quick, say) {
  await initZstd();
  const folder = await mkdtemp(join(tmpdir(), 'hansel-sizes-'));
  /** @type {FileSize[]} */
  const found = [];
  try {
    for (const [model, make] of Object.entries(MODELS).slice(0, quick ? 1 : undefined)) {
      const weights = await make();
      for (const [layout, { what }] of Object.entries(LAYOUTS)) {
        say(`${model} ${layout}`);
        const file = quantizedFile(layout, weights);
        const path = join(folder, 'file');
        await writeFile(path, file);
        const plain = await open(file);
        const coded = await encode(plain, { lossless: true });
        found.push({
          model, layout, what, bytes: file.length, hansel: coded.length,
          encode: await time(() => encode(plain, { lossless: true }), 3),
          decode: await time(() => decodeAll(coded), 3), peers: compressed(file, path),
        });
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  return found;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const say = (/** @type {string} */ what) => void process.stderr.write(`${what}\n`);
  const found = await measureFiles(process.argv.includes('--quick'), say);
  console.log(process.argv.includes('--json') ? JSON.stringify(found) : fileSizeTable(found));
}
