/** Which tensors share a rate, what is measured of them, and what steps they are to have. */
import { checkAborted, locate } from '../core/errors.js';
import { elementCount } from '../file/safetensors.js';
import { chooseMode, optionsOf } from './asked.js';
import { measure } from './measure.js';
import { isShared, shareRate } from './rate.js';

/** Tensors of fewer weights are coded by the calling thread. */
const MIN_THREADED = 1 << 19;

/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('./encode.js').EncodeOptions} EncodeOptions */
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
 * @param {Input} input @param {EncodeOptions} options @param {Tools} tools
 * @returns {{bits: number, isOwn: boolean} | null} isOwn: it does not share them with others
 */
function rateOf(input, options, { hessians }) {
  const { bits, each, isOwn = false } = optionsOf(input.name, options);
  if (bits === undefined || chooseMode(input, options).mode !== 'grid') return null;
  // On its own, and without a Hessian: the C core searches its step.
  if ((each || isOwn) && !hessians.has(input.name)) return null;
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
    if (!rateOf(input, options, tools)) continue;
    checkAborted(signal);
    const { name, shape } = input;
    const pool = poolOf(tools.pools, elementCount(shape));
    onProgress?.({ done: 0, total, tensor: name, phase: 'fit' });
    try {
      const factor = tools.hessians.has(name) ? await tools.hessians.factorOf(name, shape) : null;
      found.push(await measure(input, factor, pool, { streamLength, precision, weightsPerSymbol, signal }));
    } catch (error) {
      throw locate(error, name);
    }
  }
  return found;
}

/**
 * What was measured, as steps.
 * @param {Input[]} all that were measured @param {Measured[]} measured
 * @param {EncodeOptions} options @param {Tools} tools
 * @returns {Map<string, Rate>} without those that are coded on their own
 */
export function planRates(all, measured, options, tools) {
  const asked = new Map(all.map((input) => [input.name, rateOf(input, options, tools)]));
  const rates = shareRate(measured.filter(({ name }) => !asked.get(name)?.isOwn), Number(options.bits));
  for (const one of measured) {
    const own = asked.get(one.name);
    if (own?.isOwn) for (const [name, rate] of shareRate([one], own.bits)) rates.set(name, rate);
  }
  return rates;
}
