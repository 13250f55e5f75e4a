/** A thread of web/pool.js: runs codec methods and posts what they return. */
import { Codec } from './codec.js';

const codec = Codec.create();
const isNode = Boolean(globalThis.process?.versions?.node);
const port = isNode ? (await import('node:worker_threads')).parentPort : globalThis;

/** @param {any} result @returns {Transferable[]} the buffers it owns */
const buffers = (result) => Object.values(result ?? {})
  .flatMap((value) => (ArrayBuffer.isView(value) ? [/** @type {ArrayBuffer} */ (value.buffer)] : []));

/** @param {{id: number, method: string, args: unknown[]}} call */
async function answer({ id, method, args }) {
  try {
    const result = (/** @type {any} */ (await codec))[method](...args);
    /** @type {any} */ (port).postMessage({ id, result }, buffers(result));
  } catch (error) {
    const { code = 'HANSEL_ERR_MEMORY', message, expected, got, position } = /** @type {any} */ (error);
    /** @type {any} */ (port).postMessage({ id, error: { code, message, expected, got, position } });
  }
}

if (isNode) /** @type {any} */ (port).on('message', answer);
else globalThis.onmessage = (/** @type {MessageEvent} */ event) => answer(event.data);
