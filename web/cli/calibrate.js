/** What hansel calibrate does: Hessians of a Llama's matrices to a file (docs/CALIBRATION.md). Node only. */
import { dirname, join } from 'node:path';
import { buildHeader } from '../file/write_header.js';
import { IMPORTANCE } from '../encode/hessians.js';
import { calibrate, hessianSlots, weighed } from '../llama/calibrate.js';
import { open } from '../model/model.js';
import { OutputFile, readJson, readText } from './node_file.js';

/**
 * hansel calibrate.
 * @param {string} from a Llama's checkpoint, or its index @param {string} to
 * @param {{config?: string, text?: string, tokens?: string, samples?: number, seed?: number, force: boolean,
 *   signal?: AbortSignal, onProgress?: (progress: import('../llama/calibrate.js').Progress) => void}} options
 *   paths of config.json (default: beside the checkpoint), of a text, of a JSON list of lists of token ids
 * @returns {Promise<{hessians: number, tensors: number, positions: number, bytes: number}>}
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_CONFIG, _SOURCE, _EXISTS, and as calibrate()
 */
export async function calibrateCommand(from, to, { config: path, text, tokens, force, ...options }) {
  const config = await readJson(path ?? join(dirname(from), 'config.json'), 'HANSEL_ERR_CONFIG');
  const given = {
    ...text === undefined ? {} : { text: await readText(text) },
    ...tokens === undefined ? {} : { tokens: await readJson(tokens, 'HANSEL_ERR_ARGUMENT') },
  };
  const slots = hessianSlots(config);
  const model = await open(from, { signal: options.signal });
  const output = await OutputFile.create(to, force).catch(async (error) => {
    await model.close();
    throw error;
  });
  const tensors = slots.reduce((sum, { names }) => sum + names.length, 0);
  const done = { hessians: slots.length, tensors, positions: 0, bytes: 0 };
  try {
    for await (const { positions, data } of calibrate(model, config, { ...given, ...options })) {
      if (!done.bytes) {
        /** @type {[string, number][]} */
        const sizes = [...slots.map(({ name, columns }) => /** @type {[string, number]} */ (
          [name, columns * (columns + 1) / 2])), ...weighed(config).map((name) => /** @type {[string, number]} */ (
          [IMPORTANCE + name, 1]))];
        const header = buildHeader(sizes.map(([name, size]) => [name, { dtype: 'F32', shape: [size], bytes: 4 * size }]), [
          ['hessians', '1'], ['positions', String(positions)],
          ...slots.flatMap(({ name, names }) => names.slice(1).map(
            (other) => /** @type {[string, string]} */ ([`same:${other}`, name])))]);
        await output.append(header);
        Object.assign(done, { positions, bytes: header.length });
      }
      await output.append(data);
      done.bytes += data.length;
    }
    await output.commit(options.signal);
    return done;
  } finally {
    await output.discard();
    await model.close();
  }
}
