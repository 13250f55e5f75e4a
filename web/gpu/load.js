/**
 * Loading tensors: their bytes go to a device as they arrive, as they lie in the file, or coded once
 * more for its memory (load_streams.js).
 */
import { HanselError, checkAborted } from '../core/errors.js';
import { refuse } from '../core/options.js';
import { viewOf } from '../core/vectors.js';
import { isSeveral } from '../model/tensor.js';
import { Matrix } from './matrix.js';
import { RangeWriter } from './parts.js';
import { KINDS, RowUpload, checkDtype } from './plain_rows.js';
import { inWholeBytes } from './whole_bytes.js';

/** @typedef {import('../model/model.js').Model} Model */
/**
 * @typedef {object} LoadOptions
 * @property {AbortSignal} [signal]
 * @property {(progress: {done: number, total: number, tensor: string}) => void} [onProgress] in bytes
 * @property {import('./recode.js').Form} [as] how coded weights are to lie in a GPU's memory: 'prefix',
 *   codes that are multiplied quickly, or 'packed' in 1, 2, 4 or 8 bits, quicker still, both made as they are
 *   loaded; or 'coded' as they came, which is the smallest and slowest. Tensors of several matrices (classes
 *   of rows, planes) are decoded by the CPU and lie plain. 'auto', the default, takes what
 *   suits weights and device; the CPU keeps them coded. The matrix' `form` says what came of it
 * @property {'auto' | 'gpu' | 'cpu'} [recode] who makes them: by default the GPU, where it is one and has
 *   WebGPU
 * @property {import('./plain_rows.js').Layout} [layout] of a tensor that is not coded; by default
 *   what suits the device
 */

/**
 * load() of every device.
 * @param {any} gpu @param {Model} model retained by the matrix, for verify() @param {string} name
 * @param {LoadOptions} [options]
 * @returns {Promise<Matrix>}
 * @throws {HanselError} HANSEL_ERR_TENSOR, _LIMIT, _MEMORY, _LOST, _GPU, and as Model.slices();
 *   HANSEL_ERR_DTYPE for a tensor that is neither coded as one matrix nor F32, F16, BF16 or I8
 */
export async function loadMatrix(gpu, model, name, options = {}) {
  const isPlain = isWhole(model, name);
  const { as = 'auto', recode = 'auto' } = options;
  checkOne(as, ['auto', 'prefix', 'packed', 'coded'], 'no such form of weights', name);
  checkOne(recode, ['auto', 'gpu', 'cpu'], 'nobody of that name codes weights', name);
  return (isPlain ? loadPlain : loadCodedMatrix)(gpu, model, name, options);
}

/** Whether it is loaded decoded: what passed through, and tensors of several matrices.
 * @param {Model} model @param {string} name */
const isWhole = (model, name) => (
  model.tensor(name).mode === 'pass-through' || isSeveral(model.place(name)));

/** @type {typeof loadMatrix} */
async function loadCodedMatrix(gpu, model, name, options = {}) {
  const { signal, onProgress, layout, as = 'auto', recode = 'auto', ...rest } = options;
  await refuse(rest, 'load');
  const recoding = gpu.makeStreams && await import('./recode.js');
  await gpu.ready();
  const stored = await model.payload(name, { signal });
  const payload = gpu.kind === 'wasm' ? stored : inWholeBytes(model.codec, stored);
  const { blob } = payload;
  const { dtype, shape, mode, step, rows, columns } = blob;
  const facts = {
    name, dtype, shape, mode, step, rows, columns, scale: mode === 'grid' ? step : 1, model,
  };
  try {
    const code = await recoding?.pickCode(as, blob, gpu);
    if (!code) return new Matrix(gpu, await loadAsIs(gpu, model, name, payload, options), facts);
    const { loadStreams } = await import('./load_streams.js');
    const onGpu = Boolean(gpu.recodes) && (recode === 'gpu' || (recode === 'auto' && !gpu.isSoftware));
    return new Matrix(gpu,
      await loadStreams(gpu, model, name, payload, code, { signal, onProgress, onGpu }), facts);
  } finally {
    await stored.chunks.return(undefined);
  }
}

/** @param {string} got @param {string[]} known @param {string} what @param {string} where
 * @throws {HanselError} HANSEL_ERR_ARGUMENT */
function checkOne(got, known, what, where) {
  if (known.includes(got)) return;
  throw new HanselError('HANSEL_ERR_ARGUMENT', what, { expected: known.join(', '), got, where });
}

/**
 * Coded weights as they lie in the file.
 * @param {any} gpu @param {Model} model @param {string} name
 * @param {Awaited<ReturnType<Model['payload']>>} payload @param {LoadOptions} options
 * @returns {Promise<any>} the store
 */
async function loadAsIs(gpu, model, name, { blob, cursors, chunks }, { signal, onProgress }) {
  const store = gpu.makeCoded(name, blob, model.codec);
  try {
    await gpu.guard(() => store.allocate(cursors));
    const writer = new RangeWriter(store.ranges(), store.unit);
    const total = blob.blobBytes - blob.headBytes;
    for await (const chunk of chunks) {
      checkAborted(signal);
      await gpu.upload(() => {
        store.checkAlive();
        writer.push(chunk);
      });
      onProgress?.({ done: writer.at, total, tensor: name });
    }
    await gpu.guard(() => store.checkAlive());
    return store;
  } catch (error) {
    store.free();
    throw error;
  }
}

/**
 * Loads a tensor that was passed through, or is coded as several matrices, as load() does, with a layout of
 * your choice.
 * @param {any} gpu @param {Model} model retained by the matrix, for verify() @param {string} name
 * @param {LoadOptions} [options]
 * @returns {Promise<Matrix>}
 * @throws {HanselError} HANSEL_ERR_DTYPE when it is coded, or not F32, F16, BF16 or I8;
 *   HANSEL_ERR_TENSOR, _LIMIT, _MEMORY, _LOST, _GPU, and as Model.slices()
 * @example
 * const head = await loadPlain(gpu, model, 'lm_head.weight');
 * const y = await head.matvec(x);
 */
export async function loadPlain(gpu, model, name, options = {}) {
  const { signal, onProgress, layout, as, recode, ...rest } = options; // as, recode: of coded ones
  await refuse(rest, 'load');
  const { dtype, shape, mode } = model.tensor(name);
  if (!isWhole(model, name)) {
    throw new HanselError('HANSEL_ERR_DTYPE', 'the tensor is coded: load() takes it', {
      expected: 'a tensor that was passed through', got: mode, where: name,
    });
  }
  checkDtype(dtype, name);
  const { rows, columns } = viewOf(shape);
  const rowBytes = columns * KINDS[dtype].bytes;
  const rowPitch = Math.ceil(rowBytes / gpu.rowAlign) * gpu.rowAlign;
  await gpu.ready();
  const store = gpu.makePlain(name, { dtype, rows, columns, rowPitch, layout, scale: 1 },
    model.codec);
  try {
    const partRows = await gpu.guard(() => store.allocate());
    const upload = new RowUpload(rowBytes, rowPitch, partRows, gpu.rowAlign,
      (row, at, bytes) => store.write(row, at, bytes));
    let done = 0;
    for await (const { bytes } of model.slices(name, { signal })) {
      checkAborted(signal);
      await gpu.upload(() => {
        store.checkAlive();
        upload.push(bytes);
      });
      done += bytes.length;
      onProgress?.({ done, total: rows * rowBytes, tensor: name });
    }
    await gpu.guard(() => store.checkAlive());
    return plainMatrix(gpu, store, { name, dtype, shape, rows, columns, scale: 1, model });
  } catch (error) {
    store.free();
    throw error;
  }
}

/**
 * A matrix of weights that are not coded.
 * @param {any} gpu @param {any} store
 * @param {Omit<import('./matrix.js').Facts, 'mode' | 'step'>} facts
 */
export const plainMatrix = (gpu, store, facts) => new Matrix(gpu, store, {
  ...facts, mode: 'pass-through', step: 0,
});
