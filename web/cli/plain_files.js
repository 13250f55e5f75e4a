/** Files to be coded, of every format that is known: what is in them as input for the encoder. */
import { HanselError } from '../core/errors.js';
import { carrierInputs } from '../encode/carrier_inputs.js';
import { inputsOf, plainHeader } from '../encode/encode.js';
import { CARRIER } from '../file/carrier.js';
import { looksLike } from '../file/looks_like.js';
import { openSource } from '../file/source.js';
import { open } from '../model/model.js';
import { isTemporary } from './temporary.js';

/** @typedef {import('../encode/encode.js').Input} Input */
/** @typedef {import('../encode/carrier_inputs.js').FoundFile} FoundFile */
/** @typedef {import('../file/source.js').Source} Source */
/**
 * @typedef {object} PlainFile
 * @property {string} name relative to the first of its model; '' of that
 * @property {Input[]} inputs @property {number} rawBytes
 * @property {Uint8Array} [header] what the coded file gives as the plain one's; by default one is made
 * @property {Iterable<[string, string]>} [metadata] for that
 */
/** @typedef {{files: PlainFile[], close: () => Promise<void>}} PlainModel */

/** First bytes that formats are told by. */
const FIRST = 64;

/**
 * What a file's tensors are in.
 * @param {Source} source @returns {Promise<'safetensors' | 'gguf' | 'onnx' | undefined>}
 */
async function formatOf(source) {
  const kind = looksLike(await source.read(0, Math.min(FIRST, source.size)));
  if (kind === 'GGUF') return 'gguf';
  if (kind === 'ONNX' || (kind === undefined && /\.onnx$/i.test(source.name))) return 'onnx';
  return kind === undefined ? 'safetensors' : undefined;
}

/** Standard input, which is read from a copy. @param {Source} source @returns {Source} */
const alone = (source) => ({
  ...source,
  async resolve(file) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'standard input has no files beside it', { got: file });
  },
});

/**
 * Opens a file and those that belong to it; not the shards of an index.
 * @param {string} from path or URL
 * @param {{isBytes?: boolean, signal?: AbortSignal}} options isBytes: whatever it is, it is bytes
 * @returns {Promise<PlainModel>} names of all inputs differ
 * @throws {HanselError} as open(); HANSEL_ERR_GGUF, _ONNX
 */
export async function openPlain(from, { isBytes, signal }) {
  const opened = await openSource(from, { signal });
  const source = isTemporary(from) ? alone(opened) : opened;
  /** @type {Source[]} */
  const sources = [source];
  const close = async () => { for (const one of sources) await one.close(); };
  try {
    const format = isBytes ? 'bytes' : await formatOf(source);
    /** @type {FoundFile[]} */
    let found;
    if (format === 'bytes') {
      found = [{ format, code: 'HANSEL_ERR_ARGUMENT', source, tensors: [] }];
    } else if (format === 'onnx') {
      found = await (await import('./onnx.js')).findInOnnx(source, signal);
    } else if (format === 'gguf') {
      found = await findInSplits(source, sources, signal);
    } else {
      await source.close();
      return await openSafetensors(from, signal);
    }
    for (const { source: one } of found) if (!sources.includes(one)) sources.push(one);
    const [{ beside = [] }] = found;
    const taken = new Set();
    const files = found.map((file, i) => ({
      name: i ? beside[i - 1] : '', rawBytes: file.source.size, ...carrierInputs(file, taken),
    }));
    return { files, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * A GGUF file, and the splits that follow it.
 * @param {Source} source @param {Source[]} sources receives those that are opened @param {AbortSignal} [signal]
 */
async function findInSplits(source, sources, signal) {
  const { findInGguf } = await import('./gguf.js');
  const first = await findInGguf(source, signal);
  const found = [first];
  for (const name of first.beside ?? []) {
    const split = await source.resolve(name, { signal });
    sources.push(split);
    found.push({ ...await findInGguf(split, signal), beside: [] });
  }
  return found;
}

/** @param {string} from @param {AbortSignal} [signal] @returns {Promise<PlainModel>} */
async function openSafetensors(from, signal) {
  const model = await open(from, { signal }).catch((error) => { throw withHint(error); });
  try {
    if (!model.isCoded && model.metadata.has(CARRIER)) { // as whose ranges it would be decoded
      throw new HanselError('HANSEL_ERR_MANIFEST', `${CARRIER} in the metadata of a plain file; --bytes codes any file as bytes`, {
        where: model.sources[0].name,
      });
    }
    return {
      files: [{
        name: '', inputs: inputsOf(model), rawBytes: model.bytes, header: plainHeader(model), metadata: model.metadata,
      }],
      close: () => model.close(),
    };
  } catch (error) {
    await model.close();
    throw error;
  }
}

/** @param {any} error of what is no safetensors file @returns {any} */
function withHint(error) {
  if (!/ this looks like /.test(error?.message)) return error;
  return new HanselError(error.code, `${error.message}; --bytes codes any file as bytes`, { cause: error });
}
