/**
 * What says how a file's tensors are coded (FORMAT.md section 7): a string in its `__metadata__`, with a
 * CRC-32C of the whole header. It is the first thing in the header, so that the header's own checksum
 * sits at a fixed place, whatever other metadata and names contain.
 */
import { HanselError } from '../core/errors.js';
import { MANIFEST_KEY, malformed } from './header_crc.js';
import { quote } from './json.js';

/** @typedef {(bytes: Uint8Array) => number} Crc32c returns an unsigned 32-bit number */
/**
 * @typedef {object} ManifestEntry
 * @property {number} [crc32c] of the tensor's bytes in the file
 * @property {string} [mode] of a coded tensor, as are the next
 * @property {string} [dtype] @property {number[]} [shape] @property {number} [step]
 * @property {number} [entropy_bits] a weight, raw planes included; rounded to 1/512
 * @property {number} [bytes] in a file of version 4, as is the next
 * @property {import('./directory.js').PartsPlace} [place]
 */
/**
 * @typedef {object} Manifest
 * @property {number} version
 * @property {Map<string, ManifestEntry>} tensors
 * @property {import('./safetensors.js').Header} [header] version 4: the plain file's
 */

/**
 * Reads the manifest and checks it against the header it stands in. Together with readHeader it
 * lets no single flipped bit of a Hansel file's header pass.
 * @param {import('./safetensors.js').Header} header
 * @param {Crc32c} crc32c
 * @param {import('./source.js').Source} source of the file
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<Manifest | null>} null when the file is plain safetensors
 * @throws {HanselError} HANSEL_ERR_VERSION for another version, HANSEL_ERR_CHECKSUM for a damaged
 *   header, HANSEL_ERR_MANIFEST for a malformed manifest or one that contradicts the header; what
 *   readDirectory() throws
 */
export async function readManifest(header, crc32c, source, options) {
  const text = header.metadata.get(MANIFEST_KEY);
  if (text === undefined) {
    // Without this a flip in the key itself would turn coded tensors into plain U8 ones.
    for (const [key, value] of header.metadata) {
      if (isOneBitOff(key) && /^([24]\w{8}|{"version":)/.test(value)) {
        throw malformed('the manifest\'s key is damaged', MANIFEST_KEY, quote(key));
      }
    }
    return null;
  }
  switch (text[0]) {
    case '4': return (await import('./directory.js')).readDirectory(header, crc32c, source, options);
    case '2': return (await import('./manifest_2.js')).readManifest2(header, crc32c);
    case '{': return (await import('./manifest_1.js')).readManifest1(header, crc32c);
    default: throw new HanselError('HANSEL_ERR_VERSION', 'unknown version of the manifest', {
      expected: '1, 2 or 4', got: quote(text[0]),
    });
  }
}

/** @param {string} key */
function isOneBitOff(key) {
  const [flips, ...more] = [...key].map(
    (char, i) => char.charCodeAt(0) ^ MANIFEST_KEY.charCodeAt(i)).filter(Boolean);
  return key.length === MANIFEST_KEY.length && !more.length && !(flips & flips - 1);
}
