/**
 * The Hessians of a model's matrices: each the mean of x x^T over the inputs x that a matrix is
 * multiplied with. And their importances, where they are known: how much an error in a weight matters. They
 * come from a file (docs/CALIBRATION.md) or from the caller.
 */
import { makeFactor } from '../core/hessian.js';
import { HanselError, locate } from '../core/errors.js';

/** What a matrix's importance is called, before its name. */
export const IMPORTANCE = 'importance:';
/** Bytes of factors that are kept for tensors to come. */
const KEPT_BYTES = 256 << 20;

/** @typedef {import('../core/hessian.js').Factor} Factor */
/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {Float32Array | {shape: number[], data: Float32Array}} HessianLike
 *   the upper half by rows, n * (n + 1) / 2 numbers, or all n * n; several tensors may have the same one */
/** @typedef {Model | Map<string, HessianLike> | Record<string, HessianLike>} HessiansLike by tensors' names */

/** @param {number} columns */
const triangleOf = (columns) => columns * (columns + 1) / 2;

/** How many columns a tensor can have: of trailing dimensions together, as a convolution has them.
 * @param {number[]} shape */
const trailing = (shape) => shape.map((_, i) => shape.slice(i).reduce((a, b) => a * b, 1)).reverse();

/**
 * The upper half of a Hessian.
 * @param {Float32Array} numbers @param {number} columns
 * @returns {Float32Array} numbers themselves if they are it, or are none of that size
 * @throws {HanselError} HANSEL_ERR_HESSIAN for one that is not symmetric
 */
function upperHalf(numbers, columns) {
  if (columns === 1 || numbers.length !== columns * columns) return numbers;
  const upper = new Float32Array(triangleOf(columns));
  for (let i = 0, at = 0; i < columns; i++) {
    for (let j = i; j < columns; j++) {
      const [here, there] = [numbers[i * columns + j], numbers[j * columns + i]];
      const size = Math.sqrt(Math.abs(numbers[i * columns + i] * numbers[j * columns + j]));
      if (Math.abs(here - there) > 1e-3 * size) {
        throw new HanselError('HANSEL_ERR_HESSIAN', 'not symmetric', {
          expected: here, got: `${there} at row ${j}, column ${i}`,
        });
      }
      upper[at++] = here;
    }
  }
  return upper;
}

export class Hessians {
  /** What tensors' Hessians are kept under. @type {Map<string, unknown>} */
  #keys = new Map();
  /** @type {Set<string>} */
  #importances = new Set();
  /** The latest is the last. @type {Map<unknown, Promise<Factor>>} */
  #factors = new Map();
  /** @type {(name: string) => Promise<Float32Array>} */
  #read;
  #module;
  #signal;

  /**
   * @param {HessiansLike | undefined} from @param {WebAssembly.Module} module of an Encoder
   * @param {AbortSignal} [signal]
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, HANSEL_ERR_HESSIAN for what is not a file of them
   */
  constructor(from, module, signal) {
    this.#module = module;
    this.#signal = signal;
    const model = /** @type {any} */ (from)?.places instanceof Map ? /** @type {Model} */ (from) : null;
    if (from !== undefined && (from === null || typeof from !== 'object')) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible hessians', {
        expected: 'an open file, or a Map or an object of them by name', got: String(from),
      });
    }
    if (model) {
      this.#read = async (name) => /** @type {Float32Array} */ (await model.decode(name, { signal }));
      this.#readNames(model);
      return;
    }
    const given = new Map(from instanceof Map ? from : Object.entries(from ?? {}));
    this.#read = async (name) => {
      const like = given.get(name);
      const data = like instanceof Float32Array ? like : like?.data;
      if (data instanceof Float32Array) return data;
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'not a Hessian', { expected: 'a Float32Array', got: typeof data });
    };
    for (const [name, like] of given) this.#add(name, like instanceof Float32Array ? like : like?.data);
  }

  /** @param {string} name of a Hessian, or an importance @param {unknown} key */
  #add(name, key) {
    if (name.startsWith(IMPORTANCE)) this.#importances.add(name);
    else this.#keys.set(name, key);
  }

  /** @param {Model} model */
  #readNames({ tensors, metadata, sources: [{ name: where }] }) {
    const bad = (/** @type {string} */ what, /** @type {string} */ expected, /** @type {unknown} */ got) => (
      new HanselError('HANSEL_ERR_HESSIAN', what, { expected, got, where }));
    if (!metadata.has('hessians')) {
      throw bad('not a file of Hessians', 'hessians in its metadata', [...metadata.keys()].join(', ') || 'none');
    }
    for (const [name, { dtype }] of tensors) {
      if (dtype !== 'F32') throw bad(`${JSON.stringify(name)} is no Hessian`, 'F32', dtype);
      this.#add(name, name);
    }
    for (const [name, of] of metadata) {
      if (!name.startsWith('same:')) continue;
      if (!tensors.has(of)) throw bad('a Hessian is missing', JSON.stringify(of), `only its use by ${name.slice(5)}`);
      this.#keys.set(name.slice(5), of);
    }
  }

  /** @param {string} name of a tensor */
  has(name) {
    return this.#keys.has(name);
  }

  /**
   * How much a tensor matters, if it is known.
   * @param {string} name @returns {Promise<number | null>} the mean square of a gradient by one of its weights
   * @throws {HanselError} HANSEL_ERR_HESSIAN for what is no positive number
   */
  async importanceOf(name) {
    if (!this.#importances.has(IMPORTANCE + name)) return null;
    const numbers = await this.#read(IMPORTANCE + name);
    if (numbers.length === 1 && numbers[0] >= 0 && numbers[0] < Infinity) return numbers[0];
    throw new HanselError('HANSEL_ERR_HESSIAN', 'no importance', {
      expected: 'a number from 0', got: numbers.length === 1 ? numbers[0] : `${numbers.length} numbers`, where: name,
    });
  }

  /**
   * Whether any is of these tensors.
   * @param {string[]} names of a whole model @throws {HanselError} HANSEL_ERR_HESSIAN
   */
  checkFor(names) {
    if (!this.#keys.size || !names.length || names.some((name) => this.#keys.has(name))) return;
    throw new HanselError('HANSEL_ERR_HESSIAN', 'Hessians of another model', {
      expected: `of ${JSON.stringify(names[0])}, say`, got: `of ${JSON.stringify([...this.#keys.keys()][0])}, say`,
    });
  }

  /**
   * @param {string} name of a tensor that has one @param {number[]} shape its own
   * @returns {Promise<Factor>}
   * @throws {HanselError} HANSEL_ERR_HESSIAN if it is none, or of another size
   */
  async factorOf(name, shape) {
    const key = this.#keys.get(name);
    let made = this.#factors.get(key);
    this.#factors.delete(key);
    made ??= this.#make(typeof key === 'string' ? key : name, shape);
    made.catch(() => this.#factors.delete(key));
    this.#factors.set(key, made);
    const factor = await made.catch((error) => { throw locate(error, name); });
    if (!trailing(shape).includes(factor.columns)) throw this.#misfit(name, shape, triangleOf(factor.columns));
    let bytes = 0;
    for (const [other, one] of [...this.#factors].reverse()) {
      bytes += (await one).factor.length;
      if (bytes > KEPT_BYTES && other !== key) this.#factors.delete(other);
    }
    return factor;
  }

  /** @param {string} name @param {number[]} shape @param {number} numbers */
  #misfit(name, shape, numbers) {
    return new HanselError('HANSEL_ERR_HESSIAN', 'a Hessian of the wrong size', {
      expected: `the upper half of ${shape.at(-1) ?? 1} x ${shape.at(-1) ?? 1}, as the tensor is [${shape}]`,
      got: `${numbers} numbers`, where: name,
    });
  }

  /** @param {string} name @param {number[]} shape */
  async #make(name, shape) {
    const numbers = await this.#read(name);
    const columns = trailing(shape).find((n) => numbers.length === triangleOf(n) || numbers.length === n * n);
    if (columns === undefined) throw this.#misfit(name, shape, numbers.length);
    return makeFactor(this.#module, upperHalf(numbers, columns), columns, this.#signal);
  }
}
