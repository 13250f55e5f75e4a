/** The API: what encode() writes, open() reads back; and nothing damaged passes. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { RandomState } from '../../web/cli/sample.js';
import { serve } from '../../web/cli/serve.js';
import { convert } from '../../web/core/convert.js';
import { Encoder } from '../../web/core/encoder.js';
import { CODES, STATUS } from '../../web/core/errors.js';
import { encodeTo, memorySpool } from '../../web/encode/encode.js';
import { dtypeBits, readHeader } from '../../web/file/safetensors.js';
import { buildHeader, stampHeader } from '../../web/file/write_header.js';
import { HanselError, encode, open } from '../../web/hansel.js';

const TRAINED = new URL('../../build/licence-llama.safetensors', import.meta.url);
const ALL_CODES = new Set([...STATUS, ...Object.keys(CODES)]);
const SLICE = 262144; // weights coded at a time

const count = (shape) => shape.reduce((n, extent) => n * extent, 1);
const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const same = (a, b) => Buffer.compare(bytesOf(a), bytesOf(b)) === 0;

/** Normally distributed F32. */
function gaussian(n, { seed = 1, sigma = 1 } = {}) {
  const random = new RandomState(seed);
  return Float32Array.from({ length: n }, () => sigma * random.gauss());
}

const f32 = (shape, data = gaussian(count(shape))) => ({ dtype: 'F32', shape, data });

/** The same weights in another float dtype. */
function as(dtype, { shape, data }) {
  const bytes = convert(bytesOf(data), 'F32', dtype);
  return { dtype, shape, data: bytes };
}

/** encode(), and what became of each tensor. */
async function encodeWithReports(tensors, options = {}) {
  const inputs = Object.entries(tensors).map(([name, { dtype, shape, data }]) => ({
    name, dtype, shape, read: async (start, end) => bytesOf(data).subarray(start, end),
  }));
  const { reports } = await encodeTo(inputs, options, {
    data: memorySpool(), payload: memorySpool(),
  });
  return { file: await encode(tensors, options), reports };
}

/** Every tensor decoded and verified; the model stays open. */
async function readAll(file, options) {
  const model = await open(file, options);
  const result = new Map();
  for (const name of model.tensors.keys()) {
    await model.verify(name);
    result.set(name, await model.decode(name));
  }
  return { model, result };
}

/** sqrt(sum (a - b)^2 / sum b^2). */
function relativeError(a, b) {
  let square = 0;
  let energy = 0;
  for (let i = 0; i < b.length; i++) {
    square += (a[i] - b[i]) ** 2;
    energy += b[i] ** 2;
  }
  return Math.sqrt(square / energy);
}

function roundHalfEven(x) {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The index of a weight on a grid, in binary32 arithmetic. */
const gridIndex = (w, step) => Math.max(-128, Math.min(127,
  roundHalfEven(Math.fround(w / Math.fround(step)))));

/** binary16 to a number, by assembling binary32 bits. */
function halfValue(half) {
  const sign = half >>> 15;
  let exponent = half >>> 10 & 31;
  let fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign ? -Infinity : Infinity;
  if (exponent === 0) {
    if (fraction === 0) return sign ? -0 : 0;
    for (exponent = 1; fraction < 1024; exponent--) fraction *= 2;
    fraction -= 1024;
  }
  return fromBits((sign << 31 | exponent + 112 << 23 | fraction << 13) >>> 0);
}

const word = new DataView(new ArrayBuffer(4));
function fromBits(bits) {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}
function toBits(value) {
  word.setFloat32(0, value);
  return word.getUint32(0);
}

const SHAPES = [
  [], [0], [3, 0], [0, 3], [1], [1, 1], [5003], [4099], [1, 5003], [5003, 1], [3, 4099],
  [127, 131], [61, 67], [64, 64], [5, 7, 11, 13], [2, 3, 2, 3, 2, 3, 2, 17],
  [1, 1, 1, 1, 1, 1, 1, 4801],
  [2, 2, 2, 2, 2, 2, 2, 2, 16], [3, 1000, 2], [1030, 5],
];

describe('round trips', function () {
  this.timeout(60000);

  for (const dtype of ['F32', 'F16', 'BF16']) {
    it(`${dtype} on a grid and without loss, in every shape`, async () => {
      const tensors = Object.fromEntries(SHAPES.map((shape, i) => [`t${i} ${shape}`,
        dtype === 'F32' ? f32(shape, gaussian(count(shape), { seed: i }))
          : as(dtype, f32(shape, gaussian(count(shape), { seed: i })))]));
      const step = 0.07;
      const grid = await readAll(await encode(tensors, { step }));
      const lossless = await readAll(await encode(tensors));
      for (const [name, { shape, data }] of Object.entries(tensors)) {
        const isCoded = count(shape) > 4000 && shape.length <= 8;
        const is = (/** @type {string} */ mode) => (isCoded ? mode : 'pass-through');
        const weights = count(shape);
        for (const { model, result } of [grid, lossless]) {
          const tensor = model.tensor(name);
          assert.deepEqual(tensor.shape, shape, name);
          assert.equal(tensor.dtype, dtype, name);
          assert.equal(tensor.weights, weights, name);
          assert.equal(result.get(name).length, weights, name);
          assert.equal(tensor.bits, weights ? tensor.bytes * 8 / weights : 0, name);
        }
        assert.equal(lossless.model.tensor(name).mode, is('lossless'), name);
        assert.ok(same(lossless.result.get(name), data), `${name}: lossless changed bits`);
        assert.equal(grid.model.tensor(name).mode, is('grid'), name);
        if (!isCoded) {
          assert.ok(same(grid.result.get(name), data), `${name}: passing through changed bits`);
          continue;
        }
        assert.equal(grid.model.tensor(name).step, Math.fround(step));
        const weightsIn = new Float32Array(convert(bytesOf(data), dtype, 'F32').slice().buffer);
        const q = Int8Array.from(weightsIn, (w) => gridIndex(w, step));
        const values = Float32Array.from(q, (n) => Math.fround(step) * n);
        const expected = dtype === 'F32' ? values : convert(bytesOf(values), 'F32', dtype);
        assert.ok(same(grid.result.get(name), expected), `${name}: not step * index`);
      }
    });
  }

  it('coded tensors give their symbols; others have none', async () => {
    const w = f32([61, 67]);
    const model = await open(await encode({ w }, { step: 0.1 }));
    const symbols = await model.symbols('w');
    assert.ok(symbols instanceof Int8Array);
    assert.deepEqual(symbols, Int8Array.from(w.data, (x) => gridIndex(x, 0.1)));
    assert.deepEqual(await model.decode('w', { dtype: 'I8' }), symbols);

    // The coded plane of a float: its bits rotated left by one, the top byte.
    const lossless = await open(await encode({ w, b: as('BF16', w) }));
    const top = Uint8Array.from(w.data, (x) => toBits(x) >>> 23 & 255);
    assert.deepEqual(await lossless.symbols('w'), new Int8Array(top.buffer));
    const half = Uint8Array.from(new Uint16Array(as('BF16', w).data.buffer), (x) => x >>> 7 & 255);
    assert.deepEqual(await lossless.symbols('b'), new Int8Array(half.buffer));

    const passed = await open(await encode({ v: f32([8]) }, { bits: 4 }));
    await assert.rejects(passed.symbols('v'), { code: 'HANSEL_ERR_DTYPE', where: 'v' });
  });

  it('bytes are coded without loss, whatever the aim', async () => {
    const data = Int8Array.from(gaussian(61 * 67, { sigma: 6 }), Math.round);
    const dtypes = ['I8', 'U8', 'F8_E4M3', 'F8_E5M2'];
    const tensors = Object.fromEntries(dtypes.map((dtype) =>
      [dtype, { dtype, shape: [61, 67], data }]));
    for (const options of [{}, { lossless: true }, { step: 3 }, { bits: 2 }, { error: 0.5 }]) {
      const { model, result } = await readAll(await encode(tensors, options));
      for (const dtype of dtypes) {
        assert.equal(model.tensor(dtype).mode, 'lossless', dtype);
        assert.ok(model.tensor(dtype).bits < 5.5, `${dtype}: ${model.tensor(dtype).bits} bits`);
        assert.ok(same(result.get(dtype), data), dtype);
        assert.ok(same(await model.symbols(dtype), data), dtype);
      }
      assert.ok(result.get('I8') instanceof Int8Array);
      assert.ok(result.get('U8') instanceof Uint8Array);
    }
  });

  it('other dtypes pass through bit by bit, aligned to their size', async () => {
    const dtypes = ['BOOL', 'F4', 'F6_E2M3', 'F6_E3M2', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ',
      'I16',
      'U16', 'I32', 'U32', 'I64', 'U64', 'F64', 'C64'];
    const random = new RandomState(3);
    const tensors = Object.fromEntries(dtypes.map((dtype, i) => {
      const data = Uint8Array.from({ length: (64 + 8 * i) * dtypeBits(dtype) / 8 },
        () => random.nextUint32());
      return [dtype, { dtype, shape: [8 + i, 8], data }];
    }));
    tensors.w = f32([64, 64]);
    const { model, result } = await readAll(await encode(tensors, { step: 0.5 }));
    for (const dtype of dtypes) {
      assert.ok(same(result.get(dtype), tensors[dtype].data), dtype);
      assert.equal(model.tensor(dtype).mode, 'pass-through');
      assert.equal(model.tensor(dtype).entropyBits, null);
      const { start } = model.place(dtype);
      assert.equal(start % Math.max(dtypeBits(dtype) / 8 | 0, 1), 0, `${dtype} at ${start}`);
      assert.ok(result.get(dtype).BYTES_PER_ELEMENT <= dtypeBits(dtype) / 8
        || dtypeBits(dtype) < 8);
    }
    assert.ok(result.get('I64') instanceof BigInt64Array);
    assert.ok(result.get('F64') instanceof Float64Array);
    assert.equal(model.place('w').start % 16, 0);
  });

  it('all weights equal, two values, 256 values', async () => {
    const shape = [64, 67];
    const n = count(shape);
    const tensors = {
      zero: f32(shape, new Float32Array(n)),
      minus: f32(shape, new Float32Array(n).fill(-0)),
      equal: f32(shape, new Float32Array(n).fill(-0.3)),
      two: f32(shape, Float32Array.from({ length: n }, (_, i) => (i % 97 ? 0.25 : -0.5))),
      all: f32(shape, Float32Array.from({ length: n }, (_, i) => ((i * 7 & 255) - 128) / 4)),
    };
    for (const options of [{ step: 0.25 }, { bits: 10 }, { error: 1e-6 }, { lossless: true }]) {
      const { model, result } = await readAll(await encode(tensors, options));
      for (const [name, { data }] of Object.entries(tensors)) {
        const isGrid = model.tensor(name).mode === 'grid';
        if (options.step && name !== 'equal') {
          assert.equal(model.tensor(name).mode, 'grid', name);
          assert.deepEqual(result.get(name).map((x) => x + 0), data.map((x) => x + 0), name);
        }
        if (options.bits || options.error) {
          assert.ok(name === 'zero' || name === 'minus'
            || relativeError(result.get(name), data) < 1e-6, `${name} ${JSON.stringify(options)}`);
        }
        if (!isGrid) assert.ok(same(result.get(name), data), name);
      }
      if (options.step) {
        assert.ok(model.tensor('equal').bytes < 100, 'one symbol costs nothing');
        assert.ok(model.tensor('two').bits < 0.4);
        assert.equal(new Set(await model.symbols('all')).size, 256);
      }
    }
  });

  it('names of every kind, Maps, objects and generators, metadata', async () => {
    const names = ['__proto__', 'constructor', 'toString', '', ' ', '"\\\n\u0000', 'héllo 😀',
      'hansel'];
    const entries = names.map((name, i) => [name,
      f32([64, 64 + i], gaussian(64 * (64 + i), { seed: i }))]);
    const options = { step: 0.1, metadata: [['format', 'pt'], ['__proto__', 'x'],
      ['hansel', 'y']] };
    const file = await encode(entries, options);
    assert.ok(same(file, await encode(new Map(entries), options)));
    assert.ok(same(file, await encode(Object.fromEntries(entries), options)));
    assert.ok(same(file, await encode(entries.values(),
      { ...options, metadata: options.metadata.values() })));
    const { model, result } = await readAll(file);
    assert.deepEqual([...model.tensors.keys()], names);
    assert.deepEqual([...model.metadata], [['format', 'pt'], ['__proto__', 'x']]);
    assert.equal(model.isCoded, true);
    assert.equal(model.bytes, file.length);
    for (const [name, { shape, data }] of entries) {
      assert.equal(model.tensor(name).mode, 'grid', name);
      assert.deepEqual(model.tensor(name).shape, shape);
      assert.ok(relativeError(result.get(name), data) < 0.04, name);
    }
    assert.equal(({}).dtype, undefined, 'Object.prototype is as it was');
  });

  it('no tensors at all', async () => {
    const { model } = await readAll(await encode({}));
    assert.equal(model.tensors.size, 0);
    assert.equal(model.isCoded, true);
  });

  it('special values of floats survive lossless coding', async () => {
    const f32s = Uint32Array.from({ length: 8192 }, (_, i) =>
      [0, 2 ** 31, 1, 0x7f800000, 0xff800000, 0x7fc00000,
      0x7f800001, 0xffffffff, 0x7fffff, 0x800000, 0x3f800000][i % 11]);
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const repeated = new Uint16Array(2 ** 17).map((_, i) => halves[i & 0x3c7f]);
    const tensors = {
      f32: { dtype: 'F32', shape: [64, 128], data: f32s },
      f16: { dtype: 'F16', shape: [512, 256], data: repeated },
      bf16: { dtype: 'BF16', shape: [512, 256], data: repeated },
      every: { dtype: 'BF16', shape: [256, 256], data: halves },
    };
    const { model, result } = await readAll(await encode(tensors));
    for (const [name, { data }] of Object.entries(tensors)) {
      assert.ok(same(result.get(name), data), name);
      assert.equal(model.tensor(name).mode, name === 'every' ? 'pass-through' : 'lossless', name);
    }
  });
});

describe('steps', function () {
  this.timeout(60000);

  it('rounds to the nearest level, never further than half a step', async () => {
    const data = gaussian(300 * 1000, { seed: 5, sigma: 2 });
    for (const step of [0.1, 1 / 7, 0.2, 1e-3 / 3e-3, 5]) {
      const model = await open(await encode({ w: f32([300, 1000], data) }, { step }));
      assert.equal(model.tensor('w').step, Math.fround(step));
      const values = await model.decode('w');
      const symbols = await model.symbols('w');
      let worst = 0;
      for (let i = 0; i < data.length; i++) {
        if (values[i] !== Math.fround(Math.fround(step) * symbols[i])) {
          assert.fail(`value ${i} is ${values[i]}, its symbol ${symbols[i]}`);
        }
        worst = Math.max(worst, Math.abs(data[i] - values[i]));
      }
      assert.ok(worst <= step * (0.5 + 2 ** -16), `${worst} is more than half of ${step}`);
      assert.ok(worst > step * 0.49);
    }
  });

  it('ties go to even', async () => {
    for (const step of [0.25, 3, 2 ** -20]) {
      const levels = Float32Array.from({ length: 255 }, (_, i) => (i - 128 + 0.5) * step);
      const data = Float32Array.from({ length: 255 * 32 }, (_, i) => levels[i % 255]);
      const expected = Int8Array.from(data, (w) => 2 * Math.round(w / step / 2));
      const model = await open(await encode({ w: f32([32, 255], data) }, { step }));
      assert.equal(model.tensor('w').mode, 'grid');
      assert.deepEqual(await model.symbols('w'), expected);
    }
  });

  it('every finite half and bfloat falls on the right level', async () => {
    for (const [dtype, value] of /** @type {const} */ ([
      ['F16', halfValue], ['BF16', (x) => fromBits(x << 16 >>> 0)]])) {
      const patterns = Uint16Array.from({ length: 65536 },
        (_, i) => (Number.isFinite(value(i)) ? i : 0));
      const tensor = { dtype, shape: [256, 256], data: patterns };
      for (const step of [0.37, 2 ** -24, 1000]) {
        const model = await open(await encode({ w: tensor }, { step, saturate: true }));
        const expected = Int8Array.from(patterns, (x) => gridIndex(value(x), step));
        assert.ok(same(await model.symbols('w'), expected), `${dtype}, step ${step}`);
      }
    }
  });

  it('saturates when told to, and counts', async () => {
    const data = gaussian(600 * 1000, { seed: 8 });
    for (const [at, w] of [[0, 1e30], [7, -1e30], [SLICE, 127.5 / 64], [SLICE + 1, -128.5 / 64],
      [599999, -129 / 64]]) data[at] = w;
    const outside = data.filter((w) => w >= 127.5 / 64 || w < -128.5 / 64).length;
    const { file, reports } = await encodeWithReports({ w: f32([600, 1000], data) }, {
      step: 1 / 64, saturate: true,
    });
    assert.equal(reports.get('w').saturated, outside);
    const manifest = JSON.parse((await readHeader(await sourceOf(file))).metadata.get('hansel'));
    assert.equal(manifest.tensors.w.saturated, outside);
    const symbols = await (await open(file)).symbols('w');
    assert.deepEqual([0, 7, SLICE, SLICE + 1, 599999].map((i) => symbols[i]),
      [127, -128, 127, -128, -128]);
    assert.ok(same(symbols, Int8Array.from(data, (w) => gridIndex(w, 1 / 64))));
  });

  it('names the weight that no level holds, in whatever slice and thread', async () => {
    const shape = [600, 1000];
    const good = gaussian(count(shape), { seed: 9, sigma: 0.1 });
    const make = (/** @type {number} */ at, /** @type {number} */ w) => {
      const data = good.slice();
      data[at] = w;
      return { first: f32([4], gaussian(4)), 'second one': f32(shape, data) };
    };
    for (const threads of [1, 3]) {
      for (const at of [0, 5, SLICE - 1, SLICE, 2 * SLICE + 17, 599999]) {
        for (const [w, options, code] of /** @type {const} */ ([
          [1e9, { step: 0.1 }, 'HANSEL_ERR_RANGE'], [-12.9, { step: 0.1 }, 'HANSEL_ERR_RANGE'],
          [NaN, { step: 0.1 }, 'HANSEL_ERR_NOT_FINITE'],
          [Infinity, { bits: 3 }, 'HANSEL_ERR_NOT_FINITE'],
          [-Infinity, { step: 1, saturate: true }, 'HANSEL_ERR_NOT_FINITE'],
          [NaN, { error: 0.1 }, 'HANSEL_ERR_NOT_FINITE']])) {
          if (threads === 3 && at !== 2 * SLICE + 17) continue;
          await assert.rejects(encode(make(at, w), { ...options, threads }), (error) => {
            assert.ok(error instanceof HanselError);
            assert.equal(error.code, code);
            assert.equal(error.position, at);
            assert.equal(error.where, 'second one');
            assert.match(error.message, new RegExp(`^second one: .*index ${at}\\b`));
            assert.match(String(error.got), new RegExp(`index ${at}$`));
            return true;
          });
        }
      }
    }
    const model = await open(await encode(make(3, -12.8), { step: 0.1 }));
    assert.equal((await model.symbols('second one'))[3], -128);
  });

  it('the first of several bad weights is the one named', async () => {
    const data = new Float32Array(600000).fill(0.5);
    for (const at of [400000, 300000, 599999]) data[at] = NaN;
    for (const threads of [1, 3]) {
      await assert.rejects(encode({ w: f32([600, 1000], data) }, { bits: 3, threads }),
        { position: 300000 });
    }
  });
});

describe('aims', function () {
  this.timeout(60000);
  const shape = [512, 1024];
  const data = gaussian(count(shape), { seed: 11, sigma: 0.02 });

  for (const bits of [2, 3, 4, 5, 6]) {
    it(`bits: ${bits} is met, closely`, async () => {
      const model = await open(await encode({ w: f32(shape, data) }, { bits, streamLength: 4096 }));
      const tensor = model.tensor('w');
      assert.equal(tensor.mode, 'grid');
      assert.ok(tensor.bits <= bits, `${tensor.bits}`);
      assert.ok(tensor.bits > bits - 0.05, `${tensor.bits}`);
      assert.ok(tensor.entropyBits <= tensor.bits, `${tensor.entropyBits} > ${tensor.bits}`);
      const counts = new Map();
      for (const q of await model.symbols('w')) counts.set(q, (counts.get(q) ?? 0) + 1);
      const entropy = [...counts.values()].reduce(
        (sum, c) => sum - c / data.length * Math.log2(c / data.length), 0);
      assert.ok(Math.abs(entropy - tensor.entropyBits) < 1e-5,
        `${entropy} or ${tensor.entropyBits}`);
      assert.ok(tensor.bits < entropy * 1.01 + 0.02, `${tensor.bits} for ${entropy}`);
    });
  }

  for (const error of [0.05, 0.1, 0.3]) {
    it(`error: ${error} is met, closely`, async () => {
      const { file, reports } = await encodeWithReports({ w: f32(shape, data) }, { error });
      const model = await open(file);
      const found = relativeError(await model.decode('w'), data);
      assert.ok(found <= error, `${found}`);
      assert.ok(found > 0.97 * error, `${found}`);
      assert.ok(Math.abs(reports.get('w').relativeError - found) < 1e-9);
    });
  }

  it('more bits, less error; a longer tail costs no overflow', async () => {
    const heavy = data.slice();
    heavy[77777] = 3; // 150 sigma
    let last = Infinity;
    for (const bits of [1, 1.5, 2, 4, 6, 8]) {
      const model = await open(await encode({ w: f32(shape, heavy) }, { bits }));
      assert.ok(model.tensor('w').bits <= bits);
      const values = await model.decode('w');
      const error = relativeError(values, heavy);
      assert.ok(error <= last, `${error} at ${bits} bits, ${last} before`);
      assert.ok(Math.abs(values[77777] - 3) <= model.tensor('w').step * 0.5001);
      last = error;
    }
  });

  it('an error that 256 levels cannot reach is coded without loss', async () => {
    const heavy = gaussian(64 * 1024, { seed: 2 });
    heavy[5] = 1e6;
    const { file, reports } = await encodeWithReports({ w: f32([64, 1024], heavy) },
      { error: 1e-3 });
    assert.ok(Math.abs(relativeError(await (await open(file)).decode('w'), heavy)) <= 1e-3);
    const noise = gaussian(64 * 1024, { seed: 2 });
    const tight = await encodeWithReports({ w: f32([64, 1024], noise) }, { error: 1e-4 });
    assert.equal(tight.reports.get('w').mode, 'lossless');
    assert.match(tight.reports.get('w').reason, /errs so little/);
    assert.ok(same(await (await open(tight.file)).decode('w'), noise));
    assert.ok(reports.has('w'));
  });

  it('tiny and huge weights are no special case', async () => {
    for (const scale of [1e-38, 1e-30, 1e30]) {
      const some = gaussian(64 * 1024, { seed: 2, sigma: scale });
      const model = await open(await encode({ w: f32([64, 1024], some) }, { bits: 4 }));
      assert.equal(model.tensor('w').mode, 'grid');
      const scaled = (await model.decode('w')).map((x) => x / scale);
      const error = relativeError(scaled, some.map((x) => x / scale));
      assert.ok(error < (scale > 1e-37 ? 0.1 : 1), `${error} at ${scale}`);
    }
    const denormal = new Float32Array(64 * 1024).map((_, i) => (i & 7) * 2 ** -149);
    const model = await open(await encode({ w: f32([64, 1024], denormal) }, { error: 0.01 }));
    assert.ok(same(await model.decode('w'), denormal), 'no step is so small: no loss');
  });

  it('include and exclude choose by name; short vectors are left alone', async () => {
    const big = f32([64, 64], data.slice(0, 4096));
    const tensors = {
      'a.weight': big, 'b.weight': big, 'a.bias': f32([4096], data.slice(0, 4096)),
      'row': f32([1, 4096, 1], data.slice(0, 4096)), 'long': f32([65536], data.slice(0, 65536)),
      'nearly': f32([65535], data.slice(0, 65535)),
    };
    const modes = async (options) => {
      const { file, reports } = await encodeWithReports(tensors, options);
      const { tensors: found } = await open(file);
      for (const [name, { mode }] of found) assert.equal(reports.get(name).mode, mode);
      for (const [name, { reason, mode }] of reports) {
        assert.equal(reason === '', mode !== 'pass-through', `${name}: ${reason}`);
      }
      const coded = [...found].filter(([, { mode }]) => mode !== 'pass-through');
      return coded.map(([name]) => name).sort();
    };
    const matrices = ['a.weight', 'b.weight'];
    assert.deepEqual(await modes({ bits: 4 }), [...matrices, 'long']);
    assert.deepEqual(await modes({ error: 0.1 }), [...matrices, 'long']);
    assert.deepEqual(await modes({ bits: 4, include: /a\./ }), ['a.bias', 'a.weight']);
    assert.deepEqual(await modes({ bits: 4, include: /a\./g, exclude: 'bias$' }), ['a.weight']);
    assert.deepEqual(await modes({ bits: 4, exclude: /weight/g }), ['long']);
    assert.deepEqual(await modes({ include: 'nothing' }), []);
    assert.deepEqual(await modes({ step: 0.001 }), Object.keys(tensors).sort());
    assert.deepEqual(await modes({}), Object.keys(tensors).sort());
  });

  it('stream length and precision change the bytes, not the weights', async () => {
    const plain = await encode({ w: f32(shape, data) }, { step: 0.005 });
    const { result } = await readAll(plain);
    const sizes = [];
    for (const options of [{ streamLength: 64 }, { streamLength: 400 }, { streamLength: 1e6 },
      { streamLength: 2 ** 31 - 1 }, { precision: 8 }, { precision: 12 }]) {
      const file = await encode({ w: f32(shape, data) }, { step: 0.005, ...options });
      assert.ok(same((await readAll(file)).result.get('w'), result.get('w')),
        JSON.stringify(options));
      sizes.push(file.length);
    }
    assert.ok(sizes[0] > sizes[1] && sizes[1] > sizes[2], `${sizes}`);
    assert.ok(plain.length <= Math.min(sizes[4], sizes[5]), `${sizes}`);
  });
});

describe('determinism', function () {
  this.timeout(60000);
  const data = gaussian(700 * 1001, { seed: 13, sigma: 0.3 });
  const tensors = {
    w: f32([700, 1001], data), h: as('F16', f32([7, 100, 1001], data)),
    b: as('BF16', f32([700, 1001], data)),
    i: { dtype: 'I8', shape: [700, 1001], data: Int8Array.from(data, (x) => 40 * x) },
    n: f32([10], data.slice(0, 10)),
  };

  for (const options of [{ step: 1 / 52, saturate: true }, { bits: 3.3 }, { error: 0.07 }, {},
    { bits: 5, streamLength: 700000 }]) {
    it(`the bytes do not depend on threads: ${JSON.stringify(options)}`, async () => {
      const one = await encode(tensors, options);
      assert.ok(same(one, await encode(tensors, { ...options, threads: 1 })));
      assert.ok(same(one, await encode(tensors, { ...options, threads: 3 })));
      const simd = await readAll(one, { simd: true });
      const scalar = await readAll(one, { simd: false });
      for (const [name, values] of simd.result) {
        assert.ok(same(values, scalar.result.get(name)), name);
        const isExact = name === 'i' || !Object.keys(options).length;
        assert.ok(!isExact || same(values, tensors[name].data), name);
      }
    });
  }

  it('both WebAssembly builds measure and code alike', async () => {
    const [simd, scalar] = [await Encoder.create({ simd: true }),
      await Encoder.create({ simd: false })];
    for (const [name, { dtype, shape, data: values }] of Object.entries(tensors).slice(0, 3)) {
      const bytes = bytesOf(values).slice(0, SLICE * dtypeBits(dtype) / 8);
      assert.deepEqual(simd.scan(dtype, bytes), scalar.scan(dtype, bytes), name);
      for (const step of [0.013, 0.11]) {
        const found = simd.measure(dtype, bytes, step, true);
        assert.deepEqual(found, scalar.measure(dtype, bytes, step, true), name);
        const plan = { dtype, mode: /** @type {const} */ ('grid'), shape: [shape.at(-1), 261],
          step, counts: found.counts };
        const [a, b] = [simd.plan(plan), scalar.plan(plan)];
        assert.deepEqual(a, b, name);
        const part = bytes.slice(0, simd.streamStart(a.blob, 9) * dtypeBits(dtype) / 8);
        assert.deepEqual(simd.encodeRange(a.blob, part, 0, 9, true),
          scalar.encodeRange(b.blob, part, 0, 9, true), name);
      }
      assert.deepEqual(simd.measure(dtype, bytes, 0, false),
        scalar.measure(dtype, bytes, 0, false));
      assert.deepEqual(simd.splitRaw(dtype, bytes), scalar.splitRaw(dtype, bytes));
    }
  });

  it('the input is not modified, and views of larger buffers are understood', async () => {
    const around = new Float32Array(4096 + 3).fill(NaN);
    around.set(data.subarray(0, 4096), 1);
    const before = around.slice();
    const shared = new Float32Array(new SharedArrayBuffer(4 * 4096));
    shared.set(data.subarray(0, 4096));
    const plain = f32([64, 64], data.slice(0, 4096));
    for (const threads of [1, 2]) {
      const options = { bits: 3, threads };
      const file = await encode({ w: plain }, options);
      assert.ok(same(file, await encode({ w: f32([64, 64], around.subarray(1, 4097)) }, options)));
      assert.ok(same(file, await encode({ w: f32([64, 64], shared) }, options)));
      assert.ok(same(file, await encode({ w: { ...plain, data: plain.data.buffer } }, options)));
      assert.ok(same(around, before));
    }
  });
});

describe('arguments', () => {
  const w = f32([64, 64]);
  const refused = {
    'two aims': { step: 1, bits: 4 }, 'two others': { error: 0.1, lossless: true },
    'step 0': { step: 0 }, 'negative step': { step: -1 }, 'NaN step': { step: NaN },
    'step null': { step: null }, 'a string': { step: '1' }, 'infinite step': { step: Infinity },
    'denormal step': { step: 1e-40 }, 'step beyond binary32': { step: 1e39 }, 'bits 0': { bits: 0 },
    'negative bits': { bits: -3 }, 'NaN bits': { bits: NaN }, 'error 0': { error: 0 },
    'infinite error': { error: Infinity }, 'saturate alone': { saturate: true },
    'saturate with bits': { saturate: true, bits: 4 },
    'stream length 3': { step: 1, streamLength: 3 },
    'stream length 4.5': { step: 1, streamLength: 4.5 },
    'stream length 2^31': { step: 1, streamLength: 2 ** 31 },
    'precision 7': { precision: 7 }, 'precision 13': { precision: 13 },
    'precision NaN': { precision: NaN },
    'threads 0': { threads: 0 }, 'threads 1.5': { threads: 1.5 }, 'threads 257': { threads: 257 },
    'bad include': { include: '(' }, 'bad exclude': { exclude: '[' },
    'metadata object': { metadata: { a: 'b' } },
    'metadata of numbers': { metadata: [['a', 1]] },
    'metadata twice': { metadata: [['a', 'b'], ['a', 'c']] },
    'lone surrogate': { metadata: [['a', '\ud800']] },
  };
  for (const [name, options] of Object.entries(refused)) {
    it(`refuses ${name}`, async () => {
      await assert.rejects(encode({ w }, /** @type {any} */ (options)), (error) => {
        assert.ok(error instanceof HanselError, error.stack);
        assert.equal(error.code, 'HANSEL_ERR_ARGUMENT');
        return true;
      });
    });
  }

  const tensors = {
    'no object': undefined, 'a number': 5, 'null': null,
    'data too short': { w: { ...w, data: w.data.subarray(1) } },
    'data too long': { w: { ...w, shape: [64, 63] } },
    'no data': { w: { dtype: 'F32', shape: [0] } },
    'a length as data': { w: { ...w, data: 16384 } },
    'an array as data': { w: { dtype: 'F32', shape: [1], data: [1, 2, 3, 4] } },
    'no shape': { w: { dtype: 'F32', data: w.data } },
    'negative extent': { w: { ...w, shape: [-64, -64] } },
    'fractional extent': { w: { ...w, shape: [0.5, 8192] } },
    'overflowing shape': { w: { ...w, shape: [2 ** 40, 2 ** 40] } },
    'a typed array as shape': { w: { ...w, shape: Uint32Array.of(64, 64) } },
    'unknown dtype': { w: { ...w, dtype: 'F31' } },
    'inherited dtype': { w: { ...w, dtype: 'toString' } },
    'no dtype': { w: { shape: [64, 64], data: w.data } }, 'null tensor': { w: null },
    'two of one name': [['w', w], ['v', w], ['w', w]], 'a reserved name': { __metadata__: w },
    'half a surrogate': { '\udc00': w }, 'a number as name': new Map([[5, w]]),
    'half a byte': { w: { dtype: 'F4', shape: [3], data: new Uint8Array(2) } },
  };
  for (const [name, bad] of Object.entries(tensors)) {
    it(`refuses tensors: ${name}`, async () => {
      await assert.rejects(encode(/** @type {any} */ (bad), { step: 1 }), (error) => {
        assert.ok(error instanceof HanselError, error.stack);
        assert.equal(error.code, 'HANSEL_ERR_ARGUMENT');
        return true;
      });
    });
  }

  it('an empty tensor of any extents is written', async () => {
    const empty = { dtype: 'F32', shape: [0, 2 ** 40], data: new Float32Array(0) };
    for (const options of [{}, { step: 1 }, { bits: 3 }]) {
      const { model, result } = await readAll(await encode({ empty }, options));
      assert.equal(result.get('empty').length, 0);
      assert.deepEqual(model.tensor('empty').shape, [0, 2 ** 40]);
    }
  });

  it('names missing tensors and impossible dtypes', async () => {
    const model = await open(await encode({ w,
      i: { dtype: 'I32', shape: [1], data: Int32Array.of(7) } }, { step: 0.1 }));
    for (const name of ['W', '', '__proto__', 'toString', undefined]) {
      for (const method of ['decode', 'symbols', 'verify', 'payload']) {
        await assert.rejects(async () => model[method](name), { code: 'HANSEL_ERR_TENSOR' },
          `${method} ${name}`);
      }
      await assert.rejects(async () => model.slices(name).next(), { code: 'HANSEL_ERR_TENSOR' });
      assert.throws(() => model.tensor(/** @type {any} */ (name)), { code: 'HANSEL_ERR_TENSOR' });
    }
    for (const dtype of ['F64', 'I16', 'U8', 'f32', 'constructor', 'toString', '', null]) {
      const wanted = { dtype: /** @type {any} */ (dtype) };
      await assert.rejects(model.decode('w', wanted), { code: 'HANSEL_ERR_DTYPE', where: 'w' },
        `${dtype}`);
      await assert.rejects(model.slices('w', wanted).next(), { code: 'HANSEL_ERR_DTYPE' },
        `${dtype}`);
      await assert.rejects(model.decode('i', wanted), { code: 'HANSEL_ERR_DTYPE' }, `${dtype}`);
    }
    for (const dtype of ['F32', 'F16', 'I8']) {
      await assert.rejects(model.decode('i', { dtype }), { code: 'HANSEL_ERR_DTYPE' });
    }
    await assert.rejects(open(/** @type {any} */ (5)), { code: 'HANSEL_ERR_ARGUMENT' });
    await model.close();
    await assert.rejects(model.decode('w'), { code: 'HANSEL_ERR_SOURCE' });
  });
});

describe('decoding to another dtype', () => {
  it('equals the conversion of the own one', async () => {
    const w = f32([100, 333], gaussian(33300, { seed: 4, sigma: 1e-5 })); // subnormal halves
    for (const dtype of ['F32', 'F16', 'BF16']) {
      const tensor = dtype === 'F32' ? w : as(dtype, w);
      for (const options of [{ step: 6e-7 }, {}, { include: 'nothing' }]) {
        const model = await open(await encode({ w: tensor }, options));
        const { mode, step } = model.tensor('w');
        assert.equal(mode, 'step' in options ? 'grid' : 'include' in options ? 'pass-through'
          : 'lossless');
        const own = await model.decode('w');
        // From a grid every dtype is rounded once, from step * index in binary32.
        const base = mode === 'grid'
          ? Float32Array.from(await model.symbols('w'), (q) => step * q) : null;
        for (const to of ['F32', 'F16', 'BF16']) {
          const found = await model.decode('w', { dtype: to });
          assert.ok(found instanceof (to === 'F32' ? Float32Array : Uint16Array));
          const expected = base ? convert(bytesOf(base), 'F32', to)
            : convert(bytesOf(own), dtype, to);
          assert.ok(same(found, expected), `${mode} ${dtype} to ${to}`);
        }
        if (mode !== 'grid') {
          await assert.rejects(model.decode('w', { dtype: 'I8' }), { code: 'HANSEL_ERR_DTYPE' });
        }
      }
    }
  });

  it('slices tile the tensor', async () => {
    const model = await open(await encode({ w: f32([1500, 2001],
      new Float32Array(1500 * 2001).map((_, i) => i % 9)) }, { step: 1 }));
    let at = 0;
    for await (const { start, bytes } of model.slices('w', { dtype: 'F16' })) {
      assert.equal(start, at);
      at += bytes.length / 2;
    }
    assert.equal(at, 1500 * 2001);
  });
});

describe('conversions', function () {
  this.timeout(30000);
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);

  /** Converted patterns, as numbers or patterns. */
  function run(array, from, to) {
    const out = convert(bytesOf(array), from, to);
    return to === 'F32' ? new Float32Array(out.buffer) : new Uint16Array(out.buffer);
  }

  it('all halves and bfloats to F32', () => {
    const halves = run(all, 'F16', 'F32');
    const bfloats = run(all, 'BF16', 'F32');
    for (let i = 0; i < 65536; i++) {
      if (!Object.is(halves[i], halfValue(i))) assert.fail(`half ${i}: ${halves[i]}`);
      const bfloat = fromBits(i << 16 >>> 0);
      if (!Object.is(bfloats[i], bfloat)) assert.fail(`bfloat ${i}: ${bfloats[i]}`);
    }
  });

  it('and back: all of them, and what lies between neighbours', () => {
    for (const [dtype, value, infinity] of /** @type {const} */ ([
      ['F16', halfValue, 0x7c00], ['BF16', (x) => fromBits(x << 16 >>> 0), 0x7f80]])) {
      for (const sign of [0, 0x8000]) {
        const inputs = [];
        const expected = [];
        const push = (bits, pattern) => {
          inputs.push(fromBits(bits));
          expected.push(pattern);
        };
        for (let i = 0; i < infinity; i++) {
          const below = toBits(value(i | sign));
          // The neighbour of the largest would be a power of two: infinity is what it rounds to.
          const above = i + 1 < infinity ? toBits(value(i + 1 | sign))
            : dtype === 'F16' ? toBits(sign ? -65536 : 65536) : 0x7f800000 + (sign << 16 >>> 0);
          const lower = fromBits(below);
          const middle = dtype === 'BF16' ? (below + above) / 2
            : toBits((lower + fromBits(above)) / 2);
          push(below, i | sign);
          push(middle, (i % 2 ? i + 1 : i) | sign);
          push(middle - 1, i | sign);
          push(middle + 1, i + 1 | sign);
        }
        push((0x7f800000 | sign << 16) >>> 0, infinity | sign);
        push((0x7f7fffff | sign << 16) >>> 0, infinity | sign);
        push((1 | sign << 16) >>> 0, sign);
        const found = run(Float32Array.from(inputs), 'F32', dtype);
        for (let i = 0; i < found.length; i++) {
          if (found[i] !== expected[i]) {
            assert.fail(`${inputs[i]} to ${dtype}: ${found[i]}, not ${expected[i]}`);
          }
        }
      }
      const nans = run(Uint32Array.of(0x7f800001, 0xff800001, 0x7fc00000, 0xffffffff, 0x7fbfffff),
        'F32', dtype);
      for (const nan of nans) assert.ok((nan & 0x7fff) > infinity, `NaN became ${nan}`);
    }
  });

  it('from half to bfloat and back goes by way of exact F32', () => {
    for (const [from, to] of [['F16', 'BF16'], ['BF16', 'F16']]) {
      const direct = run(all, from, to);
      const by = run(run(all, from, 'F32'), 'F32', to);
      for (let i = 0; i < 65536; i++) if (direct[i] !== by[i]) assert.fail(`${from} ${i}`);
    }
  });

  it('reads from any alignment, and leaves its input alone', () => {
    const odd = new Uint8Array(9).fill(0x42);
    assert.deepEqual([...run(odd.subarray(1, 9), 'F32', 'BF16')], [0x4242, 0x4242]);
    assert.deepEqual(odd, new Uint8Array(9).fill(0x42));
  });
});

describe('stopping', function () {
  this.timeout(60000);
  const data = gaussian(1000 * 2000, { seed: 6 });
  const tensors = { w: f32([1000, 2000], data), v: f32([1000, 2000], data) };
  const ABORTED = { name: 'HanselError', code: 'HANSEL_ERR_ABORTED' };

  it('before anything', async () => {
    const signal = AbortSignal.abort();
    const file = await encode({ w: f32([64, 64]),
      p: { dtype: 'I32', shape: [1], data: Int32Array.of(1) } }, { step: 0.1 });
    const model = await open(file);
    for (const threads of [1, 2]) {
      await assert.rejects(encode(tensors, { bits: 4, threads, signal }), ABORTED);
    }
    await assert.rejects(open(file, { signal }), ABORTED);
    for (const name of ['w', 'p']) {
      await assert.rejects(model.decode(name, { signal }), ABORTED);
      await assert.rejects(model.verify(name, { signal }), ABORTED);
    }
    await assert.rejects(model.symbols('w', { signal }), ABORTED);
    assert.equal((await model.decode('w')).length, 4096, 'the model still works');
  });

  for (const threads of [1, 3]) {
    it(`while encoding, ${threads} threads: from a timer and from onProgress`, async () => {
      for (const options of [{ bits: 3 }, { error: 0.1 }, { step: 0.1 }, {}]) {
        const stop = new AbortController();
        const timer = setTimeout(() => stop.abort(), 20);
        const start = performance.now();
        const onProgress = () => {
          if (threads === 1 && 'step' in options) stop.abort();
        };
        await assert.rejects(
          encode(tensors, { ...options, threads, signal: stop.signal, onProgress }), ABORTED);
        clearTimeout(timer);
        assert.ok(performance.now() - start < 5000);
      }
    });
  }

  it('while decoding, from a timer and from onProgress', async () => {
    for (const options of [{ bits: 3 }, {}, { include: 'nothing' }]) {
      const model = await open(await encode({ w: f32([4000, 2000],
        new Float32Array(8e6).map((_, i) => data[i % 2e6])) }, options));
      for (const method of ['decode', 'symbols', 'verify']) {
        if (method === 'symbols' && 'include' in options) continue;
        const timer = new AbortController();
        await sleep(20); // by then a turn of the event loop is due
        setImmediate(() => timer.abort());
        await assert.rejects(model[method]('w', { signal: timer.signal }), ABORTED,
          `${method} ${JSON.stringify(options)}`);
        if (method === 'verify') continue;
        const called = new AbortController();
        await assert.rejects(model[method]('w',
          { signal: called.signal, onProgress: () => called.abort() }), ABORTED);
      }
    }
  });

  it('leaves no thread behind', async () => {
    const script = `
      import { encode } from ${JSON.stringify(new URL('../../web/hansel.js', import.meta.url).href)};
      const data = new Float32Array(12e6).map((_, i) => Math.sin(i * i));
      for (const when of [5, 60, 150]) {
        const error = await encode({ w: { dtype: 'F32', shape: [4000, 3000], data } },
          { bits: 4, threads: 4, signal: AbortSignal.timeout(when) }).catch((e) => e);
        console.log(error.code);
      }
      const bad = await encode({ w: { dtype: 'F32', shape: [4000, 3000], data: data.fill(NaN) } },
        { bits: 4, threads: 4 }).catch((e) => e);
      console.log(bad.code);`;
    const { stdout } = await promisify(execFile)(process.execPath,
      ['--input-type=module', '-e', script],
      { timeout: 30000 });
    assert.deepEqual(stdout.trim().split('\n'),
      ['HANSEL_ERR_ABORTED', 'HANSEL_ERR_ABORTED', 'HANSEL_ERR_ABORTED',
      'HANSEL_ERR_NOT_FINITE']);
  });

  it('an error thrown by onProgress comes out, and ends the work', async () => {
    const onProgress = () => { throw new RangeError('mine'); };
    for (const threads of [1, 2]) {
      await assert.rejects(encode(tensors, { step: 0.1, threads, onProgress }),
        { name: 'RangeError', message: 'mine' });
    }
    const model = await open(await encode(tensors, { step: 0.1 }));
    await assert.rejects(model.decode('w', { onProgress }),
      { name: 'RangeError', message: 'mine' });
    assert.equal((await model.decode('w')).length, 2e6);
  });
});

describe('progress', function () {
  this.timeout(30000);

  const check = (/** @type {any[]} */ calls, /** @type {number} */ total,
    /** @type {string} */ what) => {
    assert.ok(calls.length > 0, what);
    let last = 0;
    for (const { done, total: of } of calls) {
      assert.equal(of, total, what);
      assert.ok(done >= last && done <= total, `${what}: ${done} after ${last}`);
      last = done;
    }
    assert.equal(last, total, what);
  };

  it('rises to the total', async () => {
    const tensors = {
      w: f32([1000, 1500]), n: f32([10]), b: as('BF16', f32([1000, 1500])),
      i: { dtype: 'I32', shape: [3], data: Int32Array.of(1, 2, 3) }, last: f32([5]),
    };
    for (const options of [{ bits: 4 }, { step: 0.1 }, {}, { bits: 4, threads: 2 }]) {
      const calls = [];
      const file = await encode(tensors, { ...options, onProgress: (p) => calls.push(p) });
      check(calls, 3000018, JSON.stringify(options));
      assert.deepEqual(new Set(calls.map(({ tensor }) => tensor)), new Set(Object.keys(tensors)));
      assert.ok(calls.every(({ phase }) => phase === 'fit' || phase === 'code'));
      const model = await open(file);
      for (const [name, { weights, mode }] of model.tensors) {
        const decoded = [];
        await model.decode(name, { onProgress: (p) => decoded.push(p) });
        check(decoded, weights, name);
        if (mode === 'pass-through') continue;
        const symbols = [];
        await model.symbols(name, { onProgress: (p) => symbols.push(p) });
        check(symbols, weights, `symbols ${name}`);
      }
    }
  });
});

describe('damage', function () {
  this.timeout(90000);
  let file = new Uint8Array(0);
  let dataStart = 0;

  before(async () => {
    const random = new RandomState(17);
    const uniform = Float32Array.from({ length: 24 * 20 }, () => random.randomSample() - 0.5);
    const heavy = gaussian(24 * 24, { seed: 18 }).map((x) => x ** 3); // no 256 levels do
    const tensors = {
      grid: f32([24, 20], uniform), lossless: as('BF16', f32([24, 24], heavy)),
      norm: f32([6], gaussian(6)), equal: f32([10, 10], new Float32Array(100).fill(0.5)),
    };
    file = await encode(tensors, { error: 0.009, metadata: [['format', 'pt']] });
    const { model } = await readAll(file);
    assert.deepEqual([...model.tensors.values()].map(({ mode }) => mode).sort(),
      ['grid', 'grid', 'lossless', 'pass-through'].sort());
    dataStart = (await readHeader(await sourceOf(file))).dataStart;
    assert.ok(file.length < 3200, `${file.length} bytes`);
  });

  /** Whatever is wrong must be said by a HanselError with a code of the list. */
  function assertNamed(error, what) {
    if (!(error instanceof HanselError) || !ALL_CODES.has(error.code)) {
      assert.fail(`${what}: ${error.stack}`);
    }
  }

  it('every single flipped bit is noticed, by verify and by decode', async () => {
    const codes = new Map();
    const { places } = await open(file);
    for (let bit = 0; bit < 8 * file.length; bit++) {
      const bad = file.slice();
      const at = bit >> 3;
      bad[at] ^= 1 << (bit & 7);
      const what = `bit ${bit & 7} of byte ${at}`;
      let model;
      try {
        model = await open(bad);
      } catch (error) {
        assertNamed(error, what);
        codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
        continue;
      }
      if (at < dataStart) assert.fail(`${what}, in the header, opens`);
      for (const [name, { start, end }] of places) {
        const isHere = at >= start && at < end;
        for (const method of ['verify', 'decode']) {
          const error = await model[method](name).then(() => null, (e) => e);
          if (!isHere && error) assert.fail(`${what}: ${name} is not damaged, but ${error.stack}`);
          if (!isHere) break;
          if (!error) assert.fail(`${what}: ${method} of ${name} notices nothing`);
          assertNamed(error, what);
          assert.equal(error.where, name, what);
          if (method === 'decode') codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
          else assert.equal(error.code, 'HANSEL_ERR_CHECKSUM', what);
        }
      }
    }
    assert.equal([...codes.values()].reduce((a, b) => a + b), 8 * file.length);
    const shown = [...codes].map(([code, n]) => `${code.slice('HANSEL_ERR_'.length)} ${n}`);
    console.log(`      ${file.length} bytes: ${shown.join(', ')}`);
  });

  it('every truncation is noticed on opening, and every byte too much', async () => {
    for (let length = 0; length < file.length; length++) {
      const error = await open(file.slice(0, length)).then(() => null, (e) => e);
      if (!error) assert.fail(`${length} bytes open`);
      assertNamed(error, `${length} bytes`);
      if (length < dataStart) continue;
      assert.equal(error.code, 'HANSEL_ERR_TRUNCATED');
    }
    for (const more of [1, 16]) {
      const longer = new Uint8Array(file.length + more);
      longer.set(file);
      await assert.rejects(open(longer), { code: 'HANSEL_ERR_TRAILING' });
    }
  });

  it('symbols() and payload() check the checksum too, on a grid and without loss', async () => {
    for (const options of [{ step: 0.1 }, {}]) {
      const good = await encode({ w: f32([64, 64]) }, options);
      const { start, end } = (await open(good)).place('w');
      for (let bit = 8 * start; bit < 8 * end; bit += 29) {
        const bad = good.slice();
        bad[bit >> 3] ^= 1 << (bit & 7);
        const model = await open(bad);
        const drain = async () => {
          const { chunks } = await model.payload('w');
          for await (const chunk of chunks) assert.ok(chunk.length > 0);
        };
        for (const read of [() => model.symbols('w'), drain]) {
          const error = await read().then(() => null, (e) => e);
          if (!error) assert.fail(`bit ${bit} passes`);
          assertNamed(error, `bit ${bit}`);
        }
      }
    }
  });

  it('a manifest that contradicts its blob is refused, its checksums being right', async () => {
    const { metadata, tensors, headerBytes } = await readHeader(await sourceOf(file));
    const codec = await Encoder.create();
    const rewrite = (change) => {
      const manifest = JSON.parse(metadata.get('hansel'));
      change(manifest.tensors);
      manifest.header_crc32c = '00000000';
      const entries = [...tensors].map(([name, { dtype, shape, start, end }]) => (
        [name, { dtype, shape, bytes: end - start }]));
      const header = buildHeader(entries, [['hansel', JSON.stringify(manifest)]]);
      stampHeader(header, (bytes) => codec.crc32c(bytes));
      return new Uint8Array([...header, ...file.subarray(headerBytes.length)]);
    };
    await readAll(rewrite(() => {}));
    const changes = {
      step: (t) => { t.grid.step *= 2; }, mode: (t) => { t.grid.mode = 'lossless'; },
      shape: (t) => { t.grid.shape = [20, 24]; }, rank: (t) => { t.grid.shape = [480]; },
      dtype: (t) => { t.grid.dtype = 'F16'; }, bytes: (t) => { t.lossless.dtype = 'I8'; },
      huge: (t) => { t.grid.shape = [2 ** 20, 2 ** 20]; },
      other: (t) => { [t.grid, t.lossless] = [t.lossless, t.grid]; },
    };
    for (const [name, change] of Object.entries(changes)) {
      const bad = rewrite(change);
      await assert.rejects(async () => {
        const model = await open(bad);
        for (const tensor of ['lossless', 'grid']) await model.decode(tensor);
      }, (error) => {
        assertNamed(error, name);
        assert.ok(['HANSEL_ERR_MANIFEST', 'HANSEL_ERR_MEMORY'].includes(error.code),
          `${name}: ${error.code}`);
        return true;
      }, name);
    }
    const malformed = {
      mode: (t) => { t.grid.mode = 'x'; }, shape: (t) => { t.grid.shape = 'x'; },
      extent: (t) => { t.grid.shape = [-1]; },
      step: (t) => { t.grid.step = '1'; }, entropy: (t) => { delete t.grid.entropy_bits; },
      none: (t) => { delete t.grid; }, more: (t) => { t.extra = t.grid; },
      pass: (t) => { t.norm = t.grid; },
      null: (t) => { t.grid = null; }, crc: (t) => { t.grid.crc32c = 'x'; },
    };
    for (const [name, change] of Object.entries(malformed)) {
      await assert.rejects(open(rewrite(change)),
        { name: 'HanselError', code: 'HANSEL_ERR_MANIFEST' }, name);
    }
    await assert.rejects(open(rewrite((t) => { t.grid.dtype = 'F31'; })), { name: 'HanselError' });
    await assert.rejects(open(rewrite((t) => { t.grid.dtype = 'toString'; })),
      { name: 'HanselError' });
  });

  it('other files are refused by name', async () => {
    for (const text of ['', 'hansel', '{}', 'PK\u0003\u0004'.padEnd(100, 'x'), '\0'.repeat(64)]) {
      await assert.rejects(open(new TextEncoder().encode(text)), (error) => {
        assertNamed(error, JSON.stringify(text));
        return true;
      });
    }
  });
});

describe('files and servers', function () {
  this.timeout(30000);
  let folder = '';
  let server = { url: '', close: async () => {} };
  const parts = [
    { 'a.w': f32([64, 100], gaussian(6400, { seed: 1 })), 'a.n': f32([10], gaussian(10)) },
    { 'b.w': f32([200, 33], gaussian(6600, { seed: 2 })) },
  ];
  const NAMES = ['m-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors'];
  const MAP = { 'a.w': NAMES[0], 'a.n': NAMES[0], 'b.w': NAMES[1] };

  const writeIndex = (/** @type {string} */ name, /** @type {unknown} */ index) => (
    writeFileSync(join(folder, name), typeof index === 'string' ? index : JSON.stringify(index)));

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hansel-api-'));
    for (const [i, tensors] of parts.entries()) {
      writeFileSync(join(folder, NAMES[i]), await encode(tensors,
        { bits: 5, metadata: [['part', `${i}`]] }));
    }
    writeIndex('m.safetensors.index.json',
      `${JSON.stringify({ metadata: { total_size: 1 }, weight_map: MAP }, null, 2)}\n`);
    server = await serve(folder);
  });

  after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  it('opens a sharded checkpoint by path and by URL', async () => {
    const index = 'm.safetensors.index.json';
    for (const from of [join(folder, index), new URL(index, server.url),
      `${server.url}${index}?x=1`]) {
      const calls = [];
      const { model, result } = await readAll(from,
        { onProgress: ({ done, total }) => calls.push([done, total]) });
      assert.deepEqual(calls, [[1, 2], [2, 2]]);
      assert.deepEqual([...model.tensors.keys()], ['a.w', 'a.n', 'b.w']);
      assert.equal(model.isCoded, true);
      assert.equal(model.bytes, NAMES.reduce((sum, name) =>
        sum + readFileSync(join(folder, name)).length, 0));
      for (const [name, { data }] of Object.entries({ ...parts[0], ...parts[1] })) {
        const single = await open(join(folder, MAP[name]));
        assert.ok(same(result.get(name), await single.decode(name)), name);
        await single.close();
        assert.ok(relativeError(result.get(name), data) < 0.1);
      }
      await model.close();
    }
  });

  it('refuses an index that contradicts its shards', async () => {
    const [one, two] = NAMES;
    const bad = {
      'a tensor too few': { weight_map: { 'a.w': one, 'b.w': two } },
      'a tensor too many': { weight_map: { ...MAP, 'c.w': two } },
      'in the other shard': { weight_map: { ...MAP, 'b.w': one, 'a.n': two } },
      'no map': { metadata: {} }, 'a list': [], 'not JSON': '{',
      'not strings': { weight_map: { 'a.w': 1 } },
      'upwards': { weight_map: { 'a.w': '../x.safetensors' } },
      'absolute': { weight_map: { 'a.w': '/etc/passwd' } },
      'a duplicate key': `{"weight_map":{"a.w":"${one}","a.w":"${one}"}}`,
    };
    for (const [name, index] of Object.entries(bad)) {
      writeIndex('bad.index.json', index);
      await assert.rejects(open(join(folder, 'bad.index.json')),
        { name: 'HanselError', code: 'HANSEL_ERR_INDEX' }, name);
      await assert.rejects(open(`${server.url}bad.index.json`), { code: 'HANSEL_ERR_INDEX' }, name);
    }
    writeFileSync(join(folder, 'copy.safetensors'), readFileSync(join(folder, two)));
    writeIndex('bad.index.json', { weight_map: { ...MAP, 'd.w': 'copy.safetensors' } });
    await assert.rejects(open(join(folder, 'bad.index.json')),
      { code: 'HANSEL_ERR_INDEX', where: 'b.w' });
    writeIndex('bad.index.json', { weight_map: { ...MAP, 'd.w': 'none.safetensors' } });
    await assert.rejects(open(join(folder, 'bad.index.json')), { code: 'HANSEL_ERR_SOURCE' });
    await assert.rejects(open(`${server.url}bad.index.json`), { code: 'HANSEL_ERR_HTTP' });
    const damaged = readFileSync(join(folder, two));
    damaged[damaged.indexOf('"part":"1"') + 8] ^= 1;
    writeFileSync(join(folder, 'damaged.safetensors'), damaged);
    writeIndex('bad.index.json', { weight_map: { ...MAP, 'b.w': 'damaged.safetensors' } });
    await assert.rejects(open(join(folder, 'bad.index.json')), { code: 'HANSEL_ERR_CHECKSUM' });
    await assert.rejects(open(join(folder, 'none.safetensors')), { code: 'HANSEL_ERR_SOURCE' });
    await assert.rejects(open(folder), { code: 'HANSEL_ERR_SOURCE' });
  });

  it('opens plain safetensors, and says that they are', async () => {
    const data = gaussian(100, { seed: 3 });
    const halves = as('F16', f32([50], data.slice(0, 50)));
    const header = buildHeader([['w', { dtype: 'F32', shape: [10, 10], bytes: 400 }],
      ['h', { dtype: 'F16', shape: [50], bytes: 100 }]],
      [['format', 'pt']]);
    const plain = new Uint8Array([...header, ...bytesOf(data), ...halves.data]);
    const { model, result } = await readAll(plain);
    assert.equal(model.isCoded, false);
    assert.deepEqual([...model.metadata], [['format', 'pt']]);
    assert.deepEqual(result.get('w'), data);
    assert.ok(same(result.get('h'), halves.data));
    assert.ok(same(await model.decode('h', { dtype: 'F32' }), convert(halves.data, 'F16', 'F32')));
    for (const { mode, entropyBits, bits, dtype } of model.tensors.values()) {
      assert.deepEqual([mode, entropyBits, bits], ['pass-through', null, dtypeBits(dtype)]);
    }
    const blob = await open(new Blob([plain]));
    assert.deepEqual(await blob.decode('w'), data);
  });

  it('eight decodes at once on one model do not disturb each other', async () => {
    const tensors = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`t${i}`,
      i % 2 ? f32([300, 1000 + i], gaussian(300 * (1000 + i), { seed: i, sigma: i }))
        : as('BF16', f32([300, 1000 + i], gaussian(300 * (1000 + i), { seed: i })))]));
    for (const options of [{ bits: 4 }, {}]) {
      const file = await encode(tensors, options);
      writeFileSync(join(folder, 'eight.safetensors'), file);
      const alone = await readAll(file);
      for (const from of [file, join(folder, 'eight.safetensors'),
        `${server.url}eight.safetensors`]) {
        const model = await open(from);
        const all = await Promise.all(Object.keys(tensors).flatMap((name) => (
          [model.decode(name), model.symbols(name), model.verify(name)])));
        const same8 = await Promise.all(Array.from({ length: 8 }, () => model.decode('t3')));
        for (const [i, name] of Object.keys(tensors).entries()) {
          assert.ok(same(all[3 * i], alone.result.get(name)), name);
          assert.ok(same(all[3 * i + 1], await alone.model.symbols(name)), name);
        }
        for (const values of same8) assert.ok(same(values, alone.result.get('t3')));
        await model.close();
      }
    }
  });
});

describe('the trained model', function () {
  this.timeout(60000);
  /** @type {Record<string, {dtype: string, shape: number[], data: Float32Array}>} */
  const tensors = {};
  let size = 0;

  before(async () => {
    const bytes = readFileSync(TRAINED);
    size = bytes.length;
    const model = await open(bytes);
    for (const [name, { dtype, shape }] of model.tensors) {
      tensors[name] = { dtype, shape, data: await model.decode(name) };
    }
    assert.ok(Object.keys(tensors).length > 30);
  });

  it('at 8, 5, 4 and 3 bits', async () => {
    console.log('      bits   bytes    of F32   relative error: min / median / max');
    /** @type {Map<string, number>} */
    const last = new Map();
    let lastSize = Infinity;
    for (const bits of [8, 5, 4, 3]) {
      const file = await encode(tensors, { bits });
      const { model, result } = await readAll(file);
      const errors = [];
      for (const [name, { data, shape }] of Object.entries(tensors)) {
        const tensor = model.tensor(name);
        if (tensor.mode === 'pass-through') {
          assert.equal(shape.length, 1, name);
          assert.ok(same(result.get(name), data));
          continue;
        }
        assert.ok(tensor.bits <= bits, `${name}: ${tensor.bits} bits of ${bits}`);
        const error = relativeError(result.get(name), data);
        assert.ok(error > (last.get(name) ?? 0), `${name}: ${error} at ${bits} bits`);
        last.set(name, error);
        errors.push(error);
      }
      assert.ok(errors.length > 20);
      assert.ok(file.length < lastSize && file.length < size * (bits + 0.4) / 32, `${file.length}`);
      lastSize = file.length;
      errors.sort((a, b) => a - b);
      const shown = [errors[0], errors[errors.length >> 1], errors.at(-1)];
      const percent = (100 * file.length / size).toFixed(2).padStart(5);
      console.log(`      ${bits}  ${String(file.length).padStart(9)}   ${percent} %   ${
        shown.map((x) => x.toFixed(5)).join(' / ')}`);
    }
  });

  it('in BF16 and F32 without loss', async () => {
    const rounded = Object.fromEntries(Object.entries(tensors).map(([name, t]) =>
      [name, as('BF16', t)]));
    const raw = Object.values(rounded).reduce((sum, { data }) => sum + data.length, 0);
    for (const [label, all, bytes, atMost] of /** @type {const} */ ([
      ['BF16', rounded, raw, 0.8], ['F32', tensors, size, 0.95]])) {
      const file = await encode(all);
      const { result } = await readAll(file);
      for (const [name, { data }] of Object.entries(all)) {
        assert.ok(same(result.get(name), data), name);
      }
      const percent = (100 * file.length / bytes).toFixed(2);
      console.log(`      ${label}: ${file.length} bytes, ${percent} % of ${bytes}`);
      assert.ok(file.length <= atMost * bytes);
    }
  });
});

/** What readHeader reads from. */
async function sourceOf(bytes) {
  return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end) };
}
