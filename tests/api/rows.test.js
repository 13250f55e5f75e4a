/** model.rows() and WasmMatrix.decodeRows(): some rows, as the whole tensor has them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serve } from '../../web/cli/serve.js';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { encode, open } from '../../web/hansel.js';
import { makeCase, random } from '../gpu/cases.js';
import { claim } from './claims.js';

/** Row ranges worth trying. @param {number} rows @returns {[number, number][]} */
const ranges = (rows) => [[0, 1], [0, rows], [rows - 1, 1], [Math.floor(rows / 3), 2], [rows, 0], [0, 0]]
  .filter(([first, count]) => first >= 0 && first + count <= rows);

/** Same bits. */
function same(got, whole, from, to, what) {
  assert.equal(got.constructor, whole.constructor, what);
  assert.deepEqual(new Uint8Array(got.buffer, got.byteOffset, got.byteLength),
    new Uint8Array(whole.slice(from, to).buffer), what);
}

const CASES = [
  { what: 'several rows to a stream', dtype: 'F32', shape: [301, 67], options: { bits: 5 } },
  { what: 'a row to a stream', dtype: 'F32', shape: [40, 1024], options: { bits: 5, streamLength: 1024 } },
  {
    what: 'streams are pieces of rows', dtype: 'F32', shape: [7, 5003],
    options: { bits: 4, streamLength: 512 },
  },
  { what: 'lossless F32', dtype: 'F32', shape: [33, 129], options: { lossless: true } },
  {
    what: 'lossless BF16, pieces', dtype: 'BF16', shape: [5, 4099],
    options: { lossless: true, streamLength: 256 },
  },
  { what: 'BF16 on a grid', dtype: 'BF16', shape: [50, 50], options: { bits: 4 } },
  { what: 'I8', dtype: 'I8', shape: [90, 31], options: {} },
  { what: 'three dimensions', dtype: 'I8', shape: [5, 6, 70], options: {} },
  { what: 'a convolution', dtype: 'F32', shape: [32, 17, 3, 3], options: { bits: 5 }, rowDims: 3 },
  {
    what: 'a convolution, lossless pieces', dtype: 'BF16', shape: [5, 301, 3, 3], rowDims: 3,
    options: { lossless: true, streamLength: 256 },
  },
  {
    what: 'a convolution, four weights to a symbol', dtype: 'I8', shape: [31, 50, 5], spread: 0.25,
    fold: 4, options: { weightsPerSymbol: 4 }, rowDims: 2,
  },
  { what: 'one dimension is one row', dtype: 'F32', shape: [5000], options: { step: 0.1 } },
  { what: 'all equal', dtype: 'I8', shape: [100, 100], fill: 7, options: {} },
  {
    what: 'two weights to a symbol', dtype: 'I8', shape: [203, 71], spread: 1.5, fold: 2,
    options: { weightsPerSymbol: 2 },
  },
  {
    what: 'four weights to a symbol', dtype: 'I8', shape: [203, 71], spread: 0.25, fold: 4,
    options: { weightsPerSymbol: 4 },
  },
  {
    what: 'two to a symbol, pieces', dtype: 'I8', shape: [3, 20003], spread: 1.5, fold: 2,
    options: { weightsPerSymbol: 2 },
  },
  { what: 'passed through', dtype: 'F32', shape: [19, 11], options: { include: 'no such' } },
  { what: 'passed through, F16', dtype: 'F16', shape: [19, 11], options: { include: 'no such' } },
];

/** @param {any} part */
async function make({ dtype, shape, options, fill, spread = 9 }) {
  const r = random(11);
  const count = shape.reduce((a, b) => a * b);
  const floats = Float32Array.from({ length: count }, r.gauss);
  const data = dtype === 'I8' ? Int8Array.from(floats, (v) => fill ?? Math.round(spread * v))
    : dtype === 'F32' ? floats
      : Uint16Array.from(new Uint32Array(floats.buffer),
        (bits) => (dtype === 'BF16' ? bits >>> 16 : 0x3c00 | bits & 1023));
  return encode({ w: { dtype, shape, data } }, { always: options.include === undefined, ...options });
}

describe('rows', () => {
  for (const part of CASES) {
    it(part.what, async () => {
      const model = await open(await make(part));
      const { mode, dtype, shape } = model.tensor('w');
      assert.equal(mode === 'pass-through', part.what.startsWith('passed through'));
      const columns = shape[shape.length - 1];
      const rows = model.tensor('w').weights / columns;
      const dtypes = [undefined, ...(dtype.startsWith('I') ? [] : ['F32', 'BF16']),
        ...(mode === 'grid' ? ['I8'] : [])];
      for (const target of dtypes) {
        const whole = await model.decode('w', { dtype: target });
        for (const [first, count] of ranges(rows)) {
          same(await model.rows('w', first, count, { dtype: target }), whole, first * columns,
            (first + count) * columns, `${target}, ${count} from ${first}`);
        }
      }
      const matrix = await new WasmBackend().load(model, 'w');
      if (mode !== 'pass-through') assert.equal(matrix.blob.weightsPerSymbol, part.fold ?? 1);
      const whole = await model.decode('w', { dtype: dtype === 'I8' ? dtype : 'F32' });
      const width = shape.slice(-(part.rowDims ?? 1)).reduce((a, b) => a * b); // of the matrix view
      assert.equal(matrix.columns, width);
      for (const [first, count] of ranges(whole.length / width)) {
        same(await matrix.decodeRows(first, count), whole, first * width, (first + count) * width,
          `${count} from ${first}`);
      }
      matrix.destroy();
      await assert.rejects(matrix.decodeRows(0, 1), { code: 'HANSEL_ERR_DESTROYED' });
    });
  }

  it('of 2^21 weights, in several batches', async () => {
    const data = new Int8Array(1 << 21).map((_, i) => Math.imul(i, 2654435761) >> 28);
    const model = await open(await encode({ w: { dtype: 'I8', shape: [1 << 11, 1 << 10], data } }));
    same(await model.rows('w', 3, 2040), data, 3 << 10, 2043 << 10, 'many');
  });

  it('empty tensors have none', async () => {
    for (const shape of [[0, 5], [5, 0]]) {
      const model = await open(await encode({ w: { dtype: 'I8', shape, data: new Int8Array(0) } },
        { always: true }));
      assert.equal((await model.rows('w', 0, shape[0])).length, 0);
    }
  });

  it('refuses rows that are not there', async () => {
    for (const part of [CASES[0], CASES.find(({ what }) => what === 'passed through')]) {
      const model = await open(await make(part));
      for (const [first, count] of [[-1, 1], [0.5, 1], [part.shape[0], 1], [0, part.shape[0] + 1],
        [0, -1], [NaN, 1], [0, undefined], ['0', 1]]) {
        await assert.rejects(model.rows('w', first, count), { code: 'HANSEL_ERR_ARGUMENT', where: 'w' });
      }
      await assert.rejects(model.rows('x', 0, 1), { code: 'HANSEL_ERR_TENSOR' });
      await assert.rejects(model.rows('w', 0, 1, { dtype: 'U8' }), { code: 'HANSEL_ERR_DTYPE' });
    }
  });

  it('finds a damaged stream, and leaves the others alone', async () => {
    const file = await make(CASES[1]);
    const good = await open(file);
    const { start, end } = good.place('w');
    const bad = file.slice();
    bad[end - 600] ^= 64; // in one of the last streams
    assert.ok(end - 600 > start + 600);
    const model = await open(bad);
    assert.deepEqual(await model.rows('w', 0, 5), await good.rows('w', 0, 5));
    await assert.rejects(model.rows('w', 30, 10), { code: 'HANSEL_ERR_CORRUPT' });
  });

  it('of a head that claims 2^27 streams take no memory by their number', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hansel-rows-'));
    const path = join(folder, 'claim.safetensors');
    try {
      const { start, size } = await claim([2 ** 27, 8], false);
      assert.ok(start.length < 500 && size > 2 ** 31);
      await writeFile(path, start);
      await truncate(path, size); // zeros that take no room
      const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', `
        import { readFileSync } from 'node:fs';
        import { open } from './web/hansel.js';
        const model = await open(process.argv[1]);
        const error = await model.rows('w', 2 ** 27 - 2, 2).catch((e) => e);
        await model.head('w');
        console.log(error.code, /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status'))[1]);`,
      path], { cwd: new URL('../..', import.meta.url).pathname, encoding: 'utf8' });
      const [, code, kib] = /^(\w+) (\d+)\n$/.exec(stdout) ?? assert.fail(stderr);
      assert.equal(code, 'HANSEL_ERR_CORRUPT');
      assert.ok(Number(kib) < 300 * 1024, `${kib} KiB`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  for (const shape of [[4000, 512], [4, 70000, 7]]) it(`fetches no more than the head and the streams that hold them: ${shape}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hansel-rows-'));
    const file = await makeCase({
      dtype: 'I8', distribution: 'gauss', sigma: 30, seed: 5, options: {}, shape,
    });
    await writeFile(join(folder, 'w.safetensors'), file);
    /** @type {(string | undefined)[]} */
    const asked = [];
    const server = await serve(folder, { onRequest: ({ range }) => asked.push(range) });
    try {
      const model = await open(`${server.url}w.safetensors`);
      const last = shape.slice(0, -1).reduce((a, b) => a * b) - 1;
      for (const [first, count] of [[0, 1], [last >> 1, 3], [last, 1]]) await model.rows('w', first, count);
    } finally {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    }
    // Opening reads ahead; then the whole tensor is asked for once, and left after its head.
    const sizes = asked.map((range) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? assert.fail(`asked for ${range}`);
      return Number(to) - Number(from) + 1;
    });
    // Streams of 16384 symbols.
    assert.ok(sizes.filter((size) => size < 30000).length >= 2, String(sizes));
    assert.ok(sizes.filter((size) => size >= 30000).length <= 2, String(sizes));
  });

  it('SIMD and scalar wasm multiply alike, bit for bit, in all batches', async () => {
    const r = random(12);
    for (const options of [{ step: 0.05 }, { lossless: true }]) {
      for (const shape of [[40, 67], [3, 8], [5, 4099], [1, 1]]) {
        const data = Float32Array.from({ length: shape[0] * shape[1] }, r.gauss);
        const file = await encode({ w: { dtype: 'F32', shape, data } }, { ...options, always: true });
        for (const batch of [1, 3, 4, 5, 64]) {
          const x = Float32Array.from({ length: shape[1] * batch }, r.gauss);
          const [a, b] = await Promise.all([true, false].map(async (simd) => {
            const w = await new WasmBackend().load(await open(file, { simd }), 'w');
            return w.matmul(x, batch);
          }));
          assert.deepEqual(a, b, `${shape}, ${batch}`);
        }
      }
    }
  });
});
