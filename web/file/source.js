/**
 * Where bytes come from: memory, Blobs and Files, URLs through Range requests, paths in Node.
 * All of them become one reader that never returns fewer bytes than it was asked for.
 */
import { HanselError, checkAborted } from '../core/errors.js';
import { isNode } from '../core/node.js';
import { trace } from '../core/trace.js';
import { openUrl } from './http.js';

/** Bytes per chunk of a stream, where the reader chooses. */
const CHUNK = 2 ** 20;

/**
 * @typedef {object} Source
 * @property {number} size in bytes
 * @property {string} name for people: the path, the URL without its query, or the File's name
 * @property {(start: number, end: number, options?: { signal?: AbortSignal }) =>
 *   Promise<Uint8Array>} read exactly end - start bytes; may be a view of the caller's own memory,
 *   so neither write to it nor transfer it
 * @property {(start: number, end: number, options?: { signal?: AbortSignal }) =>
 *   AsyncIterable<Uint8Array>} stream the same bytes as they arrive; at most two chunks are alive
 * @property {(name: string, options?: { signal?: AbortSignal }) => Promise<Source>} resolve opens
 *   a file beside this one, such as another shard
 * @property {() => Promise<void>} close frees files; reading afterwards is HANSEL_ERR_SOURCE
 */

/**
 * @typedef {object} Backend what a kind of source implements; ranges are already checked
 * @property {number} size
 * @property {string} name
 * @property {(start: number, end: number, signal?: AbortSignal) => Promise<Uint8Array>} read
 * @property {(start: number, end: number, signal?: AbortSignal) =>
 *   AsyncGenerator<Uint8Array, void>} [stream] by default successive reads, one ahead
 * @property {(parts: string[]) => string | URL} [sibling] what to open for a name, split at slashes
 * @property {() => Promise<void>} [close]
 */

/**
 * Opens anything that holds bytes.
 *
 * - Uint8Array, ArrayBuffer, Blob, File: read in place, not copied.
 * - URL, or a string with http:, https:, blob: or data: (in browsers any string): fetched by Range
 *   requests. The server's ETag or Last-Modified guards against a file that changes meanwhile.
 *   Broken transfers resume where they stopped, three times without progress. A server that
 *   ignores Range is put up with to 512 MiB: the whole file is then fetched once and kept.
 * - Other strings and file: URLs: paths, in Node only.
 *
 * @param {Uint8Array | ArrayBuffer | Blob | URL | string} x retained until close
 * @param {{ signal?: AbortSignal, resumable?: boolean }} [options] signal stops the opening, not
 *   later reads; resumable keeps what a stopped stream from a URL has received, until it is asked
 *   for again
 * @returns {Promise<Source>}
 * @throws {HanselError} HANSEL_ERR_SOURCE when there is no such file or no answer,
 *   HANSEL_ERR_HTTP for an answer of no use, HANSEL_ERR_ABORTED, HANSEL_ERR_ARGUMENT;
 *   reading throws also HANSEL_ERR_TRUNCATED beyond the end, HANSEL_ERR_CHANGED, HANSEL_ERR_MEMORY
 */
export async function openSource(x, { signal, resumable } = {}) {
  checkAborted(signal);
  if (ArrayBuffer.isView(x)) {
    return makeSource(bytesBackend(new Uint8Array(x.buffer, x.byteOffset, x.byteLength)));
  }
  if (x instanceof ArrayBuffer) return makeSource(bytesBackend(new Uint8Array(x)));
  if (x instanceof Blob) {
    const { blobBackend } = await import('./blob_source.js');
    return makeSource(blobBackend(x));
  }
  if (typeof x === 'string' || x instanceof URL) {
    const text = String(x);
    const isUrl = /^(https?|blob|data):/i.test(text);
    if (!isNode || isUrl) {
      const backend = await urlBackend(text, signal);
      if (!resumable) return makeSource(backend);
      const { keepStopped } = await import('./resume.js');
      const { stream = readAhead(backend.read) } = backend;
      return makeSource({ ...backend, stream: keepStopped(stream) }, resumable);
    }
    const { pathBackend } = await import('./path_source.js');
    return makeSource(await pathBackend(x));
  }
  throw new HanselError('HANSEL_ERR_ARGUMENT', 'not a source', {
    expected: 'Uint8Array, ArrayBuffer, Blob, URL or string', got: typeof x,
  });
}

/**
 * @param {Backend} backend
 * @param {boolean} [resumable] files beside it too
 * @returns {Source}
 */
function makeSource({ size, name, read, stream = readAhead(read), sibling, close }, resumable) {
  let closed = false;
  /** @type {(start: number, end: number, signal?: AbortSignal) => void} */
  const check = (start, end, signal) => {
    checkAborted(signal);
    if (closed) throw new HanselError('HANSEL_ERR_SOURCE', 'already closed', { where: name });
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start > end) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'bad range', { got: `${start} to ${end}` });
    }
    if (end > size) {
      throw new HanselError('HANSEL_ERR_TRUNCATED', 'read beyond the end', {
        expected: `at least ${end} bytes`, got: size, where: name,
      });
    }
  };
  const note = (/** @type {number} */ start, /** @type {Uint8Array} */ bytes) => (
    trace('read', { source: name, start, bytes: bytes.length }));
  return {
    size,
    name,
    async read(start, end, { signal } = {}) {
      check(start, end, signal);
      const bytes = start === end ? new Uint8Array(0) : await read(start, end, signal);
      checkAborted(signal);
      note(start, bytes);
      return bytes;
    },
    async* stream(start, end, { signal } = {}) {
      check(start, end, signal);
      if (start === end) return;
      for await (const chunk of stream(start, end, signal)) {
        note(start, chunk);
        start += chunk.length;
        yield chunk;
        check(start, end, signal);
      }
    },
    async resolve(file, { signal } = {}) {
      const { siblingOf } = await import('./shards.js');
      return openSource(siblingOf(file, name, sibling), { signal, resumable });
    },
    async close() {
      if (!closed) await close?.();
      closed = true;
    },
  };
}

/**
 * A stream made of reads. The next one is under way while the consumer works on this chunk.
 * @param {Backend['read']} read
 * @returns {NonNullable<Backend['stream']>}
 */
const readAhead = (read) => async function* (start, end, signal) {
  let at = Math.min(start + CHUNK, end);
  let next = read(start, at, signal);
  while (start < end) {
    const chunk = await next;
    start = at;
    at = Math.min(at + CHUNK, end);
    if (start < end) {
      next = read(start, at, signal);
      next.catch(() => {}); // reported when awaited; a consumer that leaves early never does
    }
    yield chunk;
  }
};

/**
 * @param {Uint8Array} bytes
 * @param {string} [name]
 * @returns {Backend}
 */
function bytesBackend(bytes, name = 'bytes') {
  /** @type {Backend['read']} */
  const read = async (start, end) => {
    if (bytes.length !== size) { // its ArrayBuffer was transferred or resized
      throw new HanselError('HANSEL_ERR_CHANGED', 'the bytes were taken away', { where: name });
    }
    return bytes.subarray(start, end);
  };
  const size = bytes.length;
  return { size, name, read };
}

/**
 * @param {string} text
 * @param {AbortSignal} [signal]
 * @returns {Promise<Backend>}
 */
async function urlBackend(text, signal) {
  /** @type {URL} */
  let url;
  try {
    url = new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'not a URL', { got: text, cause });
  }
  if (url.protocol === 'blob:' || url.protocol === 'data:') {
    const { fetchBlob } = await import('./blob_source.js');
    return fetchBlob(url, signal);
  }
  // Queries may hold access tokens, and names go into messages.
  const name = url.origin + url.pathname;
  const opened = await openUrl(url.href, name, signal);
  return {
    ...(opened instanceof Uint8Array ? bytesBackend(opened, name) : { name, ...opened }),
    sibling: (parts) => new URL(parts.map(encodeURIComponent).join('/'), url),
  };
}
