/**
 * Threads that run codec methods: Web Workers or worker_threads, each with a wasm
 * instance of its own. There is one set of them, started when first wanted, used by
 * all who ask and ended when nobody has for a while.
 *
 * Arguments and results lie in slots. Where threads may share memory those are places in
 * the worker's wasm memory, so that nothing is copied more often than by one thread.
 * Elsewhere they are buffers that are transferred to the worker and back.
 */
import { assetUrl } from '../core/assets.js';
import { HanselError } from '../core/errors.js';
import { builtin, isNode } from '../core/node.js';
import { takeTurn, turn } from '../core/turn.js';
import { shareModule } from './shared_module.js';
import { buffersOf, viewSlot } from './slot.js';

/** Workers that nobody used for so long are ended. */
const IDLE_MS = 5000;
/** Calls that a worker is given at a time, so that it need not wait for the next. */
const QUEUE = 3;
/** Slots of a worker: for arguments and results of those, as large as slices are. */
const SLOTS = 2 * QUEUE;
const SLOT_BYTES = 2 << 20;

// WebKitGTK has isolated pages without it.
const canShare = isNode
  || (Boolean(globalThis.crossOriginIsolated) && typeof SharedArrayBuffer === 'function');

/** @type {CodecWorker[]} */
let workers = [];
/** How many in a row died before they could run anything. */
let failures = 0;
let hasRun = false;
/** True where no more are started: because of a page's Content-Security-Policy, perhaps. */
const isHopeless = () => failures > (hasRun ? 3 : 0);
/** @type {any} */
let idleTimer;

/**
 * The least busy of so many workers that have the module; null while there is none.
 * @param {number} count @param {WebAssembly.Module} module
 */
export function pickWorker(count, module) {
  clearTimeout(idleTimer);
  while (workers.length < count && !isHopeless()) workers.push(new CodecWorker());
  const ready = workers.slice(0, count).filter((worker) => worker.has(module));
  if (!ready.length) return null;
  return ready.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a));
}

/**
 * A line in which calls wait for a thread: for a worker, or for the calling thread when all workers
 * have enough to do.
 * @param {import('../core/codec.js').Codec} codec the calling thread's
 * @param {number} threads 2 or more; the workers are one less
 * @returns {import('./pool.js').Pool['run']}
 */
export function makeLine(codec, threads) {
  const { module } = codec.wasm;
  const count = threads - 1;
  let waiting = 0;
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();

  const findWorker = () => {
    const worker = pickWorker(count, module);
    // The last few are not queued up with one worker while the other threads have nothing left.
    // Nor with one whose code the engine has yet to optimize.
    const most = Math.min(waiting / count, (worker?.done ?? 0) > QUEUE ? QUEUE - 1 : 0);
    const isFree = worker && worker.waiting.size <= most;
    return { worker: isFree ? worker : null, isAlone: !worker };
  };
  const assign = async (/** @type {string} */ method, /** @type {unknown[]} */ args,
    /** @type {Uint8Array | undefined} */ into) => {
    waiting--;
    let { worker, isAlone } = findWorker();
    if (!worker) {
      await (isAlone ? takeTurn() : turn()); // hears which calls have ended
      ({ worker } = findWorker());
    }
    return {
      result: worker ? worker.run(module, method, args, into)
        : /** @type {any} */ (codec)[method](...args, ...(into ? [into] : [])),
    };
  };
  return async (method, args, into) => {
    waiting++;
    const assigned = last.then(() => assign(method, args, into));
    last = assigned.catch(() => {}); // reported below
    return (await assigned).result;
  };
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

/** Bytes that a worker can write to as they are. @param {Uint8Array} bytes */
const isShared = (bytes) => !(bytes.buffer instanceof ArrayBuffer);

/** A page may start only what is of its own origin; that may import what is not. */
function startWorker() {
  const { href, origin } = assetUrl('worker.js');
  if (origin === globalThis.location?.origin) return new Worker(href, { type: 'module' });
  const url = URL.createObjectURL(new Blob([`import ${JSON.stringify(href)};`],
    { type: 'text/javascript' }));
  const worker = new Worker(url, { type: 'module' });
  worker.addEventListener('message', () => URL.revokeObjectURL(url), { once: true }); // it is up
  return worker;
}

/** @typedef {import('./slot.js').Slot} Slot */
/** A codec of a worker; slots: those that no call is using.
 * @typedef {{number: number, memory: ArrayBufferLike | null, slots: Slot[]}} Remote */

class CodecWorker {
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: unknown) => void,
   *   into?: Uint8Array, remote: Remote}>} */
  waiting = new Map();
  /** Calls that have ended. */
  done = 0;
  #isUp = false;
  /** Whether it could make an instance of some module: memory to share can be refused. */
  #isProven = false;
  #isEnded = false;
  #next = 0;
  /** By module; null while it is on its way. @type {Map<WebAssembly.Module, Remote | null>} */
  #remotes = new Map();
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
      const { Worker: NodeWorker } = builtin('worker_threads');
      // --input-type, of `node -e`, is no option for a file.
      const execArgv = globalThis.process.execArgv.filter((option) => !option.startsWith('--input-type'));
      this.#thread = new NodeWorker(assetUrl('worker.js'), { execArgv })
        .on('message', hear).on('error', fail)
        .on('exit', (code) => fail(new Error(`it exited with ${code}`)));
      this.#thread.unref(); // only calls under way keep the process
    } else {
      this.#thread = startWorker();
      this.#thread.onmessage = (/** @type {MessageEvent} */ event) => hear(event.data);
      this.#thread.onerror = fail;
    }
    if (this.#isEnded) this.#thread.terminate();
  }

  /** @param {any} cause */
  #fail(cause) {
    if (this.#isEnded) return;
    if (!this.#isProven) failures++;
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

  /** True once it can run the module; sends it if need be. @param {WebAssembly.Module} module */
  has(module) {
    const remote = this.#remotes.get(module);
    if (remote === undefined && this.#isUp) {
      this.#remotes.set(module, null);
      this.#send(module).catch((error) => this.#fail(error));
    }
    return Boolean(remote);
  }

  /** @param {WebAssembly.Module} module */
  async #send(module) {
    const sizes = Array(SLOTS).fill(SLOT_BYTES);
    const number = this.#remotes.size;
    const own = canShare ? await shareModule(module) : module;
    const { memory, slots } = await this.#post({ number, module: own, slots: canShare ? sizes : [] },
      { number, memory: null, slots: [] });
    this.#remotes.set(module, {
      number, memory, slots: memory ? slots : sizes.map((bytes) => new ArrayBuffer(bytes)),
    });
    this.#isProven = hasRun = true;
    failures = 0;
  }

  /** @param {any} message {id, result | error, slots: those that come back}, or nothing: it is up */
  #hear(message) {
    if (!message) {
      this.#isUp = true;
      endWhenIdle();
      return;
    }
    const { id, result, error, slots } = message;
    const call = this.waiting.get(id);
    if (!call) return;
    this.waiting.delete(id);
    this.done++;
    if (error) {
      call.reject(revive(error));
    } else {
      const { into, remote } = call;
      if (into && !isShared(into)) { // into a slot, the last one, if there was one
        into.set(result.bytes ?? viewSlot(slots.at(-1), remote.memory, into.length));
      }
      if (into) result.bytes = into;
      call.resolve(result);
    }
    call.remote.slots.push(...slots);
    if (!this.waiting.size) this.#thread.unref?.();
    endWhenIdle();
  }

  /**
   * @param {object} message @param {Remote} remote
   * @param {ArrayBuffer[]} [given] @param {Uint8Array} [into]
   * @returns {Promise<any>}
   */
  #post(message, remote, given = [], into) {
    return new Promise((resolve, reject) => {
      if (this.#isEnded) throw new HanselError('HANSEL_ERR_WORKER', 'a worker was ended');
      const id = this.#next++;
      this.#thread.postMessage({ ...message, id }, given);
      if (!this.waiting.size) this.#thread.ref?.();
      this.waiting.set(id, { resolve, reject, into, remote });
    });
  }

  /**
   * @param {WebAssembly.Module} module that it has
   * @param {string} method @param {unknown[]} args @param {Uint8Array} [into]
   * @returns {Promise<any>}
   */
  run(module, method, args, into) {
    const remote = /** @type {Remote} */ (this.#remotes.get(module));
    /** @type {Slot[]} */
    const taken = [];
    /** @type {ArrayBuffer[]} */
    const copies = [];
    /** What the worker is told of a slot, if one is free. @param {number} size */
    const lend = (size) => {
      const slot = size <= SLOT_BYTES ? remote.slots.pop() : undefined;
      if (slot === undefined) return undefined;
      taken.push(slot);
      return { slot, size };
    };
    const stage = (/** @type {unknown} */ arg) => {
      if (!(arg instanceof Uint8Array)) return arg;
      const told = lend(arg.length);
      if (told) {
        viewSlot(told.slot, remote.memory, told.size).set(arg);
        return told;
      }
      const copy = new Uint8Array(arg); // a clone would take the whole buffer behind a view
      copies.push(copy.buffer);
      return copy;
    };
    /** @type {unknown[]} */
    let staged;
    try {
      staged = args.map(stage);
    } catch (error) { // bytes that were transferred away
      remote.slots.push(...taken);
      throw error;
    }
    const place = into && (isShared(into) ? into : lend(into.length));
    if (place) staged.push(place);
    return this.#post({ number: remote.number, method, args: staged }, remote,
      [...buffersOf(taken), ...copies], into);
  }
}
