/** One rate for a whole model: what is shared out, and what is promised. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { encode, estimate, open } from '../../web/hansel.js';
import { searchCoarseness, shares, stepOf } from '../../web/encode/rate.js';
import { plain } from './command.js';
import { gaussian } from './tensors.js';

/** @param {number[]} shape @param {number} sigma @param {number} [seed] */
const f32 = (shape, sigma, seed = 1) => (
  { dtype: 'F32', shape, data: gaussian(shape.reduce((a, b) => a * b, 1), { seed, sigma }) });

const MODEL = {
  'embed_tokens.weight': f32([500, 64], 1), 'layers.0.q.weight': f32([64, 64], 0.1, 2),
  'layers.0.up.weight': f32([256, 64], 0.03, 3), 'layers.0.norm.weight': f32([64], 1, 4),
  'layers.0.zero.weight': { dtype: 'F32', shape: [64, 64], data: new Float32Array(4096) },
  'layers.0.tiny.weight': f32([2, 3], 5, 5), 'lm_head.weight': f32([500, 64], 0.2, 6),
};

/** @param {Uint8Array} file */
async function rateOf(file) {
  const model = await open(file);
  const grids = [...model.tensors].filter(([, { mode }]) => mode === 'grid');
  const sum = (key) => grids.reduce((all, [, tensor]) => all + tensor[key], 0);
  return { model, bits: 8 * sum('bytes') / sum('weights'), tensors: new Map(grids) };
}

describe('a rate for a whole model', () => {
  for (const bits of [1.3, 2, 3, 4, 5.5]) {
    it(`${bits} bits are met, closely, and shared`, async () => {
      const { bits: found, tensors } = await rateOf(await encode(MODEL, { bits }));
      // A tensor of zeros costs next to nothing, and takes no part.
      const shared = [...tensors].filter(([name]) => !/zero|tiny/.test(name)).map(([, tensor]) => tensor);
      const sum = (key) => shared.reduce((all, tensor) => all + tensor[key], 0);
      const own = 8 * sum('bytes') / sum('weights');
      assert.ok(found <= bits && own <= bits && own > bits - 0.01, `${own}`);
      const q = tensors.get('layers.0.q.weight');
      const up = tensors.get('layers.0.up.weight');
      if (bits > 2) assert.ok(q.bits > up.bits + 0.7, 'a quarter of the weights, half the step: a bit more');
    });
  }

  it('never takes more, whatever the model', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const names = ['a', 'b', 'c', 'embed', 'x.experts.w'].slice(0, 1 + seed % 5);
      const model = Object.fromEntries(names.map((name, i) => [name,
        f32(i === 4 ? [3, 40, 33] : [17 + seed * i * 13 % 90, 50 + 31 * seed % 77], 10 ** (i - seed % 3), seed + i)]));
      const bits = 1 + seed * 0.6;
      const { bits: found } = await rateOf(await encode(model, { bits }));
      assert.ok(found <= bits, `${found} of ${bits}, model ${seed}`);
    }
  });

  it('of weights on borders of steps, few values, or one', async () => {
    const g = f32([64, 64], 0.5, 3);
    const shapes = {
      line: Float32Array.from({ length: 96 }, (_, i) => 2 * i / 95 - 1),
      halves: Float32Array.from({ length: 480 }, (_, i) => (i * 7 % 31 - 15) / 2),
      signs: Float32Array.from({ length: 480 }, (_, i) => (i % 3 ? 1 : -1)),
      one: new Float32Array(480).fill(3), spike: Float32Array.from({ length: 480 }, (_, i) => (i === 7 ? 1e30 : 1e-30)),
      tiny: Float32Array.from({ length: 480 }, (_, i) => (i - 240) * 1e-40),
    };
    for (const [what, data] of Object.entries(shapes)) {
      for (const bits of [0.5, 1, 2, 3, 4, 5, 7, 9]) {
        const { bits: found } = await rateOf(await encode({ s: { dtype: 'F32', shape: [8, data.length / 8], data }, g }, { bits }));
        assert.ok(!(found > bits), `${what}: ${found} of ${bits}`);
      }
    }
  });

  it('gives the trained model one coarseness', async () => {
    const file = new URL('../../web/demo/models/licence-llama/model.hansel.safetensors', import.meta.url);
    const model = await open(new Uint8Array(await readFile(file)));
    /** @type {Record<string, any>} */
    const tensors = {};
    for (const [name, { dtype, shape }] of model.tensors) {
      tensors[name] = { dtype, shape, data: await model.decode(name) };
    }
    const { tensors: found, bits } = await rateOf(await encode(tensors, { bits: 3 }));
    assert.ok(bits <= 3 && bits > 2.99);
    // The rule: the relative error goes by the root of the weights, embeddings by half of them.
    const steps = [...found].map(([name, { step }]) => {
      const { data, shape } = tensors[name];
      const sigma = Math.sqrt(data.reduce((sum, w) => sum + w * w, 0) / data.length);
      const weights = shape[0] * shape[1] / (/embed|lm_head/.test(name) ? 2 : 1);
      return step / sigma / Math.sqrt(weights);
    });
    // Some took a little more than was foreseen, and are coarser by as little.
    assert.ok(Math.max(...steps) / Math.min(...steps) < 1.02, 'one coarseness for all');
  });

  it('does not depend on threads, nor on whether tensors are of a file', async () => {
    const one = await encode(MODEL, { bits: 3.3 });
    assert.equal(Buffer.compare(one, await encode(MODEL, { bits: 3.3, threads: 3 })), 0);
    const file = await open(new Uint8Array(plain(MODEL)));
    assert.equal(Buffer.compare(one, await encode(file, { bits: 3.3 })), 0);
  });

  it('each: no tensor takes more', async () => {
    const { tensors } = await rateOf(await encode(MODEL, { bits: 3, each: true }));
    for (const [name, { bits }] of tensors) assert.ok(bits <= 3, name);
    assert.ok(tensors.get('layers.0.up.weight').bits > 2.98);
    await assert.rejects(encode(MODEL, { each: true }), { code: 'HANSEL_ERR_ARGUMENT', message: /each needs bits/ });
  });

  it('tensors of their own take no part', async () => {
    const { model, tensors } = await rateOf(await encode(MODEL, { bits: 3, tensors: [
      [/.*/, { bits: 2 }], ['layers.0.up.weight', { bits: 5 }], [/lm_head.*/, { keep: true }],
      ['embed_tokens.weight', { lossless: true }], ['layers.0.q.weight', { step: 0.25 }],
      ['layers.0.norm.weight', { error: 0.1 }],
    ] }));
    assert.ok(tensors.get('layers.0.up.weight').bits <= 5 && tensors.get('layers.0.up.weight').bits > 4.95);
    assert.equal(tensors.get('layers.0.q.weight').step, 0.25);
    assert.equal(model.tensor('embed_tokens.weight').mode, 'lossless');
    assert.equal(model.tensor('lm_head.weight').mode, 'pass-through');
    assert.equal(model.tensor('layers.0.norm.weight').mode, 'grid', 'short, but asked for by name');
    const mixed = await rateOf(await encode(MODEL, { bits: 3, tensors: [['embed_tokens.weight', { bits: 6 }]] }));
    const rest = [...mixed.tensors].filter(([name]) => !/embed|zero/.test(name)).map(([, tensor]) => tensor);
    const sum = (key) => rest.reduce((all, tensor) => all + tensor[key], 0);
    const bits = 8 * sum('bytes') / sum('weights');
    assert.ok(bits <= 3 && bits > 2.98, `${bits}`);
    assert.ok(mixed.tensors.get('embed_tokens.weight').bits > 5.9);
  });

  it('names aims that are none', async () => {
    for (const [tensors, message] of [
      ['w', /impossible tensors/], [[['w', {}]], /no aim of w/], [[['w', { bits: 3, step: 1 }]], /more than one aim/],
      [[['w', { bits: -1 }]], /impossible bits/], [[['w', { bit: 1 }]], /no such aim/], [[['(', { bits: 1 }]], /not a pattern/],
    ]) {
      await assert.rejects(encode(MODEL, { bits: 3, tensors }), { code: 'HANSEL_ERR_ARGUMENT', message });
    }
    const data = Float32Array.from({ length: 4096 }, () => 1);
    data[77] = NaN;
    await assert.rejects(encode({ ...MODEL, bad: { dtype: 'F32', shape: [64, 64], data } }, { bits: 3 }),
      { code: 'HANSEL_ERR_NOT_FINITE', where: 'bad', position: 77 });
    const stop = new AbortController();
    await assert.rejects(encode(MODEL, { bits: 3, signal: stop.signal, onProgress: () => stop.abort() }),
      { code: 'HANSEL_ERR_ABORTED' });
  });

  it('is foreseen', async () => {
    const file = await open(new Uint8Array(plain(MODEL)));
    for (const bits of [2.5, 4]) {
      const { tensors, bits: foreseen } = (await estimate(file)).at({ bits });
      const { tensors: found, bits: made } = await rateOf(await encode(file, { bits }));
      assert.ok(Math.abs(foreseen - made) < 0.1, `${foreseen}, not ${made}`);
      for (const [name, { step }] of found) {
        if (/zero|tiny/.test(name)) continue;
        assert.ok(Math.abs(Math.log2(tensors.get(name).step / step)) < 0.05, `${name}: ${tensors.get(name).step}, ${step}`);
      }
    }
  });

  it('the rule knows embeddings by name, or by shape, and experts', () => {
    const of = (/** @type {Record<string, number[]>} */ shapes) => Object.fromEntries(
      shares(Object.entries(shapes).map(([name, shape]) => ({ name, shape }))));
    assert.deepEqual(of({ 'wte.weight': [1000, 10], 'wpe.weight': [100, 10], 'h.0.w': [10, 40], 'lm_head.weight': [30, 10] }),
      { 'wte.weight': 500, 'wpe.weight': 1000, 'h.0.w': 400, 'lm_head.weight': 150 });
    assert.deepEqual(of({ a: [1000, 10], b: [10, 40], c: [40, 10] }), { a: 200, b: 400, c: 400 });
    assert.deepEqual(of({ 'x.experts.up': [8, 10, 20], b: [10, 40] }), { 'x.experts.up': 200, b: 400 });
    assert.deepEqual(of({ 'output.weight': [50, 10] }), { 'output.weight': 250 });
    assert.deepEqual(of({ 'attention.output.dense.weight': [20, 10], 'position_embeddings.weight': [60, 10] }),
      { 'attention.output.dense.weight': 200, 'position_embeddings.weight': 600 });
  });

  it('the search ends, whatever it is told', () => {
    const scales = [{ weights: 10, least: 0.01, sigma: 1, root: 3 },
      { weights: 99, least: 1e-9, sigma: 1e-4, root: 9 }];
    for (const bits of [() => 0, () => 99, () => NaN, Math.random, (_, i) => 8 - i, (_, i) => i]) {
      const search = searchCoarseness(scales, 4);
      let [rounds, next] = [0, search.next()];
      for (; !next.done; rounds++) next = search.next(bits(next.value, rounds));
      assert.ok(rounds < 20);
      assert.ok(next.value > 0);
    }
    assert.equal(stepOf(scales[0], 1e-9), Math.fround(0.01));
  });
});
