/** A coded file that a server is sending: read once, from its start to its end, as its bytes arrive. */
import { HanselError, checkAborted } from '../core/errors.js';

/** @typedef {import('../file/source.js').Source} Source */

/**
 * @param {Response} response whose body nobody has read
 * @param {string} name for messages
 * @returns {(Source & {wholeBlob: () => Promise<Blob>}) | null} what is read is kept, to be read again, until the first
 *   stream; from then on reads and streams go forward only. wholeBlob: all, before that. Null where the answer does
 *   not tell its size
 */
export function responseSource({ headers, body }, name) {
  const length = headers.get('Content-Encoding') ? null : headers.get('Content-Length');
  if (!body || !/^\d+$/.test(length ?? '')) return null;
  const size = Number(length);
  const reader = body.getReader();
  /** What has come and is not given, or is kept. @type {Uint8Array[]} */
  const chunks = [];
  let [start, end] = [0, 0]; // of these
  let isKept = true;

  const more = async () => {
    let next;
    try {
      next = await reader.read();
    } catch (cause) {
      throw new HanselError('HANSEL_ERR_SOURCE', 'the transfer broke', { where: name, cause });
    }
    if (next.done) {
      throw new HanselError('HANSEL_ERR_TRUNCATED', 'the answer ended early', { expected: `${size} bytes`, got: end, where: name });
    }
    if (!next.value.length) return; // which a stream may hand on
    chunks.push(next.value);
    end += next.value.length;
  };

  /** @param {number} at before which nothing is wanted again */
  const drop = async (at) => {
    isKept = false;
    if (at < start) throw new HanselError('HANSEL_ERR_SOURCE', 'the answer was read beyond that', { got: at, where: name });
    while (start < at) {
      while (!chunks.length) await more();
      const some = Math.min(at - start, chunks[0].length);
      if (some === chunks[0].length) chunks.shift();
      else chunks[0] = chunks[0].subarray(some);
      start += some;
    }
  };

  /** @type {Source['stream']} */
  async function* stream(from, to, { signal } = {}) {
    await drop(from);
    while (start < to) {
      checkAborted(signal);
      while (!chunks.length) await more();
      const chunk = chunks[0].subarray(0, to - start);
      await drop(start + chunk.length);
      yield chunk;
    }
  }

  return {
    size,
    name,
    stream,
    async read(from, to, options) {
      const out = new Uint8Array(to - from);
      let at = 0;
      if (isKept) {
        while (end < to) {
          checkAborted(options?.signal);
          await more();
        }
        for (const chunk of chunks) {
          if (at >= to) break;
          out.set(chunk.subarray(Math.max(from - at, 0), to - at), Math.max(at - from, 0));
          at += chunk.length;
        }
        return out;
      }
      for await (const chunk of stream(from, to, options)) {
        out.set(chunk, at);
        at += chunk.length;
      }
      return out;
    },
    async wholeBlob() {
      while (end < size) await more();
      return new Blob(/** @type {BlobPart[]} */ (chunks));
    },
    async resolve(file) {
      throw new HanselError('HANSEL_ERR_SOURCE', 'an answer has no files beside it', { got: file, where: name });
    },
    async close() {
      await reader.cancel().catch(() => {});
    },
  };
}
