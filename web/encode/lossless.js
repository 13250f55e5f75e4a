/**
 * How a tensor is coded without loss: as one matrix, as classes of its rows, or as planes of its fields,
 * each of which is a matrix again.
 */
import { loadPlanes } from '../core/planes.js';
import { elementCount } from '../file/safetensors.js';
import { classInputs, findClasses } from './classes.js';
import { planeInput } from './fields.js';

/** What classes may cost at most, of what one matrix costs: they are slower to use. */
const WORTH = 0.999;

/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('./encode.js').Spool} Spool */
/** @typedef {import('./tensor_encoder.js').TensorEncoder} TensorEncoder */
/** @typedef {import('../core/encoder.js').State} State */
/** @typedef {import('./fields.js').Plane} Plane */
/** @typedef {{encoder: TensorEncoder, state: State}} Part a blob to be */
/**
 * A matrix, planned.
 * @typedef {object} Planned
 * @property {Part[]} parts its blob; of classes, their map's before theirs
 * @property {number} bits expected of all blobs
 * @property {number} weights
 * @property {Plane} [plane] of the tensor that it is
 */
/**
 * A matrix, coded.
 * @typedef {object} CodedMatrix
 * @property {number[]} sizes bytes of its blobs
 * @property {number} entropy bits a weight, raw bits included
 * @property {number} weights
 * @property {Plane} [plane]
 */

/** @param {(input: Input) => TensorEncoder} make @param {Input} input @returns {Promise<Part>} */
async function planPart(make, input) {
  const encoder = make(input);
  return { encoder, state: /** @type {State} */ (await encoder.plan(true)) };
}

/** @param {Part[]} parts */
const bitsOf = (parts) => parts.reduce((sum, { state }) => sum + state.bits, 0);

/**
 * @param {(input: Input) => TensorEncoder} make @param {Input} input @param {AbortSignal} [signal]
 * @returns {Promise<Planned>}
 */
async function planMatrix(make, input, signal) {
  const weights = elementCount(input.shape, input.name);
  const single = await planPart(make, input);
  const { bits } = single.state;
  const planes = await loadPlanes();
  const found = await findClasses(planes, input, (1 - WORTH) * bits, signal);
  if (found && bits - found.saved < WORTH * bits) {
    const parts = [];
    for (const own of classInputs(input, found.map)) parts.push(await planPart(make, own));
    if (bitsOf(parts) < WORTH * bits) return { parts, bits: bitsOf(parts), weights };
  }
  return { parts: [single], bits, weights };
}

/**
 * The cheapest way to code a tensor.
 * @param {(input: Input) => TensorEncoder} make @param {Input} input
 * @param {Map<string, Input>} inputs others, of which some are bases
 * @param {import('./fields.js').Plan | undefined} plan of its fields
 * @param {AbortSignal} [signal]
 * @returns {Promise<Planned[]>} one matrix, or one a plane
 */
export async function planLossless(make, input, inputs, plan, signal) {
  if (!plan) return [await planMatrix(make, input, signal)];
  const planes = await loadPlanes();
  const matrices = [];
  for (const plane of plan.planes) {
    const own = planeInput(planes, input, plane, inputs);
    matrices.push({ ...await planMatrix(make, own, signal), plane });
  }
  if (!plan.isClose) return matrices;
  const whole = await planMatrix(make, input, signal);
  return whole.bits <= matrices.reduce((sum, { bits }) => sum + bits, 0) ? [whole] : matrices;
}

/**
 * Codes what is planned.
 * @param {Planned[]} matrices @param {number} most bytes, which all must be less than
 * @param {Spool} spool receives and keeps them
 * @returns {Promise<CodedMatrix[] | null>} null, and nothing kept, if they are not
 */
export async function codeLossless(matrices, most, spool) {
  const planned = matrices.reduce((sum, { bits }) => sum + bits, 0);
  if (planned / 8 >= most) return null;
  const isLone = matrices.length === 1 && matrices[0].parts.length === 1;
  const coded = [];
  for (const { parts, weights, plane } of matrices) {
    const sizes = [];
    let bits = 0;
    for (const [i, { encoder, state: plan }] of parts.entries()) {
      const { state: { blob, entropy }, head } = await encoder.code(plan, spool);
      if (isLone && blob.blobBytes >= most) {
        await spool.clear();
        return null;
      }
      await spool.keep(head);
      sizes.push(blob.blobBytes);
      const isMap = parts.length > 1 && i === 0;
      if (!isMap) bits += (entropy + blob.rawBits) * encoder.weights;
    }
    coded.push({ sizes, entropy: weights ? bits / weights : 0, weights, plane });
  }
  return coded;
}
