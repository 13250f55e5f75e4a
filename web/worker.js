/** A thread of web/pool.js: runs codec methods and posts what they return. */
import { Codec } from './codec.js';

const isNode = Boolean(globalThis.process?.versions?.node);
const port = isNode ? (await import(
  /* webpackIgnore: true */ /* @vite-ignore */ 'node:worker_threads')).parentPort : globalThis;

/** By the number of their module. @type {Map<number, Codec>} */
const codecs = new Map();

/** @param {any} result @returns {Transferable[]} the buffers it owns */
const buffers = (result) => Object.values(result ?? {}).flatMap((value) => (
  ArrayBuffer.isView(value) ? [/** @type {ArrayBuffer} */ (value.buffer)] : []));

/** @param {{id: number, method: string, args: unknown[], number: number,
 *   module?: WebAssembly.Module}} call module: with the first call of its number */
function answer({ id, method, args, number, module }) {
  try {
    if (module) codecs.set(number, new Codec(module));
    const result = (/** @type {any} */ (codecs.get(number)))[method](...args);
    // Shared bytes are the caller's, who knows them.
    if (result?.bytes && !(result.bytes.buffer instanceof ArrayBuffer)) delete result.bytes;
    /** @type {any} */ (port).postMessage({ id, result }, buffers(result));
  } catch (error) {
    const { code = 'HANSEL_ERR_MEMORY', message, expected, got, position } = /** @type {any} */ (error);
    /** @type {any} */ (port).postMessage({ id, error: { code, message, expected, got, position } });
  }
}

if (isNode) /** @type {any} */ (port).on('message', answer);
else globalThis.onmessage = (/** @type {MessageEvent} */ event) => answer(event.data);
/** @type {any} */ (port).postMessage(null);
