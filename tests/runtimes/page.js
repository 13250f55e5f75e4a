/**
 * In a page: runs a language model in the runtimes that pages use. All that they load of their own comes from
 * node_modules; the model's files come from whoever calls, as bytes, Blobs or URLs.
 */
import { lastLogits } from './onnx_run.js';

export { lastLogits };

const MODULES = '/node_modules/';
const ORT = `${MODULES}onnxruntime-web/dist/`;
const WLLAMA = `${MODULES}@wllama/wllama/esm/`;
/** Of ort's build with WebGPU. */
const WEBGPU_WASM = {
  mjs: `${ORT}ort-wasm-simd-threaded.asyncify.mjs`, wasm: `${ORT}ort-wasm-simd-threaded.asyncify.wasm`,
};
/** Severity: only errors. */
const QUIET = 3;
/** More tokens than the model has. */
const ALL = 1000;

/** @typedef {string | Blob | Uint8Array} Bytes a string is a URL */

/** onnxruntime-web. @param {'wasm' | 'webgpu'} provider @param {string} [folder] of its files */
export async function loadOrt(provider, folder = ORT) {
  const ort = await import(`${folder}ort.${provider}.min.mjs`);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = provider === 'webgpu' ? WEBGPU_WASM : folder;
  return ort;
}

/**
 * @param {{provider: 'wasm' | 'webgpu', model: string | Uint8Array | Blob,
 *   externalData?: {path: string, data: Bytes}[], tokens: number[], worker?: string}} given worker: a folder of ort's
 *   files, which then run in a worker from there
 * @returns {Promise<number[]>} logits of what follows the tokens
 */
export async function runOnnx({ provider, model, externalData, tokens, worker }) {
  const ort = await loadOrt(provider, worker);
  ort.env.wasm.proxy = worker !== undefined;
  const session = await ort.InferenceSession.create(
    model instanceof Blob ? new Uint8Array(await model.arrayBuffer()) : model,
    { executionProviders: [provider], externalData, logSeverityLevel: QUIET });
  try {
    if (provider === 'webgpu' && !await ort.env.webgpu.device) throw new Error('not on the GPU');
    return Array.from(await lastLogits(ort, session, tokens));
  } finally {
    await session.release();
  }
}

/**
 * @param {{id: string, configure: (env: any) => unknown, device?: 'wasm' | 'webgpu', prompt: string, maxTokens: number,
 *   options?: object}} given id: of the repository; configure: sets the hooks of the library's env, which begins
 *   anew each time, without caches; options: of from_pretrained(), such as dtype and model_file_name
 * @returns {Promise<{text: string, tokens: number[], back: string, logits: number[]}>} what the model
 *   writes; the prompt's tokens, and their text; logits of what follows it
 */
export async function runTransformers({ id, configure, device = 'wasm', prompt, maxTokens, options }) {
  const { AutoModelForCausalLM, AutoTokenizer, env } = await import(
    `${MODULES}@huggingface/transformers/dist/transformers.js`);
  env.backends.onnx.wasm.wasmPaths = { ...WEBGPU_WASM };
  env.backends.onnx.wasm.numThreads = 1;
  Object.assign(env, {
    remoteHost: location.origin, remotePathTemplate: '{model}/', allowLocalModels: false, allowRemoteModels: true,
    useBrowserCache: false, useCustomCache: false, customCache: null, useWasmCache: false,
    fetch: (/** @type {Parameters<typeof fetch>} */ ...given) => fetch(...given),
  });
  await configure(env);
  const tokenizer = await AutoTokenizer.from_pretrained(id);
  const model = await AutoModelForCausalLM.from_pretrained(id, { device, dtype: 'fp32', ...options });
  try {
    const inputs = tokenizer(prompt);
    const { logits } = await model(inputs);
    const vocab = logits.dims[2];
    const written = await model.generate({ ...inputs, max_new_tokens: maxTokens, do_sample: false });
    const ids = Array.from(written.data, Number);
    const count = inputs.input_ids.data.length;
    const [read, added] = [ids.slice(0, count), ids.slice(count)];
    return {
      tokens: read, back: tokenizer.decode(read), text: tokenizer.decode(added),
      logits: Array.from(logits.data.slice(-vocab)),
    };
  } finally {
    await model.dispose();
  }
}

/** A StorageBackend of wllama that is a Map. */
export class MemoryBackend {
  /** By wllama's own keys. @type {Map<string, Blob>} */
  files = new Map();

  isSupported() {
    return true;
  }

  /** @param {string} key */
  async read(key) {
    return this.files.get(key) ?? null;
  }

  /** @param {string} key @param {ReadableStream} stream */
  async write(key, stream) {
    this.files.set(key, await new Response(stream).blob());
  }

  /** @param {string} key */
  async getSize(key) {
    return this.files.get(key)?.size ?? -1;
  }

  async list() {
    return Array.from(this.files, ([key, { size }]) => ({ key, size }));
  }

  /** @param {string} key */
  async delete(key) {
    this.files.delete(key);
  }
}

/** @param {object} [backend] a StorageBackend that downloads are kept in @returns {Promise<any>} a Wllama */
export async function openWllama(backend = new MemoryBackend()) {
  const { CacheManager, Wllama } = await import(`${WLLAMA}index.js`);
  const quiet = { debug() {}, log() {}, warn() {}, error: console.error };
  const wllama = new Wllama({ default: `${WLLAMA}wasm/wllama.wasm` }, {
    suppressNativeLog: true, logger: quiet, cacheManager: new CacheManager([backend]),
  });
  wllama.setCompat(null); // or it would load a build from a CDN where the browser lacks JSPI
  return wllama;
}

/**
 * @param {any} wllama that has a model @param {{prompt: string, maxTokens: number}} given
 * @returns {Promise<{text: string, first: [token: number, logProbability: number][]}>} what the model writes; what
 *   may follow the prompt
 */
export async function complete(wllama, { prompt, maxTokens }) {
  const { choices: [{ text, logprobs: { content: [{ top_logprobs: top }] } }] } = await wllama.createCompletion({
    prompt, max_tokens: maxTokens, temperature: 0, logprobs: ALL,
  });
  return { text, first: top.map((/** @type {any} */ { id, logprob }) => [id, logprob]) };
}

/**
 * @param {{blobs?: Blob[], url?: string, backend?: object, prompt: string, maxTokens: number,
 *   options?: object}} given blobs or a url; backend: as for openWllama(); options: of loading
 */
export async function runWllama({ blobs, url, backend, options, ...asked }) {
  const wllama = await openWllama(backend);
  const own = {
    n_threads: 1, n_gpu_layers: 0, n_ctx: 256, n_parallel: 1, cache_type_k: 'f32', cache_type_v: 'f32',
    flash_attn: false, warmup: false, ...options,
  };
  try {
    if (url) await wllama.loadModelFromUrl(url, own);
    else await wllama.loadModel(blobs, own);
    return await complete(wllama, asked);
  } finally {
    await wllama.exit();
  }
}
