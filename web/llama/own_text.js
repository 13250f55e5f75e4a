/** Texts beside the demo's modules. */
import { builtin, isNode } from '../core/node.js';

/** @param {URL} url @returns {Promise<string>} */
export const ownText = async (url) => (isNode ? builtin('fs/promises').readFile(url, 'utf8')
  : (await fetch(url)).text());
