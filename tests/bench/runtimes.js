#!/usr/bin/env node
/**
 * Files of runtimes, coded: what that saves, and what a page waits for at 20 and 200 Mbit/s.
 *
 *   node tests/bench/runtimes.js [--write FILE]
 *
 * --write puts the tables into FILE, between the comments sizes and times.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { brotliCompressSync, constants } from 'node:zlib';
import { GGUF_TYPES, ggufFile } from '../../tools/gguf_model.js';
import { onnxFiles, readCheckpoint } from '../../tools/runtime_files.js';
import { encodeCommand } from '../../web/cli/encode.js';
import { launch } from '../gpu/chromium.js';
import { quantizedFile, synthetic } from './quantized.js';
import { openThrottled } from './throttled.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const ROUNDS = 5;
const RATES = [20, 200];
/** Aims, by what the table says. @type {[string, object][]} */
const AIMS = [['no loss', { lossless: true }], ['6 bits', { bits: 6 }], ['4 bits', { bits: 4 }]];

const { values: { write } } = parseArgs({ options: { write: { type: 'string' } } });
const folder = await mkdtemp(join(tmpdir(), 'hansel-runtimes-'));

/** @param {Uint8Array} bytes @returns {number} what brotli -11 makes of it */
const brotli = (bytes) => brotliCompressSync(bytes, { params: {
  [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24,
  [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
} }).length;
/** @param {string} path @returns {number} what zstd -19 makes of it */
const zstd = (path) => execFileSync('zstd', ['-19', '-q', '-c', path], { maxBuffer: 2 ** 30 }).length;

/** @param {string} name @param {Map<string, Uint8Array>} files the first is given to encode; the others lie beside it
 * @returns {Promise<{name: string, plain: number, coded: number[], brotli: number, zstd: number}>} */
async function measureSize(name, files) {
  const paths = [...files.keys()].map((file) => join(folder, file));
  for (const [file, bytes] of files) await writeFile(join(folder, file), bytes);
  const coded = [];
  for (const [, options] of AIMS) {
    coded.push((await encodeCommand(paths[0], `${paths[0]}.hansel`, { ...options, force: true })).bytes);
  }
  const sum = (/** @type {number[]} */ all) => all.reduce((a, b) => a + b, 0);
  return {
    name, plain: sum([...files.values()].map(({ length }) => length)), coded,
    brotli: sum([...files.values()].map(brotli)), zstd: sum(paths.map(zstd)),
  };
}

/** Runs in the page. @param {{from: string, how: 'plain' | 'file' | 'fetch'}} task */
async function visit({ from, how }) {
  const { openFile, hanselFetch } = await import('/min/file.js');
  // What a page would have loaded: the module to decode with.
  await (await openFile(await (await fetch(`${from}.warm`)).arrayBuffer())).bytes();
  const start = performance.now();
  const bytes = how === 'file' ? await (await openFile(`${from}.hansel`)).bytes()
    : await (await (how === 'fetch' ? hanselFetch(fetch) : fetch)(from)).arrayBuffer();
  return { ms: performance.now() - start, bytes: bytes.byteLength };
}

/** @param {number[]} all */
const median = (all) => [...all].sort((a, b) => a - b)[all.length >> 1];

/** @param {Map<string, Uint8Array>} files of the server @param {string[]} names @returns {Promise<string[][]>} rows */
async function measureTimes(files, names) {
  const server = await openThrottled(files);
  const browser = await launch({ headers: {} });
  const rows = [];
  try {
    const page = await browser.openPage();
    for (const name of names) {
      const plain = /** @type {Uint8Array} */ (files.get(name));
      for (const rate of RATES) {
        /** @type {Record<string, number[]>} */
        const found = { plain: [], file: [], fetch: [] };
        for (let i = 0; i < ROUNDS; i++) {
          for (const how of Object.keys(found)) {
            server.rate = 0;
            await page.run(async () => {}); // nothing of the last one is under way
            server.rate = rate * 1e6;
            const { ms, bytes } = await page.run(visit, { from: server.url + name, how });
            if (bytes !== plain.length) throw new Error(`${name}: ${bytes} bytes`);
            found[how].push(ms);
          }
        }
        const ms = Object.values(found).map(median);
        const spread = Math.max(...Object.values(found).map((all) => (
          (Math.max(...all) - Math.min(...all)) / median(all))));
        rows.push([name, `${rate} Mbit/s`, ...ms.map((one) => `${one.toFixed(0)} ms`), (ms[1] / ms[0]).toFixed(2),
          `${(100 * spread).toFixed(0)} %`]);
      }
    }
  } finally {
    await browser.close();
    await server.close();
  }
  return rows;
}

/** @param {string[]} heading @param {(string | number)[][]} rows */
const table = (heading, rows) => [heading, heading.map(() => '---'), ...rows]
  .map((row) => `| ${row.join(' | ')} |`).join('\n');

const checkpoint = await readCheckpoint(join(ROOT, 'web/demo/models/licence-llama'), 'model.hansel.safetensors');
const onnx = onnxFiles(checkpoint);
const take = (/** @type {string[]} */ ...names) => new Map(names.map((name) => (
  [name, /** @type {Uint8Array} */ (onnx.get(`onnx/${name}`))])));
const subjects = [
  ['ONNX, F32, with external data', take('model.onnx', 'model.onnx_data')],
  ['ONNX, F16', take('model_inline_fp16.onnx')],
  ...GGUF_TYPES.map((type) => [`GGUF, ${type}`, new Map([[`llama-${type}.gguf`,
    ggufFile(checkpoint.sizes, checkpoint.tensors, type)]])]),
];
try {
  const sizes = [];
  for (const [name, files] of subjects) sizes.push(await measureSize(name, files));
  const percent = (/** @type {number} */ part, /** @type {number} */ all) => `${(100 - 100 * part / all).toFixed(1)} %`
    .replace('-0.0', '0.0');
  const sizeTable = table(['file', 'bytes', ...AIMS.map(([name]) => name), 'brotli -11', 'zstd -19'], sizes.map((one) => [
    one.name, one.plain.toLocaleString('en-US'), ...one.coded.map((size, i) => (
      i && size >= one.coded[0] ? '' : percent(size, one.plain))), percent(one.brotli, one.plain), percent(one.zstd, one.plain)]));

  const layer = quantizedFile('f16', synthetic('gauss', 4096, 4096));
  await writeFile(join(folder, 'layer.safetensors'), layer);
  const names = ['model_inline_fp16.onnx', 'layer.safetensors'];
  const served = new Map();
  for (const name of names) {
    const path = join(folder, name);
    served.set(name, new Uint8Array(await readFile(path)));
    for (const [ending, options] of /** @type {[string, object][]} */ ([['.hansel', { lossless: true }], ['6.hansel', { bits: 6 }]])) {
      await encodeCommand(path, path + ending, { ...options, force: true });
    }
  }
  const rows = [];
  for (const [what, ending] of [['no loss', '.hansel'], ['6 bits', '6.hansel']]) {
    for (const name of names) {
      const coded = new Uint8Array(await readFile(join(folder, name) + ending));
      served.set(`${name}.hansel`, coded);
      served.set(name.replace(/\.safetensors$/, '.hansel.safetensors'), name.endsWith('.safetensors') ? coded : served.get(name));
      served.set(`${name}.warm`, new Uint8Array(await readFile(join(folder, names[0]) + ending)));
      rows.push(...(await measureTimes(served, [name])).map(([file, ...rest]) => [file, what, ...rest]));
    }
  }
  const timeTable = table(['file', 'coded', 'line', 'plain, fetch', 'openFile', 'hanselFetch', 'openFile : plain', 'spread'], rows);
  const about = `Medians of ${ROUNDS}; Chromium, one thread; Node ${process.versions.node}, ${cpus()[0].model}, ${cpus().length} cores.`;
  console.log(`${sizeTable}\n\n${timeTable}\n\n${about}`);
  if (write) {
    const put = (/** @type {string} */ text, /** @type {string} */ name, /** @type {string} */ body) => text.replace(
      new RegExp(`(<!-- ${name} -->\n)[^]*(<!-- /${name} -->)`), (_, a, b) => `${a}\n${body}\n\n${b}`);
    const text = await readFile(write, 'utf8');
    await writeFile(write, put(put(text, 'sizes', sizeTable), 'times', `${timeTable}\n\n${about}`));
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
