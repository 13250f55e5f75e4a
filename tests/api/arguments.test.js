/** What encode() and a model refuse, and by which error. */
import assert from 'node:assert/strict';
import { HanselError, encode, open } from '../../web/hansel.js';
import { f32, readAll } from './tensors.js';

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
