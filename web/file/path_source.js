/** Files by path, for web/file/source.js. Node only. */
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate, changedSize } from '../core/memory.js';
import { builtin } from '../core/node.js';

/**
 * @param {string | URL} x a path or a file: URL
 * @returns {Promise<import('./source.js').Backend>}
 */
export async function pathBackend(x) {
  const [fs, path, url] = [builtin('fs/promises'), builtin('path'), builtin('url')];
  const name = String(x).startsWith('file:') ? url.fileURLToPath(x) : String(x);
  const failed = (/** @type {unknown} */ cause) => new HanselError('HANSEL_ERR_SOURCE',
    `cannot be read: ${/** @type {Error} */ (cause).message}`, { where: name, cause });
  const about = await fs.stat(name).catch((cause) => { throw failed(cause); });
  if (!about.isFile()) { // before opening it: that blocks for a pipe
    throw new HanselError('HANSEL_ERR_SOURCE', 'not a regular file', { where: name });
  }
  const file = await fs.open(name, 'r').catch((cause) => { throw failed(cause); });
  const opened = await file.stat({ bigint: true });
  const size = Number(opened.size);
  return {
    size,
    name,
    async read(/** @type {number} */ start, /** @type {number} */ end,
      /** @type {AbortSignal | undefined} */ signal) {
      const bytes = allocate(end - start, name);
      try {
        for (let done = 0, got = 0; done < bytes.length; done += got) {
          checkAborted(signal);
          const want = Math.min(bytes.length - done, 2 ** 30); // one read(2) stops at 2 GiB
          ({ bytesRead: got } = await file.read(bytes, done, want, start + done));
          if (got === 0) throw changedSize(end - start, done, name);
        }
        const now = await file.stat({ bigint: true });
        if (now.size !== opened.size) throw changedSize(size, Number(now.size), name);
        if (now.mtimeNs !== opened.mtimeNs) {
          throw new HanselError('HANSEL_ERR_CHANGED', 'was written to while it was read', {
            where: name,
          });
        }
      } catch (error) {
        throw error instanceof HanselError ? error : failed(error);
      }
      return bytes;
    },
    sibling: (parts) => url.pathToFileURL(path.join(path.dirname(name), ...parts)),
    close: () => file.close(),
  };
}
