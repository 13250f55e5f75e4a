/** A file behind a URL whose server ignores Range: fetched once and kept. */
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate, fill } from '../core/memory.js';

/** Largest file that is kept. */
const WHOLE_LIMIT = 512 * 2 ** 20;

/**
 * @param {Response} response to the first request; without a length in reach its body is not read
 * @param {string} name for messages
 * @param {AbortSignal} [signal]
 * @returns {Promise<Uint8Array>} the file
 * @throws {HanselError} HANSEL_ERR_HTTP, _SOURCE, _ABORTED, _CHANGED, _TRUNCATED, _MEMORY
 */
export async function keepWhole({ headers, body }, name, signal) {
  const length = headers.get('Content-Encoding') ? null : headers.get('Content-Length');
  if (!body || !/^\d+$/.test(length ?? '') || Number(length) > WHOLE_LIMIT) {
    body?.cancel().catch(() => {});
    if (length === '0') return new Uint8Array(0);
    throw new HanselError('HANSEL_ERR_HTTP', 'the server must honour Range requests, as the file '
      + `has more than ${WHOLE_LIMIT} bytes or an unknown length`, {
      expected: 206, got: 200, where: name,
    });
  }
  const reader = body.getReader();
  const chunks = async function* () {
    try {
      for (let next; !(next = await reader.read()).done;) yield next.value;
    } catch (cause) {
      checkAborted(signal);
      throw new HanselError('HANSEL_ERR_SOURCE', 'the transfer broke', { where: name, cause });
    } finally {
      reader.cancel().catch(() => {});
    }
  };
  return fill(allocate(Number(length), name), chunks(), name);
}
