/**
 * One int8 tensor through web/core/codec.js, slice by slice, with the calls and sizes of web/encode/encode.js
 * and web/model/tensor_reader.js: the product's path, but for files, and with the choice of WebAssembly build.
 */
import { SLICE } from '../../web/core/encoder.js';
import { streamRanges } from '../../web/core/ranges.js';

/** Weights decoded at a time. */
const BATCH = 1 << 20;

/** @typedef {import('../../web/core/encoder.js').Encoder} Encoder */

/**
 * @param {Encoder} codec @param {Uint8Array} data @param {number[]} shape
 * @param {number} [streamLength] @param {number} [most] weights to a symbol
 * @returns {{head: Uint8Array, parts: Uint8Array[], bytes: number}} parts: the payload
 */
export function encodeSlices(codec, data, shape, streamLength, most = 4) {
  const counts = new Float64Array(256);
  for (let at = 0; at < data.length; at += SLICE) {
    const found = codec.measure('I8', data.subarray(at, at + SLICE), 0, false);
    for (let i = 0; i < 256; i++) counts[i] += found.counts[i];
  }
  const single = codec.plan({
    dtype: 'I8', mode: 'lossless', shape, step: 0, counts, streamLength,
  });
  let planned = single.blob;
  const fold = Math.min(most, codec.mostFolded(planned));
  if (fold > 1) { // as encode() chooses for the sets of data.js
    const cut = codec.refold(planned, { fold, bits: single.bits, streamLength }).blob;
    const folded = new Float64Array(256);
    for (const { first, last, start, end } of streamRanges(codec, cut, SLICE)) {
      codec.foldedCounts(cut, data.subarray(start, end), first, last - first, false).counts
        .forEach((n, i) => { folded[i] += n; });
    }
    planned = codec.refold(planned, { fold, bits: single.bits, counts: folded, streamLength }).blob;
  }
  const lengths = new Uint32Array(planned.streamCount);
  const parts = [];
  let crc = 0;
  for (const { first, last, start, end } of planned.streamCount
    ? streamRanges(codec, planned, SLICE) : []) {
    const part = codec.encodeStreams(planned, data.subarray(start, end), first, last - first,
      false);
    lengths.set(part.lengths, first);
    parts.push(part.words);
    crc = codec.crc32c(part.words, crc);
  }
  const blob = codec.finish(planned, lengths);
  parts.push(new Uint8Array(-2 * blob.wordCount & 15));
  crc = codec.crc32c(parts[parts.length - 1], crc);
  return { head: codec.writeHead(blob, lengths, crc), parts, bytes: blob.blobBytes };
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
  const blob = codec.readHead(file.subarray(0, Number(codec.readHead(file.subarray(0, 56)))));
  if (typeof blob === 'number') throw new Error('the head is cut short');
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
