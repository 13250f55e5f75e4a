/** Blobs and Files, and the URLs of such, for web/file/source.js. */
import { HanselError, checkAborted } from '../core/errors.js';
import { changedSize } from '../core/memory.js';
import { tryFetch } from './http.js';

/**
 * @param {Blob & { name?: string }} blob
 * @returns {import('./source.js').Backend}
 */
export function blobBackend(blob) {
  const name = blob.name ?? 'blob';
  return {
    size: blob.size,
    name,
    async read(start, end, signal) {
      let bytes;
      try {
        bytes = new Uint8Array(await blob.slice(start, end).arrayBuffer());
      } catch (cause) {
        checkAborted(signal);
        // What browsers report for a File that was modified or deleted after it was chosen.
        const changed = /** @type {Error} */ (cause)?.name === 'NotReadableError';
        throw new HanselError(changed ? 'HANSEL_ERR_CHANGED' : 'HANSEL_ERR_SOURCE',
          'cannot be read, or was modified', { where: name, cause });
      }
      if (bytes.length !== end - start) throw changedSize(end - start, bytes.length, name);
      return bytes;
    },
  };
}

/**
 * @param {URL} url blob: or data:
 * @param {AbortSignal} [signal]
 * @returns {Promise<import('./source.js').Backend>}
 */
export async function fetchBlob(url, signal) {
  const response = await tryFetch(url.href, { signal }, url.protocol);
  return blobBackend(await response.blob());
}
