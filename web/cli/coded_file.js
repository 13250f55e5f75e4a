/**
 * A spool in the output file itself, which so needs its room on disk once. Heads are known after
 * what follows them, and the header last: they wait in memory, and at the end everything moves up,
 * in place, to let them in.
 */
import { checkAborted } from '../core/errors.js';
import { notWritten } from './terminal.js';

/** Bytes moved at a time. */
const CHUNK = 2 ** 22;

/**
 * @param {import('node:fs/promises').FileHandle} handle of an empty file, to be read and written
 * @param {string} path for messages @param {AbortSignal} [signal]
 * @returns {import('../encode/encode.js').Spool & {finish: (header: Uint8Array) => Promise<void>}}
 *   finish puts the header before everything
 */
export function codedFile(handle, path, signal) {
  /** Bytes that are there, and those among them that are kept. */
  let size = 0;
  let kept = 0;
  /** What goes in between. @type {{at: number, bytes: Uint8Array}[]} */
  const heads = [];

  /** @param {Uint8Array} bytes @param {number} at */
  const write = async (bytes, at) => {
    checkAborted(signal);
    for (let done = 0; done < bytes.length;) {
      done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
    }
  };

  /** @param {number} from @param {number} to @param {number} by from the end: nothing that is still
   * to be moved is written over */
  const move = async (from, to, by) => {
    for (let end = to; end > from;) {
      const start = Math.max(from, end - CHUNK);
      const bytes = new Uint8Array(end - start);
      for (let done = 0; done < bytes.length;) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
        if (!bytesRead) throw new Error('the temporary file shrank');
        done += bytesRead;
      }
      await write(bytes, start + by);
      end = start;
    }
  };

  /** @template T @param {() => Promise<T>} body */
  const named = (body) => body().catch((cause) => { throw notWritten(path, cause); });
  return {
    write: (bytes) => named(async () => {
      await write(bytes, size);
      size += bytes.length;
    }),
    clear: () => named(async () => {
      await handle.truncate(kept);
      size = kept;
    }),
    keep(head) {
      if (head) heads.push({ at: kept, bytes: head });
      kept = size;
    },
    finish: (header) => named(async () => {
      const inserts = [{ at: 0, bytes: header }, ...heads];
      let by = inserts.reduce((sum, { bytes }) => sum + bytes.length, 0);
      let end = size;
      for (const { at, bytes } of inserts.reverse()) {
        await move(at, end, by);
        by -= bytes.length;
        await write(bytes, at + by);
        end = at;
      }
    }),
  };
}
