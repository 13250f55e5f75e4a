/**
 * The Hansel manifest (FORMAT.md section 7): one string in a safetensors file's `__metadata__`, with a
 * CRC-32C of the whole header, one of each tensor's bytes, and what coded tensors were. It is the first
 * thing in the header, so that the header's own checksum sits at a fixed place, whatever other
 * metadata and names contain.
 */
import { DTYPE_NAMES, MODES, dtypeBytes } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { MANIFEST_KEY, checkHeaderCrc, malformed, prefixOf } from './header_crc.js';
import { quote } from './json.js';

/** With which the manifest begins; the header's checksum, in hexadecimal, follows. */
export const VERSION = '2';
/** Stands in for the header's checksum while it is computed. */
export const PLACEHOLDER = '00000000';
/** In the bits of a tensor's first two bytes that number its kind: the number is too large. */
export const MANY = 15;

export const PREFIX = prefixOf(VERSION);
export const DIGITS_AT = 8 + PREFIX.length;

/** @typedef {(bytes: Uint8Array) => number} Crc32c returns an unsigned 32-bit number */
/**
 * @typedef {object} ManifestEntry
 * @property {number} crc32c of the tensor's bytes in the file
 * @property {string} [mode] of a coded tensor, as are the others
 * @property {string} [dtype] @property {number[]} [shape] @property {number} [step]
 * @property {number} [entropy_bits] a weight, raw planes included; rounded to 1/512
 */
/** @typedef {{ version: number, tensors: Map<string, ManifestEntry> }} Manifest */

/**
 * Reads the manifest and checks it against the header it stands in. Together with readHeader it
 * lets no single flipped bit of a Hansel file's header pass.
 * @param {import('./safetensors.js').Header} header
 * @param {Crc32c} crc32c
 * @returns {Promise<Manifest | null>} null when the file is plain safetensors
 * @throws {HanselError} HANSEL_ERR_VERSION for another version, HANSEL_ERR_CHECKSUM for a damaged
 *   header, HANSEL_ERR_MANIFEST for a malformed manifest or one that contradicts the header
 */
export async function readManifest(header, crc32c) {
  const { metadata, tensors, headerBytes } = header;
  const text = metadata.get(MANIFEST_KEY);
  if (text === undefined) {
    // Without this a flip in the key itself would turn coded tensors into plain U8 ones.
    for (const [key, value] of metadata) {
      if (isOneBitOff(key) && /^(2\w{8}|{"version":)/.test(value)) {
        throw malformed('the manifest\'s key is damaged', MANIFEST_KEY, quote(key));
      }
    }
    return null;
  }
  if (text.startsWith('{')) return (await import('./manifest_1.js')).readManifest1(header, crc32c);
  if (text[0] !== VERSION) {
    throw new HanselError('HANSEL_ERR_VERSION', 'unknown version of the manifest', {
      expected: '1 or 2', got: quote(text[0]),
    });
  }
  checkHeaderCrc(headerBytes, PREFIX, text.slice(1, 9), crc32c);
  return { version: 2, tensors: readEntries(text.slice(9), [...tensors.keys()]) };
}

/** @param {string} text @returns {DataView} four bytes, the highest first, of five digits each */
function fromBase85(text) {
  const view = new DataView(new ArrayBuffer(Math.ceil(text.length / 5) * 4));
  for (let i = 0; i < text.length; i++) {
    const at = (i - i % 5) / 5 * 4;
    const code = text.charCodeAt(i);
    view.setUint32(at, 85 * view.getUint32(at) + code - (code > 92 ? 36 : 35)); // no backslash
  }
  return view;
}

/**
 * @param {string} text the manifest's last part
 * @param {string[]} names in the header's order
 * @returns {Map<string, ManifestEntry>}
 */
function readEntries(text, names) {
  const view = fromBase85(text);
  let at = 0;
  const byte = () => view.getUint8(at++);
  /** Seven bits a byte, the lowest first. */
  const number = () => {
    let value = 0;
    for (let unit = 1, last = 128; last > 127; unit *= 128) {
      last = byte();
      value += last % 128 * unit;
    }
    return value;
  };
  const list = (/** @type {() => any} */ one) => { // however long it says that it is
    const all = [];
    for (let left = number(); left > 0; left--) all.push(one());
    return all;
  };
  const word = () => view.getUint32((at += 4) - 4, true);
  try {
    const kinds = list(() => {
      const code = byte();
      const [mode, dtype] = [MODES[code >> 4], DTYPE_NAMES[code & 15]];
      if (code && !(mode && dtype)) throw new Error('such a kind');
      return code ? { mode, dtype, shape: list(number), step: 0 } : {};
    });
    const tensors = new Map(names.map((name) => {
      const first = byte() + 256 * byte();
      const found = kinds[first >> 12 === MANY ? number() : first >> 12];
      if (!found) throw new Error('such a kind');
      const kind = { ...found };
      const crc32c = word();
      if (kind.mode === 'grid') kind.step = new Float32Array(Uint32Array.of(word()).buffer)[0];
      return [name, { crc32c, ...kind, entropy_bits: first % 4096 / 512 + 8 * rawBytes(kind) }];
    }));
    if (at + 3 < view.byteLength) throw new Error('something follows');
    return tensors;
  } catch (error) {
    throw malformed('not as its tensors need it', undefined, /** @type {Error} */ (error).message);
  }
}

/** @param {string} key */
function isOneBitOff(key) {
  const [flips, ...more] = [...key].map(
    (char, i) => char.charCodeAt(0) ^ MANIFEST_KEY.charCodeAt(i)).filter(Boolean);
  return key.length === MANIFEST_KEY.length && !more.length && !(flips & flips - 1);
}

/** Bytes of a weight that are not coded. @param {ManifestEntry} kind */
export const rawBytes = ({ mode, dtype = '' }) => (mode === 'lossless' ? dtypeBytes(dtype) - 1 : 0);
