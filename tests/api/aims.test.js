/** Bits and errors asked for are met; which tensors are coded at all. */
import assert from 'node:assert/strict';
import { encode, open } from '../../web/hansel.js';
import {
  as, count, encodeWithReports, f32, gaussian, readAll, relativeError, same,
} from './tensors.js';

describe('aims', function () {
  this.timeout(60000);
  const shape = [512, 1024];
  const data = gaussian(count(shape), { seed: 11, sigma: 0.02 });

  for (const dtype of ['F32', 'F16', 'BF16']) {
    it(`lossless ${dtype}: the entropy is that of symbols and raw bits`, async () => {
      const w = f32(shape, data);
      const model = await open(await encode({ w: dtype === 'F32' ? w : as(dtype, w) }));
      const { entropyBits, bits } = model.tensor('w');
      assert.ok(entropyBits <= bits && entropyBits > 0.98 * bits, `${entropyBits} of ${bits}`);
    });
  }

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
      assert.ok(Math.abs(entropy - tensor.entropyBits) <= 1 / 1024,
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
