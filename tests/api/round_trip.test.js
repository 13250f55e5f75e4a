/** What encode() writes, decode() gives back: every dtype, shape and kind of name. */
import assert from 'node:assert/strict';
import { RandomState } from '../../web/cli/sample.js';
import { convert } from '../../web/core/convert.js';
import { dtypeBits } from '../../web/file/safetensors.js';
import { encode, open } from '../../web/hansel.js';
import {
  as, bytesOf, count, f32, gaussian, gridIndex, readAll, relativeError, same, toBits,
} from './tensors.js';

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

    // The coded plane of a float: exponent and some of the mantissa, FORMAT.md section 5.
    const lossless = await open(await encode({ w, b: as('BF16', w) }));
    const halves = new Uint16Array(as('BF16', w).data.buffer);
    for (const [name, bits, mantissa] of [['w', Array.from(w.data, toBits), 23], ['b', [...halves], 7]]) {
      const { blob: { mantissaBits, windowBase } } = await lossless.headOf(name);
      assert.ok(mantissaBits > 0 && windowBase > 0, name);
      const fields = bits.map((x) => (x & 2 ** (name === 'w' ? 31 : 15) - 1) >>> mantissa - mantissaBits);
      const symbols = Uint8Array.from(fields, (field) => (field ? field - windowBase : 0));
      assert.deepEqual(await lossless.symbols(name), new Int8Array(symbols.buffer), name);
    }

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

  it('other dtypes pass through bit by bit', async () => {
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
      assert.ok(result.get(dtype).BYTES_PER_ELEMENT <= dtypeBits(dtype) / 8
        || dtypeBits(dtype) < 8);
    }
    assert.ok(result.get('I64') instanceof BigInt64Array);
    assert.ok(result.get('F64') instanceof Float64Array);
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
      assert.equal(model.tensor(name).mode, 'lossless', name);
    }
  });
});
