/** Files of a few hundred bytes that say they are very large; in a page or in Node. */
import { Encoder } from '../../web/core/encoder.js';
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
  const blob = small.slice(start, end);
  const view = new DataView(blob.buffer);
  shape.forEach((size, i) => view.setBigUint64(56 + 8 * i, BigInt(size), true)); // FORMAT.md 2
  view.setUint32(12, 0, true);
  const codec = await Encoder.create();
  view.setUint32(12, codec.crc32c(blob.subarray(0, view.getUint32(8, true))), true);
  return wrapBlob(codec, blob, { dtype: 'I8', shape, mode: 'lossless', step: 0 });
}
