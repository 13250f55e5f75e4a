/**
 * Codec methods, one after the other on the calling thread or shared with workers
 * (web/workers/workers.js). Until the first of those is ready, and where a page may have none,
 * the calling thread does the work.
 */
import { HanselError } from '../core/errors.js';
import { takeTurn } from '../core/turn.js';

/** Loaded for the first pool of several threads. @type {typeof import('./workers.js') | undefined} */
let workers;

/** @typedef {import('../core/codec.js').Codec} Codec */
/**
 * @template {Codec} [C=Codec]
 * @typedef {object} Pool
 * @property {C} codec the calling thread's own
 * @property {number} width how many calls are worth having under way
 * @property {(method: string, args: unknown[], into?: Uint8Array) => Promise<any>} run a codec
 *   method; bytes in args must be left alone until it settles, and are. into: one
 *   more argument, which receives what the method returns as `bytes`
 */

/** @param {number} [threads] @throws {HanselError} HANSEL_ERR_ARGUMENT */
export function checkThreads(threads = 1) {
  if (Number.isInteger(threads) && threads >= 1 && threads <= 256) return;
  throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible number of threads', {
    expected: '1 to 256', got: threads,
  });
}

/**
 * @template {Codec} C
 * @param {C} codec whose module the workers run too
 * @param {number} [threads] with 1, everything runs on the calling thread; it is always one of them
 * @returns {Pool<C>}
 */
export function createPool(codec, threads = 1) {
  const isShared = threads > 1;
  /** @type {Pool['run'] | undefined} */
  let share;
  if (isShared) import('./workers.js').then((found) => { workers = found; }, () => {});
  return {
    codec,
    width: isShared ? 4 * threads : 1,
    async run(method, args, into) {
      if (isShared) share ??= workers?.makeLine(codec, threads);
      if (share) return share(method, args, into);
      await takeTurn();
      return /** @type {any} */ (codec)[method](...args, ...(into ? [into] : []));
    },
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
