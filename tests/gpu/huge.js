/** Files of a few hundred bytes that say they are very large; in a page or in Node. */
import { Encoder } from '../../web/core/encoder.js';
import { varint } from '../../web/file/write_directory.js';
import { encode, open } from '../../web/hansel.js';
import { wrapBlob } from './vectors.js';

/**
 * A tensor w of equal I8 weights, 7, of any shape.
 * @param {[number, number]} shape @returns {Promise<Uint8Array>}
 */
export async function equalFile(shape) {
  const small = await encode({ w: { dtype: 'I8', shape: [2, 3], data: new Int8Array(6).fill(7) } },
    { always: true });
  const { start, end } = (await open(small)).place('w');
  const own = small.subarray(start, end);
  const codec = await Encoder.create();
  const { directoryOffset } = /** @type {import('../../web/core/codec.js').Blob} */ (codec.readHead(own));
  // FORMAT.md section 11: the shape has two numbers of a byte each.
  const bytes = [...own.subarray(0, 18), ...shape.flatMap(varint), ...own.subarray(20, directoryOffset)];
  if (bytes.length % 2) bytes.push(0);
  const blob = Uint8Array.from(bytes);
  const view = new DataView(blob.buffer);
  view.setUint16(5, blob.length, true);
  view.setUint32(8, 0, true);
  view.setUint32(8, codec.crc32c(blob), true);
  return wrapBlob(codec, blob, { dtype: 'I8', shape, mode: 'lossless', step: 0 });
}
