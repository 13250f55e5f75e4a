/** What the command line's commands do; web/cli/run.js prints. Node only. */
import { convert } from '../core/convert.js';
import { typedArray } from '../core/dtypes.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { CARRIER, layoutOf } from '../file/carrier.js';
import { byteSize, dtypeBits, elementCount } from '../file/safetensors.js';
import { buildHeader } from '../file/write_header.js';
import { open } from '../model/model.js';
import { OutputFile } from './node_file.js';
import { openPlain } from './plain_files.js';
import { SAMPLE_COLUMNS, SAMPLE_ROWS, sampleRows } from './sample.js';

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('./terminal.js').Progress} Progress */
/** @typedef {(progress: Progress) => void} OnProgress */
/** @typedef {{force: boolean, signal?: AbortSignal, onProgress?: OnProgress}} Common */

/** Bytes of an original that are read at a time. */
const PIECE = 1 << 20;

const isUrl = (/** @type {string} */ from) => /^https?:/i.test(from);

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

/** What file a coded one gives back, if that is none of safetensors. @param {Model} model */
function restoresTo({ headers: [header] }) {
  if (!header?.metadata.has(CARRIER)) return {};
  const { format, beside } = layoutOf(header);
  return { format, beside };
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
    return { tensors: Object.fromEntries(tensors), bytes: model.bytes, raw_bytes: raw, ...restoresTo(model) };
  } finally {
    await model.close();
  }
}

/**
 * @typedef {{max: number, rms: number, relative: number, exact: boolean}} Difference
 *   max and rms in weights; relative is rms over the original's RMS
 */

/**
 * @typedef {object} Original what a coded file is compared with
 * @property {ReadonlyMap<string, {dtype: string, shape: number[]}>} tensors
 * @property {(name: string, options: {signal?: AbortSignal}) => AsyncGenerator<{bytes: Uint8Array}>} slices
 * @property {() => Promise<void>} close
 */

/**
 * @param {Model} model coded @param {string} path @param {AbortSignal} [signal]
 * @returns {Promise<Original>}
 */
async function openOriginal(model, path, signal) {
  if (!model.headers[0]?.metadata.has(CARRIER)) return open(path, { signal });
  const { files, close } = await openPlain(path, { isBytes: restoresTo(model).format === 'bytes', signal });
  const own = files.find(({ inputs }) => inputs.some(({ name }) => name !== 'hansel.rest' && model.tensors.has(name)));
  const inputs = new Map((own ?? files[0]).inputs.map((input) => [input.name, input]));
  return {
    tensors: inputs, close,
    async* slices(name) {
      const { dtype, shape, read } = /** @type {import('../encode/encode.js').Input} */ (inputs.get(name));
      const size = byteSize(dtype, shape, name);
      for (let at = 0; at < size; at += PIECE) yield { bytes: await read(at, Math.min(at + PIECE, size)) };
    },
  };
}

/**
 * @param {Model} model @param {Original} original @param {string} name @param {AbortSignal} [signal]
 * @returns {Promise<Difference>}
 * @throws {HanselError} HANSEL_ERR_MISMATCH for what is not a coding of the original
 */
async function compare(model, original, name, signal) {
  const a = model.tensor(name);
  const b = original.tensors.get(name);
  const text = (/** @type {{dtype: string, shape: number[]}} */ t) => `${t.dtype} [${t.shape}]`;
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
    : await orClose(model, () => openOriginal(model, against, signal));
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
