/** A file of any format, whose tensors were found, as input for the encoder (FORMAT.md section 7.6). */
import { HanselError } from '../core/errors.js';
import { carrierMetadata } from '../file/carrier.js';
import { byteSize } from '../file/safetensors.js';
import { buildHeader } from '../file/write_header.js';

/** Smaller tensors cost more on their own than among the bytes around them. */
const LEAST = 256;
/** So many bytes between tensors, or more, are coded by themselves: the others are held in memory. */
const LONG_GAP = 1 << 20;

/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('../file/source.js').Source} Source */
/**
 * @typedef {object} Found a tensor in a file
 * @property {string} name as the format has it; others may have it, too
 * @property {string} dtype as safetensors has it @property {number[]} shape
 * @property {number} start its first byte @property {number} end one past the last
 * @property {boolean} [isExact] its values are no weights: what is not asked of it by name is not done to it
 */
/**
 * @typedef {object} FoundFile
 * @property {string} format in lower-case letters
 * @property {string} code of the error for tensors that cannot be
 * @property {Source} source
 * @property {Found[]} tensors in any order
 * @property {string[]} [beside] names of the files that belong to it
 */

/**
 * Tensors in the order of the file, each range once.
 * @param {FoundFile} file
 * @throws {HanselError} the file's code for overlaps, HANSEL_ERR_TRUNCATED for what is not there
 */
function inOrder({ source, tensors, code }) {
  /** @type {Found[]} */
  const kept = [];
  let last;
  for (const one of [...tensors].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const { name, start, end, dtype, shape } = one;
    if (end > source.size) {
      throw new HanselError('HANSEL_ERR_TRUNCATED', `${source.name} ends before this tensor`, {
        expected: `at least ${end} bytes`, got: source.size, where: name,
      });
    }
    if (byteSize(dtype, shape, name) !== end - start) throw new Error(`${name}: ${dtype} [${shape}] in ${end - start} bytes`);
    if (start === end || (last && last.start === start && last.end === end)) continue; // two may share their weights
    if (last && start < last.end) {
      throw new HanselError(code, `overlaps the tensor ${JSON.stringify(last.name)}`, {
        expected: `bytes from ${last.end} on`, got: start, where: name,
      });
    }
    last = one;
    if (end - start >= LEAST) kept.push(one);
  }
  return kept;
}

/**
 * @param {FoundFile} file @param {Set<string>} taken names in the model's other files; receives this one's
 * @returns {{inputs: Input[], header: Uint8Array}} header: what the coded file gives as the plain one's
 * @throws {HanselError} the file's code, HANSEL_ERR_TRUNCATED
 */
export function carrierInputs(file, taken) {
  const { source, format, beside = [] } = file;
  /** What to number the next one of a name by. @type {Map<string, number>} */
  const next = new Map();
  /** @param {string} name */
  const unique = (name) => {
    let own = name;
    let i = next.get(name) ?? 2;
    while (taken.has(own) || own === '' || own === '__metadata__') own = `${name}#${i++}`;
    next.set(name, i);
    taken.add(own);
    return own;
  };
  /** @type {(Found & {isText?: boolean})[]} */
  const parts = [];
  const gaps = [];
  /** Short ranges between. @type {[number, number][]} */
  const others = [];
  let at = 0;
  const fill = (/** @type {number} */ end) => {
    if (end - at >= LONG_GAP) {
      parts.push({ name: 'hansel.bytes', dtype: 'U8', shape: [end - at], start: at, end, isText: true });
      gaps.push(0);
      return 0;
    }
    if (end > at) others.push([at, end]);
    return end - at;
  };
  for (const one of inOrder(file)) {
    const gap = fill(one.start);
    parts.push(one);
    gaps.push(gap);
    at = one.end;
  }
  gaps.push(fill(source.size));

  const read = (/** @type {number} */ from) => (/** @type {number} */ start, /** @type {number} */ end) => (
    source.read(from + start, from + end));
  const inputs = parts.map(({ name, dtype, shape, start, isExact, isText }) => (
    /** @type {Input} */ ({ name: unique(name), dtype, shape, isExact, isText, read: read(start) })));
  const size = others.reduce((sum, [start, end]) => sum + end - start, 0);
  if (size) {
    /** @type {Promise<Uint8Array> | undefined} */
    let rest;
    inputs.unshift({
      name: unique('hansel.rest'), dtype: 'U8', shape: [size], isText: true,
      read: async (start, end) => (await (rest ??= readAll(source, others, size))).subarray(start, end),
    });
  }
  const header = buildHeader(inputs.map(({ name, dtype, shape }) => [name, {
    dtype, shape, bytes: byteSize(dtype, shape, name),
  }]), carrierMetadata(format, gaps, beside), { alignment: 1 });
  return { inputs, header };
}

/** @param {Source} source @param {[number, number][]} ranges @param {number} size of all */
async function readAll(source, ranges, size) {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const [start, end] of ranges) {
    bytes.set(await source.read(start, end), at);
    at += end - start;
  }
  return bytes;
}
