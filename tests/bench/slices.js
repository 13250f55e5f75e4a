/**
 * One int8 tensor through web/encode/tensor_encoder.js, and back through web/core/codec.js with the
 * calls and sizes of web/model/tensor_reader.js: the product's path, but for files, and with the choice of
 * WebAssembly build.
 */
import { MIN_HEAD_BYTES } from '../../web/core/codec.js';
import { streamRanges } from '../../web/core/ranges.js';
import { codeTensor } from '../api/code_tensor.js';

/** Weights decoded at a time. */
const BATCH = 1 << 20;

/** @typedef {import('../../web/core/encoder.js').Encoder} Encoder */

/**
 * @param {Encoder} codec @param {Uint8Array} data @param {number[]} shape
 * @param {number} [streamLength] @param {number} [weightsPerSymbol] chosen by default
 * @returns {Promise<{head: Uint8Array, parts: Uint8Array[], bytes: number}>} parts: the payload
 */
export async function encodeSlices(codec, data, shape, streamLength, weightsPerSymbol) {
  const options = { streamLength, weightsPerSymbol };
  const coded = await codeTensor(codec, { dtype: 'I8', shape, data }, options, true);
  if (!coded) throw new Error('lossless coding needs no step');
  return coded;
}

/** @param {{head: Uint8Array, parts: Uint8Array[], bytes: number}} coded @returns {Uint8Array} */
export function joinParts({ head, parts, bytes }) {
  const file = new Uint8Array(bytes);
  let at = 0;
  for (const part of [head, ...parts]) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

/** @param {Encoder} codec @param {Uint8Array} file @returns {import('../../web/core/codec.js').Blob} */
export function readHead(codec, file) {
  /** @type {import('../../web/core/codec.js').Blob | number} */
  let blob = MIN_HEAD_BYTES;
  while (typeof blob === 'number') { // so many bytes are needed
    if (blob > file.length) throw new Error('the head is cut short');
    blob = codec.readHead(file.subarray(0, blob));
  }
  return blob;
}

/** @param {Encoder} codec @param {Uint8Array} file @returns {Uint8Array} symbols */
export function decodeSlices(codec, file) {
  const blob = readHead(codec, file);
  const cursors = codec.readCursors(blob, file.subarray(0, blob.headBytes));
  const out = new Uint8Array(blob.weights);
  let crc = 0;
  for (const { first, last, start, end } of streamRanges(codec, blob, BATCH, { cursors })) {
    const words = file.subarray(blob.headBytes + 2 * cursors[first],
      blob.headBytes + 2 * cursors[last]);
    out.set(codec.decodeStreams(blob, cursors.slice(first, last + 1), first, words, end - start),
      start);
    crc = codec.crc32c(words, crc);
  }
  crc = codec.crc32c(file.subarray(blob.headBytes + 2 * blob.wordCount), crc);
  if (crc !== blob.payloadCrc) throw new Error('the checksum is wrong');
  return out;
}
