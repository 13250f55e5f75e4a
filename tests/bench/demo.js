#!/usr/bin/env node
/**
 * `make demo`: the main job on a matrix of a real size, by the command line.
 *
 *   node tests/bench/demo.js DIR
 *
 * Makes the reference matrix in DIR unless it is there, codes it, verifies it against the original,
 * compares sizes and speeds with what a page would ship today, and serves DIR: until Ctrl-C on a
 * terminal, else for one request of each page.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open as openFile, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { SAMPLE_COLUMNS, SAMPLE_ROWS } from '../../web/cli/sample.js';
import { open } from '../../web/hansel.js';
import { initZstd, zstd } from './coders.js';

const CLI = new URL('../../web/cli.js', import.meta.url).pathname;
/** The demo's language model, as `make build` unpacks it. */
const MODEL = relative('.', new URL('../../build/licence-llama.safetensors', import.meta.url).pathname);
/** Bytes that gzip and zstd are tried on. */
const PART = 16 << 20;
const run = promisify(execFile);
const say = (/** @type {string} */ text) => process.stdout.write(`${text}\n`);

/** @template T @param {() => T} body @returns {Promise<{value: Awaited<T>, seconds: number}>} */
async function timed(body) {
  const start = performance.now();
  const value = await body();
  return { value, seconds: (performance.now() - start) / 1000 };
}

/**
 * Runs hansel and says so.
 * @param {string[]} args @param {boolean} [brief] say only the last line of what it says
 * @returns {Promise<number>} seconds
 */
async function hansel(args, brief = false) {
  say(`$ hansel ${args.join(' ')}`);
  const { value: { stdout, stderr }, seconds } = await timed(
    () => run(process.execPath, [CLI, ...args], { maxBuffer: 1 << 26 }));
  const lines = (stdout + stderr).trimEnd().split('\n').slice(brief ? -1 : 0);
  say(`  ${[...lines, `${seconds.toFixed(2)} s`].join('\n  ')}\n`);
  return seconds;
}

/** Whether a file is the whole reference matrix. @param {string} path */
async function isSample(path) {
  const size = (await stat(path).catch(() => null))?.size ?? 0;
  if (size < 8) return false;
  const file = await openFile(path);
  const { buffer: start } = await file.read(Buffer.alloc(8), 0, 8, 0);
  await file.close();
  return size === 8 + Number(start.readBigUInt64LE()) + 4 * SAMPLE_ROWS * SAMPLE_COLUMNS;
}

/** @param {(string | number)[][]} rows the first is the heading */
function print(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => String(row[i]).length)));
  for (const row of rows) {
    say(row.map((cell, i) => (i ? String(cell).padStart(widths[i])
      : String(cell).padEnd(widths[i]))).join('  '));
  }
  say('');
}

/** @param {number} port @returns {Promise<boolean>} */
async function isFree(port) {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/**
 * One row: size, and speeds from seconds.
 * @param {string} name @param {number} bytes @param {number} weights
 * @param {number} rawBytes of the F32 weights @param {(number | null)[]} speeds MB/s
 */
const row = (name, bytes, weights, rawBytes, speeds) => [
  name, Math.round(bytes).toLocaleString('en-US'), (8 * bytes / weights).toFixed(4),
  `${(100 * bytes / rawBytes).toFixed(2)} %`,
  ...speeds.map((speed) => (speed === null ? '-' : speed.toFixed(0))),
];

/**
 * A general coder on the first bytes of the indices.
 * @param {Uint8Array} part @param {(data: Uint8Array) => Uint8Array} forth
 * @param {(coded: Uint8Array) => Uint8Array} back
 */
async function general(part, forth, back) {
  const there = await timed(() => forth(part));
  const here = await timed(() => back(there.value));
  if (Buffer.compare(here.value, part) !== 0) throw new Error('what comes out is not what went in');
  const megabytes = part.length / 1e6;
  return {
    share: there.value.length / part.length,
    speeds: [megabytes / there.seconds, megabytes / here.seconds],
  };
}

/** @param {string} folder */
async function reference(folder) {
  const sample = join(folder, 'sample.safetensors');
  const coded = join(folder, 'sample.hansel.safetensors');
  const indices = join(folder, 'sample.i8.safetensors');
  if (await isSample(sample)) say(`${sample} is there already\n`);
  else await hansel(['sample', sample, '--force']);
  const encodeSeconds = await hansel(
    ['encode', sample, '-o', coded, '--step', '1/52', '--saturate', '--force']);
  await hansel(['verify', coded, '--against', sample]);
  await hansel(['decode', coded, '-o', indices, '--dtype', 'I8', '--force']);

  const plain = await open(indices);
  const grid = new Uint8Array((await plain.decode('w')).buffer);
  await plain.close();
  await rm(indices);
  const file = await readFile(coded);
  const decoded = await timed(async () => {
    const model = await open(file);
    const weights = await model.decode('w', { dtype: 'I8' });
    await model.close();
    return new Uint8Array(weights.buffer);
  });
  if (Buffer.compare(decoded.value, grid) !== 0) throw new Error('two decoders disagree');

  await initZstd();
  const part = grid.subarray(0, PART);
  const gzip = await general(part, (data) => gzipSync(data, { level: 6 }), gunzipSync);
  const zstd3 = await general(part, (data) => zstd.compress(data, 3),
    (data) => zstd.decompress(data));
  const weights = grid.length;
  const raw = 4 * weights;
  print([
    ['', 'bytes', 'bits/weight', 'of F32', 'encode MB/s', 'decode MB/s'],
    row('F32', raw, weights, raw, [null, null]),
    row('int8 grid indices', weights, weights, raw, [null, null]),
    row('  gzip -6 (1)', weights * gzip.share, weights, raw, gzip.speeds),
    row('  zstd -3, wasm (1)', weights * zstd3.share, weights, raw, zstd3.speeds),
    row('Hansel (2)', file.length, weights, raw,
      [weights / encodeSeconds / 1e6, weights / decoded.seconds / 1e6]),
  ]);
  say(`MB are 10^6 bytes of int8 indices: one byte is one weight.
(1) Of the first ${PART >> 20} MiB of the indices, in memory, one thread; bytes scaled to all.
(2) Encoding is the whole \`hansel encode\` above, from F32 on disk to a file on disk, on all cores;
    decoding is open() and decode() of the file in memory, one thread.
`);
}

/** @param {string} folder */
async function serveFolder(folder) {
  let port = 8080;
  while (!await isFree(port)) port++;
  const child = spawn(process.execPath, [CLI, 'serve', folder, '--port', String(port)],
    { stdio: ['ignore', 'inherit', 'pipe'] });
  const end = once(child, 'exit');
  /** @type {string[]} */
  const addresses = [];
  for await (const line of createInterface(child.stderr)) {
    say(line);
    addresses.push(.../http:\S+/.exec(line) ?? []);
    if (line.startsWith('demo page')) break;
  }
  if (!addresses.length) throw new Error('hansel serve did not start');
  if (process.stdin.isTTY && process.stdout.isTTY) {
    process.on('SIGINT', () => {}); // the server gets it too, and ends
    await end;
    return;
  }
  try {
    for (const address of addresses) {
      const response = await fetch(address);
      const page = await response.text();
      if (!response.ok) throw new Error(`${address} answers ${response.status}`);
      say(`${address} answers: ${page.length} characters, "${
        /<title>(.*?)<\/title>/s.exec(page)?.[1] ?? ''}"`);
    }
  } finally {
    child.kill();
    await end;
  }
  say('Not a terminal, so the server has ended.');
}

const [folder] = process.argv.slice(2);
if (!folder) {
  process.stderr.write('usage: node tests/bench/demo.js DIR\n');
  process.exit(2);
}
await mkdir(folder, { recursive: true });
await reference(folder);
const coded = join(folder, 'licence-llama.hansel.safetensors');
await hansel(['encode', MODEL, '-o', coded, '--bits', '4', '--force'], true);
await hansel(['verify', coded, '--against', MODEL], true);
await serveFolder(folder);
