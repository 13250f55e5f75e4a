/** Streams that are corrupt under right checksums: no product may come of them, on any device. */
import { Encoder } from '../../web/core/encoder.js';
import { BLOB_LOGS, BLOB_LOG_BITS, BLOB_RICE_BITS } from '../../web/core/structs.js';
import { encode, open } from '../../web/hansel.js';
import { firstDifference, forAll, random } from './cases.js';
import { readFile } from './files.js';
import { waysOf } from './forms_cases.js';
import { readVectors, wrapBlob } from './vectors.js';

const [HEAD_BYTES, HEAD_CRC, PAYLOAD_CRC] = [5, 8, 12]; // src/format.h

/** Shapes of one and several pieces, of many rows to a stream, folded, with a tail and without. @type {any[]} */
const TENSORS = [
  { shape: [37, 1001], sigma: 4, options: { streamLength: 256 } },
  { shape: [3, 20011], sigma: 9, options: { streamLength: 1000 } },
  { shape: [1000, 3], sigma: 4, options: { streamLength: 4096 } },
  { shape: [64, 333], sigma: 1.5, options: { streamLength: 512, weightsPerSymbol: 2 } },
  { shape: [64, 333], sigma: 0.4, options: { streamLength: 512, weightsPerSymbol: 4 } },
];

/** The coded tensor of a file. @param {Uint8Array} file */
async function blobOf(file) {
  const model = await open(file);
  const { start, end } = model.place('w');
  return { bytes: file.slice(start, end), model };
}

/** Makes checksums right again. @param {Encoder} codec @param {Uint8Array} bytes a blob @param {number} headBytes */
function repair(codec, bytes, headBytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(PAYLOAD_CRC, codec.crc32c(bytes.subarray(headBytes)), true);
  view.setUint32(HEAD_CRC, 0, true);
  view.setUint32(HEAD_CRC, codec.crc32c(bytes.subarray(0, headBytes)), true);
}

/** Blobs whose streams are corrupt. @param {Encoder} codec @returns {Promise<{name: string, bytes: Uint8Array}[]>} */
async function corruptBlobs(codec) {
  const found = [];
  for (const { name, file, status } of (await readVectors()).bad) {
    if (status === 'HANSEL_ERR_CORRUPT') found.push({ name, bytes: await readFile(`tests/vectors/${file}`) });
  }
  const r = random(98);
  for (const { shape, sigma, options } of TENSORS) {
    const data = new Int8Array(shape[0] * shape[1]).map(() => Math.round(sigma * r.gauss()));
    const clamped = options.weightsPerSymbol ? data.map((q) => Math.max(-1, Math.min(1, q))) : data;
    const { bytes } = await blobOf(await encode({ w: { dtype: 'I8', shape, data: clamped } }, options));
    const blob = /** @type {import('../../web/core/codec.js').Blob} */ (codec.readHead(bytes));
    const { headBytes, wordCount } = blob;
    const cursors = codec.readCursors(blob, bytes.slice(0, headBytes));
    for (let k = 0; k < 3; k++) {
      let bad = bytes;
      for (let isSound = true; isSound;) { // a tail's digits are as good as others
        bad = bytes.slice();
        bad[headBytes + Math.floor(r.next() * 2 * wordCount)] ^= 1 << Math.floor(8 * r.next());
        try {
          codec.decodeStreams(blob, cursors, 0, bad.subarray(headBytes, headBytes + 2 * wordCount), blob.weights);
        } catch {
          isSound = false;
        }
      }
      repair(codec, bad, headBytes);
      found.push({ name: `${shape} of ${JSON.stringify(options)}, damage ${k}`, bytes: bad });
    }
  }
  return found;
}

/**
 * A tensor whose tails hold a level that the head says never comes: a decoder takes it, since it has no need
 * of a frequency there. Of levels 0 to 4, the last two come in tails only, equally often; one gets twice
 * the weight, which are the other's slots.
 * @param {Encoder} codec
 */
async function strayBlob(codec) {
  const data = Int8Array.from({ length: 300 * 512 },
    (_, i) => (i % 512 === 511 ? 3 + (i >> 9) % 2 : (i * i) % 7 % 3));
  const { bytes } = await blobOf(await encode({ w: { dtype: 'I8', shape: [300, 512], data } },
    { streamLength: 512, weightsPerSymbol: 1 }));
  const blob = /** @type {import('../../web/core/codec.js').Blob} */ (codec.readHead(bytes));
  const { struct, headBytes, directoryOffset, streamCount, lengthBits } = blob;
  const view = new DataView(struct.buffer, struct.byteOffset);
  const [rice, unit] = [view.getUint32(BLOB_RICE_BITS, true), 2 ** view.getUint32(BLOB_LOG_BITS, true)];
  /** FORMAT.md section 12. @param {number[]} logs */
  const packed = (logs) => {
    const bits = logs.flatMap((log, i) => {
      const d = log - (logs[i - 1] ?? 0);
      const z = d < 0 ? -2 * d - 1 : 2 * d;
      return [...Array(z >> rice).fill(1), 0, ...Array.from({ length: rice }, (_, k) => z >> k & 1)];
    });
    return Array.from({ length: Math.ceil(bits.length / 8) }, (_, i) => (
      bits.slice(8 * i, 8 * i + 8).reduce((sum, bit, k) => sum + (bit << k), 0)));
  };
  const logs = [...struct.subarray(BLOB_LOGS, BLOB_LOGS + 5)];
  const changed = [...logs.slice(0, 3), logs[3] + unit, 0];
  const head = [...bytes.subarray(0, directoryOffset - packed(logs).length), ...packed(changed),
    ...bytes.subarray(directoryOffset, directoryOffset + Math.ceil(streamCount * lengthBits / 8))];
  if (head.length % 2) head.push(0);
  head[HEAD_BYTES] = head.length;
  const stray = Uint8Array.from([...head, ...bytes.subarray(headBytes)]);
  repair(codec, stray, head.length);
  return { bytes: stray, data };
}

/**
 * Weights that no code is for are told, and others of their tensor not taken for them.
 * @param {any} gpu @returns {Promise<{problems: string[], count: number}>}
 */
export async function checkStray(gpu) {
  const codec = await Encoder.create();
  const { bytes, data } = await strayBlob(codec);
  const model = await open(wrapBlob(codec, bytes, codec.readHead(bytes)));
  /** @type {string[]} */
  const problems = [];
  const ways = waysOf(gpu);
  for (const way of ways) {
    const code = await gpu.load(model, 'w', way).then(async (/** @type {any} */ w) => {
      const symbols = await w.symbols();
      w.destroy();
      return firstDifference(symbols, data) < 0 ? 'the same' : 'others';
    }, (/** @type {any} */ error) => error.code);
    const wanted = ['prefix', 'packed'].includes(way.as) ? 'HANSEL_ERR_CORRUPT' : 'the same';
    if (code !== wanted) problems.push(`${JSON.stringify(way)}: ${code}, not ${wanted}`);
  }
  return { problems, count: ways.length };
}

/**
 * Products of corrupt streams, or loads where those are decoded, compared with what decoding in wasm
 * says.
 * @param {any} gpu @returns {Promise<{problems: string[], count: number}>}
 */
export async function checkCorrupt(gpu) {
  const codec = await Encoder.create();
  /** @type {string[]} */
  const problems = [];
  let count = 0;
  const blobs = (await corruptBlobs(codec)).flatMap((blob) => waysOf(gpu).map((way) => ({ ...blob, way })));
  await forAll(blobs, async ({ name: title, bytes, way }) => {
    const name = `${title}, ${JSON.stringify(way)}`;
    const model = await open(wrapBlob(codec, bytes, codec.readHead(bytes)));
    const wanted = await model.symbols('w').then(() => null, (error) => error);
    if (wanted?.code !== 'HANSEL_ERR_CORRUPT') {
      problems.push(`${name}: the wasm says ${wanted}`);
      return;
    }
    const w = await gpu.load(model, 'w', way).catch((/** @type {any} */ error) => error);
    const x = (/** @type {number} */ batch) => new Float32Array(w.columns * batch).map((_, i) => Math.sin(i));
    const isNumber = !['F8_E4M3', 'F8_E5M2', 'U8'].includes(w.dtype);
    /** @type {Record<string, () => Promise<unknown>>} */
    const calls = w instanceof Error ? { load: () => Promise.reject(w) } : {
      ...(isNumber ? { matvec: () => w.matvec(x(1)) } : {}),
      ...(w.rows > 30 ? { matmul: () => w.matmul(x(5), 5) } : {}), // shaders of their own, for some
      ...(w.mode === 'grid' || w.dtype === 'I8'
        ? { matvecI8: () => w.matvecI8(new Int8Array(w.columns).fill(3)) } : {}),
    };
    for (const [call, run] of Object.entries(calls)) {
      count++;
      const error = await run().then(() => null, (e) => e);
      if (error?.code !== wanted.code || error.got !== wanted.got) {
        problems.push(`${name}: ${call} gives ${error?.message ?? 'numbers'}, not ${wanted.message}`);
      }
    }
    w.destroy?.();
  });
  return { problems, count };
}
