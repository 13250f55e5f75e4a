/** `hansel assets` and `hansel service-worker`: files of the package, where bundlers and pages need them. */
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OutputFile } from './node_file.js';
import { notWritten } from './terminal.js';

const DIST = new URL('../../dist/', import.meta.url);
const SERVICE_WORKER = new URL('../../min/service_worker.js', import.meta.url);

/**
 * Copies files; those that are there already are replaced.
 * @param {string} dir made if need be @param {[string, URL][]} files their names there
 * @returns {Promise<string[]>} their paths
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_SOURCE
 */
async function copyTo(dir, files) {
  await mkdir(dir, { recursive: true }).catch((cause) => { throw notWritten(dir, cause); });
  for (const [name, from] of files) {
    const output = await OutputFile.create(join(dir, name), true);
    try {
      await output.append(await readFile(from));
      await output.commit();
    } finally {
      await output.discard();
    }
  }
  return files.map(([name]) => join(dir, name));
}

/** Copies the wasm modules and worker.js, as copyTo(). @param {string} dir */
export async function copyAssets(dir) {
  const names = (await readdir(DIST)).filter((name) => /\.wasm$|^worker\.js$/.test(name));
  return copyTo(dir, names.map((name) => [name, new URL(name, DIST)]));
}

/** Writes hansel-sw.js, as copyTo(). @param {string} dir */
export const copyServiceWorker = (dir) => copyTo(dir, [['hansel-sw.js', SERVICE_WORKER]]);
