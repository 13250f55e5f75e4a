/**
 * Codec methods on other threads: Web Workers or worker_threads, each with a
 * wasm instance of its own. Slices are posted and results transferred, so no
 * SharedArrayBuffer is needed.
 */
import { Codec } from './codec.js';
import { HanselError } from './errors.js';

/**
 * @typedef {object} Pool
 * @property {Codec} codec the calling thread's own
 * @property {number} width how many calls are worth having under way
 * @property {(method: string, args: unknown[]) => Promise<any>} run a codec method; arguments are
 *   copied when it runs elsewhere
 * @property {() => Promise<unknown>} close ends the threads
 */

const isNode = Boolean(globalThis.process?.versions?.node);

/**
 * @param {number} threads with 1, everything runs on the calling thread
 * @returns {Promise<Pool>}
 */
export async function createPool(threads) {
  const codec = await Codec.create();
  if (threads <= 1) {
    return {
      codec, width: 1,
      run: async (method, args) => (/** @type {any} */ (codec))[method](...args),
      close: async () => {},
    };
  }
  const workers = await Promise.all(Array.from({ length: threads }, startWorker));
  return {
    codec, width: 2 * threads,
    run(method, args) {
      const worker = workers.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a));
      return worker.run(method, args);
    },
    close: () => Promise.all(workers.map((worker) => worker.close())),
  };
}

async function startWorker() {
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: unknown) => void}>} */
  const waiting = new Map();
  let next = 0;
  const settle = (/** @type {any} */ { id, result, error }) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (error) call?.reject(Object.assign(new HanselError(error.code, ''), error));
    else call?.resolve(result);
  };
  const fail = (/** @type {any} */ cause) => {
    for (const { reject } of waiting.values()) {
      reject(new HanselError('HANSEL_ERR_MEMORY', 'a worker died', { got: cause?.message, cause }));
    }
    waiting.clear();
  };
  const url = new URL('./worker.js', import.meta.url);
  /** @type {any} */
  let worker;
  if (isNode) {
    const { Worker: NodeWorker } = await import('node:worker_threads');
    worker = new NodeWorker(url).on('message', settle).on('error', fail);
  } else {
    worker = new Worker(url, { type: 'module' });
    worker.onmessage = (/** @type {MessageEvent} */ event) => settle(event.data);
    worker.onerror = fail;
  }
  return {
    waiting,
    run: (/** @type {string} */ method, /** @type {unknown[]} */ args) => new Promise(
      (resolve, reject) => {
        waiting.set(next, { resolve, reject });
        worker.postMessage({ id: next++, method, args });
      }),
    close: async () => { await worker.terminate(); },
  };
}

/**
 * fn over items, up to `width` at a time, results in the items' order.
 * @template T, R
 * @param {AsyncIterable<T>} items @param {number} width @param {(item: T) => Promise<R>} fn
 * @returns {AsyncGenerator<R>}
 */
export async function* mapOrdered(items, width, fn) {
  /** @type {Promise<R>[]} */
  const queue = [];
  for await (const item of items) {
    const result = fn(item);
    result.catch(() => {}); // reported when its turn comes
    queue.push(result);
    if (queue.length >= width) yield await /** @type {Promise<R>} */ (queue.shift());
  }
  for (const result of queue) yield await result;
}
