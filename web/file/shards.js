/** The index of a sharded checkpoint, model.safetensors.index.json, and the names in it. */
import { HanselError } from '../core/errors.js';
import { hasLoneSurrogate, parseJson } from './json.js';

/** @typedef {import('./source.js').Source} Source */
/** @typedef {import('../model/model.js').Model} Model */

/**
 * Names of the shards in an index file.
 * @param {Source} source @param {AbortSignal} [signal]
 * @returns {Promise<{shards: string[], weightMap: Map<string, string>}>}
 */
async function readIndex(source, signal) {
  const bytes = await source.read(0, source.size, { signal });
  const code = 'HANSEL_ERR_INDEX';
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new HanselError(code, 'the index is not UTF-8', { where: source.name, cause });
  }
  const index = parseJson(text.trimEnd(), { code, maxDepth: 64 });
  const map = index instanceof Map ? index.get('weight_map') : undefined;
  if (!(map instanceof Map) || [...map.values()].some((file) => typeof file !== 'string')) {
    throw new HanselError(code, 'the index has no weight_map of strings', { where: source.name });
  }
  const weightMap = /** @type {Map<string, string>} */ (map);
  return { shards: [...new Set(weightMap.values())], weightMap };
}

/**
 * Adds all shards' tensors to a model.
 * @param {Model} model @param {Source} source the index; closed
 * @param {{signal?: AbortSignal, onProgress?: (progress: import('../model/model.js').Progress) => void}} options
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

/**
 * The parts of a sibling's name, which comes from an untrusted index.
 * @param {string} file
 * @returns {string[]}
 * @throws {HanselError} HANSEL_ERR_INDEX
 */
export function siblingParts(file) {
  const parts = String(file).split('/');
  const bad = parts.some((part) => part === '' || part === '.' || part === '..');
  // A leading "c:" would be a drive in Windows.
  if (typeof file !== 'string' || bad || /[\\\u0000-\u001f]|^[a-z]:/i.test(file)
      || hasLoneSurrogate(file)) {
    throw new HanselError('HANSEL_ERR_INDEX', 'not the name of a file beside this one', {
      expected: 'a relative name without ".."', got: JSON.stringify(file),
    });
  }
  return parts;
}
