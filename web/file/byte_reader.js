/** Exact byte counts from a source's stream of chunks. */
import { HanselError } from '../core/errors.js';

export class ByteReader {
  /** @param {AsyncIterable<Uint8Array>} chunks */
  constructor(chunks) {
    this.chunks = chunks[Symbol.asyncIterator]();
    /** @type {Uint8Array} */
    this.rest = new Uint8Array(0);
  }

  /** @param {number} count @returns {Promise<Uint8Array>} not modified; no source
   * writes to a chunk that it has given */
  async take(count) {
    if (this.rest.length >= count) {
      const bytes = this.rest.subarray(0, count);
      this.rest = this.rest.subarray(count);
      return bytes;
    }
    const bytes = new Uint8Array(count);
    let filled = 0;
    for (;;) {
      const part = this.rest.subarray(0, count - filled);
      bytes.set(part, filled);
      this.rest = this.rest.subarray(part.length);
      filled += part.length;
      if (filled === count) return bytes;
      const { done, value } = await this.chunks.next();
      if (done) {
        throw new HanselError('HANSEL_ERR_TRUNCATED', 'the coded tensor is cut short', {
          expected: `${count} bytes`, got: filled,
        });
      }
      this.rest = value;
    }
  }

  /** @param {number} most @returns {Promise<Uint8Array>} what is there, at least one byte */
  async some(most) {
    while (!this.rest.length) {
      const { done, value } = await this.chunks.next();
      if (done) {
        throw new HanselError('HANSEL_ERR_TRUNCATED', 'the coded tensor is cut short', {
          expected: `${most} bytes more`, got: 'none',
        });
      }
      this.rest = value;
    }
    return this.take(Math.min(this.rest.length, most));
  }

  close() {
    return this.chunks.return?.();
  }
}
