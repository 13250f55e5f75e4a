/** A Llama in float64 loops, straight from its definition, and small random models for it. */
import { random } from '../gpu/cases.js';

/** W x. @param {{shape: number[], data: ArrayLike<number>}} w @param {Float64Array} x */
function multiply({ shape: [rows, columns], data }, x) {
  const y = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) y[r] += data[r * columns + c] * x[c];
  }
  return y;
}

/** @param {Float64Array} x @param {ArrayLike<number>} weights @param {number} epsilon */
function rmsNorm(x, weights, epsilon) {
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  return x.map((v, i) => v / Math.sqrt(mean + epsilon) * weights[i]);
}

/** RoPE, rotate-half. @param {Float64Array} x one head @param {number} position @param {number} theta */
function rope(x, position, theta) {
  const half = x.length / 2;
  return x.map((v, i) => {
    const angle = position / theta ** (2 * (i % half) / x.length);
    return v * Math.cos(angle) + (i < half ? -x[i + half] : x[i - half]) * Math.sin(angle);
  });
}

/**
 * @param {any} config @param {Record<string, {shape: number[], data: ArrayLike<number>}>} tensors
 * @param {number[]} tokens
 * @param {(name: string, x: Float64Array) => void} [see] is shown what is multiplied with a tensor
 * @returns {Float64Array} logits after each token
 */
export function referenceLogits(config, tensors, tokens, see = () => {}) {
  const { num_attention_heads: heads, num_key_value_heads: keyHeads, hidden_size: hidden } = config;
  const dim = config.head_dim ?? hidden / heads;
  const get = (name) => tensors[`model.${name}.weight`];
  const times = (name, x) => {
    see(name, x);
    return multiply(tensors[name], x);
  };
  let xs = tokens.map((token) => Float64Array.from(
    Array.from(get('embed_tokens').data).slice(token * hidden, (token + 1) * hidden)));
  const plus = (a, b) => a.map((v, i) => v + b[i]);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const part = (name) => get(`layers.${layer}.${name}`);
    const product = (name, x) => times(`model.layers.${layer}.${name}.weight`, x);
    const hs = xs.map((x) => rmsNorm(x, part('input_layernorm').data, config.rms_norm_eps));
    const split = (name, isTurned) => hs.map((h, position) => {
      const y = product(`self_attn.${name}`, h);
      return Array.from({ length: y.length / dim }, (_, head) => {
        const own = y.slice(head * dim, (head + 1) * dim);
        return isTurned ? rope(own, position, config.rope_theta) : own;
      });
    });
    const [qs, ks, vs] = [split('q_proj', true), split('k_proj', true), split('v_proj', false)];
    xs = xs.map((x, t) => {
      const mixed = new Float64Array(heads * dim);
      for (let head = 0; head < heads; head++) {
        const shared = Math.floor(head / (heads / keyHeads));
        const scores = ks.slice(0, t + 1).map((k) => k[shared].reduce(
          (sum, v, i) => sum + v * qs[t][head][i], 0) / Math.sqrt(dim));
        const most = Math.max(...scores);
        const total = scores.reduce((sum, s) => sum + Math.exp(s - most), 0);
        scores.forEach((score, p) => vs[p][shared].forEach((v, i) => {
          mixed[head * dim + i] += Math.exp(score - most) / total * v;
        }));
      }
      return plus(x, product('self_attn.o_proj', mixed));
    });
    xs = xs.map((x) => {
      const h = rmsNorm(x, part('post_attention_layernorm').data, config.rms_norm_eps);
      const up = product('mlp.up_proj', h);
      const gated = product('mlp.gate_proj', h).map((g, i) => g / (1 + Math.exp(-g)) * up[i]);
      return plus(x, product('mlp.down_proj', gated));
    });
  }
  const head = config.tie_word_embeddings ? 'model.embed_tokens.weight' : 'lm_head.weight';
  const out = new Float64Array(tokens.length * config.vocab_size);
  xs.forEach((x, t) => out.set(times(head, rmsNorm(x, get('norm').data, config.rms_norm_eps)),
    t * config.vocab_size));
  return out;
}

/** Writes, always the likeliest. @param {any} config @param {any} tensors @param {number[]} tokens
 * @param {number} count @returns {number[]} */
export function greedy(config, tensors, tokens, count) {
  const ids = [...tokens];
  while (ids.length < tokens.length + count) {
    const last = Array.from(referenceLogits(config, tensors, ids)).slice(-config.vocab_size);
    ids.push(last.indexOf(Math.max(...last)));
  }
  return ids.slice(tokens.length);
}

/**
 * A random model. @param {Record<string, unknown>} changes of its configuration
 * @param {number} seed @param {string} [dtype] F32, or BF16 bit patterns
 */
export function makeLlama(changes, seed, dtype = 'F32') {
  const config = {
    architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_size: 16, intermediate_size: 36,
    num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2, head_dim: 8, vocab_size: 29,
    max_position_embeddings: 80, rms_norm_eps: 1e-5, rope_theta: 10000, hidden_act: 'silu',
    tie_word_embeddings: false, ...changes,
  };
  const { hidden_size: hidden, intermediate_size: inner, head_dim: dim, vocab_size: vocab } = config;
  const queries = config.num_attention_heads * dim;
  const keys = config.num_key_value_heads * dim;
  const r = random(seed);
  /** @type {Record<string, {dtype: string, shape: number[], data: any}>} */
  const tensors = {};
  const add = (name, ...shape) => {
    const spread = shape.length === 1 ? 0.2 : 1.2 / Math.sqrt(shape[1]);
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b) },
      () => spread * r.gauss() + (shape.length === 1 ? 1 : 0));
    const bits = new Uint32Array(data.buffer);
    tensors[name] = { dtype, shape, data: dtype === 'F32' ? data : Uint16Array.from(bits, (w) => w >>> 16) };
  };
  add('model.embed_tokens.weight', vocab, hidden);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const prefix = `model.layers.${layer}`;
    add(`${prefix}.input_layernorm.weight`, hidden);
    add(`${prefix}.self_attn.q_proj.weight`, queries, hidden);
    add(`${prefix}.self_attn.k_proj.weight`, keys, hidden);
    add(`${prefix}.self_attn.v_proj.weight`, keys, hidden);
    add(`${prefix}.self_attn.o_proj.weight`, hidden, queries);
    add(`${prefix}.post_attention_layernorm.weight`, hidden);
    add(`${prefix}.mlp.gate_proj.weight`, inner, hidden);
    add(`${prefix}.mlp.up_proj.weight`, inner, hidden);
    add(`${prefix}.mlp.down_proj.weight`, hidden, inner);
  }
  add('model.norm.weight', hidden);
  if (!config.tie_word_embeddings) add('lm_head.weight', vocab, hidden);
  return { config, tensors };
}

/** Changes of the configuration, options of encode(), dtype. @type {Record<string, [any, any, string?]>} */
export const CASES = {
  'plain, not coded': [{}, { include: 'no such' }],
  'on a grid': [{}, { bits: 6, always: true }],
  'losslessly coded': [{}, { lossless: true, always: true }],
  'three query heads to a key head': [
    { num_attention_heads: 6, num_key_value_heads: 2, head_dim: 4 }, { bits: 6, always: true }],
  'one key head for all': [{ num_attention_heads: 4, num_key_value_heads: 1 }, { bits: 5, always: true }],
  'tied embeddings': [{ tie_word_embeddings: true }, { bits: 6, always: true }],
  'tied embeddings, not coded': [{ tie_word_embeddings: true }, { include: 'no such' }],
  'odd sizes, heads across texels': [{
    hidden_size: 13, intermediate_size: 31, num_attention_heads: 3, num_key_value_heads: 1,
    head_dim: 6, vocab_size: 23, max_position_embeddings: 67,
  }, { bits: 6, always: true }],
  'BF16, not coded': [{}, { include: 'no such' }, 'BF16'],
  'BF16, on a grid': [{}, { bits: 6, always: true }, 'BF16'],
  'smallest': [{
    hidden_size: 2, intermediate_size: 1, num_hidden_layers: 1, num_attention_heads: 1,
    num_key_value_heads: 1, head_dim: 2, vocab_size: 3, max_position_embeddings: 5, rope_theta: 100,
  }, { bits: 6, always: true }],
};
