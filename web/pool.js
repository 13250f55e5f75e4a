/**
 * Codec methods on other threads: Web Workers or worker_threads, each with a
 * wasm instance of its own. Slices go through shared buffers that are used again
 * and again, or as copies where pages may not share memory; results come back
 * transferred.
 */
import { Codec } from './codec.js';
import { HanselError } from './errors.js';
import { takeTurn } from './turn.js';

/**
 * @typedef {object} Pool
 * @property {Codec} codec the calling thread's own
 * @property {number} width how many calls are worth having under way
 * @property {(method: string, args: unknown[]) => Promise<any>} run a codec method; arguments are
 *   copied when it runs elsewhere
 * @property {() => Promise<unknown>} close ends the threads
 */

const isNode = Boolean(globalThis.process?.versions?.node);
const canShare = isNode || Boolean(globalThis.crossOriginIsolated);

/**
 * @param {number} threads with 1, everything runs on the calling thread
 * @returns {Promise<Pool>}
 */
export async function createPool(threads) {
  const codec = await Codec.create();
  if (threads <= 1) {
    return {
      codec, width: 1,
      async run(method, args) {
        await takeTurn();
        return /** @type {any} */ (codec)[method](...args);
      },
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
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: unknown) => void,
   *   buffers: any[]}>} */
  const waiting = new Map();
  let next = 0;
  /** @type {HanselError | undefined} */
  let dead;
  /** Buffers that no call is using. @type {SharedArrayBuffer[]} */
  const spare = [];
  /** A clone would take the whole buffer behind a view. @param {Uint8Array} bytes */
  const stage = (bytes) => {
    if (!canShare) return new Uint8Array(bytes);
    let buffer = spare.pop();
    if (!buffer || buffer.byteLength < bytes.length) buffer = new SharedArrayBuffer(bytes.length);
    const view = new Uint8Array(buffer, 0, bytes.length);
    view.set(bytes);
    return view;
  };
  const settle = (/** @type {any} */ { id, result, error }) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (canShare && call) spare.push(...call.buffers);
    if (error) call?.reject(Object.assign(new HanselError(error.code, ''), error));
    else call?.resolve(result);
  };
  const fail = (/** @type {any} */ cause) => {
    dead = new HanselError('HANSEL_ERR_MEMORY', 'a worker died', { got: cause?.message, cause });
    for (const { reject } of waiting.values()) reject(dead);
    waiting.clear();
  };
  const url = new URL('./worker.js', import.meta.url);
  /** @type {any} */
  let worker;
  if (isNode) {
    const { Worker: NodeWorker } = await import('node:worker_threads');
    // --input-type, of `node -e`, is no option for a file.
    const execArgv = process.execArgv.filter((option) => !option.startsWith('--input-type'));
    worker = new NodeWorker(url, { execArgv }).on('message', settle).on('error', fail);
  } else {
    worker = new Worker(url, { type: 'module' });
    worker.onmessage = (/** @type {MessageEvent} */ event) => settle(event.data);
    worker.onerror = fail;
  }
  return {
    waiting,
    run: (/** @type {string} */ method, /** @type {unknown[]} */ args) => new Promise(
      (resolve, reject) => {
        if (dead) throw dead;
        const staged = args.map((arg) => (arg instanceof Uint8Array ? stage(arg) : arg));
        const buffers = staged.flatMap((arg) => (arg instanceof Uint8Array ? [arg.buffer] : []));
        waiting.set(next, { resolve, reject, buffers });
        worker.postMessage({ id: next++, method, args: staged }, canShare ? [] : buffers);
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
