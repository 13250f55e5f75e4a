/** One tensor through web/encode/tensor_encoder.js on this thread, without the rules for files. */
import { TensorEncoder } from '../../web/encode/tensor_encoder.js';

/**
 * @param {import('../../web/core/encoder.js').Encoder} codec
 * @param {{dtype: string, shape: number[], data: Uint8Array}} tensor
 * @param {import('../../web/encode/encode.js').EncodeOptions} options @param {boolean} lossless
 * @returns {Promise<{head: Uint8Array, parts: Uint8Array[], bytes: number} | null>} parts: what
 *   follows the head; bytes of all. null if no step reaches the goal
 */
export async function codeTensor(codec, { dtype, shape, data }, options, lossless) {
  const run = async (/** @type {string} */ method, /** @type {unknown[]} */ args) => (
    /** @type {any} */ (codec)[method](...args));
  const encoder = new TensorEncoder({ codec, width: 1, run },
    { name: 'w', dtype, shape, read: async (start, end) => data.subarray(start, end) }, options);
  if (encoder.rawBytes !== data.length) throw new Error('data does not fill the shape');
  const planned = await encoder.plan(lossless);
  if (!planned) return null;
  /** @type {Uint8Array[]} */
  const parts = [];
  const { head, state } = await encoder.code(planned, {
    write: (bytes) => void parts.push(bytes),
    clear: () => void parts.splice(0),
    keep: () => {},
  });
  return { head, parts, bytes: state.blob.blobBytes };
}
