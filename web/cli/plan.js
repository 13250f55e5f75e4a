/**
 * Plans: what tensors cost, as it was measured of some shards at a time, and the steps that share out a rate
 * over all of them. Both are JSON, for machines that code a shard each. Node only.
 */
import { HanselError } from '../core/errors.js';
import { planRates } from '../encode/plan.js';
import { open } from '../model/model.js';
import { measureModel } from './encode.js';
import { OutputFile, readJson } from './node_file.js';

/** What the files say they are. */
const [MEASURED, PLAN] = ['measured 1', 'plan 1'];

/** @typedef {import('../encode/rate.js').Measured} Measured */
/** @typedef {import('../encode/rate.js').Rate} Rate */
/** @typedef {import('../encode/encode.js').EncodeOptions} EncodeOptions */
/** @typedef {Record<string, unknown>} Values options of the command line that have a say in what is coded */

/**
 * @param {string} where @param {string} what @param {string} expected @param {unknown} [got]
 */
const bad = (where, what, expected, got) => new HanselError('HANSEL_ERR_PLAN', what, {
  expected, got: got === undefined ? undefined : JSON.stringify(got)?.slice(0, 80) ?? String(got), where,
});

/** @param {string} path @param {string} kind @returns {Promise<any>} */
async function readOwn(path, kind) {
  const value = await readJson(path, 'HANSEL_ERR_PLAN', `a file of hansel plan, "${kind}"`);
  if (value?.hansel !== kind) throw bad(path, 'another file', `"hansel": "${kind}"`, value?.hansel);
  return value;
}

const isNumber = (/** @type {unknown} */ x) => typeof x === 'number' && Number.isFinite(x);

/** @param {any} one @param {string} where @returns {Measured} */
function checkMeasured(one, where) {
  const { name, dtype, shape, low, high, sumSquares, importance, gain, isFed, curve } = one ?? {};
  const isRight = typeof name === 'string' && ['F32', 'F16', 'BF16'].includes(dtype)
    && Array.isArray(shape) && shape.every((n) => Number.isSafeInteger(n) && n > 0)
    && [low, high, sumSquares, gain].every(isNumber) && low <= 0 && high >= 0 && sumSquares >= 0 && gain >= 1
    && (importance === null || (isNumber(importance) && importance >= 0))
    && typeof isFed === 'boolean' && Array.isArray(curve) && curve.every((bits) => isNumber(bits) && bits >= 0)
    && gain < 1e6 && (!curve.length || (high > low && sumSquares > 0));
  if (!isRight) throw bad(where, 'a tensor is not described', 'name, dtype, shape, range and curve', one);
  return one;
}

/**
 * hansel plan.
 * @param {string[]} files safetensors files or indexes, which are measured, and what came of measuring others
 * @param {string} to
 * @param {EncodeOptions & {force: boolean}} options with bits that are shared out; without, what was measured is
 *   written
 * @param {Values} values that the plan is made with, for those who code by it
 * @returns {Promise<{tensors: number, measured: number}>} tensors that have a step, and all
 */
export async function planCommand(files, to, options, values) {
  const { force, ...coding } = options;
  /** @type {Map<string, Measured>} */
  const all = new Map();
  for (const file of files) {
    const isMeasured = file.endsWith('.json') && !file.endsWith('.safetensors.index.json');
    const found = isMeasured ? (await readOwn(file, MEASURED)).tensors
      : await measureModel(await open(file, { signal: options.signal }), { ...coding, bits: coding.bits ?? Infinity });
    if (!Array.isArray(found)) throw bad(file, 'no tensors', 'a list', found);
    for (const one of found) {
      const { name } = checkMeasured(one, file);
      if (all.has(name)) throw bad(file, 'a tensor was measured twice', 'once', name);
      all.set(name, one);
    }
  }
  const measured = [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (coding.bits !== undefined && values.hessians && !measured.some(({ isFed }) => isFed)) {
    throw new HanselError('HANSEL_ERR_HESSIAN', 'Hessians of another model', {
      expected: `of ${JSON.stringify(measured[0]?.name)}, say`, got: 'none of what was measured',
    });
  }
  const rates = coding.bits === undefined ? null : planRates(measured, coding);
  const output = await OutputFile.create(to, force);
  try {
    const value = rates ? { hansel: PLAN, values, rates: Object.fromEntries(rates) }
      : { hansel: MEASURED, tensors: measured };
    await output.append(new TextEncoder().encode(`${JSON.stringify(value, null, 1)}\n`));
    await output.commit();
  } finally {
    await output.discard();
  }
  return { tensors: [...rates?.values() ?? []].filter(Boolean).length, measured: measured.length };
}

/**
 * A plan to code by.
 * @param {string} path
 * @returns {Promise<{values: Values, rates: Map<string, Rate | null>}>} values: as planCommand() took them
 * @throws {HanselError} HANSEL_ERR_PLAN, HANSEL_ERR_SOURCE
 */
export async function readPlan(path) {
  const { values, rates } = await readOwn(path, PLAN);
  if (Object(values) !== values || Object(rates) !== rates) throw bad(path, 'no steps', 'values and rates');
  for (const [name, value] of Object.entries(values)) {
    const isText = (/** @type {unknown} */ x) => typeof x === 'string';
    if (name === 'tensor' ? Array.isArray(value) && value.every(isText) : isText(value) || typeof value === 'boolean') continue;
    throw bad(path, `impossible ${JSON.stringify(name)}`, 'what hansel plan was given', value);
  }
  for (const [name, rate] of Object.entries(rates)) {
    const { step, most } = rate ?? { step: 1, most: 1 };
    if (step >= 2 ** -126 && step <= 3e38 && isNumber(most) && most > 0) continue;
    throw bad(path, `no step for ${JSON.stringify(name)}`, 'step and most', rate);
  }
  return { values, rates: new Map(Object.entries(rates)) };
}
