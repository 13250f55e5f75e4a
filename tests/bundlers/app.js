/** The page that every bundler builds: codes, decodes with two threads, multiplies on both GPUs, restores a file. */
import { HanselError, encode, open } from 'hansel';
import { openFile } from 'hansel/file';
import { gpu } from 'hansel/gpu';
import { coded, digest } from './fixture.js';

/** @param {Float32Array} a @param {Float32Array} b */
const isNear = (a, b) => a.every((y, i) => Math.abs(y - b[i]) < 1e-3);

/** Decodes until a worker has run something: until it is up, the calling thread does it all. */
async function decodeWithWorker(model) {
  for (let i = 0; i < 200; i++) {
    const weights = await model.decode('w');
    if (globalThis.fromWorkers > 2) return weights; // it is up, has a codec, and answered a call
    await new Promise((resolve) => { setTimeout(resolve, 25); });
  }
  throw new Error(`no worker runs: ${globalThis.fromWorkers} messages`);
}

/** Whether a coded file comes back byte for byte. */
async function isRestored() {
  const file = await openFile(Uint8Array.from(atob(coded), (character) => character.charCodeAt(0)));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await file.bytes()));
  return file.format === 'gguf' && btoa(String.fromCharCode(...hash)) === digest;
}

async function run() {
  const [rows, columns] = [1024, 1030];
  const data = new Float32Array(rows * columns).map((_, i) => Math.sin(i * i));
  const file = await encode({ w: { dtype: 'F32', shape: [rows, columns], data } }, { bits: 4, threads: 2 });
  const model = await open(file, { threads: 2 });
  const weights = await decodeWithWorker(model);
  const x = new Float32Array(columns).map((_, i) => Math.cos(i));
  const y = new Float32Array(rows).map((_, row) => (
    x.reduce((sum, value, i) => sum + value * weights[row * columns + i], 0)));
  const found = { bytes: file.length, kinds: [] };
  for (const kind of ['webgpu', 'webgl', 'wasm']) {
    const { gpu: device } = await gpu({ prefer: [kind] });
    const w = await device.load(model, 'w');
    if (isNear(await w.matvec(x), y) && (await w.verify()).ok) found.kinds.push(kind);
    device.destroy();
  }
  found.isTyped = await encode({}, { threads: 0 }).catch((error) => error instanceof HanselError);
  found.isRestored = await isRestored();
  return found;
}

globalThis.found = run().catch((error) => ({ error: String(error.stack ?? error) }));
