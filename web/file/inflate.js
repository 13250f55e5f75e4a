/** Raw DEFLATE of untrusted bytes, by the engine. */
import { HanselError } from '../core/errors.js';

/** Bytes given at a time: they become a thousand times as many, at most, before anyone looks. */
const PIECE = 1024;

/**
 * @param {Uint8Array} bytes not modified
 * @param {number} most
 * @returns {Promise<Uint8Array<ArrayBuffer>>} what they inflate to, `most` bytes or fewer
 * @throws {HanselError} HANSEL_ERR_CORRUPT
 */
export async function inflate(bytes, most) {
  try {
    // Node's streams take half a millisecond, whatever they are given.
    const { process } = /** @type {any} */ (globalThis);
    const zlib = process?.getBuiltinModule?.('zlib');
    return zlib ? inflateAtOnce(zlib, bytes, most) : await inflatePieces(bytes, most);
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_CORRUPT', 'deflated bytes are damaged', {
      got: /** @type {Error} */ (cause).message, cause,
    });
  }
}

/** @param {any} zlib Node's @param {Uint8Array} bytes @param {number} most
 * @returns {Uint8Array<ArrayBuffer>} */
function inflateAtOnce(zlib, bytes, most) {
  const { buffer, engine } = /** @type {any} */ (
    zlib.inflateRawSync(bytes, { maxOutputLength: Math.max(most, 1), info: true }));
  if (engine.bytesWritten < bytes.length) throw new Error('something follows them');
  if (buffer.length > most) throw new Error(`more than ${most} bytes`);
  return new Uint8Array(buffer);
}

/** @param {Uint8Array} bytes @param {number} most @returns {Promise<Uint8Array<ArrayBuffer>>} */
async function inflatePieces(bytes, most) {
  let at = 0;
  const pieces = new ReadableStream({
    pull(controller) {
      if (at < bytes.length) controller.enqueue(bytes.slice(at, at += PIECE));
      else controller.close();
    },
  });
  const reader = pieces.pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  /** @type {Uint8Array[]} */
  const chunks = [];
  let size = 0;
  try {
    for (let next; !(next = await reader.read()).done;) {
      chunks.push(next.value);
      size += next.value.length;
      if (size > most) throw new Error(`more than ${most} bytes`);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
  const out = new Uint8Array(size);
  let filled = 0;
  for (const chunk of chunks) {
    out.set(chunk, filled);
    filled += chunk.length;
  }
  return out;
}
