/** F32, F16 and BF16 into each other, every pattern of the halves. */
import assert from 'node:assert/strict';
import { convert } from '../../web/core/convert.js';
import { encode, open } from '../../web/hansel.js';
import { as, bytesOf, f32, fromBits, gaussian, halfValue, same, toBits } from './tensors.js';

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
