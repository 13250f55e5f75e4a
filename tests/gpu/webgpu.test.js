/** WebGPU on Dawn and in Chromium, beyond the conformance suite: limits, splits, errors, loss. */
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { encode, open } from '../../web/hansel.js';
import { webgpu } from '../../web/webgpu.js';
import { checkFile, makeCase, random } from './cases.js';
import { withPage } from './chromium.js';
import { openDawn } from './dawn.js';

const MODEL = new URL('../../build/licence-llama.safetensors', import.meta.url);

describe('WebGPU on Dawn', function () {
  this.timeout(300000);
  /** @type {Awaited<ReturnType<typeof openDawn>>} */
  let dawn;
  before(async () => { dawn = await openDawn(); });

  const withGpu = async (options, body) => {
    const gpu = await webgpu({ gpu: dawn.gpu, ...options });
    try {
      return await body(gpu);
    } finally {
      gpu.destroy();
    }
  };
  const coded = (shape = [64, 256], options = {}) => makeCase({
    dtype: 'I8', shape, distribution: 'gauss', sigma: 4, seed: 5, options,
  });

  it('splits tensors by streams when bindings are small', async () => {
    for (const bindingBytes of [4096, 20000]) {
      await withGpu({ limits: { bindingBytes } }, async (gpu) => {
        for (const shape of [[64, 1000], [37, 1001], [1, 40003], [500, 3]]) {
          const file = await coded(shape, { streamLength: 256 });
          const w = await gpu.load(await open(file), 'w');
          assert.ok(w.parts.length > 1 || shape[1] === 3, `${shape}: ${w.parts.length} parts`);
          w.destroy();
          assert.deepEqual(await checkFile(gpu, file), []);
        }
        const lossless = await makeCase({
          dtype: 'F32', shape: [50, 333], distribution: 'gauss', sigma: 4, seed: 9,
          options: { lossless: true, streamLength: 128 },
        });
        assert.deepEqual(await checkFile(gpu, lossless), []);
      });
    }
  });

  it('cuts what it codes as its raw plane needs, whoever codes it', () => withGpu(
    { limits: { bindingBytes: 70000 } }, async (gpu) => {
      const model = await open(await makeCase({
        dtype: 'F32', shape: [1030, 81], distribution: 'gauss', sigma: 4, seed: 9,
        options: { lossless: true, streamLength: 256 },
      }));
      for (const as of ['prefix', 'packed']) {
        for (const recode of ['cpu', 'gpu']) {
          const w = await gpu.load(model, 'w', { as, recode });
          assert.ok(w.parts.length > 3, `${as} ${recode}: ${w.parts.length} parts`);
          assert.deepEqual(await w.decode(), await model.decode('w'));
          w.destroy();
        }
      }
    }));

  it('stops while the GPU codes weights', () => withGpu({ limits: { bindingBytes: 70000 } }, async (gpu) => {
    const model = await open(await coded([4000, 81], { streamLength: 256 }));
    const stop = new AbortController();
    const { pipeline } = gpu;
    gpu.pipeline = (which, ...rest) => {
      if (which === 'recode') stop.abort();
      return pipeline.call(gpu, which, ...rest);
    };
    await assert.rejects(gpu.load(model, 'w', { as: 'prefix', recode: 'gpu', signal: stop.signal }),
      { code: 'HANSEL_ERR_ABORTED' });
    assert.equal(gpu.buffers.size, 0);
  }));

  it('says what a stream needs when no split helps', () => withGpu({ limits: { bindingBytes: 1024 } },
    async (gpu) => {
      const model = await open(await coded([4, 8192], { streamLength: 8192 }));
      await assert.rejects(gpu.load(model, 'w'), { code: 'HANSEL_ERR_LIMIT', expected: 'at most 1024 bytes' });
    }));

  it('works within the guaranteed minimums', () => dawn.withDevice({ forceMinimums: true },
    async (device) => {
      assert.equal(device.limits.maxComputeWorkgroupStorageSize, 16384);
      const gpu = await webgpu({ device });
      assert.deepEqual(await checkFile(gpu, await coded([100, 999])), []);
      gpu.destroy();
    }));

  it('loads and decodes two tensors at once', () => withGpu({}, async (gpu) => {
    const r = random(3);
    const make = () => Int8Array.from({ length: 300 * 400 }, () => Math.round(4 * r.gauss()));
    const [a, b] = [make(), make()];
    const model = await open(await encode({
      a: { dtype: 'I8', shape: [300, 400], data: a }, b: { dtype: 'I8', shape: [400, 300], data: b },
    }));
    const both = await Promise.all(['a', 'b'].map(async (name) => (await gpu.load(model, name)).symbols()));
    assert.deepEqual(both, [a, b]);
  }));

  it('frees everything: 200 loads do not grow', () => withGpu({}, async (gpu) => {
    const model = await open(await coded([16, 64]));
    for (let i = 0; i < 200; i++) {
      const w = await gpu.load(model, 'w');
      await w.decodeOnGpu();
      w.destroy();
      assert.equal(gpu.buffers.size, 0);
    }
  }));

  it('refuses a destroyed matrix, and buffers that are not there', () => withGpu({}, async (gpu) => {
    const w = await gpu.load(await open(await coded()), 'w');
    assert.throws(() => w.buffer, { code: 'HANSEL_ERR_ARGUMENT' });
    await w.decodeOnGpu();
    assert.equal(w.buffer.size, 4 * 64 * 64);
    w.destroy();
    await assert.rejects(w.symbols(), { code: 'HANSEL_ERR_DESTROYED' });
    assert.throws(() => w.buffer, { code: 'HANSEL_ERR_DESTROYED' });
  }));

  it('verify() reports the first difference', () => withGpu({}, async (gpu) => {
    const w = await gpu.load(await open(await coded([20, 101])), 'w');
    await w.decodeOnGpu();
    const reference = await w.symbols();
    gpu.device.queue.writeBuffer(w.buffer, 4 * (7 * w.rowQuads + 25), Uint32Array.of(0x7f));
    assert.deepEqual(await w.verify(), {
      ok: false, tensor: 'w', row: 7, column: 100, expected: reference[7 * 101 + 100], got: 127,
    });
  }));

  it('names a stream that is damaged on the GPU', () => withGpu({}, async (gpu) => {
    const w = await gpu.load(await open(await coded([64, 256], { streamLength: 256 })), 'w', { as: 'coded' });
    const [part] = w.parts;
    gpu.device.queue.writeBuffer(part.words, part.words.size - 64, new Uint32Array(8).fill(0x12345678));
    await assert.rejects(w.symbols(), { code: 'HANSEL_ERR_CORRUPT' });
  }));

  it('checks a file before anything is uploaded', () => withGpu({}, async (gpu) => {
    const file = await coded();
    const model = await open(file);
    const { start } = model.place('w');
    for (const [at, code] of [[start, 'HANSEL_ERR_MAGIC'], [start + 40, 'HANSEL_ERR_CHECKSUM']]) {
      const bad = file.slice();
      bad[at] ^= 1;
      let made = 0;
      const { buffer } = gpu;
      gpu.buffer = (...args) => { made++; return buffer.apply(gpu, args); };
      await assert.rejects(gpu.load(await open(bad), 'w'), { code });
      gpu.buffer = buffer;
      assert.equal(made, 0);
    }
    const bad = file.slice();
    bad[bad.length - 20] ^= 1; // in the payload: found when it is there
    await assert.rejects(gpu.load(await open(bad), 'w'), { code: 'HANSEL_ERR_CHECKSUM' });
    assert.equal(gpu.buffers.size, 0);
    await assert.rejects(gpu.load(await open(file), 'x'), { code: 'HANSEL_ERR_TENSOR' });
    const stop = AbortSignal.abort();
    await assert.rejects(gpu.load(await open(file), 'w', { signal: stop }), { code: 'HANSEL_ERR_ABORTED' });
  }));

  it('reports progress in bytes as they arrive', () => withGpu({}, async (gpu) => {
    const seen = [];
    const model = await open(await coded([1000, 1024], { streamLength: 1024 }));
    await gpu.load(model, 'w', { onProgress: (p) => seen.push(p) });
    assert.equal(seen.at(-1).done, seen.at(-1).total);
    assert.ok(seen.every((p, i) => i === 0 || p.done > seen[i - 1].done));
  }));

  it('survives the loss of its device', async () => {
    const gpu = await webgpu({ gpu: dawn.gpu });
    const model = await open(await coded());
    const w = await gpu.load(model, 'w');
    gpu.device.destroy();
    await assert.rejects(w.symbols(), { code: 'HANSEL_ERR_LOST' });
    const again = await gpu.load(model, 'w');
    assert.deepEqual(await again.symbols(), await model.symbols('w'));
    gpu.destroy();
  });

  it('has an error for a place without WebGPU', () => assert.rejects(webgpu(), {
    code: 'HANSEL_ERR_ADAPTER',
  }));

  it('decodes the trained model, whole', () => withGpu({}, async (gpu) => {
    const plain = await open(await readFile(MODEL));
    const tensors = new Map();
    for (const [name, { dtype, shape }] of plain.tensors) {
      tensors.set(name, { dtype, shape, data: await plain.decode(name) });
    }
    for (const options of [{ bits: 4 }, { lossless: true }]) {
      assert.deepEqual(await checkFile(gpu, await encode(tensors, options)), []);
    }
  }));
});

describe('WebGPU in Chromium', function () {
  this.timeout(300000);
  let page;
  withPage((opened) => { page = opened; });

  it('the README\'s snippet', async () => {
    const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
    const snippet = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, text]) => text)
      .find((text) => text.includes('from \'hansel/gpu\''));
    assert.ok(snippet, 'the README has no snippet of hansel/gpu');
    const data = new Int8Array(64 * 100).map((_, i) => i * i % 11 - 5);
    const file = await encode({ w: { dtype: 'I8', shape: [64, 100], data } });
    const x = new Float32Array(100).map((_, i) => i % 7);
    page.put('readme.safetensors', file);
    // As it stands there, but for the package's name, and with the model and x that it takes as given.
    page.put('readme.js', Buffer.from(`import { open } from '/web/hansel.js';
      const model = await open('/__mem/readme.safetensors');
      const x = new Float32Array([${x}]);
      ${snippet.replace(/'hansel(\/\w+)?'/g, (_, entry = '/hansel') => `'/web${entry}.js'`)}
      export const result = { y: [...y], kind };`));
    const result = await page.run(async () => (await import('/__mem/readme.js')).result);
    const expected = await (await open(file)).matvec('w', x);
    assert.deepEqual(result, { y: [...expected], kind: 'webgpu' });
  });

  it('streams from a URL, whole model', async () => {
    const plain = await open(await readFile(MODEL));
    const tensors = new Map();
    for (const [name, { dtype, shape }] of plain.tensors) {
      tensors.set(name, { dtype, shape, data: await plain.decode(name) });
    }
    const url = await page.put('model.safetensors', await encode(tensors, { bits: 5 }));
    const problems = await page.run(async (from) => {
      const { open: openModel } = await import('/web/hansel.js');
      const { webgpu: openGpu } = await import('/web/webgpu.js');
      const gpu = await openGpu();
      const model = await openModel(from);
      const found = [];
      let count = 0;
      for (const [name, { mode }] of model.tensors) {
        if (mode === 'pass-through') continue;
        const w = await gpu.load(model, name);
        const verdict = await w.verify();
        if (!verdict.ok) found.push(verdict);
        w.destroy();
        count++;
      }
      gpu.destroy();
      if (count < 20) found.push(`only ${count} coded tensors`);
      return found;
    }, url);
    assert.deepEqual(problems, []);
  });

  it('survives the loss of its device', () => page.run(async () => {
    const { encode: code, open: openModel } = await import('/web/hansel.js');
    const { webgpu: openGpu } = await import('/web/webgpu.js');
    const data = new Int8Array(65536).map((_, i) => i * i % 7);
    const model = await openModel(await code({ w: { dtype: 'I8', shape: [256, 256], data } }));
    const gpu = await openGpu();
    const w = await gpu.load(model, 'w');
    gpu.device.destroy();
    const error = await w.symbols().then(() => null, (e) => e);
    if (error?.code !== 'HANSEL_ERR_LOST') throw new Error(`not lost: ${error}`);
    const again = await (await gpu.load(model, 'w')).symbols();
    if (again.some((q, i) => q !== data[i])) throw new Error('decoded wrongly after the loss');
  }));
});

describe('vectors folder', () => {
  it('is not empty', async () => {
    assert.ok((await readdir(new URL('../vectors/ok', import.meta.url))).length > 50);
  });
});
