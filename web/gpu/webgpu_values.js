/** Decoded weights on WebGPU, read back: symbols as they are, or put together as elements of a dtype. */
import { DTYPES } from '../core/dtypes.js';
import { rowQuads } from '../core/vectors.js';
import { LARGEST, losslessOf, unpad } from './parts.js';
import { GROUP_COLUMNS, GROUP_SIZE } from './webgpu_products.js';

/** Bytes read back at a time. */
const READ_BYTES = 16 << 20;

/** @typedef {{startStep: number, steps: number, symbols: GPUBuffer | null}} SymbolsPart */
/**
 * @typedef {import('./webgpu_store.js').WebGpuStore & {blob: import('../core/codec.js').Blob,
 *   parts: any[], rawPlane: (part: any) => RawPlane}} SymbolsStore
 */
/**
 * @typedef {object} RawPlane
 * @property {GPUBuffer | null} buffer @property {number} pitch bytes from row to row
 * @property {number} offset byte where row 0 of the matrix would begin; of 2^32, thus below 0 too
 */

/**
 * MatrixStore.read() of weights whose symbols were decoded.
 * @param {SymbolsStore} store @param {string} target @param {number} first @param {number} count
 * @param {Uint8Array} out
 */
export async function readWeights(store, target, first, count, out) {
  const { gpu, blob } = store;
  const quads = rowQuads(blob.columns);
  const isSymbols = target === 'symbols' || blob.rawBytes + (blob.mode === 'grid' ? 1 : 0) === 0;
  const size = isSymbols ? 1 : target === 'F32' ? 4 : 2;
  const pipeline = isSymbols ? null : await gpu.guard(() => gpu.pipeline('values',
    'convert_values', { group_size: GROUP_SIZE }));
  const unit = isSymbols ? READ_BYTES / 4
    : Math.floor(Math.min(READ_BYTES, gpu.bindingBytes) / (4 * size));
  for (const part of store.parts) {
    const end = Math.min(part.startStep + part.steps, (first + count) * quads);
    for (let step = Math.max(part.startStep, first * quads); step < end; step += unit) {
      const some = Math.min(unit, end - step);
      const padded = await gpu.guard(() => {
        store.checkAlive();
        return pipeline ? convert(store, pipeline, part, step, some, target)
          : gpu.read(part.symbols, 4 * (step - part.startStep), 4 * some);
      });
      unpad(padded, step - first * quads, blob.columns, size, out);
    }
  }
}

/**
 * @param {SymbolsStore} store @param {GPUComputePipeline} pipeline @param {SymbolsPart} part
 * @param {number} step of the tensor @param {number} count steps @param {string} dtype
 * @returns {Promise<Uint8Array>} padded rows
 */
async function convert(store, pipeline, part, step, count, dtype) {
  const { gpu, blob } = store;
  const raw = store.rawPlane(part);
  const uniform = new DataView(new ArrayBuffer(64));
  [step, count, GROUP_COLUMNS, part.startStep, blob.columns,
    blob.mode === 'grid' ? 0 : 1, DTYPES[/** @type {'F32'} */ (dtype)], blob.rawBytes, raw.offset,
    raw.pitch, 0, 0, ...Object.values(losslessOf(blob)),
  ].forEach((value, i) => uniform.setUint32(4 * i, value, true));
  uniform.setFloat32(40, blob.step, true);
  uniform.setFloat32(44, LARGEST[/** @type {'F32'} */ (dtype)], true);
  const bytes = count * (dtype === 'F32' ? 16 : 8);
  const scratch = [
    gpu.filled(new Uint8Array(uniform.buffer), GPUBufferUsage.UNIFORM, 'values'),
    gpu.buffer(bytes, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, 'values'),
  ];
  const plane = raw.buffer ?? gpu.buffer(16, GPUBufferUsage.STORAGE, 'no raw plane');
  if (!raw.buffer) scratch.push(plane);
  try {
    const encoder = gpu.device.createCommandEncoder();
    gpu.dispatch(encoder, pipeline,
      [scratch[0], /** @type {GPUBuffer} */ (part.symbols), plane, scratch[1]], count);
    gpu.device.queue.submit([encoder.finish()]);
    return await gpu.read(scratch[1], 0, bytes);
  } finally {
    for (const buffer of scratch) gpu.free(buffer);
  }
}
