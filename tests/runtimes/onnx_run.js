/** Runs a causal language model in onnxruntime-web, wherever that is. */

/**
 * @param {any} ort the module @param {any} session of a model of tools/onnx_model.js
 * @param {number[]} tokens @returns {Promise<Float32Array>} logits of what follows them
 */
export async function lastLogits(ort, session, tokens) {
  const int64 = (/** @type {number[]} */ values) => (
    new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]));
  /** @type {Record<string, any>} */
  const feeds = {
    input_ids: int64(tokens), attention_mask: int64(tokens.map(() => 1)), position_ids: int64(tokens.map((_, i) => i)),
  };
  for (const { name, type, shape } of session.inputMetadata) {
    if (name in feeds) continue;
    // Nothing has been read before.
    const dims = shape.map((/** @type {number | string} */ size) => (
      { batch_size: 1, past_sequence_length: 0 }[size] ?? size));
    feeds[name] = new ort.Tensor(type, new Float32Array(0), dims);
  }
  const { logits } = await session.run(feeds);
  const [, count, vocab] = logits.dims;
  const data = /** @type {Float32Array} */ (await logits.getData());
  return data.slice((count - 1) * vocab);
}
