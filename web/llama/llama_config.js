/**
 * What a Llama-family checkpoint's config.json says, checked; and the tokenizer of
 * character-level ones. README.md of this folder lists what is supported.
 */
import { HanselError } from '../core/errors.js';

/**
 * @typedef {object} LlamaConfig sizes in elements
 * @property {number} hidden @property {number} intermediate @property {number} layers
 * @property {number} heads @property {number} keyHeads query heads share them in equal groups
 * @property {number} headDim even @property {number} vocab
 * @property {number} positions that the model was trained for
 * @property {number} epsilon of RMSNorm @property {number} theta of RoPE
 * @property {boolean} isTied the embedding is also the output matrix
 * @property {string[] | null} characters by token id
 */

/** @param {string} what @param {unknown} expected @param {unknown} got @param {string} where */
const refusal = (what, expected, got, where) => new HanselError('HANSEL_ERR_CONFIG', what, {
  expected, got: typeof got === 'object' ? JSON.stringify(got) : got, where,
});

/** Fields that must have (or be without) one value: others change what the model computes. */
const FIXED = /** @type {const} */ ([
  ['model_type', ['llama']], ['hidden_act', ['silu', undefined]],
  ['attention_bias', [false, null, undefined]], ['mlp_bias', [false, null, undefined]],
  ['sliding_window', [null, undefined]], ['partial_rotary_factor', [1, null, undefined]],
  ['quantization_config', [null, undefined]],
]);

/**
 * Reads a Hugging Face config.json.
 * @param {any} config parsed
 * @returns {LlamaConfig}
 * @throws {HanselError} HANSEL_ERR_CONFIG for what is missing, impossible or not supported; where
 *   names the field
 */
export function readConfig(config) {
  if (Object(config) !== config || Array.isArray(config)) {
    throw refusal('no configuration', 'the object of a config.json', config, 'config.json');
  }
  for (const [field, allowed] of FIXED) {
    if (!(/** @type {readonly unknown[]} */ (allowed)).includes(config[field])) {
      throw refusal('not supported', JSON.stringify(allowed[0]), config[field], field);
    }
  }
  // Older files have rope_scaling and rope_theta, newer ones rope_parameters.
  for (const field of ['rope_scaling', 'rope_parameters']) {
    const { rope_type: kind, type = kind } = config[field] ?? {};
    if (config[field] && (kind ?? type) !== 'default') {
      throw refusal('not supported', 'plain RoPE', config[field], field);
    }
  }
  const count = (/** @type {string} */ field, /** @type {number | undefined} */ standard) => {
    const value = config[field] ?? standard;
    if (!Number.isSafeInteger(value) || value < 1 || value >= 2 ** 31) {
      throw refusal('impossible size', 'a whole number from 1', value, field);
    }
    return value;
  };
  const positive = (/** @type {string} */ field, /** @type {unknown} */ value) => {
    if (!Number.isFinite(value) || Number(value) <= 0) {
      throw refusal('impossible number', 'a positive one', value, field);
    }
    return Number(value);
  };
  const hidden = count('hidden_size', undefined);
  const heads = count('num_attention_heads', undefined);
  const found = {
    hidden, heads,
    intermediate: count('intermediate_size', undefined),
    layers: count('num_hidden_layers', undefined),
    keyHeads: count('num_key_value_heads', heads),
    headDim: count('head_dim', hidden / heads),
    vocab: count('vocab_size', undefined),
    positions: count('max_position_embeddings', undefined),
    epsilon: positive('rms_norm_eps', config.rms_norm_eps ?? 1e-6),
    theta: positive('rope_theta', config.rope_parameters?.rope_theta ?? config.rope_theta ?? 1e4),
    isTied: Boolean(config.tie_word_embeddings ?? false),
  };
  if (heads % found.keyHeads) {
    throw refusal('query heads do not share key heads equally', `a divisor of ${heads}`,
      found.keyHeads, 'num_key_value_heads');
  }
  if (found.headDim % 2) throw refusal('RoPE needs pairs', 'an even number', found.headDim, 'head_dim');
  return { ...found, characters: readCharacters(config.characters, found.vocab) };
}

/** @param {unknown} text @param {number} vocab @returns {string[] | null} */
function readCharacters(text, vocab) {
  if (text === undefined || text === null) return null;
  const characters = typeof text === 'string' ? [...text] : [];
  const different = new Set(characters).size;
  if (different !== vocab || characters.length !== vocab) {
    throw refusal('not one character to a token', `a string of ${vocab} different characters`,
      typeof text === 'string' ? `${different} different ones of ${characters.length}` : text,
      'characters');
  }
  return characters;
}

/** Text to token ids and back, one character to a token. */
export class Tokenizer {
  #ids;

  /** @param {string[] | null} characters by token id; null knows no text */
  constructor(characters) {
    this.characters = characters;
    this.#ids = new Map(characters?.map((character, id) => [character, id]));
  }

  /** @returns {string[]} */
  #known() {
    if (this.characters) return this.characters;
    throw new HanselError('HANSEL_ERR_CONFIG', 'this checkpoint runs on token ids only', {
      expected: 'characters in config.json', got: 'none', where: 'characters',
    });
  }

  /**
   * @param {string} text @returns {number[]}
   * @throws {HanselError} HANSEL_ERR_TEXT for a character that the model does not know,
   *   HANSEL_ERR_CONFIG without a character list
   */
  encode(text) {
    this.#known();
    return [...text].map((character, at) => {
      const id = this.#ids.get(character);
      if (id !== undefined) return id;
      throw new HanselError('HANSEL_ERR_TEXT', 'the model does not know this character', {
        expected: `one of its ${this.#ids.size}`,
        got: `${JSON.stringify(character)}, character ${at + 1} of the text`,
      });
    });
  }

  /** @param {Iterable<number>} ids that the model has @returns {string} */
  decode(ids) {
    const characters = this.#known();
    return Array.from(ids, (id) => characters[id]).join('');
  }
}
