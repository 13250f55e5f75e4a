/** `hansel assets` and `hansel service-worker`: files of the package, where bundlers and pages need them. */
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OutputFile } from './node_file.js';
import { notWritten } from './terminal.js';

const DIST = new URL('../../dist/', import.meta.url);
const SERVICE_WORKER = new URL('../../min/service_worker.js', import.meta.url);
const WORKER_MODULES = ['decode.wasm', 'decode_simd.wasm', 'planes.wasm'];

/**
 * Writes files; those that are there already are replaced.
 * @param {string} dir made if need be @param {[string, Uint8Array][]} files by their names there
 * @returns {Promise<string[]>} their paths
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_SOURCE
 */
async function writeTo(dir, files) {
  await mkdir(dir, { recursive: true }).catch((cause) => { throw notWritten(dir, cause); });
  for (const [name, bytes] of files) {
    const output = await OutputFile.create(join(dir, name), true);
    try {
      await output.append(bytes);
      await output.commit();
    } finally {
      await output.discard();
    }
  }
  return files.map(([name]) => join(dir, name));
}

/** Copies the wasm modules and worker.js, as writeTo(). @param {string} dir */
export async function copyAssets(dir) {
  const names = (await readdir(DIST)).filter((name) => /\.wasm$|^worker\.js$/.test(name));
  return writeTo(dir, await Promise.all(names.map(async (name) => (
    /** @type {[string, Uint8Array]} */ ([name, await readFile(new URL(name, DIST))])))));
}

/**
 * Writes hansel-sw.js, which brings the modules that it decodes with.
 * @param {string} dir made if need be @returns {Promise<string>} its path
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_SOURCE
 */
export async function writeServiceWorker(dir) {
  const modules = await Promise.all(WORKER_MODULES.map(async (name) => (
    [name, `data:application/wasm;base64,${await readFile(new URL(name, DIST), 'base64')}`])));
  const [path] = await writeTo(dir, [['hansel-sw.js', Buffer.concat([
    Buffer.from(`const HANSEL_MODULES = ${JSON.stringify(Object.fromEntries(modules))};\n`),
    await readFile(SERVICE_WORKER)])]]);
  return path;
}
