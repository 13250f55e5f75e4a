/**
 * One rate for a whole model: each tensor's step from one number, so that bits go where they do most
 * good. A tensor's harm is about its relative squared error, whatever its size, and its bits cost as
 * many as it has weights: so the relative squared error is to be proportional to the weights, and the
 * step to their root mean square times the root of how many they are.
 */
import { elementCount } from '../file/safetensors.js';

/** A blob's head, about: a tensor whose weights cost less is not worth a grid. */
const LEAST_BYTES = 48;
/** What is left of the wanted rate is less, a weight. */
const CLOSE = 0.001;
const ROUNDS = 12;
/** By so much the rate of curves is in doubt, and that of samples. */
const [DOUBT, SAMPLED_DOUBT] = [0.0005, 0.002];
/** Tensors of more weights are known by samples. */
export const SAMPLE = 1 << 20;

/** Names of what turns words into numbers, and back. Positions are none. */
const WORDS = new RegExp('(^|[._])(embed_tokens|tok_embeddings|token_embd|word_embeddings?|wte|embed_in|embed_out'
  + '|embeddings?|token_embedding|shared|lm_head|head|classifier|unembed)([._]weight)?$|^(model\\.)?output([._]weight)?$', 'i');
const POSITIONS = /pos|wpe/i;
const EXPERTS = /expert/i;

/** @typedef {import('../core/errors.js').HanselError} HanselError */
/** @typedef {import('./encode.js').Input} Input */
/** @typedef {{name: string, shape: number[]}} Named */
/**
 * @typedef {object} Measured what sharing out a rate needs to know of a tensor
 * @property {string} name @property {import('../core/dtypes.js').Dtype} dtype @property {number[]} shape
 * @property {boolean} isFed it has a Hessian, and is measured with error feedback
 * @property {number} low its smallest weight @property {number} high its largest
 * @property {number} sumSquares of all its weights
 * @property {number | null} importance the mean square of a gradient by one of its weights, if it is known
 * @property {number} gain how much coarser its step may be, because errors are made up for; 1 otherwise
 * @property {number[]} curve bits a weight, from the finest step on by factors of sqrt(2)
 */
/** @typedef {{step: number, most: number}} Rate a tensor's step, and the bits a weight it may take */
/**
 * @typedef {object} Scale what a tensor's step is worked out from
 * @property {number} weights
 * @property {number} least step, at which nothing is cut off
 * @property {number} sigma root mean square
 * @property {number} root of its share in the model
 */

/** Whether a tensor of so many weights takes part. @param {number} weights @param {number} bits */
export const isShared = (weights, bits) => weights * bits / 8 >= LEAST_BYTES;

/** @param {number[]} shape */
const isMatrix = (shape) => shape.filter((n) => n > 1).length > 1;

/**
 * Embeddings and output heads: by their names; if none has such a name, those of a long dimension
 * that no other matrix has.
 * @param {Named[]} tensors @returns {Set<string>} names
 */
function findWords(tensors) {
  const matrices = tensors.filter(({ shape }) => isMatrix(shape));
  const named = matrices.filter(({ name }) => WORDS.test(name) && !POSITIONS.test(name));
  if (named.length) return new Set(named.map(({ name }) => name));
  const long = matrices.filter(({ name, shape: [rows, columns, ...more] }) => !more.length && !POSITIONS.test(name)
    && Math.max(rows, columns) >= 8 * Math.min(rows, columns)
    && matrices.every(({ shape }) => shape.join() === `${[rows, columns]}` || !shape.includes(Math.max(rows, columns))));
  return new Set(long.length <= 2 ? long.map(({ name }) => name) : []);
}

/**
 * How many weights the rule takes each tensor for.
 * @param {Named[]} tensors on a grid @returns {Map<string, number>}
 */
export function shares(tensors) {
  const words = findWords(tensors);
  const sizes = tensors.map(({ name, shape }) => {
    const weights = elementCount(shape, name);
    return shape.length === 3 && EXPERTS.test(name) ? weights / Math.max(shape[0], 1) : weights;
  });
  const largest = tensors.reduce((most, { name }, i) => (words.has(name) ? most : Math.max(most, sizes[i])), 0);
  return new Map(tensors.map(({ name }, i) => [
    name, words.has(name) ? Math.min(sizes[i], largest || sizes[i]) / 2 : sizes[i]]));
}

/** The finest step, at which nothing is cut off. With feedback weights go beyond what they were. */
const leastOf = ({ low = 0, high = 0, gain = 1 }) => (gain > 1 ? Math.max(-low, high) / 120
  : Math.max(-low / 128, high / 127));

/** The first step of a curve. @param {{low: number, high: number, gain: number}} found */
export const finestOf = (found) => Math.fround(Math.max(leastOf(found), 2 ** -126));

/**
 * @param {{low: number, high: number, sumSquares: number, gain?: number}} found of all weights
 * @param {number} weights @param {number} share
 * @returns {Scale}
 */
export const scaleOf = (found, weights, share) => ({
  weights, least: leastOf(found), sigma: Math.sqrt(found.sumSquares / weights),
  root: Math.sqrt(share) * (found.gain ?? 1),
});

/** @param {Scale} scale @param {number} coarseness one of the whole model @returns {number} */
export const stepOf = ({ sigma, root, least }, coarseness) => Math.fround(
  Math.min(Math.max(sigma * root * coarseness, least, 2 ** -126), 3e38));

/** As all engines have it; Math.log2 may differ in the last bit. @param {number} x @param {number} [unit] */
const log2 = (x, unit = 64) => Math.round(Math.log2(x) * unit) / unit;

/** 2^x, by the power series of e^(x ln 2): the same on all engines. @param {number} x */
function exp2(x) {
  const whole = Math.floor(x);
  let sum = 1;
  for (let k = 18; k > 0; k--) sum = 1 + sum * (x - whole) * Math.LN2 / k;
  for (let k = 0; k < Math.min(Math.abs(whole), 1100); k++) sum = whole < 0 ? sum / 2 : sum * 2;
  return sum;
}

/**
 * Searches the smallest coarseness that costs no more than is wanted.
 * @param {Scale[]} scales at least one, of sigmas above 0
 * @param {number} wanted bits a weight
 * @returns {Generator<number, number, number>} yields coarsenesses, and is to be told how many bits a weight
 *   they cost; returns the one, or Infinity if none costs so little
 */
export function* searchCoarseness(scales, wanted) {
  const weights = scales.reduce((sum, scale) => sum + scale.weights, 0);
  const limits = scales.map(({ sigma, root, least }) => log2(least / sigma / root));
  // Below the one all tensors have their finest step, beyond the other nothing is left of any.
  const [finest, coarsest] = [Math.min(...limits) - 1, Math.max(...limits) + 9];
  let [low, high] = [finest, coarsest];
  // A Gaussian takes log2(sigma / step) + 2.05 bits.
  let at = 2.05 - wanted - scales.reduce((sum, { weights: n, root }) => sum + n * log2(root), 0) / weights;
  let best = Infinity;
  /** The last one, and what it cost too much. @type {[number, number] | null} */
  let last = null;
  for (let round = 0; round < ROUNDS; round++) {
    at = Math.round(Math.min(Math.max(at, finest), coarsest) * 4096) / 4096;
    const coarseness = exp2(at);
    const over = (yield coarseness) - wanted;
    if (over <= 0) best = coarseness;
    if (over <= 0 ? over > -CLOSE || at === finest : at === coarsest) break;
    const slope = last && last[0] !== at ? (over - last[1]) / (at - last[0]) : -1;
    last = [at, over];
    if (over <= 0) high = at;
    else low = at;
    // Where more bits are of no use, nobody can have them.
    const next = over < -0.1 && slope > -0.3 ? finest + 1 / 4096
      : at - (over + CLOSE / 2) / Math.min(Math.max(slope, -1.5), -0.1);
    at = next > low && next < high && round % 4 !== 3 ? next : (low + high) / 2;
    if (high - low <= 1 / 4096) break;
  }
  return best;
}

/**
 * Bits a weight, at a step between those of a curve: by cubics through neighbours.
 * @param {number[]} curve @param {number} finest @param {number} step @returns {number}
 */
function bitsAt(curve, finest, step) {
  const last = curve.length - 1;
  const x = Math.min(Math.max(2 * log2(step / finest, 2 ** 24), 0), last);
  const i = Math.min(Math.floor(x), Math.max(last - 1, 0));
  const t = x - i;
  const [b, c = b] = [curve[i], curve[i + 1]];
  const [a, d] = [curve[i - 1] ?? 2 * b - c, curve[i + 2] ?? 2 * c - b];
  const found = b + t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))) / 2;
  return Math.min(Math.max(found, Math.min(b, c)), Math.max(b, c));
}

/**
 * The steps that share out a rate.
 * @param {Measured[]} measured tensors
 * @param {number} bits a weight, of all of them together, all that is in their blobs counted
 * @returns {Map<string, Rate>} by name; without those that have no step: all weights 0, or none that costs so
 *   little
 */
export function shareRate(measured, bits) {
  const known = shares(measured);
  const isKnown = measured.every(({ curve, importance }) => !curve.length || Number(importance) > 0);
  const all = measured.filter(({ curve }) => curve.length).map((found) => {
    const weights = elementCount(found.shape);
    const scale = scaleOf(found, weights, Number(known.get(found.name)));
    // Where gradients say what an error does, no rule need guess: it goes by the error times the gradient.
    if (isKnown) scale.root = found.gain / (Math.sqrt(Number(found.importance)) * scale.sigma);
    return { ...found, weights, finest: finestOf(found), scale };
  });
  if (!all.length) return new Map();
  const weights = all.reduce((sum, one) => sum + one.weights, 0);
  const costOf = (/** @type {typeof all[0]} */ { curve, finest, scale }, /** @type {number} */ coarseness) => (
    bitsAt(curve, finest, stepOf(scale, coarseness)));
  const totalOf = (/** @type {number} */ coarseness) => (
    all.reduce((sum, one) => sum + one.weights * costOf(one, coarseness), 0) / weights);
  const doubt = all.some((one) => one.weights > SAMPLE) ? SAMPLED_DOUBT : DOUBT;
  const search = searchCoarseness(all.map(({ scale }) => scale), bits - doubt);
  let { value, done } = search.next();
  while (!done) ({ value, done } = search.next(totalOf(value)));
  if (value === Infinity) return new Map();
  const left = bits - totalOf(value);
  return new Map(all.map((one) => [
    one.name, { step: stepOf(one.scale, value), most: costOf(one, value) + left }]));
}
