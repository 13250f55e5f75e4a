/**
 * The safetensors container, read strictly (web/file/write_header.js writes it): 8 bytes of little-endian
 * header length, a JSON header padded with spaces, then the tensors' bytes without holes.
 * Everything read here is untrusted: names become keys of Maps, never of plain objects.
 */
import { HanselError } from '../core/errors.js';
import { parseJson, quote } from './json.js';

/** Longest JSON header, in bytes, that safetensors allows. */
export const HEADER_CAP = 100_000_000;

/** The key of the metadata. */
export const METADATA = '__metadata__';
const CODE = 'HANSEL_ERR_SAFETENSORS';

/** Bits per element of every dtype that the safetensors crate knows. */
const DTYPE_BITS = new Map(Object.entries({
  F4: 4, F6_E2M3: 6, F6_E3M2: 6,
  BOOL: 8, U8: 8, I8: 8,
  F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8,
  I16: 16, U16: 16, F16: 16, BF16: 16,
  I32: 32, U32: 32, F32: 32,
  I64: 64, U64: 64, F64: 64, C64: 64,
}));

/**
 * @typedef {object} TensorEntry
 * @property {string} dtype
 * @property {number[]} shape
 * @property {number} start first byte, counted from the start of the file
 * @property {number} end one past the last byte, likewise
 */

/**
 * @typedef {object} Header
 * @property {Map<string, string>} metadata `__metadata__`, in file order; empty when absent
 * @property {Map<string, TensorEntry>} tensors in the order of the header
 * @property {Uint8Array} headerBytes length, JSON and padding, as in the file; may be a view
 * @property {number} dataStart where the tensors begin: headerBytes.length
 * @property {number} end where they end
 */

/** @typedef {import('./json.js').JsonValue} JsonValue */

/**
 * Bits that one element takes.
 * @param {string} dtype as safetensors spells it, for example 'BF16'
 * @param {string} [where] the tensor's name, for the error
 * @returns {number} 4 to 64
 * @throws {HanselError} HANSEL_ERR_SAFETENSORS for an unknown dtype
 */
export function dtypeBits(dtype, where) {
  const bits = DTYPE_BITS.get(dtype);
  if (bits === undefined) {
    throw new HanselError(CODE, 'unknown dtype', { got: quote(dtype), where });
  }
  return bits;
}

/**
 * Product of the dimensions; 1 for a scalar's empty shape.
 * @param {readonly number[]} shape
 * @param {string} [where] the tensor's name, for the error
 * @returns {number} at most 2^53 - 1
 * @throws {HanselError} HANSEL_ERR_SAFETENSORS for a bad dimension or a larger product
 */
export function elementCount(shape, where) {
  let count = 1;
  for (const extent of shape) {
    if (!isCount(extent)) {
      throw new HanselError(CODE, 'bad dimension', { got: quote(extent), where });
    }
    count *= extent;
    // A rounded product exceeds 2^53 as well, so this catches every overflow.
    if (!isCount(count)) {
      throw new HanselError(CODE, 'too many elements', {
        expected: 'at most 2^53 - 1', got: `shape [${shape}]`, where,
      });
    }
  }
  return count;
}

/**
 * Reads and checks the whole header of a safetensors file; reads no tensor.
 * @param {{ size: number, read: (start: number, end: number,
 *   options?: { signal?: AbortSignal }) => Promise<Uint8Array> }} source
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<Header>}
 * @throws {HanselError} HANSEL_ERR_TRUNCATED when the file is too short, HANSEL_ERR_TRAILING when
 *   bytes follow the last tensor, HANSEL_ERR_SAFETENSORS for every other violation, and whatever
 *   source.read throws
 */
export async function readHeader(source, { signal } = {}) {
  const { size } = source;
  if (size < 8) throw truncated('no room for the header length', 8, size);
  const prefix = await source.read(0, 8, { signal });
  const view = new DataView(prefix.buffer, prefix.byteOffset, 8);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  if (length > HEADER_CAP) {
    throw new HanselError(CODE, 'header too long', {
      expected: `at most ${HEADER_CAP} bytes`, got: `${view.getBigUint64(0, true)}`,
    });
  }
  const dataStart = 8 + length;
  if (dataStart > size) throw truncated('the header is cut off', dataStart, size);

  const header = parseHeader(await source.read(0, dataStart, { signal }));
  const { end } = header;
  if (end > size) throw truncated('tensors reach beyond the end of the file', end, size);
  if (end < size) {
    throw new HanselError('HANSEL_ERR_TRAILING', 'bytes follow the last tensor', {
      expected: `${end} bytes`, got: size,
    });
  }
  return header;
}

/**
 * A header that is whole.
 * @param {Uint8Array} headerBytes length, which is not looked at, JSON and padding; retained
 * @returns {Header}
 * @throws {HanselError} HANSEL_ERR_SAFETENSORS
 */
export function parseHeader(headerBytes) {
  const dataStart = headerBytes.length;
  const root = parseText(headerText(headerBytes));
  const metadata = readMetadata(root.get(METADATA));
  root.delete(METADATA);
  /** @type {Map<string, TensorEntry>} */
  const tensors = new Map();
  for (const [name, value] of root) tensors.set(name, readTensor(name, value, dataStart));
  return { metadata, tensors, headerBytes, dataStart, end: endOf(tensors, dataStart) };
}

/**
 * @param {Uint8Array} headerBytes as for parseHeader()
 * @returns {string} JSON and padding @throws {HanselError} HANSEL_ERR_SAFETENSORS
 */
export function headerText(headerBytes) {
  if (headerBytes[8] !== 0x7b) {
    throw new HanselError(CODE, 'header does not begin with {', {
      got: headerBytes.length === 8 ? 'an empty header' : `byte ${headerBytes[8]}`,
    });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
      .decode(headerBytes.subarray(8));
  } catch (cause) {
    throw new HanselError(CODE, 'header is not UTF-8', { cause });
  }
}

/** @param {string} text that begins with { @returns {Map<string, JsonValue>} */
export const parseText = (text) => /** @type {Map<string, JsonValue>} */ (parseJson(text, {
  code: CODE, maxDepth: 3, header: true,
}));

/** @param {JsonValue | undefined} value */
function readMetadata(value) {
  /** @type {Map<string, string>} */
  const metadata = new Map();
  if (value === undefined) return metadata;
  if (!(value instanceof Map)) {
    throw new HanselError(CODE, `${METADATA} is not an object`, { got: quote(value) });
  }
  for (const [key, text] of value) {
    if (typeof text !== 'string') {
      throw new HanselError(CODE, `${METADATA} holds more than strings`, {
        expected: 'a string', got: `${quote(key)}: ${quote(text)}`,
      });
    }
    metadata.set(key, text);
  }
  return metadata;
}

/**
 * @param {string} name
 * @param {JsonValue} value
 * @param {number} dataStart
 * @returns {TensorEntry}
 */
function readTensor(name, value, dataStart) {
  const keys = value instanceof Map ? [...value.keys()] : [];
  if (!(value instanceof Map) || keys.sort().join() !== 'data_offsets,dtype,shape') {
    throw bad(name, 'bad tensor entry', 'exactly dtype, shape, data_offsets',
      keys.map(quote).join(', ') || quote(value));
  }
  const offsets = value.get('data_offsets');
  const needed = sizeOf(name, value);
  const dtype = /** @type {string} */ (value.get('dtype'));
  const shape = /** @type {number[]} */ (value.get('shape'));
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw bad(name, 'bad data_offsets', '[begin, end], begin <= end', quote(offsets));
  }
  const [begin, end] = offsets;
  if (end - begin !== needed) {
    throw bad(name, `data_offsets do not fit ${dtype} [${shape}]`, `${needed} bytes`, end - begin);
  }
  if (!isCount(dataStart + end)) throw bad(name, 'data_offsets too large', 'less than 2^53', end);
  return { dtype, shape, start: dataStart + begin, end: dataStart + end };
}

/**
 * @param {string} name @param {Map<string, JsonValue>} entry of the header
 * @returns {number} bytes that its dtype and shape ask for
 * @throws {HanselError} HANSEL_ERR_SAFETENSORS
 */
export function sizeOf(name, entry) {
  const dtype = /** @type {string} */ (entry.get('dtype'));
  const shape = entry.get('shape');
  dtypeBits(dtype, name); // is there such a dtype?
  if (!isCounts(shape)) throw bad(name, 'bad shape', 'a list of integers', quote(shape));
  return byteSize(dtype, shape, name);
}

/** @param {string} where @param {string} message @param {unknown} expected @param {unknown} got */
const bad = (where, message, expected, got) => (
  new HanselError(CODE, message, { expected, got, where }));

/**
 * The tensors must tile the data section from its start.
 * @param {Map<string, TensorEntry>} tensors
 * @param {number} dataStart
 * @returns {number} where they end
 */
function endOf(tensors, dataStart) {
  const sorted = [...tensors].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let at = dataStart;
  for (const [name, { start, end }] of sorted) {
    if (start !== at) {
      throw bad(name, start < at ? 'tensors overlap' : 'a hole before this tensor',
        `data_offsets to begin at ${at - dataStart}`, start - dataStart);
    }
    at = end;
  }
  return at;
}

/**
 * @param {string} dtype
 * @param {readonly number[]} shape
 * @param {string} where the tensor's name, for the error
 * @returns {number} bytes of all elements
 * @throws {HanselError} HANSEL_ERR_SAFETENSORS
 */
export function byteSize(dtype, shape, where) {
  const bits = elementCount(shape, where) * dtypeBits(dtype, where);
  if (!isCount(bits)) {
    throw new HanselError(CODE, 'tensor too large', { got: `${dtype} [${shape}]`, where });
  }
  if (bits % 8 !== 0) {
    throw new HanselError(CODE, 'tensor does not end on a byte', { got: `${bits} bits`, where });
  }
  return bits / 8;
}

/** @param {unknown} n @returns {n is number} */
export const isCount = (n) => Number.isSafeInteger(n) && /** @type {number} */ (n) >= 0;

/** @param {unknown} list @returns {list is number[]} */
const isCounts = (list) => Array.isArray(list) && list.every(isCount);

/** @param {string} message @param {number} expected @param {number} got */
const truncated = (message, expected, got) => new HanselError('HANSEL_ERR_TRUNCATED', message, {
  expected: `at least ${expected} bytes`, got,
});
