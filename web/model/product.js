/** y = W x while W is read: Model.matvec(). */
import { dtypeBytes } from '../core/dtypes.js';
import { allocate } from '../core/memory.js';
import { BATCH, multiplyPlain, scaled } from '../core/multiply.js';
import { checkFloat, checkFloats, checkVector, viewOf, widened } from '../core/vectors.js';
import { TensorReader } from './tensor_reader.js';

/**
 * How a tensor is read for readProduct(): a grid's indices, scaled at the end.
 * @param {import('./tensor.js').Tensor} tensor @param {AbortSignal} [signal]
 * @returns {import('./tensor_reader.js').Reading}
 */
export const wantedOf = ({ mode }, signal) => (
  { dtype: mode === 'grid' ? 'I8' : undefined, slice: BATCH, signal });

/**
 * @param {TensorReader | import('./several.js').SeveralReader} reader of what wantedOf() says; closed
 * @param {import('../core/vectors.js').Vector} x @param {Float32Array} [bias]
 * @returns {Promise<Float32Array>}
 * @throws {HanselError} as Model.matvec()
 */
export async function readProduct(reader, x, bias) {
  const { codec, name, tensor, dtype } = reader;
  try {
    checkFloat(tensor, name);
    const isBlob = reader instanceof TensorReader && tensor.mode !== 'pass-through';
    const { rows, columns } = isBlob ? (await reader.readHead()).blob : viewOf(tensor.shape);
    const vector = widened(checkFloats({ columns, name }, x, 1));
    if (bias) checkVector({ columns: rows, name: `${name} bias` }, bias, 'Float32Array', 1);
    const y = new Float32Array(allocate(4 * rows, name).buffer);
    for await (const { start, bytes } of reader.slices()) {
      const count = bytes.length / dtypeBytes(dtype);
      multiplyPlain(codec, { dtype, rows, columns }, bytes, start, count, vector, 1, y);
    }
    return scaled(y, tensor.mode === 'grid' ? tensor.step : 1, bias);
  } finally {
    await reader.close();
  }
}
