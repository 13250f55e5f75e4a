#!/usr/bin/env node
/**
 * What coding does to a real model: held-out loss against bits per weight, of docs/EVAL.md.
 *
 *   node tests/bench/eval.js [--quick] [--json] [--write docs/EVAL.md] [--from RUN.json]
 *
 * Prints Markdown, or with --json one JSON document that --from reads back instead of measuring.
 * --write renews the generated section of a page, and eval.svg beside it. --quick scores every
 * eighth window. Everything runs in Node on the wasm, by web/llama/llama.js: every product on coded
 * weights. Fails if the F32 model does not have its reference's loss and continuation.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { loadLlama } from '../../web/llama/llama.js';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { IMPORTANCE } from '../../web/encode/hessians.js';
import { encode, open } from '../../web/hansel.js';
import { calibrate } from '../../web/llama/calibrate.js';
import { curve, evalText } from './eval_report.js';
import { storedBits, toGroups } from './round_to_nearest.js';

const FOLDER = new URL('../../web/demo/models/licence-llama/', import.meta.url);
const WINDOW = 128;
const RATES = [8, 6, 5, 4.5, 4, 3.75, 3.5, 3, 2.72, 2.5, 2];
/** Of those whose tensors all take the same. */
const EACH = [6, 5, 4, 3.5, 3, 2.8, 2.5, 2];
const GROUPS = [[8, 32], [4, 32], [4, 64], [3, 32]];
/** With error feedback, by what the model writes itself and by the text that it learned. With 2.22, 3.22 and
 * 5.57 the whole file has 2.25, 3.25 and 5.6 bits for each weight of a matrix. */
const SAMPLES = [6, 5.57, 5, 4.5, 4, 3.5, 3.22, 3, 2.5, 2.22, 2];
const TEXT = [5.57, 4, 3.22, 2.22];
/** Debian's, of which the model was trained on the first 93 % of each. */
const LICENCES = ['Apache-2.0', 'Artistic', 'BSD', 'CC0-1.0', 'GFDL-1.2', 'GFDL-1.3', 'GPL-1', 'GPL-2', 'GPL-3',
  'LGPL-2', 'LGPL-2.1', 'LGPL-3', 'MPL-1.1', 'MPL-2.0'].map((name) => `/usr/share/common-licenses/${name}`);

/** @typedef {{what: string, family: 'F32' | 'groups' | 'each' | 'Hansel' | 'samples' | 'text', bits: number,
 *   bytes: number, loss: number, divergence: number}} Result bits per weight and bytes: of all coded matrices */
/** @typedef {{count: number, windows: number, weights: number, results: Result[],
 *   seconds?: {each: number, rule: number, feedback: number}}} Results */

const read = async (/** @type {string} */ name) => JSON.parse(
  await readFile(new URL(name, FOLDER), 'utf8'));

/** Matrices are coded; norms are small, and stay. @param {number[]} shape */
const isMatrix = (shape) => shape.length === 2;

/** How they are coded. @type {Record<string, string>} */
const MORE = { Hansel: '', each: ' --each', samples: ', feedback', text: ', feedback, training text' };

/** Threads that each score their share of the windows. */
class Scorers {
  /** @param {object} config @param {number[]} tokens @param {number} windows */
  constructor(config, tokens, windows) {
    const parts = availableParallelism();
    this.workers = Array.from({ length: parts }, (_, part) => new Worker(
      new URL('eval_worker.js', import.meta.url),
      { workerData: { config, tokens, window: WINDOW, windows, part, parts } }));
    this.total = windows * WINDOW;
  }

  /** @param {string} what @param {Uint8Array} file */
  async score(what, file) {
    const done = this.workers.map(() => 0);
    const parts = await Promise.all(this.workers.map((worker, i) => new Promise((resolve, reject) => {
      const listen = (/** @type {any} */ message) => {
        if (!('progress' in message)) {
          worker.off('message', listen).off('error', reject);
          resolve(message);
          return;
        }
        done[i] = message.progress;
        const percent = 100 * done.reduce((a, b) => a + b) / this.total;
        if (process.stderr.isTTY) process.stderr.write(`\r${what}: ${percent.toFixed(0)} %   `);
      };
      worker.on('message', listen).on('error', reject);
      worker.postMessage(file);
    })));
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    const sum = (/** @type {string} */ key) => parts.reduce((total, part) => total + part[key], 0);
    const count = sum('count');
    return { loss: sum('loss') / count, divergence: sum('divergence') / count, count };
  }

  close() {
    return Promise.all(this.workers.map((worker) => worker.terminate()));
  }
}

/** @param {Uint8Array} file of the F32 model @param {any} config @param {any} reference */
async function checkContinuation(file, config, reference) {
  const llama = await loadLlama(await open(file), config, new WasmBackend());
  let found = '';
  for await (const { text } of llama.generate(llama.encodeText(reference.prompt))) found += text;
  llama.destroy();
  if (found !== reference.greedy_continuation) {
    throw new Error(`the F32 model continues ${JSON.stringify(found)}, `
      + `not ${JSON.stringify(reference.greedy_continuation)}`);
  }
}

/** What the model learned. */
async function trainingText() {
  const texts = await Promise.all(LICENCES.map((path) => readFile(path, 'latin1')));
  return texts.map((text) => {
    const clean = text.replace(/[ \t]+/g, ' ').replace(/[^\x20-\x7e\n]/g, ' ');
    return clean.slice(0, Math.floor(0.93 * clean.length));
  }).join('');
}

/** @param {any} model @param {any} config @param {string} [text] that it reads; by default its own */
async function hessiansOf(model, config, text) {
  const found = new Map();
  for await (const { name: own, names, data } of calibrate(model, config, { text })) {
    for (const name of new Set([own, ...own.startsWith(IMPORTANCE) ? [] : names])) {
      found.set(name, new Float32Array(data.buffer));
    }
  }
  return found;
}

/**
 * How long coding takes, in one run on one thread: medians of three.
 * @returns {Promise<Results['seconds']>}
 */
async function encodingTimes() {
  const size = 4096;
  const tensors = { w: { dtype: 'F32', shape: [size, size], data: new Float32Array(size * size).map(
    (_, i) => (Math.sin(i * i) + Math.sin(i * 0.7 * i) + Math.sin(i * 0.3 * i)) / 50) } };
  const upper = new Float32Array(size * (size + 1) / 2);
  for (let i = 0, at = 0; i < size; i++) {
    for (let j = i; j < size; j++) upper[at++] = i === j ? 2 + i % 9 : 1 / (1 + (j - i) / 9);
  }
  /** @type {Record<string, import('../../web/hansel.js').EncodeOptions>} */
  const ways = { each: { bits: 4, each: true }, rule: { bits: 4 }, feedback: { bits: 4, hessians: { w: upper } } };
  const taken = Object.fromEntries(Object.keys(ways).map((way) => [way, /** @type {number[]} */ ([])]));
  for (let i = 0; i < 3; i++) {
    for (const [way, options] of Object.entries(ways)) {
      const start = performance.now();
      await encode(tensors, options);
      taken[way].push((performance.now() - start) / 1000);
    }
  }
  const medians = Object.entries(taken).map(([way, all]) => [way, all.sort((a, b) => a - b)[1]]);
  return /** @type {any} */ (Object.fromEntries(medians));
}

/** @param {boolean} quick @returns {Promise<Results>} */
async function runAll(quick) {
  const [config, reference] = [await read('config.json'), await read('reference.json')];
  const text = await readFile(new URL('eval.txt', FOLDER), 'utf8');
  const original = new Uint8Array(await readFile(new URL('model.hansel.safetensors', FOLDER)));
  const model = await open(original);
  /** @type {Record<string, {dtype: string, shape: number[], data: Float32Array}>} */
  const tensors = {};
  for (const [name, { dtype, shape }] of model.tensors) {
    tensors[name] = { dtype, shape, data: await model.decode(name) };
  }
  const matrices = Object.values(tensors).filter(({ shape }) => isMatrix(shape));
  const weights = matrices.reduce((sum, { data }) => sum + data.length, 0);
  await checkContinuation(original, config, reference);

  const characters = [...config.characters];
  const tokens = [...text].map((character) => characters.indexOf(character));
  const all = Math.ceil((tokens.length - WINDOW - 1) / WINDOW);
  const windows = quick ? Math.floor(all / 8) : all;
  const scorers = new Scorers(config, tokens, windows);
  /** @type {Result[]} */
  const results = [];
  let count = 0;
  try {
    /** @param {string} what @param {Result['family']} family @param {number} bits @param {Uint8Array} file */
    const add = async (what, family, bits, file) => {
      const score = await scorers.score(what, file);
      count = score.count;
      results.push({ what, family, bits, bytes: Math.ceil(bits * weights / 8), ...score });
      console.error(`${what}: ${bits.toFixed(3)} bits, loss ${score.loss.toFixed(4)}, `
        + `KL ${score.divergence.toFixed(5)}`);
    };
    await add('F32', 'F32', 32, original);
    if (!quick && Math.abs(results[0].loss - reference.eval_nats_per_char) > 1e-3) {
      throw new Error(`the F32 model's loss is ${results[0].loss}, not ${reference.eval_nats_per_char}`);
    }
    for (const [bits, size] of GROUPS) {
      const rounded = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name,
        isMatrix(tensor.shape) ? { ...tensor, data: toGroups(tensor.data, bits, size) } : tensor]));
      await add(`int${bits}, group ${size}`, 'groups', storedBits(bits, size),
        await encode(rounded, { lossless: true, always: true }));
    }
    const code = async (/** @type {number} */ rate, /** @type {Result['family']} */ family,
      /** @type {Map<string, Float32Array>} */ hessians) => {
      const file = await encode(tensors, { bits: rate, each: family === 'each', hessians });
      const coded = [...(await open(file)).tensors.values()].filter(({ shape }) => isMatrix(shape));
      const bytes = coded.reduce((sum, tensor) => sum + tensor.bytes, 0);
      await add(`Hansel, --bits ${rate}${MORE[family]}`, family, 8 * bytes / weights, file);
    };
    for (const rate of EACH) await code(rate, 'each');
    for (const rate of RATES) await code(rate, 'Hansel');
    const plainly = await open(await encode(tensors, { include: '^$' }));
    const samples = await hessiansOf(plainly, config);
    for (const rate of SAMPLES) await code(rate, 'samples', samples);
    const learned = await hessiansOf(plainly, config, await trainingText());
    for (const rate of TEXT) await code(rate, 'text', learned);
  } finally {
    await scorers.close();
  }
  return { count, windows, weights, results, seconds: await encodingTimes() };
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false }, json: { type: 'boolean', default: false },
    write: { type: 'string' }, from: { type: 'string' },
  },
});
const results = values.from ? JSON.parse(await readFile(values.from, 'utf8')) : await runAll(values.quick);
const markdown = evalText(results);
if (values.write) {
  const page = await readFile(values.write, 'utf8');
  const [begin, end] = ['<!-- generated: begin -->', '<!-- generated: end -->'];
  const [before, after] = [page.indexOf(begin), page.indexOf(end)];
  if (before < 0 || after < before) throw new Error(`${values.write} has no generated section`);
  await writeFile(join(dirname(values.write), 'eval.svg'), curve(results));
  await writeFile(values.write,
    `${page.slice(0, before + begin.length)}\n\n${markdown}\n\n${page.slice(after)}`);
} else {
  console.log(values.json ? JSON.stringify(results, null, 1) : markdown);
}
