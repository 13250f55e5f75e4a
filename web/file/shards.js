/** The index of a sharded checkpoint, model.safetensors.index.json, and the files that it names. */
import { HanselError } from '../core/errors.js';
import { hasLoneSurrogate, parseJson } from './json.js';

/** @typedef {import('./source.js').Source} Source */

/**
 * Names of the shards in an index file.
 * @param {Source} source @param {AbortSignal} [signal]
 * @returns {Promise<{shards: string[], weightMap: Map<string, string>}>}
 */
export async function readIndex(source, signal) {
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
 * What to open for a file beside this one.
 * @param {string} file its name, from an untrusted index
 * @param {string} name of this one @param {import('./source.js').Backend['sibling']} sibling
 * @returns {string | URL}
 * @throws {HanselError} HANSEL_ERR_INDEX, HANSEL_ERR_SOURCE
 */
export function siblingOf(file, name, sibling) {
  const parts = String(file).split('/');
  const bad = parts.some((part) => part === '' || part === '.' || part === '..');
  // A leading "c:" would be a drive in Windows.
  if (typeof file !== 'string' || bad || /[\\\u0000-\u001f]|^[a-z]:/i.test(file)
      || hasLoneSurrogate(file)) {
    throw new HanselError('HANSEL_ERR_INDEX', 'not the name of a file beside this one', {
      expected: 'a relative name without ".."', got: JSON.stringify(file),
    });
  }
  if (!sibling) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'bytes in memory have no files beside them', {
      got: file, where: name,
    });
  }
  return sibling(parts);
}
