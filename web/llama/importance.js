/**
 * How much each matrix of a Llama matters to what it foresees: the mean square of the gradient of log p(y) by
 * a weight, y drawn from what the model foresees (the diagonal of the Fisher information, averaged over a
 * matrix). Backwards, layer after layer; a layer's own values are worked out once more.
 */
import { checkAborted } from '../core/errors.js';
import { takeTurn } from '../core/turn.js';
import { MAX_BATCH } from '../core/vectors.js';
import { buildHeader } from '../file/write_header.js';
import { open } from '../model/model.js';
import { loadPart, makeCache, makeVectors, runLayer } from './llama.js';
import { createSampler } from './llama_sampler.js';

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('./llama_config.js').LlamaConfig} LlamaConfig */
/** @typedef {{multiply: (x: Float32Array) => Promise<Float32Array>, destroy: () => void}} Product of any
 *   number of vectors */

/** @param {any} matrix of a back end @returns {Product} */
const product = (matrix) => ({
  destroy: () => matrix.destroy(),
  async multiply(x) {
    const { rows, columns } = matrix;
    const count = x.length / columns;
    const y = new Float32Array(count * rows);
    for (let at = 0; at < count; at += MAX_BATCH) {
      const some = Math.min(MAX_BATCH, count - at);
      y.set(await matrix.matmul(x.subarray(at * columns, (at + some) * columns), some), at * rows);
    }
    return y;
  },
});

/** A matrix's transpose. @param {any} backend @param {Model} model @param {string} name @returns {Promise<Product>} */
async function transposed(backend, model, name) {
  const { shape: [rows, columns] } = model.tensor(name);
  const w = /** @type {Float32Array} */ (await model.decode(name, { dtype: 'F32' }));
  const header = buildHeader([['w', { dtype: 'F32', shape: [columns, rows], bytes: 4 * w.length }]]);
  const file = new Uint8Array(header.length + 4 * w.length);
  file.set(header);
  const t = new Float32Array(file.buffer, header.length, w.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) t[c * rows + r] = w[r * columns + c];
  return product(await backend.load(await open(file), 'w'));
}

/**
 * The square of a gradient, of all weights: |sum of g x^T|^2, by the products of all g and of all x with each other.
 * @param {Float32Array} g @param {Float32Array} x as many vectors each @param {number} count
 */
function square(g, x, count) {
  const dot = (/** @type {Float32Array} */ v, /** @type {number} */ a, /** @type {number} */ b) => {
    const width = v.length / count;
    let [even, odd] = [0, 0];
    for (let i = a * width, j = b * width, end = i + width - 1; i < end; i += 2, j += 2) {
      even += v[i] * v[j];
      odd += v[i + 1] * v[j + 1];
    }
    return width % 2 ? even + odd + v[(a + 1) * width - 1] * v[(b + 1) * width - 1] : even + odd;
  };
  let sum = 0;
  for (let a = 0; a < count; a++) {
    for (let b = 0; b <= a; b++) sum += (a === b ? 1 : 2) * dot(g, a, b) * dot(x, a, b);
  }
  return sum;
}

/**
 * From the gradient of a norm's output to that of its input.
 * @param {Float32Array} x @param {Float32Array} weights @param {number} epsilon @param {Float32Array} dy
 */
function normBack(x, weights, epsilon, dy) {
  const width = weights.length;
  const dx = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += width) {
    let [squares, dots] = [0, 0];
    for (let i = 0; i < width; i++) {
      squares += x[at + i] ** 2;
      dots += dy[at + i] * weights[i] * x[at + i];
    }
    const scale = 1 / Math.sqrt(squares / width + epsilon);
    const share = scale ** 3 / width * dots;
    for (let i = 0; i < width; i++) dx[at + i] = scale * weights[i] * dy[at + i] - share * x[at + i];
  }
  return dx;
}

/** The transpose of RoPE, in place. @param {Float32Array} g @param {number} width @param {LlamaConfig} config
 * @param {Float32Array} table */
function rotateBack(g, width, { headDim }, table) {
  const half = headDim / 2;
  for (let at = 0; at < g.length; at += headDim) {
    const turn = Math.floor(at / width) * headDim;
    for (let i = 0; i < half; i++) {
      const [cos, sin] = [table[turn + i], table[turn + half + i]];
      const [a, b] = [g[at + i], g[at + half + i]];
      g[at + i] = a * cos + b * sin;
      g[at + half + i] = b * cos - a * sin;
    }
  }
}

/**
 * Through attention.
 * @param {Float32Array} dy of what it mixed @param {Float32Array} queries turned
 * @param {Float32Array} keys turned @param {Float32Array} values @param {LlamaConfig} config @param {number} count
 */
function attendBack(dy, queries, keys, values, { heads, keyHeads, headDim }, count) {
  const [width, keyWidth] = [heads * headDim, keyHeads * headDim];
  const dq = new Float32Array(count * width);
  const [dk, dv] = [new Float32Array(count * keyWidth), new Float32Array(count * keyWidth)];
  const [p, dp] = [new Float64Array(count), new Float64Array(count)];
  const scale = 1 / Math.sqrt(headDim);
  for (let head = 0; head < heads; head++) {
    const shared = Math.floor(head / (heads / keyHeads)) * headDim;
    for (let t = 0; t < count; t++) {
      const q = t * width + head * headDim;
      let most = -Infinity;
      for (let s = 0; s <= t; s++) {
        const k = s * keyWidth + shared;
        p[s] = dp[s] = 0;
        for (let i = 0; i < headDim; i++) {
          p[s] += queries[q + i] * keys[k + i];
          dp[s] += dy[q + i] * values[k + i];
        }
        most = Math.max(most, p[s] *= scale);
      }
      let [total, mean] = [0, 0];
      for (let s = 0; s <= t; s++) total += p[s] = Math.exp(p[s] - most);
      for (let s = 0; s <= t; s++) mean += (p[s] /= total) * dp[s];
      for (let s = 0; s <= t; s++) {
        const k = s * keyWidth + shared;
        const ds = p[s] * (dp[s] - mean) * scale;
        for (let i = 0; i < headDim; i++) {
          dq[q + i] += ds * keys[k + i];
          dk[k + i] += ds * queries[q + i];
          dv[k + i] += p[s] * dy[q + i];
        }
      }
    }
  }
  return { dq, dk, dv };
}

/** @param {Float32Array} to @param {Float32Array[]} more */
function add(to, ...more) {
  for (const some of more) for (let i = 0; i < to.length; i++) to[i] += some[i];
  return to;
}

/**
 * Before the last norm: what comes of drawing the next tokens.
 * @param {Product} head @param {Product} back its transpose @param {Float32Array} h after the norm
 * @param {number} vocab @param {(logits: Float32Array) => number} sample
 * @param {(g: Float32Array, x: Float32Array) => void} see
 * @returns {Promise<Float32Array>} gradient of h
 */
async function headBack(head, back, h, vocab, sample, see) {
  const g = await head.multiply(h);
  for (let at = 0; at < g.length; at += vocab) {
    const row = g.subarray(at, at + vocab);
    const drawn = sample(row);
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = row.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
    for (let i = 0; i < vocab; i++) row[i] = -Math.exp(row[i] - most) / total;
    row[drawn] += 1;
  }
  see(g, h);
  return back.multiply(g);
}

/**
 * @param {Model} model @param {LlamaConfig} config
 * @param {Map<string, {role: string, layer: number, shape: number[]}>} names its tensors
 * @param {import('./llama_wasm.js').WasmOps} ops
 * @param {number[][]} sequences of tokens
 * @param {Float32Array[][]} states by layer and sequence: what comes in; the last are what comes out
 * @param {{seed: number, signal?: AbortSignal, count: (tokens: number, what: string) => void}} options
 * @returns {Promise<Map<string, number>>} by the names of matrices
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_ABORTED, and what decoding throws
 */
export async function importances(model, config, names, ops, sequences, states, { seed, signal, count }) {
  const { hidden, layers, vocab, epsilon, isTied, heads, headDim } = config;
  const { backend } = ops;
  /** @type {Map<string, number>} */
  const squares = new Map();
  const put = (/** @type {string} */ name, /** @type {number} */ some) => (
    squares.set(name, (squares.get(name) ?? 0) + some));
  const turn = async () => {
    await takeTurn();
    checkAborted(signal);
  };
  const vectors = makeVectors(ops, config);

  const headName = isTied ? 'model.embed_tokens.weight' : 'lm_head.weight';
  const [head, headT] = [product(await backend.load(model, headName)), await transposed(backend, model, headName)];
  const { data: last } = await loadPart(ops, model, 'model.norm.weight', 'norm', signal);
  const sample = createSampler({ temperature: 1, topK: 0, seed });
  /** @type {Float32Array[]} */
  const gradients = [];
  for (const x of states[layers]) {
    await turn();
    const h = new Float32Array(x.length);
    for (let at = 0; at < x.length; at += MAX_BATCH * hidden) {
      const some = x.subarray(at, at + MAX_BATCH * hidden);
      ops.count = some.length / hidden;
      ops.write(vectors.x, some);
      ops.norm(vectors.h, vectors.x, { data: last, width: hidden });
      h.set(vectors.h.data.subarray(0, some.length), at);
    }
    const tokens = x.length / hidden;
    const dh = await headBack(head, headT, h, vocab, sample, (g, into) => put(headName, square(g, into, tokens)));
    gradients.push(normBack(x, last, epsilon, dh));
    count(tokens, headName);
  }
  head.destroy();
  headT.destroy();

  for (let layer = layers - 1; layer >= 0; layer--) {
    /** Names of its tensors by role. @type {Record<string, string>} */
    const own = Object.fromEntries([...names].filter(([, one]) => one.layer === layer)
      .map(([name, { role }]) => [role, name]));
    const home = /** @type {Record<string, any>} */ (makeCache(ops, config));
    /** @type {Record<string, Product>} */
    const back = {};
    for (const [role, name] of Object.entries(own)) {
      home[role] = await loadPart(ops, model, name, role, signal);
      if (!/norm$/i.test(role)) back[role] = await transposed(backend, model, name);
    }
    for (const [i, x] of states[layer].entries()) {
      await turn();
      const tokens = x.length / hidden;
      /** @type {Record<string, Float32Array>} */
      const seen = {};
      const keep = (/** @type {string} */ what, /** @type {any} */ { data, width }) => {
        seen[what] ??= new Float32Array(tokens * width);
        seen[what].set(data.subarray(0, ops.count * width), ops.position * width);
      };
      for (let at = 0; at < tokens; at += MAX_BATCH) {
        const some = x.subarray(at * hidden, (at + MAX_BATCH) * hidden);
        await ops.run({ count: some.length / hidden, position: at }, async () => {
          ops.write(vectors.x, some);
          await runLayer(ops, home, vectors, (role, input) => keep(role, input));
          for (const what of ['rotated', 'gate', 'up', 'delta', 'x']) keep(`v.${what}`, vectors[what]);
          return vectors.x;
        });
      }
      const middle = seen['v.x'].map((value, at) => value - seen['v.delta'][at]);
      const see = (/** @type {string} */ role, /** @type {Float32Array} */ g, /** @type {string} */ input) => (
        put(own[role], square(g, seen[input], tokens)));
      const dx = gradients[i];
      see('down', dx, 'down');
      const dInner = await back.down.multiply(dx);
      const [dGate, dUp] = [new Float32Array(dInner.length), new Float32Array(dInner.length)];
      for (let at = 0; at < dInner.length; at++) {
        const [gate, up] = [seen['v.gate'][at], seen['v.up'][at]];
        const share = 1 / (1 + Math.exp(-gate));
        dUp[at] = dInner[at] * gate * share;
        dGate[at] = dInner[at] * up * share * (1 + gate * (1 - share));
      }
      see('gate', dGate, 'gate');
      see('up', dUp, 'gate');
      const dMlp = add(await back.gate.multiply(dGate), await back.up.multiply(dUp));
      add(dx, normBack(middle, home.mlpNorm.data, epsilon, dMlp));
      see('output', dx, 'output');
      const { dq, dk, dv } = attendBack(await back.output.multiply(dx), seen['v.rotated'], home.keys.data,
        home.values.data, config, tokens);
      rotateBack(dq, heads * headDim, config, ops.rotations);
      rotateBack(dk, home.keys.width, config, ops.rotations);
      see('query', dq, 'query');
      see('key', dk, 'query');
      see('value', dv, 'query');
      const dh = add(await back.query.multiply(dq), await back.key.multiply(dk), await back.value.multiply(dv));
      add(dx, normBack(x, home.attentionNorm.data, epsilon, dh));
      count(tokens, own.query);
    }
    for (const one of [...Object.values(back), ...Object.values(home)]) one.destroy?.();
  }

  // A row of the embedding is moved by all that came of its token.
  for (const [i, ids] of sequences.entries()) {
    /** @type {Map<number, Float32Array>} */
    const rows = new Map();
    for (const [t, id] of ids.entries()) {
      const some = gradients[i].subarray(t * hidden, (t + 1) * hidden);
      rows.set(id, rows.has(id) ? add(/** @type {Float32Array} */ (rows.get(id)), some) : some.slice());
    }
    for (const row of rows.values()) put('model.embed_tokens.weight', row.reduce((sum, g) => sum + g * g, 0));
  }
  const positions = sequences.reduce((sum, { length }) => sum + length, 0);
  return new Map([...squares].map(([name, sum]) => {
    const [rows, columns] = model.tensor(name).shape;
    return [name, sum / positions / rows / columns];
  }));
}
