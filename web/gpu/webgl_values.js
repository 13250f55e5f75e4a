/** Decoded weights on WebGL2, read back: symbols as they are, or put together as elements of a dtype. */
import { DTYPES } from '../core/dtypes.js';
import { rowQuads } from '../core/vectors.js';
import { LARGEST, losslessUniforms, unpad } from './parts.js';

/** Texels read back at a time: 16 MiB. */
const READ_TEXELS = 1 << 20;

/** @typedef {import('./webgl_context.js').Program} Program */
/** @typedef {{startStep: number, steps: number, symbols: WebGLTexture | null}} SymbolsPart */
/**
 * @typedef {object} RawPlane
 * @property {WebGLTexture | null} texture @property {number} pitch bytes from row to row
 * @property {number} offset byte where row 0 of the matrix would begin; may be below 0
 * @property {import('./webgl_context.js').Uniforms} [streams] where it is packed in streams: struct
 *   Streams of the shaders, and raw_pitch
 */
/**
 * @typedef {import('./webgl_store.js').WebGlStore & {blob: import('../core/codec.js').Blob,
 *   parts: any[], rawPlane: (part: any) => RawPlane}} SymbolsStore
 */

/**
 * MatrixStore.read() of weights whose symbols were decoded.
 * @param {SymbolsStore} store @param {string} target @param {number} first @param {number} count
 * @param {Uint8Array} out
 */
export async function readWeights(store, target, first, count, out) {
  const { gpu, blob } = store;
  const quads = rowQuads(blob.columns);
  const isSymbols = target === 'symbols' || (blob.mode !== 'grid' && !blob.rawBytes);
  const size = isSymbols ? 1 : target === 'F32' ? 4 : 2;
  const unit = 4 * Math.min(READ_TEXELS, gpu.arrayTexels) / size;
  for (const part of store.parts) {
    const raw = store.rawPlane(part);
    const program = isSymbols ? null : await gpu.guard(() => gpu.program(
      raw.streams ? 'values_streams' : 'values', raw.streams ? { RAW_STREAMS: 1 } : {}));
    const end = Math.min(part.startStep + part.steps, (first + count) * quads);
    for (let step = Math.max(part.startStep, first * quads); step < end; step += unit) {
      const some = Math.min(unit, end - step);
      const { buffer, byteOffset } = await gpu.guard(() => {
        store.checkAlive();
        return program ? convert(store, program, part, raw, step, some, target)
          : readSymbols(store, part, step - part.startStep, some);
      });
      unpad(new Uint8Array(buffer, byteOffset, 4 * size * some), step - first * quads,
        blob.columns, size, out);
    }
  }
}

/** @param {SymbolsStore} store @param {SymbolsPart} part @param {number} step of the part
 * @param {number} count steps */
async function readSymbols({ gpu }, part, step, count) {
  const from = Math.floor(step / 4);
  const words = await gpu.readArray(/** @type {WebGLTexture} */ (part.symbols), from,
    Math.ceil((step + count) / 4) - from);
  return words.subarray(step - 4 * from);
}

/**
 * @param {SymbolsStore} store @param {Program} program @param {SymbolsPart} part @param {RawPlane} raw
 * @param {number} step of the tensor @param {number} count steps @param {string} dtype
 * @returns {Promise<Uint32Array>} padded rows
 */
async function convert({ gpu, blob }, program, part, raw, step, count, dtype) {
  const texels = Math.ceil(count / (dtype === 'F32' ? 1 : 2));
  const bits = new Uint32Array(Float32Array.of(blob.step, LARGEST[dtype]).buffer);
  const target = gpu.array(texels, gpu.gl.RGBA32UI);
  try {
    gpu.fill(program, { symbols: part.symbols, raw: raw.texture ?? part.symbols }, {
      ...raw.streams, 'values.first_quad': step, 'values.quad_count': count,
      'values.symbols_start': part.startStep, 'values.columns': blob.columns,
      'values.mode': blob.mode === 'grid' ? 0 : 1,
      'values.dst_dtype': DTYPES[/** @type {'F32'} */ (dtype)],
      'values.step_bits': bits[0], 'values.limit_bits': bits[1],
      'values.raw_bytes': blob.rawBytes, 'values.raw_offset': raw.offset >>> 0,
      'values.raw_pitch': raw.pitch, ...losslessUniforms(blob),
    }, target, 0, texels);
    return await gpu.readArray(target, 0, texels);
  } finally {
    gpu.free(target);
  }
}
