/** Whole files of quantized weights: none larger than what the best of gzip, zstd, xz and brotli makes of it. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { encode, open } from '../../web/hansel.js';
import { quantizedFile, readWeights, synthetic } from '../bench/quantized.js';
import { same } from './tensors.js';

/** Of the trained model: bytes of the plain file, and of the smallest of these four (zstd 1.5.4, xz 5.4.1, brotli
 * 1.1.0); `node tests/bench/file_sizes.js --quick` measures them anew. */
const TRAINED = {
  bf16: [3620248, 2586416],
  f16: [3620208, 3174739],
  f32: [7236344, 6631829],
  f8: [1820664, 1476837],
  int8: [1852960, 1720711],
  q8_0: [1930176, 1855826],
  q4_0: [1026968, 973642],
  q4_k: [1026968, 994007],
  int4: [1026640, 899476],
  q4_0s: [1030096, 948183],
  gptq: [1018328, 898505],
  mlx: [1029568, 930629],
};
/** What these two may have at most, whose margins are thin. */
const PINNED = { f8: 1_476_400, int8: 1_716_600 };

/** Coded without loss, and restored. @param {Uint8Array} file @returns {Promise<number>} its size */
async function coded(file) {
  const bytes = await encode(await open(file), { lossless: true });
  const [model, plain] = [await open(bytes), await open(file)];
  for (const name of plain.tensors.keys()) {
    assert.ok(same(await model.decode(name), await plain.decode(name)), name);
  }
  return bytes.length;
}

describe('sizes of files', function () {
  this.timeout(120000);
  let weights;
  before(async () => {
    weights = readWeights(new Uint8Array(
      await readFile(new URL('../../build/licence-llama.safetensors', import.meta.url))));
  });

  for (const [layout, [plain, smallest]] of Object.entries(TRAINED)) {
    it(`the trained model as ${layout}`, async () => {
      const file = quantizedFile(layout, weights);
      assert.equal(file.length, plain);
      const size = await coded(file);
      assert.ok(size < smallest, `${size} bytes, not less than ${smallest}`);
      if (layout in PINNED) assert.ok(size <= PINNED[layout], `${size} bytes`);
      console.log(`      ${size} bytes, ${(100 * size / smallest - 100).toFixed(2)} %`);
    });
  }

  it('heads, tables and directories take 0.04 bit a weight at 4 bits', async () => {
    const small = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`model.layers.${i}.mlp.up_proj.weight`, {
      dtype: 'F32', shape: [96, 192], data: synthetic('gauss', 96, 192)[0].values.map((x) => x + i * 1e-4),
    }]));
    const trained = Object.fromEntries(weights.filter(({ shape }) => shape.length > 1)
      .map(({ name, shape, values }) => [name, { dtype: 'F32', shape, data: values }]));
    for (const tensors of [trained, small]) {
      const bytes = await encode(tensors, { bits: 4 });
      const model = await open(bytes);
      let [count, payload] = [0, 0];
      for (const name of model.tensors.keys()) {
        payload += (await model.head(name)).bytes.payload;
        count += model.tensor(name).weights;
      }
      // All but the streams and the few lines of JSON that make it a safetensors file.
      const header = 8 + new DataView(bytes.buffer).getUint32(0, true);
      const over = 8 * (bytes.length - header - payload) / count;
      assert.ok(over <= 0.04, `${over} bits`);
      console.log(`      ${over.toFixed(4)} bits`);
    }
  });
});
