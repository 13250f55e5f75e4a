/** y = W x on matrices that are not coded, beyond the conformance suite: parts, buffers of one's own. */
import assert from 'node:assert/strict';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { encode, open } from '../../web/hansel.js';
import { loadPlain, pickLayout } from '../../web/plain.js';
import { webgpu } from '../../web/webgpu.js';
import { withPage } from './chromium.js';
import { openDawn, withBindings } from './dawn.js';
import { BAD_PLAIN, checkDecoded, checkPlain } from './plain_cases.js';

/** @param {{count: number, problems: string[], worst: number}} result @param {string} where
 * @param {number} least products */
function pass({ count, problems, worst }, where, least) {
  assert.deepEqual(problems, []);
  assert.ok(count > least, `${count} products`);
  console.log(`      ${count} products, ${where}: largest error ${worst.toExponential(1)}`);
}

describe('plain products', function () {
  this.timeout(300000);
  let dawn;
  let gpu;
  before(async () => {
    dawn = await openDawn();
    gpu = await webgpu({ gpu: dawn.gpu });
  });
  after(() => gpu?.destroy());

  it('multiplies a decoded matrix where it lies', async () => {
    assert.deepEqual(await checkDecoded(gpu), []);
    assert.equal(gpu.buffers.size, 0);
  });

  it('without packed_4x8_integer_dot_product', async () => {
    const plain = await webgpu({ gpu: dawn.gpu });
    plain.hasPackedDot = false;
    pass(await checkPlain(plain, ['I8']), 'Dawn, dot_plain.wgsl', 200);
    plain.destroy();
  });

  it('cuts by rows when bindings are small', async () => {
    const [found, refused] = await withBindings(gpu, 80100, async () => {
      const wide = await open(await encode(
        { w: { dtype: 'I8', shape: [2, 90000], data: new Int8Array(180000) } }, { exclude: /w/ }));
      return [await checkPlain(gpu, ['I8', 'F16']), await loadPlain(gpu, wide, 'w').catch((error) => error)];
    });
    pass(found, 'Dawn, 80,100-byte bindings', 300);
    assert.ok(found.parts > 2);
    assert.equal(refused.code, 'HANSEL_ERR_LIMIT');
  });

  it('loads x for four rows at a time in groups, too, where there are many', async () => {
    const [rows, columns] = [2051, 1031]; // the last group has three
    const data = new Int8Array(rows * columns).map((_, i) => Math.imul(i, 2654435761) >> 24);
    const model = await open(await encode({ w: { dtype: 'I8', shape: [rows, columns], data } }, { exclude: /w/ }));
    const [x, bias] = [columns, rows].map((n) => new Float32Array(n).map((_, i) => Math.sin(i)));
    const xI8 = new Int8Array(columns).map((_, i) => i * 37);
    const expected = await new WasmBackend().load(model, 'w');
    const [sums, integers] = [await expected.matvec(x, { bias }), await expected.matvecI8(xI8)];
    for (const layout of /** @type {const} */ (['group', 'invocation'])) {
      const w = await loadPlain(gpu, model, 'w', { layout });
      assert.deepEqual(await w.matvecI8(xI8), integers, layout);
      const error = (await w.matvec(x, { bias })).reduce((most, y, i) => Math.max(most, Math.abs(y - sums[i])), 0);
      assert.ok(error < 1e-5 * Math.hypot(...sums), `${layout}: ${error}`);
      w.destroy();
    }
  });

  it('takes one invocation a row on software only', () => {
    const pick = (/** @type {any} */ info) => pickLayout(info);
    assert.equal(pick({ vendor: 'google', architecture: 'swiftshader' }), 'invocation');
    assert.equal(pick({ vendor: 'other', isFallbackAdapter: true }), 'invocation');
    assert.equal(pick({ vendor: 'nvidia', architecture: 'hopper' }), 'group');
    assert.equal(pickLayout(null), 'group');
  });

  describe('in Chromium', () => {
    let page;
    withPage((opened) => { page = opened; });

    it('a decoded matrix where it lies', async () => {
      const found = await page.run(async () => {
        const { webgpu: openGpu } = await import('/web/webgpu.js');
        const { webgl } = await import('/web/webgl.js');
        const cases = await import('/tests/gpu/plain_cases.js');
        const [device, context] = [await openGpu(), await webgl()];
        const result = [await cases.checkDecoded(device), await cases.checkDecodedTexture(context),
          device.buffers.size, context.objects.size];
        device.destroy();
        context.destroy();
        return result;
      });
      assert.deepEqual(found, [[], [], 0, 0]);
    });

    it('webgl within small limits: matrices in parts, batches in groups', async () => {
      const found = await page.run(async (given, { withTestGl }) => {
        const { webgl } = await import('/web/webgl.js');
        const cases = await import('/tests/gpu/plain_cases.js');
        const { checkHalves: halves } = await import('/tests/gpu/products_cases.js');
        return withTestGl({ check: false }, async (gl) => {
          const own = await webgl({ gl, limits: given });
          const result = {
            ...await cases.checkPlain(own, ['I8', 'F32']), decoded: await cases.checkDecodedTexture(own),
            load: await cases.checkLoad(own), bad: await cases.badPlain(own),
            halves: await halves(own, undefined, { exclude: /w/ }), left: own.objects.size,
          };
          own.destroy();
          return result;
        });
      }, { textureSize: 128, attachments: 4, layers: 8 });
      pass(found, 'WebGL2, small limits', 150);
      assert.deepEqual(found.decoded, []);
      assert.deepEqual(found.load, []);
      assert.deepEqual(found.bad, BAD_PLAIN.webgl);
      assert.deepEqual(found.halves, []);
      assert.equal(found.left, 0);
      assert.ok(found.parts > 2);
    });
  });
});
