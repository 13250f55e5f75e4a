/** What manifests of all versions share: their place in the header, and its checksum. */
import { HanselError } from '../core/errors.js';

/** The key in `__metadata__`. */
export const MANIFEST_KEY = 'hansel';
/** How the header begins, up to the first digit of its checksum, in a file of that manifest.
 * @param {string} opening what the manifest begins with, as JSON */
export const prefixOf = (opening) => new TextEncoder().encode(
  `{"__metadata__":{"${MANIFEST_KEY}":"${opening}`);
/**
 * A checksum as the manifest writes it.
 * @param {number} n unsigned 32-bit
 * @returns {string} 8 lower-case hex digits
 */
export const formatCrc = (n) => (n >>> 0).toString(16).padStart(8, '0');

/**
 * @param {Uint8Array} headerBytes not modified
 * @param {Uint8Array} prefix what must precede the digits
 * @param {string} expected digits
 * @param {import('./manifest.js').Crc32c} crc32c
 * @throws {HanselError} HANSEL_ERR_CHECKSUM, _MANIFEST
 */
export function checkHeaderCrc(headerBytes, prefix, expected, crc32c) {
  if (!hasPrefix(headerBytes, prefix)) {
    throw malformed('not where Hansel writes it: was the header rewritten by another program?');
  }
  const copy = headerBytes.slice();
  copy.fill(48, 8 + prefix.length, 16 + prefix.length);
  const got = formatCrc(crc32c(copy));
  if (got !== expected) {
    throw new HanselError('HANSEL_ERR_CHECKSUM', 'the header is damaged', {
      expected, got, where: 'header',
    });
  }
}

/** @param {Uint8Array} bytes a header @param {Uint8Array} prefix */
export const hasPrefix = (bytes, prefix) => bytes.length >= 16 + prefix.length
  && prefix.every((byte, i) => bytes[8 + i] === byte);

/**
 * @param {string} message
 * @param {string} [expected]
 * @param {string} [got]
 * @param {string} [where]
 */
export const malformed = (message, expected, got, where) => new HanselError('HANSEL_ERR_MANIFEST',
  `manifest: ${message}`, { expected, got, where });
