/** A Llama as a GGUF file, version 3, as llama.cpp reads it. */
import { BLOCK_TYPES, quantize, typeForRows } from './quantize_blocks.js';

/** @typedef {import('../web/llama/llama_config.js').LlamaConfig} LlamaConfig */
/** @typedef {Map<string, {shape: number[], data: Float32Array}>} Tensors of a checkpoint, by name */
/** @typedef {{name: string, shape: number[], type: string, data: Uint8Array}} Stored shape: rows first */

const ALIGNMENT = 32;
/** general.file_type, by type of weights. @type {Record<string, number>} */
const FILE_TYPES = {
  F32: 0, F16: 1, BF16: 32, Q8_0: 7, Q4_0: 2, Q4_1: 3, Q5_0: 8, Q5_1: 9, Q4_K: 14, Q5_K: 16, Q6_K: 18,
};
/** Types that ggufFile() makes. */
export const GGUF_TYPES = Object.keys(FILE_TYPES);

/** Names of a layer's tensors, there and here. */
const LAYER = {
  'input_layernorm': 'attn_norm', 'self_attn.q_proj': 'attn_q', 'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v', 'self_attn.o_proj': 'attn_output', 'post_attention_layernorm': 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate', 'mlp.up_proj': 'ffn_up', 'mlp.down_proj': 'ffn_down',
};

/** Appends what GGUF consists of. */
class Writer {
  /** @type {Uint8Array[]} */
  parts = [];
  length = 0;

  /** @param {Uint8Array} bytes */
  bytes(bytes) {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  /** @param {'Uint32' | 'Int32' | 'Float32' | 'Uint8'} kind @param {number} value */
  number(kind, value) {
    const view = new DataView(new ArrayBuffer(kind === 'Uint8' ? 1 : 4));
    view[`set${kind}`](0, value, true);
    this.bytes(new Uint8Array(view.buffer));
  }

  /** @param {number} value */
  long(value) {
    this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  /** @param {string} text */
  string(text) {
    const bytes = new TextEncoder().encode(text);
    this.long(bytes.length);
    this.bytes(bytes);
  }

  align() {
    this.bytes(new Uint8Array((ALIGNMENT - this.length % ALIGNMENT) % ALIGNMENT));
  }

  whole() {
    return new Uint8Array(Buffer.concat(this.parts));
  }
}

/** What metadata can be: its number in the format, and how to write it.
 * @type {Record<string, [number, (writer: Writer, value: any) => void]>} */
const VALUES = {
  u32: [4, (writer, value) => writer.number('Uint32', value)],
  i32: [5, (writer, value) => writer.number('Int32', value)],
  f32: [6, (writer, value) => writer.number('Float32', value)],
  bool: [7, (writer, value) => writer.number('Uint8', Number(value))],
  string: [8, (writer, value) => writer.string(value)],
};

/** @param {[key: string, kind: string, value: any][]} metadata lists are arrays of their kind
 * @param {Stored[]} tensors @returns {Uint8Array} */
function writeGguf(metadata, tensors) {
  const writer = new Writer();
  writer.bytes(new TextEncoder().encode('GGUF'));
  writer.number('Uint32', 3);
  writer.long(tensors.length);
  writer.long(metadata.length);
  for (const [key, kind, value] of metadata) {
    const [id, write] = VALUES[kind];
    writer.string(key);
    writer.number('Uint32', Array.isArray(value) ? 9 : id);
    if (Array.isArray(value)) {
      writer.number('Uint32', id);
      writer.long(value.length);
    }
    for (const one of [value].flat()) write(writer, one);
  }
  let offset = 0;
  for (const { name, shape, type, data } of tensors) {
    writer.string(name);
    writer.number('Uint32', shape.length);
    for (const size of shape.toReversed()) writer.long(size);
    writer.number('Uint32', BLOCK_TYPES[type].id);
    writer.long(offset);
    offset += Math.ceil(data.length / ALIGNMENT) * ALIGNMENT;
  }
  for (const { data } of tensors) {
    writer.align();
    writer.bytes(data);
  }
  writer.align();
  return writer.whole();
}

/**
 * Rows in the order of llama.cpp's RoPE, which turns neighbours: the checkpoint's turns rows that are half a
 * head apart.
 * @param {Float32Array} rows @param {number} columns @param {number} headDim
 */
function interleave(rows, columns, headDim) {
  const found = new Float32Array(rows.length);
  for (let row = 0; row * columns < rows.length; row++) {
    const i = row % headDim;
    const from = row - i + (i >> 1) + (i & 1) * headDim / 2;
    found.set(rows.subarray(from * columns, (from + 1) * columns), row * columns);
  }
  return found;
}

/** A character of a byte-level vocabulary, as GPT-2 writes it. @param {string} character */
const byteLevel = (character) => (character > ' ' ? character : String.fromCharCode(character.charCodeAt(0) + 256));

/**
 * @param {LlamaConfig} sizes with characters of ASCII @param {Tensors} checkpoint
 * @param {string} type of GGUF_TYPES; matrices have it where their rows fit, and norms are F32
 * @returns {Uint8Array} the file
 */
export function ggufFile(sizes, checkpoint, type) {
  /** @param {string} name @param {string} stored @returns {Stored} */
  const take = (name, stored) => {
    const { shape, data } = /** @type {{shape: number[], data: Float32Array}} */ (checkpoint.get(name));
    const own = shape.length === 1 ? 'F32' : typeForRows(type, shape[1]);
    const rows = /\.[qk]_proj\./.test(name) ? interleave(data, shape[1], sizes.headDim) : data;
    return { name: stored, shape, type: own, data: quantize(rows, own) };
  };
  const tensors = [
    take('model.embed_tokens.weight', 'token_embd.weight'),
    ...Array.from({ length: sizes.layers }, (_, i) => Object.entries(LAYER).map(([from, to]) => (
      take(`model.layers.${i}.${from}.weight`, `blk.${i}.${to}.weight`)))).flat(),
    take('model.norm.weight', 'output_norm.weight'),
    take('lm_head.weight', 'output.weight'),
  ];
  const tokens = (sizes.characters ?? []).map(byteLevel);
  // llama.cpp wants an end of text, which this model does not have: its last character is the rarest.
  const last = tokens.length - 1;
  return writeGguf([
    ['general.architecture', 'string', 'llama'],
    ['general.name', 'string', 'licence-llama'],
    ['general.alignment', 'u32', ALIGNMENT],
    ['general.file_type', 'u32', FILE_TYPES[type]],
    ['general.quantization_version', 'u32', 2],
    ['llama.block_count', 'u32', sizes.layers],
    ['llama.context_length', 'u32', sizes.positions],
    ['llama.embedding_length', 'u32', sizes.hidden],
    ['llama.feed_forward_length', 'u32', sizes.intermediate],
    ['llama.attention.head_count', 'u32', sizes.heads],
    ['llama.attention.head_count_kv', 'u32', sizes.keyHeads],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', sizes.epsilon],
    ['llama.rope.dimension_count', 'u32', sizes.headDim],
    ['llama.rope.freq_base', 'f32', sizes.theta],
    ['llama.vocab_size', 'u32', sizes.vocab],
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ['tokenizer.ggml.pre', 'string', 'default'],
    ['tokenizer.ggml.tokens', 'string', tokens],
    ['tokenizer.ggml.token_type', 'i32', tokens.map(() => 1)],
    ['tokenizer.ggml.merges', 'string', []],
    ['tokenizer.ggml.bos_token_id', 'u32', last],
    ['tokenizer.ggml.eos_token_id', 'u32', last],
    ['tokenizer.ggml.add_bos_token', 'bool', false],
  ], tensors);
}
