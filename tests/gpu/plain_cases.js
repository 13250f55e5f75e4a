/** Conformance of products on matrices that are not coded, in a page or in Node. */
import { encode, open } from '../../web/hansel.js';
import { convert } from '../../web/convert.js';
import { typedArray } from '../../web/floats.js';
import { PlainMatrix, loadPlain } from '../../web/plain.js';
import { random } from './cases.js';

const SHAPES = [[64, 1024], [37, 1001], [1, 4096], [513, 1], [333, 3], [131, 126], [5, 20011],
  [70, 16], [9, 17], [66, 60]];
/** Rows that the reader's chunks of 2^20 bytes cut, at odd bytes too. */
const LARGE = [[20, 60001], [3, 300001]];
/** Columns of the shape whose floats are all tiny: halves become subnormal. */
const TINY = 16;
const DTYPES = ['I8', 'F32', 'F16', 'BF16'];
const BYTES = /** @type {Record<string, number>} */ ({ I8: 1, F32: 4, F16: 2, BF16: 2 });

/** Weights of a dtype, and what they are worth. @param {string} dtype @param {number} count
 * @param {ReturnType<typeof random>} r @param {boolean} [isTiny] */
function makeWeights(dtype, count, r, isTiny = false) {
  if (dtype === 'I8') {
    const data = Int8Array.from({ length: count }, () => Math.floor(256 * r.next()) - 128);
    return { data, values: data };
  }
  const floats = Float32Array.from({ length: count }, r.gauss);
  for (let i = 0; i < count; i++) floats[i] *= i % 7 === 0 ? 0 : isTiny ? 2 ** -16 : 1;
  const bytes = convert(new Uint8Array(floats.buffer), 'F32', dtype);
  const own = (/** @type {Uint8Array} */ b) => /** @type {ArrayBuffer} */ (b.slice().buffer);
  const values = typedArray('F32', own(convert(bytes, dtype, 'F32')));
  return { data: typedArray(dtype, own(bytes)), values };
}

/** In float64. @param {ArrayLike<number>} w @param {number} rows @param {ArrayLike<number>} x
 * @param {number} batch @param {ArrayLike<number>} [bias] */
function product(w, rows, x, batch, bias) {
  const columns = x.length / batch;
  return Float64Array.from({ length: rows * batch }, (_, i) => {
    const row = i % rows;
    const vector = Math.floor(i / rows);
    let sum = bias ? bias[row] : 0;
    for (let c = 0; c < columns; c++) sum += w[row * columns + c] * x[vector * columns + c];
    return sum;
  });
}

/** @param {ArrayLike<number>} got @param {Float64Array} expected */
function normError(got, expected) {
  let error = 0;
  let norm = 0;
  expected.forEach((y, i) => {
    error += (y - got[i]) ** 2;
    norm += y * y;
  });
  return got.length === expected.length ? Math.sqrt(error / (norm || 1)) : Infinity;
}

/** The same bytes with another pitch, and garbage between the rows: NaN as any float.
 * @param {Uint8Array} bytes @param {number} rowBytes @param {number} pitch */
function spaced(bytes, rowBytes, pitch) {
  const rows = bytes.length / rowBytes;
  const out = new Uint8Array(rows * pitch).fill(255);
  for (let r = 0; r < rows; r++) {
    out.set(bytes.subarray(r * rowBytes, (r + 1) * rowBytes), r * pitch);
  }
  return out;
}

/**
 * Every shape, dtype and layout: float products within 1e-5 of float64, integer ones exact.
 * @param {import('../../web/webgpu.js').WebGpu} gpu @param {string[]} [dtypes]
 */
export async function checkPlain(gpu, dtypes = DTYPES) {
  /** @type {string[]} */
  const problems = [];
  let count = 0;
  let worst = 0;
  let parts = 0;
  const check = async (/** @type {PlainMatrix} */ w, /** @type {any} */ values,
    /** @type {string} */ what, /** @type {number} */ seed) => {
    const { rows, columns, scale } = w;
    const r = random(seed);
    const scaled = Float64Array.from(values, (v) => v * scale);
    for (const batch of [1, 3, 4, 5]) {
      const x = Float32Array.from({ length: batch * columns }, r.gauss);
      const bias = batch === 3 ? undefined : Float32Array.from({ length: rows }, r.gauss);
      const got = await w.matmul(x, batch, { bias });
      const again = await w.matmul(x, batch, { bias });
      const error = normError(got, product(scaled, rows, x, batch, bias));
      worst = Math.max(worst, error);
      count++;
      if (!(error < 1e-5)) problems.push(`${what} batch ${batch}: error ${error}`);
      if (got.some((y, i) => y !== again[i])) problems.push(`${what}: not deterministic`);
    }
    if (w.dtype === 'I8') {
      const x = Int8Array.from({ length: columns }, () => Math.floor(256 * r.next()) - 128);
      const got = await w.matvecI8(x);
      count++;
      const at = product(values, rows, x, 1).findIndex((y, i) => y !== got[i]);
      if (at >= 0) problems.push(`${what}: integer row ${at} is ${got[at]}`);
    }
    w.destroy();
  };
  for (const [i, shape] of [...SHAPES, ...LARGE].entries()) {
    const [rows, columns] = shape;
    const isLarge = i >= SHAPES.length;
    for (const [k, dtype] of dtypes.entries()) {
      if (isLarge && dtype !== (columns > 100000 ? 'BF16' : 'I8')) continue;
      const { data, values } = makeWeights(dtype, rows * columns, random(100 * i + k + 1),
        columns === TINY);
      const model = await open(await encode({ w: { dtype, shape, data } }, { exclude: /w/ }));
      const rowBytes = columns * BYTES[dtype];
      if (rowBytes > gpu.bindingBytes) continue;
      for (const layout of /** @type {const} */ (['group', 'invocation'])) {
        const w = await loadPlain(gpu, model, 'w', { layout });
        parts = Math.max(parts, w.parts.length);
        await check(w, values, `${dtype} ${shape} ${layout}`, 10 * i + k);
        // Twice: 4 bytes more than needed, and 16-byte rows.
        for (const unit of [4, 16]) {
          const rowPitch = Math.ceil(rowBytes / unit) * unit + unit;
          const bytes = spaced(new Uint8Array(data.buffer), rowBytes, rowPitch);
          if (isLarge || bytes.length > gpu.bindingBytes) continue;
          const buffer = gpu.filled(bytes, GPUBufferUsage.STORAGE, 'test');
          await check(PlainMatrix.fromBuffer(gpu, {
            buffer, dtype, rows, columns, rowPitch, layout, scale: 0.75,
          }), values, `${dtype} ${shape} ${layout} pitch ${rowPitch}`, 10 * i + k);
          gpu.free(buffer);
        }
      }
    }
  }
  return { count, problems, worst, parts };
}

/** A decoded matrix without a copy, and encode() with offsets, strides and a bias.
 * @param {import('../../web/webgpu.js').WebGpu} gpu @returns {Promise<string[]>} what is wrong */
export async function checkDecoded(gpu) {
  const [rows, columns, batch] = [50, 333, 3];
  const r = random(5);
  const data = Int8Array.from({ length: rows * columns }, () => Math.round(4 * r.gauss()));
  const model = await open(await encode({ w: { dtype: 'I8', shape: [rows, columns], data } }));
  const coded = await gpu.load(model, 'w');
  await coded.decodeOnGpu();
  const w = PlainMatrix.fromBuffer(gpu, { buffer: coded.buffer, dtype: 'I8', rows, columns });
  const [xOffset, xStride, yOffset, yStride] = [8, 340, 5, 61];
  const x = new Float32Array(xOffset + batch * xStride);
  const packed = new Float32Array(batch * columns);
  for (let v = 0; v < batch; v++) {
    for (let c = 0; c < columns; c++) {
      x[xOffset + v * xStride + c] = packed[v * columns + c] = r.gauss();
    }
  }
  const bias = Float32Array.from({ length: rows }, r.gauss);
  const { STORAGE, COPY_SRC } = GPUBufferUsage;
  const scratch = [gpu.filled(x, STORAGE, 'x'), gpu.buffer(4 * 200, STORAGE | COPY_SRC, 'y'),
    gpu.filled(bias, STORAGE, 'bias')];
  await w.products.prepare(false);
  const encoder = gpu.device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  w.products.encode(pass, {
    x: scratch[0], y: scratch[1], xOffset, xStride, yOffset, yStride, batch, bias: scratch[2],
  });
  pass.end();
  gpu.device.queue.submit([encoder.finish()]);
  const y = new Float32Array((await gpu.read(scratch[1], 0, 800)).buffer);
  const problems = [];
  const expected = product(data, rows, packed, batch, bias);
  for (let v = 0; v < batch; v++) {
    const got = y.subarray(yOffset + v * yStride, yOffset + v * yStride + rows);
    const error = normError(got, expected.subarray(v * rows, (v + 1) * rows));
    if (!(error < 1e-5)) problems.push(`vector ${v}: error ${error}`);
    if (y[yOffset + v * yStride + rows] !== 0) problems.push(`something after vector ${v}`);
  }
  w.destroy();
  const after = await coded.symbols();
  if (after.some((q, i) => q !== data[i])) problems.push('destroy() took the buffer');
  coded.destroy();
  for (const buffer of scratch) gpu.free(buffer);
  return problems;
}

/** What bad input gives. @param {import('../../web/webgpu.js').WebGpu} gpu */
export async function badPlain(gpu) {
  const data = new Int8Array(6400).map((_, i) => i * i % 11);
  const tensor = { dtype: 'I8', shape: [64, 100], data };
  const u8 = { ...tensor, dtype: 'U8' };
  const floats = { dtype: 'F32', shape: [64, 100], data: new Float32Array(6400).fill(0.1) };
  const model = await open(await encode({ w: tensor, u8, floats, coded: tensor },
    { exclude: /w|u8|floats/ }));
  const code = (/** @type {() => any} */ body) => Promise.resolve().then(body)
    .then(() => 'none', (e) => e.code);
  const w = await loadPlain(gpu, model, 'w');
  const f = await loadPlain(gpu, model, 'floats');
  const x = new Float32Array(100);
  const buffer = gpu.buffer(6400, GPUBufferUsage.STORAGE, 'test');
  const plain = { buffer, dtype: 'I8', rows: 64, columns: 100 };
  const aborted = AbortSignal.abort();
  const found = {
    short: await code(() => w.matvec(new Float32Array(99))),
    type: await code(() => w.matvec(/** @type {any} */ (new Float64Array(100)))),
    batch: await code(() => w.matmul(new Float32Array(6500), 65)),
    bias: await code(() => w.matvec(x, { bias: new Float32Array(63) })),
    floatsAsIntegers: await code(() => f.matvecI8(new Int8Array(100))),
    coded: await code(() => loadPlain(gpu, model, 'coded')),
    dtype: await code(() => loadPlain(gpu, model, 'u8')),
    missing: await code(() => loadPlain(gpu, model, 'none')),
    aborted: await code(() => loadPlain(gpu, model, 'w', { signal: aborted })),
    small: await code(() => PlainMatrix.fromBuffer(gpu, { ...plain, rows: 65 })),
    pitch: await code(() => PlainMatrix.fromBuffer(gpu, { ...plain, rows: 60, rowPitch: 102 })),
    narrow: await code(() => PlainMatrix.fromBuffer(gpu, { ...plain, rowPitch: 96 })),
    unprepared: await code(() => PlainMatrix.fromBuffer(gpu, plain).products
      .encode(/** @type {any} */ (null), { x: buffer, y: buffer })),
    destroyed: '',
  };
  w.destroy();
  f.destroy();
  found.destroyed = await code(() => w.matvec(x));
  gpu.free(buffer);
  return found;
}

export const BAD_PLAIN = {
  short: 'HANSEL_ERR_ARGUMENT', type: 'HANSEL_ERR_ARGUMENT', batch: 'HANSEL_ERR_ARGUMENT',
  bias: 'HANSEL_ERR_ARGUMENT', floatsAsIntegers: 'HANSEL_ERR_DTYPE', coded: 'HANSEL_ERR_DTYPE',
  dtype: 'HANSEL_ERR_DTYPE', missing: 'HANSEL_ERR_TENSOR', aborted: 'HANSEL_ERR_ABORTED',
  small: 'HANSEL_ERR_ARGUMENT', pitch: 'HANSEL_ERR_ARGUMENT', narrow: 'HANSEL_ERR_ARGUMENT',
  unprepared: 'HANSEL_ERR_ARGUMENT', destroyed: 'HANSEL_ERR_DESTROYED',
};
