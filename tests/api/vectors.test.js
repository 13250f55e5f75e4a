/**
 * The vectors of tests/vectors in the wasm, scalar and SIMD: decoded to the formula's numbers, and
 * coded again to the same bytes. tests/native.c does the same natively, tests/gpu on the GPUs.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { Encoder } from '../../web/core/encoder.js';
import { open } from '../../web/hansel.js';
import { readVectors, wrapBlob } from '../gpu/vectors.js';
import { codeTensor } from './code_tensor.js';
import { formulaBytes } from './formula.js';

const read = async (file) => new Uint8Array(
  await readFile(new URL(`../vectors/${file}`, import.meta.url)));
const hex = (n) => n.toString(16).padStart(8, '0');
const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Codes a vector's tensor again. */
async function codeBlob(codec, { options: o, dtype, shape, mode }, data) {
  const { head, parts } = await codeTensor(codec, { dtype, shape, data }, {
    step: o.step, bits: o.bits, error: o.error, saturate: o.clamp, streamLength: o.stream_length,
    precision: o.precision, weightsPerSymbol: o.weights_per_symbol,
  }, mode === 'lossless');
  return Buffer.concat([head, ...parts]);
}

describe('vectors', () => {
  for (const simd of [false, true]) {
    describe(simd ? 'wasm SIMD' : 'wasm scalar', () => {
      let codec;
      let vectors;
      before(async () => {
        codec = await Encoder.create({ simd });
        vectors = await readVectors();
        assert.ok(vectors.ok.length > 90 && vectors.bad.length > 90);
      });

      it('decodes all, and codes them again to the same bytes', async () => {
        for (const vector of vectors.ok) {
          const { name, dtype, shape, mode } = vector;
          const blob = await read(vector.file);
          assert.equal(blob.length, vector.blob_bytes, name);
          assert.equal(hex(codec.crc32c(blob)), vector.blob_crc32c, name);
          const model = await open(wrapBlob(codec, blob,
            { dtype, shape, mode, step: Math.fround(vector.grid_step) }), { simd });
          assert.equal(hex(codec.crc32c(bytesOf(await model.symbols('w')))), vector.symbols_crc32c, name);
          assert.equal(hex(codec.crc32c(bytesOf(await model.decode('w')))), vector.values_crc32c, name);
          const count = shape.reduce((a, b) => a * b, 1);
          const source = formulaBytes(vector.formula, dtype, count);
          assert.equal(hex(codec.crc32c(source)), vector.source_crc32c, name);
          if (!vector.isOld) {
            assert.deepEqual(await codeBlob(codec, vector, source), Buffer.from(blob), name);
          }
        }
        console.log(`        ${vectors.ok.length} vectors`);
      });

      it('refuses the bad ones, each with its error', async () => {
        for (const { name, file, status } of vectors.bad) {
          const blob = await read(file);
          const check = async () => {
            const head = codec.readHead(blob);
            if (typeof head === 'number') return 'HANSEL_ERR_TRUNCATED';
            if (blob.length !== head.blobBytes) {
              return blob.length < head.blobBytes ? 'HANSEL_ERR_TRUNCATED' : 'HANSEL_ERR_TRAILING';
            }
            const model = await open(wrapBlob(codec, blob, head), { simd });
            await model.verify('w');
            return 'HANSEL_OK';
          };
          const found = await check().catch((error) => error.code ?? String(error.stack));
          // Read piece by piece, damage can show before the checksum at the end does.
          const early = status === 'HANSEL_ERR_CHECKSUM' && /crc-(payload|raw)/.test(name)
            ? ['HANSEL_ERR_CORRUPT', 'HANSEL_ERR_RESERVED'] : [];
          assert.ok([status, ...early].includes(found), `${name}: ${found}, not ${status}`);
        }
        console.log(`        ${vectors.bad.length} bad vectors`);
      });
    });
  }
});
