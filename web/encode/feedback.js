/** Rounds a tensor with error feedback (src/feedback.c): what comes out is a tensor on the grid. */
import { convert } from '../core/convert.js';
import { dtypeBytes } from '../core/dtypes.js';
import { checkAborted } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { elementCount } from '../file/safetensors.js';
import { mapOrdered } from '../workers/pool.js';
import { shifted } from './shifted.js';

/** Weights that are rounded at a time, about: more of them, and a large factor is seldom copied. */
const CHUNK = 1 << 20;
/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('../core/hessian.js').Factor} Factor */
/** @typedef {{relativeError: number, maxError: number, saturated: number}} Lost what became of the weights */

/**
 * The step times each index, as weights of a dtype.
 * @param {string} dtype @param {number} step
 * @returns {Uint8Array | null} 256 of them, by the index as a byte; null if the dtype does not tell them apart
 */
function gridValues(dtype, step) {
  const indices = Int8Array.from({ length: 256 }, (_, byte) => byte);
  const values = convert(new Uint8Array(Float32Array.from(indices, (index) => step * index).buffer), 'F32', dtype);
  const back = new Float32Array(convert(values, dtype, 'F32').slice().buffer);
  return indices.every((index, i) => Math.abs(back[i] / step - index) < 0.4) ? values : null;
}

/** @param {Uint8Array} indices @param {Uint8Array} values of each @returns {Uint8Array} */
function expand(indices, values) {
  const Words = values.length === 1024 ? Uint32Array : Uint16Array;
  const words = new Words(values.slice().buffer);
  const out = new Words(indices.length);
  for (let i = 0; i < out.length; i++) out[i] = words[indices[i]];
  return new Uint8Array(out.buffer);
}

/**
 * @param {Input} input of dtype F32, F16 or BF16; whole rows of the factor's columns
 * @param {number} step @param {Factor} found of the Hessian
 * @param {import('../workers/pool.js').Pool<import('../core/encoder.js').Encoder>} pool
 * @param {{signal?: AbortSignal, report?: (weights: number) => void}} [options] report: so many are rounded
 * @returns {Promise<{input: Input | null, counts: Float64Array, lost: Lost}>} input: the rounded tensor, which
 *   the step quantizes without loss; null if the dtype cannot hold it. counts: of indices, by their bytes
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_NOT_FINITE with the weight's position, _MEMORY,
 *   _ABORTED, and what reading throws
 */
export async function roundWithFeedback(input, step, found, pool, { signal, report } = {}) {
  const { columns, struct, factor, order } = found;
  const { dtype, shape, name } = input;
  const size = dtypeBytes(dtype);
  const weights = elementCount(shape);
  const values = gridValues(dtype, step);
  const indices = allocate(weights, name);
  // Rows of few columns take the room of longer ones.
  const each = Math.max(4, Math.floor(CHUNK / Math.max(columns, 64) / 4) * 4) * columns;
  async function* chunks() {
    for (let at = 0; at < weights; at += each) {
      checkAborted(signal);
      const end = Math.min(at + each, weights);
      yield { at, end, bytes: await input.read(at * size, end * size) };
    }
  }
  const sum = { sumSquares: 0, sumError: 0, maxError: 0, saturated: 0 };
  const parts = mapOrdered(chunks(), pool.width, async ({ at, end, bytes }) => ({ at, end, part: await pool.run(
    'feedbackRows', [dtype, bytes, step, columns, struct, factor, order]).catch((error) => {
    throw shifted(error, at);
  }) }));
  for await (const { at, end, part } of parts) {
    indices.set(part.bytes, at);
    sum.sumSquares += part.sumSquares;
    sum.sumError += part.sumError;
    sum.saturated += part.saturated;
    sum.maxError = Math.max(sum.maxError, part.maxError);
    report?.(end);
  }
  const counts = new Float64Array(256);
  for (const index of indices) counts[index]++;
  return {
    input: values && {
      ...input, read: async (start, end) => expand(indices.subarray(start / size, end / size), values),
    },
    counts,
    lost: {
      relativeError: sum.sumSquares > 0 ? Math.sqrt(sum.sumError / sum.sumSquares) : 0, maxError: sum.maxError,
      saturated: sum.saturated,
    },
  };
}
