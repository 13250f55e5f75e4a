#!/usr/bin/env node
/**
 * Where the time goes between a call of decode() and its result, of a tensor of 64 MiB, in Node and in a page:
 *
 *   node tests/bench/account.js [--rounds N]
 */
import { parseArgs } from 'node:util';
import { encode } from '../../web/hansel.js';
import { launch } from '../gpu/chromium.js';
import { makeData } from './data.js';

const { values: { rounds = '5' } } = parseArgs({ options: { rounds: { type: 'string' } } });
/** What is measured of the wasm module, by its function. */
const PARTS = {
  hansel_decode_streams: 'decode', hansel_decode_values: 'decode', hansel_dequantize: 'dequantize', hansel_crc32c: 'CRC',
  hansel_build_table: 'table', hansel_read_cursors: 'directory', hansel_expand_raw: 'join', hansel_join: 'join',
};

/**
 * Runs in Node and in a page.
 * @param {{base: string, file: Uint8Array | string, dtype?: string, into?: boolean, rounds: number,
 *   parts: Record<string, string>}} task
 * @returns {Promise<Record<string, number>>} medians, in milliseconds
 */
async function account({ base, file, dtype, into, rounds, parts }) {
  const { open } = await import(`${base}/hansel.js`);
  const bytes = typeof file === 'string' ? new Uint8Array(await (await fetch(file)).arrayBuffer()) : file;
  const model = await open(bytes);
  const { wasm } = model.codec;
  /** @type {Record<string, number>} */
  let spent = {};
  /** @param {string} name @param {(...args: any[]) => any} body @returns {(...args: any[]) => any} */
  const timed = (name, body) => (...args) => {
    const start = performance.now();
    try {
      return body(...args);
    } finally {
      spent[name] = (spent[name] ?? 0) + performance.now() - start;
    }
  };
  wasm.call = Object.fromEntries(Object.entries(wasm.call).map(([name, body]) => (
    [name, parts[name] ? timed(parts[name], body) : body])));
  wasm.put = timed('copy in', wasm.put.bind(wasm));
  wasm.get = timed('copy out', wasm.get.bind(wasm));
  const { weights } = model.tensor('w');
  const room = into ? dtype === 'F32' ? new Float32Array(weights).fill(1) : new Int8Array(weights).fill(1) : undefined;
  /** @type {Record<string, number[]>} */
  const found = {};
  for (let i = -1; i < rounds; i++) {
    spent = {};
    const start = performance.now();
    const result = await model.decode('w', { dtype, into: room });
    const total = performance.now() - start;
    // Memory that nobody has touched yet costs as much again as to write it.
    const fresh = performance.now();
    const array = new Uint8Array(result.byteLength);
    for (let at = 0; at < array.length; at += 4096) array[at] = 1;
    spent['new memory (measured apart)'] = performance.now() - fresh;
    const known = Object.entries(spent).reduce((sum, [name, ms]) => (/apart/.test(name) ? sum : sum + ms), 0);
    spent['turns, reads, the rest'] = total - known;
    spent.total = total;
    if (i >= 0) for (const [name, ms] of Object.entries(spent)) (found[name] ??= []).push(ms);
  }
  return Object.fromEntries(Object.entries(found).map(([name, all]) => (
    [name, all.sort((a, b) => a - b)[all.length >> 1]])));
}

const columns = 4096;
const { data } = makeData('up16', 16384);
const symbols = new Int8Array(data.buffer, data.byteOffset, 16384 * columns);
const shape = [16384, columns];
const floats = Float32Array.from(symbols.subarray(0, 16384 * 1024), (q) => q * 0.01);
const files = {
  'int8 indices, 64 M weights': { file: await encode({ w: { dtype: 'I8', shape, data: symbols } }) },
  'the same, into': { into: true },
  'F32 of 16 M grid weights, 64 MiB': {
    file: await encode({ w: { dtype: 'F32', shape: [16384, 1024], data: floats } }, { step: 0.01 }), dtype: 'F32',
  },
  'the same, into ': { dtype: 'F32', into: true },
};
const browser = await launch();
try {
  const page = await browser.openPage();
  /** @type {Uint8Array} */
  let file = new Uint8Array(0);
  for (const [name, task] of Object.entries(files)) {
    file = 'file' in task ? task.file : file;
    const own = { ...task, rounds: Number(rounds), parts: PARTS };
    const node = await account({ ...own, base: new URL('../../web', import.meta.url).href, file });
    page.put('w', file);
    const inPage = await page.run(account, { ...own, base: '/web', file: '/__mem/w' });
    console.log(`\n${name}: milliseconds, medians of ${rounds}\n`);
    for (const part of new Set([...Object.keys(node), ...Object.keys(inPage)])) {
      const [there, here] = [node, inPage].map((one) => (one[part] ?? 0).toFixed(1).padStart(7));
      console.log(`${part.padEnd(32)} Node ${there}   page ${here}`);
    }
  }
} finally {
  await browser.close();
}
