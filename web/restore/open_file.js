/** openFile(): coded files as those that were coded. */
import { Codec } from '../core/codec.js';
import { refuse } from '../core/options.js';
import { openSource } from '../file/source.js';
import { Model } from '../model/model.js';
import { checkThreads } from '../workers/pool.js';
import { RestoredFile } from './restored_file.js';

/** @typedef {import('../file/source.js').Source} Source */
/**
 * @typedef {object} FileOptions
 * @property {AbortSignal} [signal] stops the opening
 * @property {number} [threads] that share large tensors, the calling one among them; 1 by default
 * @property {boolean} [resumable] what a stopped read has received is not asked for again
 */

/**
 * Opens a coded file (`hansel encode model.onnx`, `.gguf`, `.safetensors`) to have the file back that was coded: for
 * a runtime that knows nothing of Hansel. Reads the header only; bytes are made when asked for.
 *
 * @param {Uint8Array | ArrayBuffer | Blob | URL | string} from a URL (the server must answer Range requests, or the
 *   file have at most 512 MiB), a Blob or File, bytes, or in Node a path; retained until close()
 * @param {FileOptions} [options]
 * @returns {Promise<RestoredFile>} to be closed
 * @throws {import('../core/errors.js').HanselError} as open(); HANSEL_ERR_MANIFEST for a file of before version 4
 * @example
 * const file = await openFile('model.onnx.hansel');
 * const session = await InferenceSession.create(await file.bytes());
 */
export async function openFile(from, { signal, threads, resumable, ...rest } = {}) {
  await refuse(rest, 'openFile');
  checkThreads(threads);
  return restore(await openSource(/** @type {any} */ (from), { signal, resumable }), { signal, threads });
}

/**
 * @param {Source} source closed with the file, or if there is none
 * @param {Pick<FileOptions, 'signal' | 'threads'>} options
 * @returns {Promise<RestoredFile>}
 */
export async function restore(source, { signal, threads }) {
  try {
    const model = new Model(await Codec.create({ decoder: true }), threads);
    await model.addFile(source, signal);
    return new RestoredFile(model);
  } catch (error) {
    await source.close();
    throw error;
  }
}
