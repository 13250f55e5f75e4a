/**
 * Payloads of version 4 laid out as those of versions 1 to 3, which is how GPUs hold them: words, raw
 * bits in whole bytes a weight, each with zeros to a multiple of 16 bytes.
 */
import { expandRaw } from '../core/multiply.js';
import { ByteReader } from '../file/byte_reader.js';
import { drain } from '../model/tensor_reader.js';

/** Weights whose raw bits are expanded at a time; a multiple of 8, so that they begin with a byte. */
const BATCH = 1 << 18;

/** @typedef {Awaited<ReturnType<import('../model/model.js').Model['payload']>>} Payload */

/** @param {number} bytes @returns {number} zeros that follow so many */
const padding = (bytes) => -bytes & 15;

/**
 * @param {import('../core/codec.js').Codec} codec @param {Payload} payload of version 4
 * @returns {AsyncGenerator<Uint8Array>}
 */
async function* wholeBytes(codec, { blob, chunks }) {
  const { wordCount, weights, rawBits, rawBytes } = blob;
  const bytes = new ByteReader(chunks);
  for (let left = 2 * wordCount; left > 0;) {
    const some = await bytes.some(left);
    left -= some.length;
    yield some;
  }
  if (padding(2 * wordCount)) yield new Uint8Array(padding(2 * wordCount));
  for (let left = rawBytes ? weights : 0; left > 0; left -= BATCH) {
    const count = Math.min(left, BATCH);
    yield expandRaw(codec, blob, await bytes.take(Math.ceil(count * rawBits / 8)), 0, count);
  }
  if (padding(weights * rawBytes)) yield new Uint8Array(padding(weights * rawBytes));
  await drain(chunks); // the checksum is checked behind the last
}

/**
 * @param {import('../core/codec.js').Codec} codec @param {Payload} payload of any version
 * @returns {Payload} chunks must be read to their end, or those of the argument be returned
 */
export function inWholeBytes(codec, payload) {
  const { blob } = payload;
  if (blob.version < 4) return payload;
  const up = (/** @type {number} */ bytes) => bytes + padding(bytes);
  const rawStart = up(2 * blob.wordCount);
  const blobBytes = blob.headBytes + rawStart + up(blob.weights * blob.rawBytes);
  return { ...payload, blob: { ...blob, rawStart, blobBytes }, chunks: wholeBytes(codec, payload) };
}
