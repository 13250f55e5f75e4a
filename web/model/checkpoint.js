/** A checkpoint in shards: several files as one model. */
import { HanselError } from '../core/errors.js';
import { readIndex } from '../file/shards.js';

/** @typedef {import('./model.js').Model} Model */
/** @typedef {import('../file/source.js').Source} Source */

/**
 * Adds all shards' tensors to a model.
 * @param {Model} model @param {Source} source the index; closed
 * @param {{signal?: AbortSignal,
 *   onProgress?: (progress: import('./tensor.js').Progress) => void}} options counts shards
 */
export async function addShards(model, source, { signal, onProgress }) {
  const { shards, weightMap } = await readIndex(source, signal);
  await source.close();
  for (const [i, shard] of shards.entries()) {
    await model.addFile(await source.resolve(shard, { signal }), signal);
    onProgress?.({ done: i + 1, total: shards.length, tensor: '' });
  }
  checkIndex(model, shards, weightMap);
}

/** @param {Model} model @param {string[]} shards @param {Map<string, string>} weightMap */
function checkIndex(model, shards, weightMap) {
  for (const name of new Set([...weightMap.keys(), ...model.tensors.keys()])) {
    const source = model.places.get(name)?.source;
    const found = source && shards[model.sources.indexOf(source)];
    const expected = weightMap.get(name);
    if (found !== expected) {
      throw new HanselError('HANSEL_ERR_INDEX', 'the index contradicts the shards', {
        expected: expected ?? 'not indexed', got: found ?? 'in no shard', where: name,
      });
    }
  }
}
