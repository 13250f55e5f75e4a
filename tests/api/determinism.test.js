/** The same bytes with any number of threads, in both WebAssembly builds, from any view. */
import assert from 'node:assert/strict';
import { Encoder } from '../../web/core/encoder.js';
import { dtypeBits } from '../../web/file/safetensors.js';
import { encode } from '../../web/hansel.js';
import { SLICE, as, bytesOf, f32, gaussian, readAll, same } from './tensors.js';

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
      assert.deepEqual(simd.fineCounts(dtype, bytes, 0.0007), scalar.fineCounts(dtype, bytes, 0.0007), name);
      const begin = (codec, options) => codec.begin({ dtype, weightsPerSymbol: 1, ...options });
      for (const step of [0.013, 0.11]) {
        const begun = [simd, scalar].map((codec) => (
          codec.next(begin(codec, { step, shape: [shape.at(-1), 261] }), {})));
        const found = simd.measure(begun[0].blob, bytes, true);
        assert.deepEqual(found, scalar.measure(begun[1].blob, bytes, true), name);
        const [a, b] = [simd.next(begun[0], found), scalar.next(begun[1], found)];
        assert.deepEqual(a, b, name);
        const part = bytes.slice(0, simd.streamStart(a.blob, 9) * dtypeBits(dtype) / 8);
        assert.deepEqual(simd.encodeRange(a.blob, part, 0, 9, true),
          scalar.encodeRange(b.blob, part, 0, 9, true), name);
      }
      const { counts } = simd.windowCounts(dtype, bytes);
      assert.deepEqual(counts, scalar.windowCounts(dtype, bytes).counts);
      const [a, b] = [simd, scalar].map((codec) => codec.next(
        begin(codec, { lossless: true, shape: [SLICE] }), { numbers: counts }).blob);
      assert.deepEqual(a, b);
      assert.deepEqual(simd.measure(a, bytes, false), scalar.measure(b, bytes, false));
      assert.deepEqual(simd.splitRaw(a, bytes), scalar.splitRaw(b, bytes));
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
