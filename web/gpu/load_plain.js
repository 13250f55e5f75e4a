/**
 * Matrices that are not coded, on every back end: tensors that passed through,
 * decoded ones, your own.
 */
import { WasmPlainMatrix, loadWasmPlain } from './wasm_plain.js';
import { GlPlainMatrix, loadWebGlPlain } from './webgl_plain.js';
import { PlainMatrix, loadWebGpuPlain, pickLayout } from './webgpu_plain.js';

export { GlPlainMatrix, PlainMatrix, WasmPlainMatrix, pickLayout };

/** @typedef {import('./webgpu_device.js').WebGpu} WebGpu */
/** @typedef {import('./webgl_device.js').WebGl} WebGl */
/** @typedef {import('./wasm_device.js').WasmBackend} WasmBackend */

/**
 * Loads a tensor that was passed through, as load() does, with a layout of your choice.
 * @template {WebGpu | WebGl | WasmBackend} B
 * @param {B} gpu @param {import('../model/model.js').Model} model @param {string} name
 * @param {import('./plain_matrix.js').PlainOptions} [options]
 * @returns {Promise<B extends WebGpu ? PlainMatrix : B extends WebGl ? GlPlainMatrix : WasmPlainMatrix>}
 * @throws {HanselError} HANSEL_ERR_DTYPE when it is coded, or not F32, F16, BF16 or I8;
 *   HANSEL_ERR_LIMIT, _MEMORY, _LOST, _GPU, and as Model.slices()
 * @example
 * const head = await loadPlain(gpu, model, 'lm_head.weight');
 * const y = await head.matvec(x);
 */
export async function loadPlain(gpu, model, name, options = {}) {
  const made = gpu.kind === 'webgpu' ? loadWebGpuPlain(gpu, model, name, options)
    : gpu.kind === 'webgl' ? loadWebGlPlain(gpu, model, name, options)
      : loadWasmPlain(model, name, options);
  return /** @type {any} */ (await made);
}
