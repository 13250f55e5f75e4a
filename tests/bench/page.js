#!/usr/bin/env node
/**
 * What a page waits for, in headless Chromium, each time in a new page:
 *
 *   node tests/bench/page.js [--quick] [--json]
 *
 * From the import of min/hansel.js to the first decoded tensor, and how long decoding and encoding
 * keep the page's thread busy at a stretch.
 */
import { parseArgs } from 'node:util';
import { encode } from '../../web/hansel.js';
import { launch } from '../gpu/chromium.js';
import { makeData } from './data.js';
import { spread } from './report.js';

/** @typedef {import('./report.js').Spread} Spread milliseconds */
/**
 * @typedef {object} PageRow
 * @property {string} where @property {number} threads @property {number} symbols
 * @property {Spread} load import of the module @property {Spread} open
 * @property {Spread} first decode @property {Spread} warm the best of later decodes
 * @property {Spread} encode the best of two
 * @property {Spread} task the longest of the page's tasks meanwhile, in processor time
 */

/** Runs in the page. @param {{url: string, threads: number, shape: number[]}} task */
async function visit({ url, threads, shape }) {
  /** @template T @param {() => Promise<T>} work @returns {Promise<[number, T]>} */
  const time = async (work) => {
    const start = performance.now();
    const result = await work();
    return [performance.now() - start, result];
  };
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const [load, { open, encode: code }] = await time(() => import('/min/hansel.js'));
  performance.mark('begin');
  const [opened, model] = await time(() => open(bytes, { threads }));
  const decode = () => time(() => model.decode('w'));
  const [first, data] = await decode();
  const warm = [];
  for (let i = 0; i < 5; i++) warm.push((await decode())[0]);
  const encodes = [];
  for (let i = 0; i < 2; i++) {
    encodes.push((await time(() => code({ w: { dtype: 'I8', shape, data } }, { threads })))[0]);
  }
  performance.mark('end');
  await new Promise((resolve) => setTimeout(resolve));
  return {
    load, open: opened, first, warm: Math.min(...warm), encode: Math.min(...encodes),
    sum: data.reduce((a, b) => a + b, 0),
  };
}

/** The longest task between visit()'s marks. @param {Buffer} trace @returns {number} milliseconds */
function longestTask(trace) {
  const { traceEvents: events } = JSON.parse(trace.toString());
  const mark = (/** @type {string} */ name) => events.find(
    (/** @type {any} */ event) => event.name === name && event.cat.includes('user_timing'));
  const [begin, end] = [mark('begin'), mark('end')];
  const tasks = events.filter((/** @type {any} */ event) => event.tdur && event.pid === begin.pid
    && event.tid === begin.tid && event.name.endsWith('RunTask')
    && event.ts >= begin.ts && event.ts + event.dur <= end.ts);
  return Math.max(...tasks.map((/** @type {any} */ { tdur }) => tdur)) / 1000;
}

/** @param {boolean} quick @returns {Promise<PageRow[]>} */
export async function measurePage(quick) {
  const { data, shape } = makeData('up16', quick ? 256 : 4096);
  const file = await encode({ w: { dtype: 'I8', shape, data } });
  const sum = new Int8Array(data.buffer).reduce((a, b) => a + b, 0);
  const rows = [];
  for (const [where, headers] of /** @type {[string, Record<string, string> | undefined][]} */ ([
    ['isolated page', undefined], ['page', {}]])) {
    for (const threads of [1, 2]) {
      /** @type {Record<string, number[]>} */
      const found = {};
      for (let i = 0; i < (quick ? 3 : 5); i++) {
        const browser = await launch({ headers });
        try {
          const page = await browser.openPage();
          const url = page.put('up16', file);
          await browser.trace(page);
          const result = await page.run(visit, { url, threads, shape });
          const task = longestTask(await browser.endTrace());
          if (result.sum !== sum) throw new Error('what comes out is not what went in');
          for (const [key, ms] of Object.entries({ ...result, task })) (found[key] ??= []).push(ms);
        } finally {
          await browser.close();
        }
      }
      const ms = Object.fromEntries(Object.entries(found).map(([k, values]) => [k, spread(values)]));
      rows.push({ where, threads, symbols: data.length, .../** @type {any} */ (ms) });
    }
  }
  return rows;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' }, json: { type: 'boolean' } } });
  const rows = await measurePage(Boolean(values.quick));
  if (values.json) console.log(JSON.stringify(rows, null, 1));
  else console.table(rows.map(({ sum, ...row }) => Object.fromEntries(Object.entries(row).map(
    ([k, v]) => [k, Array.isArray(v) ? v.map((n) => n.toFixed(1)).join(' ') : v]))));
}
