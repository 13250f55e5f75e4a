/** Error feedback: what it saves, what it promises, and Hessians that are none. */
import assert from 'node:assert/strict';
import { Encoder } from '../../web/core/encoder.js';
import { HessianSum, makeFactor } from '../../web/core/hessian.js';
import { encode, open } from '../../web/hansel.js';
import { plain } from './command.js';
import { as, bytesOf, encodeWithReports, f32, gaussian, same } from './tensors.js';

/** Inputs whose columns go together. @param {number} columns @param {number} inputs @param {number} seed */
function makeInputs(columns, inputs, seed) {
  const x = gaussian(columns * inputs, { seed });
  for (let i = 1; i < x.length; i++) if (i % columns) x[i] = 0.8 * x[i - 1] + x[i] * (1 + i % 5) / 3;
  return x;
}

/** The upper half of the mean of x x^T. @param {Float32Array} x @param {number} columns */
function hessianOf(x, columns) {
  const h = [];
  for (let i = 0; i < columns; i++) {
    for (let j = i; j < columns; j++) {
      let sum = 0;
      for (let t = 0; t < x.length; t += columns) sum += x[t + i] * x[t + j];
      h.push(sum * columns / x.length);
    }
  }
  return Float32Array.from(h);
}

/** All of it. @param {Float32Array} upper @param {number} columns */
function square(upper, columns) {
  const data = new Float32Array(columns * columns);
  for (let i = 0, at = 0; i < columns; i++) {
    for (let j = i; j < columns; j++, at++) data[i * columns + j] = data[j * columns + i] = upper[at];
  }
  return { shape: [columns, columns], data };
}

/** Mean square of what outputs lose. @param {Float32Array} w @param {Float32Array} v @param {Float32Array} x
 * @param {number} columns */
function harm(w, v, x, columns) {
  let total = 0;
  for (let r = 0; r < w.length; r += columns) {
    for (let t = 0; t < x.length; t += columns) {
      let y = 0;
      for (let c = 0; c < columns; c++) y += (w[r + c] - v[r + c]) * x[t + c];
      total += y * y;
    }
  }
  return total / w.length;
}

const SHAPES = { a: [300, 65], b: [127, 130], c: [64, 64] };
const INPUTS = Object.fromEntries(Object.entries(SHAPES).map(([name, [, columns]], i) => (
  [name, makeInputs(columns, 400, i + 20)])));
const MODEL = Object.fromEntries(Object.entries(SHAPES).map(([name, shape], i) => [name,
  f32(shape, gaussian(shape[0] * shape[1], { seed: i + 1, sigma: 10 ** -i }))]));
const HESSIANS = Object.fromEntries(Object.entries(SHAPES).map(([name, [, columns]]) => (
  [name, hessianOf(INPUTS[name], columns)])));

describe('error feedback', () => {
  it('loses less at no more bits', async () => {
    for (const bits of [2, 3, 4.5]) {
      const [plainly, fed] = [await open(await encode(MODEL, { bits })),
        await open(await encode(MODEL, { bits, hessians: HESSIANS }))];
      let [sum, weights] = [0, 0];
      for (const [name, { data, shape: [, columns] }] of Object.entries(MODEL)) {
        const [before, after] = [await plainly.decode(name), await fed.decode(name)].map((values) => (
          harm(data, values, INPUTS[name], columns)));
        assert.ok(after < 0.75 * before, `${name} at ${bits}: ${after} of ${before}`);
        sum += 8 * fed.tensor(name).bytes;
        weights += fed.tensor(name).weights;
      }
      assert.ok(sum / weights <= bits && sum / weights > bits - 0.015, `${sum / weights} of ${bits}`);
    }
  });

  it('is the same on one thread and three, with SIMD and without', async () => {
    const options = { bits: 3, hessians: HESSIANS };
    const one = await encode(MODEL, options);
    assert.ok(same(one, await encode(MODEL, { ...options, threads: 3 })));
    assert.ok(same(one, await encode(await open(new Uint8Array(plain(MODEL))), options)));
    const sums = [true, false].map(async (simd) => {
      const codec = await Encoder.create({ simd });
      const { module } = codec.wasm;
      const sum = new HessianSum(module, 130);
      for (let at = 0; at < 400; at += 50) sum.add(INPUTS.b.subarray(130 * at, 130 * (at + 50)));
      const mean = sum.mean();
      const factor = await makeFactor(module, new Float32Array(mean.buffer), 130);
      const rows = codec.feedbackRows('F32', bytesOf(MODEL.b.data), 0.05, 130, factor.struct, factor.factor,
        factor.order);
      return { mean, factor, rows };
    });
    assert.deepEqual(await sums[0], await sums[1]);
  });

  it('with large tensors, which are sampled and cut', async () => {
    const columns = 96;
    const x = makeInputs(columns, 300, 5);
    const tensors = { w: f32([14000, columns], gaussian(14000 * columns, { seed: 3, sigma: 0.02 })) };
    const hessians = { w: hessianOf(x, columns) };
    const options = { bits: 3, hessians };
    const [one, two] = [await encode(tensors, options), await encode(tensors, { ...options, threads: 2 })];
    assert.ok(same(one, two));
    const { bits } = (await open(one)).tensor('w');
    assert.ok(bits <= 3 && bits > 2.98, `${bits}`);
  });

  it('goes with every aim that has a step', async () => {
    const own = await open(await encode(MODEL, { bits: 3, each: true, hessians: HESSIANS }));
    for (const [name, { bits }] of own.tensors) assert.ok(bits <= 3 && bits > 2.9, `${name}: ${bits}`);
    const { reports } = await encodeWithReports(MODEL, { bits: 4, hessians: { a: HESSIANS.a, b: HESSIANS.b },
      tensors: [['a', { bits: 2.5 }], ['b', { step: 0.125 }]] });
    assert.deepEqual([...reports.values()].map((r) => r.hasFeedback), [true, true, false]);
    const [a, b, c] = reports.values();
    assert.ok(8 * a.bytes / a.weights <= 2.5 && 8 * a.bytes / a.weights > 2.4);
    assert.equal(b.step, 0.125);
    assert.ok(8 * c.bytes / c.weights <= 4 && 8 * c.bytes / c.weights > 3.9);
    const { reports: other } = await encodeWithReports(MODEL, { error: 0.1, hessians: HESSIANS });
    for (const { hasFeedback, relativeError } of other.values()) assert.ok(!hasFeedback && relativeError <= 0.1);
  });

  it('says what it lost of the weights', async () => {
    const { file, reports } = await encodeWithReports(MODEL, { bits: 3, hessians: HESSIANS });
    const model = await open(file);
    for (const [name, { data }] of Object.entries(MODEL)) {
      const values = await model.decode(name);
      const lost = Math.sqrt(data.reduce((sum, w, i) => sum + (w - values[i]) ** 2, 0)
        / data.reduce((sum, w) => sum + w * w, 0));
      const { relativeError, maxError } = reports.get(name);
      assert.ok(Math.abs(relativeError / lost - 1) < 1e-4, `${relativeError}, not ${lost}`);
      const most = data.reduce((worst, w, i) => Math.max(worst, Math.abs(w - values[i])), 0);
      assert.ok(Math.abs(maxError / most - 1) < 1e-4);
    }
  });

  for (const dtype of ['F16', 'BF16']) {
    it(`${dtype}: the indices are those of the same weights in F32`, async () => {
      const half = as(dtype, MODEL.b);
      const wide = await (await open(await encode({ b: half }, { lossless: true }))).decode('b', { dtype: 'F32' });
      const options = { step: 0.0625, hessians: { b: HESSIANS.b } };
      const [a, b] = await Promise.all([half, { ...MODEL.b, data: wide }].map(async (tensor) => (
        (await open(await encode({ b: tensor }, options))).symbols('b'))));
      assert.ok(same(a.data ?? a, b.data ?? b));
    });
  }

  it('F16 that cannot hold the grid is rounded plainly', async () => {
    const tensor = as('F16', f32([8, 64], gaussian(512, { sigma: 1e-6 })));
    const { reports } = await encodeWithReports({ w: tensor }, { step: 2 ** -25, always: true, saturate: true,
      hessians: { w: HESSIANS.c } });
    assert.equal(reports.get('w').hasFeedback, false);
  });

  it('convolutions and stacked experts: of trailing dimensions together', async () => {
    const data = gaussian(20 * 130, { seed: 8 });
    const hessians = { w: HESSIANS.b };
    for (const shape of [[20, 130], [20, 13, 10], [20, 13, 5, 2], [2, 10, 130], [20, 1, 130]]) {
      const model = await open(await encode({ w: f32(shape, data) }, { step: 0.5, hessians }));
      const flat = await open(await encode({ w: f32([20, 130], data) }, { step: 0.5, hessians }));
      assert.ok(same(await model.decode('w'), await flat.decode('w')), `${shape}`);
    }
  });

  it('Hessians come in many ways', async () => {
    const want = await encode(MODEL, { bits: 3, hessians: HESSIANS });
    const all = Object.entries(HESSIANS);
    const squares = Object.fromEntries(all.map(([name, h]) => [name, square(h, SHAPES[name][1])]));
    const ways = {
      'a Map': new Map(all), squares,
      'squares without a shape': Object.fromEntries(Object.entries(squares).map(([n, { data }]) => [n, data])),
      'a file': await open(new Uint8Array(plain(Object.fromEntries(all.map(([name, data]) => [name,
        { dtype: 'F32', shape: [data.length], data }])), [['hessians', '1']]))),
      'a file of squares': await open(new Uint8Array(plain(Object.fromEntries(Object.entries(squares).map(
        ([name, h]) => [name, { dtype: 'F32', ...h }])), [['hessians', '1']]))),
      'a coded file': await open(await encode(Object.fromEntries(all.map(([name, data]) => [name,
        { dtype: 'F32', shape: [data.length], data }])), { metadata: [['hessians', '1']] })),
    };
    for (const [way, hessians] of Object.entries(ways)) {
      assert.ok(same(want, await encode(MODEL, { bits: 3, hessians })), way);
    }
    const model = { a: MODEL.a, b: f32([30, 65], gaussian(1950, { seed: 7 })) };
    const shared = await open(new Uint8Array(plain({ a: { dtype: 'F32', shape: [HESSIANS.a.length], data: HESSIANS.a } },
      [['hessians', '1'], ['same:b', 'a'], ['same:c', 'a']])));
    assert.ok(same(await encode(model, { bits: 3, hessians: shared }),
      await encode(model, { bits: 3, hessians: { a: HESSIANS.a, b: HESSIANS.a } })));
  });

  it('a step must hold the weights, unless they may be cut off', async () => {
    const tensor = { a: MODEL.a };
    const options = { step: 0.01, hessians: { a: HESSIANS.a } };
    await assert.rejects(encode(tensor, options), { code: 'HANSEL_ERR_RANGE', where: 'a' });
    const { reports } = await encodeWithReports(tensor, { ...options, saturate: true });
    assert.ok(reports.get('a').saturated > 1000 && reports.get('a').hasFeedback);
  });

  it('degenerate ones are used: no inputs, one input, columns that never come', async () => {
    const zeros = new Float32Array(65 * 66 / 2);
    const single = hessianOf(INPUTS.a.subarray(0, 65), 65);
    const gaps = hessianOf(INPUTS.a.map((x, i) => (i % 65 % 3 ? x : 0)), 65);
    const w = { a: MODEL.a };
    const plainly = await open(await encode(w, { step: 0.5 }));
    const none = await open(await encode(w, { step: 0.5, hessians: { a: zeros } }));
    assert.ok(same(await plainly.decode('a'), await none.decode('a')), 'no inputs: plain');
    for (const a of [single, gaps]) {
      const { bits } = (await open(await encode(w, { bits: 3, hessians: { a } }))).tensor('a');
      assert.ok(bits <= 3 && bits > 2.9);
    }
    for (const shape of [[1, 1], [1, 64], [3, 1]]) {
      const n = shape[1];
      const h = hessianOf(makeInputs(n, 9, 2), n);
      await encode({ w: f32(shape) }, { step: 0.1, always: true, hessians: { w: h } });
    }
    const same7 = { a: f32([40, 65], new Float32Array(2600).fill(7)) };
    await encode({ ...same7, z: f32([40, 65], new Float32Array(2600)) },
      { bits: 3, hessians: { a: HESSIANS.a, z: HESSIANS.a } });
  });

  it('importances say where bits go, if all are known', async () => {
    const steps = async (/** @type {Record<string, number>} */ importances) => {
      const model = await open(await encode(MODEL, { bits: 3, hessians: { ...HESSIANS, ...Object.fromEntries(
        Object.entries(importances).map(([name, x]) => [`importance:${name}`, Float32Array.of(x)])) } }));
      return [...model.tensors.values()].map(({ step }) => step);
    };
    const [a, b, c] = await steps({ a: 4, b: 4, c: 4 });
    const [d, e, f] = await steps({ a: 4, b: 16, c: 1 });
    assert.ok(Math.abs(d / e / (a / b) - 2) < 0.02 && Math.abs(f / d / (c / a) - 2) < 0.02, `${[a, b, c, d, e, f]}`);
    const unknown = await steps({});
    for (const some of [{ a: 4 }, { a: 4, b: 0, c: 1 }]) assert.deepEqual(await steps(some), unknown);
    for (const bad of [-1, NaN, Infinity]) {
      await assert.rejects(steps({ a: bad }), { code: 'HANSEL_ERR_HESSIAN', message: /a: no importance/ });
    }
  });

  it('names what is no Hessian', async () => {
    const with_ = (/** @type {(h: Float32Array) => void} */ change) => {
      const h = HESSIANS.a.slice();
      change(h);
      return { a: h };
    };
    const lopsided = square(HESSIANS.a, 65);
    lopsided.data[64] += 1;
    const file = async (tensors, metadata) => open(new Uint8Array(plain(tensors, metadata)));
    const a = { dtype: 'F32', shape: [HESSIANS.a.length], data: HESSIANS.a };
    const bad = [
      [with_((h) => { h[70] = NaN; }), /a: not a Hessian .*row 1, column 6/],
      [with_((h) => { h[0] = -Infinity; }), /row 0, column 0/],
      [with_((h) => { h[1] = 1e30; }), /not a Hessian/],
      [with_((h) => { h[0] = -1; }), /not a Hessian/],
      [{ a: HESSIANS.b }, /wrong size .*8515 numbers/], [{ a: new Float32Array(0) }, /wrong size/],
      [{ a: lopsided }, /not symmetric/],
      [{ a: HESSIANS.a, b: HESSIANS.a }, /b: a Hessian of the wrong size .*2145 numbers/],
      [{ other: HESSIANS.a }, /Hessians of another model .*"a".*"other"/],
      [await file({ a }), /not a file of Hessians/],
      [await file({ a: { dtype: 'I32', shape: [2], data: new Int32Array(2) } }, [['hessians', '1']]), /no Hessian .*F32/],
      [await file({ a }, [['hessians', '1'], ['same:b', 'c']]), /a Hessian is missing/],
    ];
    for (const [hessians, message] of bad) {
      await assert.rejects(encode(MODEL, { bits: 3, hessians }), { code: 'HANSEL_ERR_HESSIAN', message });
    }
    for (const hessians of [null, 7, 'file', { a: [1, 2] }, { a: null }]) {
      await assert.rejects(encode(MODEL, { bits: 3, hessians }), { code: 'HANSEL_ERR_ARGUMENT' });
    }
  });

  it('names weights that are no numbers, and stops when it is told to', async () => {
    const data = MODEL.a.data.slice();
    data[5000] = Infinity;
    for (const aim of [{ step: 0.5 }, { bits: 3 }]) {
      await assert.rejects(encode({ a: f32([300, 65], data) }, { ...aim, hessians: HESSIANS }),
        { code: 'HANSEL_ERR_NOT_FINITE', where: 'a', position: 5000 });
    }
    const large = gaussian(1100 * 1024);
    large[1099 * 1024 + 7] = NaN;
    const hessians = { w: new Float32Array(1024 * 1025 / 2) };
    await assert.rejects(encode({ w: f32([1100, 1024], large) }, { step: 0.5, hessians }),
      { code: 'HANSEL_ERR_NOT_FINITE', message: new RegExp(`index ${1099 * 1024 + 7}`) });
    const stop = new AbortController();
    const phases = [];
    await assert.rejects(encode(MODEL, { bits: 3, hessians: HESSIANS, signal: stop.signal, onProgress: (p) => {
      phases.push(p.phase);
      if (p.done > 0) stop.abort();
    } }), { code: 'HANSEL_ERR_ABORTED' });
    assert.ok(phases.includes('fit'));
  });
});
