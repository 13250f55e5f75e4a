#!/usr/bin/env node
/**
 * The demo page's ONNX models, which onnxruntime-web runs: one that is plain, and it coded.
 *
 *   node tools/runtime_demo.js CHECKPOINT_DIR DIR
 *
 * CHECKPOINT_DIR holds model.hansel.safetensors and config.json. DIR receives them, and models.json: what they are.
 */
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeCommand } from '../web/cli/encode.js';
import { onnxFiles, readCheckpoint } from './runtime_files.js';

const [from, to] = process.argv.slice(2);
if (!to) {
  process.stderr.write('usage: node tools/runtime_demo.js CHECKPOINT_DIR DIR\n');
  process.exit(2);
}
/** Options of encode, by what the page says of them. @type {[string, string, object][]} */
const CODED = [
  ['coded without loss', 'licence-llama.onnx.hansel', { lossless: true }],
  ['coded, 6 bits a weight', 'licence-llama-6.onnx.hansel', { bits: 6 }],
  ['coded, 4 bits a weight', 'licence-llama-4.onnx.hansel', { bits: 4 }],
];

const checkpoint = await readCheckpoint(from, 'model.hansel.safetensors');
const plain = join(to, 'licence-llama.onnx');
await mkdir(to, { recursive: true });
await writeFile(plain, /** @type {Uint8Array} */ (onnxFiles(checkpoint).get('onnx/model_inline_fp16.onnx')));
const rows = [{ name: 'ONNX, F16 weights', file: 'licence-llama.onnx', bytes: (await stat(plain)).size }];
for (const [name, file, options] of CODED) {
  const { bytes } = await encodeCommand(plain, join(to, file), { ...options, force: true });
  rows.push({ name, file, bytes });
}
await writeFile(join(to, 'models.json'), `${JSON.stringify({
  characters: checkpoint.config.characters, layers: checkpoint.sizes.layers, heads: checkpoint.sizes.heads,
  headDim: checkpoint.sizes.headDim, rows,
}, null, 1)}\n`);
