/** Prefix codes and packed weights where WebGL2 has small textures: parts, tall tables, sums in pieces. */
import assert from 'node:assert/strict';
import { withPage } from './chromium.js';

/** Parts of 65,536 bytes: some blocks of rows, or one. */
const LIMITS = { textureSize: 64, attachments: 4, layers: 8, steps: 3 };

/**
 * Loads tensors, and compares all that can be asked of them with the CPU's.
 * @param {any[]} list cases, with `as`
 */
const check = async ([limits, list]) => {
  const { webgl } = await import('/web/webgl.js');
  const { open } = await import('/web/hansel.js');
  const { WasmBackend: Cpu } = await import('/web/gpu/wasm_device.js');
  const { makeCase, random } = await import('/tests/gpu/cases.js');
  const gpu = await webgl({ limits });
  const r = random(80);
  const found = [];
  for (const { as, ...one } of list) {
    const model = await open(await makeCase({ seed: 6, options: {}, ...one }));
    const [w, cpu] = [await gpu.load(model, 'w', { as }), await new Cpu().load(model, 'w')];
    const { rows, columns } = w;
    const bias = Float32Array.from({ length: rows }, r.gauss);
    const x = Float32Array.from({ length: 6 * columns }, r.gauss); // more than a texture
    const [got, expected] = [await w.matmul(x, 6, { bias }), await cpu.matmul(x, 6, { bias })];
    let [error, norm] = [0, 0];
    expected.forEach((y, i) => {
      error += (y - got[i]) ** 2;
      norm += y * y;
    });
    const bytes = Int8Array.from({ length: columns }, () => Math.floor(256 * r.next()) - 128);
    const isGrid = w.mode === 'grid';
    const sums = isGrid ? [await w.matvecI8(bytes), await cpu.matvecI8(bytes)] : [[], []];
    const last = [await w.decodeRows(rows - 3, 3), await cpu.decodeRows(rows - 3, 3)];
    found.push({
      form: w.form, parts: w.parts.length, error: Math.sqrt(error / norm),
      verified: (await w.verify()).ok, isSame: [sums, last].every(([a, b]) => a.every((v, i) => v === b[i])),
    });
    w.destroy();
  }
  const left = gpu.objects.size;
  gpu.destroy();
  return { found, left };
};

describe('streams on WebGL2 with small textures', () => {
  let page;
  withPage((opened) => { page = opened; });

  it('come in parts, and are decoded and multiplied as one matrix', async () => {
    const shapes = [
      { dtype: 'I8', distribution: 'gauss', sigma: 4, shape: [1000, 100], as: 'prefix' },
      { dtype: 'I8', distribution: 'gauss', sigma: 0.4, shape: [1030, 201], as: 'prefix' },
      { dtype: 'I8', distribution: 'gauss', sigma: 30, shape: [700, 129], as: 'packed' },
      { dtype: 'I8', distribution: 'gauss', sigma: 0.4, shape: [1030, 255], as: 'packed' },
      { dtype: 'F32', distribution: 'gauss', sigma: 1, shape: [600, 66], options: { lossless: true }, as: 'prefix' },
      { dtype: 'BF16', distribution: 'gauss', sigma: 1, shape: [600, 201], options: { lossless: true }, as: 'packed' },
    ];
    const { found, left } = await page.run(check, [LIMITS, shapes]);
    found.forEach(({ form, parts, error, verified, isSame }, i) => {
      const what = JSON.stringify(shapes[i]);
      assert.equal(form, shapes[i].as, what);
      assert.ok(parts > 1, `${what}: ${parts} parts`);
      assert.ok(error < 1e-5, `${what}: error ${error}`);
      assert.ok(verified && isSame, what);
    });
    assert.equal(left, 0);
  });

  it('of long runs and many pieces', async () => {
    const shapes = [
      { dtype: 'I8', distribution: 'gauss', sigma: 4, shape: [3, 15001], as: 'prefix' },
      { dtype: 'I8', distribution: 'gauss', sigma: 4, shape: [5, 8000], as: 'packed' },
      { dtype: 'I8', distribution: 'gauss', sigma: 0.6, shape: [12, 4500], as: 'auto' },
    ];
    const { found, left } = await page.run(check, [LIMITS, shapes]);
    for (const { form, error, verified, isSame } of found) {
      assert.notEqual(form, 'coded', JSON.stringify(found));
      assert.ok(error < 1e-5 && verified && isSame, `error ${error}`);
    }
    assert.equal(left, 0);
  });

  it('are refused, or stay coded, where 256 rows are larger than a texture', async () => {
    const [codes, form, left] = await page.run(async (limits) => {
      const { webgl } = await import('/web/webgl.js');
      const { open } = await import('/web/hansel.js');
      const { makeCase } = await import('/tests/gpu/cases.js');
      const gpu = await webgl({ limits });
      const model = await open(await makeCase({
        dtype: 'I8', distribution: 'gauss', sigma: 4, shape: [300, 260], seed: 6, options: { streamLength: 4096 },
      }));
      const codes = [];
      for (const as of ['prefix', 'packed', 'plain']) {
        codes.push(await gpu.load(model, 'w', { as }).then(() => 'none', (error) => error.code));
      }
      const w = await gpu.load(model, 'w');
      const { form } = w;
      w.destroy();
      const left = gpu.objects.size;
      gpu.destroy();
      return [codes, form, left];
    }, LIMITS);
    assert.deepEqual(codes, ['HANSEL_ERR_LIMIT', 'HANSEL_ERR_LIMIT', 'HANSEL_ERR_ARGUMENT']);
    assert.equal(form, 'coded');
    assert.equal(left, 0);
  });
});
