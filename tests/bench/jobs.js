/** What is timed, and how often: every job takes its turn in every round. */
import { encode, open } from '../../web/hansel.js';
import { spread } from './report.js';

/** @typedef {import('./report.js').Spread} Spread */
/**
 * @typedef {object} Job
 * @property {string} name
 * @property {number} weights decoded, written or multiplied each time
 * @property {(pass: GPUComputePassEncoder) => void} [encode] what is timed on the GPU
 * @property {() => Promise<number>} [run] or what times itself, by the clock: seconds
 * @property {number[]} [times] seconds, a round each
 */

/** @param {{prepare: (job: Job) => Promise<number>,
 *   time: (job: Job, repeats: number) => Promise<number>}} timer @param {Job[]} jobs @param {number} rounds */
export async function measure(timer, jobs, rounds) {
  const repeats = [];
  for (const job of jobs) repeats.push(await timer.prepare(job));
  for (const job of jobs) job.times = [];
  for (let i = 0; i < rounds; i++) {
    for (const [k, job] of jobs.entries()) job.times?.push(await timer.time(job, repeats[k]));
  }
}

/** @param {Job} job @returns {Spread} millions a second */
export const speed = ({ times = [], weights }) => spread(times.map((time) => weights / time / 1e6));

/** How much faster a is, round by round. @param {Job} a @param {Job} b */
export const ratio = (a, b) => spread((a.times ?? []).map((time, i) => (
  (b.times?.[i] ?? NaN) / b.weights * a.weights / time)));

/** @param {Float32Array} from @param {number} sigma @param {number[]} [range] */
export const indices = (from, sigma, [low, high] = [-128, 127]) => Int8Array.from(from,
  (x) => Math.max(low, Math.min(high, Math.round(sigma * x))));

/** @param {Int8Array} data @param {number[]} shape
 * @param {import('../../web/encode/encode.js').EncodeOptions} options */
export const coded = async (data, shape, options) => open(
  await encode({ w: { dtype: 'I8', shape, data } }, { always: true, ...options }));

/** @param {() => Promise<unknown>} body */
export async function clock(body) {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
}
