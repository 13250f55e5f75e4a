/** What is asked of each tensor: options, checked, and how they say that it is to be coded. */
import { HanselError } from '../core/errors.js';
import { refuse } from '../core/options.js';
import { elementCount } from '../file/safetensors.js';
import { checkThreads } from '../workers/pool.js';

/** Small tensors of one dimension are norms and biases: sensitive, and not worth it. */
const MIN_VECTOR = 65536;

/** @typedef {import('./encode.js').EncodeOptions} EncodeOptions */
/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('./encode.js').OwnAim} OwnAim */

/** @param {EncodeOptions} options @throws {HanselError} HANSEL_ERR_ARGUMENT */
export async function checkOptions(options) {
  const bad = (/** @type {string} */ what, /** @type {string} */ expected,
    /** @type {unknown} */ got) => new HanselError('HANSEL_ERR_ARGUMENT', what, { expected, got });
  const {
    step, bits, each, error, lossless, saturate, tensors = [], include, exclude, streamLength, precision,
    weightsPerSymbol, always, threads, hessians, metadata = [], signal, onProgress, ...rest
  } = options;
  await refuse(rest, 'encode');
  checkAim({ step, bits, error, lossless });
  if (!Array.isArray(tensors)) throw bad('impossible tensors', 'pairs of patterns and aims', tensors);
  for (const [pattern, own] of tensors) {
    const { length } = checkAim(Object(own));
    if (length !== 1) throw bad(`no aim of ${pattern}`, 'one of bits, step, error, lossless, keep', length);
  }
  if (saturate && step === undefined) throw bad('saturate needs a step', 'step', undefined);
  if (each && bits === undefined) throw bad('each needs bits', 'bits', undefined);
  const whole = (/** @type {number | undefined} */ n, /** @type {number} */ low,
    /** @type {number} */ high) => n === undefined || (Number.isInteger(n) && n >= low && n <= high);
  if (!whole(streamLength, 4, 2 ** 31 - 1)) {
    throw bad('impossible stream length', 'a whole number from 4', streamLength);
  }
  checkThreads(threads);
  if (![undefined, 1, 2, 4].includes(weightsPerSymbol)) {
    throw bad('impossible weightsPerSymbol', '1, 2 or 4', weightsPerSymbol);
  }
  if (!whole(precision, 8, 12)) throw bad('impossible precision', '8 to 12', precision);
  for (const pattern of [include, exclude, ...tensors.map(([own]) => own)]) {
    try {
      matches(pattern, '');
    } catch {
      throw bad('not a pattern', 'a regular expression', pattern);
    }
  }
  if (!(Object(metadata) === metadata && Symbol.iterator in metadata)) {
    throw bad('impossible metadata', 'a Map or pairs of strings', metadata);
  }
}

/**
 * @param {OwnAim} aim @returns {unknown[]} what is given of it
 * @throws {HanselError} HANSEL_ERR_ARGUMENT
 */
function checkAim({ step, bits, error, lossless, keep, ...rest }) {
  const bad = (/** @type {string} */ what, /** @type {string} */ expected,
    /** @type {unknown} */ got) => new HanselError('HANSEL_ERR_ARGUMENT', what, { expected, got });
  const [unknown] = Object.keys(rest);
  const given = [step, bits, error, lossless || undefined, keep || undefined].filter((x) => x !== undefined);
  if (unknown !== undefined) throw bad('no such aim', 'bits, step, error, lossless or keep', unknown);
  if (given.length > 1) throw bad('more than one aim', 'one of step, bits, error, lossless', given.length);
  for (const [name, value] of Object.entries({ step, bits, error })) {
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) {
      throw bad(`impossible ${name}`, 'a positive number', value);
    }
  }
  if (step !== undefined && !(Math.fround(step) >= 2 ** -126 && Math.fround(step) <= 3.4e38)) {
    throw bad('impossible step', 'a normal binary32 number', step);
  }
  return given;
}

/**
 * What is asked of a tensor.
 * @param {string} name @param {EncodeOptions} options
 * @returns {EncodeOptions & {keep?: boolean, isOwn?: boolean}} isOwn: of it alone
 */
export function optionsOf(name, { tensors = [], ...options }) {
  const fits = (/** @type {RegExp | string} */ pattern) => pattern === name
    || new RegExp(`^(?:${pattern instanceof RegExp ? pattern.source : pattern})$`,
      pattern instanceof RegExp ? pattern.flags : '').test(name);
  const own = tensors.filter(([pattern]) => fits(pattern)).pop()?.[1];
  if (!own) return options;
  const none = { step: undefined, bits: undefined, error: undefined, lossless: undefined, each: undefined,
    saturate: undefined, include: undefined, exclude: undefined };
  return { ...options, ...none, ...own, isOwn: true };
}

/** @param {RegExp | string | undefined} pattern @param {string} name */
const matches = (pattern, name) => pattern !== undefined && new RegExp(pattern).test(name);

/**
 * How a tensor is to be coded, or why not.
 * @param {Pick<Input, 'name' | 'dtype' | 'shape' | 'isExact'>} input @param {EncodeOptions} all
 * @returns {{mode: 'grid' | 'lossless' | 'pass-through', reason: string}}
 */
export function chooseMode({ name, dtype, shape, isExact }, all) {
  const options = optionsOf(name, all);
  const pass = (/** @type {string} */ reason) => (
    { mode: /** @type {const} */ ('pass-through'), reason });
  if (options.keep) return pass('kept');
  const included = options.isOwn || matches(options.include, name);
  if (options.include !== undefined && !included) return pass('not included');
  if (matches(options.exclude, name)) return pass('excluded');
  const isFloat = dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
  const aim = options.step ?? options.bits ?? options.error;
  if (aim === undefined || !isFloat) return { mode: 'lossless', reason: '' };
  if (isExact && !included) return { mode: 'lossless', reason: 'no weights' };
  const isVector = shape.filter((n) => n !== 1).length < 2;
  if (isVector && options.step === undefined && !included && elementCount(shape) < MIN_VECTOR) {
    return pass('a short vector');
  }
  return { mode: 'grid', reason: '' };
}
