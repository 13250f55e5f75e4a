/** A language model in onnxruntime-web: what it says next, one character after the other. */

/** @typedef {{characters: string, layers: number, heads: number, headDim: number}} Shape of models.json */

/**
 * @param {any} ort the module @param {any} session of a model that takes and gives a cache of keys and values
 * @param {Shape} shape @param {string} prompt @param {number} count of characters wanted
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<string>} the likeliest characters
 */
export async function* write(ort, session, { characters, layers, heads, headDim }, prompt, count, signal) {
  const int64 = (/** @type {number[]} */ values) => (
    new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]));
  /** @type {Record<string, any>} */
  const cache = {};
  for (let layer = 0; layer < layers; layer++) {
    for (const kind of ['key', 'value']) {
      cache[`${layer}.${kind}`] = new ort.Tensor('float32', new Float32Array(0), [1, heads, 0, headDim]);
    }
  }
  let tokens = [...prompt].map((character) => Math.max(characters.indexOf(character), 0));
  for (let done = 0, read = 0; done < count; done++) {
    signal.throwIfAborted();
    read += tokens.length;
    const found = await session.run({
      input_ids: int64(tokens), attention_mask: int64(Array(read).fill(1)),
      position_ids: int64(tokens.map((_, i) => read - tokens.length + i)),
      ...Object.fromEntries(Object.entries(cache).map(([name, value]) => [`past_key_values.${name}`, value])),
    });
    for (const name of Object.keys(cache)) cache[name] = found[`present.${name}`];
    const { data, dims } = found.logits;
    const last = data.subarray((dims[1] - 1) * dims[2]);
    tokens = [last.reduce((/** @type {number} */ best, /** @type {number} */ x, /** @type {number} */ i) => (
      x > last[best] ? i : best), 0)];
    yield characters[tokens[0]];
  }
}
