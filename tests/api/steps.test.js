/** A given step: the level that each weight falls on, and the weights that no level holds. */
import assert from 'node:assert/strict';
import { HanselError, encode, open } from '../../web/hansel.js';
import {
  SLICE, count, encodeWithReports, f32, fromBits, gaussian, gridIndex, halfValue, same,
} from './tensors.js';

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
