/** Files of version 4 with records of every kind, whose parts are noise, and files spoilt on purpose. */
import { PREFIX } from '../../web/file/directory.js';
import { formatCrc } from '../../web/file/header_crc.js';
import { DEFLATED, GRID, LOSSLESS, PLANES, STORED } from '../../web/file/records.js';
import { byteSize, parseHeader } from '../../web/file/safetensors.js';
import { writeDirectory } from '../../web/file/write_directory.js';
import { buildHeader } from '../../web/file/write_header.js';

const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  for (let k = 0; k < 8; k++) i = i & 1 ? i >>> 1 ^ 0x82f63b78 : i >>> 1;
  return i;
});
export const crc32c = (bytes) => ~bytes.reduce((crc, b) => crc >>> 8 ^ TABLE[(crc ^ b) & 255], ~0) >>> 0;

const matrix = (...blobs) => ({ blobs, entropy: 512 + blobs.length });
/** Nibbles, two a byte. @param {number} bitOffset */
const nibbles = (bitOffset, items = 2) => ({ bitOffset, itemBits: 4, items, dtype: 'U8', width: 4 });

/** A tensor's dtype, shape and record; qweight and qzeros are GPTQ's, of 32 columns, 16 rows, groups of 16. */
export const TENSORS = () => ({
  'stored': ['F32', [3], { kind: STORED, crc32c: 0x89abcdef }],
  'deflated': ['U8', [2000], { kind: DEFLATED, bytes: 9, crc32c: 5 }],
  'qweight': ['I32', [4, 16], { kind: PLANES, blockBytes: 1, planes: [{ ...nibbles(0),
    base: { tensor: 'qzeros', plane: 0, columns: 16, depth: 8, group: 16, pitch: 16 },
    matrix: matrix(70) }] }],
  'grid': ['BF16', [24, 20], { kind: GRID, step: 0.25, matrix: matrix(100) }],
  'classes': ['F32', [6, 4], { kind: LOSSLESS, matrix: matrix(20, 30, 40, 50) }],
  'qzeros': ['I32', [2, 2], { kind: PLANES, blockBytes: 1, planes: [{ ...nibbles(0), matrix: matrix(33) }] }],
  'q4': ['U8', [5, 36], { kind: PLANES, blockBytes: 36, planes: [
    { bitOffset: 16, itemBits: 144, items: 2, dtype: 'F16', width: 16, matrix: matrix(21) },
    { bitOffset: 0, itemBits: 144, items: 2, dtype: 'U8', width: 8, matrix: matrix(5, 6, 7) },
    { bitOffset: 8, itemBits: 144, items: 2, dtype: 'U8', width: 8, matrix: matrix(8) },
    { ...nibbles(32, 28), matrix: matrix(300) }, { ...nibbles(176, 28), matrix: matrix(1) }] }],
  'none': ['F16', [0, 7], { kind: STORED, crc32c: 0 }],
  'one class': ['F32', [2 ** 10, 2 ** 10], { kind: LOSSLESS, matrix: matrix(2 ** 14) }],
});

/**
 * @param {Record<string, any[]>} tensors as TENSORS()
 * @param {Uint8Array} [parts] noise of the right size by default
 */
export function fileOf(tensors, parts) {
  const all = Object.entries(tensors);
  const header = buildHeader(all.map(([name, [dtype, shape]]) => (
    [name, { dtype, shape, bytes: byteSize(dtype, shape, name) }])), [['format', 'pt']]);
  const records = new Map(all.map(([name, [,, record]]) => [name, record]));
  const { start, bytes } = writeDirectory(header, records, crc32c);
  const rest = parts ?? new Uint8Array(bytes - start.length).map((_, i) => i * i % 251);
  return new Uint8Array(Buffer.concat([start, rest]));
}

/** @param {Uint8Array} file @returns {{directory: Uint8Array, parts: Uint8Array}} */
export function taken(file) {
  const { length } = headerOf(file);
  const bytes = Number(/"4\w{8}(\d+)"/.exec(Buffer.from(file.subarray(8, length)).toString('latin1'))[1]);
  return { directory: file.subarray(length, length + bytes), parts: file.subarray(length + bytes) };
}

/** @param {Uint8Array} file */
const headerOf = (file) => file.subarray(0, 8 + new DataView(file.buffer, file.byteOffset).getUint32(0, true));

/**
 * A file of a directory, its checksums right.
 * @param {Uint8Array} directory its first four bytes are overwritten @param {Uint8Array} parts
 * @param {string} [digits] the directory's bytes, as the header tells them
 */
export function wrapped(directory, parts, digits = String(directory.length)) {
  const bytes = directory.length + parts.length;
  const header = buildHeader([['hansel', { dtype: 'U8', shape: [bytes], bytes }]],
    [['hansel', `400000000${digits}`]], { alignment: 8 });
  header.set(Buffer.from(formatCrc(crc32c(header))), 8 + PREFIX.length);
  if (directory.length >= 4) {
    new DataView(directory.buffer, directory.byteOffset).setUint32(0, crc32c(directory.subarray(4)), true);
  }
  return new Uint8Array(Buffer.concat([header, directory, parts]));
}

/** A plain file. @param {string} json @param {number} bytes of data, which are noise */
export function plainFile(json, bytes) {
  const text = new TextEncoder().encode(json);
  const file = new Uint8Array(8 + text.length + bytes);
  new DataView(file.buffer).setUint32(0, text.length, true);
  file.set(text, 8);
  file.set(new Uint8Array(bytes).map((_, i) => i * i % 241 + i % 3), 8 + text.length);
  parseHeader(file.slice(0, 8 + text.length)); // which throws
  return file;
}
