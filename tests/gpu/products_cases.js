/** Conformance of products on coded weights, for any back end, in a page or in Node. */
import { convert } from '../../web/core/convert.js';
import { encode, open } from '../../web/hansel.js';
import { caseFile, checkFile, forAll, random } from './cases.js';

/** @type {Partial<import('./cases.js').Case & {origin: number}>[]} */
const CASES = [
  { shape: [64, 1024] }, { shape: [37, 1001] }, { shape: [1, 4096] }, { shape: [513, 1] },
  { shape: [333, 3] }, { shape: [131, 127], options: { streamLength: 16 } },
  { shape: [5, 20011], options: { streamLength: 512 } }, { shape: [2, 32768], options: { streamLength: 1024 } },
  { shape: [32, 19, 3, 3] }, { shape: [70, 61, 1, 1], options: { streamLength: 64 } },
  { shape: [4, 5, 70], distribution: 'laplace', sigma: 10 }, { distribution: 'uniform', shape: [50, 99] },
  { distribution: 'two', shape: [40, 260] }, { distribution: 'one', shape: [40, 261] },
  { shape: [60, 130], options: { precision: 8 } }, { shape: [60, 130], options: { precision: 10 } },
  ...(/** @type {const} */ ([['int4', 2], ['ternary', 4]])).flatMap(([distribution, weightsPerSymbol]) => (
    [[64, 1024], [37, 1001], [513, 1], [333, 3], [131, 6], [70, 14], [1, 4095], [5, 20011]].map((shape) => (
      { shape, distribution, options: { weightsPerSymbol, streamLength: 64 } })))),
  ...(/** @type {const} */ ([['gauss', 1], ['int4', 2], ['ternary', 4]])).map(([distribution, weightsPerSymbol]) => (
    { shape: [37, 1001], distribution, origin: 126, options: { weightsPerSymbol } })),
  { dtype: 'F32', shape: [70, 333], sigma: 1, options: { step: 0.125, weightsPerSymbol: 2 } },
  { dtype: 'F16', shape: [3, 5000], distribution: 'ternary', options: { step: 0.125, weightsPerSymbol: 4, streamLength: 512 } },
  ...['F32', 'F16', 'BF16'].flatMap((dtype) => [
    { dtype, shape: [70, 333], options: { step: 0.125 } },
    { dtype, shape: [70, 333], options: { lossless: true } },
    { dtype, shape: [2, 9000], options: { lossless: true, streamLength: 1000 } },
  ]),
];

/** Relative error of the norm. @param {ArrayLike<number>} got @param {Float64Array} expected */
export function normError(got, expected) {
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
export function product(w, rows, x, batch, bias) {
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
 * @param {any} gpu @param {typeof CASES} [cases] @returns {Promise<{count: number, problems: string[], worst: number}>}
 */
export async function checkProducts(gpu, cases = CASES) {
  const problems = [];
  let count = 0;
  let worst = 0;
  await forAll(cases, async (part, i) => {
    const c = {
      dtype: 'I8', shape: [37, 1001], distribution: 'gauss', sigma: 4, seed: 31 * i + 7, options: {},
      ...part,
    };
    const model = await open(await caseFile(c));
    const w = await gpu.load(model, 'w');
    const { rows, columns } = w;
    const r = random(c.seed + 1);
    const isI8 = c.dtype === 'I8';
    const weights = await model.decode('w', isI8 ? {} : { dtype: 'F32' });
    for (const batch of [1, 3, 4, 5]) {
      const x = Float32Array.from({ length: batch * columns }, r.gauss);
      const bias = batch === 3 ? undefined : Float32Array.from({ length: rows }, r.gauss);
      const got = await w.matmul(x, batch, { bias });
      const again = batch === 3 ? await w.matmul(x, batch, { bias }) : got;
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
  });
  return { count, problems, worst };
}

/** Every binary16 number that is not NaN: subnormals, zeros of both signs, infinities too. */
const HALVES = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7fff) <= 0x7c00);

/** @param {Uint16Array} halves @returns {Float32Array} their values */
const widened = (halves) => new Float32Array(/** @type {ArrayBuffer} */ (
  convert(new Uint8Array(halves.slice().buffer), 'F16', 'F32').buffer));

/**
 * Products of vectors in F16 against those of the same numbers in F32, bit for bit.
 * @param {any} gpu
 * @param {(model: any, name: string) => Promise<any>} [load] @param {any} [options] of encode()
 * @returns {Promise<string[]>} what is wrong
 */
export async function checkHalves(gpu, load = (model, name) => gpu.load(model, name), options = {}) {
  const problems = [];
  const equal = (/** @type {Float32Array} */ a, /** @type {Float32Array} */ b) => (
    a.length === b.length && a.every((y, i) => Object.is(y, b[i])));
  // A diagonal shows each number by itself.
  const size = 64;
  const eye = new Int8Array(size * size).map((_, i) => (i % (size + 1) ? 0 : 1));
  const diagonal = await load(await open(await encode(
    { w: { dtype: 'I8', shape: [size, size], data: eye } }, { always: true, ...options })), 'w');
  const finite = HALVES.filter((h) => (h & 0x7fff) < 0x7c00);
  for (let at = 0; at < finite.length; at += size * 64) {
    const some = finite.subarray(at, at + size * 64);
    const y = await diagonal.matmul(some, some.length / size);
    const expected = widened(some);
    const wrong = y.findIndex((/** @type {number} */ v, /** @type {number} */ i) => v !== expected[i]);
    if (wrong >= 0) problems.push(`half 0x${some[wrong].toString(16)} became ${y[wrong]}`);
  }
  for (const [bits, expected] of [[0x7c00, Infinity], [0xfc00, -Infinity], [0x7e01, NaN], [0xfc01, NaN]]) {
    const x = new Uint16Array(size).fill(bits);
    const y = await diagonal.matvec(x);
    if (!equal(y, await diagonal.matvec(widened(x)))) problems.push(`0x${bits.toString(16)} differs`);
    // 0 times infinity is NaN wherever arithmetic is IEEE's.
    if (y.some((v) => !Number.isNaN(v) && v !== expected)) problems.push(`${expected} became ${y}`);
  }
  diagonal.destroy();
  await forAll([[37, 1001], [5, 4096], [513, 1], [40, 2], [3, 20011]], async (shape, i) => {
    const r = random(97 + i);
    const [rows, columns] = shape;
    const data = Float32Array.from({ length: rows * columns }, () => Math.round(4 * r.gauss()) / 8);
    const model = await open(await encode({ w: { dtype: 'F32', shape, data } },
      { step: 0.125, always: true, ...options }));
    const w = await load(model, 'w');
    const bias = Float32Array.from({ length: rows }, r.gauss);
    for (const batch of [1, 3, 5]) {
      const x = Uint16Array.from({ length: batch * columns + 1 }, (_, k) => (
        k % 5 === 0 ? Math.floor(1024 * r.next()) : finite[Math.floor(finite.length * r.next())] & 0xbfff))
        .subarray(1); // at an odd place of its buffer
      const forms = 'Float16Array' in globalThis
        ? [x, new (/** @type {any} */ (globalThis)).Float16Array(x.slice().buffer)] : [x];
      for (const form of forms) {
        const got = await w.matmul(form, batch, { bias });
        if (got.every((/** @type {number} */ y) => !y)) problems.push(`[${shape}]: all zero`);
        if (!equal(got, await w.matmul(widened(x), batch, { bias }))) {
          problems.push(`[${shape}] batch ${batch}: F16 is not F32`);
        }
      }
    }
    w.destroy();
  });
  return problems;
}

/**
 * x in F16 in the GPU's memory, with offsets and strides, on WebGPU.
 * @param {any} gpu @param {any} w 30 columns @returns {Promise<string[]>} what is wrong
 */
export async function checkHalfBuffers(gpu, w) {
  const { STORAGE, COPY_SRC } = GPUBufferUsage;
  const [offset, stride, batch] = [8, 40, 6];
  const halves = new Uint16Array(offset + stride * batch).map((_, i) => (i * 7919) & 0xbbff);
  for (let v = 0; v < batch; v++) halves.fill(0, offset + v * stride + 30, offset + v * stride + 32);
  const size = 4 * w.rows * batch;
  const buffers = [gpu.filled(halves, STORAGE, 'x'), gpu.filled(widened(halves), STORAGE, 'x'),
    gpu.buffer(size, STORAGE | COPY_SRC, 'y'), gpu.buffer(size, STORAGE | COPY_SRC, 'y'),
    gpu.buffer(size, STORAGE | COPY_SRC, 'y')];
  const [x, wide, a, b, first] = buffers;
  await w.products.prepare(false, 'F16');
  const encoder = gpu.device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  const how = { xOffset: offset, xStride: stride };
  // Smaller first: what it was recorded with must outlive the growth of scratch.
  w.products.encode(pass, { x, y: first, ...how, xDtype: 'F16' });
  w.products.encode(pass, { x, y: a, ...how, batch, xDtype: 'F16' });
  w.products.encode(pass, { x: wide, y: b, ...how, batch });
  pass.end();
  gpu.device.queue.submit([encoder.finish()]);
  const [ya, yb, y1] = await Promise.all([a, b, first].map(async (buffer) => (
    new Uint32Array((await gpu.read(buffer, 0, size)).buffer))));
  for (const buffer of buffers) gpu.free(buffer);
  const problems = [];
  if (ya.every((y) => !y)) problems.push('all zero');
  if (ya.some((y, i) => y !== yb[i])) problems.push('a batch in F16 is not that in F32');
  if (y1.subarray(0, w.rows).some((y, i) => y !== yb[i])) problems.push('a vector differs');
  return problems;
}

/**
 * Like checkHalfBuffers, but for WebGL2's textures.
 * @param {any} gpu @param {any} w 30 columns @returns {Promise<string[]>} what is wrong
 */
export async function checkHalfTextures(gpu, w) {
  const [offset, stride, batch] = [5, 10, 6]; // texels
  const halves = new Uint16Array(4 * (offset + stride * batch)).map((_, i) => (i * 7919) & 0xbbff);
  for (let v = 0; v < batch; v++) {
    const end = 4 * (offset + v * stride) + 30;
    halves.fill(0, end, end + 2);
  }
  const textures = [w.products.input(halves, 1, halves.length),
    w.products.input(widened(halves), 1, halves.length), w.products.output(batch),
    w.products.output(batch)];
  const [x, wide, a, b] = textures;
  await w.products.prepare(false, 'F16');
  const how = { xOffset: offset, xStride: stride, batch };
  w.products.encode({ x, y: a, ...how, batch: 1, xDtype: 'F16' });
  w.products.encode({ x, y: a, ...how, xDtype: 'F16' });
  w.products.encode({ x: wide, y: b, ...how });
  const [ya, yb] = await Promise.all([w.products.read(a, batch), w.products.read(b, batch)]);
  for (const texture of textures) gpu.free(texture);
  const problems = [];
  if (ya.every((/** @type {number} */ y) => !y)) problems.push('all zero');
  if (ya.some((/** @type {number} */ y, /** @type {number} */ i) => y !== yb[i])) {
    problems.push('a batch in F16 is not that in F32');
  }
  return problems;
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
    shortHalves: await code(() => w.matvec(new Uint16Array(99))),
    longHalves: await code(() => w.matmul(new Uint16Array(201), 2)),
    integerHalves: await code(() => w.matvecI8(new Uint16Array(100))),
    signedHalves: await code(() => w.matvec(new Int16Array(100))),
    array: await code(() => w.matvec(Array.from(x))),
    nothing: await code(() => w.matvec(undefined)),
    nanHalves: String((await w.matvec(new Uint16Array(100).fill(0x7e00))).every(Number.isNaN)),
    nan: String((await w.matvec(x.fill(NaN))).every(Number.isNaN)),
    ...badEncodes(gpu, w), destroyed: '', destroyedHalves: '',
  };
  w.destroy();
  found.destroyed = await code(() => w.matvec(x));
  found.destroyedHalves = await code(() => w.matvec(new Uint16Array(100)));
  return found;
}

/**
 * Bad dtypes for products whose vectors lie on the GPU: each fails before anything is recorded.
 * @param {any} gpu @param {any} w not prepared for F16 @returns {Record<string, string>}
 */
export function badEncodes(gpu, w) {
  if (!w.products) return {};
  const code = (/** @type {any} */ argument) => {
    try {
      const all = { x: {}, y: {}, ...argument };
      if (gpu.kind === 'webgpu') w.products.encode({}, all);
      else w.products.encode(all);
      return 'none';
    } catch (error) {
      return /** @type {any} */ (error).code;
    }
  };
  return {
    xDtype: code({ xDtype: 'BF16' }), integerXDtype: code({ xDtype: 'F16', integer: true }),
  };
}

export const BAD_ENCODES = { xDtype: 'HANSEL_ERR_DTYPE', integerXDtype: 'HANSEL_ERR_DTYPE' };

export const BAD_PRODUCTS = {
  short: 'HANSEL_ERR_ARGUMENT', long: 'HANSEL_ERR_ARGUMENT', type: 'HANSEL_ERR_ARGUMENT',
  integerType: 'HANSEL_ERR_ARGUMENT', batch: 'HANSEL_ERR_ARGUMENT', noBatch: 'HANSEL_ERR_ARGUMENT',
  shortHalves: 'HANSEL_ERR_ARGUMENT', longHalves: 'HANSEL_ERR_ARGUMENT',
  integerHalves: 'HANSEL_ERR_ARGUMENT', signedHalves: 'HANSEL_ERR_ARGUMENT',
  array: 'HANSEL_ERR_ARGUMENT', nothing: 'HANSEL_ERR_ARGUMENT', nanHalves: 'true',
  bias: 'HANSEL_ERR_ARGUMENT', nan: 'true', destroyed: 'HANSEL_ERR_DESTROYED',
  destroyedHalves: 'HANSEL_ERR_DESTROYED',
};

/** One case of each way that weights are stored, small. */
export const SHORT = /** @type {Partial<import('./cases.js').Case>[]} */ ([
  { options: { streamLength: 256 } },
  { distribution: 'int4', options: { weightsPerSymbol: 2 } },
  { distribution: 'ternary', options: { weightsPerSymbol: 4 } },
  { distribution: 'one' },
  { dtype: 'F32', options: { step: 0.125 } },
  { dtype: 'BF16', options: { lossless: true } },
]);

/** Symbols, values and products of SHORT. @param {any} gpu */
export async function checkShort(gpu) {
  const all = SHORT.map((part, i) => ({
    dtype: 'I8', shape: [37, 301], distribution: 'gauss', sigma: 4, seed: 83 * i + 5, options: {},
    ...part,
  }));
  const { count, problems } = await checkProducts(gpu, all);
  for (const c of all) problems.push(...await checkFile(gpu, await caseFile(c)));
  return { count, problems };
}
