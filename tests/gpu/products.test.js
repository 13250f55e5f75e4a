/** y = W x on coded weights: wasm, WebGPU on Dawn and in Chromium. */
import assert from 'node:assert/strict';
import { encode, open } from '../../web/hansel.js';
import { WasmBackend } from '../../web/wasm_backend.js';
import { webgpu } from '../../web/webgpu.js';
import { random } from './cases.js';
import { launch } from './chromium.js';
import { openDawn } from './dawn.js';
import { BAD_PRODUCTS, badProducts, checkProducts } from './products_cases.js';

/** @param {{count: number, problems: string[], worst: number}} result @param {string} where */
function pass({ count, problems, worst }, where) {
  assert.deepEqual(problems, []);
  assert.ok(count > 80);
  console.log(`      ${count} products, ${where}: largest error ${worst.toExponential(1)}`);
}

describe('products', function () {
  this.timeout(300000);
  let dawn;
  let gpu;
  before(async () => {
    dawn = await openDawn();
    gpu = await webgpu({ gpu: dawn.gpu });
  });
  after(() => gpu?.destroy());

  it('wasm', async () => pass(await checkProducts(new WasmBackend()), 'wasm'));
  it('wasm refuses bad input', async () => assert.deepEqual(
    await badProducts(new WasmBackend()), BAD_PRODUCTS));
  it('Dawn', async () => {
    pass(await checkProducts(gpu), 'Dawn');
    assert.equal(gpu.buffers.size, 0);
  });
  it('Dawn refuses bad input', async () => assert.deepEqual(await badProducts(gpu), BAD_PRODUCTS));

  it('model.matvec() is the same on the CPU', async () => {
    const data = new Int8Array(50 * 60).map((_, i) => i * 7 % 13 - 6);
    const model = await open(await encode({ w: { dtype: 'I8', shape: [50, 60], data } }));
    const x = new Float32Array(60).map((_, i) => i);
    const w = await new WasmBackend().load(model, 'w');
    assert.deepEqual(await model.matvec('w', x), await w.matvec(x));
  });

  it('splits: parts of a matrix give the same', async () => {
    const split = await webgpu({ gpu: dawn.gpu, limits: { bindingBytes: 20000 } });
    pass(await checkProducts(split).catch((error) => (
      { count: 0, problems: [error.message], worst: 0 })), 'Dawn, 20,000-byte bindings');
    split.destroy();
  });

  it('a chain of 24 layers, 4096 wide, without readback, equals the CPU\'s', async () => {
    const size = 4096;
    const layers = 24;
    const r = random(77);
    const base = Int8Array.from({ length: size * size }, () => Math.round(4 * r.gauss()));
    const start = Float32Array.from({ length: size }, r.gauss);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    // A row of 4096 indices of sigma 4 scales by about 4 * 64; the step undoes it.
    const step = 1 / 256;
    const buffers = [gpu.filled(start, usage, 'x'), gpu.buffer(4 * size, usage, 'y')];
    const encoder = gpu.device.createCommandEncoder();
    const computePass = encoder.beginComputePass();
    const matrices = [];
    let expected = start;
    for (let layer = 0; layer < layers; layer++) {
      const floats = new Float32Array(size * size);
      const shift = layer * 173 * size; // rows in another order: another matrix
      for (let i = 0; i < floats.length; i++) floats[i] = base[(i + shift) % floats.length] * step;
      const model = await open(await encode({ w: { dtype: 'F32', shape: [size, size], data: floats } },
        { step }));
      const w = await gpu.load(model, 'w');
      await w.products.prepare(false);
      w.products.encode(computePass, { x: buffers[layer % 2], y: buffers[(layer + 1) % 2] });
      matrices.push(w);
      expected = await (await new WasmBackend().load(model, 'w')).matvec(expected);
    }
    computePass.end();
    gpu.device.queue.submit([encoder.finish()]);
    const got = new Float32Array((await gpu.read(buffers[layers % 2], 0, 4 * size)).buffer);
    let error = 0;
    let norm = 0;
    expected.forEach((y, i) => {
      error += (y - got[i]) ** 2;
      norm += y * y;
    });
    assert.ok(norm > 1 && Number.isFinite(norm), `norm ${norm}`);
    assert.ok(Math.sqrt(error / norm) < 1e-4, `error ${Math.sqrt(error / norm)}`);
    for (const w of matrices) w.destroy();
    for (const buffer of buffers) gpu.free(buffer);
    assert.equal(gpu.buffers.size, 0);
  });

  describe('in Chromium', () => {
    let browser;
    let page;
    before(async () => {
      browser = await launch();
      page = await browser.openPage();
    });
    after(() => browser?.close());

    for (const kind of ['webgpu', 'wasm']) {
      it(kind, async () => {
        const result = await page.run(async (which) => {
          const { gpu: openGpu } = await import('/web/gpu.js');
          const { checkProducts: check, badProducts: bad } = await import('/tests/gpu/products_cases.js');
          const { gpu: backend } = await openGpu({ prefer: [which] });
          const found = { ...await check(backend), bad: await bad(backend) };
          backend.destroy();
          return found;
        }, kind);
        pass(result, `Chromium, ${kind}`);
        assert.deepEqual(result.bad, BAD_PRODUCTS);
      });
    }
  });
});
