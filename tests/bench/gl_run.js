/** The WebGL2 products of gpu_run.js. */
import { GlPlainMatrix } from '../../web/plain.js';
import { loadWays } from './gpu_run.js';
import { measure, ratio, speed } from './jobs.js';

/** Milliseconds that a timed run of draws takes at least: waiting is exact to a few of them. */
const LEAST_MS = 100;

/** @typedef {import('../../web/webgl.js').WebGl} WebGl */
/** @typedef {import('../../web/webgl.js').WebGlMatrix} WebGlMatrix */
/** @typedef {import('./gpu_run.js').ProductRow} ProductRow */

/** Draws are timed by the clock, until a fence is passed: timer queries are not everywhere. */
class GlTimer {
  /** @param {WebGl} gpu */
  constructor(gpu) {
    this.gpu = gpu;
  }

  /** @param {any} job @param {number} repeats @returns {Promise<number>} seconds of one */
  async time({ draw }, repeats) {
    await this.gpu.finished();
    const start = performance.now();
    for (let i = 0; i < repeats; i++) draw();
    await this.gpu.finished();
    return (performance.now() - start) / 1000 / repeats;
  }

  /** Warms a job up, and finds how often to repeat it. @param {any} job */
  async prepare(job) {
    await this.time(job, 1);
    for (let repeats = 1; ; repeats *= 2) {
      if (await this.time(job, repeats) * repeats * 1000 >= LEAST_MS || repeats > 1024) return repeats;
    }
  }
}

/**
 * Coded products against plain ones, of one grid and shape.
 * @param {WebGl} gpu @param {number} rounds @param {Int8Array} data @param {number[]} shape
 * @param {{ways: import('./gpu_run.js').Way[], batches: number[]}} what batch 0 is one vector of bytes
 */
export async function glProducts(gpu, rounds, data, [rows, columns], { ways, batches }) {
  const timer = new GlTimer(gpu);
  const most = Math.max(1, ...batches);
  const xs = Float32Array.from({ length: most * columns }, (_, i) => Math.sin(i));
  const matrices = await loadWays(gpu, data, [rows, columns], ways);
  // The plain matrix is what one of them decodes to.
  const [{ w: source }] = matrices;
  await source.decodeOnGpu();
  const plain = GlPlainMatrix.fromTexture(gpu,
    { texture: source.texture, dtype: 'I8', rows, columns });
  const scratch = [plain.products.input(xs, most),
    plain.products.input(Int8Array.from(xs.subarray(0, columns), (x) => Math.round(127 * x))),
    plain.products.output(most)];
  const [x, bytes, y] = scratch;
  /** @type {ProductRow[]} */
  const found = [];
  for (const batch of batches) {
    const integer = batch === 0;
    await plain.products.prepare(integer);
    for (const { w } of matrices) await w.products.prepare(integer);
    const job = (/** @type {WebGlMatrix | GlPlainMatrix} */ w) => ({
      name: w.name, weights: rows * columns,
      draw: () => w.products.encode({ x: integer ? bytes : x, y, batch: batch || 1, integer }),
    });
    const base = job(plain);
    const jobs = matrices.map(({ w }) => job(w));
    await measure(timer, [base, ...jobs], rounds);
    jobs.forEach((one, i) => found.push({
      rows, columns, batch, ...matrices[i].facts,
      plain: speed(base), coded: speed(one), ratio: ratio(one, base), gain: ratio(one, jobs[0]),
    }));
  }
  plain.destroy();
  for (const { w } of matrices) w.destroy();
  for (const texture of scratch) gpu.free(texture);
  return found;
}
