/** Headers of safetensors files, written canonically, and the Hansel manifest in them. */
import { DTYPES, MODES } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { formatCrc, hasPrefix } from './header_crc.js';
import { hasLoneSurrogate, quote } from './json.js';
import { DIGITS_AT, MANY, PLACEHOLDER, PREFIX, VERSION, rawBytes } from './manifest.js';
import { HEADER_CAP, METADATA, byteSize, isCount } from './safetensors.js';

/** @typedef {import('./manifest.js').ManifestEntry} ManifestEntry */
/** @typedef {import('./manifest.js').Crc32c} Crc32c */

/**
 * Lays out a header; the tensors' bytes follow it in the given order.
 * @param {Iterable<[string, { dtype: string, shape: readonly number[], bytes: number }]>} tensors
 *   in file order; bytes is each tensor's size in bytes
 * @param {Iterable<[string, string]>} [metadata] a Map or pairs, kept in order, written first
 * @param {{ alignment?: number, reserve?: number }} [options] the result's length is a multiple of
 *   alignment and at least reserve
 * @returns {Uint8Array} 8-byte length, JSON, padding
 * @throws {HanselError} HANSEL_ERR_ARGUMENT for what no reader would accept
 */
export function buildHeader(tensors, metadata = [], { alignment = 16, reserve = 0 } = {}) {
  if (!isCount(alignment) || alignment === 0 || !isCount(reserve)) {
    throw badArgument('alignment and reserve must be whole numbers', `${alignment}, ${reserve}`);
  }
  /** @type {Map<string, string>} */
  const strings = new Map();
  for (const [key, value] of metadata) {
    if (strings.has(checkString(key))) throw badArgument('duplicate metadata key', quote(key));
    strings.set(key, checkString(value));
  }
  /** @type {Map<string, string>} */
  const members = new Map();
  if (strings.size > 0) {
    const pairs = [...strings].map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`);
    members.set(METADATA, `{${pairs.join(',')}}`);
  }
  let begin = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    if (checkString(name) === METADATA || members.has(name)) {
      throw badArgument('reserved or duplicate tensor name', quote(name));
    }
    const needed = byteSize(dtype, shape, name);
    const end = begin + needed;
    if (bytes !== needed || !isCount(end)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'shape and size disagree', {
        expected: `${needed} bytes`, got: bytes, where: name,
      });
    }
    const dims = JSON.stringify(shape);
    members.set(name, `{"dtype":"${dtype}","shape":${dims},"data_offsets":[${begin},${end}]}`);
    begin = end;
  }
  const json = [...members].map(([name, value]) => `${JSON.stringify(name)}:${value}`);
  const text = new TextEncoder().encode(`{${json.join(',')}}`);
  const total = Math.ceil(Math.max(8 + text.length, reserve) / alignment) * alignment;
  if (total - 8 > HEADER_CAP) throw badArgument('header too long', `${total} bytes`);
  const out = new Uint8Array(total).fill(0x20, 8);
  new DataView(out.buffer).setUint32(0, total - 8, true);
  out.set(text, 8);
  return out;
}

/**
 * The manifest's text, with a placeholder for the header's checksum. It must become the first
 * metadata pair given to buildHeader; stampHeader then fills in the checksum.
 * @param {ManifestEntry[]} entries of every tensor of the file, in its order
 * @returns {string} FORMAT.md section 7
 */
export function formatManifest(entries) {
  /** @type {number[]} */
  const kinds = [];
  /** @type {number[]} */
  const tensors = [];
  /** By what is the same. @type {Map<string, number>} */
  const numbers = new Map();
  for (const entry of entries) {
    const { crc32c, mode, dtype = '', shape = [], step = 0, entropy_bits: entropy = 0 } = entry;
    const kind = mode === undefined ? [0] : [
      16 * MODES.indexOf(mode) + DTYPES[/** @type {'F32'} */ (dtype)], shape.length,
      ...shape.flatMap(varint)];
    const key = kind.join();
    if (!numbers.has(key)) {
      numbers.set(key, numbers.size);
      kinds.push(...kind);
    }
    const number = numbers.get(key) ?? 0;
    const plane = Math.min(Math.max(Math.round((entropy - 8 * rawBytes(entry)) * 512), 0), 4095);
    tensors.push(plane & 255, Math.min(number, MANY) << 4 | plane >> 8,
      ...(number < MANY ? [] : varint(number)), ...bytesOf(Uint32Array.of(crc32c)),
      ...(mode === 'grid' ? bytesOf(Float32Array.of(step)) : []));
  }
  return VERSION + PLACEHOLDER + toBase85([...varint(numbers.size), ...kinds, ...tensors]);
}

/** @param {number} n @returns {number[]} seven bits a byte, the lowest first */
const varint = (n) => (n < 128 ? [n] : [n % 128 + 128, ...varint(Math.floor(n / 128))]);

/** @param {Uint32Array | Float32Array} word of one */
const bytesOf = (word) => [...new Uint8Array(word.buffer)];

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

/**
 * Writes the header's own checksum into it, in place.
 * @param {Uint8Array} headerBytes from buildHeader, with a manifest from formatManifest first;
 *   modified, not retained
 * @param {Crc32c} crc32c
 * @returns {Uint8Array} headerBytes
 * @throws {HanselError} HANSEL_ERR_ARGUMENT when the placeholder is not where it must be
 */
export function stampHeader(headerBytes, crc32c) {
  const digits = headerBytes.subarray(DIGITS_AT, DIGITS_AT + 8);
  if (!hasPrefix(headerBytes, PREFIX) || digits.some((digit) => digit !== 48)) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'no manifest placeholder at the header\'s start');
  }
  digits.set(new TextEncoder().encode(formatCrc(crc32c(headerBytes))));
  return headerBytes;
}

/** @param {string} text */
function checkString(text) {
  if (typeof text !== 'string' || hasLoneSurrogate(text)) {
    throw badArgument('names and metadata must be well-formed strings', quote(text));
  }
  return text;
}

/** @param {string} message @param {string} got */
const badArgument = (message, got) => new HanselError('HANSEL_ERR_ARGUMENT', message, { got });
