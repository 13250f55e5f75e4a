/** y = W x on coded weights, beyond the conformance suite: parts, chains, buffers of one's own. */
import assert from 'node:assert/strict';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { encode, open } from '../../web/hansel.js';
import { webgpu } from '../../web/webgpu.js';
import { random } from './cases.js';
import { withPage } from './chromium.js';
import { openDawn, withBindings } from './dawn.js';
import { checkHalfBuffers, checkProducts } from './products_cases.js';

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

  it('vectors in F16 in buffers, with offsets and strides', async () => {
    const data = new Int8Array(500 * 30).map((_, i) => i * i % 23 - 11);
    for (const [shape, options] of [[[500, 30], {}], [[4, 30], { streamLength: 16 }]]) {
      const model = await open(await encode(
        { w: { dtype: 'I8', shape, data: data.subarray(0, shape[0] * shape[1]) } },
        { always: true, ...options }));
      const w = await gpu.load(model, 'w');
      assert.deepEqual(await checkHalfBuffers(gpu, w), []);
      w.destroy();
    }
    assert.equal(gpu.buffers.size, 0);
  });

  it('model.matvec() is the same on the CPU', async () => {
    const data = new Int8Array(50 * 60).map((_, i) => i * 7 % 13 - 6);
    const model = await open(await encode({ w: { dtype: 'I8', shape: [50, 60], data } }));
    const x = new Float32Array(60).map((_, i) => i);
    const w = await new WasmBackend().load(model, 'w');
    assert.deepEqual(await model.matvec('w', x), await w.matvec(x));
  });

  it('splits: parts of a matrix give the same', async () => {
    pass(await withBindings(gpu, 80000, () => checkProducts(gpu)), 'Dawn, 80,000-byte bindings');
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
    for (let i = 0; i < 4; i++) { // in turn: to code 24 would take most of the time
      const floats = new Float32Array(size * size);
      const shift = i * 173 * size; // rows in another order: another matrix
      for (let k = 0; k < floats.length; k++) floats[k] = base[(k + shift) % floats.length] * step;
      const model = await open(await encode({ w: { dtype: 'F32', shape: [size, size], data: floats } },
        { step }));
      const w = await gpu.load(model, 'w');
      await w.products.prepare(false);
      matrices.push({ w, cpu: await new WasmBackend().load(model, 'w') });
    }
    let expected = start;
    for (let layer = 0; layer < layers; layer++) {
      const { w, cpu } = matrices[layer % matrices.length];
      w.products.encode(computePass, { x: buffers[layer % 2], y: buffers[(layer + 1) % 2] });
      expected = await cpu.matvec(expected);
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
    for (const { w } of matrices) w.destroy();
    for (const buffer of buffers) gpu.free(buffer);
    assert.equal(gpu.buffers.size, 0);
  });

  describe('in Chromium', () => {
    let page;
    withPage((opened) => { page = opened; });

    // Rows in segments, sums in blocks, batches in groups, matrices in parts.
    it('webgl within small limits', async () => {
      const limits = { textureSize: 256, attachments: 4, layers: 8, steps: 37 };
      const result = await page.run(async (given, { withTestGl }) => {
        const { webgl } = await import('/web/webgl.js');
        const { checkProducts: check } = await import('/tests/gpu/products_cases.js');
        return withTestGl({ forceMinimums: true, check: false }, async (gl) => {
          const gpu = await webgl({ gl, limits: given });
          const found = {
            ...await check(gpu), block: gpu.hasTableBlock, attachments: gpu.attachments, steps: gpu.drawSteps,
            left: gpu.objects.size,
          };
          gpu.destroy();
          return found;
        });
      }, limits);
      pass(result, `WebGL2, ${JSON.stringify(limits)}`);
      assert.equal(result.attachments, 4);
      assert.equal(result.block, false); // 64 KiB are more than the minimum
      assert.equal(result.steps, limits.steps);
      assert.equal(result.left, 0);
    });

    it('webgl: every call is without error, and leaves nothing bound', async () => {
      const found = await page.run(async (_, { withTestGl }) => {
        const { webgl } = await import('/web/webgl.js');
        const { encode: code, open: openModel } = await import('/web/hansel.js');
        const data = new Int8Array(500 * 30).map((__, i) => i * i % 23 - 11);
        const model = await openModel(await code({ w: { dtype: 'I8', shape: [500, 30], data } }));
        return withTestGl({}, async (gl) => {
          const gpu = await webgl({ gl });
          const w = await gpu.load(model, 'w');
          const x = new Float32Array(5 * 30).map((__, i) => i % 7);
          const y = await w.matmul(x, 5, { bias: new Float32Array(500).fill(2) });
          let wrong = 0;
          for (let i = 0; i < y.length; i++) {
            let sum = 2;
            for (let c = 0; c < 30; c++) {
              sum += data[i % 500 * 30 + c] * x[Math.floor(i / 500) * 30 + c];
            }
            if (y[i] !== sum) wrong++; // small whole numbers: exact
          }
          const bound = [];
          for (let unit = 0; unit < 16; unit++) {
            gl.activeTexture(gl.TEXTURE0 + unit);
            bound.push(gl.getParameter(gl.TEXTURE_BINDING_2D),
              gl.getParameter(gl.TEXTURE_BINDING_2D_ARRAY));
          }
          bound.push(gl.getParameter(gl.CURRENT_PROGRAM), gl.getParameter(gl.FRAMEBUFFER_BINDING));
          const { checkHalfTextures } = await import('/tests/gpu/products_cases.js');
          const halves = await checkHalfTextures(gpu, w);
          w.destroy();
          return { wrong, halves, bound: bound.filter(Boolean).length, left: gpu.objects.size };
        });
      });
      assert.deepEqual(found, { wrong: 0, halves: [], bound: 0, left: 0 });
    });

    it('webgl: a matrix in parts, and bad arguments', async () => {
      const found = await page.run(async () => {
        const { webgl } = await import('/web/webgl.js');
        const { open: openModel, encode: code } = await import('/web/hansel.js');
        const { WasmBackend: Cpu } = await import('/web/gpu/wasm_device.js');
        const { makeCase, random: seeded } = await import('/tests/gpu/cases.js');
        const gpu = await webgl({ limits: { textureSize: 64, layers: 8 } });
        const r = seeded(79);
        const results = [];
        for (const part of [
          { shape: [301, 1001], options: { streamLength: 4096 } },
          { shape: [7, 15001], options: { streamLength: 512 } },
          { dtype: 'F32', shape: [100, 333], options: { lossless: true, streamLength: 4096 } },
          { dtype: 'BF16', shape: [3, 15000], options: { lossless: true, streamLength: 512 } },
        ]) {
          const model = await openModel(await makeCase({
            dtype: 'I8', distribution: 'gauss', sigma: 30, seed: 5, options: {}, ...part,
          }));
          const w = await gpu.load(model, 'w', { as: 'coded' });
          const cpu = await new Cpu().load(model, 'w');
          const x = Float32Array.from({ length: 6 * w.columns }, r.gauss); // more than a texture
          const [got, expected] = [await w.matmul(x, 6), await cpu.matmul(x, 6)];
          let [error, norm] = [0, 0];
          expected.forEach((y, i) => {
            error += (y - got[i]) ** 2;
            norm += y * y;
          });
          results.push({ parts: w.parts.length, error: Math.sqrt(error / norm) });
          w.destroy();
        }
        const data = new Int8Array(4096).map((_, i) => i * i);
        const w = await gpu.load(await openModel(await code(
          { w: { dtype: 'I8', shape: [64, 64], data } })), 'w');
        const x = w.products.input(new Float32Array(64));
        const y = w.products.output();
        const attempt = (argument) => {
          try {
            w.products.encode(argument);
            return 'none';
          } catch (error) {
            return error.code;
          }
        };
        const codes = [attempt({ x, y })];
        await w.products.prepare(false);
        codes.push(attempt({ x, y: x }), attempt({ x, y, yStride: 15 }), attempt({ x, y }));
        codes.push(await Promise.resolve().then(() => w.products.output(1025)).then(() => 'none',
          (error) => error.code));
        w.destroy();
        codes.push(attempt({ x, y }));
        for (const texture of [x, y]) gpu.free(texture);
        const left = gpu.objects.size;
        gpu.destroy();
        return { results, codes, left };
      });
      for (const { parts, error } of found.results) {
        assert.ok(parts > 1, `${parts} parts`);
        assert.ok(error < 1e-5, `error ${error}`);
      }
      assert.deepEqual(found.codes, ['HANSEL_ERR_ARGUMENT', 'HANSEL_ERR_ARGUMENT',
        'HANSEL_ERR_ARGUMENT', 'none', 'HANSEL_ERR_LIMIT', 'HANSEL_ERR_DESTROYED']);
      assert.equal(found.left, 0);
    });

    it('webgl: a chain of 24 layers, 1024 wide, without readback, equals the CPU\'s', async () => {
      const found = await page.run(async (layers) => {
        const { gpu: openGpu } = await import('/web/gpu.js');
        const { encode: code, open: openModel } = await import('/web/hansel.js');
        const { WasmBackend: Cpu } = await import('/web/gpu/wasm_device.js');
        const { random: seeded } = await import('/tests/gpu/cases.js');
        const { gpu: gl } = await openGpu({ prefer: ['webgl'] });
        const size = 1024;
        const step = 1 / 128; // a row of 1024 indices of sigma 4 scales by about 4 * 32
        const r = seeded(78);
        const base = Float32Array.from({ length: size * size },
          () => step * Math.round(4 * r.gauss()));
        const biasData = Float32Array.from({ length: size }, r.gauss);
        let expected = Float32Array.from({ length: size }, r.gauss);
        const matrices = [];
        for (let layer = 0; layer < layers; layer++) {
          const shift = layer * 173 * size; // rows in another order: another matrix
          const data = base.map((_, i) => base[(i + shift) % base.length]);
          const model = await openModel(await code(
            { w: { dtype: 'F32', shape: [size, size], data } }, { step }));
          const w = await gl.load(model, 'w');
          await w.products.prepare(false);
          matrices.push({ w, cpu: await new Cpu().load(model, 'w') });
        }
        const [{ w: first }, { w: last }] = [matrices[0], matrices[layers - 1]];
        const vectors = [first.products.input(expected), first.products.output()];
        const bias = first.products.input(biasData, 1, size);
        const real = gl.read;
        gl.read = () => { throw new Error('a readback'); };
        matrices.forEach(({ w }, i) => w.products.encode(
          { x: vectors[i % 2], y: vectors[(i + 1) % 2], bias }));
        gl.read = real;
        const got = new Float32Array((await last.products.read(vectors[layers % 2])).buffer);
        for (const { cpu } of matrices) expected = await cpu.matvec(expected, { bias: biasData });
        let error = 0;
        let norm = 0;
        expected.forEach((y, i) => {
          error += (y - got[i]) ** 2;
          norm += y * y;
        });
        for (const texture of [...vectors, bias]) gl.free(texture);
        for (const { w } of matrices) w.destroy();
        const left = gl.objects.size;
        gl.destroy();
        return { error: Math.sqrt(error / norm), norm, left };
      }, 24);
      assert.ok(found.norm > 1 && Number.isFinite(found.norm), `norm ${found.norm}`);
      assert.ok(found.error < 1e-4, `error ${found.error}`);
      assert.equal(found.left, 0);
    });
  });
});
