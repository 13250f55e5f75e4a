#!/usr/bin/env node
/**
 * The samples of the demo page, made by the encoder from seeded numbers, and their list:
 *
 *   node tools/samples.js DIR
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RandomState } from '../web/cli/sample.js';
import { buildHeader } from '../web/file/write_header.js';
import { encode } from '../web/hansel.js';

/** Side of the square matrices. */
const SIDE = 1024;
/** Degrees of freedom of Student's t. */
const TAIL = 12;

const [to] = process.argv.slice(2);
if (!to) {
  process.stderr.write('usage: node tools/samples.js DIR\n');
  process.exit(2);
}
await mkdir(to, { recursive: true });

const random = new RandomState(2025);
const gaussian = (/** @type {number} */ count, scale = 1) => (
  Float32Array.from({ length: count }, () => scale * random.gauss()));

/** Upper halves of binary32, rounded to nearest even. @param {Float32Array} values */
const toBf16 = (values) => Uint16Array.from(new Uint32Array(values.buffer),
  (u) => (u + 0x7fff + (u >>> 16 & 1)) >>> 16);

/**
 * A layer as training leaves them: rows and columns of their own size, a few outlier columns,
 * something of low rank, and heavier tails than a Gaussian's.
 * @param {number} rows @param {number} columns
 */
function layer(rows, columns) {
  const rank = 6;
  const [left, right] = [gaussian(rows * rank), gaussian(columns * rank)];
  const rowScale = gaussian(rows).map((g) => Math.exp(0.25 * g));
  const columnScale = gaussian(columns).map((g, i) => Math.exp(0.1 * g) * (i % 97 === 31 ? 1.8 : 1));
  const w = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      let shared = 0;
      for (let k = 0; k < rank; k++) {
        shared += left[r * rank + k] * right[c * rank + k] * Math.cos((r + c) * k / 80);
      }
      let chi = 0;
      for (let k = 0; k < TAIL; k++) chi += random.gauss() ** 2;
      const noise = random.gauss() / Math.sqrt(chi / TAIL);
      w[r * columns + c] = 0.02 * rowScale[r] * columnScale[c] * (noise + 0.2 * shared);
    }
  }
  return w;
}

const matrix = gaussian(SIDE * SIDE);
const tensors = { 'gaussian.weight': { dtype: 'F32', shape: [SIDE, SIDE], data: matrix } };
const list = [];
/** The first is the reference matrix's grid. @type {[number, import('../web/encode/encode.js').EncodeOptions][]} */
const codings = [[8, { step: 1 / 52, saturate: true }], [4, { bits: 4 }], [3, { bits: 3 }]];
for (const [bits, options] of codings) {
  const file = `gaussian-${bits}bit.hansel.safetensors`;
  const bytes = await encode(tensors, options);
  await writeFile(join(to, file), bytes);
  list.push({
    file, bytes: bytes.length, title: `${bits}-bit Gaussian`, note: `${SIDE} × ${SIDE} weights, coded`,
  });
}

const plain = Object.entries({
  'layer.weight': { shape: [768, 1024], data: toBf16(layer(768, 1024)) },
  'layer.bias': { shape: [768], data: toBf16(gaussian(768, 0.01)) },
});
const file = 'layer.safetensors';
const bytes = Buffer.concat([
  buildHeader(plain.map(([name, { shape, data }]) => [name, { dtype: 'BF16', shape, bytes: data.byteLength }])),
  ...plain.map(([, { data }]) => Buffer.from(data.buffer)),
]);
await writeFile(join(to, file), bytes);
list.push({ file, bytes: bytes.length, title: 'A layer in BF16', note: 'not coded yet: code it here' });
await writeFile(join(to, 'samples.json'), `${JSON.stringify(list, null, 1)}\n`);
