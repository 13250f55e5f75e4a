/**
 * The Hansel manifest: one string in a safetensors file's `__metadata__`, holding a CRC-32C of the
 * whole header and one of each tensor's bytes. It is the first thing in the header, so that the
 * header's own checksum sits at a fixed place, whatever other metadata and names contain.
 */
import { HanselError } from '../core/errors.js';
import { parseJson, quote } from './json.js';

/** The key in `__metadata__`. */
export const MANIFEST_KEY = 'hansel';

const VERSION = 1;
/** Stands in for the header's checksum while it is computed. */
export const PLACEHOLDER = '00000000';
const CODE = 'HANSEL_ERR_MANIFEST';

/** How the manifest begins, up to the first digit of the header's checksum. */
export const OPENING = `{"version":${VERSION},"header_crc32c":"`;
const PREFIX = new TextEncoder().encode(
  `{"__metadata__":{"${MANIFEST_KEY}":${JSON.stringify(OPENING).slice(0, -1)}`);
export const DIGITS_AT = 8 + PREFIX.length;
export const DIGITS_END = DIGITS_AT + PLACEHOLDER.length;

/** @typedef {import('./json.js').JsonValue} JsonValue */
/** @typedef {(bytes: Uint8Array) => number} Crc32c returns an unsigned 32-bit number */
/**
 * @typedef {{ crc32c: number, [field: string]: unknown }} ManifestEntry
 *   the checksum of the tensor's bytes in the file, and whatever else the encoder noted
 */

/**
 * A checksum as the manifest writes it.
 * @param {number} n unsigned 32-bit
 * @returns {string} 8 lower-case hex digits
 */
export const formatCrc = (n) => (n >>> 0).toString(16).padStart(8, '0');

/**
 * Reads the manifest and checks it against the header it stands in. Together with readHeader it
 * lets no single flipped bit of a Hansel file's header pass.
 * @param {import('./safetensors.js').Header} header
 * @param {Crc32c} crc32c
 * @returns {{ version: number, tensors: Map<string, ManifestEntry> } | null} null when the file is
 *   plain safetensors
 * @throws {HanselError} HANSEL_ERR_VERSION for another version, HANSEL_ERR_CHECKSUM for a damaged
 *   header, HANSEL_ERR_MANIFEST for a malformed manifest or one that contradicts the header
 */
export function readManifest({ metadata, tensors, headerBytes }, crc32c) {
  const text = metadata.get(MANIFEST_KEY);
  if (text === undefined) {
    // Without this a flip in the key itself would turn coded tensors into plain U8 ones.
    for (const [key, value] of metadata) {
      if (isOneBitOff(key) && value.startsWith('{"version":')) {
        throw malformed('the manifest\'s key is damaged', MANIFEST_KEY, quote(key));
      }
    }
    return null;
  }
  const root = parseJson(text, { code: CODE, maxDepth: 16 });
  if (!(root instanceof Map)) throw malformed('not an object', 'an object', quote(root));
  const version = root.get('version');
  if (typeof version !== 'number') throw malformed('no version', 'a number', quote(version));
  if (version !== VERSION) {
    throw new HanselError('HANSEL_ERR_VERSION', 'unknown version of the manifest', {
      expected: VERSION, got: version,
    });
  }
  if (!hasPrefix(headerBytes)) {
    throw malformed('not where Hansel writes it: was the header rewritten by another program?');
  }
  checkHeaderCrc(headerBytes, parseCrc(root.get('header_crc32c')), crc32c);
  const entries = root.get('tensors');
  if (root.size !== 3 || !(entries instanceof Map)) {
    throw malformed('wrong fields', 'version, header_crc32c, tensors',
      [...root.keys()].map(quote).join(', '));
  }
  for (const name of tensors.keys()) {
    if (!entries.has(name)) throw missing('manifest', name);
  }
  /** @type {Map<string, ManifestEntry>} */
  const result = new Map();
  for (const [name, entry] of entries) {
    if (!tensors.has(name)) throw missing('file', name);
    if (!(entry instanceof Map)) throw malformed('not an object', 'an object', quote(entry), name);
    const fields = /** @type {object} */ (toPlain(entry));
    result.set(name, { ...fields, crc32c: parseCrc(entry.get('crc32c'), name) });
  }
  return { version, tensors: result };
}

/**
 * @param {Uint8Array} headerBytes not modified
 * @param {number} expected
 * @param {Crc32c} crc32c
 */
function checkHeaderCrc(headerBytes, expected, crc32c) {
  const copy = headerBytes.slice();
  writeDigits(copy, PLACEHOLDER);
  const got = crc32c(copy) >>> 0;
  if (got !== expected) {
    throw new HanselError('HANSEL_ERR_CHECKSUM', 'the header is damaged', {
      expected: formatCrc(expected), got: formatCrc(got), where: 'header',
    });
  }
}

/**
 * Upper-case digits are refused: they are one flipped bit away from lower-case ones.
 * @param {JsonValue | undefined} digits
 * @param {string} [where]
 */
function parseCrc(digits, where) {
  if (typeof digits !== 'string' || !/^[0-9a-f]{8}$/.test(digits)) {
    throw malformed('bad CRC-32C', '8 lower-case hex digits', quote(digits), where);
  }
  return parseInt(digits, 16);
}

/** @param {Uint8Array} bytes */
export const hasPrefix = (bytes) => bytes.length >= DIGITS_END
  && PREFIX.every((byte, i) => bytes[8 + i] === byte);

/** @param {Uint8Array} bytes @param {string} digits */
export const writeDigits = (bytes, digits) => bytes.set(new TextEncoder().encode(digits), DIGITS_AT);

/** @param {string} place @param {string} where */
const missing = (place, where) => malformed(`the ${place} lacks this tensor`, undefined, undefined,
  where);

/** @param {string} key */
function isOneBitOff(key) {
  if (key.length !== MANIFEST_KEY.length) return false;
  let flips = 0;
  for (let i = 0; i < key.length; i++) {
    for (let x = key.charCodeAt(i) ^ MANIFEST_KEY.charCodeAt(i); x !== 0; x &= x - 1) flips++;
  }
  return flips === 1;
}

/**
 * Maps to objects; fromEntries defines properties, so a `__proto__` stays an ordinary one.
 * @param {JsonValue} value
 * @returns {unknown}
 */
function toPlain(value) {
  if (Array.isArray(value)) return value.map(toPlain);
  if (!(value instanceof Map)) return value;
  return Object.fromEntries([...value].map(([key, item]) => [key, toPlain(item)]));
}

/**
 * @param {string} message
 * @param {string} [expected]
 * @param {string} [got]
 * @param {string} [where]
 */
const malformed = (message, expected, got, where) => new HanselError(CODE, `manifest: ${message}`, {
  expected, got, where,
});
