/** Conformance of products on matrices that are not coded, in a page or in Node. */
import { convert } from '../../web/core/convert.js';
import { typedArray } from '../../web/core/dtypes.js';
import { encode, open } from '../../web/hansel.js';
import {
  GlPlainMatrix, PlainMatrix, WasmPlainMatrix, loadPlain,
} from '../../web/plain.js';
import { forAll, random } from './cases.js';

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

/**
 * Vectors for a matrix, and what it makes of them: each reckoned once, for all layouts and pitches.
 * @param {ArrayLike<number>} values @param {number} rows @param {number} columns @param {number} seed
 */
function references(values, rows, columns, seed) {
  const r = random(seed);
  const jobs = [1, 3, 4, 5].map((batch) => ({
    batch, x: Float32Array.from({ length: batch * columns }, r.gauss),
    bias: batch === 3 ? undefined : Float32Array.from({ length: rows }, r.gauss),
    /** @type {Map<number, Float64Array>} */
    products: new Map(),
  }));
  /** @type {{x: Int8Array, y: Float64Array} | null} */
  let exact = null;
  return {
    jobs,
    /** @param {jobs[0]} job @param {number} scale of the weights */
    floats({ x, batch, bias, products }, scale) {
      if (!products.has(scale)) {
        products.set(scale, product(Float64Array.from(values, (v) => v * scale), rows, x, batch, bias));
      }
      return /** @type {Float64Array} */ (products.get(scale));
    },
    integers() {
      if (!exact) {
        const x = Int8Array.from({ length: columns }, () => Math.floor(256 * r.next()) - 128);
        exact = { x, y: product(values, rows, x, 1) };
      }
      return exact;
    },
  };
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
 * A matrix in memory of ours on this back end, and what frees it.
 * @param {any} gpu @param {Uint8Array} bytes @param {any} description
 */
function ownMatrix(gpu, bytes, description) {
  if (gpu.kind === 'webgpu') {
    const { STORAGE, COPY_SRC } = GPUBufferUsage;
    const buffer = gpu.filled(bytes, STORAGE | COPY_SRC, 'test');
    return { w: PlainMatrix.fromBuffer(gpu, { ...description, buffer }), free: () => gpu.free(buffer) };
  }
  const words = new Uint32Array(4 * Math.ceil(bytes.length / 16));
  new Uint8Array(words.buffer).set(bytes);
  const texture = gpu.array(words.length / 4, gpu.gl.RGBA32UI);
  gpu.write(texture, 4, 0, words);
  return { w: GlPlainMatrix.fromTexture(gpu, { ...description, texture }), free: () => gpu.free(texture) };
}

/** Bytes that a row and its part may have. @param {any} gpu */
const roomOf = (gpu) => ({
  webgpu: () => [gpu.bindingBytes, gpu.bindingBytes], wasm: () => [Infinity, Infinity],
  webgl: () => [4 * gpu.arrayTexels - 16, 16 * gpu.arrayTexels],
}[/** @type {'wasm'} */ (gpu.kind)]());

/**
 * Every shape, dtype and layout: float products within 1e-5 of float64, integer ones exact, decoded
 * values the file's.
 * @param {any} gpu a back end @param {string[]} [dtypes]
 */
export async function checkPlain(gpu, dtypes = DTYPES) {
  /** @type {string[]} */
  const problems = [];
  let count = 0;
  let worst = 0;
  let parts = 0;
  const [rowRoom, room] = roomOf(gpu);
  const check = async (/** @type {any} */ w, /** @type {any} */ values,
    /** @type {string} */ what, /** @type {ReturnType<typeof references>} */ expected) => {
    for (const job of expected.jobs) {
      const { x, batch, bias } = job;
      const got = await w.matmul(x, batch, { bias });
      const again = batch === 3 ? await w.matmul(x, batch, { bias }) : got;
      const error = normError(got, expected.floats(job, w.scale));
      worst = Math.max(worst, error);
      count++;
      if (!(error < 1e-5)) problems.push(`${what} batch ${batch}: error ${error}`);
      if (got.some((y, i) => y !== again[i])) problems.push(`${what}: not deterministic`);
    }
    if (w.dtype === 'I8') {
      const { x, y: exact } = expected.integers();
      const got = await w.matvecI8(x);
      count++;
      const at = exact.findIndex((y, i) => y !== got[i]);
      if (at >= 0) problems.push(`${what}: integer row ${at} is ${got[at]}`);
    }
    const decoded = await w.decode();
    if (decoded.length !== values.length || !values.every((/** @type {number} */ v,
      /** @type {number} */ i) => v === decoded[i])) problems.push(`${what}: decode() differs`);
    w.destroy();
  };
  const jobs = [...SHAPES, ...LARGE].flatMap((shape, i) => dtypes.map((dtype, k) => (
    { shape, i, dtype, k })));
  await forAll(jobs, async ({ shape, i, dtype, k }) => {
    const [rows, columns] = shape;
    const isLarge = i >= SHAPES.length;
    if (isLarge && dtype !== (columns > 100000 ? 'BF16' : 'I8')) return;
    const { data, values } = makeWeights(dtype, rows * columns, random(100 * i + k + 1),
      columns === TINY);
    const model = await open(await encode({ w: { dtype, shape, data } }, { exclude: /w/ }));
    const rowBytes = columns * BYTES[dtype];
    if (rowBytes > rowRoom) return;
    const expected = references(values, rows, columns, 10 * i + k);
    const layouts = /** @type {const} */ (['group', 'invocation']);
    for (const layout of gpu.kind === 'wasm' ? [undefined] : layouts) {
      const w = await (layout ? loadPlain(gpu, model, 'w', { layout }) : gpu.load(model, 'w'));
      parts = Math.max(parts, w.parts?.length ?? 1);
      const verdict = await w.verify();
      if (!verdict.ok) problems.push(`verify: ${JSON.stringify(verdict)}`);
      const half = dtype === 'I8' ? undefined : 'F16';
      const [a, b] = [await w.decode({ dtype: half }), await model.decode('w', { dtype: half })];
      if (a.some((/** @type {number} */ v, /** @type {number} */ at) => v !== b[at])) {
        problems.push(`${dtype} ${shape}: decode() to ${half} differs`);
      }
      await check(w, values, `${dtype} ${shape} ${layout}`, expected);
      // In turn: 4 bytes more than needed, and 16-byte rows.
      const unit = (i + k) % 2 ? 4 : 16;
      const rowPitch = Math.ceil(rowBytes / unit) * unit + unit;
      const bytes = spaced(new Uint8Array(data.buffer), rowBytes, rowPitch);
      if (isLarge || bytes.length > room || gpu.kind === 'wasm') continue;
      const { w: own, free } = ownMatrix(gpu, bytes,
        { dtype, rows, columns, rowPitch, layout, scale: 0.75 });
      await check(own, values, `${dtype} ${shape} ${layout} pitch ${rowPitch}`, expected);
      free();
    }
  });
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

/** Like checkDecoded, on WebGL2. @param {any} gpu @returns {Promise<string[]>} what is wrong */
export async function checkDecodedTexture(gpu) {
  const [rows, columns, batch] = [50, 333, 6];
  const r = random(6);
  const data = Int8Array.from({ length: rows * columns }, () => Math.round(4 * r.gauss()));
  const model = await open(await encode({ w: { dtype: 'I8', shape: [rows, columns], data } }));
  const coded = await gpu.load(model, 'w');
  await coded.decodeOnGpu();
  const w = GlPlainMatrix.fromTexture(gpu, { texture: coded.texture, dtype: 'I8', rows, columns });
  const [xOffset, xStride, yOffset, yStride] = [8, 90, 5, 16]; // texels
  const x = new Float32Array(4 * (xOffset + batch * xStride));
  const packed = new Float32Array(batch * columns);
  for (let v = 0; v < batch; v++) {
    for (let c = 0; c < columns; c++) {
      x[4 * (xOffset + v * xStride) + c] = packed[v * columns + c] = r.gauss();
    }
  }
  const bias = Float32Array.from({ length: rows }, r.gauss);
  const scratch = [w.products.input(x, 1, x.length), gpu.array(yOffset + batch * yStride,
    gpu.gl.RGBA32UI), w.products.input(bias, 1, rows)];
  await w.products.prepare(false);
  w.products.encode({
    x: scratch[0], y: scratch[1], xOffset, xStride, yOffset, yStride, batch, bias: scratch[2],
  });
  const words = await gpu.readArray(scratch[1], 0, yOffset + batch * yStride);
  const y = new Float32Array(words.buffer, words.byteOffset, words.length);
  const problems = [];
  const expected = product(data, rows, packed, batch, bias);
  for (let v = 0; v < batch; v++) {
    const at = 4 * (yOffset + v * yStride);
    const error = normError(y.subarray(at, at + rows), expected.subarray(v * rows, (v + 1) * rows));
    if (!(error < 1e-5)) problems.push(`vector ${v}: error ${error}`);
    if (y[at + rows] !== 0) problems.push(`something after vector ${v}`);
  }
  w.destroy();
  const after = await coded.symbols();
  if (after.some((/** @type {number} */ q, /** @type {number} */ i) => q !== data[i])) {
    problems.push('destroy() took the texture');
  }
  coded.destroy();
  for (const texture of scratch) gpu.free(texture);
  return problems;
}

/** load() of every kind of tensor, one interface. @param {any} gpu @returns {Promise<string[]>} */
export async function checkLoad(gpu) {
  const r = random(8);
  const norm = Float32Array.from({ length: 700 }, r.gauss);
  const matrix = Float32Array.from({ length: 33 * 70 }, r.gauss);
  const bytes = (/** @type {string} */ dtype) => typedArray(dtype, /** @type {ArrayBuffer} */ (
    convert(new Uint8Array(matrix.buffer), 'F32', dtype).slice().buffer));
  const tensors = {
    norm: { dtype: 'F32', shape: [700], data: norm },
    scalar: { dtype: 'F32', shape: [], data: Float32Array.of(3) },
    empty: { dtype: 'F32', shape: [0, 5], data: new Float32Array(0) },
    f32: { dtype: 'F32', shape: [33, 70], data: matrix },
    f16: { dtype: 'F16', shape: [33, 70], data: bytes('F16') },
    bf16: { dtype: 'BF16', shape: [3, 11, 70], data: bytes('BF16') },
    i8: { dtype: 'I8', shape: [33, 70], data: new Int8Array(matrix.map((v) => 40 * v)) },
    coded: { dtype: 'I8', shape: [33, 70], data: new Int8Array(matrix.map((v) => 4 * v)) },
  };
  const model = await open(await encode(tensors, { exclude: /^(?!coded)/, always: true }));
  const problems = [];
  for (const [name, { dtype }] of Object.entries(tensors)) {
    const progress = /** @type {number[]} */ ([]);
    const w = await gpu.load(model, name, {
      onProgress: (/** @type {any} */ { done, total }) => progress.push(done / total),
    });
    const say = (/** @type {string} */ what) => problems.push(`${name}: ${what}`);
    const { rows, columns } = w;
    const values = await model.decode(name, dtype === 'I8' ? {} : { dtype: 'F32' });
    if (rows * columns !== values.length) say(`${rows} x ${columns}`);
    if (values.length && progress[progress.length - 1] !== 1) say(`progress ${progress}`);
    const x = Float32Array.from({ length: 2 * columns }, r.gauss);
    const got = await w.matmul(x, 2);
    if (!(normError(got, product(values, rows, x, 2)) < 1e-5)) say('matmul()');
    const one = await w.matvec(x.subarray(0, columns), { bias: new Float32Array(rows).fill(2) });
    const biased = product(values, rows, x.subarray(0, columns), 1, new Float32Array(rows).fill(2));
    if (!(normError(one, biased) < 1e-5)) say('matvec()');
    const decoded = await w.decode();
    if (decoded.length !== values.length
      || decoded.some((/** @type {number} */ v, /** @type {number} */ i) => v !== values[i])) {
      say('decode()');
    }
    if (!(await w.verify()).ok) say('verify()');
    const bytesOf = new Int8Array(columns).map((_, i) => i * 7);
    const integer = await w.matvecI8(bytesOf).then(
      (/** @type {Int32Array} */ y) => String(y), (/** @type {any} */ e) => e.code);
    const exact = dtype === 'I8' ? String(product(values, rows, bytesOf, 1)) : 'HANSEL_ERR_DTYPE';
    if (integer !== exact) say(`matvecI8() gave ${integer}`);
    w.destroy();
  }
  return problems;
}

/** What bad input gives. @param {any} gpu a back end */
export async function badPlain(gpu) {
  const data = new Int8Array(6400).map((_, i) => i * i % 11);
  const tensor = { dtype: 'I8', shape: [64, 100], data };
  const u8 = { ...tensor, dtype: 'U8' };
  const floats = { dtype: 'F32', shape: [64, 100], data: new Float32Array(6400).fill(0.1) };
  const model = await open(await encode({ w: tensor, u8, floats, coded: tensor },
    { exclude: /w|u8|floats/ }));
  const code = (/** @type {() => any} */ body) => Promise.resolve().then(body)
    .then(() => 'none', (e) => e.code);
  const w = await gpu.load(model, 'w');
  const f = await gpu.load(model, 'floats');
  const x = new Float32Array(100);
  const aborted = AbortSignal.abort();
  const found = {
    short: await code(() => w.matvec(new Float32Array(99))),
    type: await code(() => w.matvec(new Float64Array(100))),
    shortHalves: await code(() => w.matvec(new Uint16Array(99))),
    integerHalves: await code(() => w.matvecI8(new Uint16Array(100))),
    batch: await code(() => w.matmul(new Float32Array(6500), 65)),
    bias: await code(() => w.matvec(x, { bias: new Float32Array(63) })),
    floatsAsIntegers: await code(() => f.matvecI8(new Int8Array(100))),
    coded: await code(() => loadPlain(gpu, model, 'coded')),
    dtype: await code(() => gpu.load(model, 'u8')),
    missing: await code(() => gpu.load(model, 'none')),
    aborted: await code(() => gpu.load(model, 'w', { signal: aborted })),
    form: await code(() => gpu.load(model, 'w', { as: 'none' })),
    codedForm: await code(() => gpu.load(model, 'coded', { as: 'none' })),
    recoder: await code(() => gpu.load(model, 'coded', { recode: 'none' })),
    target: await code(() => w.decode({ dtype: 'F16' })),
    symbols: await code(() => f.symbols()),
    nan: String((await w.matvec(new Float32Array(100).fill(NaN))).every(Number.isNaN)),
    nanHalves: String((await w.matvec(new Uint16Array(100).fill(0x7e00))).every(Number.isNaN)),
    ...await badOwn(gpu, code), destroyed: '', destroyedIntegers: '', destroyedDecode: '',
    destroyedEncode: '',
  };
  w.destroy();
  f.destroy();
  found.destroyed = await code(() => w.matvec(x));
  found.destroyedIntegers = await code(() => w.matvecI8(new Int8Array(100)));
  found.destroyedDecode = await code(() => w.decode());
  found.destroyedEncode = !w.products ? 'HANSEL_ERR_DESTROYED' : await code(() => (
    gpu.kind === 'webgpu' ? w.products.encode({}, { x: {}, y: {} })
      : w.products.encode({ x: {}, y: {} })));
  return found;
}

/** Matrices in memory of ours. @param {any} gpu
 * @param {(body: () => any) => Promise<string>} code */
async function badOwn(gpu, code) {
  const plain = { dtype: 'I8', rows: 64, columns: 100 };
  if (gpu.kind === 'wasm') {
    const model = await open(await encode({}));
    return {
      small: await code(() => new WasmPlainMatrix(model.codec, new Uint8Array(6399), plain)),
    };
  }
  const isGl = gpu.kind === 'webgl';
  const buffer = isGl ? gpu.array(400, gpu.gl.RGBA32UI)
    : gpu.buffer(6400, GPUBufferUsage.STORAGE, 'test');
  const make = (/** @type {any} */ description) => (isGl
    ? GlPlainMatrix.fromTexture(gpu, { ...plain, texture: buffer, ...description })
    : PlainMatrix.fromBuffer(gpu, { ...plain, buffer, ...description }));
  const encodeOn = (/** @type {any} */ w, /** @type {any} */ argument) => (isGl
    ? w.products.encode(argument) : w.products.encode(null, argument));
  const own = make({});
  const found = {
    small: await code(() => make({ rows: isGl ? 2 ** 40 : 65 })),
    pitch: await code(() => make({ rows: 60, rowPitch: 102 })),
    narrow: await code(() => make({ rowPitch: 96 })),
    noDtype: await code(() => make({ dtype: 'U8' })),
    unprepared: await code(() => encodeOn(own, { x: buffer, y: {} })),
    xDtype: await code(() => encodeOn(own, { x: buffer, y: {}, xDtype: 'BF16' })),
    unpreparedHalves: await code(() => encodeOn(own, { x: buffer, y: {}, xDtype: 'F16' })),
  };
  own.destroy();
  gpu.free(buffer);
  return found;
}

const BAD_COMMON = {
  short: 'HANSEL_ERR_ARGUMENT', type: 'HANSEL_ERR_ARGUMENT', shortHalves: 'HANSEL_ERR_ARGUMENT',
  integerHalves: 'HANSEL_ERR_ARGUMENT', batch: 'HANSEL_ERR_ARGUMENT', bias: 'HANSEL_ERR_ARGUMENT',
  floatsAsIntegers: 'HANSEL_ERR_DTYPE', coded: 'HANSEL_ERR_DTYPE', dtype: 'HANSEL_ERR_DTYPE',
  missing: 'HANSEL_ERR_TENSOR', aborted: 'HANSEL_ERR_ABORTED', target: 'HANSEL_ERR_DTYPE',
  form: 'HANSEL_ERR_ARGUMENT', codedForm: 'HANSEL_ERR_ARGUMENT', recoder: 'HANSEL_ERR_ARGUMENT',
  symbols: 'HANSEL_ERR_DTYPE', nan: 'true', nanHalves: 'true', small: 'HANSEL_ERR_ARGUMENT',
  destroyed: 'HANSEL_ERR_DESTROYED', destroyedIntegers: 'HANSEL_ERR_DESTROYED',
  destroyedDecode: 'HANSEL_ERR_DESTROYED', destroyedEncode: 'HANSEL_ERR_DESTROYED',
};
const BAD_GPU = {
  ...BAD_COMMON, pitch: 'HANSEL_ERR_ARGUMENT', narrow: 'HANSEL_ERR_ARGUMENT',
  noDtype: 'HANSEL_ERR_DTYPE', unprepared: 'HANSEL_ERR_ARGUMENT', xDtype: 'HANSEL_ERR_DTYPE',
  unpreparedHalves: 'HANSEL_ERR_ARGUMENT',
};
/** What badPlain() must give, by kind. */
export const BAD_PLAIN = {
  wasm: BAD_COMMON, webgpu: BAD_GPU, webgl: { ...BAD_GPU, small: 'HANSEL_ERR_LIMIT' },
};
