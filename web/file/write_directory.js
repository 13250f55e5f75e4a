/** Writes what precedes the parts in a file of version 4: header and directory (FORMAT.md section 7). */
import { DTYPES } from '../core/dtypes.js';
import { deflate } from './deflate.js';
import { NO_OFFSETS, PREFIX, STAND_IN, offsetsText } from './directory.js';
import { MANIFEST_KEY, formatCrc } from './header_crc.js';
import { GRID, PLANES, partsOf } from './records.js';
import { headerText, parseHeader, parseText } from './safetensors.js';
import { buildHeader } from './write_header.js';

/** @typedef {import('./records.js').TensorRecord} TensorRecord */

/** Stands in for the header's checksum while that is computed. */
const PLACEHOLDER = '00000000';

/** @param {number} n @returns {number[]} seven bits a byte, the lowest first */
export const varint = (n) => (n < 128 ? [n] : [n % 128 + 128, ...varint(Math.floor(n / 128))]);

/** @param {number} n @returns {number[]} its four bytes */
const word = (n) => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];

/** @param {number} value @returns {number[]} the bytes of an F32 */
const float = (value) => [...new Uint8Array(Float32Array.of(value).buffer)];

/**
 * @param {Uint8Array} headerBytes of the plain file: length, JSON and padding
 * @param {Map<string, TensorRecord>} records of all its tensors
 * @param {import('./manifest.js').Crc32c} crc32c
 * @returns {{start: Uint8Array, bytes: number}} what the tensors' parts follow, in the order of the
 *   header; bytes of the whole file
 */
export function writeDirectory(headerBytes, records, crc32c) {
  const { tensors } = parseHeader(headerBytes);
  const numbers = new Map([...tensors.keys()].map((name, i) => [name, i]));
  const deflated = shortHeader(headerBytes);
  const told = [...varint(headerBytes.length - 8), ...varint(deflated.length)];
  const recorded = [];
  let bytes = 0;
  for (const [name, { start, end }] of tensors) {
    const record = /** @type {TensorRecord} */ (records.get(name));
    recorded.push(...recordBytes(record, numbers));
    for (const part of partsOf(record, end - start)) bytes += part;
  }
  const directory = new Uint8Array(4 + told.length + deflated.length + recorded.length);
  directory.set(told, 4);
  directory.set(deflated, 4 + told.length);
  directory.set(recorded, directory.length - recorded.length);
  directory.set(word(crc32c(directory.subarray(4))));
  bytes += directory.length;
  const header = buildHeader([[MANIFEST_KEY, { dtype: 'U8', shape: [bytes], bytes }]],
    [[MANIFEST_KEY, `4${PLACEHOLDER}${directory.length}`]], { alignment: 8 });
  header.set(new TextEncoder().encode(formatCrc(crc32c(header))), 8 + PREFIX.length);
  const start = new Uint8Array(header.length + directory.length);
  start.set(header);
  start.set(directory, header.length);
  return { start, bytes: header.length + bytes };
}

/**
 * A plain file's header as a directory holds it.
 * @param {Uint8Array} headerBytes length, JSON and padding @returns {Uint8Array}
 */
export function shortHeader(headerBytes) {
  const { tensors, dataStart } = parseHeader(headerBytes);
  const text = headerText(headerBytes);
  const pattern = /"data_offsets":\[\d+,\d+\]/g;
  const marked = parseText(text.replace(pattern, NO_OFFSETS));
  /** What each place that matches must be, to go on where the tensor before ends. @type {string[]} */
  const expected = [];
  let before = dataStart;
  for (const [name, { start, end }] of tensors) {
    const entry = /** @type {Map<string, unknown>} */ (marked.get(name));
    if (entry.get('data_offsets') === null) {
      expected.push(offsetsText(before - dataStart, before - dataStart + end - start));
    }
    before = end;
  }
  let done = 0;
  return deflate(new TextEncoder().encode(
    text.replace(pattern, (found) => (found === expected[done++] ? STAND_IN : found))));
}

/** @param {TensorRecord} record @param {Map<string, number>} numbers of tensors @returns {number[]} */
function recordBytes(record, numbers) {
  const { kind } = record;
  if ('crc32c' in record) {
    return [kind, ...('bytes' in record ? varint(record.bytes) : []), ...word(record.crc32c)];
  }
  if (kind !== PLANES) {
    return [kind, ...(kind === GRID ? float(record.step) : []), ...matrixBytes(record.matrix)];
  }
  return [kind, ...varint(record.blockBytes), ...varint(record.planes.length),
    ...record.planes.flatMap(({ bitOffset, itemBits, items, dtype, width, base, matrix }) => [
      ...[bitOffset, itemBits, items].flatMap(varint), DTYPES[dtype], ...(dtype === 'U8' ? [width] : []),
      ...(base ? [1, ...[numbers.get(base.tensor) ?? numbers.size, base.plane, base.columns, base.depth,
        base.group, base.pitch].flatMap(varint)] : [0]), ...matrixBytes(matrix)])];
}

/** @param {import('./records.js').Matrix} matrix */
const matrixBytes = ({ blobs, entropy }) => (
  [...varint(blobs.length - 1 || 1), ...[...blobs, entropy].flatMap(varint)]);
