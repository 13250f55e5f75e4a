#!/usr/bin/env node
/**
 * A character-level Llama as files for onnxruntime-web, transformers.js and llama.cpp:
 *
 *   node tools/runtime_models.js CHECKPOINT_DIR OUT_DIR
 *
 * CHECKPOINT_DIR holds config.json and model.safetensors. OUT_DIR receives licence-llama/, a repository as
 * transformers.js wants it, and gguf/, a file for each type of weights. The same input makes the same bytes.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GGUF_TYPES, ggufFile } from './gguf_model.js';
import { onnxFiles, readCheckpoint } from './runtime_files.js';

const [from, to] = process.argv.slice(2);
if (!to) {
  process.stderr.write('usage: node tools/runtime_models.js CHECKPOINT_DIR OUT_DIR\n');
  process.exit(2);
}

/** @param {string} path below the folder @param {Uint8Array} bytes */
async function write(path, bytes) {
  await mkdir(dirname(join(to, path)), { recursive: true });
  await writeFile(join(to, path), bytes);
}

const checkpoint = await readCheckpoint(from);
for (const [path, bytes] of onnxFiles(checkpoint)) await write(`licence-llama/${path}`, bytes);
for (const type of GGUF_TYPES) {
  await write(`gguf/licence-llama-${type}.gguf`, ggufFile(checkpoint.sizes, checkpoint.tensors, type));
}
