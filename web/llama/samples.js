/**
 * What a Llama writes by itself: many sequences side by side, since a matrix multiplies fifty vectors in
 * little more time than a few.
 */
import { checkAborted } from '../core/errors.js';
import { takeTurn } from '../core/turn.js';
import { MAX_BATCH } from '../core/vectors.js';
import { WasmBackend } from '../gpu/wasm_device.js';
import { loadPart, makeCache, makeVectors, runLayer, tensorNames } from './llama.js';
import { readConfig } from './llama_config.js';
import { createSampler, randomNumbers } from './llama_sampler.js';
import { WasmOps } from './llama_wasm.js';

/** Bytes of keys and values, at most, unless one sequence has more. */
const CACHE_BYTES = 256 << 20;

/** Vectors of one run are of a sequence each, all at the same position. */
class SideBySide extends WasmOps {
  /** @param {WasmBackend} backend @param {import('./llama_config.js').LlamaConfig} config @param {number} length
   * @param {number} sequences */
  constructor(backend, config, length, sequences) {
    super(backend, config, length);
    this.sequences = sequences;
  }

  /** @override @param {number} width */
  cache(width) {
    return { data: new Float32Array(this.sequences * this.context * width), width };
  }

  /** @override */
  positionOf() {
    return this.position;
  }

  /** @override @param {number} index */
  startOf(index) {
    return index * this.context;
  }
}

/**
 * @param {import('../model/model.js').Model} model with the tensors of a Llama @param {any} config a parsed config.json
 * @param {{samples: number, length: number, seed: number, signal?: AbortSignal,
 *   count: (tokens: number, what: string) => void}} options sequences, tokens of each, what the choices depend on
 * @returns {Promise<number[][]>} each begins with bos_token_id, or with any token where there is none
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_ABORTED, and what decoding throws
 */
export async function writeSamples(model, config, { samples, length, seed, signal, count }) {
  const sizes = readConfig(config);
  const { hidden, layers, keyHeads, headDim, vocab, isTied } = sizes;
  const random = randomNumbers(seed);
  const sequences = Array.from({ length: samples }, () => {
    const first = Number.isInteger(config.bos_token_id) ? config.bos_token_id : Math.floor(random() * vocab);
    return { ids: [first], sample: createSampler({ temperature: 1, topK: 0, seed: Math.floor(random() * 2 ** 32) }) };
  });
  const each = 8 * layers * length * keyHeads * headDim;
  const most = Math.min(Math.max(Math.floor(CACHE_BYTES / each), 1), MAX_BATCH, samples);
  const ops = new SideBySide(new WasmBackend(), sizes, length, most);
  const vectors = makeVectors(ops, sizes);
  const homes = Array.from({ length: layers }, () => /** @type {Record<string, any>} */ (makeCache(ops, sizes)));
  /** @type {Record<string, any>} */
  const last = {};
  for (const [name, { role, layer }] of tensorNames(sizes)) {
    checkAborted(signal);
    (layer < 0 ? last : homes[layer])[role] = await loadPart(ops, model, name, role, signal);
  }
  const head = isTied ? last.embedding : last.head;
  for (let from = 0; from < samples; from += most) {
    const some = sequences.slice(from, from + most);
    const input = new Float32Array(some.length * hidden);
    for (let position = 0; position < length - 1; position++) {
      await takeTurn();
      checkAborted(signal);
      for (const [i, { ids }] of some.entries()) {
        input.set(await last.embedding.decodeRows(ids[position], 1), i * hidden);
      }
      const logits = await ops.run({ count: some.length, position }, async () => {
        const { x, h } = vectors;
        ops.write(x, input);
        for (const home of homes) await runLayer(ops, home, vectors);
        ops.norm(h, x, last.norm);
        await ops.multiply(vectors.logits, head, h);
        return vectors.logits;
      });
      for (const [i, { ids, sample }] of some.entries()) ids.push(sample(logits.subarray(i * vocab, (i + 1) * vocab)));
      count(some.length, 'samples');
    }
    count(some.length, 'samples');
  }
  for (const home of [last, ...homes]) for (const part of Object.values(home)) part.destroy?.();
  return sequences.map(({ ids }) => ids);
}
