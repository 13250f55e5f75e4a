/** The trained language model, coded at some rates and without loss. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { encode, open } from '../../web/hansel.js';
import { as, readAll, relativeError, same } from './tensors.js';

const TRAINED = new URL('../../build/licence-llama.safetensors', import.meta.url);

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
      const file = await encode(tensors, { bits, each: true });
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
