#!/usr/bin/env node
/**
 * What a page waits for: one layer of a model, 4096 x 4096, as F16, as zstd of that, and as Hansel
 * codes it.
 *
 *   node tests/bench/layer.js
 *
 * The weights are Gaussian random numbers from the generator of `hansel sample`, times 0.02. Time is
 * the download at 100 Mbit/s, computed from the size, and decoding on one thread, the median of five
 * rounds, one after the other (open() decodes while bytes arrive, so this is the worst case).
 */
import { fileURLToPath } from 'node:url';
import { sampleRows } from '../../web/cli/sample.js';
import { convert } from '../../web/core/convert.js';
import { encode, open } from '../../web/hansel.js';
import { initZstd, zstd } from './coders.js';
import { spread } from './report.js';

const SHAPE = [4096, 4096];
/** Bytes a second. */
const LINE = 100e6 / 8;
const ROUNDS = 5;

/** @returns {Uint8Array<ArrayBuffer>} F16 weights */
function makeLayer() {
  const floats = new Float32Array(SHAPE[0] * SHAPE[1]);
  let at = 0;
  for (const rows of sampleRows({ rows: SHAPE[0] })) {
    floats.set(rows, at);
    at += rows.length;
  }
  return /** @type {Uint8Array<ArrayBuffer>} */ (
    convert(new Uint8Array(floats.map((w) => 0.02 * w).buffer), 'F32', 'F16'));
}

/**
 * @returns {Promise<{what: string, bytes: number, decode: number, wait: number}[]>} decode and wait in
 *   seconds
 */
export async function measureLayer() {
  await initZstd();
  const f16 = makeLayer();
  const tensors = { w: { dtype: 'F16', shape: SHAPE, data: f16 } };
  const hansel = async (/** @type {import('../../web/encode/encode.js').EncodeOptions} */ options) => {
    const file = await encode(tensors, options);
    return {
      bytes: file.length,
      decode: async () => {
        const model = await open(file);
        const weights = await model.decode('w');
        await model.close();
        return weights;
      },
    };
  };
  const packed = zstd.compress(f16, 3);
  const ways = {
    'F16, as it is': { bytes: f16.length, decode: async () => {} },
    'F16, zstd -3': { bytes: packed.length, decode: async () => void zstd.decompress(packed) },
    'Hansel, without loss': await hansel({ lossless: true }),
    'Hansel, 6 bits a weight': await hansel({ bits: 6 }),
    'Hansel, 4 bits a weight': await hansel({ bits: 4 }),
  };
  const found = [];
  for (const [what, { bytes, decode }] of Object.entries(ways)) {
    const times = [];
    for (let i = 0; i <= ROUNDS; i++) {
      const start = performance.now();
      await decode();
      if (i) times.push((performance.now() - start) / 1000); // not the first
    }
    const seconds = spread(times)[1];
    found.push({ what, bytes, decode: seconds, wait: bytes / LINE + seconds });
  }
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { what, bytes, decode, wait } of await measureLayer()) {
    process.stdout.write(`${what.padEnd(24)} ${(bytes / 1e6).toFixed(1).padStart(6)} MB, decode ${
      (1000 * decode).toFixed(0).padStart(4)} ms, wait ${wait.toFixed(2)} s\n`);
  }
}
