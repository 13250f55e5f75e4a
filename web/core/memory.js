/** Memory that is asked for with care, and filled exactly. */
import { HanselError } from './errors.js';

/**
 * @param {number} bytes
 * @param {string} where
 * @param {boolean} [isShared] in memory that threads can share
 * @returns {Uint8Array<ArrayBuffer>} zeros; its buffer is a SharedArrayBuffer if isShared
 * @throws {HanselError} HANSEL_ERR_MEMORY
 */
export function allocate(bytes, where, isShared) {
  return needing(`room for ${bytes} bytes`, () => new Uint8Array(
    /** @type {any} */ (isShared ? new SharedArrayBuffer(bytes) : bytes)), where);
}

/**
 * Says what cannot be had where memory is refused.
 * @template T @param {string} what @param {() => T} body @param {string} [where] @returns {T}
 * @throws {HanselError} HANSEL_ERR_MEMORY
 */
export function needing(what, body, where) {
  try {
    return body();
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_MEMORY', `no ${what}`, {
      got: /** @type {Error} */ (cause).message, where, cause,
    });
  }
}

/**
 * @param {Uint8Array} bytes filled from its start
 * @param {AsyncIterable<Uint8Array>} chunks
 * @param {string} [where]
 */
export async function fill(bytes, chunks, where) {
  let done = 0;
  for await (const chunk of chunks) {
    if (chunk.length > bytes.length - done) {
      throw changedSize(bytes.length, done + chunk.length, where);
    }
    bytes.set(chunk, done);
    done += chunk.length;
  }
  if (done < bytes.length) {
    throw new HanselError('HANSEL_ERR_TRUNCATED', 'the file ends early', {
      expected: `${bytes.length} bytes`, got: done, where,
    });
  }
  return bytes;
}

/** @param {number} expected @param {number} got @param {string} [where] */
export const changedSize = (expected, got, where) => new HanselError('HANSEL_ERR_CHANGED',
  'the file has changed its size', { expected: `${expected} bytes`, got, where });
