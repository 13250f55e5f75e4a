/** A character-level Llama of safetensors as the files that other runtimes run. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { open } from '../web/hansel.js';
import { readConfig } from '../web/llama/llama_config.js';
import { onnxModel } from './onnx_model.js';

/**
 * @typedef {object} Checkpoint
 * @property {any} config a parsed config.json @property {import('../web/llama/llama_config.js').LlamaConfig} sizes
 * @property {import('./gguf_model.js').Tensors} tensors
 */

/** transformers.js' suffix of file names, and what weights are stored in. @type {['' | '_fp16', 'F32' | 'F16'][]} */
const VARIANTS = [['', 'F32'], ['_fp16', 'F16']];

/**
 * @param {string} folder of config.json and the weights @param {string} [file] of them, coded or not
 * @returns {Promise<Checkpoint>}
 * @throws {import('../web/core/errors.js').HanselError} what open() throws, HANSEL_ERR_CONFIG
 */
export async function readCheckpoint(folder, file = 'model.safetensors') {
  const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
  const model = await open(new Uint8Array(await readFile(join(folder, file))));
  /** @type {Checkpoint['tensors']} */
  const tensors = new Map();
  for (const [name, { shape }] of model.tensors) {
    tensors.set(name, { shape, data: /** @type {Float32Array} */ (await model.decode(name, { dtype: 'F32' })) });
  }
  return { config, sizes: readConfig(config), tensors };
}

/** @param {unknown} value */
const json = (value) => new TextEncoder().encode(`${JSON.stringify(value, null, 1)}\n`);

/** One character to a token: BPE without merges. @param {string[]} characters by id */
const tokenizer = (characters) => ({
  version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null, pre_tokenizer: null,
  post_processor: null, decoder: { type: 'Fuse' },
  model: {
    type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
    fuse_unk: false, byte_fallback: false, ignore_merges: false,
    vocab: Object.fromEntries(characters.map((character, id) => [character, id])), merges: [],
  },
});

/**
 * The files of a repository as transformers.js wants it, its models in onnx/: model.onnx has its weights beside it in
 * model.onnx_data, model_inline.onnx in itself; with _fp16 at their names' ends the same in F16.
 * @param {Checkpoint} checkpoint with characters @returns {Map<string, Uint8Array>} by path
 */
export function onnxFiles({ config, sizes, tensors }) {
  /** @type {Map<string, Uint8Array>} */
  const files = new Map([
    ['config.json', json({
      ...config,
      // Vocabularies have no end of text here.
      bos_token_id: null, eos_token_id: null,
      'transformers.js_config': {
        use_external_data_format: Object.fromEntries(VARIANTS.map(([suffix]) => [`model${suffix}.onnx`, 1])),
      },
    })],
    ['generation_config.json', json({ do_sample: false, bos_token_id: null, eos_token_id: null })],
    ['tokenizer.json', json(tokenizer(sizes.characters ?? []))],
    ['tokenizer_config.json', json({
      tokenizer_class: 'PreTrainedTokenizerFast', model_max_length: sizes.positions,
      clean_up_tokenization_spaces: false,
    })],
  ]);
  for (const [suffix, dtype] of VARIANTS) {
    const name = `model${suffix}.onnx`;
    const { model, data } = onnxModel(sizes, tensors, { dtype, location: `${name}_data` });
    files.set(`onnx/${name}`, model);
    files.set(`onnx/${name}_data`, data);
    files.set(`onnx/model_inline${suffix}.onnx`, onnxModel(sizes, tensors, { dtype, location: null }).model);
  }
  return files;
}
