/** hansel calibrate: Hessians are what comes to a Llama's matrices, whatever it reads. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encode, open } from '../../web/hansel.js';
import { IMPORTANCE } from '../../web/encode/hessians.js';
import { calibrate, hessianSlots, weighed } from '../../web/llama/calibrate.js';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { loadLlama } from '../../web/llama/llama.js';
import { createSampler, randomNumbers } from '../../web/llama/llama_sampler.js';
import { writeSamples } from '../../web/llama/samples.js';
import { bad, cleanUp, folder, good, plain } from './command.js';
import { makeLlama, referenceLogits } from './llama_reference.js';

const LICENCE = new URL('../../web/demo/models/licence-llama/', import.meta.url);
const TOKENS = [[1, 5, 9, 2, 0, 28, 7], [3], Array.from({ length: 79 }, (_, i) => i * 7 % 29)];

/** All of them, by the names of tensors. @param {any} model @param {any} config @param {any} [options] */
async function hessiansOf(model, config, options) {
  const found = new Map();
  for await (const { name: of, names, shape, positions, data } of calibrate(model, config, options)) {
    const upper = new Float32Array(data.buffer);
    assert.deepEqual(shape, [upper.length]);
    for (const name of names) found.set(of.startsWith(IMPORTANCE) ? of : name, { positions, upper });
  }
  return found;
}

/** @param {Map<string, any>} found */
const namesOf = (found) => [...found.keys()].filter((name) => !name.startsWith(IMPORTANCE)).sort();

/** By the reference's float64 loops. @param {any} llama @param {number[][]} tokens */
function expected({ config, tensors }, tokens) {
  /** @type {Map<string, {sums: Float64Array, count: number}>} */
  const found = new Map();
  const floats = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.dtype === 'F32'
    ? tensor : { ...tensor, data: new Float32Array(Uint32Array.from(tensor.data, (bits) => bits << 16).buffer) }]));
  for (const ids of tokens) {
    referenceLogits(config, floats, ids, (name, x) => {
      const one = found.get(name) ?? { sums: new Float64Array(x.length * (x.length + 1) / 2), count: 0 };
      for (let i = 0, at = 0; i < x.length; i++) for (let j = i; j < x.length; j++) one.sums[at++] += x[i] * x[j];
      one.count++;
      found.set(name, one);
    });
  }
  return found;
}

/** @param {string} [dtype] @param {any} [changes] */
async function inputs(dtype, changes = {}) {
  const llama = makeLlama(changes, 4, dtype);
  return { ...llama, model: await open(new Uint8Array(plain(llama.tensors))) };
}

describe('calibrate', function () {
  this.timeout(60000);
  after(cleanUp);

  for (const [what, dtype, changes] of [['F32', 'F32', {}], ['BF16', 'BF16', {}],
    ['shared key heads', 'F32', { num_attention_heads: 6, num_key_value_heads: 2, head_dim: 4 }],
    ['tied embeddings', 'F32', { tie_word_embeddings: true }]]) {
    it(`sees what the definition says, ${what}`, async () => {
      const llama = await inputs(dtype, changes);
      const found = await hessiansOf(llama.model, llama.config, { tokens: TOKENS });
      const want = expected(llama, TOKENS);
      if (changes.tie_word_embeddings) want.delete('model.embed_tokens.weight');
      assert.deepEqual(namesOf(found), [...want.keys()].sort());
      for (const [name, { sums, count }] of want) {
        const { upper, positions } = found.get(name);
        assert.equal(positions, count);
        const scale = Math.max(...sums) / count;
        sums.forEach((sum, i) => assert.ok(Math.abs(upper[i] - sum / count) < 1e-4 * scale, `${name} ${i}`));
      }
    });
  }

  for (const [what, changes] of Object.entries({ 'a small model': {}, 'shared key heads': { num_key_value_heads: 1 },
    'odd sizes': { hidden_size: 5, intermediate_size: 7, vocab_size: 7 },
    'tied embeddings': { tie_word_embeddings: true } })) {
    it(`importances are squares of gradients, ${what}`, async () => {
      const llama = await inputs('F32', { hidden_size: 6, intermediate_size: 5, num_attention_heads: 2,
        num_key_value_heads: 2, head_dim: 4, vocab_size: 6, ...changes });
      const { config, tensors } = llama;
      const tokens = [[1, 4, 2, 0, 4], [3, 3]];
      const found = await hessiansOf(llama.model, config, { tokens, seed: 7 });
      const sample = createSampler({ temperature: 1, topK: 0, seed: 7 });
      const { vocab_size: vocab } = config;
      const drawn = tokens.map((ids) => {
        const logits = referenceLogits(config, tensors, ids);
        return ids.map((_, t) => sample(Float32Array.from(logits.subarray(t * vocab, (t + 1) * vocab))));
      });
      const likelihood = (/** @type {number} */ i) => {
        const logits = referenceLogits(config, tensors, tokens[i]);
        return drawn[i].reduce((sum, y, t) => {
          const row = logits.subarray(t * vocab, (t + 1) * vocab);
          return sum + row[y] - Math.log(row.reduce((total, logit) => total + Math.exp(logit), 0));
        }, 0);
      };
      for (const [name, tensor] of Object.entries(tensors).filter(([, { shape }]) => shape.length === 2)) {
        const exact = Float64Array.from(tensor.data);
        tensor.data = exact;
        let sum = 0;
        for (let w = 0; w < exact.length; w++) {
          const at = exact[w];
          for (const i of tokens.keys()) {
            const [high, low] = [1e-4, -1e-4].map((step) => {
              exact[w] = at + step;
              return likelihood(i);
            });
            exact[w] = at;
            sum += ((high - low) / 2e-4) ** 2;
          }
        }
        const { upper: [importance], positions } = found.get(IMPORTANCE + name);
        assert.equal(positions, 7);
        const want = sum / 7 / exact.length;
        // Of what is used twice the two parts are squared apart.
        const most = config.tie_word_embeddings && /embed/.test(name) ? 1 : 1e-3;
        assert.ok(Math.abs(importance / want - 1) < most, `${name}: ${importance}, not ${want}`);
      }
    });
  }

  it('writes its own text, the same with the same seed', async () => {
    const { model, config } = await inputs();
    const of = (options) => hessiansOf(model, { ...config, bos_token_id: 2 }, { samples: 3, ...options });
    const [one, two, other] = [await of({}), await of({ seed: 1 }), await of({ seed: 2 })];
    assert.deepEqual(one, two);
    assert.notDeepEqual(one, other);
    assert.equal(one.get('lm_head.weight').positions, 3 * 80);
  });

  it('sequences that are written side by side are those that are written alone', async () => {
    const shared = { num_attention_heads: 6, num_key_value_heads: 2, head_dim: 4 };
    for (const changes of [{}, shared, { tie_word_embeddings: true }]) {
      const { model, config } = await inputs('F32', changes);
      const written = await writeSamples(model, config, { samples: 5, length: 30, seed: 3, count: () => {} });
      const llama = await loadLlama(model, config, new WasmBackend());
      const random = randomNumbers(3);
      for (const ids of written) {
        const alone = [Math.floor(random() * 29)];
        const seed = Math.floor(random() * 2 ** 32);
        const options = { maxTokens: 29, temperature: 1, seed };
        for await (const { token } of llama.generate(alone.slice(), options)) alone.push(token);
        assert.deepEqual(ids, alone);
      }
      llama.destroy();
    }
  });

  it('reads a text, and a coded model', async () => {
    const config = JSON.parse(await readFile(new URL('config.json', LICENCE), 'utf8'));
    const text = await readFile(new URL('eval.txt', LICENCE), 'utf8');
    const model = await open(new Uint8Array(await readFile(new URL('model.hansel.safetensors', LICENCE))));
    const seen = [];
    const found = await hessiansOf(model, config, { text, samples: 2, onProgress: (p) => seen.push(p) });
    assert.equal(found.get('lm_head.weight').positions, 256);
    assert.equal(seen.at(-1).done, seen.at(-1).total);
    assert.ok(seen.every(({ done }, i) => !i || done >= seen[i - 1].done));
    const { upper } = found.get('model.layers.3.mlp.down_proj.weight');
    assert.equal(upper.length, 512 * 513 / 2);
    assert.ok(upper.every(Number.isFinite));
  });

  it('refuses what it cannot read', async () => {
    const { model, config } = await inputs();
    const of = (changes, options) => hessiansOf(model, { ...config, ...changes }, options);
    for (const [changes, options, code] of [
      [{ model_type: 'gpt2' }, {}, 'HANSEL_ERR_CONFIG'], [{ vocab_size: 30 }, {}, 'HANSEL_ERR_CONFIG'],
      [{}, { text: 'abc' }, 'HANSEL_ERR_CONFIG'], [{}, { samples: 0 }, 'HANSEL_ERR_ARGUMENT'],
      [{}, { seed: 1.5 }, 'HANSEL_ERR_ARGUMENT'], [{}, { tokens: [] }, 'HANSEL_ERR_ARGUMENT'],
      [{}, { tokens: [[29]] }, 'HANSEL_ERR_ARGUMENT'], [{}, { tokens: [[]] }, 'HANSEL_ERR_ARGUMENT'],
      [{}, { tokens: [Array(81).fill(1)] }, 'HANSEL_ERR_ARGUMENT'], [{}, { tokens: 'x' }, 'HANSEL_ERR_ARGUMENT'],
      [{ num_hidden_layers: 3 }, {}, 'HANSEL_ERR_TENSOR'],
      [{}, { signal: AbortSignal.abort() }, 'HANSEL_ERR_ABORTED'],
    ]) await assert.rejects(of(changes, options), { code }, JSON.stringify([changes, options]));
    for (const tokens of [null, 0, '']) await assert.rejects(of({}, { tokens }), { code: 'HANSEL_ERR_ARGUMENT' });
    const broken = makeLlama({}, 4);
    broken.tensors['model.layers.0.mlp.down_proj.weight'].data[3] = NaN;
    await assert.rejects(hessiansOf(await open(new Uint8Array(plain(broken.tensors))), broken.config, { samples: 1 }),
      { code: 'HANSEL_ERR_NOT_FINITE', where: 'model.layers.1.self_attn.q_proj.weight' });
    const characters = Array.from({ length: 29 }, (_, i) => String.fromCharCode(97 + i)).join('');
    await assert.rejects(of({ characters }, { text: 'abc' }), { code: 'HANSEL_ERR_TEXT', message: /too short/ });
    await assert.rejects(of({ characters }, { text: 'A'.repeat(99) }), { code: 'HANSEL_ERR_TEXT' });
    const stop = new AbortController();
    await assert.rejects(of({}, { signal: stop.signal, onProgress: () => stop.abort() }), { code: 'HANSEL_ERR_ABORTED' });
  });

  it('by the command line: the file, and a model coded with it', async () => {
    const cwd = folder();
    const { config, tensors } = makeLlama({ hidden_size: 64, intermediate_size: 96 }, 9);
    writeFileSync(join(cwd, 'model.safetensors'), plain(tensors));
    writeFileSync(join(cwd, 'config.json'), JSON.stringify(config));
    writeFileSync(join(cwd, 'ids.json'), JSON.stringify(TOKENS));
    const { stderr } = await good(['calibrate', 'model.safetensors', '--tokens', 'ids.json'], { cwd });
    assert.match(stderr, /^hessians\.safetensors: \d+ bytes, of 87 tokens: 9 Hessians of 15 tensors\n$/);
    const made = await open(new Uint8Array(readFileSync(join(cwd, 'hessians.safetensors'))));
    assert.deepEqual([...made.tensors.keys()], [...hessianSlots(config).map(({ name }) => name),
      ...weighed(config).map((name) => IMPORTANCE + name)]);
    assert.equal(made.metadata.get('positions'), '87');
    assert.equal(made.metadata.get('same:model.layers.0.self_attn.k_proj.weight'), 'model.layers.0.self_attn.q_proj.weight');

    const { stdout } = await good(['encode', 'model.safetensors', '-o', 'out', '--bits', '4', '--hessians',
      'hessians.safetensors', '--json'], { cwd });
    const report = JSON.parse(stdout).tensors;
    assert.equal(report['model.layers.1.mlp.down_proj.weight'].error_feedback, true);
    assert.equal(report['model.embed_tokens.weight'].error_feedback, false);
    assert.equal(Buffer.compare(readFileSync(join(cwd, 'out')), await encode(
      await open(new Uint8Array(plain(tensors))), { bits: 4, hessians: made })), 0);

    const json = JSON.parse((await good(['calibrate', 'model.safetensors', '--samples', '2', '--json', '--force'], { cwd })).stdout);
    assert.deepEqual([json.positions, json.hessians, json.tensors], [160, 9, 15]);
    await bad(['calibrate', 'model.safetensors'], 'HANSEL_ERR_EXISTS', 1, { cwd });
    await bad(['calibrate', 'model.safetensors', '-o', 'x', '--text', 'ids.json', '--tokens', 'ids.json'],
      'HANSEL_ERR_USAGE', 2, { cwd });
    await bad(['calibrate', 'model.safetensors', '-o', 'x', '--text', 'none'], 'HANSEL_ERR_SOURCE', 1, { cwd });
    await bad(['calibrate', 'model.safetensors', '-o', 'x', '--tokens', 'model.safetensors'], 'HANSEL_ERR_ARGUMENT', 1, { cwd });
    await bad(['calibrate', 'model.safetensors', '-o', 'x', '--config', 'none'], 'HANSEL_ERR_SOURCE', 1, { cwd });
    await bad(['calibrate', 'model.safetensors', '-o', 'x', '--config', 'ids.json'], 'HANSEL_ERR_CONFIG', 1, { cwd });
    await bad(['calibrate', 'http://127.0.0.1:1/model.safetensors', '-o', 'x'], 'HANSEL_ERR_USAGE', 2, { cwd });
    await bad(['encode', 'model.safetensors', '-o', 'x', '--bits', '4', '--hessians', 'model.safetensors'],
      'HANSEL_ERR_HESSIAN', 1, { cwd });
    assert.deepEqual(readdirSync(cwd).sort(), ['config.json', 'hessians.safetensors', 'ids.json', 'model.safetensors', 'out']);
  });
});
