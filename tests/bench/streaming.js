#!/usr/bin/env node
/**
 * What decoding adds to a download: from open(url) to the last weight, next to a bare fetch of the same coded file, in
 * headless Chromium, at 100 Mbit/s and 1 Gbit/s. And load() to a GPU's memory, weights staying coded.
 *
 *   node tests/bench/streaming.js [--rounds N] [--json]
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { encode } from '../../web/hansel.js';
import { launch } from '../gpu/chromium.js';
import { makeData } from './data.js';
import { synthetic } from './quantized.js';
import { spread } from './report.js';
import { openThrottled } from './throttled.js';

const RATES = [100, 1000];

/** Runs in the page. @param {{url: string, how: 'fetch' | 'decode' | 'load'}} task */
async function visit({ url, how }) {
  const { open } = await import('/min/hansel.js');
  const global = /** @type {any} */ (globalThis);
  if (how === 'load') global.device ??= (await (await import('/min/gpu.js')).gpu({ prefer: ['webgpu'] })).gpu;
  const start = performance.now();
  if (how === 'fetch') {
    await (await fetch(url)).arrayBuffer();
  } else {
    const model = await open(url);
    const [name] = model.tensors.keys();
    if (how === 'decode') await model.decode(name);
    else (await global.device.load(model, name, { as: 'coded' })).destroy();
    await model.close();
  }
  return performance.now() - start;
}

/** @typedef {import('./report.js').Spread} Spread */
/** @param {number} rounds @returns {Promise<{file: string, bytes: number, rate: number, fetch: Spread, decode: Spread,
 *   load: Spread}[]>} milliseconds */
export async function measureStreaming(rounds) {
  const { data, shape } = makeData('up16', 4096);
  const [{ values, shape: layer }] = synthetic('gauss', 4096, 4096);
  const halves = Uint16Array.from(values, (x) => new Uint32Array(Float32Array.of(x).buffer)[0] >>> 16);
  const float = { dtype: 'F32', shape: layer, data: values };
  /** @type {[string, Uint8Array][]} */
  const files = [
    ['int8 indices of 4 bits', await encode({ w: { dtype: 'I8', shape, data } })],
    ['F32 at 4 bits', await encode({ w: float }, { bits: 4 })],
    ['BF16 without loss', await encode({ w: { dtype: 'BF16', shape: layer, data: halves } })],
  ];
  const server = await openThrottled(new Map(files));
  const browser = await launch({ headers: {} });
  try {
    const page = await browser.openPage();
    const rows = [];
    for (const [file, { length }] of files) {
      for (const rate of RATES) {
        /** @type {Record<'fetch' | 'decode' | 'load', number[]>} */
        const found = { fetch: [], decode: [], load: [] };
        for (let i = -1; i < rounds; i++) {
          for (const how of /** @type {(keyof typeof found)[]} */ (Object.keys(found))) {
            server.rate = rate * 1e6;
            const ms = await page.run(visit, { url: server.url + encodeURIComponent(file), how });
            if (i >= 0) found[how].push(ms);
          }
        }
        rows.push({
          file, bytes: length, rate, fetch: spread(found.fetch), decode: spread(found.decode), load: spread(found.load),
        });
      }
    }
    return rows;
  } finally {
    await browser.close();
    await server.close();
  }
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { values: { rounds = '5', json } } = parseArgs({ options: { rounds: { type: 'string' }, json: { type: 'boolean' } } });
  const load = loadavg()[0];
  const rows = await measureStreaming(Number(rounds));
  if (json) console.log(JSON.stringify(rows));
  else {
    console.log(`milliseconds, medians of ${rounds}; load ${load.toFixed(2)} before\n`);
    for (const { file, bytes, rate, ...times } of rows) {
      const [bare, decode, loaded] = [times.fetch, times.decode, times.load].map(([, median]) => median);
      console.log(`${file.padEnd(24)} ${(bytes / 1e6).toFixed(1).padStart(5)} MB ${`${rate}`.padStart(5)} Mbit/s   fetch ${
        bare.toFixed(0).padStart(5)}   decode ${decode.toFixed(0).padStart(5)} (${(100 * decode / bare - 100).toFixed(1)} %)   load ${
        loaded.toFixed(0).padStart(5)} (${(100 * loaded / bare - 100).toFixed(1)} %)`);
    }
  }
}
