/** Products in command encoders of the user's: what both GPUs' have in common, the checks. */
import { HanselError } from '../core/errors.js';
import { MAX_BATCH, checkFloat, checkInteger, checkXDtype } from '../core/vectors.js';

/**
 * w.products.
 * @template {{compile: (integer: boolean) => Promise<void>}} S
 */
export class Products {
  /** What prepare() has been awaited for. @type {Set<boolean | 'F16'>} */
  #prepared = new Set();

  /** @param {import('./matrix.js').Matrix} matrix @param {S} store its weights */
  constructor(matrix, store) {
    this.matrix = matrix;
    this.store = store;
  }

  /**
   * Compiles what encode() will need, for one kind of product.
   * @param {boolean} integer @param {'F32' | 'F16'} [xDtype] of x
   * @throws {HanselError} HANSEL_ERR_DTYPE, _SHADER, _DESTROYED, _LOST
   */
  async prepare(integer, xDtype = 'F32') {
    const { matrix, store } = this;
    checkXDtype(xDtype, integer, matrix.name);
    await matrix.use(() => matrix.gpu.guard(async () => {
      if (xDtype === 'F16') await this.compileWidening();
      await store.compile(integer);
    }));
    this.#prepared.add(integer);
    if (xDtype === 'F16') this.#prepared.add('F16');
  }

  /** Compiles what makes F32 of vectors in F16. @returns {Promise<void>} */
  async compileWidening() {
    throw new Error(`no widening for ${this.matrix.name}`);
  }

  /**
   * Checks what encode() is given, and fills in what was left out.
   * @template {{integer?: boolean, xDtype?: string, batch?: number, bias?: object}} A
   * @param {A} argument @param {string} [problem] what else is wrong with it
   * @returns {A & {integer: boolean, xDtype: string, batch: number}}
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _DESTROYED, _LOST
   */
  check(argument, problem = '') {
    const { matrix } = this;
    const { integer = false, xDtype = 'F32', batch = 1, bias } = argument;
    matrix.checkAlive();
    checkXDtype(xDtype, integer, matrix.name);
    (integer ? checkInteger : checkFloat)(matrix, matrix.name);
    const isPrepared = this.#prepared.has(integer)
      && (xDtype === 'F32' || this.#prepared.has('F16'));
    const isBatch = Number.isInteger(batch) && batch >= 1 && batch <= MAX_BATCH;
    if (!isPrepared || !isBatch || (integer && bias) || problem) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible product', {
        expected: `prepare() awaited before, 1 to ${MAX_BATCH} vectors, no bias with integer`,
        got: !isPrepared ? 'not prepared' : !isBatch ? `${batch} vectors` : problem || 'a bias',
        where: matrix.name,
      });
    }
    return { ...argument, integer, xDtype, batch };
  }
}
