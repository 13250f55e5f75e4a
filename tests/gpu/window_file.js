/** Blobs of version 4 in windows that the encoder might not choose: those of bytes, in another head. */
import { Encoder } from '../../web/core/encoder.js';
import { DTYPES } from '../../web/core/dtypes.js';
import { varint } from '../../web/file/write_directory.js';
import { codeTensor } from '../api/code_tensor.js';
import { wrapBlob } from './vectors.js';

const [HEAD_BYTES, HEAD_CRC, PAYLOAD_CRC, KIND, RANK, SHAPE] = [4, 8, 12, 16, 17, 18]; // src/format.h
const [VERSION, LOSSLESS] = [4, 16];

/** Numbers of so many bits, the lowest first. @param {Uint32Array} values @param {number} bits */
function packed(values, bits) {
  const bytes = new Uint8Array(Math.ceil(values.length * bits / 8));
  values.forEach((value, i) => {
    for (let k = 0; k < bits; k++) {
      const at = i * bits + k;
      bytes[at >> 3] |= (value >> k & 1) << (at & 7);
    }
  });
  return bytes;
}

/**
 * @param {import('./windows_cases.js').Window} c @param {Uint8Array} symbols @param {Uint32Array} raw
 * @param {number} rawBits
 * @returns {Promise<Uint8Array>} a Hansel file with a tensor w
 */
export async function windowFile({ dtype, shape, mantissaBits, sign, windowBase }, symbols, raw, rawBits) {
  const codec = await Encoder.create();
  const coded = await codeTensor(codec, { dtype: 'U8', shape, data: symbols },
    { streamLength: 256, weightsPerSymbol: 1 }, true);
  const { head, parts } = /** @type {NonNullable<typeof coded>} */ (coded);
  const blob = /** @type {import('../../web/core/codec.js').Blob} */ (codec.readHead(head));
  const shapeEnd = SHAPE + shape.flatMap(varint).length;
  const end = blob.directoryOffset + Math.ceil(blob.streamCount * blob.lengthBits / 8);
  const fields = [...head.subarray(0, shapeEnd), mantissaBits + 16 * sign, ...varint(windowBase),
    ...head.subarray(shapeEnd, end)];
  if (fields.length % 2) fields.push(0);
  const words = parts.flatMap((part) => [...part]);
  const bytes = Uint8Array.from([...fields, ...words, ...packed(raw, rawBits)]);
  const view = new DataView(bytes.buffer);
  bytes[KIND] = DTYPES[dtype] + LOSSLESS;
  view.setUint32(HEAD_BYTES, VERSION + 256 * fields.length, true);
  view.setUint32(PAYLOAD_CRC, codec.crc32c(bytes.subarray(fields.length)), true);
  view.setUint32(HEAD_CRC, 0, true);
  view.setUint32(HEAD_CRC, codec.crc32c(bytes.subarray(0, fields.length)), true);
  if (bytes[RANK] !== shape.length) throw new Error('the head is not of that shape');
  return wrapBlob(codec, bytes, /** @type {typeof blob} */ (codec.readHead(bytes)));
}
