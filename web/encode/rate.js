/**
 * One rate for a whole model: each tensor's step from one number, so that bits go where they do most
 * good. A tensor's harm is about its relative squared error, whatever its size, and its bits cost as
 * many as it has weights: so the relative squared error is to be proportional to the weights, and the
 * step to their root mean square times the root of how many they are.
 */
import { dtypeBytes } from '../core/dtypes.js';
import { checkAborted, locate } from '../core/errors.js';
import { byteSize, elementCount } from '../file/safetensors.js';

/** A blob's head, about: a tensor whose weights cost less is not worth a grid. */
const LEAST_BYTES = 48;
/** What is left of the wanted rate is less, a weight. */
const CLOSE = 0.001;
const ROUNDS = 12;
/** Bytes of tensors that are kept in memory, so that they are read once. */
const KEEP_BYTES = 64 << 20;
/** Tensors of more weights are known by so many, in so many slices; their rate is in doubt by so much. */
const [WHOLE, SAMPLE, SLICES, DOUBT] = [1 << 20, 1 << 18, 8, 0.002];

/** Names of what turns words into numbers, and back. Positions are none. */
const WORDS = new RegExp('(^|[._])(embed_tokens|tok_embeddings|token_embd|word_embeddings?|wte|embed_in|embed_out'
  + '|embeddings?|token_embedding|shared|lm_head|head|classifier|unembed)([._]weight)?$|^(model\\.)?output([._]weight)?$', 'i');
const POSITIONS = /pos|wpe/i;
const EXPERTS = /expert/i;

/** @typedef {import('../core/errors.js').HanselError} HanselError */
/** @typedef {import('./encode.js').Input} Input */
/** @typedef {{name: string, shape: number[]}} Named */
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

/**
 * @param {{low: number, high: number, sumSquares: number}} found of all weights
 * @param {number} weights @param {number} share
 * @returns {Scale}
 */
export const scaleOf = ({ low, high, sumSquares }, weights, share) => ({
  weights, least: Math.max(-low / 128, high / 127), sigma: Math.sqrt(sumSquares / weights), root: Math.sqrt(share),
});

/** @param {Scale} scale @param {number} coarseness one of the whole model @returns {number} */
export const stepOf = ({ sigma, root, least }, coarseness) => Math.fround(
  Math.min(Math.max(sigma * root * coarseness, least, 2 ** -126), 3e38));

/** As all engines have it; Math.log2 may differ in the last bit. @param {number} x */
const log2 = (x) => Math.round(Math.log2(x) * 64) / 64;

/** 2^x, by the power series of e^(x ln 2): the same on all engines. @param {number} x */
function exp2(x) {
  const whole = Math.floor(x);
  let sum = 1;
  for (let k = 18; k > 0; k--) sum = 1 + sum * (x - whole) * Math.LN2 / k;
  for (let k = 0; k < Math.abs(whole); k++) sum = whole < 0 ? sum / 2 : sum * 2;
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
 * Tensors that are read once, as many as memory is to hold.
 * @param {Input[]} inputs @returns {Input[]}
 */
export function keepSmall(inputs) {
  let left = KEEP_BYTES;
  return inputs.map((input) => {
    const size = byteSize(input.dtype, input.shape, input.name);
    if (size > left) return input;
    left -= size;
    /** @type {Promise<Uint8Array> | undefined} */
    let whole;
    return { ...input, read: async (start, end) => {
      whole ??= input.read(0, size);
      return (await whole).subarray(start, end);
    } };
  });
}

/**
 * Slices of a tensor, spread over it, as a tensor.
 * @param {Input} input @param {number} weights @returns {Promise<Input & {streamLength: number}>}
 */
async function sampled(input, weights) {
  const size = dtypeBytes(input.dtype);
  const each = SAMPLE / SLICES;
  const bytes = new Uint8Array(SAMPLE * size);
  for (let i = 0; i < SLICES; i++) {
    const start = Math.floor((weights - each) * i / (SLICES - 1));
    bytes.set(await input.read(start * size, (start + each) * size), i * each * size);
  }
  // Streams as long as the whole tensor's, by plan.c: shorter ones cost more.
  const streamLength = Math.min(Math.max(Math.floor(weights / 2048), 1024), 4096);
  return { ...input, shape: [SLICES, each], streamLength, read: async (start, end) => bytes.subarray(start, end) };
}

/**
 * The steps that share out a rate.
 * @param {Input[]} inputs those that are to lie on a grid
 * @param {number} bits a weight, of all of them together, all that is in their blobs counted
 * @param {(input: Input & {streamLength?: number}, step: number) =>
 *   import('./tensor_encoder.js').TensorEncoder} make
 * @param {AbortSignal} [signal]
 * @returns {Promise<Map<string, number>>} without those that have no step: all weights 0, or too few
 * @throws {HanselError} as TensorEncoder.plan()
 */
export async function shareRate(inputs, bits, make, signal) {
  const counted = inputs.filter(({ name, shape }) => isShared(elementCount(shape, name), bits));
  const known = shares(counted);
  /** @type {{name: string, seen: Input, part: number, scale: Scale}[]} */
  const all = [];
  /** @template T @param {string} name @param {Promise<T>} work */
  const within = (name, work) => work.catch((error) => { throw locate(error, name); });
  for (const input of counted) {
    checkAborted(signal);
    const { name } = input;
    const weights = elementCount(input.shape);
    const scale = scaleOf(await within(name, make(input, 1).scan()), weights, Number(known.get(name)));
    if (!(scale.sigma > 0)) continue;
    const seen = weights <= WHOLE ? input : await within(name, sampled(input, weights));
    all.push({ name, seen, part: scale.weights / elementCount(seen.shape), scale });
  }
  if (!all.length) return new Map();
  const scales = all.map(({ scale }) => scale);
  const weights = scales.reduce((sum, scale) => sum + scale.weights, 0);
  const search = searchCoarseness(scales, all.every(({ part }) => part === 1) ? bits : bits - DOUBT);
  let { value, done } = search.next();
  while (!done) {
    let sum = 0;
    for (const { name, seen, part, scale } of all) {
      checkAborted(signal);
      const planned = await within(name, make(seen, stepOf(scale, value)).plan(false));
      sum += part * /** @type {import('../core/encoder.js').State} */ (planned).bits;
    }
    ({ value, done } = search.next(sum / weights));
  }
  return new Map(value === Infinity ? [] : all.map(({ name, scale }) => [name, stepOf(scale, value)]));
}
