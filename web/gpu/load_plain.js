/**
 * Matrices that are not coded, on every back end: tensors that passed through, decoded ones, your
 * own.
 */
import { loadPlain, plainMatrix } from './load.js';
import { checkDtype, KINDS } from './plain_rows.js';
import { WasmBackend } from './wasm_device.js';
import { WasmPlain } from './wasm_plain.js';
import { WebGlPlain } from './webgl_plain.js';
import { WebGpuPlain, pickLayout } from './webgpu_plain.js';

export { loadPlain, pickLayout };

/** @typedef {import('./matrix.js').Matrix} Matrix */
/** @typedef {import('./webgpu_device.js').WebGpu} WebGpu */
/** @typedef {import('./webgl_device.js').WebGl} WebGl */
/** @typedef {import('./plain_rows.js').PlainDescription} PlainDescription */

/** @param {any} gpu @param {any} store @param {PlainDescription} description */
const own = (gpu, store, { dtype, rows, columns, scale = 1, name = 'plain matrix' }) => plainMatrix(
  gpu, store, { name, dtype, shape: [rows, columns], rows, columns, scale, model: null });

/** Matrices on WebGPU, in buffers of yours. @typedef {Matrix} PlainMatrix */
export const PlainMatrix = {
  /**
   * A matrix in a buffer of yours, or of a decoded tensor: `PlainMatrix.fromBuffer(gpu, { buffer:
   * w.buffer, dtype: 'I8', rows: w.rows, columns: w.columns, scale: w.step })`.
   * @param {WebGpu} gpu @param {import('./webgpu_plain.js').PlainBuffer} description
   * @returns {Matrix} destroy() leaves the buffer alone
   * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT
   */
  fromBuffer: (gpu, description) => own(gpu, WebGpuPlain.inBuffer(gpu, description), description),
};

/** Matrices on WebGL2, in textures of yours. @typedef {Matrix} GlPlainMatrix */
export const GlPlainMatrix = {
  /**
   * A matrix in a texture of yours, or of a decoded tensor: `GlPlainMatrix.fromTexture(gpu, {
   * texture: w.texture, dtype: 'I8', rows: w.rows, columns: w.columns, scale: w.step })`.
   * @param {WebGl} gpu @param {import('./webgl_plain.js').PlainTexture} description
   * @returns {Matrix} destroy() leaves the texture alone
   * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_ARGUMENT, _DTYPE; HANSEL_ERR_LIMIT if
   *   no texture can hold it
   */
  fromTexture: (gpu, description) => own(gpu, WebGlPlain.inTexture(gpu, description), description),
};

/**
 * A matrix on the CPU, in memory of yours; with `new` or without.
 * @param {import('../core/codec.js').Codec} codec of an open model
 * @param {Uint8Array} bytes of all elements, retained @param {PlainDescription} description
 * @returns {Matrix}
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_ARGUMENT if the bytes are not as many
 *   as the elements take; HANSEL_ERR_DTYPE
 */
export function WasmPlainMatrix(codec, bytes, description) {
  const { dtype, rows, columns, scale = 1, name = 'plain matrix' } = description;
  checkDtype(dtype, name);
  const gpu = new WasmBackend();
  const rowPitch = columns * KINDS[dtype].bytes;
  const store = new WasmPlain(gpu, name, { dtype, rows, columns, rowPitch, scale }, codec);
  store.take(bytes);
  return own(gpu, store, description);
}
