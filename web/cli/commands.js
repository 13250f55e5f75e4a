/** What the command line's commands do; web/cli/run.js prints. Node only. */
import { basename, dirname, join } from 'node:path';
import { convert } from '../core/convert.js';
import { isConvertible, typedArray } from '../core/dtypes.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { encodeTo, inputsOf, openTools, plainHeader } from '../encode/encode.js';
import { measureAll, planRates } from '../encode/plan.js';
import { dtypeBits, elementCount } from '../file/safetensors.js';
import { readIndex } from '../file/shards.js';
import { openSource } from '../file/source.js';
import { buildHeader } from '../file/write_header.js';
import { open } from '../model/model.js';
import { codedFile } from './coded_file.js';
import { OutputFile, checkFree } from './node_file.js';
import { SAMPLE_COLUMNS, SAMPLE_ROWS, sampleRows } from './sample.js';

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../encode/encode.js').Report} Report */
/** @typedef {import('../encode/rate.js').Rate} Rate */
/** @typedef {import('../encode/encode.js').EncodeOptions} EncodeOptions */
/** @typedef {import('./terminal.js').Progress} Progress */
/** @typedef {(progress: Progress) => void} OnProgress */
/** @typedef {{force: boolean, signal?: AbortSignal, onProgress?: OnProgress}} Common */

/** Bytes that decode writes unless told: so many, or so many times the file's. Weights of a tenth
 * of a bit take 320 times their room as F32. */
const DECODED_MIN = 2 ** 30;
const DECODED_RATIO = 1000;

const isUrl = (/** @type {string} */ from) => /^https?:/i.test(from);

/** Whether a path or URL is a sharded checkpoint's index. @param {string} from */
export const isIndex = (from) => (isUrl(from) ? new URL(from).pathname : from)
  .endsWith('.safetensors.index.json');

/** @param {string} path @param {Common} options */
async function openPlain(path, { signal }) {
  const model = await open(path, { signal });
  return { model, inputs: await orClose(model, async () => inputsOf(model)) };
}

/**
 * Codes one file into another.
 * @param {string} from @param {string} to
 * @param {EncodeOptions & Common} options
 * @param {Map<string, Rate | null>} [rates] that were planned, together with other files'
 * @returns {Promise<{output: OutputFile, reports: Map<string, Report>, rawBytes: number,
 *   bytes: number}>} output is written, but not committed
 */
async function encodeFile(from, to, options, rates) {
  const { force, ...coding } = options;
  const { signal } = options;
  const { model, inputs } = await openPlain(from, options);
  const output = await orClose(model, () => OutputFile.create(to, force, true));
  try {
    const file = codedFile(/** @type {import('node:fs/promises').FileHandle} */ (output.handle),
      to, signal);
    const { header, reports, bytes } = await encodeTo(inputs,
      { ...coding, metadata: model.metadata }, file, plainHeader(model), rates);
    await file.finish(header);
    return { output, reports, rawBytes: model.bytes, bytes };
  } catch (error) {
    await output.discard();
    throw error;
  } finally {
    await model.close();
  }
}

/**
 * What an index says, and where its shards are: as open() finds them, and it alone.
 * @param {string} from @param {AbortSignal} [signal]
 * @returns {Promise<{files: Map<string, string>, weightMap: Map<string, string>,
 *   metadata: object}>} files: a shard's path or URL by its name in the index, sorted
 */
async function readShards(from, signal) {
  const source = await openSource(from, { signal });
  try {
    const { shards, weightMap } = await readIndex(source, signal);
    const { metadata } = JSON.parse(new TextDecoder().decode(
      await source.read(0, source.size, { signal })));
    /** @type {Map<string, string>} */
    const files = new Map();
    for (const shard of shards.sort()) {
      const beside = await source.resolve(shard, { signal });
      files.set(shard, beside.name);
      await beside.close();
    }
    return { files, weightMap, metadata };
  } finally {
    await source.close();
  }
}

/**
 * hansel encode: one file, or all shards of an index.
 * @param {string} from @param {string} to
 * @param {EncodeOptions & Common} options
 * @param {Map<string, Rate | null>} [rates] by a plan
 * @returns {Promise<{reports: Map<string, Report>, rawBytes: number, bytes: number,
 *   files: string[]}>}
 */
export async function encodeCommand(from, to, options, rates) {
  const { signal } = options;
  if (!isIndex(from)) {
    const { output, ...result } = await encodeFile(from, to, options, rates);
    try {
      await output.commit(signal);
    } finally {
      await output.discard();
    }
    return { ...result, files: [to] };
  }
  await checkFree(to, options.force);
  const shards = await readShards(from, signal);
  const model = await open(from, { signal }); // the shards match
  const planned = rates ?? planRates(await measureModel(model, options, true), options);
  return encodeShards(shards, to, options, planned);
}

/**
 * What the tensors of a model cost.
 * @param {Model} model which is closed @param {EncodeOptions} options
 * @param {boolean} [isWhole] some of its tensors must have Hessians, if there are any
 * @returns {Promise<import('../encode/rate.js').Measured[]>}
 */
export async function measureModel(model, options, isWhole = false) {
  try {
    const inputs = inputsOf(model);
    const tools = await openTools(options);
    if (isWhole) tools.hessians.checkFor(inputs.map(({ name }) => name));
    return await measureAll(inputs, options, tools);
  } finally {
    await model.close();
  }
}

/**
 * Codes shards and their index.
 * @param {Awaited<ReturnType<typeof readShards>>} shards @param {string} to
 * @param {EncodeOptions & Common} options
 * @param {Map<string, Rate | null>} rates
 * @returns {Promise<{reports: Map<string, Report>, rawBytes: number, bytes: number, files: string[]}>}
 */
async function encodeShards({ files, weightMap, metadata }, to, options, rates) {
  const stem = basename(to).replace(/\.safetensors\.index\.json$|\.json$/, '');
  const number = (/** @type {number} */ n) => String(n).padStart(5, '0');
  /** @type {OutputFile[]} */
  const outputs = [];
  const total = { reports: new Map(), rawBytes: 0, bytes: 0, files: /** @type {string[]} */ ([]) };
  /** By the old shards' names. @type {Map<string, string>} */
  const names = new Map();
  try {
    for (const [shard, file] of files) {
      const name = `${stem}-${number(names.size + 1)}-of-${number(files.size)}.safetensors`;
      const path = join(dirname(to), name);
      const { output, reports, rawBytes, bytes } = await encodeFile(file, path, options, rates);
      outputs.push(output);
      names.set(shard, name);
      for (const [tensor, report] of reports) {
        if (weightMap.get(tensor) !== shard) {
          throw new HanselError('HANSEL_ERR_INDEX', 'the index contradicts the shards', {
            expected: weightMap.get(tensor) ?? 'not indexed', got: shard, where: tensor,
          });
        }
        total.reports.set(tensor, report);
      }
      total.rawBytes += rawBytes;
      total.bytes += bytes;
      total.files.push(path);
    }
    const output = await OutputFile.create(to, options.force);
    outputs.push(output);
    const map = [...weightMap].map(([tensor, shard]) => [tensor, names.get(shard)]);
    const about = { ...metadata, total_size: [...total.reports.values()]
      .reduce((sum, { bytes }) => sum + bytes, 0) };
    await output.append(new TextEncoder().encode(
      `${JSON.stringify({ metadata: about, weight_map: Object.fromEntries(map) }, null, 2)}\n`));
    for (const done of outputs) await done.commit();
    return { ...total, files: [...total.files, to] };
  } catch (error) {
    for (const output of outputs) await output.takeBack();
    throw error;
  } finally {
    for (const output of outputs) await output.discard();
  }
}

/** @param {import('../file/safetensors.js').Header} header @param {string} name */
const placeIn = ({ tensors }, name) => tensors.get(name)?.start ?? 0;

/**
 * hansel decode: a plain safetensors file; the one that was coded, if it was without loss and no other
 * dtype is wanted.
 * @param {string} from @param {string} to
 * @param {Common & {dtype?: string, maxBytes?: number, threads?: number}} options maxBytes: by
 *   default what is no tiny file's claim of terabytes
 * @returns {Promise<{bytes: number, kept: string[]}>} kept: tensors that have no such dtype and
 *   were written in their own
 * @throws {HanselError} HANSEL_ERR_LIMIT, and nothing is written
 */
export async function decodeCommand(from, to, {
  force, dtype, maxBytes, threads, signal, onProgress,
}) {
  const model = await open(from, { threads, signal });
  /** @type {string[]} */
  const kept = [];
  /** @type {OutputFile | undefined} */
  let output;
  try {
    const plan = [...model.tensors].map(([name, { dtype: own, shape, mode, weights }]) => {
      const can = dtype === undefined || dtype === own || (mode === 'grid' && dtype === 'I8')
        || isConvertible(own, dtype);
      if (!can) kept.push(name);
      const target = can ? dtype ?? own : own;
      return { name, dtype: target, shape, bytes: weights * dtypeBits(target) / 8, weights };
    });
    const isAsItWas = plan.every(({ name, dtype: target }) => target === model.tensor(name).dtype);
    const [plain] = isAsItWas && model.headers.length === 1 ? model.headers : [];
    plan.sort((a, b) => (plain ? placeIn(plain, a.name) - placeIn(plain, b.name)
      : dtypeBits(b.dtype) - dtypeBits(a.dtype)));
    const header = plain?.headerBytes
      ?? buildHeader(plan.map(({ name, ...rest }) => [name, rest]), model.metadata);
    const size = plan.reduce((sum, { bytes }) => sum + bytes, header.length);
    const most = maxBytes ?? Math.max(DECODED_MIN, DECODED_RATIO * model.bytes);
    if (size > most) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'decodes to more than --max-size allows', {
        expected: `at most ${most}`, got: size, where: from,
      });
    }
    output = await OutputFile.create(to, force);
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
    return { bytes: size, kept };
  } finally {
    await output?.discard();
    await model.close();
  }
}

/**
 * What rounding loses, about: errors are spread evenly over a step. With error feedback it is more.
 * @param {Model} model @param {string} name @param {AbortSignal} [signal]
 * @returns {Promise<number | null>} RMS error over RMS weight; null where the head is damaged
 */
async function expectedError(model, name, signal) {
  if (model.tensor(name).mode !== 'grid') return 0;
  try {
    const { frequencies } = await model.head(name, { signal });
    let [sum, squares] = [0, 0];
    for (const [index, frequency] of frequencies) {
      sum += frequency;
      squares += frequency * index * index;
    }
    return sum ? Math.sqrt(1 / (12 * squares / sum + 1)) : 0;
  } catch (error) {
    checkAborted(signal);
    if (!(error instanceof HanselError)) throw error;
    return null; // for hansel verify to tell
  }
}

/**
 * hansel info.
 * @param {string} from @param {{signal?: AbortSignal}} options
 */
export async function infoCommand(from, { signal }) {
  const model = await open(from, { signal });
  try {
    const tensors = [];
    for (const [name, t] of model.tensors) {
      tensors.push([name, {
        dtype: t.dtype, shape: t.shape, mode: t.mode, step: t.step, weights: t.weights,
        bytes: t.bytes, bits_per_weight: t.bits, entropy_bits: t.entropyBits,
        // A request for each head would take long.
        expected_error: isUrl(from) ? null : await expectedError(model, name, signal),
      }]);
    }
    const raw = [...model.tensors.values()]
      .reduce((sum, { weights, dtype }) => sum + Math.ceil(weights * dtypeBits(dtype) / 8), 0);
    return { tensors: Object.fromEntries(tensors), bytes: model.bytes, raw_bytes: raw };
  } finally {
    await model.close();
  }
}

/**
 * @typedef {{max: number, rms: number, relative: number, exact: boolean}} Difference
 *   max and rms in weights; relative is rms over the original's RMS
 */

/**
 * @param {Model} model @param {Model} original @param {string} name @param {AbortSignal} [signal]
 * @returns {Promise<Difference>}
 * @throws {HanselError} HANSEL_ERR_MISMATCH for what is not a coding of the original
 */
async function compare(model, original, name, signal) {
  const a = model.tensor(name);
  const b = original.tensors.get(name);
  const text = (/** @type {import('../model/model.js').Tensor} */ t) => `${t.dtype} [${t.shape}]`;
  if (!b || text(a) !== text(b)) {
    throw new HanselError('HANSEL_ERR_MISMATCH', 'not the original\'s tensor', {
      expected: b ? text(b) : 'no such tensor', got: text(a), where: name,
    });
  }
  let max = 0;
  let square = 0;
  let energy = 0;
  let exact = true;
  const other = original.slices(name, { signal });
  let rest = new Uint8Array(0);
  for await (const { bytes, start } of model.slices(name, { signal })) {
    const theirs = new Uint8Array(bytes.length);
    for (let at = 0; at < bytes.length;) {
      if (!rest.length) rest = (await other.next()).value?.bytes ?? new Uint8Array(0);
      const part = rest.subarray(0, bytes.length - at);
      theirs.set(part, at);
      rest = rest.subarray(part.length);
      at += part.length;
    }
    const first = bytes.findIndex((byte, i) => byte !== theirs[i]);
    if (first < 0 && a.mode !== 'grid') continue;
    if (first >= 0) exact = false;
    if (a.mode !== 'grid') {
      throw new HanselError('HANSEL_ERR_MISMATCH', 'differs from the original', {
        expected: theirs[first], where: name,
        got: `${bytes[first]} in weight ${start + Math.floor(first * 8 / dtypeBits(a.dtype))}`,
      });
    }
    const [x, y] = [bytes, theirs].map((some) => typedArray('F32', /** @type {ArrayBuffer} */ (
      convert(some, a.dtype, 'F32').slice().buffer)));
    for (let i = 0; i < x.length; i++) {
      const error = Math.abs(x[i] - y[i]);
      if (error > max) max = error;
      square += error * error;
      energy += y[i] * y[i];
    }
  }
  const rms = Math.sqrt(square / Math.max(a.weights, 1));
  return { max, rms, relative: energy > 0 ? Math.sqrt(square / energy) : 0, exact };
}

/**
 * hansel verify.
 * @param {string} from
 * @param {{against?: string, threads?: number, signal?: AbortSignal, onProgress?: OnProgress}}
 *   options
 * @returns {Promise<Map<string, {mode: string, weights: number, bytes: number}
 *   & Partial<Difference>>>} what was verified; without an original there is no difference
 */
export async function verifyCommand(from, { against, threads, signal, onProgress }) {
  const model = await open(from, { threads, signal });
  const original = against === undefined ? null
    : await orClose(model, () => open(against, { signal }));
  const results = new Map();
  try {
    if (!model.isCoded) {
      throw new HanselError('HANSEL_ERR_MANIFEST', 'nothing to verify: no Hansel manifest', {
        expected: 'a coded file', got: 'a plain safetensors file', where: from,
      });
    }
    for (const name of original?.tensors.keys() ?? []) {
      if (!model.tensors.has(name)) {
        throw new HanselError('HANSEL_ERR_MISMATCH', 'a tensor of the original is missing', {
          where: name,
        });
      }
    }
    const total = [...model.tensors.values()].reduce((sum, { weights }) => sum + weights, 0);
    let done = 0;
    for (const [name, { mode, weights, bytes }] of model.tensors) {
      onProgress?.({ done, total, tensor: name });
      await model.verify(name, { signal });
      const difference = original && await compare(model, original, name, signal);
      results.set(name, { mode, weights, bytes, ...difference });
      done += weights;
    }
    onProgress?.({ done, total, tensor: '' });
    return results;
  } finally {
    await model.close();
    await original?.close();
  }
}

/**
 * What create() makes; without it, the model is closed.
 * @template T @param {Model} model @param {() => Promise<T>} create @returns {Promise<T>}
 */
async function orClose(model, create) {
  try {
    return await create();
  } catch (error) {
    await model.close();
    throw error;
  }
}

/** hansel sample. @param {string} to @param {Common & {rows?: number}} options */
export async function sampleCommand(to, { force, rows = SAMPLE_ROWS, signal, onProgress }) {
  const output = await OutputFile.create(to, force);
  const shape = [rows, SAMPLE_COLUMNS];
  const bytes = 4 * elementCount(shape);
  try {
    const header = buildHeader([['w', { dtype: 'F32', shape, bytes }]]);
    await output.append(header);
    let done = 0;
    for (const slice of sampleRows({ rows })) {
      checkAborted(signal);
      await output.append(new Uint8Array(slice.buffer, slice.byteOffset, slice.byteLength));
      done += slice.length;
      onProgress?.({ done, total: bytes / 4, tensor: 'w' });
      await new Promise(setImmediate); // lets Ctrl-C in
    }
    await output.commit();
    return { bytes: header.length + bytes };
  } finally {
    await output.discard();
  }
}
