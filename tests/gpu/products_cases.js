/** Conformance of products on coded weights, for any back end, in a page or in Node. */
import { encode, open } from '../../web/hansel.js';
import { makeCase, random } from './cases.js';

/** @type {Partial<import('./cases.js').Case>[]} */
const CASES = [
  { shape: [64, 1024] }, { shape: [37, 1001] }, { shape: [1, 4096] }, { shape: [513, 1] },
  { shape: [333, 3] }, { shape: [131, 127], options: { streamLength: 16 } },
  { shape: [5, 20011], options: { streamLength: 512 } }, { shape: [2, 32768], options: { streamLength: 1024 } },
  { shape: [4, 5, 70], distribution: 'laplace', sigma: 10 }, { distribution: 'uniform', shape: [50, 99] },
  { distribution: 'two', shape: [40, 260] }, { distribution: 'one', shape: [40, 261] },
  { shape: [60, 130], options: { precision: 8 } }, { shape: [60, 130], options: { precision: 10 } },
  ...(/** @type {const} */ ([['int4', 2], ['ternary', 4]])).flatMap(([distribution, weightsPerSymbol]) => (
    [[64, 1024], [37, 1001], [513, 1], [333, 3], [131, 6], [70, 14], [1, 4095], [5, 20011]].map((shape) => (
      { shape, distribution, options: { weightsPerSymbol, streamLength: 64 } })))),
  { dtype: 'F32', shape: [70, 333], sigma: 1, options: { step: 0.125, weightsPerSymbol: 2 } },
  { dtype: 'F16', shape: [3, 5000], distribution: 'ternary', options: { step: 0.125, weightsPerSymbol: 4, streamLength: 512 } },
  ...['F32', 'F16', 'BF16'].flatMap((dtype) => [
    { dtype, shape: [70, 333], options: { step: 0.125 } },
    { dtype, shape: [70, 333], options: { lossless: true } },
    { dtype, shape: [2, 9000], options: { lossless: true, streamLength: 1000 } },
  ]),
];

/** Relative error of the norm. @param {ArrayLike<number>} got @param {Float64Array} expected */
function normError(got, expected) {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (got[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return got.length === expected.length ? Math.sqrt(error / (norm || 1)) : Infinity;
}

/** y = W x in float64. @param {ArrayLike<number>} w @param {number} rows @param {ArrayLike<number>} x
 * @param {number} batch @param {ArrayLike<number>} [bias] */
function product(w, rows, x, batch, bias) {
  const columns = x.length / batch;
  const y = new Float64Array(rows * batch);
  for (let b = 0; b < batch; b++) {
    for (let r = 0; r < rows; r++) {
      let sum = bias ? bias[r] : 0;
      for (let c = 0; c < columns; c++) sum += w[r * columns + c] * x[b * columns + c];
      y[b * rows + r] = sum;
    }
  }
  return y;
}

/**
 * Runs all cases: float products within 1e-5 of float64, integer ones exact.
 * @param {any} gpu @returns {Promise<{count: number, problems: string[], worst: number}>}
 */
export async function checkProducts(gpu) {
  const problems = [];
  let count = 0;
  let worst = 0;
  for (const [i, part] of CASES.entries()) {
    const c = {
      dtype: 'I8', shape: [37, 1001], distribution: 'gauss', sigma: 4, seed: 31 * i + 7, options: {},
      ...part,
    };
    const model = await open(await makeCase(c));
    const w = await gpu.load(model, 'w');
    const { rows, columns } = w;
    const r = random(c.seed + 1);
    const isI8 = c.dtype === 'I8';
    const weights = await model.decode('w', isI8 ? {} : { dtype: 'F32' });
    for (const batch of [1, 3, 4, 5]) {
      const x = Float32Array.from({ length: batch * columns }, r.gauss);
      const bias = batch === 3 ? undefined : Float32Array.from({ length: rows }, r.gauss);
      const got = await w.matmul(x, batch, { bias });
      const again = await w.matmul(x, batch, { bias });
      const error = normError(got, product(weights, rows, x, batch, bias));
      worst = Math.max(worst, error);
      count++;
      if (!(error < 1e-5)) problems.push(`${JSON.stringify(c)} batch ${batch}: error ${error}`);
      if (got.some((y, k) => y !== again[k])) problems.push(`${JSON.stringify(c)}: not deterministic`);
    }
    if (isI8 || c.options.step) {
      const x = Int8Array.from({ length: columns }, () => Math.floor(r.next() * 256) - 128);
      const got = await w.matvecI8(x);
      const expected = product(await model.symbols('w'), rows, x, 1);
      count++;
      const at = expected.findIndex((y, k) => y !== got[k]);
      if (at >= 0) problems.push(`${JSON.stringify(c)}: integer row ${at}: ${got[at]}, not ${expected[at]}`);
    } else {
      const code = await w.matvecI8(new Int8Array(columns)).then(() => 'none', (e) => e.code);
      if (code !== 'HANSEL_ERR_DTYPE') problems.push(`${JSON.stringify(c)}: matvecI8 gave ${code}`);
    }
    w.destroy();
  }
  return { count, problems, worst };
}

/** What bad input gives. @param {any} gpu @returns {Promise<Record<string, string>>} codes by case */
export async function badProducts(gpu) {
  const data = new Int8Array(64 * 100).map((_, i) => i * i % 11);
  const model = await open(await encode({ w: { dtype: 'I8', shape: [64, 100], data } }));
  const w = await gpu.load(model, 'w');
  const code = (/** @type {() => Promise<any>} */ body) => body().then(() => 'none', (e) => e.code);
  const x = new Float32Array(100);
  const found = {
    short: await code(() => w.matvec(new Float32Array(99))),
    long: await code(() => w.matvec(new Float32Array(101))),
    type: await code(() => w.matvec(new Float64Array(100))),
    integerType: await code(() => w.matvecI8(x)),
    batch: await code(() => w.matmul(new Float32Array(6500), 65)),
    noBatch: await code(() => w.matmul(new Float32Array(0), 0)),
    bias: await code(() => w.matvec(x, { bias: new Float32Array(63) })),
    nan: String((await w.matvec(x.fill(NaN))).every(Number.isNaN)),
    destroyed: '',
  };
  w.destroy();
  found.destroyed = await code(() => w.matvec(x));
  return found;
}

export const BAD_PRODUCTS = {
  short: 'HANSEL_ERR_ARGUMENT', long: 'HANSEL_ERR_ARGUMENT', type: 'HANSEL_ERR_ARGUMENT',
  integerType: 'HANSEL_ERR_ARGUMENT', batch: 'HANSEL_ERR_ARGUMENT', noBatch: 'HANSEL_ERR_ARGUMENT',
  bias: 'HANSEL_ERR_ARGUMENT', nan: 'true', destroyed: 'HANSEL_ERR_DESTROYED',
};
