/**
 * What comes to a Llama's matrices: for each, the mean of x x^T over its inputs x, which error feedback
 * wants, and how much it matters (docs/CALIBRATION.md). The text that it reads is the caller's or its own. Layer
 * after layer, so that memory holds one layer and what goes from it to the next.
 */
import { Encoder } from '../core/encoder.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { HessianSum } from '../core/hessian.js';
import { takeTurn } from '../core/turn.js';
import { MAX_BATCH } from '../core/vectors.js';
import { WasmBackend } from '../gpu/wasm_device.js';
import { IMPORTANCE } from '../encode/hessians.js';
import { checkTensors, loadPart, makeCache, makeVectors, runLayer, tensorNames } from './llama.js';
import { importances } from './importance.js';
import { Tokenizer, readConfig } from './llama_config.js';
import { WasmOps } from './llama_wasm.js';
import { writeSamples } from './samples.js';

/** Sequences that are read, unless asked for more or fewer, and tokens of each. */
const SAMPLES = 48;
const LENGTH = 128;
/** Sequences that importances are worked out by, at most. */
const WEIGHED = 16;
/** What is multiplied with one input, the tensor that its Hessian is named by first. */
const TOGETHER = [['query', 'key', 'value'], ['output'], ['gate', 'up'], ['down'], ['head']];

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {{done: number, total: number, tensor: string}} Progress in tokens, of all layers */
/** @typedef {{name: string, names: string[], columns: number}} Slot names: tensors that share a Hessian */
/** @typedef {{name: string, shape: number[], names: string[], positions: number, data: Uint8Array<ArrayBuffer>}} Part
 *   of a file: docs/CALIBRATION.md; data: F32. names: of tensors that it is for */
/**
 * @typedef {object} CalibrateOptions
 * @property {string} [text] that is read, of models with a character list; by default the model writes
 * @property {number[][]} [tokens] sequences that are read, of any model
 * @property {number} [samples] sequences of 128 tokens that the model writes, or that are read of the text, at
 *   most; default 48
 * @property {number} [seed] of what the model writes; default 1
 * @property {AbortSignal} [signal] @property {(progress: Progress) => void} [onProgress]
 */

/**
 * Which Hessians a model has. The embedding is looked up, not multiplied with: it has none.
 * @param {any} config a parsed config.json @returns {Slot[]} in the order in which calibrate() makes them
 * @throws {HanselError} HANSEL_ERR_CONFIG
 */
export function hessianSlots(config) {
  const sizes = readConfig(config);
  const names = [...tensorNames(sizes)];
  return [...Array(sizes.layers).keys(), -1].flatMap((layer) => TOGETHER.flatMap((roles) => {
    const found = roles.flatMap((role) => names.filter(([, one]) => one.role === role && one.layer === layer));
    if (!found.length) return [];
    const [[name, { shape: [, columns] }]] = found;
    return [{ name, names: found.map(([one]) => one), columns }];
  }));
}

/** Matrices whose importance is worked out. @param {any} config a parsed config.json @returns {string[]} */
export const weighed = (config) => [...tensorNames(readConfig(config))]
  .filter(([, { shape }]) => shape.length === 2).map(([name]) => name);

/**
 * @param {Model} model from open(), coded or not @param {any} config a parsed config.json
 * @param {CalibrateOptions} [options]
 * @returns {AsyncGenerator<Part>} the Hessians of hessianSlots(), over so many positions, then the importances
 *   of weighed()
 * @throws {HanselError} HANSEL_ERR_CONFIG, _TENSOR, _DTYPE as loadLlama(); _TEXT for characters that the model has
 *   not, _NOT_FINITE for a model that does not compute, _ARGUMENT, _ABORTED
 */
export async function* calibrate(model, config, {
  text, tokens, samples = SAMPLES, seed = 1, signal, onProgress,
} = {}) {
  const sizes = readConfig(config);
  const length = Math.min(LENGTH, sizes.positions);
  for (const [name, value] of Object.entries({ samples, seed })) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new HanselError('HANSEL_ERR_ARGUMENT', `impossible ${name}`, { expected: 'a whole number from 1', got: value });
  }
  const names = tensorNames(sizes);
  checkTensors(model, names);
  const isOwn = text === undefined && tokens === undefined;
  let done = 0;
  let total = 2 * (sizes.layers + 1) * samples * length;
  const count = (/** @type {number} */ read, /** @type {string} */ tensor) => {
    done += read;
    onProgress?.({ done, total, tensor });
  };
  const sequences = tokens !== undefined ? checkTokens(tokens, sizes)
    : isOwn ? await writeSamples(model, config, { samples, length, seed, signal, count })
      : cut(new Tokenizer(sizes.characters).encode(String(text)), samples, length);
  const positions = sequences.reduce((sum, { length: own }) => sum + own, 0);
  const some = sequences.slice(0, WEIGHED);
  const again = some.reduce((sum, { length: own }) => sum + own, 0);
  done = isOwn ? positions : 0;
  total = done + (sizes.layers + 1) * (positions + again);

  const { wasm: { module } } = await Encoder.create();
  const backend = new WasmBackend();
  const ops = new WasmOps(backend, sizes, Math.max(...sequences.map(({ length: own }) => own)));
  const vectors = makeVectors(ops, sizes);
  const embedding = await backend.load(model, 'model.embed_tokens.weight', { signal });
  const states = await Promise.all(sequences.map(async (ids) => {
    const rows = new Float32Array(ids.length * sizes.hidden);
    for (const [i, id] of ids.entries()) {
      rows.set(/** @type {Float32Array} */ (await embedding.decodeRows(id, 1)), i * sizes.hidden);
    }
    return rows;
  }));
  embedding.destroy();
  /** What comes into layers, of those that are gone through backwards. @type {Float32Array[][]} */
  const inputs = [];
  const slots = hessianSlots(config);
  for (let layer = 0; layer <= sizes.layers; layer++) {
    const isLast = layer === sizes.layers;
    const own = isLast ? -1 : layer;
    const parts = [...names].filter(([, one]) => one.layer === own && (isLast ? one.role === 'norm' : true));
    const home = /** @type {Record<string, any>} */ (isLast ? {} : makeCache(ops, sizes));
    for (const [name, { role }] of parts) {
      home[role] = await loadPart(ops, model, name, role, signal);
    }
    /** @type {Map<string, {slot: Slot, sum: HessianSum}>} */
    const sums = new Map();
    for (const slot of slots) {
      const { layer: of, role } = /** @type {{layer: number, role: string}} */ (names.get(slot.name));
      if (of === own) sums.set(role, { slot, sum: new HessianSum(module, slot.columns) });
    }
    const see = (/** @type {string} */ role, /** @type {any} */ { data, width }) => (
      sums.get(role)?.sum.add(data.subarray(0, ops.count * width)));
    inputs.push(states.slice(0, WEIGHED).map((state) => state.slice()));
    for (const state of states) {
      for (let at = 0; at < state.length / sizes.hidden; at += MAX_BATCH) {
        await takeTurn();
        checkAborted(signal);
        const part = state.subarray(at * sizes.hidden, (at + MAX_BATCH) * sizes.hidden);
        const batch = part.length / sizes.hidden;
        await ops.run({ count: batch, position: at }, async () => {
          const { x, h } = vectors;
          ops.write(x, part);
          if (isLast) {
            ops.norm(h, x, home.norm);
            see('head', h);
          } else {
            await runLayer(ops, home, vectors, see);
            part.set(x.data.subarray(0, part.length));
          }
          return x;
        });
        count(batch, isLast ? 'model.norm.weight' : `layer ${layer}`);
      }
    }
    for (const part of Object.values(home)) part.destroy?.();
    for (const { slot: { name, names: of }, sum } of sums.values()) {
      const data = sum.mean();
      checkFinite(name, data);
      yield { name, names: of, shape: [data.length / 4], positions, data };
    }
  }
  const found = await importances(model, sizes, names, ops, some, inputs, { seed, signal, count });
  for (const name of weighed(config)) {
    const data = new Uint8Array(Float32Array.of(found.get(name) ?? 0).buffer);
    checkFinite(name, data);
    yield { name: `${IMPORTANCE}${name}`, names: [name], shape: [1], positions: again, data };
  }
}

/** @param {string} where @param {Uint8Array<ArrayBuffer>} data F32 @throws {HanselError} HANSEL_ERR_NOT_FINITE */
function checkFinite(where, data) {
  const bad = new Float32Array(data.buffer).find((value) => !Number.isFinite(value));
  if (bad === undefined) return;
  throw new HanselError('HANSEL_ERR_NOT_FINITE', 'what comes to this tensor, or matters of it, is not finite', {
    expected: 'a model of finite weights that does not overflow', got: bad, where,
  });
}

/**
 * @param {number[][]} tokens @param {import('./llama_config.js').LlamaConfig} config
 * @returns {number[][]} tokens @throws {HanselError} HANSEL_ERR_ARGUMENT
 */
function checkTokens(tokens, { vocab, positions }) {
  const isRight = Array.isArray(tokens) && tokens.length > 0 && tokens.every((ids) => (
    Array.isArray(ids) && ids.length > 0 && ids.length <= positions
    && ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocab)));
  if (isRight) return tokens;
  throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible tokens', {
    expected: `lists of 1 to ${positions} ids below ${vocab}`, got: JSON.stringify(tokens)?.slice(0, 60),
  });
}

/**
 * Sequences spread over a text.
 * @param {number[]} ids @param {number} samples @param {number} length @returns {number[][]}
 * @throws {HanselError} HANSEL_ERR_TEXT
 */
function cut(ids, samples, length) {
  if (ids.length < length) {
    throw new HanselError('HANSEL_ERR_TEXT', 'too short a text', { expected: `${length} tokens`, got: ids.length });
  }
  const all = Math.floor(ids.length / length);
  return Array.from({ length: Math.min(samples, all) }, (_, i) => {
    const at = Math.floor(i * all / Math.min(samples, all)) * length;
    return ids.slice(at, at + length);
  });
}
