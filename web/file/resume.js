/** Streams of a source that, when stopped, keep what they have received for the next time. */
import { HanselError } from '../core/errors.js';

/** @typedef {(start: number, end: number, signal?: AbortSignal) =>
 *   AsyncGenerator<Uint8Array, void>} Stream */

/**
 * @param {Stream} stream
 * @returns {Stream} gives first what an earlier stream of the same range had received when it was
 *   stopped, and then asks for the rest; forgets it when the file has changed
 */
export function keepStopped(stream) {
  /** By range, what was received of it. @type {Map<string, Uint8Array[]>} */
  const stopped = new Map();
  return async function* resumed(start, end, signal) {
    const range = `${start} ${end}`;
    const chunks = stopped.get(range) ?? [];
    stopped.delete(range); // two streams at a time do not share
    let at = start;
    let isWanted = true;
    try {
      for (const chunk of chunks) {
        at += chunk.length;
        yield chunk;
      }
      // The consumer may have stopped amid the kept ones: they are all still in chunks.
      if (at < end) {
        for await (const chunk of stream(at, end, signal)) {
          chunks.push(chunk);
          at += chunk.length;
          yield chunk;
        }
      }
      isWanted = false;
    } catch (error) {
      const { code } = error instanceof HanselError ? error : { code: '' };
      if (code === 'HANSEL_ERR_CHANGED') isWanted = false;
      throw error;
    } finally {
      if (isWanted && chunks.length) stopped.set(range, chunks);
    }
  };
}
