/** One file behind a URL, read by Range requests that notice when it changes, and that resume. */
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate, fill } from '../core/memory.js';

/** Bytes that the first request brings and keeps, so that a header needs no second. */
const HEAD = 2 ** 16;
/** Attempts to resume a transfer that breaks without progress, and the pause before the first,
 * doubled each time. */
const RETRIES = 3;
const PAUSE_MS = 200;

/**
 * @typedef {object} RangeReader ranges must lie within size
 * @property {number} size
 * @property {(start: number, end: number, signal?: AbortSignal) => Promise<Uint8Array>} read
 * @property {(start: number, end: number, signal?: AbortSignal) =>
 *   AsyncGenerator<Uint8Array, void>} stream one request, however long; chunks as they arrive
 */

/**
 * @param {string} href http: or https:
 * @param {string} name for messages
 * @param {AbortSignal} [signal]
 * @returns {Promise<RangeReader | Uint8Array>} the whole file where the server ignores Range
 * @throws {HanselError} as openSource
 */
export async function openUrl(href, name, signal) {
  const first = await request(href, 0, HEAD, undefined, name, signal);
  if ('whole' in first) return (await import('./whole.js')).keepWhole(first.whole, name, signal);
  const { known } = first;
  const head = allocate(Math.min(HEAD, known.size), name);
  await fill(head, transfer(0, head.length, signal, first));

  /** @type {(start: number, end: number, signal?: AbortSignal, answer?: Answer) =>
   *   AsyncGenerator<Uint8Array, void>} */
  async function* transfer(start, end, signal, answer) {
    let tries = 0; // since the last progress
    let resumedAt = start;
    /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
    let reader;
    let stop = start;
    try {
      while (start < end) {
        let chunk;
        try {
          if (!reader) {
            answer ??= await request(href, start, end, known, name, signal);
            reader = answer.body?.getReader();
            stop = answer.end;
            answer = undefined;
          }
          chunk = (await reader?.read())?.value;
          if (!chunk) throw new Error('the answer ended early');
        } catch (cause) {
          reader?.cancel().catch(() => {});
          reader = undefined;
          checkAborted(signal);
          if (cause instanceof HanselError) throw cause;
          if (start > resumedAt) tries = 0;
          resumedAt = start;
          if (tries === RETRIES) {
            throw new HanselError('HANSEL_ERR_SOURCE', `the transfer broke ${tries + 1} times`, {
              expected: `bytes up to ${end}`, got: start, where: name, cause,
            });
          }
          await pause(PAUSE_MS * 2 ** tries++, signal);
          continue;
        }
        if (chunk.length > stop - start) {
          throw new HanselError('HANSEL_ERR_HTTP', 'more bytes than the range has', {
            expected: stop - start, got: chunk.length, where: name,
          });
        }
        start += chunk.length;
        if (start === stop) { // the range is here, whether or not the answer ends
          reader?.cancel().catch(() => {});
          reader = undefined; // a server may answer with less than was asked: ask for the rest
        }
        yield chunk;
      }
    } finally {
      reader?.cancel().catch(() => {});
    }
  }

  /** @type {RangeReader['stream']} */
  async function* stream(start, end, signal) {
    if (start < head.length) yield head.slice(start, Math.min(end, head.length));
    yield* transfer(Math.max(start, Math.min(end, head.length)), end, signal);
  }
  return {
    size: known.size,
    stream,
    read: (start, end, signal) => fill(allocate(end - start, name), stream(start, end, signal)),
  };
}

/**
 * @typedef {object} Known what the first answer told about the file
 * @property {number} size
 * @property {string | null} etag strong ones only: weak ones do not promise equal bytes
 * @property {string | null} modified
 * @property {boolean} conditional whether If-Range can be sent
 */
/** @typedef {{ known: Known, end: number, body: ReadableStream<Uint8Array> | null }} Answer */
/** @typedef {{ whole: Response }} Whole the answer of a server that ignores Range */

/**
 * @overload
 * @param {string} href
 * @param {number} start
 * @param {number} end
 * @param {undefined} known
 * @param {string} name
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer | Whole>}
 */
/**
 * @overload
 * @param {string} href
 * @param {number} start
 * @param {number} end
 * @param {Known} known
 * @param {string} name
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer>}
 */
/**
 * One Range request, its answer checked but its body not read.
 * @param {string} href
 * @param {number} start
 * @param {number} end
 * @param {Known | undefined} known undefined in the first request
 * @param {string} name
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer | Whole>}
 */
async function request(href, start, end, known, name, signal) {
  /** @type {Record<string, string>} */
  const headers = { Range: `bytes=${start}-${end - 1}` };
  const validator = known?.etag ?? known?.modified;
  if (validator && known?.conditional) headers['If-Range'] = validator;
  const response = await (known
    ? fetch(href, { headers, signal })
    : tryFetch(href, { headers, signal }, name));
  const { status, body } = response;
  const fail = (/** @type {string} */ code, /** @type {string} */ message,
    /** @type {any} */ expected = undefined, /** @type {any} */ got = undefined) => {
    body?.cancel().catch(() => {});
    return new HanselError(code, message, { expected, got, where: name });
  };
  const checkSize = (/** @type {number} */ size) => {
    if (known && size !== known.size) {
      throw fail('HANSEL_ERR_CHANGED', 'the file has another size now', known.size, size);
    }
  };
  const header = (/** @type {string} */ key) => response.headers.get(key);

  if (status === 416) {
    const size = Number(/^bytes \*\/(\d+)$/.exec(header('Content-Range') ?? '')?.[1] ?? NaN);
    if (!known && size === 0) { // no range can be satisfied in an empty file
      body?.cancel().catch(() => {});
      return { known: describe(response, href, 0), end: 0, body: null };
    }
    checkSize(size);
  }
  if (status === 200) {
    if (!known) return { whole: response };
    if (validator) {
      throw fail('HANSEL_ERR_CHANGED', 'the whole file came back: it has changed', validator,
        header('ETag') ?? header('Last-Modified') ?? 'no validator');
    }
  }
  if (status !== 206) {
    const why = status === 404 ? 'not found' : status > 499 ? 'the server failed' : 'refused';
    throw Object.assign(fail('HANSEL_ERR_HTTP', `${why} (${status})`), { got: status });
  }

  const range = header('Content-Range');
  const [, from, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(range ?? '') ?? [];
  if (total === undefined) {
    throw fail('HANSEL_ERR_HTTP', 'no Content-Range with a total; other origins must expose it',
      'bytes FIRST-LAST/TOTAL', range);
  }
  const size = Number(total);
  checkSize(size);
  const stop = Number(last) + 1;
  if (Number(from) !== start || stop <= start || stop > Math.min(end, size)) {
    throw fail('HANSEL_ERR_HTTP', 'another range than was asked for', headers.Range, range);
  }
  const now = describe(response, href, size);
  for (const key of /** @type {const} */ (['etag', 'modified'])) {
    // Last-Modified counts only without an ETag: mirrors may differ in it.
    if (known && !(key === 'modified' && known.etag) && known[key] && now[key]
        && known[key] !== now[key]) {
      throw fail('HANSEL_ERR_CHANGED', 'the file has changed', known[key], now[key]);
    }
  }
  return { known: known ?? now, end: stop, body };
}

/**
 * @param {Response} response
 * @param {string} href
 * @param {number} size
 * @returns {Known}
 */
function describe(response, href, size) {
  const etag = response.headers.get('ETag');
  // Cross-origin pages cannot send If-Range without a preflight that few servers answer; there
  // the validators of the answers are compared instead.
  const { origin } = globalThis;
  const conditional = !origin || new URL(response.url || href).origin === origin;
  return {
    size,
    etag: etag?.startsWith('"') ? etag : null,
    modified: response.headers.get('Last-Modified'),
    conditional,
  };
}

/**
 * fetch, its failure named.
 * @param {string} href
 * @param {RequestInit} init
 * @param {string} name
 */
export async function tryFetch(href, init, name) {
  try {
    return await fetch(href, init);
  } catch (cause) {
    checkAborted(init.signal ?? undefined);
    throw new HanselError('HANSEL_ERR_SOURCE', 'no answer', { where: name, cause });
  }
}

/**
 * @param {number} ms
 * @param {AbortSignal} [signal] ends the pause early, with HANSEL_ERR_ABORTED
 */
async function pause(ms, signal) {
  await new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve(undefined);
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
  });
  checkAborted(signal);
}
