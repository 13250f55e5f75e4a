/** `hansel assets`: what a page fetches besides modules, for bundlers that copy no files. */
import { copyFile, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HanselError } from '../core/errors.js';

const DIST = new URL('../../dist/', import.meta.url);

/**
 * Copies the wasm modules and worker.js; those that are there already are replaced.
 * @param {string} dir made if need be
 * @returns {Promise<string[]>} the files' paths
 * @throws {HanselError} HANSEL_ERR_SOURCE
 */
export async function copyAssets(dir) {
  /** @type {string[]} */
  const files = [];
  try {
    await mkdir(dir, { recursive: true });
    for (const name of (await readdir(DIST)).filter((one) => /\.wasm$|^worker\.js$/.test(one))) {
      const path = join(dir, name);
      const beside = `${path}.${process.pid}.new`;
      await copyFile(new URL(name, DIST), beside);
      await rename(beside, path).catch(async (error) => {
        await rm(beside, { force: true });
        throw error;
      });
      files.push(path);
    }
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'cannot be written', {
      where: dir, got: /** @type {Error} */ (cause).message, cause,
    });
  }
  return files;
}
