/** Files of the repository, in a page or in Node. */
import { builtin, isNode } from '../../web/core/node.js';

/** @param {string} path from the root @returns {Promise<Uint8Array<ArrayBuffer>>} */
export async function readFile(path) {
  const url = new URL(`../../${path}`, import.meta.url);
  if (isNode) return new Uint8Array(await builtin('fs/promises').readFile(url));
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
