/** `hansel assets`: what a page fetches besides modules, for bundlers that copy no files. */
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OutputFile } from './node_file.js';
import { notWritten } from './terminal.js';

const DIST = new URL('../../dist/', import.meta.url);

/**
 * Copies the wasm modules and worker.js; those that are there already are replaced.
 * @param {string} dir made if need be
 * @returns {Promise<string[]>} the files' paths
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_SOURCE
 */
export async function copyAssets(dir) {
  await mkdir(dir, { recursive: true }).catch((cause) => { throw notWritten(dir, cause); });
  const names = (await readdir(DIST)).filter((name) => /\.wasm$|^worker\.js$/.test(name));
  for (const name of names) {
    const output = await OutputFile.create(join(dir, name), true);
    try {
      await output.append(await readFile(new URL(name, DIST)));
      await output.commit();
    } finally {
      await output.discard();
    }
  }
  return names.map((name) => join(dir, name));
}
