/**
 * Writing: chooses how each tensor is coded and lays out the file. What is coded
 * (tensor_encoder.js) goes to a spool, since sizes come before bytes in the file.
 */
import { DTYPES } from '../core/dtypes.js';
import { Encoder } from '../core/encoder.js';
import { HanselError, checkAborted, locate } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { takeTurn } from '../core/turn.js';
import { deflate } from '../file/deflate.js';
import { DEFLATED, ENTROPY_UNIT, GRID, LOSSLESS, PLANES, STORED } from '../file/records.js';
import { byteSize, dtypeBits, elementCount } from '../file/safetensors.js';
import { varint, writeDirectory } from '../file/write_directory.js';
import { buildHeader } from '../file/write_header.js';
import { createPool } from '../workers/pool.js';
import { planFields } from './fields.js';
import { codeLossless, planLossless } from './lossless.js';
import { checkOptions, chooseMode, optionsOf } from './asked.js';
import { codeGrid } from './grid.js';
import { Hessians } from './hessians.js';
import { checkPlanned, measureAll, planRates, poolOf } from './plan.js';
import { TensorEncoder } from './tensor_encoder.js';

/** What is not coded is deflated if it has at most so many bytes, and that saves so many. */
const [MAX_DEFLATED, MIN_SAVED] = [1 << 20, 8];
/** Bytes of a tensor that is deflated only to see whether that is smaller, at most. */
const MAX_COMPARED = 1 << 16;
/** ... both, of bytes that are likely text: a vocabulary, a graph. */
const MAX_TEXT = 1 << 24;

/**
 * @typedef {object} EncodeOptions
 * @property {number} [step] grid step, the same for all float tensors
 * @property {number} [bits] wanted coded bits per weight, of all tensors together: shared out so that they do
 *   most good (web/encode/rate.js)
 * @property {boolean} [each] with bits: each tensor takes no more, by the finest step that does
 * @property {number} [error] wanted relative RMS error: the coarsest step that errs no more
 * @property {boolean} [lossless] code floats without loss; the default when none of these is given
 * @property {boolean} [saturate] with step: let weights beyond the 256 levels become the nearest
 * @property {[RegExp | string, OwnAim][]} [tensors] aims of tensors of their own, by names or patterns of whole
 *   names; the last that fits counts, before include and exclude, and takes no part in `bits`
 * @property {RegExp | string} [include] code only tensors whose name it matches
 * @property {RegExp | string} [exclude] pass through tensors whose name it matches
 * @property {number} [streamLength] symbols per stream to aim at; default 1024 to
 *   4096, so that large matrices have 2048 streams for a GPU; small ones longer, lossless 16384
 * @property {number} [precision] 8 to 12 bits of probability; by default the cheapest
 * @property {number} [weightsPerSymbol] 1, 2 or 4, or fewer where a tensor has too many levels; by
 *   default as many as cost next to nothing
 * @property {boolean} [always] code also what does not get smaller by it, such as tiny matrices that
 *   are to be used on the GPU
 * @property {number} [threads] that share the work, the calling one among them; 1 by default. The
 *   bytes do not depend on it
 * @property {import('./hessians.js').HessiansLike} [hessians] of tensors' inputs, for error feedback: an
 *   open file of hansel calibrate (docs/CALIBRATION.md), or by tensors' names; those without one, and
 *   those with an error in mind, are rounded plainly
 * @property {Iterable<[string, string]>} [metadata] strings for the file's `__metadata__`
 * @property {AbortSignal} [signal]
 * @property {(progress: EncodeProgress) => void} [onProgress]
 */
/**
 * @typedef {object} OwnAim one of these
 * @property {number} [bits] @property {number} [step] @property {number} [error]
 * @property {boolean} [lossless] @property {boolean} [keep] passed through
 */
/** @typedef {{done: number, total: number, tensor: string, phase: 'fit' | 'code'}} EncodeProgress */
/** @typedef {import('../file/records.js').TensorRecord} TensorRecord */
/** @typedef {import('./fields.js').Plane} Plane */
/** @typedef {(input: Input, step?: number) => TensorEncoder} Making what codes one matrix of a tensor, with a step
 *   in place of the aim that was asked for */
/** @typedef {{inputs: Map<string, Input>, plans: Awaited<ReturnType<typeof planFields>>}} Others all
 *   tensors, and the fields of some */
/**
 * @typedef {object} Input a tensor to be coded
 * @property {string} name
 * @property {import('../core/dtypes.js').Dtype} dtype
 * @property {number[]} shape
 * @property {(start: number, end: number) => Promise<Uint8Array>} read bytes of the tensor; not
 *   modified
 * @property {boolean} [isText] bytes that may repeat themselves as text does, not as weights do
 * @property {boolean} [isExact] no weights: coded without loss, unless its name is in `tensors` or `include`
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
 * @property {boolean} hasFeedback whether errors were made up for
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

/**
 * Codes a tensor as the options say, or tells why not.
 * @param {Making} make @param {Input} input @param {EncodeOptions} all
 * @param {Spool} spool receives and keeps its bytes
 * @param {Others} others
 * @param {import('./rate.js').Rate | null | undefined} rate if it was planned
 * @param {import('./hessians.js').Hessians} hessians
 * @returns {Promise<{report: Report, record: TensorRecord | null, short?: Uint8Array | null}>} no record: pass it
 *   through; short: it deflated, as shortOf() has it
 */
async function encodeTensor(make, input, all, spool, others, rate, hessians) {
  const { name, dtype, shape } = input;
  const options = optionsOf(name, all);
  const weights = elementCount(shape, name);
  const rawBytes = byteSize(dtype, shape, name);
  let { mode, reason } = chooseMode(input, all);
  /** @type {Report} */
  const report = {
    dtype, shape, mode: 'pass-through', reason, step: 0, weights,
    rawBytes, bytes: rawBytes, entropyBits: 0, saturated: 0, relativeError: 0, maxError: 0, hasFeedback: false,
  };
  const pass = (/** @type {string} */ why, /** @type {Uint8Array | null | undefined} */ short = undefined) => (
    { report: { ...report, reason: why }, record: null, short });
  if (mode === 'pass-through') return pass(reason);
  if (!weights) return pass('no weights');
  const plan = others.plans.get(name);
  if (!plan && !(dtype in DTYPES)) return pass('no gain');
  if (!plan && shape.length > 8) return pass('more than 8 dimensions');
  if (mode === 'grid') {
    const aim = rate ?? { step: options.step, most: Infinity, isExact: !options.saturate };
    const factor = aim.step && hessians.has(name) ? await hessians.factorOf(name, shape) : null;
    const coded = await codeGrid(make, input, aim, factor, options.always ? Infinity : rawBytes, spool);
    if (coded === 'no gain') return pass(coded);
    if (coded !== 'no step') {
      const { entropy, ...rest } = coded;
      if (rest.relativeError >= 1) reason = 'nothing is left of it';
      return {
        record: { kind: GRID, step: rest.step, matrix: matrixOf([rest.bytes], entropy) },
        report: { ...report, mode, reason, entropyBits: entropy, ...rest },
      };
    }
    if (options.error === undefined) return pass('no step costs so little');
    mode = 'lossless'; // which certainly errs no more
    reason = 'no step of 256 levels errs so little';
  }
  const matrices = await planLossless((one) => make(one), input, others.inputs, plan, options.signal);
  const isForced = plan?.isBase || (options.always && dtype in DTYPES);
  const short = isForced ? undefined : await shortOf(input, rawBytes);
  const most = isForced ? Infinity : short?.length ?? rawBytes;
  const coded = await codeLossless(matrices, most, spool);
  if (!coded) return pass('no gain', short);
  const planes = coded.map(({ sizes, entropy, plane }) => ({ plane, matrix: matrixOf(sizes, entropy) }));
  return {
    record: plan && planes[0].plane ? {
      kind: PLANES, blockBytes: plan.blockBytes,
      planes: planes.map(({ plane, matrix }) => {
        const { field: { bitOffset, itemBits, items, width }, dtype: of, base } = /** @type {Plane} */ (plane);
        return { bitOffset, itemBits, items, width, dtype: of, base, matrix };
      }),
    } : { kind: LOSSLESS, matrix: planes[0].matrix },
    report: {
      ...report, mode: 'lossless', reason,
      bytes: coded.reduce((sum, { sizes }) => sizes.reduce((a, b) => a + b, sum), 0),
      entropyBits: coded.reduce((sum, one) => sum + one.entropy * one.weights, 0) / weights,
    },
  };
}

/** @param {number[]} blobs bytes of each @param {number} entropy bits an element */
const matrixOf = (blobs, entropy) => ({ blobs, entropy: Math.round(entropy * ENTROPY_UNIT) });

/**
 * A tensor that is not coded, deflated: codes and indices may repeat themselves, floats do not.
 * @param {Input} input @param {number} rawBytes
 * @returns {Promise<Uint8Array | null | undefined>} null if that is not shorter, undefined if it was not tried
 */
async function shortOf({ dtype, read, isText }, rawBytes) {
  if (rawBytes > (isText ? MAX_TEXT : MAX_COMPARED) || (dtype in DTYPES && dtype !== 'U8')) return undefined;
  return deflated(await read(0, rawBytes), isText);
}

/**
 * Codes tensors into a file: returns how it begins; the rest is in the spool.
 *
 * @param {Iterable<Input>} inputs in the header's order @param {EncodeOptions} options
 * @param {Spool} spool an empty one
 * @param {Uint8Array} [plainHeader] the plain file's; by default one is made
 * @param {Map<string, import('./rate.js').Rate | null>} [rates] that were planned, together with other files'
 * @returns {Promise<{header: Uint8Array, reports: Map<string, Report>, bytes: number}>}
 *   bytes of the whole file
 * @throws {HanselError} HANSEL_ERR_NOT_FINITE, _RANGE, _HESSIAN, _PLAN (where names the tensor), _ARGUMENT,
 *   _ABORTED
 */
export async function encodeTo(inputs, options, spool, plainHeader, rates) {
  await checkOptions(options);
  const all = [...inputs];
  const total = all.reduce((sum, { shape, name }) => sum + elementCount(shape, name), 0);
  const byName = new Map(all.map((input) => [input.name, input]));
  for (const input of all) {
    if (byName.get(input.name) === input) continue;
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'two tensors of one name', { where: input.name });
  }
  const tools = await openTools(options);
  const { codec } = tools.pools[0];
  if (!rates) tools.hessians.checkFor([...byName.keys()]);
  const whole = all.filter((input) => chooseMode(input, options).mode === 'lossless');
  const others = { inputs: byName, plans: await planFields(whole, options.signal) };
  if (rates) checkPlanned(all, rates, options, tools);
  const planned = rates ?? planRates(await measureAll(all, options, tools), options);
  const { reports, records } = await codeAll({ all, others, total, tools, codec, spool }, options, planned);
  const made = plainHeader ?? buildHeader(
    [...reports].map(([name, { dtype, shape, rawBytes }]) => [name, { dtype, shape, bytes: rawBytes }]),
    [...options.metadata ?? []].filter(([key]) => key !== 'hansel'));
  const { start, bytes } = writeDirectory(made, records, (some) => codec.crc32c(some));
  return { header: start, bytes, reports };
}

/**
 * @typedef {object} Work
 * @property {Input[]} all @property {Others} others
 * @property {number} total of weights
 * @property {Tools} tools
 * @property {Encoder} codec @property {Spool} spool
 */
/** @typedef {{reports: Map<string, Report>, records: Map<string, TensorRecord>}} Coded */
/** @typedef {import('./plan.js').Tools} Tools */

/** @param {EncodeOptions} options @returns {Promise<Tools>} */
export async function openTools({ threads, hessians, signal }) {
  const codec = await Encoder.create();
  return {
    pools: [createPool(codec), createPool(codec, threads)],
    hessians: new Hessians(hessians, codec.wasm.module, signal),
  };
}

/**
 * Codes all tensors.
 * @param {Work} work @param {EncodeOptions} options @param {Map<string, import('./rate.js').Rate | null>} rates of some
 * @returns {Promise<Coded>}
 */
async function codeAll({ all, others, total, tools, codec, spool }, options, rates) {
  const { hessians } = tools;
  /** @type {Map<string, Report>} */
  const reports = new Map();
  /** @type {Map<string, TensorRecord>} */
  const records = new Map();
  let done = 0;
  for (const input of all) {
    checkAborted(options.signal);
    const { name } = input;
    const weights = elementCount(input.shape, name);
    let most = 0; // what is coded anew is no step back
    const progress = (/** @type {'fit' | 'code'} */ phase, /** @type {number} */ share) => {
      most = Math.max(most, Math.round(weights * share));
      options.onProgress?.({ done: done + most, total, tensor: name, phase });
    };
    try {
      const { report, record, short } = await encodeTensor(making(tools.pools, optionsOf(name, options), progress),
        input, options, spool, others, rates.get(name), hessians);
      reports.set(name, report);
      records.set(name, record ?? await pass(input, report, spool, codec, short, options.signal));
      await spool.keep();
    } catch (error) {
      throw locate(error, name);
    }
    done += weights;
    options.onProgress?.({ done, total, tensor: name, phase: 'code' });
  }
  return { reports, records };
}

/**
 * Encoders of a tensor's parts, which tell of their progress as of one.
 * @param {Tools['pools']} pools @param {EncodeOptions} options
 * @param {(phase: 'fit' | 'code', share: number) => void} progress
 * @returns {Making}
 */
function making(pools, options, progress) {
  let [coded, all] = [0, 0];
  return (input, step) => {
    const weights = elementCount(input.shape, input.name);
    const own = step ? { ...options, bits: undefined, error: undefined, step } : options;
    let last = 0;
    all += weights;
    return new TensorEncoder(poolOf(pools, weights), input, own, (phase, at) => {
      if (phase === 'code') {
        coded += at - last;
        last = at;
      }
      // To round with feedback takes longer than to code.
      progress(phase === 'code' ? phase : 'fit', phase === 'code' ? coded / all : phase === 'round' ? 0.9 * at / weights : 0);
    });
  };
}

/**
 * A tensor as it is, or deflated.
 * @param {Input} input @param {Report} report corrected @param {Spool} spool @param {Encoder} codec
 * @param {Uint8Array | null | undefined} known it deflated, as shortOf() has it
 * @param {AbortSignal} [signal]
 * @returns {Promise<import('../file/records.js').TensorRecord>}
 */
async function pass({ name, dtype, shape, read, isText }, report, spool, codec, known, signal) {
  const size = byteSize(dtype, shape, name);
  report.bytes = report.rawBytes = size;
  let crc32c = 0;
  const piece = isText ? MAX_TEXT : MAX_DEFLATED;
  for (let at = 0; at < size; at += piece) {
    checkAborted(signal);
    const bytes = (await read(at, Math.min(at + piece, size))).slice();
    crc32c = codec.crc32c(bytes, crc32c);
    const short = known !== undefined ? known : bytes.length === size ? deflated(bytes, isText) : null;
    await spool.write(short ?? bytes);
    if (short) {
      report.bytes = short.length;
      return { kind: DEFLATED, bytes: short.length, crc32c };
    }
  }
  return { kind: STORED, crc32c };
}

/** @param {Uint8Array} bytes of a tensor that is not coded @param {boolean} [isText]
 * @returns {Uint8Array | null} shorter; null if there is too little to gain, or too much to do */
export function deflated(bytes, isText) {
  if (bytes.length > (isText ? MAX_TEXT : MAX_DEFLATED)) return null;
  const short = deflate(bytes);
  return short.length + varint(short.length).length + MIN_SAVED <= bytes.length ? short : null;
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

/** The header that a file of one plain file's tensors gives back.
 * @param {import('../model/model.js').Model} model */
export const plainHeader = ({ headers }) => (headers.length === 1 ? headers[0]?.headerBytes : undefined);

/**
 * Codes tensors into a Hansel file in memory.
 *
 * @param {Record<string, TensorLike> | Map<string, TensorLike> | Iterable<[string, TensorLike]>
 *   | import('../model/model.js').Model} tensors row-major elements of each dtype in the machine's
 *   (little-endian) order; not modified. An open plain file is read as it is coded, its header kept
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
  const { header, bytes } = await encodeTo(inputs, all, spool,
    model && !options.metadata ? plainHeader(model) : undefined);
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
