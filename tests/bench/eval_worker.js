/**
 * Scores models on every n-th window of a text: a worker thread of eval.js, which sends one file
 * after the other, the F32 one first, since the others are compared with it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { loadLlama } from '../../web/llama/llama.js';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { open } from '../../web/hansel.js';

const { config, tokens, window, windows, part, parts } = workerData;
const vocab = config.vocab_size;

/** Log-probabilities of the next token. @param {Float32Array} logits */
function logSoftmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return Float64Array.from(logits, (logit) => logit - most - Math.log(sum));
}

/** The F32 model's, by window and position. @type {Float64Array[][]} */
const reference = [];

parentPort?.on('message', async (/** @type {Uint8Array} */ file) => {
  const model = await open(file);
  const llama = await loadLlama(model, config, new WasmBackend());
  let loss = 0;
  let divergence = 0;
  let count = 0;
  for (let index = part; index < windows; index += parts) {
    const at = index * window;
    const logits = await llama.logits(tokens.slice(at, at + window));
    reference[index] ??= Array.from({ length: window },
      (_, i) => logSoftmax(logits.subarray(i * vocab, (i + 1) * vocab)));
    for (let i = 0; i < window; i++) {
      const found = logSoftmax(logits.subarray(i * vocab, (i + 1) * vocab));
      loss -= found[tokens[at + i + 1]];
      reference[index][i].forEach((p, id) => { divergence += Math.exp(p) * (p - found[id]); });
    }
    count += window;
    parentPort?.postMessage({ progress: count });
  }
  llama.destroy();
  parentPort?.postMessage({ loss, divergence, count });
});
