/** Headers of safetensors files, written canonically. */
import { HanselError } from '../core/errors.js';
import { hasLoneSurrogate, quote } from './json.js';
import { HEADER_CAP, METADATA, byteSize, isCount } from './safetensors.js';

/**
 * Lays out a header; the tensors' bytes follow it in the given order.
 * @param {Iterable<[string, { dtype: string, shape: readonly number[], bytes: number }]>} tensors
 *   in file order; bytes is each tensor's size in bytes
 * @param {Iterable<[string, string]>} [metadata] a Map or pairs, kept in order, written first
 * @param {{ alignment?: number, reserve?: number }} [options] the result's length is a multiple of
 *   alignment and at least reserve
 * @returns {Uint8Array} 8-byte length, JSON, padding
 * @throws {HanselError} HANSEL_ERR_ARGUMENT for what no reader would accept
 */
export function buildHeader(tensors, metadata = [], { alignment = 16, reserve = 0 } = {}) {
  if (!isCount(alignment) || alignment === 0 || !isCount(reserve)) {
    throw badArgument('alignment and reserve must be whole numbers', `${alignment}, ${reserve}`);
  }
  /** @type {Map<string, string>} */
  const strings = new Map();
  for (const [key, value] of metadata) {
    if (strings.has(checkString(key))) throw badArgument('duplicate metadata key', quote(key));
    strings.set(key, checkString(value));
  }
  /** @type {Map<string, string>} */
  const members = new Map();
  if (strings.size > 0) {
    const pairs = [...strings].map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`);
    members.set(METADATA, `{${pairs.join(',')}}`);
  }
  let begin = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    if (checkString(name) === METADATA || members.has(name)) {
      throw badArgument('reserved or duplicate tensor name', quote(name));
    }
    const needed = byteSize(dtype, shape, name);
    const end = begin + needed;
    if (bytes !== needed || !isCount(end)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'shape and size disagree', {
        expected: `${needed} bytes`, got: bytes, where: name,
      });
    }
    const dims = JSON.stringify(shape);
    members.set(name, `{"dtype":"${dtype}","shape":${dims},"data_offsets":[${begin},${end}]}`);
    begin = end;
  }
  const json = [...members].map(([name, value]) => `${JSON.stringify(name)}:${value}`);
  const text = new TextEncoder().encode(`{${json.join(',')}}`);
  const total = Math.ceil(Math.max(8 + text.length, reserve) / alignment) * alignment;
  if (total - 8 > HEADER_CAP) throw badArgument('header too long', `${total} bytes`);
  const out = new Uint8Array(total).fill(0x20, 8);
  new DataView(out.buffer).setUint32(0, total - 8, true);
  out.set(text, 8);
  return out;
}

/** @param {string} text */
function checkString(text) {
  if (typeof text !== 'string' || hasLoneSurrogate(text)) {
    throw badArgument('names and metadata must be well-formed strings', quote(text));
  }
  return text;
}

/** @param {string} message @param {string} got */
const badArgument = (message, got) => new HanselError('HANSEL_ERR_ARGUMENT', message, { got });
