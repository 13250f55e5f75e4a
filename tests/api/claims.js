/** Files of a few hundred bytes that claim a tensor of any size: sound in all that open() reads. */
import { Codec } from '../../web/core/codec.js';
import { varint } from '../../web/file/write_directory.js';
import { encode, open } from '../../web/hansel.js';
import { wrapping } from '../gpu/vectors.js';

const [HEAD_BYTES, HEAD_CRC, FIELDS] = [5, 8, 18]; // src/format.h

/**
 * @param {[number, number]} shape the columns a multiple of 4 @param {boolean} isEqual all weights
 *   are equal, and nothing follows; else each row is a stream, whose words are missing
 * @returns {Promise<{start: Uint8Array, size: number}>} the first bytes of a file with an I8 tensor
 *   w, all of them if isEqual, and the size that the file must have
 */
export async function claim([rows, columns], isEqual) {
  const data = Int8Array.from({ length: isEqual ? 8 : columns }, (_, i) => (isEqual ? 5 : i & 1));
  const small = await open(await encode({ w: { dtype: 'I8', shape: [1, data.length], data } },
    { always: true }));
  const { blob, head: own } = await small.headOf('w');
  if (isEqual !== (blob.streamCount === 0)) throw new Error(`${blob.streamCount} streams`);
  const rest = own.subarray(FIELDS + blob.shape.flatMap(varint).length, blob.directoryOffset);
  const fields = [...own.subarray(0, FIELDS), ...varint(rows), ...varint(columns), ...rest];
  if (fields.length % 2) fields.push(0);
  const head = Uint8Array.from(fields);
  const view = new DataView(head.buffer);
  view.setUint16(HEAD_BYTES, head.length, true);
  const bytes = head.length + 2 * blob.wordCount * rows;
  view.setUint32(HEAD_CRC, 0, true);
  const codec = await Codec.create();
  view.setUint32(HEAD_CRC, codec.crc32c(head), true);
  const before = wrapping(codec, bytes, { mode: 'lossless', dtype: 'I8', shape: [rows, columns] });
  return { start: Buffer.concat([before, head]), size: before.length + bytes };
}
