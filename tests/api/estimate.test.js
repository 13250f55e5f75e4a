// estimate() against what encode() makes of the same tensors; encode() of an open file; head().
import assert from 'node:assert/strict';
import { RandomState } from '../../web/cli/sample.js';
import { buildHeader } from '../../web/file/write_header.js';
import { encode, estimate, open } from '../../web/hansel.js';

/** A plain safetensors file. */
function plain(tensors) {
  const header = buildHeader(Object.entries(tensors).map(([name, { dtype, shape, data }]) => (
    [name, { dtype, shape, bytes: data.byteLength }])), [['who', 'me']]);
  return new Uint8Array(Buffer.concat([header, ...Object.values(tensors)
    .map(({ data: { buffer, byteOffset, byteLength } }) => Buffer.from(buffer, byteOffset, byteLength))]));
}

const random = new RandomState(7);
const gaussian = (count) => Float32Array.from({ length: count }, () => random.gauss());
const near = (got, expected, share, what) => assert.ok(Math.abs(got - expected) <= share * expected,
  `${what}: ${got}, not ${expected}`);

const FILE = plain({
  tall: { dtype: 'F32', shape: [1500, 900], data: gaussian(1500 * 900) },
  heavy: { dtype: 'F32', shape: [257, 301], data: gaussian(257 * 301).map((x) => x ** 3) },
  half: {
    dtype: 'BF16', shape: [200, 300],
    data: new Uint16Array(new Uint32Array(gaussian(60000).buffer).map((u) => u >>> 16)),
  },
  norm: { dtype: 'F32', shape: [900], data: gaussian(900) },
});

describe('estimate', function () {
  this.timeout(60000);
  let model;
  let estimated;
  before(async () => {
    model = await open(FILE);
    estimated = await estimate(model);
  });

  for (const aim of [{ bits: 7.5 }, { bits: 4 }, { bits: 2.3 }, { error: 0.01 }, { error: 0.2 }, { lossless: true }]) {
    it(`foresees what ${JSON.stringify(aim)} makes`, async () => {
      const said = estimated.at(aim);
      const file = await encode(model, aim);
      const coded = await open(file);
      near(said.bytes, file.length, 0.01, 'bytes');
      assert.equal(said.rawBytes, FILE.length);
      for (const [name, { mode, step, bits }] of coded.tensors) {
        const own = said.tensors.get(name);
        assert.equal(own.mode, mode, name);
        // What is passed through may be deflated.
        if (mode === 'pass-through') assert.ok(bits <= own.bits, name);
        else near(own.bits, bits, 0.012, `${name} bits`);
        if (mode !== 'grid') continue;
        near(own.step, step, 0.02, `${name} step`);
        const [x, y] = await Promise.all([coded, model].map((m) => m.decode(name, { dtype: 'F32' })));
        let [lost, energy] = [0, 0];
        for (let i = 0; i < x.length; i++) {
          lost += (x[i] - y[i]) ** 2;
          energy += y[i] ** 2;
        }
        near(own.error, Math.sqrt(lost / energy), 0.03, `${name} error`);
      }
    });
  }

  it('looks at a part of large tensors only', async () => {
    const small = await estimate(model, { sample: 1 << 18 });
    near(small.at({ bits: 4 }).error, estimated.at({ bits: 4 }).error, 0.02, 'error');
  });

  it('survives tensors that are empty, equal, tiny, or not to be coded', async () => {
    const odd = await open(plain({
      empty: { dtype: 'F32', shape: [0, 5], data: new Float32Array(0) },
      zeros: { dtype: 'F32', shape: [64, 64], data: new Float32Array(4096) },
      one: { dtype: 'F32', shape: [1, 1], data: Float32Array.of(3) },
      counts: { dtype: 'I64', shape: [4], data: new BigInt64Array(4) },
      bytes: { dtype: 'I8', shape: [100, 100], data: new Int8Array(10000).fill(3) },
    }));
    const made = await estimate(odd);
    for (const aim of [{ bits: 4 }, { error: 0.1 }, { lossless: true }]) {
      const file = await encode(odd, aim);
      const { tensors } = await open(file);
      const said = made.at(aim);
      for (const [name, { mode }] of tensors) assert.equal(said.tensors.get(name).mode, mode, `${name} ${JSON.stringify(aim)}`);
      assert.ok(Math.abs(said.bytes - file.length) < 100, `${said.bytes} ${file.length}`);
    }
  });

  it('names what it cannot do', async () => {
    await assert.rejects(estimate(await open(await encode(model, { bits: 4 }))), { code: 'HANSEL_ERR_MANIFEST' });
    const nan = await open(plain({ w: { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, NaN, 2, 3) } }));
    await assert.rejects(estimate(nan), { code: 'HANSEL_ERR_NOT_FINITE', where: 'w' });
    for (const aim of [{}, { bits: 0 }, { bits: 3, error: 0.1 }, { error: NaN }]) {
      assert.throws(() => estimated.at(aim), { code: 'HANSEL_ERR_ARGUMENT' });
    }
    await assert.rejects(estimate(model, { signal: AbortSignal.abort() }), { code: 'HANSEL_ERR_ABORTED' });
  });
});

describe('an open file as what encode() codes', function () {
  this.timeout(60000);
  it('gives the bytes that its tensors give, and keeps its metadata', async () => {
    const model = await open(FILE);
    const file = await encode(model, { bits: 5 });
    const tensors = new Map();
    for (const [name, { dtype, shape }] of model.tensors) {
      tensors.set(name, { dtype, shape, data: await model.decode(name) });
    }
    const other = await encode(tensors, { bits: 5, metadata: model.metadata });
    assert.equal(Buffer.compare(file, other), 0);
    assert.equal((await open(file)).metadata.get('who'), 'me');
  });

  it('must not be coded already', async () => {
    const coded = await open(await encode(await open(FILE), { bits: 5 }));
    await assert.rejects(encode(coded, { bits: 4 }), { code: 'HANSEL_ERR_MANIFEST' });
  });
});

describe('head', function () {
  this.timeout(60000);
  it('accounts for every byte, and its frequencies for every symbol', async () => {
    for (const options of [{ bits: 4 }, { lossless: true }]) {
      const model = await open(await encode(await open(FILE), options));
      for (const [name, { mode, bytes, dtype }] of model.tensors) {
        if (mode === 'pass-through') continue;
        const head = await model.head(name);
        const parts = Object.values(head.bytes);
        assert.equal(parts.reduce((a, b) => a + b, 0), bytes, name);
        assert.ok(parts.every((n) => Number.isInteger(n) && n >= 0), JSON.stringify(head.bytes));
        assert.ok(head.bytes.padding < 48);
        assert.equal(head.bytes.raw > 0, mode === 'lossless' && dtype !== 'I8');
        const { frequencies, precision, weightsPerSymbol } = head;
        assert.equal([...frequencies.values()].reduce((a, b) => a + b, 0), weightsPerSymbol * 2 ** precision);
        for (const symbol of new Set(await model.symbols(name))) assert.ok(frequencies.has(symbol), `${symbol}`);
      }
    }
  });

  it('tells the matrix that a tensor is taken for', async () => {
    const make = (/** @type {number[]} */ ...shape) => {
      const count = shape.reduce((a, b) => a * b);
      return { dtype: 'I8', shape, data: new Int8Array(count).map((_, i) => i * i % 23) };
    };
    const model = await open(await encode({
      conv: make(64, 40, 3, 3), small: make(8, 4, 3, 3), blocks: make(8, 40, 32), two: make(3000, 3),
      pointwise: make(100, 50, 1), vector: make(5000),
    }, { always: true }));
    for (const [name, rows, columns] of /** @type {const} */ ([['conv', 64, 360], ['small', 96, 3],
      ['blocks', 320, 32], ['two', 3000, 3], ['pointwise', 100, 50], ['vector', 1, 5000]])) {
      const head = await model.head(name);
      assert.deepEqual([head.rows, head.columns], [rows, columns], name);
    }
  });

  it('knows all-equal tensors, and refuses tensors that are not coded', async () => {
    const model = await open(await encode({
      w: { dtype: 'F32', shape: [64, 64], data: new Float32Array(4096) },
      v: { dtype: 'F32', shape: [3], data: new Float32Array(3) },
    }, { bits: 4 }));
    assert.equal((await model.head('w')).streams, 0);
    await assert.rejects(model.head('v'), { code: 'HANSEL_ERR_DTYPE' });
    await assert.rejects(model.head('x'), { code: 'HANSEL_ERR_TENSOR' });
  });
});
