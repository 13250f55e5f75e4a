/** hanselFetch() and hanselCache(): requests for a model's file, answered by the coded one that lies beside it. */
import { HanselError } from '../core/errors.js';
import { openSource } from '../file/source.js';
import { checkThreads } from '../workers/pool.js';
import { codedName } from './coded_name.js';
import { restore } from './open_file.js';
import { responseSource } from './response_source.js';

/** Files that may be coded, by the ends of their paths. */
const WEIGHTS = /\.(onnx|onnx[._]data(_\d+)?|gguf|safetensors)$/i;
const CODED = /\.hansel(\.safetensors)?$/i;
/** Bytes of an answer that is made at once: who only wants a size leaves its body open. */
const SHORT = 1 << 16;
/** A header of answers: bytes of the coded file. */
const CODED_LENGTH = 'X-Hansel-Coded-Length';
/** What of a request is about the plain file's bytes, not the coded one's. */
const CONDITIONS = ['Range', 'If-Range', 'If-Match', 'If-None-Match', 'If-Modified-Since', 'If-Unmodified-Since'];

/** @typedef {import('./restored_file.js').RestoredFile} RestoredFile */
/** @typedef {Pick<Cache, 'match' | 'put'>} CacheLike */
/** @typedef {{file: RestoredFile, etag: string | null}} Opened */
/**
 * @typedef {object} FetchOptions
 * @property {RegExp} [match] paths of files that may be coded; by default those that end in .onnx, .onnx_data,
 *   .onnx.data, .gguf or .safetensors
 * @property {(url: URL) => string | URL | null | undefined} [coded] the coded file's address; none leaves the request
 *   as it is. By default beside the file: model.onnx.hansel, model.hansel.safetensors
 * @property {CacheLike} [cache] keeps the coded files, such as `await caches.open('models')`
 * @property {number} [threads] that decode, the calling one among them; 1 by default
 */

/** @param {string | URL | Request} input @returns {URL | null} null where it is none of http(s) */
function addressOf(input) {
  try {
    const url = new URL(input instanceof Request ? input.url : input,
      globalThis.document?.baseURI ?? globalThis.location?.href);
    return /^https?:$/.test(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

/**
 * Where the coded file of an address is.
 * @param {URL} url @param {FetchOptions} options
 * @returns {string | null} null where there can be none
 */
export function codedAddress(url, { match = WEIGHTS, coded }) {
  if (!/^https?:$/.test(url.protocol) || CODED.test(url.pathname) || url.pathname.search(match) < 0) return null;
  if (coded) {
    const own = coded(new URL(url));
    return own ? new URL(own, url).href : null;
  }
  const address = new URL(url);
  address.pathname = codedName(url.pathname);
  address.hash = '';
  return address.href;
}

/**
 * A fetch that answers requests for a model's file from the coded one beside it, where there is one, and hands all
 * others on. What it answers looks like the plain file: status, size, Range, HEAD. The coded file is fetched once and
 * decoded as it arrives.
 *
 * @param {typeof globalThis.fetch} [fetch] that requests go to
 * @param {FetchOptions} [options]
 * @returns {typeof globalThis.fetch} rejects, and its answers fail, as fetch does; for damaged files with a HanselError
 * @throws {HanselError} HANSEL_ERR_ARGUMENT
 * @example
 * globalThis.fetch = hanselFetch(fetch); // all of a page
 * @example
 * env.fetch = hanselFetch(fetch); // transformers.js
 */
export function hanselFetch(fetch = globalThis.fetch, options = {}) {
  const { match, coded, cache, threads, ...rest } = options;
  const [unknown] = Object.keys(rest);
  if (unknown) throw new HanselError('HANSEL_ERR_ARGUMENT', 'hanselFetch has no such option', { got: unknown });
  if (match !== undefined && !(match instanceof RegExp)) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'match is no regular expression', { got: String(match) });
  }
  if (typeof fetch !== 'function') {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'fetch is no function', { got: typeof fetch });
  }
  checkThreads(threads);
  const plainFetch = fetch.bind(globalThis);
  /** Addresses that have no coded file. @type {Set<string>} */
  const missing = new Set();

  return async function fetchRestored(input, init) {
    const request = input instanceof Request ? input : null;
    const method = (init?.method ?? request?.method ?? 'GET').toUpperCase();
    const url = ['GET', 'HEAD'].includes(method) ? addressOf(input) : null;
    const address = url && codedAddress(url, options);
    if (!url || !address || missing.has(address)) return plainFetch(input, init);
    const signal = init?.signal ?? request?.signal;
    const headers = new Headers(init?.headers ?? request?.headers);
    const range = headers.has('If-Range') ? null : headers.get('Range');
    for (const name of CONDITIONS) headers.delete(name);
    const isWhole = method === 'GET' && range === null;
    try {
      const opened = await openCoded(address, () => plainFetch(address, {
        ...(request && askedBy(request)), ...init, method: 'GET', headers, signal,
      }), { ...options, isWhole }, signal ?? undefined);
      if (typeof opened === 'object') return await answer(opened, url.href, { method, range, signal });
      if (opened) missing.add(address);
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    }
    return plainFetch(input, init);
  };
}

/** What of a request says how to ask. @param {Request} request @returns {RequestInit} */
const askedBy = ({ credentials, cache, redirect, referrer, referrerPolicy, mode }) => ({
  credentials, cache, redirect, referrer, referrerPolicy, ...(mode === 'navigate' ? {} : { mode }),
});

/**
 * @param {string} address @param {() => Promise<Response>} ask for it
 * @param {FetchOptions & {isWhole?: boolean}} options isWhole: all of it will be read, and can be kept
 * @param {AbortSignal} [signal]
 * @returns {Promise<Opened | boolean>} whether there is no such file, and will be none
 */
async function openCoded(address, ask, { cache, threads, isWhole }, signal) {
  const kept = await cache?.match(address);
  const response = kept ?? await ask().catch((error) => {
    if (signal?.aborted) throw error;
  });
  if (!response) return false; // no answer, or none that may be seen: another host may have the plain file
  const isPage = /^text\/html/.test(response.headers.get('Content-Type') ?? ''); // in place of what is not there
  if (!response.ok || isPage) {
    response.body?.cancel().catch(() => {});
    return isPage || [403, 404, 410].includes(response.status);
  }
  const etag = response.headers.get('ETag');
  const copy = cache && !kept && isWhole ? response.clone() : null;
  try {
    const arriving = await responseSource(response, address.replace(/[?#].*/s, ''), signal);
    const file = await restore(arriving, { signal, threads });
    if (copy) keep(cache, address, copy);
    if (file.isSequential) return { file, etag };
    return { file: await restore(await openSource(await arriving.wholeBlob()), { signal, threads }), etag };
  } catch (error) {
    copy?.body?.cancel().catch(() => {});
    const { code, message } = /** @type {any} */ (error);
    if (code === 'HANSEL_ERR_SAFETENSORS' || /looks like/.test(message)) return true; // it only has the name of a coded one
    throw error;
  }
}

/**
 * Puts it into a cache, if that can be done: without, for want of room, say, it works too.
 * @param {CacheLike | undefined} cache @param {string} address @param {Response} response
 */
async function keep(cache, address, response) {
  try {
    await cache?.put(address, response);
  } catch {
    response.body?.cancel().catch(() => {});
  }
}

/**
 * The bytes that a Range header means.
 * @param {string | null} text @param {number} size
 * @returns {[start: number, end: number] | null | undefined} undefined where it means all; null where there are none
 */
function rangeOf(text, size) {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(text ?? '') ?? [];
  if (!first && !last) return undefined;
  const start = first ? Number(first) : Math.max(size - Number(last), 0);
  const end = first && last ? Math.min(Number(last) + 1, size) : size;
  return start < end ? [start, end] : null;
}

/**
 * @param {Opened} opened closed when the body has ended @param {string} href
 * @param {{method: string, range: string | null, signal?: AbortSignal | null}} asked
 * @returns {Promise<Response>}
 */
async function answer({ file, etag }, href, { method, range, signal }) {
  const { size } = file;
  const asked = rangeOf(range, size);
  const [start, end] = asked ?? [0, size];
  /** @type {Record<string, string>} */
  const headers = {
    'Content-Type': 'application/octet-stream', 'Content-Length': `${asked === null ? 0 : end - start}`,
    'Accept-Ranges': 'bytes', [CODED_LENGTH]: `${file.codedSize}`,
  };
  if (etag) headers.ETag = etag.replace(/"$/, '-hansel"');
  if (asked !== undefined) headers['Content-Range'] = asked ? `bytes ${start}-${end - 1}/${size}` : `bytes */${size}`;
  const isEmpty = method === 'HEAD' || asked === null;
  const isShort = isEmpty || end - start <= SHORT;
  const part = { start, end, signal: signal ?? undefined };
  const body = isShort ? await (isEmpty ? Promise.resolve(null) : file.bytes(part)).finally(() => file.close())
    : bodyOf(file, part);
  const response = new Response(body, { status: asked === null ? 416 : asked ? 206 : 200, headers });
  return Object.defineProperty(response, 'url', { value: href });
}

/**
 * @param {RestoredFile} file closed at the end @param {{start: number, end: number, signal?: AbortSignal}} part of it
 * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
 */
function bodyOf(file, part) {
  const { signal } = part;
  const pieces = file.stream(part).getReader();
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await pieces.read();
        if (!done) return controller.enqueue(value);
        controller.close();
      } catch (error) {
        await file.close();
        throw signal?.aborted ? signal.reason : error;
      }
      await file.close();
    },
    async cancel(reason) {
      await Promise.all([file.close(), pieces.cancel(reason)]); // a transfer that is waited for ends by the first
    },
  });
}

/**
 * A cache that holds coded files and answers with those that were coded: for transformers.js, as `env.customCache`,
 * together with `env.fetch = hanselFetch(fetch, { cache })`.
 *
 * @param {CacheLike & Partial<Pick<Cache, 'delete'>>} cache the same, such as `await caches.open('models')`
 * @param {Omit<FetchOptions, 'cache'>} [options] as for hanselFetch()
 * @returns {{match: (request: string | URL | Request) => Promise<Response | undefined>,
 *   put: (request: string | URL | Request, response: Response) => Promise<void>,
 *   delete: (request: string | URL | Request) => Promise<boolean>}} put: does not keep what came from a coded file,
 *   which is there already
 */
export function hanselCache(cache, options = {}) {
  const addressFor = (/** @type {string | URL | Request} */ request) => {
    const url = addressOf(request);
    return url && codedAddress(url, options);
  };
  return {
    async match(request) {
      const address = addressFor(request);
      const kept = address ? await cache.match(address) : undefined;
      if (!address || !kept) return cache.match(request);
      const opened = await openCoded(address, async () => kept, options);
      return typeof opened === 'object' ? answer(opened, String(addressOf(request)), { method: 'GET', range: null })
        : undefined;
    },
    async put(request, response) {
      if (response.headers.has(CODED_LENGTH)) await response.body?.cancel();
      else await cache.put(request, response);
    },
    async delete(request) {
      const address = addressFor(request);
      const [plain, coded] = [await cache.delete?.(request), address ? await cache.delete?.(address) : false];
      return Boolean(plain || coded);
    },
  };
}
