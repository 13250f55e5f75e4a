/** What is too large, or too small, for a device: named before anything is made, and right else. */
import assert from 'node:assert/strict';
import { HanselError, encode, open } from '../../web/hansel.js';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { webgpu } from '../../web/webgpu.js';
import { withPage } from './chromium.js';
import { openDawn } from './dawn.js';
import { equalFile } from './huge.js';

describe('limits', function () {
  this.timeout(120_000);
  /** @type {import('./chromium.js').TestPage} */
  let page;
  withPage((opened) => { page = opened; });

  for (const kind of ['webgl', 'webgpu']) {
    it(`equal weights that claim more than ${kind} can hold are _LIMIT, and nothing is made`, async () => {
      const found = await page.run(async (which) => {
        const { gpu: openGpu } = await import('/web/gpu.js');
        const { open: openFile } = await import('/web/hansel.js');
        const { equalFile: equal } = await import('/tests/gpu/huge.js');
        const { gpu } = await openGpu({ prefer: [which] });
        const made = gpu.gl ? [gpu.gl, 'createTexture'] : [gpu.device, 'createBuffer'];
        const { [made[1]]: own } = made[0];
        let count = 0;
        made[0][made[1]] = (...args) => { count++; return own.apply(made[0], args); };
        const codes = [];
        // Weights that fit, but not the cursors of a stream to a row.
        const rows = gpu.gl ? gpu.arrayTexels : gpu.bindingBytes / 4;
        for (const shape of [[rows, 1], [2 ** 29, 1], [2 ** 31, 1], [1, 2 ** 31 + 4],
          [2 ** 20, 2 ** 13]]) {
          const model = await openFile(await equal(shape));
          codes.push(await gpu.load(model, 'w')
            .then(() => 'none', (error) => error.code ?? String(error)));
        }
        // And the device still works.
        const small = await openFile(await equal([30, 50]));
        const right = (await (await gpu.load(small, 'w')).symbols()).every((q) => q === 7);
        const before = count;
        gpu.destroy();
        return { codes, right, before };
      }, kind);
      assert.deepEqual(found.codes, new Array(5).fill('HANSEL_ERR_LIMIT'));
      assert.ok(found.right);
      assert.ok(found.before <= 8, `${found.before} objects made`);
    });

    it(`equal weights, many of them, are filled in slices on ${kind}`, async () => {
      const found = await page.run(async (which) => {
        const { gpu: openGpu } = await import('/web/gpu.js');
        const { open: openFile } = await import('/web/hansel.js');
        const { equalFile: equal } = await import('/tests/gpu/huge.js');
        const { gpu } = await openGpu({ prefer: [which] });
        const target = gpu.gl ? gpu.gl : gpu.device.queue;
        const name = gpu.gl ? 'texSubImage2D' : 'writeBuffer';
        const { [name]: own } = target;
        let most = 0;
        target[name] = (...args) => {
          most = Math.max(most, ...args.map((arg) => arg?.byteLength ?? 0));
          return own.apply(target, args);
        };
        const bad = [];
        for (const [rows, columns] of [[1500, 4099], [3, 2 ** 21 + 5], [7000, 1000], [1, 9]]) {
          const model = await openFile(await equal([rows, columns]));
          const w = await gpu.load(model, 'w');
          const symbols = await w.symbols();
          if (symbols.length !== rows * columns || symbols.some((q) => q !== 7)) {
            bad.push([rows, columns]);
          }
          if (!(await w.verify()).ok) bad.push('verify');
          // Padding is zero, for shaders of one's own.
          const [part] = w.parts;
          const last = Math.ceil(columns / 4) * rows - 1;
          const end = gpu.gl ? (await gpu.readArray(part.symbols, Math.floor(last / 4), 1))[last % 4]
            : new Uint32Array((await gpu.read(part.symbols, 4 * last, 4)).buffer)[0];
          if (end !== 0x07070707 >>> (columns % 4 ? 8 * (4 - columns % 4) : 0)) bad.push(end);
          w.destroy();
        }
        gpu.destroy();
        return { bad, most };
      }, kind);
      assert.deepEqual(found.bad, []);
      assert.ok(found.most <= 2 ** 22, `${found.most} bytes at a time`);
    });
  }

  it('steps below 5e-35 multiply on WebGPU as elsewhere', async () => {
    const gpu = await webgpu({ gpu: (await openDawn()).gpu });
    for (const step of [2 ** -126, 1e-37, 4e-35, 6e-35, 1e-30, 1e30]) {
      for (const columns of [100, 20011]) { // a piece of a row to a stream, too
        const data = Float32Array.from({ length: 4 * columns }, (_, i) => (i * i % 15 - 7) * step);
        const model = await open(await encode({ w: { dtype: 'F32', shape: [4, columns], data } },
          { step, always: true }));
        const x = Float32Array.from({ length: columns }, (_, i) => 1 + i % 5);
        const expected = await (await new WasmBackend().load(model, 'w')).matvec(x);
        const got = await (await gpu.load(model, 'w')).matvec(x);
        assert.ok(expected.every(Boolean), `${step}`);
        got.forEach((y, row) => assert.ok(Math.abs(y / expected[row] - 1) < 1e-5,
          `${step}: ${y}, not ${expected[row]}`));
      }
    }
    gpu.destroy();
  });

  it('so do decoded matrices with such a step, in plain kernels', async () => {
    const bad = await page.run(async () => {
      const { gpu: openGpu } = await import('/web/gpu.js');
      const { encode: code, open: openFile } = await import('/web/hansel.js');
      const { GlPlainMatrix, PlainMatrix } = await import('/web/plain.js');
      const found = [];
      for (const kind of ['webgl', 'webgpu']) {
        const { gpu } = await openGpu({ prefer: [kind] });
        for (const step of [2 ** -126, 1e-33, 1]) {
          const data = Float32Array.from({ length: 4 * 300 }, (_, i) => (i * i % 15 - 7) * step);
          const model = await openFile(await code({ w: { dtype: 'F32', shape: [4, 300], data } },
            { step, always: true }));
          const w = await gpu.load(model, 'w');
          await w.decodeOnGpu();
          const about = { dtype: 'I8', rows: 4, columns: 300, scale: w.step };
          const plain = kind === 'webgl'
            ? GlPlainMatrix.fromTexture(gpu, { ...about, texture: w.texture })
            : PlainMatrix.fromBuffer(gpu, { ...about, buffer: w.buffer });
          for (const batch of [1, 4]) {
            const x = Float32Array.from({ length: 300 * batch }, (_, i) => 1 + i % 5);
            const [a, b] = [await w.matmul(x, batch), await plain.matmul(x, batch)];
            if (!a.every((y, i) => y && Math.abs(y / b[i] - 1) < 1e-5)) {
              found.push([kind, step, batch, a[0], b[0]]);
            }
          }
        }
        gpu.destroy();
      }
      return found;
    });
    assert.deepEqual(bad, []);
  });

  it('vectors and wasm instances that no memory is given for are HANSEL_ERR_MEMORY', async () => {
    const model = await open(await equalFile([2 ** 40, 1]));
    const w = await new WasmBackend().load(model, 'w');
    for (const call of [() => w.matvec(Float32Array.of(1)), () => w.matvecI8(Int8Array.of(1))]) {
      await assert.rejects(call(), { code: 'HANSEL_ERR_MEMORY' });
    }
    const tensors = { w: { dtype: 'I8', shape: [2, 3], data: new Int8Array(6) } };
    const { Instance } = WebAssembly;
    WebAssembly.Instance = function refused() { throw new RangeError('out of memory'); };
    try {
      await assert.rejects(encode(tensors), (error) => (
        error instanceof HanselError && error.code === 'HANSEL_ERR_MEMORY'));
    } finally {
      WebAssembly.Instance = Instance;
    }
  });
});
