/** hansel decode: the file that was coded, or its tensors in another dtype. Node only. */
import { basename, dirname, join } from 'node:path';
import { isConvertible } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { dtypeBits } from '../file/safetensors.js';
import { buildHeader } from '../file/write_header.js';
import { open } from '../model/model.js';
import { codedName } from '../restore/coded_name.js';
import { restore } from '../restore/open_file.js';
import { RestoredFile } from '../restore/restored_file.js';
import { OutputFile, allOrNone, checkDistinct, checkFree, makeFolder } from './node_file.js';
import { usage } from './options.js';
import { isTemporary } from './temporary.js';

/** @typedef {import('./commands.js').Common} Common */

/** @typedef {import('../model/model.js').Model} Model */

/** Bytes that decode writes unless told: so many, or so many times the file's. Weights of a tenth
 * of a bit take 320 times their room as F32. */
const DECODED_MIN = 2 ** 30;
const DECODED_RATIO = 1000;

/**
 * hansel decode: the file that was coded, and those that belong to it; or with another dtype a safetensors file.
 * @param {string} from @param {string} to
 * @param {Common & {dtype?: string, maxBytes?: number, threads?: number}} options maxBytes: by
 *   default what is no tiny file's claim of terabytes
 * @returns {Promise<{bytes: number, kept: string[], files: string[]}>} kept: tensors that have no such dtype and
 *   were written in their own
 * @throws {HanselError} HANSEL_ERR_LIMIT, and nothing is written
 */
export async function decodeCommand(from, to, options) {
  const { dtype, signal, threads } = options;
  const model = await open(from, { threads, signal });
  try {
    const isAsItWas = [...model.tensors.values()].every(({ dtype: own }) => dtype === undefined || dtype === own);
    const file = model.headers.length === 1 && model.headers[0] ? new RestoredFile(model) : null;
    if (file && file.format !== 'safetensors' && dtype !== undefined) {
      throw usage(`--dtype makes a safetensors file, and this was ${file.format}`, dtype);
    }
    return await (file && isAsItWas ? restoreAll(file, model, to, options) : decodeTensors(model, to, options));
  } finally {
    await model.close();
  }
}

/**
 * @param {number} size wanted @param {number} codedSize @param {{maxBytes?: number}} options @param {string} where
 * @throws {HanselError} HANSEL_ERR_LIMIT
 */
function checkSize(size, codedSize, { maxBytes }, where) {
  const most = maxBytes ?? Math.max(DECODED_MIN, DECODED_RATIO * codedSize);
  if (size <= most) return;
  throw new HanselError('HANSEL_ERR_LIMIT', 'decodes to more than --max-size allows', {
    expected: `at most ${most}`, got: size, where,
  });
}

/**
 * Files as they were.
 * @param {RestoredFile} first @param {Model} model of it @param {string} to
 * @param {Parameters<typeof decodeCommand>[2]} options
 */
async function restoreAll(first, model, to, options) {
  const { force, signal, threads, onProgress } = options;
  const { beside } = first;
  if (beside.length && to === '-') {
    throw usage('the model has other files beside it: -o OUT must be a file', beside.join(', '));
  }
  if (beside.length && isTemporary(first.name)) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'standard input has no files beside it', { got: beside.join(', ') });
  }
  const paths = [to, ...beside.map((name) => join(dirname(to), name))];
  checkDistinct(paths);
  const files = [first];
  try {
    for (const name of beside) {
      files.push(await restore(await model.sources[0].resolve(codedName(name), { signal }), { signal, threads }));
    }
    for (const file of files) checkSize(file.size, file.codedSize, options, file.name);
    for (const path of paths) await checkFree(path, force);
    const total = files.reduce((sum, { size }) => sum + size, 0);
    await allOrNone(async (outputs, folders) => {
      let before = 0;
      for (const [i, file] of files.entries()) {
        const path = paths[i];
        if (i) folders.push(await makeFolder(path));
        const output = await OutputFile.create(path, force);
        outputs.push(output);
        const pieces = file.stream({
          signal, onProgress: ({ done }) => onProgress?.({ done: before + done, total, tensor: basename(path) }),
        });
        for await (const piece of pieces) await output.append(piece);
        before += file.size;
      }
    });
    return { bytes: total, kept: [], files: paths };
  } finally {
    for (const file of files.slice(1)) await file.close();
  }
}

/**
 * Tensors as a safetensors file, the widest first.
 * @param {Model} model @param {string} to @param {Parameters<typeof decodeCommand>[2]} options
 */
async function decodeTensors(model, to, options) {
  const { force, dtype, signal, onProgress } = options;
  /** @type {string[]} */
  const kept = [];
  const plan = [...model.tensors].map(([name, { dtype: own, shape, mode, weights }]) => {
    const can = dtype === undefined || dtype === own || (mode === 'grid' && dtype === 'I8')
      || isConvertible(own, dtype);
    if (!can) kept.push(name);
    const target = can ? dtype ?? own : own;
    return { name, dtype: target, shape, bytes: weights * dtypeBits(target) / 8, weights };
  }).sort((a, b) => dtypeBits(b.dtype) - dtypeBits(a.dtype));
  const header = buildHeader(plan.map(({ name, ...rest }) => [name, rest]), model.metadata);
  const size = plan.reduce((sum, { bytes }) => sum + bytes, header.length);
  checkSize(size, model.bytes, options, model.sources[0].name);
  const output = await OutputFile.create(to, force);
  try {
    await output.append(header);
    const total = plan.reduce((sum, { weights }) => sum + weights, 0);
    let done = 0;
    for (const tensor of plan) {
      const slices = model.slices(tensor.name, {
        dtype: /** @type {import('../core/dtypes.js').Dtype} */ (tensor.dtype), signal,
        onProgress: (p) => onProgress?.({ done: done + p.done, total, tensor: tensor.name }),
      });
      for await (const { bytes } of slices) await output.append(bytes);
      done += tensor.weights;
    }
    await output.commit();
    return { bytes: size, kept, files: [to] };
  } finally {
    await output.discard();
  }
}
