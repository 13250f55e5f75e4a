/** Writes manifests of version 1, which the package only reads: FORMAT.md section 7.5. */
import { formatCrc } from '../../web/file/header_crc.js';

const OPENING = '{"version":1,"header_crc32c":"';

/**
 * @param {Iterable<[string, object]>} tensors name, and crc32c with whatever else the entry holds
 * @returns {string} for buildHeader(), as the first of the metadata
 */
export function formatManifest1(tensors) {
  const entries = [...tensors].map(([name, { crc32c, ...fields }]) => (
    `${JSON.stringify(name)}:${JSON.stringify({ crc32c: formatCrc(crc32c), ...fields })}`));
  return `${OPENING}00000000","tensors":{${entries.join(',')}}}`;
}

/** Writes the header's checksum into it. @param {Uint8Array} header @param {(b: Uint8Array) => number} crc32c */
export function stampHeader1(header, crc32c) {
  const before = `{"__metadata__":{"hansel":${JSON.stringify(OPENING).slice(0, -1)}`;
  header.set(new TextEncoder().encode(formatCrc(crc32c(header))), 8 + before.length);
  return header;
}
