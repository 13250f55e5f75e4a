/** The runtimes that pages use run plain files through every hook that takes files from elsewhere. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { GGUF_TYPES, ggufFile } from '../../tools/gguf_model.js';
import { onnxFiles, readCheckpoint } from '../../tools/runtime_files.js';
import { launch } from '../gpu/chromium.js';
import { runOnnx } from './ort_node.js';

const CHECKPOINT = fileURLToPath(new URL('../../web/demo/models/licence-llama/', import.meta.url));
const PAGE = '/tests/runtimes/page.html';
/** Worst logit, by what weights are stored in. */
const CLOSE = { F32: 1e-3, F16: 2e-2 };
/** Worst probability of what follows the prompt, by type of blocks. */
const LIKELY = {
  F32: 1e-4, F16: 0.002, BF16: 0.005, Q8_0: 0.01, Q6_K: 0.03, Q5_0: 0.1, Q5_1: 0.1, Q5_K: 0.1, Q4_0: 0.2, Q4_1: 0.2,
  Q4_K: 0.2,
};
/** On the software renderer each takes a tenth of a second. */
const GPU_TOKENS = 8;

describe('plain files in the runtimes that pages use', function () {
  this.timeout(120000);
  /** @type {Awaited<ReturnType<typeof readCheckpoint>>} */
  let checkpoint;
  let files;
  let reference;
  let tokens;
  let browser;
  /** @type {import('../gpu/chromium.js').TestPage} */
  let page;

  before(async () => {
    checkpoint = await readCheckpoint(CHECKPOINT, 'model.hansel.safetensors');
    files = onnxFiles(checkpoint);
    reference = JSON.parse(await readFile(`${CHECKPOINT}reference.json`, 'utf8'));
    tokens = [...reference.prompt].map((character) => checkpoint.config.characters.indexOf(character));
    browser = await launch();
    page = await browser.openPage(PAGE);
    for (const [path, bytes] of files) page.put(`plain/licence-llama/${path}`, bytes);
  });
  after(() => browser?.close());

  /** @param {ArrayLike<number>} logits @param {'F32' | 'F16'} dtype @param {string} where */
  function assertClose(logits, dtype, where) {
    const expected = reference.prompt_last_logits;
    assert.equal(logits.length, expected.length, where);
    const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - logits[i])), 0);
    assert.ok(worst < CLOSE[dtype], `${where}: off by ${worst}`);
  }

  /** @param {any} found of runTransformers() @param {string} where @param {number} [count] of characters */
  function assertWritten(found, where, count) {
    assertClose(found.logits, 'F32', where);
    assert.deepEqual(found.tokens, tokens, where);
    assert.equal(found.back, reference.prompt, where);
    assert.equal(found.text, reference.greedy_continuation.slice(0, count), where);
  }

  const onnx = (name) => files.get(`onnx/${name}`);
  const all = () => reference.greedy_continuation.length;

  for (const [suffix, dtype] of [['', 'F32'], ['_fp16', 'F16']]) {
    it(`onnxruntime-web in Node: ${dtype}, weights beside the model and in it`, async () => {
      const name = `model${suffix}.onnx`;
      const externalData = [{ path: `${name}_data`, data: onnx(`${name}_data`) }];
      assertClose(await runOnnx({ model: onnx(name), externalData, tokens }), dtype, 'beside');
      assertClose(await runOnnx({ model: onnx(`model_inline${suffix}.onnx`), tokens }), dtype, 'inline');
      assert.ok(onnx(`model_inline${suffix}.onnx`).length > externalData[0].data.length);
    });
  }

  for (const provider of ['wasm', 'webgpu']) {
    it(`onnxruntime-web in Chromium on ${provider}: weights of URLs, bytes and Blobs`, async () => {
      const found = await page.run(async (given, harness) => {
        const folder = '/__mem/plain/licence-llama/onnx/';
        const blob = (name) => fetch(`${folder}${name}`).then((response) => response.blob());
        const bytes = async (name) => new Uint8Array(await (await blob(name)).arrayBuffer());
        const run = (model, data, path = 'model.onnx_data') => harness.runOnnx({
          ...given, model, externalData: data && [{ path, data }],
        });
        return {
          url: await run(`${folder}model.onnx`, `${folder}model.onnx_data`),
          half: await run(`${folder}model_fp16.onnx`, await blob('model_fp16.onnx_data'), 'model_fp16.onnx_data'),
          // The GPU's shaders take a second each time.
          ...given.provider === 'wasm' ? {
            bytes: await run(await bytes('model.onnx'), await bytes('model.onnx_data')),
            blob: await run(await blob('model.onnx'), await blob('model.onnx_data')),
            inline: await run(await blob('model_inline.onnx')),
          } : {},
        };
      }, { provider, tokens });
      for (const [way, logits] of Object.entries(found)) assertClose(logits, way === 'half' ? 'F16' : 'F32', way);
    });
  }

  /** @type {Record<string, (env: any, folder: string) => unknown>} */
  const hooks = {
    'a host and paths of its own': (env, folder) => { env.remotePathTemplate = `${folder}{model}/`; },
    'local paths': (env, folder) => Object.assign(env, {
      allowLocalModels: true, allowRemoteModels: false, localModelPath: folder,
    }),
    'a fetch of its own': (env, folder) => {
      env.fetch = async (url) => {
        const { pathname } = new URL(url);
        const response = await fetch(`${folder}${pathname.slice(1)}`);
        return response.ok ? new Response(await response.blob()) : response;
      };
    },
    'a custom cache': (env, folder) => Object.assign(env, {
      useCustomCache: true,
      customCache: {
        async match(url) {
          // Asked for local paths first.
          if (!url.startsWith('http')) return undefined;
          const response = await fetch(`${folder}${new URL(url).pathname.slice(1)}`);
          return response.ok ? new Response(await response.blob()) : undefined;
        },
        put: () => Promise.reject(new Error('there was nothing to put')),
      },
      fetch: (url) => Promise.reject(new Error(`fetched ${url}`)),
    }),
  };
  for (const [hook, configure] of Object.entries(hooks)) {
    it(`transformers.js: ${hook}`, async () => {
      const found = await page.run(({ text, prompt, maxTokens }, harness) => harness.runTransformers({
        id: 'licence-llama', prompt, maxTokens,
        configure: (env) => (0, eval)(`(${text})`)(env, '/__mem/plain/'),
      }), { text: configure.toString(), prompt: reference.prompt, maxTokens: all() });
      assertWritten(found, hook);
    });
  }

  it('transformers.js: the browser\'s cache, filled beforehand', async () => {
    const found = await page.run(async ({ prompt, maxTokens, names }, harness) => {
      const cache = await globalThis.caches.open('transformers-cache');
      for (const name of names) {
        const response = await fetch(`/__mem/plain/licence-llama/${name}`);
        await cache.put(`https://models.invalid/licence-llama/${name}`, new Response(await response.blob()));
      }
      return harness.runTransformers({
        id: 'licence-llama', prompt, maxTokens,
        configure(env) {
          Object.assign(env, {
            remoteHost: 'https://models.invalid', useBrowserCache: true,
            fetch: (url) => Promise.reject(new Error(`fetched ${url}`)),
          });
        },
      }).finally(() => globalThis.caches.delete('transformers-cache'));
    }, { prompt: reference.prompt, maxTokens: all(), names: [...files.keys()].filter((name) => !/inline|fp16/.test(name)) });
    assertWritten(found, 'cache');
  });

  it('transformers.js: weights as a session option; in the model; F16', async () => {
    const found = await page.run(async ({ prompt, maxTokens }, harness) => {
      const folder = '/__mem/plain/licence-llama/onnx/';
      const blob = (name) => fetch(`${folder}${name}`).then((response) => response.blob());
      const run = (options) => harness.runTransformers({
        id: 'licence-llama', prompt, maxTokens, options,
        configure: (env) => { env.remotePathTemplate = '__mem/plain/{model}/'; },
      });
      const data = await blob('model.onnx_data');
      const session = (some) => ({
        use_external_data_format: false, session_options: { externalData: [{ path: 'model.onnx_data', data: some }] },
      });
      return {
        blob: await run(session(data)),
        bytes: await run(session(new Uint8Array(await data.arrayBuffer()))),
        path: await run(session('onnx/model.onnx_data')),
        inline: await run({ model_file_name: 'model_inline' }),
        half: await run({ dtype: 'fp16' }),
      };
    }, { prompt: reference.prompt, maxTokens: GPU_TOKENS });
    assertClose(found.half.logits, 'F16', 'F16');
    for (const way of ['blob', 'bytes', 'path', 'inline']) assertWritten(found[way], way, GPU_TOKENS);
  });

  it('transformers.js on WebGPU', async () => {
    const found = await page.run(({ prompt, maxTokens }, harness) => harness.runTransformers({
      id: 'licence-llama', prompt, maxTokens, device: 'webgpu',
      configure: (env) => { env.remotePathTemplate = '__mem/plain/{model}/'; },
    }), { prompt: reference.prompt, maxTokens: GPU_TOKENS });
    assertWritten(found, 'webgpu', GPU_TOKENS);
  });

  /** @param {[number, number][]} first log-probabilities @param {string} type @param {string} where */
  function assertLikely(first, type, where) {
    const logits = reference.prompt_last_logits;
    assert.equal(first.length, logits.length, where);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
    const worst = first.reduce((most, [token, log]) => (
      Math.max(most, Math.abs(Math.exp(log) - Math.exp(logits[token]) / sum))), 0);
    assert.ok(worst < LIKELY[type], `${where}: off by ${worst}`);
  }

  for (const type of GGUF_TYPES) {
    it(`wllama: Blobs of ${type}`, async () => {
      const url = page.put('model.gguf', ggufFile(checkpoint.sizes, checkpoint.tensors, type));
      const isFloat = /F/.test(type);
      const maxTokens = isFloat ? all() : 1;
      const found = await page.run(async ([path, given], harness) => harness.runWllama({
        ...given, blobs: [await (await fetch(path)).blob()],
      }), [url, { prompt: reference.prompt, maxTokens }]);
      assertLikely(found.first, type, type);
      assert.equal(found.text, reference.greedy_continuation.slice(0, maxTokens), type);
    });
  }

  it('wllama: a URL, and a store that has its file', async () => {
    const url = page.put('model.gguf', ggufFile(checkpoint.sizes, checkpoint.tensors, 'F16'));
    const found = await page.run(async ([path, given], harness) => {
      const backend = new harness.MemoryBackend();
      const here = new URL(path, location.href).href;
      const downloaded = await harness.runWllama({ ...given, url: here, backend });
      const stored = new harness.MemoryBackend();
      const nowhere = 'https://models.invalid/model.gguf';
      await harness.storeForWllama(stored, nowhere, await (await fetch(path)).blob());
      return {
        downloaded, kept: Array.from(backend.files.values(), ({ size }) => size),
        stored: await harness.runWllama({ ...given, url: nowhere, backend: stored }),
      };
    }, [url, { prompt: reference.prompt, maxTokens: 20 }]);
    const expected = reference.greedy_continuation.slice(0, 20);
    assert.deepEqual([found.downloaded.text, found.stored.text], [expected, expected]);
    assert.equal(found.kept.length, 2, 'the file, and what is known about it');
  });

  it('a Service Worker answers onnxruntime-web, transformers.js and wllama', async () => {
    const own = await browser.openPage(PAGE);
    const gguf = own.put('model.gguf', ggufFile(checkpoint.sizes, checkpoint.tensors, 'F16'));
    try {
      const found = await own.run(async ({ prompt, maxTokens, tokens: ids, path, names }, harness) => {
        const take = (from) => fetch(from).then((response) => response.blob());
        const answers = { '/nowhere/model.gguf': await take(path) };
        for (const name of names) answers[`/nowhere/licence-llama/${name}`] = await take(`/__mem/plain/licence-llama/${name}`);
        const end = await harness.answerByServiceWorker(answers);
        const folder = '/nowhere/licence-llama/onnx/';
        const results = {
          ort: await harness.runOnnx({
            provider: 'wasm', model: `${folder}model.onnx`, tokens: ids,
            externalData: [{ path: 'model.onnx_data', data: `${folder}model.onnx_data` }],
          }),
          transformers: await harness.runTransformers({
            id: 'licence-llama', prompt, maxTokens,
            configure: (env) => { env.remotePathTemplate = 'nowhere/{model}/'; },
          }),
          wllama: await harness.runWllama({ url: new URL('/nowhere/model.gguf', location.href).href, prompt, maxTokens }),
        };
        await end();
        return results;
      }, {
        prompt: reference.prompt, maxTokens: 20, tokens, path: gguf,
        names: [...files.keys()].filter((name) => !/inline|fp16/.test(name)),
      });
      assertClose(found.ort, 'F32', 'ort');
      assertWritten(found.transformers, 'transformers.js', 20);
      assert.equal(found.wllama.text, reference.greedy_continuation.slice(0, 20));
    } finally {
      await own.close();
    }
  });
});
