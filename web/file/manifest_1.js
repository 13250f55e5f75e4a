/** Version 1 of the manifest: JSON in the header's JSON (FORMAT.md section 7.5). */
import { HanselError } from '../core/errors.js';
import { MANIFEST_KEY, checkHeaderCrc, malformed, prefixOf } from './header_crc.js';
import { parseJson, quote } from './json.js';
import { dtypeBits, isCount } from './safetensors.js';

/** @typedef {import('./json.js').JsonValue} JsonValue */
/** @typedef {import('./manifest.js').ManifestEntry} ManifestEntry */

const PREFIX = prefixOf(JSON.stringify('{"version":1,"header_crc32c":"').slice(1, -1));

/**
 * As readManifest(), of a header whose manifest begins with a brace.
 * @param {import('./safetensors.js').Header} header
 * @param {import('./manifest.js').Crc32c} crc32c
 * @returns {import('./manifest.js').Manifest}
 */
export function readManifest1({ metadata, tensors, headerBytes }, crc32c) {
  const root = parseJson(metadata.get(MANIFEST_KEY) ?? '', {
    code: 'HANSEL_ERR_MANIFEST', maxDepth: 16,
  });
  if (!(root instanceof Map)) throw malformed('not an object', 'an object', quote(root));
  const version = root.get('version');
  if (typeof version !== 'number') throw malformed('no version', 'a number', quote(version));
  if (version !== 1) {
    throw new HanselError('HANSEL_ERR_VERSION', 'unknown version of the manifest', {
      expected: 1, got: version,
    });
  }
  checkHeaderCrc(headerBytes, PREFIX, parseCrc(root.get('header_crc32c')), crc32c);
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
    const fields = /** @type {any} */ (toPlain(entry));
    if (fields.mode !== undefined && !isSane(fields)) {
      throw malformed('a coded tensor\'s entry is malformed',
        'mode, dtype, shape, step and entropy_bits', JSON.stringify(fields), name);
    }
    if (fields.mode) dtypeBits(fields.dtype, name); // is there such a dtype?
    const stored = /** @type {import('./safetensors.js').TensorEntry} */ (tensors.get(name));
    if (fields.mode && (stored.dtype !== 'U8' || stored.shape.length !== 1)) {
      throw malformed('not stored as a coded tensor', 'U8, one dimension',
        `${stored.dtype} [${stored.shape}]`, name);
    }
    result.set(name, { ...fields, crc32c: parseInt(parseCrc(entry.get('crc32c'), name), 16) });
  }
  return { version, tensors: result };
}

/** @param {Record<string, unknown>} entry of a coded tensor */
const isSane = ({ mode, dtype, shape, step, entropy_bits: entropy }) => (
  ['grid', 'lossless'].includes(/** @type {string} */ (mode)) && typeof dtype === 'string'
  && Array.isArray(shape) && shape.every(isCount) && typeof step === 'number'
  && typeof entropy === 'number');

/**
 * Upper-case digits are refused: they are one flipped bit away from lower-case ones.
 * @param {JsonValue | undefined} digits
 * @param {string} [where]
 */
function parseCrc(digits, where) {
  if (typeof digits === 'string' && /^[0-9a-f]{8}$/.test(digits)) return digits;
  throw malformed('bad CRC-32C', '8 lower-case hex digits', quote(digits), where);
}

/** @param {string} place @param {string} where */
const missing = (place, where) => malformed(`the ${place} lacks this tensor`, undefined, undefined,
  where);

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
