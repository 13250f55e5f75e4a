/** What a file's header and manifest say of a tensor, and where it is. */
import { elementCount } from '../file/safetensors.js';

/**
 * @typedef {object} Tensor
 * @property {import('../core/dtypes.js').Dtype} dtype of the weights, before coding
 * @property {number[]} shape
 * @property {'grid' | 'lossless' | 'pass-through'} mode
 * @property {number} step grid step; 0 unless mode is 'grid'
 * @property {number} weights
 * @property {number} bytes in the file
 * @property {number} bits bytes * 8 per weight; 0 without weights
 * @property {number | null} entropyBits per weight, raw planes included; null if not coded
 */
/**
 * Where a tensor's bytes are.
 * @typedef {object} Place
 * @property {import('../file/source.js').Source} source
 * @property {number} start its first byte
 * @property {number} end one past the last
 * @property {number | null} crc CRC-32C of them; null where there is none, or blobs have their own
 * @property {{start: number, end: number}[]} [parts] in a file of version 4: where they really are
 * @property {import('../file/records.js').TensorRecord} [record] what its directory says
 */

/** @typedef {{done: number, total: number, tensor: string}} Progress of a tensor's reading */

/**
 * @param {string} name
 * @param {{dtype: string, shape: number[], start: number, end: number}} stored
 * @param {import('../file/manifest.js').ManifestEntry} [entry]
 * @returns {Tensor}
 */
export function describeTensor(name, stored, entry) {
  /** @type {any} */
  const said = entry?.mode !== undefined ? entry : { ...stored, mode: 'pass-through', step: 0, entropy_bits: null };
  const { dtype, shape, mode, step, entropy_bits: entropyBits } = said;
  const bytes = entry?.bytes ?? stored.end - stored.start;
  const weights = elementCount(shape, name);
  return {
    dtype, shape, mode, step, weights, bytes, bits: weights ? bytes * 8 / weights : 0, entropyBits,
  };
}

/** Whether a tensor is planes, or classes of rows: there is no head of all. @param {Place} place */
export const isSeveral = ({ record, parts }) => record?.kind === 4 || Number(parts?.length) > 1;
