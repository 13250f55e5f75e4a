/** The Llama of the demo in Chromium: WebGPU and WebGL2 next to the wasm and to float64 loops. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { encode, open } from '../../web/hansel.js';
import { CASES, greedy, makeLlama, referenceLogits } from '../api/llama_reference.js';
import { launch } from './chromium.js';

const FOLDER = new URL('../../web/demo/models/licence-llama/', import.meta.url);
const KINDS = ['webgpu', 'webgl'];
const json = async (name) => JSON.parse(await readFile(new URL(name, FOLDER), 'utf8'));
const worst = (a, b) => a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);

describe('llama in Chromium', function () {
  this.timeout(300000);
  let browser;
  let page;
  let config;
  let reference;
  /** @type {string} */
  let eight;
  before(async () => {
    [config, reference] = [await json('config.json'), await json('reference.json')];
    browser = await launch();
    page = await browser.openPage();
    const model = await open(new Uint8Array(await readFile(new URL('model.hansel.safetensors', FOLDER))));
    const tensors = {};
    for (const [name, { dtype, shape }] of model.tensors) {
      tensors[name] = { dtype, shape, data: await model.decode(name) };
    }
    eight = page.put('eight.safetensors', await encode(tensors, { bits: 8 }));
  });
  after(() => browser?.close());

  /** In the page: loads a model and runs it. */
  const run = async ({ kind, url, config: given, tokens, batches, maxTokens }) => {
    const { gpu } = await import('/web/gpu.js');
    const { open: openModel } = await import('/web/hansel.js');
    const { loadLlama } = await import('/web/llama/llama.js');
    const { gpu: backend } = await gpu({ prefer: [kind] });
    const llama = await loadLlama(await openModel(url), given, backend);
    const logits = [];
    for (const some of batches) logits.push(Array.from(await llama.logits(some)));
    const ids = [];
    for await (const { token } of llama.generate(tokens, { maxTokens })) ids.push(token);
    llama.destroy();
    const left = (backend.objects ?? backend.buffers)?.size ?? 0;
    backend.destroy();
    return { logits, ids, left };
  };

  for (const kind of KINDS) {
    it(`${kind}: the F32 reference's greedy continuation at 8 bits, logits as the wasm's`, async () => {
      const tokens = [...reference.prompt].map((character) => config.characters.indexOf(character));
      const argument = { url: eight, config, tokens, batches: [tokens], maxTokens: 200 };
      const found = await page.run(run, { ...argument, kind });
      assert.equal(found.ids.map((id) => config.characters[id]).join(''), reference.greedy_continuation);
      const cpu = await page.run(run, { ...argument, kind: 'wasm', maxTokens: 0 });
      assert.equal(cpu.logits[0].length, tokens.length * 96);
      assert.ok(worst(found.logits[0], cpu.logits[0]) < 1e-3, `${worst(found.logits[0], cpu.logits[0])}`);
      assert.equal(found.left, 0, 'buffers or textures left');
    });

    it(`${kind}: small models of all shapes, against float64 loops`, async () => {
      let count = 0;
      for (const [name, [changes, options, dtype]] of Object.entries(CASES)) {
        const { config: small, tensors } = makeLlama(changes, 3, dtype);
        const file = await encode(tensors, options);
        const model = await open(file);
        for (const key of Object.keys(tensors)) {
          tensors[key].data = await model.decode(key, { dtype: 'F32' });
        }
        const most = Math.min(70, small.max_position_embeddings); // 70: two batches
        const tokens = Array.from({ length: most }, (_, i) => i * 5 % small.vocab_size);
        const batches = [tokens, tokens.slice(0, 1), tokens.slice(0, 3)];
        const start = tokens.slice(0, 3);
        const found = await page.run(run, {
          kind, url: page.put(`${kind} ${name}`, file), config: small, tokens: start, batches, maxTokens: 5,
        });
        batches.forEach((some, i) => {
          const expected = referenceLogits(small, tensors, some);
          const scale = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
          const error = worst(found.logits[i], expected);
          assert.ok(error < 2e-4 * scale, `${name}, ${some.length} tokens: ${error} of ${scale}`);
        });
        assert.deepEqual(found.ids, greedy(small, tensors, start, found.ids.length), name);
        assert.equal(found.left, 0, `${name}: buffers or textures left`);
        count++;
      }
      assert.equal(count, Object.keys(CASES).length);
    });

    it(`${kind}: stops when told, goes on, and can be destroyed at any time`, async () => {
      const found = await page.run(async ([which, url, given]) => {
        const { gpu } = await import('/web/gpu.js');
        const { open: openModel } = await import('/web/hansel.js');
        const { loadLlama } = await import('/web/llama/llama.js');
        const { gpu: backend } = await gpu({ prefer: [which] });
        const size = () => (backend.objects ?? backend.buffers).size;
        const code = (promise) => Promise.resolve(promise).then(() => 'none', (error) => error.code);
        const model = await openModel(url);
        const stop = new AbortController();
        const loading = loadLlama(model, given, backend, {
          signal: stop.signal, onProgress: ({ done, total }) => { if (done > total / 2) stop.abort(); },
        });
        const codes = [await code(loading)];
        const left = [size()];
        const llama = await loadLlama(model, given, backend);
        const writing = new AbortController();
        let count = 0;
        codes.push(await code((async () => {
          for await (const next of llama.generate([3, 4], { signal: writing.signal })) {
            void next;
            if (++count === 3) writing.abort();
          }
        })()));
        codes.push(await code(llama.logits([1, 2, 3])));
        const busy = llama.logits(new Array(100).fill(1));
        const waiting = llama.logits([1]);
        await new Promise((resolve) => { setTimeout(resolve, 5); });
        llama.destroy();
        codes.push(await code(busy), await code(waiting), await code(llama.logits([1])));
        left.push(size());
        const again = await loadLlama(model, given, backend); // the device is still good
        codes.push(await code(again.logits([1])));
        again.destroy();
        left.push(size());
        backend.destroy();
        return { codes, left, count };
      }, [kind, eight, config]);
      const gone = 'HANSEL_ERR_DESTROYED';
      assert.deepEqual(found, {
        codes: ['HANSEL_ERR_ABORTED', 'HANSEL_ERR_ABORTED', 'none', gone, gone, gone, 'none'],
        left: [0, 0, 0], count: 3,
      });
    });
  }

  it('a GPU that is too small is named, and nothing is left on it', async () => {
    const found = await page.run(async ([url, given]) => {
      const [{ webgpu }, { webgl }] = [await import('/web/webgpu.js'), await import('/web/webgl.js')];
      const { open: openModel } = await import('/web/hansel.js');
      const { loadLlama } = await import('/web/llama/llama.js');
      const seen = [];
      for (const backend of [await webgpu({ limits: { bindingBytes: 50000 } }),
        await webgl({ limits: { textureSize: 64, attachments: 4, layers: 8 } })]) {
        const code = await loadLlama(await openModel(url), given, backend).then(() => 'none',
          (error) => error.code);
        seen.push(code, (backend.objects ?? backend.buffers).size);
        backend.destroy();
      }
      return seen;
    }, [eight, config]);
    assert.deepEqual(found, ['HANSEL_ERR_LIMIT', 0, 'HANSEL_ERR_LIMIT', 0]);
  });

  it('a lost device is named, and loading again works', async () => {
    const codes = await page.run(async ([url, given]) => {
      const { gpu } = await import('/web/gpu.js');
      const { open: openModel } = await import('/web/hansel.js');
      const { loadLlama } = await import('/web/llama/llama.js');
      const found = [];
      for (const which of ['webgpu', 'webgl']) {
        const { gpu: backend } = await gpu({ prefer: [which] });
        const model = await openModel(url);
        const llama = await loadLlama(model, given, backend);
        if (which === 'webgpu') backend.device.destroy();
        else backend.gl.getExtension('WEBGL_lose_context').loseContext();
        found.push(await llama.logits([1]).then(() => 'none', (error) => error.code));
        const again = await loadLlama(model, given, backend);
        found.push(await again.logits([1]).then(() => 'none', (error) => error.code));
        found.push(await llama.logits([1]).then(() => 'none', (error) => error.code)); // still lost
        llama.destroy();
        again.destroy();
        backend.destroy();
      }
      return found;
    }, [eight, config], { allow: /CONTEXT_LOST|device/i });
    assert.deepEqual(codes, ['HANSEL_ERR_LOST', 'none', 'HANSEL_ERR_LOST',
      'HANSEL_ERR_LOST', 'none', 'HANSEL_ERR_LOST']);
  });
});
