/** Writes manifests of version 2, which the package only reads: FORMAT.md section 7.2. */
import { DTYPES, MODES, dtypeBytes } from '../../web/core/dtypes.js';
import { MANIFEST_KEY, formatCrc, hasPrefix, prefixOf } from '../../web/file/header_crc.js';
import { varint } from '../../web/file/write_directory.js';

const MANY = 15;
const PREFIX = prefixOf('2');

/** @param {{mode?: string, dtype?: string}} entry bytes of a weight that are not coded */
const rawBytes = ({ mode, dtype = '' }) => (mode === 'lossless' ? dtypeBytes(dtype) - 1 : 0);

/** @param {Uint32Array | Float32Array} word of one */
const bytesOf = (word) => [...new Uint8Array(word.buffer)];

/**
 * @param {import('../../web/file/manifest.js').ManifestEntry[]} entries of every tensor of the file, in its order
 * @returns {string} for buildHeader(), as the first of the metadata
 */
export function formatManifest2(entries) {
  const kinds = [];
  const tensors = [];
  const numbers = new Map();
  for (const entry of entries) {
    const { crc32c, mode, dtype = '', shape = [], step = 0, entropy_bits: entropy = 0 } = entry;
    const kind = mode === undefined ? [0] : [
      16 * MODES.indexOf(mode) + DTYPES[dtype], shape.length, ...shape.flatMap(varint)];
    const key = kind.join();
    if (!numbers.has(key)) {
      numbers.set(key, numbers.size);
      kinds.push(...kind);
    }
    const number = numbers.get(key);
    const plane = Math.min(Math.max(Math.round((entropy - 8 * rawBytes(entry)) * 512), 0), 4095);
    tensors.push(plane & 255, Math.min(number, MANY) << 4 | plane >> 8,
      ...(number < MANY ? [] : varint(number)), ...bytesOf(Uint32Array.of(crc32c)),
      ...(mode === 'grid' ? bytesOf(Float32Array.of(step)) : []));
  }
  return `200000000${toBase85([...varint(numbers.size), ...kinds, ...tensors])}`;
}

/** @param {number[]} bytes zeros are added to a multiple of four */
export function toBase85(bytes) {
  const padded = Uint8Array.from({ length: Math.ceil(bytes.length / 4) * 4 }, (_, i) => bytes[i] ?? 0);
  const view = new DataView(padded.buffer);
  let text = '';
  for (let at = 0; at < padded.length; at += 4) {
    const word = view.getUint32(at);
    for (let unit = 85 ** 4; unit >= 1; unit /= 85) {
      const digit = Math.floor(word / unit) % 85;
      text += String.fromCharCode(digit + (digit < 57 ? 35 : 36)); // neither quote nor backslash
    }
  }
  return text;
}

/** Writes the header's checksum into it. @param {Uint8Array} header @param {(b: Uint8Array) => number} crc32c */
export function stampHeader2(header, crc32c) {
  const digits = header.subarray(8 + PREFIX.length, 16 + PREFIX.length);
  if (!hasPrefix(header, PREFIX) || digits.some((digit) => digit !== 48)) {
    throw new Error(`${MANIFEST_KEY} does not stand first, or is stamped`);
  }
  digits.set(new TextEncoder().encode(formatCrc(crc32c(header))));
  return header;
}
