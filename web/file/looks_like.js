/** What a file is that is not safetensors, by its first bytes. */
import { HanselError } from '../core/errors.js';

/** Of the bytes as Latin-1 text. @type {[RegExp, string][]} */
const KINDS = [
  [/^GGUF|^FUGG/, 'GGUF'],
  [/^gg(ml|mf|jt|la)|^(lm|fm|tj|al)gg/, 'GGML, which came before GGUF'],
  [/^HNSL/, 'a bare Hansel blob, without the file around it'],
  [/^PK\x03\x04/, 'a zip: an .npz, or a PyTorch checkpoint'],
  [/^\x80[\x02-\x05]/, 'a Python pickle: an old PyTorch checkpoint'],
  [/^\x93NUMPY/, 'a NumPy .npy'],
  [/^\x89HDF\r\n/, 'HDF5, as Keras writes it'],
  [/^.{4}TFL3/s, 'TensorFlow Lite'],
  [/^\x08[\x01-\x0f](\x12|\x1a|"|:|B)/, 'ONNX'],
  [/^\x1f\x8b/, 'gzip'],
  [/^\x28\xb5\x2f\xfd/, 'zstd'],
  [/^\0asm/, 'WebAssembly'],
  [/^(\x89PNG|\xff\xd8\xff|GIF8)/, 'a picture'],
  [/^version https:\/\/git-lfs/, 'a Git LFS pointer: fetch the file itself, by git lfs pull'],
  [/^(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)/i,
    'HTML: a page in place of the file, such as one of an error'],
  [/^(\xef\xbb\xbf)?\s*[{[]/, 'JSON'],
  [/^[\t\n\r\x20-\x7e]{3}[\t\n\r\x20-\x7e\x80-\xff]*$/, 'text'],
];

/** @param {Uint8Array} bytes the first of a file @returns {string | undefined} */
export function looksLike(bytes) {
  const text = String.fromCharCode(...bytes.subarray(0, 64));
  return bytes.length ? KINDS.find(([pattern]) => pattern.test(text))?.[1] : 'an empty file';
}

/**
 * @param {any} error of readHeader()
 * @param {import('./source.js').Source} source
 * @returns {Promise<any>} what it looks like; the error itself if that is not what is wrong
 */
export async function explain(error, source) {
  if (!['HANSEL_ERR_SAFETENSORS', 'HANSEL_ERR_TRUNCATED'].includes(error.code)) return error;
  const kind = looksLike(await source.read(0, Math.min(64, source.size)));
  return kind === undefined ? error : new HanselError(error.code, `not safetensors; this looks like ${kind}`, {
    where: source.name, cause: error,
  });
}
