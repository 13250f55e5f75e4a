/** A coded file that a server is sending: read once, from its start to its end, as its bytes arrive. */
import { HanselError, checkAborted } from '../core/errors.js';
import { fill } from '../core/memory.js';
import { parseHeader } from '../file/safetensors.js';

/** Bytes of a coded file's header, at most: it names one tensor. */
const MOST_HEADER = 1024;

/** @typedef {import('../file/source.js').Source} Source */

/**
 * What an answer says of its size, if that is to be believed: other origins' may be compressed, and not say so.
 * @param {Response} response @returns {number | null}
 */
function sizeOf({ headers, type }) {
  const length = headers.get('Content-Encoding') || type === 'cors' ? null : headers.get('Content-Length');
  return /^\d+$/.test(length ?? '') ? Number(length) : null;
}

/**
 * @param {Response} response whose body nobody has read
 * @param {string} name for messages
 * @param {AbortSignal} [signal]
 * @returns {Promise<Source & {wholeBlob: () => Promise<Blob>}>} what is read is kept, to be read again, until the first
 *   stream; from then on reads and streams go forward only. wholeBlob: all, before that
 * @throws {HanselError} HANSEL_ERR_SAFETENSORS, _TRUNCATED for what is no coded file; HANSEL_ERR_SOURCE, _ABORTED
 */
export async function responseSource(response, name, signal) {
  const reader = (response.body ?? new Blob([]).stream()).getReader();
  let size = sizeOf(response) ?? -1; // not known yet
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
      throw new HanselError('HANSEL_ERR_TRUNCATED', 'the answer ended early', {
        expected: size < 0 ? 'a header' : `${size} bytes`, got: end, where: name,
      });
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

  /** @type {Source['read']} */
  const read = async (from, to, options) => {
    const out = new Uint8Array(to - from);
    if (!isKept) return fill(out, stream(from, to, options), name);
    while (end < to) {
      checkAborted(options?.signal);
      await more();
    }
    let at = 0;
    for (const chunk of chunks) {
      if (at >= to) break;
      out.set(chunk.subarray(Math.max(from - at, 0), to - at), Math.max(at - from, 0));
      at += chunk.length;
    }
    return out;
  };

  if (size < 0) {
    try {
      const [length] = new Uint32Array((await read(0, 8, { signal })).buffer);
      size = parseHeader(length > MOST_HEADER ? new Uint8Array(8) : await read(0, 8 + length, { signal })).end;
    } catch (cause) {
      reader.cancel().catch(() => {});
      const { code } = /** @type {any} */ (cause);
      throw code === 'HANSEL_ERR_TRUNCATED' ? new HanselError('HANSEL_ERR_SAFETENSORS', 'no coded file', { cause }) : cause;
    }
  }
  return {
    size,
    name,
    stream,
    read,
    async wholeBlob() {
      while (end < size) await more();
      return new Blob(/** @type {BlobPart[]} */ (chunks));
    },
    async resolve(file) {
      throw new HanselError('HANSEL_ERR_SOURCE', 'an answer has no files beside it', { got: file, where: name });
    },
    async close() {
      reader.cancel().catch(() => {}); // of an answer that a cache reads, too, this takes as long as that
    },
  };
}
