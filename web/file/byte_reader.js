/** Exact byte counts from a source's stream of chunks. */
import { HanselError } from '../core/errors.js';

export class ByteReader {
  #chunks;
  /** @type {Uint8Array} */
  #rest = new Uint8Array(0);

  /** @param {AsyncIterable<Uint8Array>} chunks */
  constructor(chunks) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /**
   * @param {number} count @returns {Promise<Uint8Array>} not modified; no source writes to a chunk
   *   that it has given
   * @throws {HanselError} HANSEL_ERR_TRUNCATED if the chunks end before, and what they throw
   */
  async take(count) {
    if (this.#rest.length >= count) return this.#shift(count);
    const bytes = new Uint8Array(count);
    for (let filled = 0; filled < count;) {
      const some = await this.some(count - filled);
      bytes.set(some, filled);
      filled += some.length;
    }
    return bytes;
  }

  /** As take(). @param {number} most @returns {Promise<Uint8Array>} what is there, never nothing */
  async some(most) {
    while (!this.#rest.length) {
      const { done, value } = await this.#chunks.next();
      if (done) {
        throw new HanselError('HANSEL_ERR_TRUNCATED', 'the coded tensor is cut short', {
          expected: `${most} bytes more`, got: 'none',
        });
      }
      this.#rest = value;
    }
    return this.#shift(most);
  }

  /** @param {number} most */
  #shift(most) {
    const bytes = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(bytes.length);
    return bytes;
  }

  /** Ends the stream. */
  close() {
    return this.#chunks.return?.();
  }
}
