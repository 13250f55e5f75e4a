/** Where the wasm modules and the worker are. Browsers and Node. */
import { fileUrl } from '../asset.js';
import { HanselError } from './errors.js';
import { builtin, isNode } from './node.js';

let base = '';

/**
 * Says where the wasm modules and worker.js were copied to (`npx hansel assets DIR` copies them). Not
 * needed where a bundler finds them, or they lie as in the package. Call it before anything else.
 * @param {{base: string | URL}} options a folder; relative to the page, if there is one; in Node a
 *   URL, be it file:
 * @throws {HanselError} HANSEL_ERR_ARGUMENT without a base
 * @example
 * assets({ base: '/static/hansel/' });
 */
export const assets = (options) => {
  if (!options?.base) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'assets({ base }) needs a base');
  }
  base = String(options.base).replace(/\/*$/, '/');
};

/** @param {string} name of a file in dist/ @returns {URL} @throws {TypeError} if base is no address */
export const assetUrl = (name) => (base
  ? new URL(base + name, globalThis.document?.baseURI ?? globalThis.location?.href) : fileUrl(name));

/**
 * @param {string} name of a wasm module in dist/
 * @returns {Promise<{module: WebAssembly.Module, bytes: Uint8Array<ArrayBuffer>}>}
 * @throws {HanselError} HANSEL_ERR_SOURCE also where it does not compile: it is a page, perhaps, or
 *   the page's policy forbids it
 */
export async function loadAsset(name) {
  let where = base + name;
  try {
    const url = assetUrl(name);
    where = url.href;
    let bytes;
    if (isNode && url.protocol === 'file:') {
      bytes = new Uint8Array(await builtin('fs/promises').readFile(url));
    } else {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`status ${response.status}`);
      bytes = new Uint8Array(await response.arrayBuffer());
    }
    return { module: await WebAssembly.compile(bytes), bytes };
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'cannot be loaded; assets({ base }) says where it is', {
      where, got: /** @type {Error} */ (cause).message, cause,
    });
  }
}
