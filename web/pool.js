/**
 * Codec methods on other threads: Web Workers or worker_threads, each with a wasm
 * instance of its own. There is one set of workers, started when first wanted, used
 * by all who ask and ended when nobody has for a while. Until the first is ready, and
 * where a page may have none, the calling thread does the work.
 *
 * Bytes go through shared buffers that are used again and again, or are transferred
 * where pages may not share memory.
 */
import { HanselError } from './errors.js';
import { takeTurn } from './turn.js';

/** @typedef {import('./codec.js').Codec} Codec */
/**
 * @typedef {object} Pool
 * @property {Codec} codec the calling thread's own
 * @property {number} width how many calls are worth having under way
 * @property {(method: string, args: unknown[], into?: Uint8Array) => Promise<any>} run a codec
 *   method; bytes in args are read before it returns, or left alone until it settles. into: one
 *   more argument, which receives what the method returns as `bytes`
 */

/** Workers that nobody used for so long are ended. */
const IDLE_MS = 5000;

const isNode = Boolean(globalThis.process?.versions?.node);
const canShare = isNode || Boolean(globalThis.crossOriginIsolated);
const isShared = (/** @type {Uint8Array} */ bytes) => canShare
  && bytes.buffer instanceof SharedArrayBuffer;

/** @type {CodecWorker[]} */
let workers = [];
/** Modules by number: a worker is sent each once. @type {WebAssembly.Module[]} */
const modules = [];
/** No worker could be started, and none will be: a page's Content-Security-Policy, perhaps. */
let isHopeless = false;
/** @type {any} */
let idleTimer;

/** @param {number} [threads] @throws {HanselError} HANSEL_ERR_ARGUMENT */
export function checkThreads(threads = 1) {
  if (Number.isInteger(threads) && threads >= 1 && threads <= 256) return;
  throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible number of threads', {
    expected: '1 to 256', got: threads,
  });
}

/**
 * @param {Codec} codec whose module the workers run too
 * @param {number} [threads] with 1, everything runs on the calling thread
 * @returns {Pool}
 */
export function createPool(codec, threads = 1) {
  return {
    codec,
    width: threads > 1 ? 2 * threads : 1,
    async run(method, args, into) {
      const worker = threads > 1 ? pickWorker(threads) : null;
      if (worker) return worker.run(codec.wasm.module, method, args, into);
      await takeTurn();
      return /** @type {any} */ (codec)[method](...args, ...(into ? [into] : []));
    },
  };
}

/** The least busy of so many workers; null while none is ready. @param {number} threads */
function pickWorker(threads) {
  clearTimeout(idleTimer);
  while (workers.length < threads && !isHopeless) workers.push(new CodecWorker());
  const ready = workers.slice(0, threads).filter((worker) => worker.isReady);
  if (!ready.length) return null;
  return ready.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a));
}

/** Ends all workers. Calls under way fail; later ones start new workers. */
export function endWorkers() {
  clearTimeout(idleTimer);
  for (const worker of workers) worker.end(new HanselError('HANSEL_ERR_WORKER', 'the workers were ended'));
}

function endWhenIdle() {
  clearTimeout(idleTimer);
  if (workers.some(({ waiting }) => waiting.size)) return;
  idleTimer = setTimeout(endWorkers, IDLE_MS);
  idleTimer.unref?.();
}

/** @param {any} error @returns {HanselError} what a worker posted of one */
const revive = (error) => Object.assign(new HanselError(error.code, ''), error);

class CodecWorker {
  isReady = false;
  #isEnded = false;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: unknown) => void,
   *   into?: Uint8Array, filled?: Uint8Array, lent: SharedArrayBuffer[]}>} */
  waiting = new Map();
  #next = 0;
  /** Shared buffers that no call is using. @type {SharedArrayBuffer[]} */
  #spare = [];
  /** Numbers of modules it has. @type {Set<number>} */
  #modules = new Set();
  /** @type {any} */
  #thread;

  constructor() {
    this.#start().catch((error) => this.#fail(error));
  }

  async #start() {
    const fail = (/** @type {any} */ event) => {
      event?.preventDefault?.(); // told by the calls that fail, or done without
      this.#fail(event);
    };
    const hear = (/** @type {any} */ message) => this.#hear(message);
    if (isNode) {
      const { Worker: NodeWorker } = await import(
        /* webpackIgnore: true */ /* @vite-ignore */ 'node:worker_threads');
      // --input-type, of `node -e`, is no option for a file.
      const execArgv = process.execArgv.filter((option) => !option.startsWith('--input-type'));
      this.#thread = new NodeWorker(new URL('./worker.js', import.meta.url), { execArgv })
        .on('message', hear).on('error', fail)
        .on('exit', (code) => fail(new Error(`it exited with ${code}`)));
      this.#thread.unref(); // only calls under way keep the process
    } else {
      this.#thread = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
      this.#thread.onmessage = (/** @type {MessageEvent} */ event) => hear(event.data);
      this.#thread.onerror = fail;
    }
    if (this.#isEnded) this.#thread.terminate();
  }

  /** @param {any} cause */
  #fail(cause) {
    if (this.#isEnded) return;
    if (!this.isReady) isHopeless = true;
    this.end(new HanselError('HANSEL_ERR_WORKER', 'a worker died', { got: cause?.message, cause }));
  }

  /** @param {HanselError} error for the calls under way */
  end(error) {
    this.#isEnded = true;
    workers = workers.filter((worker) => worker !== this);
    this.#thread?.terminate();
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  /** @param {any} message {id, result | error}, or nothing: it is ready */
  #hear(message) {
    if (!message) {
      this.isReady = true;
      endWhenIdle();
      return;
    }
    const { id, result, error } = message;
    const call = this.waiting.get(id);
    if (!call) return;
    this.waiting.delete(id);
    if (error) {
      call.reject(revive(error));
    } else {
      const { into, filled = result.bytes } = call;
      if (into) {
        if (filled !== into) into.set(filled);
        result.bytes = into;
      }
      call.resolve(result);
    }
    this.#spare.push(...call.lent);
    if (!this.waiting.size) this.#thread.unref?.();
    endWhenIdle();
  }

  /** A shared buffer. @param {number} bytes @param {SharedArrayBuffer[]} lent takes a note of it */
  #lend(bytes, lent) {
    const at = this.#spare.findIndex(({ byteLength }) => byteLength >= bytes);
    const [buffer] = at < 0 ? [new SharedArrayBuffer(Math.ceil(bytes / 65536) * 65536)]
      : this.#spare.splice(at, 1);
    lent.push(buffer);
    return new Uint8Array(buffer, 0, bytes);
  }

  /**
   * @param {WebAssembly.Module} module @param {string} method @param {unknown[]} args
   * @param {Uint8Array} [into]
   * @returns {Promise<any>}
   */
  run(module, method, args, into) {
    return new Promise((resolve, reject) => {
      /** @type {SharedArrayBuffer[]} */
      const lent = [];
      /** @type {ArrayBuffer[]} */
      const given = [];
      const stage = (/** @type {unknown} */ arg) => {
        if (!(arg instanceof Uint8Array) || isShared(arg)) return arg;
        if (!canShare) { // a clone would take the whole buffer behind a view
          const copy = new Uint8Array(arg);
          given.push(copy.buffer);
          return copy;
        }
        const copy = this.#lend(arg.length, lent);
        copy.set(arg);
        return copy;
      };
      const staged = args.map(stage);
      const filled = into && canShare
        ? isShared(into) ? into : this.#lend(into.length, lent) : undefined;
      if (filled) staged.push(filled);
      if (!modules.includes(module)) modules.push(module);
      const number = modules.indexOf(module);
      const id = this.#next++;
      this.#thread.postMessage({
        id, method, args: staged, number, module: this.#modules.has(number) ? undefined : module,
      }, given);
      this.#modules.add(number);
      if (!this.waiting.size) this.#thread.ref?.();
      this.waiting.set(id, { resolve, reject, into, filled, lent });
    });
  }
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
