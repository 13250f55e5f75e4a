/** Tensors of several matrices in files: all ways to read them, and blobs that contradict the directory. */
import assert from 'node:assert/strict';
import { convert } from '../../web/core/convert.js';
import { Encoder } from '../../web/core/encoder.js';
import { memorySpool } from '../../web/encode/encode.js';
import { TensorEncoder } from '../../web/encode/tensor_encoder.js';
import { LOSSLESS, PLANES } from '../../web/file/records.js';
import { encode, open } from '../../web/hansel.js';
import { createPool } from '../../web/workers/pool.js';
import { fileOf } from './directory_file.js';
import { formulaRandom } from './formula.js';
import { KINDS, awq, gguf, gptq, mlx } from './quantized.js';
import { as, bytesOf, count, f32, gaussian, same } from './tensors.js';

/** Gaussian rows of three scales. */
function scaled(rows, columns) {
  const data = gaussian(rows * columns, { seed: 3 });
  return f32([rows, columns], data.map((x, i) => x * [1, 0.1, 0.01][Math.floor(i / columns) % 3]));
}
const bytes = ({ shape, data }) => ({
  dtype: 'I8', shape, data: Int8Array.from(data, (x) => Math.max(-127, Math.min(127, x * 40))),
});
const w = scaled(300, 400);
const CLASSES = { f32: w, f16: as('F16', w), bf16: as('BF16', w), i8: bytes(w) };

/** One blob. @param {string} dtype @param {number[]} shape @param {Uint8Array} data */
async function blobOf(dtype, shape, data) {
  const spool = memorySpool();
  const encoder = new TensorEncoder(createPool(await Encoder.create()),
    { name: 'w', dtype, shape, read: async (a, b) => data.subarray(a, b) }, {});
  const { head } = await encoder.code(await encoder.plan(true), spool);
  await spool.keep(head);
  return new Uint8Array(Buffer.concat(spool.chunks));
}

/** @param {any[]} said dtype, shape, record as it depends on the sizes of blobs @param {Uint8Array[]} blobs */
const fileWith = ([dtype, shape, record], blobs) => fileOf(
  { w: [dtype, shape, record(blobs.map(({ length }) => length))] }, Buffer.concat(blobs));

describe('several matrices', function () {
  this.timeout(60000);

  it('every quantized layout comes back bit for bit, and verifies', async () => {
    const files = [gptq(256, 96), gptq(320, 96, { group: 128 }), awq(256, 96), mlx(96, 256), CLASSES,
      Object.fromEntries(Object.entries(gptq(256, 96)).reverse()),
      Object.fromEntries(KINDS.map((kind) => [kind, gguf(kind, 96, 4)]))];
    let planes = 0;
    for (const tensors of files) {
      for (const options of [{}, { threads: 2 }]) {
        const model = await open(await encode(tensors, options), options);
        for (const [name, { data }] of Object.entries(tensors)) {
          assert.ok(same(await model.decode(name), data), name);
          planes += Number(model.place(name).record.kind === PLANES);
          await model.verify(name);
        }
        await model.close();
      }
    }
    assert.ok(planes >= 2 * 13, `${planes}`);
  });

  it('slices, rows, dtypes, arrays of yours, progress', async () => {
    const tensors = { ...CLASSES, q: gguf('Q8_0', 300, 12), ...gptq(256, 96) };
    const model = await open(await encode(tensors));
    for (const name of ['f32', 'f16', 'bf16', 'i8']) assert.ok(model.place(name).parts.length > 2, name);
    for (const name of ['f32', 'f16', 'i8', 'q', 'layer.qweight']) {
      const { data, shape } = tensors[name];
      const plain = bytesOf(data);
      const size = plain.length / count(shape);
      const got = new Uint8Array(plain.length);
      let done = 0;
      for await (const { start, bytes: some } of model.slices(name)) {
        assert.equal(start, done);
        got.set(some, start * size);
        done += some.length / size;
      }
      assert.ok(same(got, plain), name);
      const columns = size * shape[1];
      for (const [first, n] of [[0, 1], [7, 5], [shape[0] - 2, 2], [3, 0]]) {
        const some = await model.rows(name, first, n);
        assert.ok(same(some, plain.subarray(first * columns, (first + n) * columns)), `${name} ${first}`);
      }
      const seen = [];
      const kind = (await model.decode(name)).constructor;
      const into = new kind(count(shape)).fill(99);
      assert.equal(await model.decode(name, { into, onProgress: (p) => seen.push(p) }), into);
      assert.ok(same(into, plain), name);
      assert.ok((await model.decode(name, { shared: true })).buffer instanceof SharedArrayBuffer);
      assert.deepEqual(seen.at(-1), { done: count(shape), total: count(shape), tensor: name });
    }
    for (const [from, to] of [['f32', 'F16'], ['f16', 'F32'], ['bf16', 'F16']]) {
      const { dtype, data } = tensors[from];
      const wanted = convert(bytesOf(data), dtype, to);
      assert.ok(same(await model.decode(from, { dtype: to }), wanted), `${from} to ${to}`);
      const part = await model.rows(from, 11, 2, { dtype: to });
      assert.ok(same(part, wanted.subarray(11 * wanted.length / 300, 13 * wanted.length / 300)));
    }
    const x = gaussian(400);
    const y = await model.matvec('i8', x);
    assert.ok(y.every((sum, row) => Math.abs(sum - x.reduce(
      (a, v, i) => a + v * tensors.i8.data[400 * row + i], 0)) < 0.01));
  });

  it('symbols are bytes, and others have none; no head of all', async () => {
    const tensors = { ...CLASSES, q: gguf('Q8_0', 300, 12), ...gptq(256, 96) };
    const model = await open(await encode(tensors));
    assert.ok(same(await model.symbols('i8'), tensors.i8.data));
    assert.ok(same(await model.symbols('q'), tensors.q.data));
    assert.equal((await model.symbols('f32')).length, 300 * 400);
    await assert.rejects(model.symbols('layer.qweight'), { code: 'HANSEL_ERR_DTYPE', where: 'layer.qweight' });
    for (const name of ['i8', 'q']) {
      await assert.rejects(model.head(name), { code: 'HANSEL_ERR_DTYPE', where: name });
      await assert.rejects(model.payload(name), { code: 'HANSEL_ERR_DTYPE', where: name });
    }
    await assert.rejects(model.rows('i8', 299, 2), { code: 'HANSEL_ERR_ARGUMENT', where: 'i8' });
    await assert.rejects(model.decode('q', { dtype: 'F32' }), { code: 'HANSEL_ERR_DTYPE' });
  });

  it('F8 with every code, rows that are all equal, BOOL, F4, nothing', async () => {
    const tensors = {
      f8: { dtype: 'F8_E4M3', shape: [256, 256], data: Uint8Array.from({ length: 65536 }, (_, i) => (
        i % 256 && i % 5 ? formulaRandom(1, i) % (1 + (i >> 8) % 40) : i >> 8)) },
      equal: { dtype: 'I8', shape: [64, 256], data: Int8Array.from({ length: 16384 }, (_, i) => (
        (i >> 8) % 4 ? (i >> 8) % 4 : formulaRandom(2, i))) },
      bool: { dtype: 'BOOL', shape: [4096], data: Uint8Array.from({ length: 4096 }, (_, i) => formulaRandom(3, i) & 1) },
      f4: { dtype: 'F4', shape: [64, 128], data: Uint8Array.from({ length: 4096 }, (_, i) => (
        formulaRandom(4, i) % 5 + 16 * (formulaRandom(5, i) % 5))) },
      none: { dtype: 'I32', shape: [0, 4], data: new Int32Array(0) },
    };
    const model = await open(await encode(tensors));
    for (const [name, { data }] of Object.entries(tensors)) {
      assert.ok(same(await model.decode(name), data), name);
      await model.verify(name);
    }
  });

  /** Two classes of a 4 x 100 I8, whose map and matrices come from elsewhere. */
  const classes = (map, sizes = [2, 2], { dtype = 'I8', mapShape = [map.length], columns = 100 } = {}) => async () => (
    fileWith(['I8', [4, 100], (blobs) => ({ kind: LOSSLESS, matrix: { blobs, entropy: 1 } })], [
      await blobOf('U8', mapShape, Uint8Array.from(map)),
      ...await Promise.all(sizes.map((rows, k) => blobOf(dtype, [rows, columns],
        Uint8Array.from({ length: rows * columns }, (_, i) => formulaRandom(k, i) & 15)))),
    ]));
  /** 200 nibbles of 100 bytes. */
  const nibbles = (data, { dtype = 'U8', shape = [200], width = 4 } = {}) => async () => fileWith(
    ['I32', [25], (blobs) => ({
      kind: PLANES, blockBytes: 1, planes: [
        { bitOffset: 0, itemBits: 4, items: 2, dtype: 'U8', width, matrix: { blobs, entropy: 1 } },
      ],
    })], [await blobOf(dtype, shape, data)]);
  const some = Uint8Array.from({ length: 200 }, (_, i) => formulaRandom(1, i) & 15);

  it('what follows would be sound otherwise', async () => {
    for (const make of [classes([0, 1, 0, 1]), nibbles(some), nibbles(some, { shape: [2, 10, 10] })]) {
      const model = await open(await make());
      await model.verify('w');
      await model.decode('w');
    }
  });

  for (const [what, make, code] of [
    ['a class beyond the last', classes([0, 1, 0, 2]), 'CORRUPT'],
    ['a class without rows', classes([0, 0, 0, 0]), 'MANIFEST'],
    ['classes that are not as large as the map says', classes([0, 1, 1, 1]), 'MANIFEST'],
    ['a map of other rows', classes([0, 1, 0, 1, 0]), 'MANIFEST'],
    ['a map of two dimensions', classes([0, 1, 0, 1], [2, 2], { mapShape: [2, 2] }), 'MANIFEST'],
    ['matrices of another dtype', classes([0, 1, 0, 1], [2, 2], { dtype: 'U8' }), 'MANIFEST'],
    ['matrices of other columns', classes([0, 1, 0, 1], [2, 2], { columns: 50 }), 'MANIFEST'],
    ['the same weights in another shape', classes([0, 1, 0, 1], [4, 4], { columns: 50 }), 'MANIFEST'],
    ['a plane of fewer elements', nibbles(some.subarray(1), { shape: [199] }), 'MANIFEST'],
    ['a plane of very many elements', nibbles(new Uint8Array(200000), { shape: [200000] }), 'MANIFEST'],
    ['a plane of another dtype', nibbles(some, { dtype: 'I8' }), 'MANIFEST'],
    ['a nibble of 16', nibbles(some.map((n, i) => (i === 99 ? 16 : n))), 'CORRUPT'],
    ['nibbles that are all 16', nibbles(new Uint8Array(200).fill(16)), 'CORRUPT'],
  ]) {
    it(`refuses ${what}`, async () => {
      const model = await open(await make());
      const error = { name: 'HanselError', code: `HANSEL_ERR_${code}`, where: 'w' };
      await assert.rejects(model.decode('w'), error);
      await assert.rejects(model.verify('w'), error);
      await assert.rejects(model.rows('w', 0, 1), error);
    });
  }

  it('every flipped bit of the parts is noticed', async () => {
    const tensors = { w: bytes(scaled(24, 300)), ...gptq(64, 16) };
    const file = await encode(tensors);
    const model = await open(file); // whose bytes are its own
    for (const name of ['w', 'layer.qweight', 'layer.qzeros']) {
      const { start, end } = model.place(name);
      for (let at = start; at < end; at++) {
        file[at] ^= 1 << at % 8;
        await assert.rejects(model.verify(name), { name: 'HanselError', where: name }, `${name} ${at}`);
        file[at] ^= 1 << at % 8;
      }
      await model.verify(name);
    }
  });
});
