/**
 * What coding would cost and what it would lose, without coding: a part of each tensor is
 * quantized with a dozen steps, and everything between them is interpolated. Once that is done,
 * an answer takes microseconds: enough for a slider.
 */
import { DTYPES } from '../core/dtypes.js';
import { Encoder, SLICE } from '../core/encoder.js';
import { HanselError, checkAborted, locate } from '../core/errors.js';
import { refuse } from '../core/options.js';
import { takeTurn } from '../core/turn.js';
import { dtypeBits, elementCount } from '../file/safetensors.js';
import { inputsOf } from './encode.js';
import { planFields } from './fields.js';
import { chooseMode } from './asked.js';
import { isShared, scaleOf, searchCoarseness, shares, stepOf } from './rate.js';

/** Weights of a tensor that are looked at, at most: bits are then known to a thousandth. */
const SAMPLE = 4 * SLICE;
/** From one step to the next. */
const RATIO = Math.SQRT2;
/** Finest first: from 256 levels to hardly one. */
const STEPS = 17;
/** Bytes of a file's header and of a tensor's record, and what deflating leaves of a header. */
const HEADER_BYTES = 130;
const ENTRY_BYTES = 10;
const DEFLATED = 0.15;

/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('./encode.js').EncodeOptions} EncodeOptions */
/** @typedef {{step: number, bits: number, error: number}} Point bits per weight, relative RMS error */
/**
 * @typedef {object} Survey what is known of a tensor
 * @property {string} name @property {number[]} shape
 * @property {string} dtype @property {number} weights
 * @property {number} rawBytes
 * @property {'grid' | 'lossless' | 'pass-through'} lossy what bits or error make of it
 * @property {number} losslessBits per weight; what it has now if lossless coding does not pay
 * @property {Point[]} curve finest step first; empty unless lossy is 'grid'
 * @property {number} low its smallest weight @property {number} high its largest
 * @property {number} energy sum of squares of all its weights
 */
/**
 * @typedef {object} Aim one of these, as for encode()
 * @property {number} [bits] @property {number} [error] @property {boolean} [lossless]
 * @property {boolean} [each] with bits
 */
/**
 * @typedef {object} Estimated
 * @property {'grid' | 'lossless' | 'pass-through'} mode
 * @property {number} step 0 unless mode is 'grid'
 * @property {number} bits per weight
 * @property {number} bytes
 * @property {number} error relative RMS error
 */

/**
 * Looks at the tensors of an open plain file.
 * @param {import('../model/model.js').Model} model
 * @param {object} [options]
 * @param {RegExp | string} [options.include] as for encode()
 * @param {RegExp | string} [options.exclude]
 * @param {number} [options.sample] weights of a tensor to look at, at most; default 2^20
 * @param {AbortSignal} [options.signal]
 * @param {(progress: {done: number, total: number, tensor: string}) => void} [options.onProgress]
 *   counts tensors
 * @returns {Promise<Estimate>}
 * @throws {HanselError} HANSEL_ERR_MANIFEST when it is coded, HANSEL_ERR_NOT_FINITE for weights
 *   that no grid holds, what reading throws
 * @example
 * const estimated = await estimate(await open('model.safetensors'));
 * for (const bits of [8, 6, 4, 3]) console.log(bits, estimated.at({ bits }).error);
 */
export async function estimate(model, {
  include, exclude, sample = SAMPLE, signal, onProgress, ...rest
} = {}) {
  await refuse(rest, 'estimate');
  const inputs = inputsOf(model);
  const codec = await Encoder.create();
  /** @type {Map<string, Survey>} */
  const surveys = new Map();
  const plans = await planFields(
    inputs.filter((input) => chooseMode(input, { include, exclude }).mode === 'lossless'), signal);
  for (const [i, input] of inputs.entries()) {
    try {
      surveys.set(input.name, await survey(codec, input, plans.get(input.name),
        { include, exclude, sample, signal }));
    } catch (error) {
      throw locate(error, input.name);
    }
    onProgress?.({ done: i + 1, total: inputs.length, tensor: input.name });
  }
  const stored = [...model.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  return new Estimate(surveys, model.bytes - stored);
}

/**
 * @param {Encoder} codec @param {Input} input @param {import('./fields.js').Plan | undefined} plan
 * @param {{include?: RegExp | string, exclude?: RegExp | string, sample: number,
 *   signal?: AbortSignal}} options
 * @returns {Promise<Survey>}
 */
async function survey(codec, input, plan, { signal, sample, ...options }) {
  const { dtype, shape, name } = input;
  const weights = elementCount(shape, name);
  const rawBits = dtypeBits(dtype);
  const rawBytes = weights * rawBits / 8;
  /** @type {Survey} */
  const found = {
    name, shape, dtype, weights, rawBytes, lossy: 'pass-through', losslessBits: rawBits, curve: [],
    low: 0, high: 0, energy: 0,
  };
  if (chooseMode(input, options).mode === 'pass-through' || !weights) return found;
  if (plan) {
    found.lossy = 'lossless';
    found.losslessBits = Math.min(rawBits, plan.cost / weights);
  }
  if (plan || !(dtype in DTYPES) || shape.length > 8) return found;
  const slices = await readSlices(input, weights, rawBits / 8, sample, signal);
  const share = weights / slices.reduce((sum, slice) => sum + slice.length * 8 / rawBits, 0);
  const measure = async (/** @type {number} */ step) => {
    const counts = new Float64Array(256);
    let squares = 0;
    let state = codec.begin({ dtype, shape, step, lossless: !step, weightsPerSymbol: 1 });
    const next = (/** @type {import('../core/encoder.js').Found} */ given) => {
      state = /** @type {import('../core/encoder.js').State} */ (codec.next(state, given));
    };
    if (state.work === 'scan') next({});
    if (state.work === 'window') next({ numbers: windowOf(codec, dtype, slices, weights) });
    for (const slice of slices) {
      await takeTurn();
      checkAborted(signal);
      const part = codec.measure(state.blob, slice, true);
      squares += part.sumError * share;
      part.counts.forEach((count, i) => { counts[i] += count; });
    }
    next({ counts: stretch(counts, weights) });
    return { bits: state.bits / weights, squares };
  };
  found.losslessBits = Math.min(rawBits, (await measure(0)).bits);
  found.lossy = chooseMode(input, { ...options, bits: 8 }).mode;
  if (found.lossy !== 'grid') return found;
  for (const slice of slices) {
    const part = codec.scan(dtype, slice);
    found.low = Math.min(found.low, part.low);
    found.high = Math.max(found.high, part.high);
    found.energy += part.sumSquares * share;
  }
  const finest = Math.max(-found.low / 128, found.high / 127, 2 ** -120);
  for (let i = 0; i < STEPS; i++) {
    const step = Math.fround(Math.min(finest * RATIO ** i, 3e38));
    const { bits, squares } = await measure(step);
    found.curve.push({ step, bits, error: found.energy ? Math.sqrt(squares / found.energy) : 0 });
    if (bits < 0.25) break;
  }
  return found;
}

/**
 * Slices spread over the tensor.
 * @param {Input} input @param {number} weights @param {number} size bytes of an element
 * @param {number} sample @param {AbortSignal} [signal]
 */
async function readSlices({ read }, weights, size, sample, signal) {
  const count = Math.ceil(Math.min(weights, sample) / SLICE);
  const each = Math.min(Math.ceil(weights / count), SLICE);
  const slices = [];
  for (let i = 0; i < count; i++) {
    checkAborted(signal);
    const start = count > 1 ? Math.floor((weights - each) * i / (count - 1)) : 0;
    slices.push((await read(start * size, (start + each) * size)).slice());
  }
  return slices;
}

/**
 * Counts of exponents, as if of all weights.
 * @param {Encoder} codec @param {string} dtype @param {Uint8Array[]} slices @param {number} weights
 */
function windowOf(codec, dtype, slices, weights) {
  const parts = slices.map((slice) => codec.windowCounts(dtype, slice).counts);
  const sums = Float64Array.from(parts[0], (_, i) => parts.reduce((sum, counts) => sum + counts[i], 0));
  const negative = sums[sums.length - 1];
  const counts = stretch(sums.subarray(0, -1), weights);
  const seen = parts.length * slices[0].length * 8 / dtypeBits(dtype);
  const share = negative === seen ? weights : Math.min(negative, weights - 1);
  return Uint32Array.from([...counts, share], (count) => Math.min(count, 2 ** 32 - 1));
}

/** Counts that sum up to all weights. @param {Float64Array} counts @param {number} weights */
function stretch(counts, weights) {
  const sum = counts.reduce((a, b) => a + b, 0);
  const scaled = counts.map((count) => (count ? Math.max(1, Math.round(count * weights / sum)) : 0));
  const rest = weights - scaled.reduce((a, b) => a + b, 0);
  scaled[scaled.indexOf(Math.max(...scaled))] += rest;
  return scaled;
}

/**
 * Between the points of a curve, where one of its quantities has a value.
 * @param {Point[]} curve @param {'bits' | 'error' | 'step'} key @param {number} value
 * @returns {Point | null} null if no step does
 */
function interpolate(curve, key, value) {
  // All fall or rise all along the curve, but for ties.
  const past = curve.findIndex((p) => (key === 'bits' ? p.bits <= value : p[key] > value));
  if (past === 0) return key === 'error' ? null : curve[0];
  if (past < 0) return key === 'bits' ? null : curve[curve.length - 1];
  const [a, b] = [curve[past - 1], curve[past]];
  const of = (/** @type {Point} */ p) => (key === 'bits' ? p.bits : Math.log(Math.max(p[key], 1e-30)));
  const goal = key === 'bits' ? value : Math.log(value);
  const t = of(a) === of(b) ? 0 : (goal - of(a)) / (of(b) - of(a));
  const between = (/** @type {number} */ x, /** @type {number} */ y) => x * (y / x) ** t;
  return {
    step: between(a.step, b.step), bits: a.bits + t * (b.bits - a.bits),
    error: a.error ? between(a.error, b.error) : t * b.error,
  };
}

/** Answers for a file. Made by estimate(). */
export class Estimate {
  /** @param {Map<string, Survey>} surveys by name @param {number} headerBytes of the file now */
  constructor(surveys, headerBytes) {
    this.surveys = surveys;
    this.headerBytes = headerBytes;
  }

  /**
   * What encode() would make with these options. Sizes come within a percent, errors within two,
   * for tensors whose parts are alike.
   * @param {Aim} aim
   * @returns {{bytes: number, rawBytes: number, bits: number, error: number,
   *   tensors: Map<string, Estimated>}} bytes of the file; rawBytes of the file now; bits per
   *   weight of the coded tensors; relative RMS error of the quantized ones
   * @throws {HanselError} HANSEL_ERR_ARGUMENT
   */
  at({ bits, error, lossless, each }) {
    const given = [bits, error, lossless || undefined].filter((x) => x !== undefined);
    if (given.length !== 1 || (!lossless && !(Number(given[0]) > 0))) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'no aim, or more than one', {
        expected: 'positive bits or error, or lossless', got: JSON.stringify({ bits, error, lossless }),
      });
    }
    /** @type {Map<string, Estimated>} */
    const tensors = new Map();
    const sum = {
      bytes: HEADER_BYTES + DEFLATED * this.headerBytes, rawBytes: this.headerBytes, coded: 0,
      weights: 0, squares: 0, energy: 0,
    };
    const steps = bits === undefined || each ? new Map() : shareEstimated([...this.surveys.values()], bits);
    for (const [name, found] of this.surveys) {
      const { weights, rawBytes, energy } = found;
      const own = estimateTensor(found, { bits, error, step: steps.get(name) });
      tensors.set(name, own);
      sum.rawBytes += rawBytes;
      sum.bytes += own.bytes;
      if (own.mode === 'pass-through') continue;
      sum.bytes += ENTRY_BYTES;
      sum.coded += own.bytes;
      sum.weights += weights;
      sum.squares += own.error ** 2 * energy;
      sum.energy += energy;
    }
    return {
      bytes: Math.round(sum.bytes), rawBytes: sum.rawBytes,
      bits: sum.weights ? 8 * sum.coded / sum.weights : 0,
      error: sum.energy ? Math.sqrt(sum.squares / sum.energy) : 0, tensors,
    };
  }
}

/**
 * What shareRate() would find.
 * @param {Survey[]} surveys @param {number} bits @returns {Map<string, number>} steps by name
 */
function shareEstimated(surveys, bits) {
  const shared = surveys.filter(({ lossy, weights }) => lossy === 'grid' && isShared(weights, bits));
  const known = shares(shared);
  const all = shared.map(({ name, curve, low, high, energy, weights }) => (
    { name, curve, scale: scaleOf({ low, high, sumSquares: energy }, weights, Number(known.get(name))) }))
    .filter(({ scale }) => scale.sigma > 0);
  if (!all.length) return new Map();
  const weights = all.reduce((sum, { scale }) => sum + scale.weights, 0);
  const search = searchCoarseness(all.map(({ scale }) => scale), bits);
  let { value, done } = search.next();
  while (!done) {
    const coarseness = value;
    ({ value, done } = search.next(all.reduce((sum, { curve, scale }) => sum + scale.weights
      * /** @type {Point} */ (interpolate(curve, 'step', stepOf(scale, coarseness))).bits, 0) / weights));
  }
  return new Map(value === Infinity ? [] : all.map(({ name, scale }) => [name, stepOf(scale, value)]));
}

/** @param {Survey} found @param {Aim & {step?: number}} aim @returns {Estimated} */
function estimateTensor({ lossy, curve, losslessBits, weights, rawBytes }, { bits, error, step }) {
  const raw = weights ? 8 * rawBytes / weights : 0;
  const whole = (/** @type {Estimated['mode']} */ mode, /** @type {number} */ cost, step = 0, lost = 0) => (
    cost < raw ? { mode, step, bits: cost, bytes: cost * weights / 8, error: lost }
      : { mode: /** @type {const} */ ('pass-through'), step: 0, bits: raw, bytes: rawBytes, error: 0 });
  const isLossy = bits !== undefined || error !== undefined;
  if (isLossy && lossy === 'pass-through') return whole('pass-through', raw);
  if (!isLossy || lossy === 'lossless') return whole('lossless', losslessBits);
  const point = step ? interpolate(curve, 'step', step)
    : bits === undefined ? interpolate(curve, 'error', Number(error)) : interpolate(curve, 'bits', bits);
  if (point) return whole('grid', point.bits, point.step, point.error);
  return bits === undefined ? whole('lossless', losslessBits) : whole('pass-through', raw);
}
