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
  /** Shards by the names of their tensors. @type {Map<string, string>} */
  const found = new Map();
  for (const [i, shard] of shards.entries()) {
    const names = await model.addFile(await source.resolve(shard, { signal }), signal);
    for (const name of names) found.set(name, shard);
    onProgress?.({ done: i + 1, total: shards.length, tensor: '' });
  }
  checkIndex(found, weightMap);
}

/** @param {Map<string, string>} found @param {Map<string, string>} weightMap */
function checkIndex(found, weightMap) {
  for (const name of new Set([...weightMap.keys(), ...found.keys()])) {
    const got = found.get(name);
    const expected = weightMap.get(name);
    if (got !== expected) {
      throw new HanselError('HANSEL_ERR_INDEX', 'the index contradicts the shards', {
        expected: expected ?? 'not indexed', got: got ?? 'in no shard', where: name,
      });
    }
  }
}
