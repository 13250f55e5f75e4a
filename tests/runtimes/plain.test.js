/** The runtimes that pages use run plain files, and compute what the reference does. */
import assert from 'node:assert/strict';
import { GGUF_TYPES } from '../../tools/gguf_model.js';
import { launch } from '../gpu/chromium.js';
import { readModel } from './model_files.js';
import { runOnnx } from './ort_node.js';

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
  let files;
  let gguf;
  let reference;
  let tokens;
  let browser;
  /** @type {import('../gpu/chromium.js').TestPage} */
  let page;

  before(async () => {
    ({ files, gguf, reference, tokens } = await readModel());
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
      const url = page.put('model.gguf', gguf(type));
      const isFloat = /F/.test(type);
      const maxTokens = isFloat ? all() : 1;
      const found = await page.run(async ([path, given], harness) => harness.runWllama({
        ...given, blobs: [await (await fetch(path)).blob()],
      }), [url, { prompt: reference.prompt, maxTokens }]);
      assertLikely(found.first, type, type);
      assert.equal(found.text, reference.greedy_continuation.slice(0, maxTokens), type);
    });
  }
});
