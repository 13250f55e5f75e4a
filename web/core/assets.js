/** Reads files of this package: the wasm modules and the shaders. Browsers and Node. */
import { assetUrl } from '../asset.js';
import { HanselError } from './errors.js';

/**
 * @param {string} path from the package's root
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 * @throws {HanselError} HANSEL_ERR_SOURCE
 */
export async function readAsset(path) {
  const url = assetUrl(path);
  try {
    if (url.protocol === 'file:') {
      const { readFile } = await import('node:fs/promises');
      return new Uint8Array(await readFile(url));
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'a file of this package cannot be loaded', {
      where: url.href, got: /** @type {Error} */ (cause).message, cause,
    });
  }
}

/** @param {string} path @returns {Promise<string>} */
export const readTextAsset = async (path) => new TextDecoder().decode(await readAsset(path));
