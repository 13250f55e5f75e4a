/** onnxruntime-web's wasm in Node. */
import * as ort from 'onnxruntime-web';
import { lastLogits } from './onnx_run.js';

ort.env.wasm.numThreads = 1;

/**
 * @param {{model: Uint8Array, externalData?: {path: string, data: Uint8Array}[], tokens: number[]}} given
 *   externalData: weights beside the model, by the name that it has for them
 * @returns {Promise<Float32Array>} logits of what follows the tokens
 */
export async function runOnnx({ model, externalData, tokens }) {
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'], externalData });
  try {
    return await lastLogits(ort, session, tokens);
  } finally {
    await session.release();
  }
}
