/** Which tensors share a rate, what is measured of them, and what steps they are to have. */
import { HanselError, checkAborted, locate } from '../core/errors.js';
import { elementCount } from '../file/safetensors.js';
import { chooseMode, optionsOf } from './asked.js';
import { measure } from './measure.js';
import { isShared, shareRate } from './rate.js';

/** Tensors of fewer weights are coded by the calling thread. */
const MIN_THREADED = 1 << 19;

/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('./encode.js').EncodeOptions} EncodeOptions */
/** @typedef {{name: string, dtype: import('../core/dtypes.js').Dtype, shape: number[]}} Named */
/** @typedef {import('./rate.js').Rate} Rate */
/** @typedef {import('./rate.js').Measured} Measured */
/** @typedef {import('../workers/pool.js').Pool<import('../core/encoder.js').Encoder>} Pool */
/**
 * @typedef {object} Tools
 * @property {Pool[]} pools of small tensors, and of large ones
 * @property {import('./hessians.js').Hessians} hessians
 */

/** @param {Pool[]} pools @param {number} weights of a tensor */
export const poolOf = (pools, weights) => pools[weights >= MIN_THREADED ? 1 : 0];

/**
 * The bits that a tensor is to take at most and that steps are shared out for, if there are such.
 * @param {Named} input @param {EncodeOptions} options @param {boolean} isFed it has a Hessian
 * @returns {{bits: number, isOwn: boolean} | null} isOwn: it does not share them with others
 */
function rateOf(input, options, isFed) {
  const { bits, each, isOwn = false } = optionsOf(input.name, options);
  if (bits === undefined || chooseMode(input, options).mode !== 'grid') return null;
  // On its own, and without a Hessian: the C core searches its step.
  if ((each || isOwn) && !isFed) return null;
  return isShared(elementCount(input.shape, input.name), bits) ? { bits, isOwn: each || isOwn } : null;
}

/**
 * Measures those of some tensors that share a rate, or have one of their own and a Hessian.
 * @param {Input[]} all @param {EncodeOptions} options @param {Tools} tools
 * @returns {Promise<Measured[]>}
 * @throws {import('../core/errors.js').HanselError} as TensorEncoder.plan(), and for bad Hessians
 */
export async function measureAll(all, options, tools) {
  const { signal, onProgress, streamLength, precision, weightsPerSymbol } = options;
  const total = all.reduce((sum, { shape, name }) => sum + elementCount(shape, name), 0);
  /** @type {Measured[]} */
  const found = [];
  for (const input of all) {
    if (!rateOf(input, options, tools.hessians.has(input.name))) continue;
    checkAborted(signal);
    const { name, shape } = input;
    const pool = poolOf(tools.pools, elementCount(shape));
    onProgress?.({ done: 0, total, tensor: name, phase: 'fit' });
    try {
      const factor = tools.hessians.has(name) ? await tools.hessians.factorOf(name, shape) : null;
      const importance = await tools.hessians.importanceOf(name);
      found.push(await measure(input, factor, importance, pool, { streamLength, precision, weightsPerSymbol, signal }));
    } catch (error) {
      throw locate(error, name);
    }
  }
  return found;
}

/**
 * Whether steps were planned for these tensors.
 * @param {Input[]} all @param {Map<string, Rate | null>} rates @param {EncodeOptions} options @param {Tools} tools
 * @throws {HanselError} HANSEL_ERR_PLAN
 */
export function checkPlanned(all, rates, options, tools) {
  const { name } = all.find((one) => !rates.has(one.name) && rateOf(one, options, tools.hessians.has(one.name))) ?? {};
  if (name === undefined) return;
  throw new HanselError('HANSEL_ERR_PLAN', 'the plan does not know this tensor', {
    expected: `one of the ${rates.size} that were measured`, got: 'another', where: name,
  });
}

/**
 * What was measured, as steps.
 * @param {Measured[]} measured @param {EncodeOptions} options
 * @returns {Map<string, Rate | null>} null: to be coded on its own
 */
export function planRates(measured, options) {
  /** @type {Map<string, Rate | null>} */
  const rates = new Map();
  /** @type {Measured[]} */
  const shared = [];
  for (const one of measured) {
    const asked = rateOf(one, options, one.isFed);
    if (!asked) continue;
    rates.set(one.name, null);
    if (!asked.isOwn) shared.push(one);
    else for (const [name, rate] of shareRate([one], asked.bits)) rates.set(name, rate);
  }
  for (const [name, rate] of shareRate(shared, Number(options.bits))) rates.set(name, rate);
  return rates;
}
