/**
 * Writing: chooses how each tensor is coded and lays out the file. What is coded
 * (tensor_encoder.js) goes to a spool, since sizes come before bytes in the file.
 */
import { DTYPES } from '../core/dtypes.js';
import { Encoder } from '../core/encoder.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { refuse } from '../core/options.js';
import { takeTurn } from '../core/turn.js';
import { dtypeBits, elementCount } from '../file/safetensors.js';
import { buildHeader, formatManifest, stampHeader } from '../file/write_header.js';
import { checkThreads, createPool } from '../workers/pool.js';
import { TensorEncoder } from './tensor_encoder.js';

/** Small tensors of one dimension are norms and biases: sensitive, and not worth it. */
const MIN_VECTOR = 65536;
/** Tensors of fewer weights are coded by the calling thread. */
const MIN_THREADED = 1 << 19;

/**
 * @typedef {object} EncodeOptions
 * @property {number} [step] grid step, the same for all float tensors
 * @property {number} [bits] wanted coded bits per weight: the finest step that costs no more
 * @property {number} [error] wanted relative RMS error: the coarsest step that errs no more
 * @property {boolean} [lossless] code floats without loss; the default when none of these is given
 * @property {boolean} [saturate] with step: let weights beyond the 256 levels become the nearest
 * @property {RegExp | string} [include] code only tensors whose name it matches
 * @property {RegExp | string} [exclude] pass through tensors whose name it matches
 * @property {number} [streamLength] symbols per stream to aim at; default 1024 to
 *   4096, so that large matrices have 2048 streams for a GPU
 * @property {number} [precision] 8 to 12 bits of probability; by default the cheapest
 * @property {number} [weightsPerSymbol] 1, 2 or 4, or fewer where a tensor has too many levels; by
 *   default as many as cost next to nothing
 * @property {boolean} [always] code also what does not get smaller by it, such as tiny matrices that
 *   are to be used on the GPU
 * @property {number} [threads] that share the work, the calling one among them; 1 by default. The
 *   bytes do not depend on it
 * @property {Iterable<[string, string]>} [metadata] strings for the file's `__metadata__`
 * @property {AbortSignal} [signal]
 * @property {(progress: EncodeProgress) => void} [onProgress]
 */
/** @typedef {{done: number, total: number, tensor: string, phase: 'fit' | 'code'}} EncodeProgress */
/**
 * @typedef {object} Input a tensor to be coded
 * @property {string} name
 * @property {import('../core/dtypes.js').Dtype} dtype
 * @property {number[]} shape
 * @property {(start: number, end: number) => Promise<Uint8Array>} read bytes of the tensor; not
 *   modified
 */
/**
 * @typedef {object} Spool where a file's bytes gather, all but its header
 * @property {(bytes: Uint8Array) => Promise<void> | void} write appends; keeps what it is given
 * @property {() => Promise<void> | void} clear forgets what was written since keep()
 * @property {(head?: Uint8Array) => Promise<void> | void} keep what was written since the last time,
 *   behind a head
 */
/**
 * What became of a tensor.
 * @typedef {object} Report
 * @property {import('../core/dtypes.js').Dtype} dtype
 * @property {number[]} shape
 * @property {'grid' | 'lossless' | 'pass-through'} mode
 * @property {string} reason why it is not coded as asked, or what came of that; '' otherwise
 * @property {number} step
 * @property {number} weights
 * @property {number} rawBytes before @property {number} bytes after
 * @property {number} entropyBits per weight; 0 if passed through
 * @property {number} saturated weights that were clamped
 * @property {number} relativeError RMS error over RMS weight
 * @property {number} maxError
 */

/** A spool in memory. @returns {Spool & {chunks: Uint8Array[]}} chunks: what is kept, in order */
export function memorySpool() {
  /** @type {Uint8Array[]} */
  const chunks = [];
  /** @type {Uint8Array[]} */
  let parts = [];
  return {
    chunks,
    write: (bytes) => void parts.push(bytes),
    clear: () => { parts = []; },
    keep(head) {
      if (head) chunks.push(head);
      for (const part of parts) chunks.push(part);
      parts = [];
    },
  };
}

/** @param {EncodeOptions} options @throws {HanselError} HANSEL_ERR_ARGUMENT */
async function checkOptions(options) {
  const bad = (/** @type {string} */ what, /** @type {string} */ expected,
    /** @type {unknown} */ got) => new HanselError('HANSEL_ERR_ARGUMENT', what, { expected, got });
  const {
    step, bits, error, lossless, saturate, include, exclude, streamLength, precision, weightsPerSymbol,
    always, threads, metadata = [], signal, onProgress, ...rest
  } = options;
  await refuse(rest, 'encode');
  const given = [step, bits, error, lossless || undefined].filter((x) => x !== undefined);
  if (given.length > 1) throw bad('more than one aim', 'one of step, bits, error, lossless', given.length);
  for (const [name, value] of Object.entries({ step, bits, error })) {
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) {
      throw bad(`impossible ${name}`, 'a positive number', value);
    }
  }
  if (step !== undefined && !(Math.fround(step) >= 2 ** -126 && Math.fround(step) <= 3.4e38)) {
    throw bad('impossible step', 'a normal binary32 number', step);
  }
  if (saturate && step === undefined) throw bad('saturate needs a step', 'step', undefined);
  const whole = (/** @type {number | undefined} */ n, /** @type {number} */ low,
    /** @type {number} */ high) => n === undefined || (Number.isInteger(n) && n >= low && n <= high);
  if (!whole(streamLength, 4, 2 ** 31 - 1)) {
    throw bad('impossible stream length', 'a whole number from 4', streamLength);
  }
  checkThreads(threads);
  if (![undefined, 1, 2, 4].includes(weightsPerSymbol)) {
    throw bad('impossible weightsPerSymbol', '1, 2 or 4', weightsPerSymbol);
  }
  if (!whole(precision, 8, 12)) throw bad('impossible precision', '8 to 12', precision);
  for (const pattern of [include, exclude]) {
    try {
      matches(pattern, '');
    } catch {
      throw bad('not a pattern', 'a regular expression', pattern);
    }
  }
  if (!(Object(metadata) === metadata && Symbol.iterator in metadata)) {
    throw bad('impossible metadata', 'a Map or pairs of strings', metadata);
  }
}

/** @param {RegExp | string | undefined} pattern @param {string} name */
const matches = (pattern, name) => pattern !== undefined && new RegExp(pattern).test(name);

/**
 * How a tensor is to be coded, or why not.
 * @param {Input} input @param {EncodeOptions} options
 * @returns {{mode: 'grid' | 'lossless' | 'pass-through', reason: string}}
 */
export function chooseMode({ name, dtype, shape }, options) {
  const pass = (/** @type {string} */ reason) => (
    { mode: /** @type {const} */ ('pass-through'), reason });
  const included = matches(options.include, name);
  if (options.include !== undefined && !included) return pass('not included');
  if (matches(options.exclude, name)) return pass('excluded');
  if (!(dtype in DTYPES)) return pass(`${dtype} is not coded`);
  const isFloat = dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
  const aim = options.step ?? options.bits ?? options.error;
  if (aim === undefined || !isFloat) return { mode: 'lossless', reason: '' };
  const isVector = shape.filter((n) => n !== 1).length < 2;
  if (isVector && options.step === undefined && !included && elementCount(shape) < MIN_VECTOR) {
    return pass('a short vector');
  }
  return { mode: 'grid', reason: '' };
}

/**
 * Codes a tensor as the options say, or tells why not.
 * @param {TensorEncoder} encoder @param {Spool} spool receives the bytes after the head
 * @returns {Promise<{report: Report, head: Uint8Array | null, crc: number}>} no head: pass it
 *   through
 */
async function encodeTensor(encoder, spool) {
  const { input, options, weights, rawBytes } = encoder;
  let { mode, reason } = chooseMode(input, options);
  /** @type {Report} */
  const report = {
    dtype: input.dtype, shape: input.shape, mode: 'pass-through', reason, step: 0, weights,
    rawBytes, bytes: rawBytes, entropyBits: 0, saturated: 0, relativeError: 0, maxError: 0,
  };
  const pass = (/** @type {string} */ why) => (
    { report: { ...report, reason: why }, head: null, crc: 0 });
  if (mode === 'pass-through') return pass(reason);
  if (!weights) return pass('no weights');
  if (input.shape.length > 8) return pass('more than 8 dimensions');
  let planned = await encoder.plan(mode === 'lossless');
  if (!planned && options.error !== undefined) {
    mode = 'lossless'; // which certainly errs no more
    reason = 'no step of 256 levels errs so little';
    planned = await encoder.plan(true);
  }
  if (!planned) return pass('no step costs so little');
  if (planned.bits / 8 >= rawBytes && !options.always) return pass('no gain');
  const { state: { blob, entropy, error }, head, crc, lost } = await encoder.code(planned, spool);
  if (blob.blobBytes >= rawBytes && !options.always) {
    await spool.clear();
    return pass('no gain');
  }
  if (mode === 'grid' && error >= 1) reason = 'nothing is left of it';
  return {
    head,
    crc,
    report: {
      ...report, mode, reason, step: blob.step, bytes: blob.blobBytes,
      entropyBits: entropy + blob.rawBits, relativeError: error, ...lost,
    },
  };
}

/**
 * Codes tensors into a file: returns its header; the rest is in the spool.
 * Coded tensors come first, each a multiple of 16 bytes, so that all of them
 * start on 16-byte boundaries of the file.
 *
 * @param {Iterable<Input>} inputs @param {EncodeOptions} options
 * @param {Spool} spool an empty one
 * @returns {Promise<{header: Uint8Array, reports: Map<string, Report>, bytes: number}>}
 *   bytes of the whole file
 * @throws {HanselError} HANSEL_ERR_NOT_FINITE, _RANGE (where names the tensor), _ARGUMENT, _ABORTED
 */
export async function encodeTo(inputs, options, spool) {
  await checkOptions(options);
  const codec = await Encoder.create();
  return encodeAll(inputs, options, spool, codec);
}

/**
 * @param {Iterable<Input>} inputs @param {EncodeOptions} options
 * @param {Spool} spool @param {Encoder} core
 */
async function encodeAll(inputs, options, spool, core) {
  const pools = [createPool(core), createPool(core, options.threads)];
  const all = [...inputs];
  const total = all.reduce((sum, { shape, name }) => sum + elementCount(shape, name), 0);
  /** @type {Map<string, Report>} */
  const reports = new Map();
  /** @type {Map<string, number>} */
  const crcs = new Map();
  /** @type {Input[]} */
  const passed = [];
  let done = 0;
  const write = async (/** @type {string} */ name, /** @type {Uint8Array} */ bytes) => {
    crcs.set(name, core.crc32c(bytes, crcs.get(name) ?? 0));
    await spool.write(bytes);
  };
  for (const input of all) {
    checkAborted(options.signal);
    const { name } = input;
    if (reports.has(name)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'two tensors of one name', { where: name });
    }
    const progress = (/** @type {'fit' | 'code'} */ phase, /** @type {number} */ weights) => options
      .onProgress?.({ done: done + (phase === 'code' ? weights : 0), total, tensor: name, phase });
    const isLarge = elementCount(input.shape, name) >= MIN_THREADED;
    const encoder = new TensorEncoder(pools[isLarge ? 1 : 0], input, options, progress);
    try {
      const { report, head, crc } = await encodeTensor(encoder, spool);
      reports.set(name, report);
      if (head) {
        crcs.set(name, core.crc32cCombine(core.crc32c(head), crc, report.bytes - head.length));
        await spool.keep(head);
      } else {
        passed.push(input);
      }
    } catch (error) {
      if (error instanceof HanselError && error.where === undefined) {
        error.where = name;
        error.message = `${name}: ${error.message}`;
      }
      throw error;
    }
    done += encoder.weights;
    progress('code', 0);
  }
  // Wide elements first keeps every one aligned.
  passed.sort((a, b) => dtypeBits(b.dtype) - dtypeBits(a.dtype));
  for (const { name, read, dtype, shape } of passed) {
    crcs.set(name, 0);
    const size = elementCount(shape, name) * dtypeBits(dtype) / 8;
    for (let at = 0; at < size; at += 1 << 20) {
      checkAborted(options.signal);
      await write(name, (await read(at, Math.min(at + (1 << 20), size))).slice());
    }
  }
  await spool.keep();
  return { ...layOut(reports, crcs, passed, options, core), reports };
}

/**
 * @param {Map<string, Report>} reports @param {Map<string, number>} crcs
 * @param {Input[]} passed in file order @param {EncodeOptions} options
 * @param {import('../core/encoder.js').Encoder} codec
 */
function layOut(reports, crcs, passed, options, codec) {
  /** @type {[string, {dtype: string, shape: number[], bytes: number}][]} */
  const stored = [];
  /** @type {import('../file/manifest.js').ManifestEntry[]} */
  const entries = [];
  for (const [name, report] of reports) {
    const { mode, dtype, shape, step, bytes, entropyBits } = report;
    if (mode === 'pass-through') continue;
    stored.push([name, { dtype: 'U8', shape: [bytes], bytes }]);
    entries.push({
      crc32c: crcs.get(name) ?? 0, mode, dtype, shape, step, entropy_bits: entropyBits,
    });
  }
  for (const { name, dtype, shape } of passed) {
    const bytes = elementCount(shape, name) * dtypeBits(dtype) / 8;
    stored.push([name, { dtype, shape, bytes }]);
    entries.push({ crc32c: crcs.get(name) ?? 0 });
    const report = /** @type {Report} */ (reports.get(name));
    report.bytes = report.rawBytes = bytes;
  }
  const others = [...options.metadata ?? []].filter(([key]) => key !== 'hansel');
  const header = buildHeader(stored, [['hansel', formatManifest(entries)], ...others]);
  stampHeader(header, (bytes) => codec.crc32c(bytes));
  const bytes = stored.reduce((sum, [, tensor]) => sum + tensor.bytes, header.length);
  return { header, bytes };
}

/**
 * @typedef {{dtype: import('../core/dtypes.js').Dtype, shape: number[],
 *   data: ArrayBufferView | ArrayBuffer}} TensorLike
 */

/**
 * The tensors of an open file that is not coded, as input for the encoder.
 * @param {import('../model/model.js').Model} model @returns {Input[]}
 * @throws {HanselError} HANSEL_ERR_MANIFEST when a tensor is coded already
 */
export function inputsOf(model) {
  const coded = [...model.tensors].find(([, { mode }]) => mode !== 'pass-through');
  if (coded) {
    throw new HanselError('HANSEL_ERR_MANIFEST', 'the file is coded already; decode it first', {
      expected: 'a plain safetensors file', got: `coded tensor ${JSON.stringify(coded[0])}`,
      where: model.sources[0].name,
    });
  }
  return [...model.tensors].map(([name, { dtype, shape }]) => {
    const { source, start } = model.place(name);
    return { name, dtype, shape, read: (a, b) => source.read(start + a, start + b) };
  });
}

/**
 * Codes tensors into a Hansel file in memory.
 *
 * @param {Record<string, TensorLike> | Map<string, TensorLike> | Iterable<[string, TensorLike]>
 *   | import('../model/model.js').Model} tensors row-major elements of each dtype in the machine's
 *   (little-endian) order; not modified. An open plain file is read as it is coded, its metadata kept
 * @param {EncodeOptions} [options]
 * @returns {Promise<Uint8Array<ArrayBuffer>>} a valid safetensors file
 * @throws {HanselError} HANSEL_ERR_ARGUMENT, _NOT_FINITE, _RANGE, _ABORTED, _MEMORY
 * @example
 * const file = await encode({ w: { dtype: 'F32', shape: [2, 3], data } }, { bits: 4 });
 */
export async function encode(tensors, options = {}) {
  const model = /** @type {any} */ (tensors)?.places instanceof Map
    ? /** @type {import('../model/model.js').Model} */ (tensors) : null;
  const entries = model ? [] : tensors && typeof tensors === 'object' ? Symbol.iterator in tensors
    ? [...tensors] : Object.entries(tensors) : null;
  if (!entries) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'no tensors', {
      expected: 'an object or a Map of { dtype, shape, data }', got: String(tensors),
    });
  }
  const inputs = model ? inputsOf(model)
    : entries.map(([name, tensor]) => toInput(name, tensor));
  const all = model ? { metadata: model.metadata, ...options } : options;
  const spool = memorySpool();
  const { header, bytes } = await encodeTo(inputs, all, spool);
  const file = allocate(bytes, 'the coded file');
  file.set(header);
  let at = header.length;
  for (const chunk of spool.chunks) {
    await takeTurn();
    file.set(chunk, at);
    at += chunk.length;
  }
  return file;
}

/** @param {string} name @param {TensorLike} tensor @returns {Input} */
function toInput(name, tensor) {
  const { dtype, shape, data } = tensor ?? {};
  const isView = ArrayBuffer.isView(data);
  if (!Array.isArray(shape) || !(isView || data instanceof ArrayBuffer)) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'not a tensor', {
      expected: '{ dtype, shape: number[], data: typed array or ArrayBuffer }', where: name,
    });
  }
  const bytes = isView
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  let expected;
  try {
    expected = elementCount(shape) * dtypeBits(dtype) / 8;
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', /** @type {Error} */ (cause).message, {
      where: name, cause,
    });
  }
  if (bytes.length !== expected) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'data does not fill the shape', {
      expected: `${expected} bytes for ${dtype} [${shape}]`, got: bytes.length, where: name,
    });
  }
  return { name, dtype, shape, read: async (start, end) => bytes.subarray(start, end) };
}
