/** What the tests of the command line share: running it as users do, files to give it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { RandomState } from '../../web/cli/sample.js';
import { serve } from '../../web/cli/serve.js';
import { buildHeader } from '../../web/file/write_header.js';

export const CLI = fileURLToPath(new URL('../../web/cli.js', import.meta.url));

/** Running commands. @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
let root = '';
let folders = 0;
/** An empty folder. */
export const folder = () => {
  root ||= mkdtempSync(join(tmpdir(), 'hansel-cli-'));
  const path = join(root, `${folders++}`);
  mkdirSync(path);
  return path;
};

/** @type {Awaited<ReturnType<typeof serve>>[]} */
const servers = [];
export async function serving(dir, options) {
  const server = await serve(dir, options);
  servers.push(server);
  return server.url;
}

/** Every file that uses this module calls it at its end. */
export async function cleanUp() {
  for (const server of servers.splice(0)) await server.close();
  for (const child of children) child.kill('SIGKILL');
  if (root) rmSync(root, { recursive: true, force: true });
  root = '';
}

/**
 * @typedef {{cwd?: string, input?: Uint8Array, env?: Record<string, string>, node?: string[]}} How
 *   node: options for node itself
 */

/** A running command; result is what it left. @param {string[]} args @param {How} [how] */
export function start(args, { cwd = root || folder(), input, env = {}, node = [] } = {}) {
  const child = spawn(process.execPath, [...node, CLI, ...args],
    { cwd, env: { ...process.env, ...env } });
  children.add(child);
  child.once('close', () => children.delete(child));
  const out = [];
  const err = [];
  child.stdout.on('data', (chunk) => out.push(chunk));
  child.stderr.on('data', (chunk) => err.push(chunk));
  child.stdin.on('error', () => {}); // it may end without reading
  if (input) child.stdin.end(input);
  const result = once(child, 'close').then(([code, signal]) => ({
    code, signal, bytes: Buffer.concat(out), stdout: Buffer.concat(out).toString(),
    stderr: Buffer.concat(err).toString(),
  }));
  return { child, result, stderr: () => Buffer.concat(err).toString() };
}

/** @param {string[]} args @param {How} [how] */
export const run = (args, how) => start(args, { input: new Uint8Array(0), ...how }).result;

/** A run that must succeed. @param {string[]} args @param {How} [how] */
export async function good(args, how) {
  const result = await run(args, how);
  assert.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
  return result;
}

/** A run that must fail, with one line that names the error, and with --json an object too. */
export async function bad(args, code, exit = 1, how = undefined) {
  const result = await run(args, how);
  assert.match(result.stderr, new RegExp(`^hansel: ${code}: [^\n]+\n$`), args.join(' '));
  assert.equal(result.code, exit, args.join(' '));
  if (!args.includes('--json')) assert.equal(result.stdout, '', args.join(' '));
  else assert.match(JSON.parse(result.stdout).error.code, new RegExp(`^${code}`), args.join(' '));
  return result;
}

export async function until(condition, what) {
  for (let i = 0; i < 1000; i++) {
    if (condition()) return;
    await sleep(10);
  }
  assert.fail(`no ${what} in 10 seconds`);
}

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

export function gaussian(shape, seed, sigma = 1) {
  const random = new RandomState(seed);
  const n = shape.reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: n }, () => sigma * random.gauss());
  return { dtype: 'F32', shape, data };
}

/** A plain safetensors file. */
export function plain(tensors, metadata = []) {
  const entries = Object.entries(tensors);
  const header = buildHeader(entries.map(([name, { dtype, shape, data }]) => (
    [name, { dtype, shape, bytes: data.byteLength }])), metadata);
  return Buffer.concat([header, ...entries.map(([, { data }]) => bytesOf(data))]);
}

export const TENSORS = {
  'model.w': gaussian([200, 301], 1, 0.05), 'model.v': gaussian([64, 64], 2, 3),
  'norm': gaussian([64], 3), 'ids': { dtype: 'I64', shape: [3],
    data: BigInt64Array.of(1n, -2n, 3n) },
  'scalar': gaussian([], 4), '__proto__x': gaussian([32, 65], 5),
};
export const METADATA = [['format', 'pt'], ['note', 'héllo']];

/** A folder with in.safetensors. */
export function withInput() {
  const cwd = folder();
  const path = join(cwd, 'in.safetensors');
  writeFileSync(path, plain(TENSORS, METADATA));
  return { cwd, path };
}
