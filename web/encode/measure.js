/**
 * What a tensor costs, step by step, without coding it: its weights, or a sample of them, are counted
 * once on a fine grid, and the C core says what the counts of a coarser one would cost.
 */
import { dtypeBytes } from '../core/dtypes.js';
import { FINE_COUNTS } from '../core/structs.js';
import { elementCount } from '../file/safetensors.js';
import { roundWithFeedback } from './feedback.js';
import { SAMPLE, finestOf } from './rate.js';
import { TensorEncoder } from './tensor_encoder.js';

/** From one step to the next, how many there are at most, and bits that are few enough. */
const [RATIO, STEPS, FEW] = [Math.SQRT2, 24, 0.1];
/** A sample's slices. With feedback each step takes long: fewer weights. */
const [SLICES, FED_SAMPLE, LEAST_ROW] = [8, 1 << 18, 64];

/** So many weights are best coded with all bits of probability there are. */
const MANY = 1 << 17;

/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('../core/encoder.js').Encoder} Encoder */
/** @typedef {import('../workers/pool.js').Pool<Encoder>} Pool */

/**
 * Slices of a tensor, spread over it, as a tensor; small ones as they are.
 * @param {Input} input @param {number} most weights
 * @param {number} unit weights that stay together: a row, with feedback
 * @returns {Promise<Input>}
 */
async function sampled(input, most, unit) {
  const size = dtypeBytes(input.dtype);
  const weights = elementCount(input.shape);
  const each = Math.ceil(most / SLICES / unit) * unit;
  if (weights <= SLICES * each) return input;
  const bytes = new Uint8Array(SLICES * each * size);
  for (let i = 0; i < SLICES; i++) {
    const start = Math.floor((weights - each) / unit * i / (SLICES - 1)) * unit;
    bytes.set(await input.read(start * size, (start + each) * size), i * each * size);
  }
  return { ...input, shape: [SLICES, each], read: async (start, end) => bytes.subarray(start, end) };
}

/**
 * Whole numbers in the proportions of some counts.
 * @param {Float64Array} counts @param {number} total that they sum up to @returns {Float64Array}
 */
function stretch(counts, total) {
  const sum = counts.reduce((a, b) => a + b, 0);
  let [seen, given] = [0, 0];
  return counts.map((count) => {
    const before = given;
    seen += count;
    given = Math.min(Math.round(seen * total / sum), total);
    return given - before;
  });
}

/**
 * Counts of several weights to a symbol, as if a weight did not depend on the one before: FORMAT.md 4.5.
 * @param {Float64Array} counts of weights, by their bytes @param {import('../core/codec.js').Blob} blob
 * @returns {Float64Array}
 */
function foldedCounts(counts, { origin, alphabetSize, weightsPerSymbol, weights }) {
  const bits = 32 - Math.clz32(alphabetSize - 1);
  const folded = new Float64Array(256);
  const own = Array.from({ length: alphabetSize }, (_, i) => counts[(origin + i) & 255] / weights);
  for (let symbol = 0; symbol < 1 << bits * weightsPerSymbol; symbol++) {
    let share = 1;
    for (let i = 0; i < weightsPerSymbol; i++) share *= own[symbol >> bits * i & (1 << bits) - 1] ?? 0;
    folded[symbol] = share;
  }
  return stretch(folded, Math.ceil(weights / weightsPerSymbol));
}

/**
 * What the C core expects a tensor to take whose indices come so often.
 * @param {Encoder} codec
 * @param {{dtype: string, shape: number[], step: number, streamLength?: number, precision?: number,
 *   weightsPerSymbol?: number}} tensor
 * @param {Float64Array} counts of all weights, by their bytes @returns {number} bits
 */
function bitsOf(codec, tensor, counts) {
  let state = /** @type {import('../core/encoder.js').State} */ (codec.next(codec.begin(tensor), {}));
  while (state.work !== 'code') {
    const found = state.work === 'fold' ? foldedCounts(counts, state.blob) : counts;
    state = /** @type {typeof state} */ (codec.next(state, { counts: found, sumError: 0 }));
  }
  return Math.max(state.bits, 0); // of a handful of weights it expects less than nothing
}

/**
 * Counts of a coarser grid.
 * @param {Float64Array} sums of fine counts: how many weights lie before each
 * @param {number} ratio fine steps of a coarse one @returns {Float64Array} by the index as a byte
 */
function coarser(sums, ratio) {
  const before = (/** @type {number} */ border) => {
    const at = Math.min(Math.max(border * ratio + FINE_COUNTS / 2 + 0.5, 0), FINE_COUNTS);
    const whole = Math.floor(at);
    return whole === at ? sums[whole] : sums[whole] + (at - whole) * (sums[whole + 1] - sums[whole]);
  };
  return new Float64Array(256).map((_, byte) => {
    const index = byte < 128 ? byte : byte - 256;
    return (index === 127 ? sums[FINE_COUNTS] : before(index + 0.5)) - (index === -128 ? 0 : before(index - 0.5));
  });
}

/**
 * @param {Input} input @param {import('../core/hessian.js').Factor | null} factor for error feedback
 * @param {number | null} importance if it is known
 * @param {Pool} pool
 * @param {{signal?: AbortSignal, streamLength?: number, precision?: number, weightsPerSymbol?: number}} options
 * @returns {Promise<import('./rate.js').Measured>} without a curve if all weights are 0, or there are none
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_NOT_FINITE with the position, _ABORTED, and what reading
 *   throws
 */
export async function measure(input, factor, importance, pool, options) {
  const { name, shape, dtype } = input;
  const { signal, ...coding } = options;
  const weights = elementCount(shape, name);
  // The cheapest, most likely; to try all five takes as long as to code.
  if (weights > MANY) coding.precision ??= 12;
  const range = await new TensorEncoder(pool, input, { step: 1, signal }).scan();
  /** @type {number[]} */
  const curve = [];
  const found = { name, dtype, shape, ...range, isFed: Boolean(factor), importance, gain: factor?.gain ?? 1, curve };
  if (!(found.sumSquares > 0)) return found;
  // Rows of few columns take the room of longer ones.
  const columns = factor?.columns ?? 1;
  const most = factor ? Math.ceil(FED_SAMPLE / Math.max(columns, LEAST_ROW)) * columns : SAMPLE;
  const seen = await sampled(input, most, columns);
  const finest = finestOf(found);
  const sums = new Float64Array(FINE_COUNTS + 1);
  const unit = Math.fround(Math.max(-found.low, found.high) / (FINE_COUNTS / 2 - 1));
  const size = elementCount(seen.shape) * dtypeBytes(dtype);
  if (!factor) {
    const bytes = await seen.read(0, size);
    const { counts } = await pool.run('fineCounts', [dtype, bytes, unit]);
    for (let i = 0; i < FINE_COUNTS; i++) sums[i + 1] = sums[i] + counts[i];
  }
  for (let i = 0; i < STEPS && !(curve[i - 1] < FEW); i++) {
    const step = Math.fround(Math.min(finest * RATIO ** i, 3e38));
    const counts = factor ? (await roundWithFeedback(seen, step, factor, pool, { signal })).counts
      : coarser(sums, step / unit);
    curve.push(bitsOf(pool.codec, { ...coding, dtype, shape, step }, stretch(counts, weights)) / weights);
  }
  return found;
}
