/**
 * A file of any format as bytes, some ranges of which are tensors (FORMAT.md section 7.6): what the metadata says of
 * them, so that the file can be made again by those who do not know its format.
 */
import { malformed } from './header_crc.js';
import { isCount } from './safetensors.js';
import { siblingOf } from './shards.js';

/** Keys of the metadata: the format and the bytes between tensors; the files that the format keeps beside this one. */
export const [CARRIER, BESIDE] = ['hansel.file', 'hansel.beside'];

/** @typedef {import('./safetensors.js').Header} Header */
/**
 * @typedef {object} Range of the file: all of a tensor, or some of the bytes between
 * @property {string | null} name of the tensor; null of the header
 * @property {number} start first byte in the file @property {number} end one past the last
 * @property {number} from first byte in the tensor
 */
/**
 * @typedef {object} Layout of a file
 * @property {string} format such as 'gguf'; 'bytes' of what has none
 * @property {number} size in bytes
 * @property {Range[]} ranges in the order of the file, which they fill
 * @property {string | null} rest the tensor that holds the bytes between the others
 * @property {string[]} beside names of the files that belong to it, relative to it
 */

/**
 * @param {string} format @param {number[]} gaps bytes before each tensor, and behind the last
 * @param {string[]} beside
 * @returns {[string, string][]} metadata
 */
export const carrierMetadata = (format, gaps, beside) => [
  [CARRIER, `${format} ${gaps}`],
  .../** @type {[string, string][]} */ (beside.length ? [[BESIDE, beside.join('\n')]] : []),
];

/**
 * What a file is made of.
 * @param {Header} header of the plain file
 * @returns {Layout} of a safetensors file: its header, and then its tensors
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_MANIFEST; HANSEL_ERR_INDEX for names of files that
 *   are not beside it
 */
export function layoutOf({ metadata, tensors, headerBytes, end }) {
  const text = metadata.get(CARRIER);
  if (text === undefined) {
    const ranges = [{ name: /** @type {string | null} */ (null), start: 0, end: headerBytes.length, from: 0 },
      ...[...tensors].map(([name, place]) => ({ name, start: place.start, end: place.end, from: 0 }))];
    return {
      format: 'safetensors', size: end, ranges: ranges.sort((a, b) => a.start - b.start || a.end - b.end),
      rest: null, beside: [],
    };
  }
  const [, format = '', list = ''] = /^([a-z]+) ([\d,]+)$/.exec(text) ?? [];
  const gaps = list.split(',').map(Number);
  const all = [...tensors];
  const between = gaps.reduce((sum, gap) => sum + gap, 0);
  const [rest] = between ? all.splice(0, 1) : [];
  if (!format || String(gaps) !== list || !gaps.every(isCount) || gaps.length !== all.length + 1
      || (rest ? rest[1].end - rest[1].start : 0) !== between || (rest && rest[1].dtype !== 'U8')) {
    throw malformed(`${CARRIER} does not fit the tensors`, `bytes around ${all.length} tensors`, text.slice(0, 80));
  }
  /** @type {Range[]} */
  const ranges = [];
  let [at, from] = [0, 0];
  for (const [i, gap] of gaps.entries()) {
    if (gap) ranges.push({ name: rest[0], start: at, end: at += gap, from });
    from += gap;
    if (i === all.length) break;
    const [name, { start, end }] = all[i];
    ranges.push({ name, start: at, end: at += end - start, from: 0 });
  }
  const beside = metadata.get(BESIDE)?.split('\n') ?? [];
  for (const name of beside) siblingOf(name, '', () => '');
  if (new Set(beside).size < beside.length) throw malformed(`${BESIDE} names a file twice`);
  return { format, size: at, ranges, rest: rest?.[0] ?? null, beside };
}
