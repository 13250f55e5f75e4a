/** Where the wasm modules and the worker are. Browsers and Node. */
import { fileUrl } from '../asset.js';
import { HanselError } from './errors.js';
import { builtin, isNode } from './node.js';

let base = '';

/**
 * Says where the wasm modules and worker.js were copied to (`npx hansel assets DIR` copies them). Not
 * needed where a bundler finds them, or they lie as in the package. Call it before anything else.
 * @param {{base: string | URL}} options a folder; relative to the page, if there is one
 * @example
 * assets({ base: '/static/hansel/' });
 */
export const assets = (options) => {
  base = String(options.base).replace(/\/*$/, '/');
};

/** @param {string} name of a file in dist/ @returns {URL} @throws {TypeError} if base is no address */
export const assetUrl = (name) => (base
  ? new URL(base + name, globalThis.document?.baseURI ?? globalThis.location?.href) : fileUrl(name));

/**
 * @param {string} name of a wasm module in dist/
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 * @throws {HanselError} HANSEL_ERR_SOURCE
 */
export async function readAsset(name) {
  let where = base + name;
  try {
    const url = assetUrl(name);
    where = url.href;
    if (isNode && url.protocol === 'file:') {
      return new Uint8Array(await builtin('fs/promises').readFile(url));
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`status ${response.status}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes[1] !== 97) throw new Error('no WebAssembly'); // \0asm; a page, perhaps
    return bytes;
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'cannot be loaded; assets({ base }) says where it is', {
      where, got: /** @type {Error} */ (cause).message, cause,
    });
  }
}
