/** A coded tensor's bytes for those who bring their own decoder. */
import { ByteReader } from '../file/byte_reader.js';
import { checkCrc, locate } from './model.js';

/**
 * Model.payload().
 * @param {import('./model.js').Model} model @param {string} name @param {AbortSignal} [signal]
 */
export async function readPayload(model, name, signal) {
  const { source, start, end } = model.place(name);
  const reader = new ByteReader(source.stream(start, end, { signal }));
  try {
    const { blob, head } = await model.readHead(name, reader);
    const chunks = payloadChunks(model, name, blob, reader);
    return { blob, cursors: model.codec.readCursors(blob, head), chunks };
  } catch (error) {
    await reader.close();
    throw locate(error, name);
  }
}

/**
 * @param {import('./model.js').Model} model @param {string} name
 * @param {import('../core/codec.js').Blob} blob @param {ByteReader} reader
 */
async function* payloadChunks({ codec }, name, blob, reader) {
  let crc = 0;
  let left = blob.blobBytes - blob.headBytes;
  try {
    while (left > 0) {
      const chunk = await reader.some(left);
      crc = codec.crc32c(chunk, crc);
      left -= chunk.length;
      yield chunk;
    }
    checkCrc(blob.payloadCrc, crc);
  } catch (error) {
    throw locate(error, name);
  } finally {
    await reader.close();
  }
}
