#!/usr/bin/env node
/**
 * What the demo page knows of its language model, coded at several rates:
 *
 *   node tools/models.js MODEL_DIR DIR BITS[f]... [--loss]
 *
 * DIR holds BITS.hansel.safetensors, BITSf for error feedback, and receives models.json. --loss measures
 * how well each of them foresees held-out text, and how far it is from what the exact weights foresee,
 * which takes minutes, and keeps the figures in MODEL_DIR/loss.json; they go to the page while the coded
 * bytes are the same.
 */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { loadLlama } from '../web/llama/llama.js';
import { WasmBackend } from '../web/gpu/wasm_device.js';
import { open } from '../web/hansel.js';

const [from, to, ...rest] = process.argv.slice(2);
const rates = rest.filter((text) => text !== '--loss');
if (!rates.length) {
  process.stderr.write('usage: node tools/models.js MODEL_DIR DIR BITS[f]... [--loss]\n');
  process.exit(2);
}
const LOSS = join(from, 'loss.json');
const config = JSON.parse(await readFile(join(from, 'config.json'), 'utf8'));
const text = await readFile(join(from, 'eval.txt'), 'utf8');

/** Of the exact weights: logarithms of what they foresee, position after position. @type {Float64Array[]} */
const exact = [];

/**
 * Over windows that do not overlap; the exact weights go first.
 * @param {import('../web/hansel.js').Model} model
 * @returns {Promise<{loss: number, divergence: number}>} nats per character; KL divergence from the exact weights
 */
async function measure(model) {
  const llama = await loadLlama(model, config, new WasmBackend());
  const ids = llama.encodeText(text);
  const { context, config: { vocab } } = llama;
  let [sum, divergence, count] = [0, 0, 0];
  for (let at = 0; at + context < ids.length; at += context) {
    const logits = await llama.logits(ids.slice(at, at + context));
    for (let i = 0; i < context; i++) {
      const row = logits.subarray(i * vocab, (i + 1) * vocab);
      const most = row.reduce((a, b) => Math.max(a, b));
      const total = Math.log(row.reduce((a, b) => a + Math.exp(b - most), 0)) + most;
      const found = Float64Array.from(row, (logit) => logit - total);
      exact[count] ??= found;
      exact[count].forEach((p, id) => { divergence += Math.exp(p) * (p - found[id]); });
      sum -= found[ids[at + i + 1]];
      count++;
    }
  }
  llama.destroy();
  return { loss: sum / count, divergence: divergence / count };
}

const names = [relative(to, join(from, 'model.hansel.safetensors')),
  ...rates.map((rate) => `${rate}.hansel.safetensors`)];
const files = await Promise.all(names.map(async (file, i) => (
  { id: i ? rates[i - 1] : '32', file, bytes: await readFile(join(to, file)) })));
/** Of the tensors: how the header says what they are does not matter. @param {Uint8Array} bytes */
const hash = (bytes) => {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  return createHash('sha256').update(bytes.subarray(8 + length)).digest('hex');
};
if (rest.includes('--loss')) {
  /** @type {Record<string, {loss: number, divergence: number}>} */
  const measured = {};
  for (const { file, bytes } of files) {
    measured[hash(bytes)] = await measure(await open(bytes));
    process.stderr.write(`${file}: ${JSON.stringify(measured[hash(bytes)])}\n`);
  }
  await writeFile(LOSS, `${JSON.stringify(measured, null, 1)}\n`);
}
const losses = JSON.parse(await readFile(LOSS, 'utf8').catch(() => '{}'));
await writeFile(join(to, 'config.json'), JSON.stringify(config));
await writeFile(join(to, 'models.json'), `${JSON.stringify({
  title: 'licence-llama', prompt: 'You may copy and distribute ', characters: text.length,
  models: files.map(({ id, file, bytes }) => ({
    id, bits: parseFloat(id), feedback: id.endsWith('f'), file, bytes: bytes.length,
    ...losses[hash(bytes)] ?? { loss: null, divergence: null },
  })),
}, null, 1)}\n`);
