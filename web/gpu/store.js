/** What a device keeps of one matrix: its memory, and whether it is still there. */
import { HanselError } from '../core/errors.js';

/**
 * The base of the stores that devices make; web/gpu/matrix.js says what else a store can do.
 * @template T what the device's memory is made of
 */
export class Store {
  /** Ranges of streams, or of rows, each in memory of its own. @type {any[]} */
  parts = [];
  /** How the weights lie there. */
  form = /** @type {'prefix' | 'packed' | 'coded' | 'plain'} */ ('coded');
  /** Bytes that they take there: decoded copies and scratch are not counted. */
  bytes = 0;
  /** @type {Set<T>} */
  #kept = new Set();
  #isFreed = false;
  #epoch;

  /** @param {{epoch: number, checkLost: (epoch: number) => void, free: (thing: T) => void}} gpu
   * @param {string} name of the matrix, for errors */
  constructor(gpu, name) {
    this.gpu = gpu;
    this.name = name;
    this.#epoch = gpu.epoch;
  }

  /** True after free(). */
  get isFreed() {
    return this.#isFreed;
  }

  /** @throws {HanselError} HANSEL_ERR_DESTROYED after free(); HANSEL_ERR_LOST if the device is gone */
  checkAlive() {
    if (this.#isFreed) {
      throw new HanselError('HANSEL_ERR_DESTROYED', 'the matrix was destroyed', { where: this.name });
    }
    this.gpu.checkLost(this.#epoch);
  }

  /**
   * Keeps memory until free(): what is made for a matrix that was destroyed meanwhile goes at once.
   * @template {T} K @param {K} thing @returns {K} it
   * @throws {HanselError} as checkAlive()
   */
  keep(thing) {
    if (this.#isFreed) this.gpu.free(thing);
    this.checkAlive();
    this.#kept.add(thing);
    return thing;
  }

  /** Frees something that was kept. @param {T} thing */
  drop(thing) {
    this.#kept.delete(thing);
    this.gpu.free(thing);
  }

  /** Frees everything that was kept. */
  free() {
    this.#isFreed = true;
    for (const thing of this.#kept) this.gpu.free(thing);
    this.#kept.clear();
    this.parts = [];
    this.bytes = 0;
  }
}
