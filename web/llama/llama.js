/**
 * A small Llama: every matrix product is Hansel's fused one, on weights that stay
 * coded. What happens between the products is in llama_wasm.js, llama_webgpu.js and
 * llama_webgl.js, one class of the same methods each; there activations and the
 * cache of keys and values stay where the weights are.
 */
import { HanselError, checkAborted } from '../core/errors.js';
import { MAX_BATCH } from '../core/vectors.js';
import { WasmBackend } from '../gpu/wasm_device.js';
import { Tokenizer, readConfig } from './llama_config.js';
import { createSampler } from './llama_sampler.js';
import { WasmOps } from './llama_wasm.js';

/** Positions that the cache holds, unless asked for more or the model has fewer. */
const CONTEXT = 2048;
/** By the back end's kind; those of GPUs are loaded when they are wanted. */
const OPS = {
  wasm: async () => WasmOps,
  webgl: async () => (await import('./llama_webgl.js')).WebGlOps,
  webgpu: async () => (await import('./llama_webgpu.js')).WebGpuOps,
};

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../gpu.js').Backend} Backend */
/** @typedef {import('./llama_config.js').LlamaConfig} LlamaConfig */
/** @typedef {{done: number, total: number, tensor: string}} Progress in bytes */
/**
 * @typedef {object} LoadOptions
 * @property {number} [context] positions of the cache; default: the model's, at most 2048
 * @property {AbortSignal} [signal] @property {(progress: Progress) => void} [onProgress]
 */

/**
 * Loads a Llama.
 *
 * @param {Model} model from open(), coded or not, with Hugging Face's tensor names. Matrices that are
 *   not coded are multiplied as they are
 * @param {object} config a parsed config.json
 * @param {Backend} backend from gpu(); stays yours
 * @param {LoadOptions} [options]
 * @returns {Promise<Llama>}
 * @throws {HanselError} HANSEL_ERR_CONFIG for what is not supported or contradicts the tensors,
 *   _TENSOR for one that is missing, _DTYPE, _ABORTED, and as backend.load()
 * @example
 * const { gpu: backend } = await gpu();
 * const llama = await loadLlama(await open(url), config, backend);
 * for await (const { text } of llama.generate(llama.encodeText('You may '))) show(text);
 * llama.destroy();
 */
export async function loadLlama(model, config, backend, { context, signal, onProgress } = {}) {
  const sizes = readConfig(config);
  const room = context ?? Math.min(sizes.positions, CONTEXT);
  if (!Number.isInteger(room) || room < 1 || room > sizes.positions) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible context', {
      expected: `1 to ${sizes.positions} positions`, got: room,
    });
  }
  const names = tensorNames(sizes);
  checkTensors(model, names);
  if ('ready' in backend) await backend.ready(); // after a loss
  const Ops = await OPS[backend.kind]();
  const ops = new Ops(/** @type {any} */ (backend), sizes, room);
  const llama = new Llama(sizes, room, ops);
  try {
    if ('guard' in backend) await backend.guard(() => llama.prepare());
    else await llama.prepare();
    const total = [...names.keys()].reduce((sum, name) => sum + model.tensor(name).bytes, 0);
    let done = 0;
    for (const [name, { role, layer }] of names) {
      checkAborted(signal);
      await llama.load(model, name, role, layer, signal);
      done += model.tensor(name).bytes;
      onProgress?.({ done, total, tensor: name });
    }
    return llama;
  } catch (error) {
    llama.destroy();
    throw error;
  }
}

/**
 * The tensors of a model, and what they are.
 * @param {LlamaConfig} config
 * @returns {Map<string, {shape: number[], role: string, layer: number}>}
 */
export function tensorNames({ hidden, intermediate, layers, heads, keyHeads, headDim, vocab, isTied }) {
  const names = new Map([['model.embed_tokens.weight',
    { shape: [vocab, hidden], role: 'embedding', layer: -1 }]]);
  /** @type {[string, string, number[]][]} */
  const parts = [
    ['input_layernorm', 'attentionNorm', [hidden]],
    ['self_attn.q_proj', 'query', [heads * headDim, hidden]],
    ['self_attn.k_proj', 'key', [keyHeads * headDim, hidden]],
    ['self_attn.v_proj', 'value', [keyHeads * headDim, hidden]],
    ['self_attn.o_proj', 'output', [hidden, heads * headDim]],
    ['post_attention_layernorm', 'mlpNorm', [hidden]],
    ['mlp.gate_proj', 'gate', [intermediate, hidden]],
    ['mlp.up_proj', 'up', [intermediate, hidden]],
    ['mlp.down_proj', 'down', [hidden, intermediate]],
  ];
  for (let layer = 0; layer < layers; layer++) {
    for (const [part, role, shape] of parts) {
      names.set(`model.layers.${layer}.${part}.weight`, { shape, role, layer });
    }
  }
  names.set('model.norm.weight', { shape: [hidden], role: 'norm', layer: -1 });
  if (!isTied) names.set('lm_head.weight', { shape: [vocab, hidden], role: 'head', layer: -1 });
  return names;
}

/**
 * All tensors must be there, of the right shape, and no others: a bias, say, would be left out.
 * @param {Model} model @param {ReturnType<typeof tensorNames>} names
 */
export function checkTensors(model, names) {
  for (const [name, { shape: expected }] of names) {
    const { shape, dtype } = model.tensor(name);
    if (String(shape) !== String(expected)) {
      throw new HanselError('HANSEL_ERR_CONFIG', 'the tensor contradicts the configuration', {
        expected: `[${expected}]`, got: `[${shape}]`, where: name,
      });
    }
    if (!['F32', 'F16', 'BF16'].includes(dtype)) {
      throw new HanselError('HANSEL_ERR_DTYPE', 'not a dtype of weights', {
        expected: 'F32, F16 or BF16', got: dtype, where: name,
      });
    }
  }
  for (const name of model.tensors.keys()) {
    // Some checkpoints hold what follows from the rest: RoPE's frequencies, a tied output matrix.
    if (names.has(name) || /rotary_emb\.inv_freq$/.test(name) || name === 'lm_head.weight') continue;
    throw new HanselError('HANSEL_ERR_CONFIG', 'a tensor that is not supported', {
      expected: 'only those of a Llama without biases', got: name, where: name,
    });
  }
}

/** Room for a run's vectors. @param {any} ops @param {LlamaConfig} config @returns {Record<string, any>} */
export function makeVectors(ops, { hidden, heads, keyHeads, headDim, intermediate, vocab }) {
  const queries = heads * headDim;
  return Object.fromEntries(Object.entries({
    x: hidden, h: hidden, delta: hidden, q: queries, rotated: queries, mixed: queries, k: keyHeads * headDim,
    gate: intermediate, up: intermediate, inner: intermediate, logits: vocab,
  }).map(([name, width]) => [name, ops.vectors(width)]));
}

/**
 * A tensor as runLayer() takes it.
 * @param {any} ops @param {Model} model @param {string} name @param {string} role @param {AbortSignal} [signal]
 * @returns {Promise<any>} a norm's numbers, or a matrix, to be destroyed
 */
export const loadPart = async (ops, model, name, role, signal) => (/norm$/i.test(role)
  ? ops.weights(await model.decode(name, { dtype: 'F32', signal })) : ops.backend.load(model, name, { signal }));

/** A layer's cache. @param {any} ops @param {LlamaConfig} config */
export const makeCache = (ops, { keyHeads, headDim }) => (
  { keys: ops.cache(keyHeads * headDim), values: ops.cache(keyHeads * headDim) });

/**
 * What a layer does to x.
 * @param {any} ops @param {Record<string, any>} layer its tensors by role, keys and values
 * @param {Record<string, any>} vectors of makeVectors()
 * @param {(role: string, input: any) => void} [see] is shown what is multiplied with the tensor of a role
 */
export async function runLayer(ops, layer, { x, h, q, rotated, k, mixed, delta, gate, up, inner }, see = () => {}) {
  ops.norm(h, x, layer.attentionNorm);
  see('query', h);
  await ops.multiply(q, layer.query, h);
  await ops.multiply(k, layer.key, h);
  await ops.multiplyIntoCache(layer.values, layer.value, h);
  ops.rotate(rotated, q);
  ops.rotateIntoCache(layer.keys, k);
  ops.attend(mixed, rotated, layer.keys, layer.values);
  see('output', mixed);
  await ops.multiply(delta, layer.output, mixed);
  ops.add(x, delta);
  ops.norm(h, x, layer.mlpNorm);
  see('gate', h);
  await ops.multiply(gate, layer.gate, h);
  await ops.multiply(up, layer.up, h);
  ops.gate(inner, gate, up);
  see('down', inner);
  await ops.multiply(delta, layer.down, inner);
  ops.add(x, delta);
}

/** What is in the cache belongs to the last one who used it. @typedef {{cached: number}} Session */

/** A loaded model. Make one with loadLlama(). */
export class Llama {
  /** @type {any} */
  #embedding = null;
  /** @type {Record<string, any>[]} by layer: handles of llama_*.js, by role */
  #layers = [];
  /** @type {Record<string, any>} */
  #last = {};
  /** @type {any[]} */
  #matrices = [];
  /** @type {Record<string, any>} */
  #vectors = {};
  /** @type {Session | null} */
  #session = null;
  #turn = Promise.resolve();
  #isDestroyed = false;
  #tokenizer;
  #ops;

  /** @param {LlamaConfig} config @param {number} context @param {any} ops */
  constructor(config, context, ops) {
    this.config = config;
    /** Positions, at most: of the prompt and what is written. */
    this.context = context;
    this.#ops = ops;
    this.#tokenizer = new Tokenizer(config.characters);
  }

  /**
   * How its matrices lie on the device: how many there are of each form, and all their bytes.
   * @returns {{forms: Record<string, number>, bytes: number}}
   */
  get memory() {
    /** @type {Record<string, number>} */
    const forms = {};
    let bytes = 0;
    for (const matrix of this.#matrices.filter(({ gpu }) => gpu === this.#ops.backend)) {
      forms[matrix.form] = (forms[matrix.form] ?? 0) + 1;
      bytes += matrix.bytes;
    }
    return { forms, bytes };
  }

  /** Makes room for a run's vectors, and for the cache: used by loadLlama(), as load() is. */
  async prepare() {
    const ops = this.#ops;
    await ops.prepare();
    this.#vectors = makeVectors(ops, this.config);
    this.#layers = Array.from({ length: this.config.layers }, () => makeCache(ops, this.config));
  }

  /**
   * @param {Model} model @param {string} name @param {string} role @param {number} layer
   * @param {AbortSignal} [signal]
   */
  async load(model, name, role, layer, signal) {
    const ops = this.#ops;
    const home = layer < 0 ? this.#last : this.#layers[layer];
    if (/norm$/i.test(role)) {
      home[role] = ops.weights(await model.decode(name, { dtype: 'F32', signal }));
      return;
    }
    const keep = async (/** @type {Backend} */ backend) => {
      /** @type {any} */
      const matrix = await backend.load(model, name, { signal });
      this.#matrices.push(matrix);
      return matrix;
    };
    // Rows are decoded on the CPU, where the next token is known.
    if (role === 'embedding') this.#embedding = await keep(new WasmBackend());
    if (role === 'embedding' && !this.config.isTied) return;
    const matrix = await keep(ops.backend);
    await matrix.products?.prepare(false);
    home[role === 'embedding' ? 'head' : role] = matrix;
  }

  /** @param {string} text @returns {number[]} @throws {HanselError} HANSEL_ERR_TEXT, _CONFIG */
  encodeText(text) {
    return this.#tokenizer.encode(text);
  }

  /** @param {Iterable<number>} ids @returns {string} @throws {HanselError} _ARGUMENT, _CONFIG */
  decodeTokens(ids) {
    return this.#tokenizer.decode(this.#checkTokens([...ids], Infinity, 0));
  }

  /**
   * What the model expects after each of the tokens, from an empty context.
   * @param {ArrayLike<number>} tokens 1 to context of them
   * @param {{last?: boolean, signal?: AbortSignal}} [options] last: after the last only
   * @returns {Promise<Float32Array>} tokens.length (or one) vectors of `vocab` logits
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _ABORTED, _DESTROYED, _LOST
   */
  async logits(tokens, { last = false, signal } = {}) {
    const ids = this.#checkTokens(Array.from(tokens), this.context, 1);
    return this.#extend({ cached: 0 }, ids, last, signal);
  }

  /**
   * Writes: one token after the other, as they are asked for.
   * @param {ArrayLike<number>} tokens the beginning, at least one
   * @param {object} [options]
   * @param {number} [options.maxTokens] stop after so many
   * @param {number} [options.temperature] 0, the default, takes the likeliest token always
   * @param {number} [options.topK] choose among so many of the likeliest; default all
   * @param {number} [options.seed] makes the choices repeatable
   * @param {boolean} [options.slide] go on when the context is full, without the older half;
   *   otherwise that is the end
   * @param {AbortSignal} [options.signal]
   * @returns {AsyncGenerator<{token: number, text: string, position: number}>} text is '' without a
   *   character list; position counts the beginning's tokens, too
   * @throws {HanselError} as logits()
   */
  async* generate(tokens, {
    maxTokens = Infinity, temperature = 0, topK = 0, seed, slide = false, signal,
  } = {}) {
    const sample = createSampler({ temperature, topK, seed });
    const ids = this.#checkTokens(Array.from(tokens), slide ? Infinity : this.context, 1);
    let session = { cached: 0 };
    let from = slide ? Math.max(0, ids.length - Math.max(1, this.context - 1)) : 0;
    for (let count = 0; count < maxTokens; count++) {
      if (ids.length - from >= this.context) {
        if (!slide) return;
        from = ids.length - Math.ceil(this.context / 2);
        session = { cached: 0 };
      }
      const token = sample(await this.#extend(session, ids.slice(from), true, signal));
      ids.push(token);
      yield { token, text: this.config.characters?.[token] ?? '', position: ids.length - 1 };
    }
  }

  /**
   * @param {number[]} ids @param {number} most @param {number} least
   * @returns {number[]} ids @throws {HanselError} HANSEL_ERR_ARGUMENT
   */
  #checkTokens(ids, most, least) {
    const { vocab } = this.config;
    const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocab);
    if (bad !== undefined || ids.length > most || ids.length < least) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', bad === undefined ? 'impossible number of tokens'
        : 'no such token', {
        expected: bad === undefined ? `${least} to ${most}` : `ids below ${vocab}`,
        got: bad === undefined ? ids.length : bad,
      });
    }
    return ids;
  }

  /**
   * Runs the tokens that a session's cache does not hold yet; all of them if others used the cache.
   * @param {Session} session @param {number[]} ids from position 0 on @param {boolean} last
   * @param {AbortSignal} [signal]
   * @returns {Promise<Float32Array>} logits after these tokens, or after the last
   */
  #extend(session, ids, last, signal) {
    const run = async () => {
      if (this.#session !== session) session.cached = 0;
      this.#session = session;
      const { vocab } = this.config;
      const out = new Float32Array((last ? 1 : ids.length) * vocab);
      for (let at = session.cached; at < ids.length;) {
        checkAborted(signal);
        this.checkAlive();
        const some = ids.slice(at, at + MAX_BATCH);
        const logits = await this.#forward(some, at, last).catch((error) => {
          this.checkAlive();
          throw error;
        });
        out.set(logits, last ? 0 : at * vocab);
        at += some.length;
        session.cached = at;
      }
      return out;
    };
    const result = this.#turn.then(run);
    this.#turn = result.then(() => {}, () => {});
    return result;
  }

  /**
   * The model, for up to MAX_BATCH tokens.
   * @param {number[]} ids @param {number} position of the first @param {boolean} last
   * @returns {Promise<Float32Array>}
   */
  async #forward(ids, position, last) {
    const ops = this.#ops;
    const { hidden } = this.config;
    const input = new Float32Array(ids.length * hidden);
    for (const [i, id] of ids.entries()) input.set(await this.#embedding.decodeRows(id, 1), i * hidden);
    this.checkAlive();
    const { x, h, logits } = this.#vectors;
    return ops.run({ count: ids.length, position }, async () => {
      ops.write(x, input);
      for (const layer of this.#layers) await runLayer(ops, layer, this.#vectors);
      ops.norm(h, x, this.#last.norm);
      await ops.multiply(logits, this.#last.head, h, last ? ids.length - 1 : 0);
      return logits;
    });
  }

  /** @throws {HanselError} HANSEL_ERR_DESTROYED */
  checkAlive() {
    if (!this.#isDestroyed) return;
    throw new HanselError('HANSEL_ERR_DESTROYED', 'the model was destroyed');
  }

  /** Frees its memory, the GPU's too. It cannot be used afterwards. */
  destroy() {
    this.#isDestroyed = true;
    for (const matrix of this.#matrices) matrix.destroy();
    this.#matrices = [];
    this.#ops.destroy();
  }
}
