/** Files of version 4: a plain file's header, deflated, and where its tensors' parts are (FORMAT.md
 * section 7). */
import { HanselError } from '../core/errors.js';
import { MANIFEST_KEY, checkHeaderCrc, formatCrc, malformed, prefixOf } from './header_crc.js';
import { inflate } from './inflate.js';
import {
  Cursor, ENTROPY_UNIT, GRID, DEFLATED, INFLATE_MORE, INFLATE_RATIO, PLANES, matricesOf, partsOf,
  readRecords,
} from './records.js';
import {
  HEADER_CAP, METADATA, dtypeBits, headerText, parseHeader, parseText, sizeOf,
} from './safetensors.js';

/** @typedef {import('./records.js').TensorRecord} TensorRecord */
/** @typedef {import('./safetensors.js').Header} Header */
/** @typedef {import('./source.js').Source} Source */

/**
 * @typedef {object} PartsPlace where a tensor is, as others see it; and as it is
 * @property {Source} source of a deflated tensor: one that inflates it
 * @property {number} start @property {number} end
 * @property {number | null} crc null of blobs, which bring their own
 * @property {{start: number, end: number}[]} parts in the file
 * @property {TensorRecord} record
 */

/** What a header of this version begins with, up to its checksum. */
export const PREFIX = prefixOf('4');
/** Stands for data_offsets that go on where the tensor before ends. */
export const STAND_IN = '\x01';
/** The same, as JSON. */
export const NO_OFFSETS = '"data_offsets":null';
/** @param {number} begin @param {number} end */
export const offsetsText = (begin, end) => `"data_offsets":[${begin},${end}]`;

/**
 * Reads the directory, and checks all that it says.
 * @param {Header} header of the file @param {import('./manifest.js').Crc32c} crc32c
 * @param {Source} source @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<import('./manifest.js').Manifest>}
 * @throws {HanselError} HANSEL_ERR_CHECKSUM, _MANIFEST, _CORRUPT, _SAFETENSORS; what the source throws
 */
export async function readDirectory(header, crc32c, source, options) {
  const { metadata, tensors, headerBytes, dataStart } = header;
  const text = metadata.get(MANIFEST_KEY) ?? '';
  checkHeaderCrc(headerBytes, PREFIX, text.slice(1, 9), crc32c);
  const digits = text.slice(9);
  const stored = tensors.get(MANIFEST_KEY);
  if (!/^[1-9]\d*$/.test(digits) || metadata.size + tensors.size > 2
      || stored?.dtype !== 'U8' || stored.shape.length !== 1
      || Number(digits) > Math.min(stored.end - dataStart, HEADER_CAP)) {
    throw malformed('no directory', 'one tensor of U8 that begins with it', digits);
  }
  const partsStart = dataStart + Number(digits);
  const bytes = await source.read(dataStart, partsStart, options);
  const cursor = new Cursor(bytes, 0);
  const [expected, got] = [cursor.word(), crc32c(bytes.subarray(4))];
  if (expected !== got) {
    throw new HanselError('HANSEL_ERR_CHECKSUM', 'the directory is damaged', {
      expected: formatCrc(expected), got: formatCrc(got), where: 'directory',
    });
  }
  const original = parseHeader(await readOriginal(cursor));
  const records = readRecords(cursor, original.tensors);
  /** @type {import('./manifest.js').Manifest['tensors']} */
  const entries = new Map();
  let at = partsStart;
  for (const [name, entry] of original.tensors) {
    const record = /** @type {TensorRecord} */ (records.get(name));
    const size = entry.end - entry.start;
    const start = at;
    const parts = partsOf(record, size).map((part) => ({ start: at, end: at += part }));
    const crc = 'crc32c' in record ? record.crc32c : null;
    entries.set(name, {
      ...describe(record, entry), bytes: at - start, place: {
        ...record.kind === DEFLATED ? { source: inflating(source, start, at, size), start: 0, end: size }
          : { source, start, end: at }, crc, parts, record,
      },
    });
  }
  if (at !== source.size) {
    throw malformed('the tensors\' parts do not fill the file', `${source.size} bytes`, `${at}`);
  }
  return { version: 4, tensors: entries, header: original };
}

/** @param {Cursor} cursor at the directory's first number
 * @returns {Promise<Uint8Array>} the plain file's header */
async function readOriginal(cursor) {
  const [bytes, deflatedBytes] = [cursor.number(), cursor.number()];
  const most = Math.min(HEADER_CAP, INFLATE_RATIO * deflatedBytes + INFLATE_MORE);
  if (bytes > most) throw malformed('the header is too long', `at most ${most} bytes`, `${bytes}`);
  const short = await inflate(cursor.some(deflatedBytes), bytes);
  // Each stand-in stands for more than NO_OFFSETS.
  const least = short.reduce((sum, byte) => sum + (byte === 1 ? NO_OFFSETS.length : 1), 0);
  const header = least > bytes ? undefined : withLength(
    new TextEncoder().encode(restored(headerText(withLength(short)))));
  if (header?.length !== 8 + bytes) {
    throw malformed('the header has another length', `${bytes} bytes`, header && `${header.length - 8}`);
  }
  return header;
}

/** @param {Uint8Array} text @returns {Uint8Array} its length before it */
function withLength(text) {
  const bytes = new Uint8Array(8 + text.length);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 8);
  return bytes;
}

/** Offsets in place of what stands for them; what is wrong with the text is left in it.
 * @param {string} short */
function restored(short) {
  /** @type {string[]} */
  const offsets = [];
  let end = 0;
  let done = 0;
  for (const [name, entry] of parseText(short.replaceAll(STAND_IN, NO_OFFSETS))) {
    if (name === METADATA || !(entry instanceof Map)) continue;
    let own = /** @type {any} */ (entry.get('data_offsets'));
    if (own === null) {
      own = [end, end + sizeOf(name, entry)];
      offsets.push(offsetsText(own[0], own[1]));
    }
    end = Number(own?.[1]);
  }
  return short.replaceAll(STAND_IN, () => `${offsets[done++]}`);
}

/** @param {TensorRecord} record @param {import('./safetensors.js').TensorEntry} entry */
function describe(record, { dtype, shape }) {
  const matrices = matricesOf(record);
  if (!matrices.length) return {};
  const shares = record.kind === PLANES
    ? record.planes.map(({ items }) => items / record.blockBytes * dtypeBits(dtype) / 8) : [1];
  return {
    mode: record.kind === GRID ? 'grid' : 'lossless', dtype, shape,
    step: record.kind === GRID ? record.step : 0,
    entropy_bits: matrices.reduce((sum, { entropy }, i) => sum + shares[i] * entropy / ENTROPY_UNIT, 0),
  };
}

/** A deflated tensor as a source of its own. @param {Source} source @param {number} start
 * @param {number} end @param {number} size @returns {Source} */
function inflating(source, start, end, size) {
  const read = async (/** @type {number} */ from, /** @type {number} */ to,
    /** @type {{signal?: AbortSignal}} */ options = {}) => {
    const bytes = await inflate(await source.read(start, end, options), size);
    if (bytes.length === size) return bytes.subarray(from, to);
    throw new HanselError('HANSEL_ERR_CORRUPT', 'deflated bytes are too few', {
      expected: size, got: bytes.length,
    });
  };
  return { ...source, size, read, async* stream(from, to, options) { yield await read(from, to, options); } };
}
