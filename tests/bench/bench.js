#!/usr/bin/env node
/**
 * The benchmark of docs/BENCHMARKS.md:
 *
 *   node tests/bench/bench.js [--quick] [--json] [--write docs] [--from RUN.json] [--gpu GPU.json]
 *
 * Prints Markdown, or with --json one JSON document that --from reads back instead of measuring.
 * gpu.js is run at the end; --gpu takes what its --json has printed, also on another machine.
 * --write puts all tables into results/DATE.md of a folder, and renews the summary in its BENCHMARKS.md
 * and bench.svg. --quick takes 2^20
 * symbols and 3 rounds, and no more than 10^7 weights. Every variant takes its turn in every
 * round, so that noise hits all alike; one more round comes first and is not counted.
 * Needs dist/ and build/bench: `make build build/bench`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, freemem, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadAsset } from '../../web/core/assets.js';
import { Encoder } from '../../web/core/encoder.js';
import { encodeTo, memorySpool } from '../../web/encode/encode.js';
import { open } from '../../web/hansel.js';
import { CODERS, initZstd, native, wasmCore } from './coders.js';
import { SETS, entropyOf, makeData } from './data.js';
import { digest } from './digest.js';
import { measurePage } from './page.js';
import { plot, report, spread } from './report.js';
import { decodeSlices, encodeSlices, joinParts } from './slices.js';
import { summary } from './summary.js';
import { measureThreads } from './threads.js';

const STREAM_LENGTHS = [256, 512, 1024, 2048, 4096, 8192, 16384];
const root = new URL('../..', import.meta.url).pathname;

/** @typedef {import('./report.js').Spread} Spread */
/** @typedef {{symbols: number, bits: number, encode: Spread | null, decode: Spread | null,
 *   decodes: number[]}} Speeds millions of symbols per second; decodes: by round */
/** @typedef {Awaited<ReturnType<typeof runAll>> & {gpu?: import('./gpu.js').GpuReport}} Results */
/** @typedef {import('./data.js').Task} Task */
/** @typedef {import('./coders.js').Session} Session */
/** @typedef {import('./coders.js').Round} Round */

/** @param {Round[]} rounds @param {number} symbols @returns {Speeds} */
function speeds(rounds, symbols) {
  const rates = (/** @type {'encode' | 'decode'} */ key) => (
    rounds.flatMap((round) => round[key] ?? []).map((time) => symbols / time / 1e6));
  const [encodes, decodes] = [rates('encode'), rates('decode')];
  return {
    symbols, bits: 8 * rounds[0].bytes / symbols, encode: encodes.length ? spread(encodes) : null,
    decode: decodes.length ? spread(decodes) : null, decodes,
  };
}

/**
 * Rounds over sessions; the first is not counted.
 * @param {Session[]} sessions @param {number} repeats
 * @returns {Promise<Speeds[]>}
 */
async function measure(sessions, repeats) {
  /** @type {Round[][]} */
  const rounds = sessions.map(() => []);
  for (let i = -1; i < repeats; i++) {
    for (const [k, { round }] of sessions.entries()) {
      const found = await round();
      if (i >= 0) rounds[k].push(found);
    }
  }
  return rounds.map((found, k) => speeds(found, sessions[k].symbols));
}

/** @param {Task} task @param {number} repeats */
async function coders(task, repeats) {
  const sessions = [];
  const coders = CODERS.filter(({ sets }) => !sets || sets.includes(task.set));
  for (const { prepare } of coders) sessions.push(await prepare(task));
  const found = await measure(sessions, repeats);
  return coders.map(({ name, timed, ours, anchor }, i) => (
    { name, timed, ours, anchor, ...found[i] }));
}

/** Bits and speed by stream length. @param {Task} task @param {number} repeats */
async function streamLengths(task, repeats) {
  const sessions = [];
  for (const length of STREAM_LENGTHS) {
    sessions.push(await wasmCore(true, length)(task), await native('streams', length)(task));
  }
  const found = await measure(sessions, repeats);
  return STREAM_LENGTHS.map((length, i) => (
    { length, wasm: found[2 * i], native: found[2 * i + 1] }));
}

/**
 * A module that no cache knows: the same code, and a custom section of its own.
 * @param {Uint8Array} bytes @param {number} number
 */
const fresh = (bytes, number) => Uint8Array.of(...bytes, 0, 6, 1, 120,
  ...new Uint8Array(Uint32Array.of(number).buffer));

/** The first 2^20 symbols after the page has loaded, and later. @param {Task} task
 * @param {number} repeats */
async function firstDecode({ data }, repeats) {
  const symbols = data.subarray(0, 1 << 20);
  const file = joinParts(await encodeSlices(await Encoder.create(), symbols, [256, 4096]));
  const none = () => /** @type {number[]} */ ([]);
  const builds = await Promise.all(['decode.wasm', 'decode_simd.wasm'].map(async (name) => (
    {
      name, code: (await loadAsset(name)).bytes, compile: none(), first: none(), warm: none(),
    }
  )));
  for (let i = 0; i < repeats; i++) {
    for (const { code, compile, first, warm } of builds) {
      const copy = fresh(code, i);
      const start = performance.now();
      const codec = new Encoder(await WebAssembly.compile(copy));
      const compiled = performance.now();
      const out = decodeSlices(codec, file);
      const decoded = performance.now();
      if (Buffer.compare(out, symbols) !== 0) throw new Error('the first decode is wrong');
      for (let k = 0; k < 10; k++) decodeSlices(codec, file);
      const again = performance.now();
      decodeSlices(codec, file);
      warm.push(performance.now() - again);
      compile.push(compiled - start);
      first.push(decoded - compiled);
    }
  }
  return builds.map(({ name, code, compile, first, warm }) => ({
    name, bytes: code.length, symbols: symbols.length, compile: spread(compile), first: spread(first),
    warm: spread(warm),
  }));
}

/**
 * A tensor of any size, the data over and over, through encodeTo() and Model.slices(): neither
 * side holds more than slices, the coded file is in memory.
 * @param {Task} task @param {number} weights a multiple of 1000
 * @returns {Session}
 */
function streamed({ data }, weights) {
  const read = async (/** @type {number} */ start, /** @type {number} */ end) => {
    const from = start % data.length;
    if (from + end - start <= data.length) return data.subarray(from, from + end - start);
    const joint = new Uint8Array(end - start);
    joint.set(data.subarray(from));
    joint.set(data.subarray(0, joint.length - (data.length - from)), data.length - from);
    return joint;
  };
  const input = { name: 'w', dtype: 'I8', shape: [weights / 1000, 1000], read };
  let isChecked = false;
  return {
    symbols: weights,
    async round() {
      const spool = memorySpool();
      const started = performance.now();
      const { header } = await encodeTo([input], { lossless: true }, spool);
      const coded = performance.now();
      const file = Buffer.concat([header, ...spool.chunks]);
      const joined = performance.now();
      const model = await open(file);
      for await (const { start, bytes } of model.slices('w')) {
        if (isChecked) continue;
        if (Buffer.compare(await read(start, start + bytes.length), bytes) !== 0) {
          throw new Error(`wrong weights after weight ${start}`);
        }
      }
      await model.close();
      isChecked = true; // in the round that is not counted
      return {
        bytes: file.length, encode: (coded - started) / 1000,
        decode: (performance.now() - joined) / 1000,
      };
    },
  };
}

/** Seconds by number of weights. @param {Task} task @param {number} repeats
 * @param {boolean} quick */
async function sizes(task, repeats, quick) {
  const counts = [1e4, 1e5, 1e6, 1e7];
  if (!quick) counts.push(1e8);
  if (!quick && freemem() > 4e9) counts.push(316228000);
  return measure(counts.map((weights) => streamed(task, weights)), repeats);
}

/** The first line a command prints. @param {string} command @param {string[]} args */
function ask(command, ...args) {
  try {
    const options = { cwd: root, stdio: /** @type {any} */ (['ignore', 'pipe', 'ignore']) };
    return execFileSync(command, args, options).toString().split('\n')[0].trim();
  } catch {
    return 'unknown';
  }
}

async function describeMachine() {
  const system = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const changed = ask('git', 'status', '--porcelain', '--', 'src', 'web', 'tests', 'Makefile');
  return {
    cpu: cpus()[0].model, cores: cpus().length, memory: totalmem(),
    system: `${/PRETTY_NAME="(.*)"/.exec(system)?.[1] ?? process.platform}, kernel ${release()}`,
    load: loadavg()[0],
    versions: {
      node: process.versions.node, v8: process.versions.v8, emcc: ask('emcc', '--version'),
      gcc: ask('gcc', '--version'), zlib: process.versions.zlib, brotli: process.versions.brotli,
      'zstd-wasm': devDependencies['@bokuweb/zstd-wasm'], fflate: devDependencies.fflate,
      fzstd: devDependencies.fzstd,
    },
    revision: ask('git', 'rev-parse', '--short', 'HEAD') + (changed ? ' and changes' : ''),
    date: new Date().toISOString().slice(0, 10),
  };
}

/** @param {boolean} quick */
async function runAll(quick) {
  if (!existsSync(join(root, 'build/bench'))) {
    throw new Error('build/bench is missing: make build build/bench');
  }
  const started = performance.now();
  const say = (/** @type {string} */ what) => process.stderr.write(
    `${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s  ${what}\n`);
  const machine = await describeMachine();
  const repeats = quick ? 3 : 7;
  const rows = quick ? 256 : 4096;
  const folder = await mkdtemp(join(tmpdir(), 'hansel-bench-'));
  await initZstd();
  try {
    const sets = [];
    /** @type {Task | undefined} */
    let up16;
    for (const [set, { what }] of Object.entries(SETS)) {
      say(set);
      const task = { set, ...makeData(set, rows), path: join(folder, set) };
      up16 ??= task;
      await writeFile(task.path, task.data);
      const entropy = entropyOf(task.data);
      sets.push({ set, what, shape: task.shape, entropy, coders: await coders(task, repeats) });
    }
    if (!up16) throw new Error('no data set');
    say('stream lengths');
    const lengths = await streamLengths(up16, repeats);
    say('first decode');
    const first = await firstDecode(up16, Math.max(repeats, 7));
    say('a page');
    const page = await measurePage(quick);
    say('threads');
    const threads = await measureThreads(quick, quick ? repeats : 15);
    say('sizes');
    const bySize = await sizes(up16, repeats, quick);
    say('files');
    const files = measureApart('file_sizes.js', quick); // zstd's module does not last for all of it, too
    say('done');
    return {
      command: `node tests/bench/bench.js${quick ? ' --quick' : ''}`, quick, repeats, machine, sets,
      lengths, first, page, threads, sizes: bySize, files,
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** In a process of its own, for its memory. @param {string} script @param {boolean} quick */
function measureApart(script, quick) {
  const args = [join(root, 'tests/bench', script), '--json', ...(quick ? ['--quick'] : [])];
  return JSON.parse(execFileSync(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 26,
  }).toString());
}

/** @param {string} folder @param {Results} results */
async function writePages(folder, results) {
  const { date } = results.machine;
  const details = `results/${date}.md`;
  const path = join(folder, 'BENCHMARKS.md');
  const page = await readFile(path, 'utf8');
  const marks = /(<!-- generated: begin -->\n)[^]*(<!-- generated: end -->)/;
  if (!marks.test(page)) throw new Error(`${path} has no generated section`);
  await mkdir(join(folder, 'results'), { recursive: true });
  await writeFile(join(folder, details), `# Benchmark run of ${date}\n\n${report(results)}`);
  await writeFile(path, page.replace(marks, (_, begin, end) => (
    `${begin}\n${summary(results, details)}\n${end}`)));
  await writeFile(join(folder, 'bench.svg'), plot(results));
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' }, json: { type: 'boolean' }, write: { type: 'string' },
    from: { type: 'string' }, gpu: { type: 'string' },
  },
});
/** @type {Results} */
const results = values.from ? JSON.parse(await readFile(values.from, 'utf8'))
  : await runAll(Boolean(values.quick));
if (values.gpu) results.gpu = JSON.parse(await readFile(values.gpu, 'utf8'));
else if (!values.from) results.gpu = measureApart('gpu.js', Boolean(values.quick));
process.stdout.write(values.json ? `${JSON.stringify(results, null, 1)}\n` : `${report(results)}\n${digest(results)}\n`);
if (values.write) await writePages(values.write, results);
