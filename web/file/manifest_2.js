/** Version 2 of the manifest: bytes in base 85 (FORMAT.md section 7.4), as releases 1.0 and 1.1 wrote. */
import { DTYPE_NAMES, MODES, dtypeBytes } from '../core/dtypes.js';
import { MANIFEST_KEY, checkHeaderCrc, malformed, prefixOf } from './header_crc.js';

/** In the bits of a tensor's first two bytes that number its kind: the number is too large. */
const MANY = 15;

/** @typedef {import('./manifest.js').ManifestEntry} ManifestEntry */

/**
 * As readManifest(), of a header whose manifest begins with a 2.
 * @param {import('./safetensors.js').Header} header
 * @param {import('./manifest.js').Crc32c} crc32c
 * @returns {import('./manifest.js').Manifest}
 */
export function readManifest2({ metadata, tensors, headerBytes }, crc32c) {
  const text = metadata.get(MANIFEST_KEY) ?? '';
  checkHeaderCrc(headerBytes, prefixOf('2'), text.slice(1, 9), crc32c);
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

/** Bytes of a weight that are not coded. @param {ManifestEntry} kind */
const rawBytes = ({ mode, dtype = '' }) => (mode === 'lossless' ? dtypeBytes(dtype) - 1 : 0);
