/**
 * What a second thread gives, and what this machine could give at most: two processes that do the
 * same at once, and share nothing.
 *
 *   node tests/bench/threads.js [--quick]     prints the table alone
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { encode, open } from '../../web/hansel.js';
import { makeData } from './data.js';
import { spread, threadTable } from './report.js';

/** @typedef {import('./report.js').Spread} Spread */
/** @typedef {{what: string, encode: Spread | null, decode: Spread, encodeGain: Spread | null,
 *   decodeGain: Spread}} Threads milliseconds; how many times as much as one thread does in that time */

const rowsOf = (/** @type {boolean} */ quick) => (quick ? 1024 : 8192);

/** @param {boolean} quick */
function makeTensor(quick) {
  const { data, shape } = makeData('up16', rowsOf(quick));
  return { dtype: 'I8', shape, data };
}

/** @param {() => Promise<unknown>} work @returns {Promise<number>} milliseconds */
async function time(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** The process beside this one: does with one thread what it is told. @param {boolean} quick */
async function assist(quick) {
  const tensors = { w: makeTensor(quick) };
  const file = await encode(tensors, { lossless: true });
  const model = await open(file);
  process.on('message', async (/** @type {'encode' | 'decode'} */ what) => {
    await (what === 'encode' ? encode(tensors, { lossless: true }) : model.decode('w'));
    process.send?.('done');
  });
  process.send?.('ready');
}

/**
 * @param {boolean} quick
 * @param {number} repeats
 * @returns {Promise<{symbols: number, rows: Threads[]}>}
 */
export async function measureThreads(quick, repeats) {
  const tensors = { w: makeTensor(quick) };
  const file = await encode(tensors, { lossless: true });
  const models = await Promise.all([1, 2].map((threads) => open(file, { threads })));
  const child = fork(fileURLToPath(import.meta.url), ['--assist', ...(quick ? ['--quick'] : [])]);
  try {
    await once(child, 'message');
    /** This process and the other at once. @param {'encode' | 'decode'} what
     * @param {() => Promise<unknown>} work */
    const both = async (what, work) => {
      const done = once(child, 'message');
      child.send(what);
      await Promise.all([done, work()]);
    };
    const code = (/** @type {number} */ threads) => encode(tensors, { lossless: true, threads });
    /** @type {{what: string, parts: number, encode?: () => Promise<unknown>,
     *   decode: () => Promise<unknown>}[]} */
    const ways = [
      { what: '1 thread', parts: 1, encode: () => code(1), decode: () => models[0].decode('w') },
      { what: '2 threads', parts: 1, encode: () => code(2), decode: () => models[1].decode('w') },
      { what: '2 threads, shared', parts: 1, decode: () => models[1].decode('w', { shared: true }) },
      {
        what: 'two processes, a tensor each', parts: 2, encode: () => both('encode', () => code(1)),
        decode: () => both('decode', () => models[0].decode('w')),
      },
    ];
    const times = ways.map(() => ({ encode: /** @type {number[]} */ ([]), decode: /** @type {number[]} */ ([]) }));
    for (let i = -2; i < repeats; i++) {
      for (const [k, way] of ways.entries()) {
        for (const step of /** @type {const} */ (['encode', 'decode'])) {
          const work = way[step];
          const found = work ? await time(work) : 0;
          if (i >= 0 && work) times[k][step].push(found);
        }
      }
    }
    const gain = (/** @type {number} */ k, /** @type {'encode' | 'decode'} */ step) => spread(
      times[k][step].map((ms, i) => ways[k].parts * times[0][step][i] / ms));
    const rows = ways.map(({ what, encode: hasEncode }, k) => ({
      what, decode: spread(times[k].decode), decodeGain: gain(k, 'decode'),
      encode: hasEncode ? spread(times[k].encode) : null,
      encodeGain: hasEncode ? gain(k, 'encode') : null,
    }));
    return { symbols: tensors.w.data.length, rows };
  } finally {
    child.kill();
    await Promise.all(models.map((model) => model.close()));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const quick = process.argv.includes('--quick');
  if (process.argv.includes('--assist')) await assist(quick);
  else console.log(threadTable(await measureThreads(quick, 15)));
}
