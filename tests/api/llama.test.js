/** The Llama of the demo, on the wasm: against its reference, and against plain float64 loops. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { CODES } from '../../web/core/errors.js';
import { loadLlama } from '../../web/llama/llama.js';
import { readConfig } from '../../web/llama/llama_config.js';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { encode, open } from '../../web/hansel.js';
import { curve, evalText } from '../bench/eval_report.js';
import { storedBits, toGroups } from '../bench/round_to_nearest.js';
import { CASES, greedy, makeLlama, referenceLogits } from './llama_reference.js';

const FOLDER = new URL('../../web/demo/models/licence-llama/', import.meta.url);
const read = async (name) => new Uint8Array(await readFile(new URL(name, FOLDER)));
const json = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b @returns {number} */
const worst = (a, b) => {
  assert.equal(a.length, b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
};

/** The code of what goes wrong. @param {() => any} body */
async function codeOf(body) {
  try {
    await body();
  } catch (error) {
    assert.ok(error.code, error.stack);
    assert.ok(Object.hasOwn(CODES, error.code) || error.code === 'HANSEL_ERR_ARGUMENT', error.code);
    return error.where ? `${error.code} ${error.where}` : error.code;
  }
  return 'none';
}

describe('llama', function () {
  this.timeout(120000);
  const backend = new WasmBackend();

  describe('the licence model', () => {
    let config;
    let reference;
    let model;
    let llama;
    before(async () => {
      [config, reference] = [await json('config.json'), await json('reference.json')];
      model = await open(await read('model.hansel.safetensors'));
      llama = await loadLlama(model, config, backend);
    });
    after(() => llama?.destroy());

    it('has its reference\'s logits and greedy continuation in F32', async () => {
      const prompt = llama.encodeText(reference.prompt);
      const logits = await llama.logits(prompt, { last: true });
      assert.ok(worst(logits, reference.prompt_last_logits) < 5e-5); // five digits are stored
      let text = '';
      const positions = [];
      for await (const next of llama.generate(prompt)) {
        text += next.text;
        positions.push(next.position);
      }
      assert.equal(text, reference.greedy_continuation);
      assert.deepEqual([positions[0], positions.at(-1)], [prompt.length, llama.context - 1]);
      assert.equal(llama.decodeTokens(prompt), reference.prompt);
    });

    it('has the logits of float64 loops on held-out text, and so the loss', async () => {
      // The loss that PyTorch found is over all windows: `make eval` compares that.
      const text = new TextDecoder().decode(await read('eval.txt'));
      const tensors = {};
      for (const [name, { shape }] of model.tensors) tensors[name] = { shape, data: await model.decode(name) };
      const tokens = llama.encodeText(text.slice(0, 70)); // two batches
      const logits = await llama.logits(tokens);
      assert.ok(worst(logits, referenceLogits(config, tensors, tokens)) < 1e-3);
    });

    it('writes the same with the matrices at 8 bits', async () => {
      const tensors = {};
      for (const [name, { dtype, shape }] of model.tensors) {
        tensors[name] = { dtype, shape, data: await model.decode(name) };
      }
      const coded = await open(await encode(tensors, { bits: 8 }));
      assert.equal(coded.tensor('lm_head.weight').mode, 'grid');
      const small = await loadLlama(coded, config, backend);
      let text = '';
      for await (const next of small.generate(small.encodeText(reference.prompt))) text += next.text;
      small.destroy();
      assert.equal(text, reference.greedy_continuation);
    });

    it('gives the same logits in batches and one by one', async () => {
      const tokens = llama.encodeText(reference.prompt.repeat(3).slice(0, 70)); // two batches
      const all = await llama.logits(tokens);
      const last = await llama.logits(tokens, { last: true });
      assert.deepEqual(last, all.slice(69 * 96));
      const written = [];
      for await (const { token } of llama.generate(tokens, { maxTokens: 3 })) {
        const next = await llama.logits([...tokens, ...written], { last: true });
        written.push(token);
        assert.equal(token, next.indexOf(Math.max(...next)));
      }
      assert.equal(written.length, 3);
    });

    it('two texts at once do not disturb each other', async () => {
      const write = async (text) => {
        let out = '';
        for await (const next of llama.generate(llama.encodeText(text), { maxTokens: 20 })) {
          out += next.text;
        }
        return out;
      };
      const prompts = [reference.prompt, 'You may copy '];
      const alone = [await write(prompts[0]), await write(prompts[1])];
      assert.deepEqual(await Promise.all(prompts.map(write)), alone);
      assert.notEqual(alone[0], alone[1]);
    });

    it('samples repeatably, among the likeliest, and slides on', async () => {
      const short = await loadLlama(model, config, backend, { context: 24 });
      const write = async (options) => {
        const ids = [];
        for await (const { token } of short.generate(short.encodeText('The '), { maxTokens: 15, ...options })) {
          ids.push(token);
        }
        return ids;
      };
      const hot = { temperature: 1.5, seed: 7 };
      assert.deepEqual(await write(hot), await write(hot));
      assert.notDeepEqual(await write(hot), await write({ ...hot, seed: 8 }));
      assert.deepEqual(await write({ ...hot, topK: 1 }), await write({}));
      const long = await write({ maxTokens: 50, slide: true });
      const whole = await write({ maxTokens: 50 });
      assert.deepEqual([long.length, whole.length], [50, 20]);
      assert.deepEqual(long.slice(0, 20), whole);
      // A beginning that fills the context leaves no room for more; none of it is dropped unasked.
      const full = await write({ maxTokens: 20 });
      const filled = [...short.encodeText('The '), ...full];
      assert.equal(filled.length, 24);
      for await (const { token } of short.generate(filled)) assert.fail(`${token} beyond the context`);
      // The 21st token follows the newer half of the context.
      const half = [...short.encodeText('The '), ...whole].slice(-12);
      const next = await short.logits(half, { last: true });
      assert.equal(long[20], next.indexOf(Math.max(...next)));
      short.destroy();
    });

    it('stops when told', async () => {
      const stop = new AbortController();
      const ids = [];
      await assert.rejects(async () => {
        for await (const { token } of llama.generate([5], { signal: stop.signal })) {
          ids.push(token);
          if (ids.length === 4) stop.abort();
        }
      }, { code: 'HANSEL_ERR_ABORTED' });
      assert.equal(ids.length, 4);
      await assert.rejects(loadLlama(model, config, backend, { signal: stop.signal }),
        { code: 'HANSEL_ERR_ABORTED' });
      await assert.rejects(llama.logits([1], { signal: stop.signal }), { code: 'HANSEL_ERR_ABORTED' });
      assert.equal((await llama.logits([1])).length, 96); // and goes on
    });

    it('says how far loading is', async () => {
      const seen = [];
      const other = await loadLlama(model, config, backend, { onProgress: (p) => seen.push(p) });
      other.destroy();
      assert.equal(seen.length, model.tensors.size);
      assert.ok(seen.every(({ done }, i) => i === 0 || done > seen[i - 1].done));
      assert.equal(seen.at(-1).done, seen.at(-1).total);
      assert.equal(await codeOf(() => other.logits([1])), 'HANSEL_ERR_DESTROYED');
    });

    it('refuses impossible text, tokens and options', async () => {
      const A = 'HANSEL_ERR_ARGUMENT';
      const drain = async (...args) => { for await (const next of llama.generate(...args)) void next; };
      assert.equal(await codeOf(() => llama.encodeText('caf\u00e9')), 'HANSEL_ERR_TEXT');
      assert.throws(() => llama.encodeText('caf\u00e9'), /"\u00e9", character 4/);
      for (const body of [
        () => llama.logits([]), () => llama.logits([96]), () => llama.logits([-1]),
        () => llama.logits([1.5]), () => llama.logits(new Array(129).fill(1)),
        () => llama.decodeTokens([1, 96]), () => drain([]), () => drain(new Array(129).fill(1)),
        () => drain([1], { temperature: -1 }), () => drain([1], { temperature: NaN }),
        () => drain([1], { topK: 1.5 }), () => drain([1], { seed: 'x' }),
        () => loadLlama(model, config, backend, { context: 0 }),
        () => loadLlama(model, config, backend, { context: 129 }),
      ]) assert.equal(await codeOf(body), A, body.toString());
      assert.deepEqual(llama.decodeTokens([]), '');
    });
  });

  describe('small models of all shapes, against float64 loops', () => {
    for (const [name, [changes, options, dtype]] of Object.entries(CASES)) {
      it(name, async () => {
        const { config, tensors } = makeLlama(changes, 3, dtype);
        const model = await open(await encode(tensors, options));
        // What the coded tensors stand for is the reference's input.
        for (const key of Object.keys(tensors)) {
          tensors[key].data = await model.decode(key, { dtype: 'F32' });
        }
        const tokens = Array.from({ length: Math.min(70, config.max_position_embeddings) },
          (_, i) => i * 5 % config.vocab_size);
        const expected = referenceLogits(config, tensors, tokens);
        const llama = await loadLlama(model, config, backend);
        const logits = await llama.logits(tokens);
        const scale = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
        assert.ok(scale > 0.1, `logits of ${scale}`);
        assert.ok(worst(logits, expected) < 1e-4 * scale, `${worst(logits, expected)} of ${scale}`);
        const ids = [];
        for await (const { token, text } of llama.generate(tokens.slice(0, 3), { maxTokens: 5 })) {
          ids.push(token);
          assert.equal(text, '');
        }
        assert.deepEqual(ids, greedy(config, tensors, tokens.slice(0, 3), ids.length));
        llama.destroy();
      });
    }
  });

  describe('what is not supported', () => {
    const C = 'HANSEL_ERR_CONFIG';
    const { config: good } = makeLlama({}, 1);
    for (const [field, value] of [
      ['model_type', 'mistral'], ['model_type', undefined], ['hidden_act', 'gelu'],
      ['attention_bias', true], ['mlp_bias', true], ['sliding_window', 4096],
      ['partial_rotary_factor', 0.5], ['quantization_config', { bits: 4 }],
      ['rope_scaling', { rope_type: 'llama3', factor: 8 }], ['rope_scaling', { type: 'linear' }],
      ['rope_parameters', { rope_type: 'yarn', rope_theta: 1e4 }],
      ['hidden_size', 0], ['hidden_size', 'x'], ['hidden_size', undefined], ['intermediate_size', 1.5],
      ['num_hidden_layers', 0], ['vocab_size', -1], ['max_position_embeddings', null],
      ['num_attention_heads', 2 ** 31], ['num_key_value_heads', 3], ['head_dim', 5], ['head_dim', 0],
      ['rms_norm_eps', 0], ['rms_norm_eps', 'x'], ['rope_theta', -1], ['rope_theta', Infinity],
      ['characters', 'abc'], ['characters', 'a'.repeat(29)], ['characters', 7],
    ]) {
      it(`${field} ${JSON.stringify(value)}`, async () => {
        assert.equal(await codeOf(() => readConfig({ ...good, [field]: value })), `${C} ${field}`);
      });
    }

    it('what is no configuration', async () => {
      for (const value of [null, undefined, 'x', [], 3]) {
        assert.equal(await codeOf(() => readConfig(value)), `${C} config.json`);
      }
    });

    it('defaults are Hugging Face\'s, and newer files\' RoPE is read', () => {
      const { rms_norm_eps: a, rope_theta: b, head_dim: c, tie_word_embeddings: d, hidden_act: e,
        num_key_value_heads: f, ...least } = good;
      void [a, b, c, d, e, f];
      const found = readConfig(least);
      assert.deepEqual([found.epsilon, found.theta, found.headDim, found.isTied, found.keyHeads],
        [1e-6, 1e4, good.hidden_size / good.num_attention_heads, false, good.num_attention_heads]);
      assert.equal(readConfig({ ...good, rope_parameters: { rope_type: 'default', rope_theta: 5e5 } }).theta, 5e5);
    });

    it('tensors that are missing, of another shape, another dtype, or too many', async () => {
      const attempt = async (change) => {
        const { config, tensors } = makeLlama({}, 1);
        change(tensors);
        return codeOf(async () => loadLlama(await open(await encode(tensors)), config, backend));
      };
      const name = 'model.layers.1.mlp.up_proj.weight';
      assert.equal(await attempt((t) => delete t[name]), 'HANSEL_ERR_TENSOR');
      assert.equal(await attempt((t) => { t[name].shape.reverse(); }), `${C} ${name}`);
      assert.equal(await attempt((t) => {
        t[name] = { dtype: 'I8', shape: t[name].shape, data: new Int8Array(t[name].data.length) };
      }), `HANSEL_ERR_DTYPE ${name}`);
      const bias = 'model.layers.0.self_attn.q_proj.bias';
      assert.equal(await attempt((t) => {
        t[bias] = { dtype: 'F32', shape: [8], data: new Float32Array(8) };
      }), `${C} ${bias}`);
      assert.equal(await attempt((t) => {
        t['model.layers.0.self_attn.rotary_emb.inv_freq'] = {
          dtype: 'F32', shape: [2], data: new Float32Array(2),
        };
      }), 'none');
    });

    it('text, without a character list', async () => {
      const { config, tensors } = makeLlama({}, 1);
      const llama = await loadLlama(await open(await encode(tensors)), config, backend);
      assert.equal(await codeOf(() => llama.encodeText('a')), `${C} characters`);
      assert.equal(await codeOf(() => llama.decodeTokens([1])), `${C} characters`);
      assert.equal((await llama.logits([1])).length, config.vocab_size);
    });
  });
});

describe('eval', function () {
  this.timeout(120000);

  it('rounds groups to the nearest, as the usual formats do', () => {
    const weights = new Float32Array([1, -0.5, 0.26, -0.9, 0, 0, 0, 0]);
    assert.deepEqual([...toGroups(weights, 3, 4)].map((w) => w + 0), [1, -0.5, 0.25, -0.75, 0, 0, 0, 0]);
    assert.deepEqual([storedBits(8, 32), storedBits(4, 32), storedBits(4, 64)], [8.5, 4.5, 4.25]);
    const many = Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i * i));
    assert.ok(worst(toGroups(many, 8, 32), many) <= 1.001 / 128);
  });

  it('makes a table and a curve of its results', async () => {
    const results = {
      count: 256, windows: 2, weights: 1000, results: [
        { what: 'F32', family: 'F32', bits: 32, bytes: 4000, loss: 1.5, divergence: 0 },
        { what: 'int4, group 32', family: 'groups', bits: 4.5, bytes: 563, loss: 1.49, divergence: 0.02 },
        { what: 'Hansel, --bits 4 --each', family: 'each', bits: 3.99, bytes: 499, loss: 1.51, divergence: 0.02 },
        { what: 'Hansel, --bits 4', family: 'Hansel', bits: 3.99, bytes: 499, loss: 1.51, divergence: 0.01 },
        { what: 'Hansel, --bits 2', family: 'Hansel', bits: 1.99, bytes: 249, loss: 1.8, divergence: 0.3 },
        { what: 'Hansel, --bits 2, feedback', family: 'samples', bits: 1.99, bytes: 249, loss: 1.7, divergence: 0.2 },
        { what: 'another text', family: 'text', bits: 1.99, bytes: 249, loss: 1.7, divergence: 0.2 }],
    };
    assert.match(evalText(results), /\| int4, group 32 \| 4\.50 \| 0\.00 \| 1\.4900 \| -0\.0100 \| 0\.02000 \|/);
    const svg = curve(results);
    assert.equal(svg.match(/<circle /g).length, 4);
    assert.ok(!/NaN|undefined|Infinity/.test(svg));
  });

  it('its page is up to date with its curve, and F32 is its reference\'s', async () => {
    const page = await readFile(new URL('../../docs/EVAL.md', import.meta.url), 'utf8');
    const { eval_nats_per_char: loss } = await json('reference.json');
    const found = Number(/^\| F32 \| 32\.00 \| [\d.]+ \| ([\d.]+) \|/m.exec(page)?.[1]);
    assert.ok(Math.abs(found - loss) < 1e-3, `${found}, not ${loss}`);
    const hansel = [...page.matchAll(/^\| Hansel, --bits ([\d.]+)(?:, feedback[^|]*)? \| ([\d.]+) \|/gm)];
    assert.equal(hansel.length, 26);
    for (const [, asked, got] of hansel) assert.ok(Number(got) <= Number(asked), `${got} of ${asked}`);
  });

  it('the model\'s coded copies are what the command line makes of it', async () => {
    for (const rate of ['8', '5', '4', '3', '2.5', '3f', '2.25f']) {
      const path = new URL(`../../dist/demo/models/licence-llama/${rate}.hansel.safetensors`, import.meta.url).pathname;
      const info = JSON.parse(execFileSync('node', ['web/cli.js', 'info', path, '--json'],
        { cwd: new URL('../..', import.meta.url).pathname, encoding: 'utf8' }));
      const grids = Object.values(info.tensors).filter(({ mode }) => mode === 'grid');
      assert.equal(grids.length, 30);
      const bits = 8 * grids.reduce((sum, { bytes }) => sum + bytes, 0)
        / grids.reduce((sum, { weights }) => sum + weights, 0);
      assert.ok(bits <= parseFloat(rate), `${bits} of ${rate}`);
      assert.equal(info.tensors['model.norm.weight'].mode, 'pass-through');
    }
  });
});
