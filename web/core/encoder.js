/** The C core's encoding functions on slices of bytes, as web/core/codec.js has those that decode. */
import { Codec, describe } from './codec.js';
import { DTYPES, dtypeBytes } from './dtypes.js';
import { HanselError, STATUS } from './errors.js';
import * as C from './structs.js';
import { loadModule } from './wasm.js';

/** Weights of a slice whose floating-point sums are taken together: src/hansel_slices.h. */
export { SLICE } from './structs.js';

/** @typedef {import('./codec.js').Blob} Blob */
/**
 * A tensor on its way, as src/hansel_slices.h has it.
 * @typedef {object} State
 * @property {Uint8Array} struct hansel_encoder, to hand back to the encoder
 * @property {'done' | 'scan' | 'window' | 'measure' | 'fold' | 'code'} work what it wants next
 * @property {Blob} blob as planned so far
 * @property {number} bits expected of the whole blob
 * @property {number} entropy bits per weight @property {number} error relative RMS error
 */
/**
 * What was asked for: sums over all slices or streams, floats added in the tensor's order.
 * @typedef {object} Found
 * @property {number} [low] @property {number} [high] @property {number} [sumSquares] after scan
 * @property {number} [sumError] after measure @property {Float64Array} [counts] and after fold
 * @property {Uint32Array} [numbers] after code: words of each stream; after window: its counts
 */

/** By their numbers. @type {Record<number, State['work']>} */
const WORKS = {
  [C.WORK_DONE]: 'done', [C.WORK_SCAN]: 'scan', [C.WORK_MEASURE]: 'measure', [C.WORK_FOLD]: 'fold',
  [C.WORK_CODE]: 'code', [C.WORK_WINDOW]: 'window',
};

/** What a C status means that only encoding gives. @type {Record<string, string>} */
const MEANING = {
  HANSEL_ERR_NOT_FINITE: 'NaN or infinity cannot be quantized (lossless can code it)',
  HANSEL_ERR_RANGE: 'weights lie outside the 256 levels of this step (take a larger step, '
    + 'or allow saturation)',
};

/** A codec that encodes too. */
export class Encoder extends Codec {
  /** @param {{simd?: boolean}} [options] as loadModule() @returns {Promise<Encoder>} */
  static async create({ simd } = {}) {
    return new Encoder(await loadModule({ simd }));
  }

  /**
   * Throws what a status says: those of encoding, and Codec's.
   * @param {number} status @param {number} fault address of a hansel_fault @param {string} [unit]
   */
  check(status, fault, unit) {
    const code = STATUS[status];
    const message = MEANING[code];
    if (!message) {
      super.check(status, fault, unit);
      return;
    }
    const view = this.wasm.view();
    const position = Number(view.getBigUint64(fault + C.FAULT_POSITION, true));
    const details = code === 'HANSEL_ERR_NOT_FINITE' ? {
      expected: 'a finite weight',
      got: `${view.getFloat32(fault + C.FAULT_FOUND, true)} at index ${position}`,
    } : { expected: 'indices -128..127', got: `one outside at index ${position}` };
    throw Object.assign(new HanselError(code, message, details), { position });
  }

  /**
   * Range and energy of a slice of float weights.
   * @param {string} dtype @param {Uint8Array} bytes
   * @returns {{low: number, high: number, sumSquares: number}}
   */
  scan(dtype, bytes) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const stats = wasm.zero(C.SIZEOF_STATS);
      const fault = wasm.zero(C.SIZEOF_FAULT);
      this.check(wasm.call.hansel_scan(stats, DTYPES[/** @type {'F32'} */ (dtype)],
        wasm.put(bytes), bytes.length / dtypeBytes(dtype), fault), fault);
      const view = wasm.view();
      return {
        low: view.getFloat32(stats + C.STATS_LOW, true),
        high: view.getFloat32(stats + C.STATS_HIGH, true),
        sumSquares: view.getFloat64(stats + C.STATS_SUM_SQUARES, true),
      };
    });
  }

  /**
   * The coded plane of a slice: quantized with step, or split off losslessly.
   * @param {number} source address of the slice @param {number} count weights
   * @param {Blob} blob planned so far @param {number} struct address of its struct
   * @param {boolean} clamp @param {number} stats @param {number} raw address for raw bits
   * @returns {number} address of count symbols
   */
  #symbols(source, count, blob, struct, clamp, stats, raw) {
    const { wasm } = this;
    const symbols = wasm.alloc(count);
    if (blob.mode === 'grid') {
      const fault = wasm.zero(C.SIZEOF_FAULT);
      this.check(wasm.call.hansel_quantize(symbols, DTYPES[/** @type {'F32'} */ (blob.dtype)], source, count,
        blob.step, clamp ? 1 : 0, stats, fault), fault);
    } else {
      wasm.call.hansel_split(symbols, raw, struct, source, count);
    }
    return symbols;
  }

  /**
   * Exponents and signs of a slice of float weights: hansel_window_count().
   * @param {string} dtype @param {Uint8Array} bytes @returns {{counts: Uint32Array<ArrayBuffer>}}
   */
  windowCounts(dtype, bytes) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const size = 4 * (C.WINDOW_COUNTS + 1);
      const counts = wasm.zero(size);
      wasm.call.hansel_window_count(counts, DTYPES[/** @type {'F32'} */ (dtype)], wasm.put(bytes),
        bytes.length / dtypeBytes(dtype));
      return { counts: new Uint32Array(wasm.get(counts, size).buffer) };
    });
  }

  /**
   * Weights by 65536 steps of a fine grid, 0 in the middle: hansel_fine_counts().
   * @param {string} dtype @param {Uint8Array} bytes @param {number} unit @returns {{counts: Uint32Array<ArrayBuffer>}}
   */
  fineCounts(dtype, bytes, unit) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const counts = wasm.zero(4 * C.FINE_COUNTS);
      wasm.call.hansel_fine_counts(counts, DTYPES[/** @type {'F32'} */ (dtype)], wasm.put(bytes),
        bytes.length / dtypeBytes(dtype), unit);
      return { counts: new Uint32Array(wasm.get(counts, 4 * C.FINE_COUNTS).buffer) };
    });
  }

  /**
   * Histogram of a slice's coded plane, and what quantizing does to it.
   * @param {Blob} blob planned so far @param {Uint8Array} bytes @param {boolean} clamp
   * @returns {{counts: Float64Array, sumError: number, maxError: number, saturated: number}}
   */
  measure(blob, bytes, clamp) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const size = dtypeBytes(blob.dtype);
      const stats = wasm.zero(C.SIZEOF_STATS);
      const raw = wasm.alloc(bytes.length);
      const symbols = this.#symbols(wasm.put(bytes), bytes.length / size, blob,
        wasm.put(blob.struct), clamp, stats, raw);
      const counts = this.#histogram(symbols, bytes.length / size);
      const view = wasm.view();
      return {
        counts,
        sumError: view.getFloat64(stats + C.STATS_SUM_ERROR, true),
        maxError: view.getFloat64(stats + C.STATS_MAX_ERROR, true),
        saturated: view.getUint32(stats + C.STATS_SATURATED, true),
      };
    });
  }

  /**
   * Some rows of a matrix rounded with error feedback: hansel_feedback_rows().
   * @param {string} dtype @param {Uint8Array} bytes whole rows @param {number} step
   * @param {number} columns
   * @param {Uint8Array} struct @param {Uint8Array} factor @param {Uint8Array} order of web/core/hessian.js
   * @returns {{bytes: Uint8Array<ArrayBuffer>, sumSquares: number, sumError: number, maxError: number,
   *   saturated: number}} bytes: grid indices
   */
  feedbackRows(dtype, bytes, step, columns, struct, factor, order) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const count = bytes.length / dtypeBytes(dtype);
      const rows = count / columns;
      const stats = wasm.zero(C.SIZEOF_STATS);
      const fault = wasm.zero(C.SIZEOF_FAULT);
      const indices = wasm.alloc(count);
      this.check(wasm.call.hansel_feedback_rows(indices, DTYPES[/** @type {'F32'} */ (dtype)], wasm.put(bytes),
        rows, step, wasm.put(struct), wasm.put(factor), wasm.put(order),
        wasm.alloc(4 * Number(wasm.call.hansel_feedback_work(columns, rows))), stats, fault), fault);
      const view = wasm.view();
      return {
        bytes: wasm.get(indices, count),
        sumSquares: view.getFloat64(stats + C.STATS_SUM_SQUARES, true),
        sumError: view.getFloat64(stats + C.STATS_SUM_ERROR, true),
        maxError: view.getFloat64(stats + C.STATS_MAX_ERROR, true),
        saturated: view.getUint32(stats + C.STATS_SATURATED, true),
      };
    });
  }

  /** @param {number} symbols address @param {number} count @returns {Float64Array} */
  #histogram(symbols, count) {
    const { wasm } = this;
    const counts = wasm.zero(2048);
    wasm.call.hansel_histogram(counts, symbols, count);
    const view = wasm.view();
    return new Float64Array(256).map((_, i) => Number(view.getBigUint64(counts + 8 * i, true)));
  }

  /** @param {number} at address of a hansel_encoder @returns {State} */
  #describe(at) {
    const { wasm } = this;
    const view = wasm.view();
    const f64 = (/** @type {number} */ offset) => view.getFloat64(at + offset, true);
    return {
      struct: wasm.get(at, C.SIZEOF_ENCODER),
      work: WORKS[view.getUint32(at + C.ENCODER_WORK, true)],
      blob: describe(wasm.get(at + C.ENCODER_BLOB, C.SIZEOF_BLOB)),
      bits: f64(C.ENCODER_BITS), entropy: f64(C.ENCODER_ENTROPY), error: f64(C.ENCODER_ERROR),
    };
  }

  /**
   * Begins to code a tensor: hansel_encoder_begin().
   * @param {{dtype: string, shape: number[], step?: number, bits?: number, error?: number,
   *   lossless?: boolean, saturate?: boolean, streamLength?: number, precision?: number,
   *   weightsPerSymbol?: number}} tensor as EncodeOptions has them; lossless goes before others
   * @returns {State}
   */
  begin({
    dtype, shape, step = 0, bits, error, lossless = false, saturate = false, streamLength = 0,
    precision = 0, weightsPerSymbol = 0,
  }) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const at = wasm.alloc(C.SIZEOF_ENCODER);
      const fault = wasm.zero(C.SIZEOF_FAULT);
      const dims = wasm.put(new Uint8Array(BigUint64Array.from(shape, BigInt).buffer));
      const options = wasm.zero(C.SIZEOF_OPTIONS);
      const view = wasm.view();
      const u32 = (/** @type {number} */ offset, /** @type {number | boolean} */ value) => (
        view.setUint32(options + offset, Number(value), true));
      view.setFloat32(options + C.OPTIONS_STEP, step, true);
      view.setFloat64(options + C.OPTIONS_GOAL, bits ?? error ?? 0, true);
      u32(C.OPTIONS_TARGET, bits !== undefined ? C.TARGET_BITS
        : error !== undefined ? C.TARGET_ERROR : 0);
      u32(C.OPTIONS_LOSSLESS, lossless);
      u32(C.OPTIONS_CLAMP, saturate);
      u32(C.OPTIONS_STREAM_LENGTH, streamLength);
      u32(C.OPTIONS_SLOT_BITS, precision);
      u32(C.OPTIONS_WEIGHTS_PER_SYMBOL, weightsPerSymbol);
      this.check(wasm.call.hansel_encoder_begin(at, DTYPES[/** @type {'F32'} */ (dtype)],
        shape.length, dims, options), fault);
      return this.#describe(at);
    });
  }

  /**
   * Takes what was asked for, and asks for more: hansel_encoder_next().
   * @param {State} state @param {Found} found
   * @returns {State | null} null if no step reaches the goal
   */
  next({ struct }, { low, high, sumSquares, sumError, counts, numbers }) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const at = wasm.put(struct);
      const list = numbers
        ? wasm.put(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)) : 0;
      const fault = wasm.zero(C.SIZEOF_FAULT);
      const view = wasm.view();
      const stats = at + C.ENCODER_STATS;
      if (low !== undefined) view.setFloat32(stats + C.STATS_LOW, low, true);
      if (high !== undefined) view.setFloat32(stats + C.STATS_HIGH, high, true);
      if (sumSquares !== undefined) view.setFloat64(stats + C.STATS_SUM_SQUARES, sumSquares, true);
      if (sumError !== undefined) view.setFloat64(stats + C.STATS_SUM_ERROR, sumError, true);
      counts?.forEach((count, i) => (
        view.setBigUint64(at + C.ENCODER_COUNTS + 8 * i, BigInt(count), true)));
      const status = wasm.call.hansel_encoder_next(at, list);
      if (STATUS[status] === 'HANSEL_ERR_RANGE') return null;
      this.check(status, fault);
      return this.#describe(at);
    });
  }

  /**
   * Histogram of the folded symbols of streams first .. first + count - 1.
   * @param {Blob} blob planned so @param {Uint8Array} bytes as for encodeRange()
   * @param {number} first @param {number} count @param {boolean} clamp
   * @returns {{counts: Float64Array}}
   */
  foldedCounts(blob, bytes, first, count, clamp) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const { symbols, length } = this.#folded(blob, bytes, first, count, clamp);
      return { counts: this.#histogram(symbols, length) };
    });
  }

  /**
   * The symbols of streams first .. first + count - 1 from their weights.
   * @param {Blob} blob @param {Uint8Array} bytes @param {number} first @param {number} count
   * @param {boolean} clamp @returns {{symbols: number, length: number, struct: number}} addresses
   */
  #folded(blob, bytes, first, count, clamp) {
    const { wasm } = this;
    const stats = wasm.zero(C.SIZEOF_STATS);
    const struct = wasm.put(blob.struct);
    const weights = bytes.length / dtypeBytes(blob.dtype);
    const symbols = this.#symbols(wasm.put(bytes), weights, blob, struct, clamp, stats,
      wasm.alloc(bytes.length));
    const length = wasm.call.hansel_fold(symbols, struct, first, count, symbols, weights) >>> 0;
    if (!length) {
      throw new HanselError('HANSEL_ERR_CHANGED', 'the weights changed while they were coded');
    }
    return { symbols, length, struct };
  }

  /**
   * Codes streams first .. first + count - 1.
   * @param {Blob} blob planned
   * @param {Uint8Array} bytes those streams' weights, in the source dtype
   * @param {number} first @param {number} count @param {boolean} clamp
   * @returns {{words: Uint8Array<ArrayBuffer>, lengths: Uint32Array<ArrayBuffer>, crc: number}}
   *   crc: of the words
   */
  encodeRange(blob, bytes, first, count, clamp) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const lengths = wasm.alloc(4 * count);
      const { symbols, length, struct } = this.#folded(blob, bytes, first, count, clamp);
      const bound = Number(wasm.call.hansel_encode_bound(struct, first, count));
      const dst = wasm.alloc(bound);
      const written = wasm.call.hansel_encode_streams(dst, bound, lengths, struct, first, count,
        symbols, length) >>> 0;
      if (!written) {
        throw new HanselError('HANSEL_ERR_CHANGED', 'the weights changed while they were coded');
      }
      return {
        words: wasm.get(dst, written),
        lengths: new Uint32Array(wasm.get(lengths, 4 * count).buffer),
        crc: wasm.call.hansel_crc32c(0, dst, written) >>> 0,
      };
    });
  }

  /**
   * @param {Blob} blob planned @param {Uint8Array} bytes a multiple of 8 weights, or the last ones
   * @returns {Uint8Array<ArrayBuffer>} the raw plane of a slice
   */
  splitRaw(blob, bytes) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const count = bytes.length / dtypeBytes(blob.dtype);
      const struct = wasm.put(blob.struct);
      const raw = wasm.alloc(bytes.length);
      wasm.call.hansel_split(wasm.alloc(count), raw, struct, wasm.put(bytes), count);
      return wasm.get(raw, wasm.call.hansel_pack_raw(raw, struct, raw, count));
    });
  }

  /**
   * @param {Blob} blob coded @param {Uint32Array} lengths @param {number} payloadCrc
   * @returns {Uint8Array<ArrayBuffer>} the head
   */
  writeHead(blob, lengths, payloadCrc) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const struct = wasm.put(blob.struct);
      const at = wasm.put(new Uint8Array(lengths.buffer, lengths.byteOffset, lengths.byteLength));
      const head = wasm.alloc(blob.headBytes);
      wasm.view().setUint32(struct + C.BLOB_PAYLOAD_CRC, payloadCrc, true);
      this.check(wasm.call.hansel_write_head(head, blob.headBytes, struct, at),
        wasm.zero(C.SIZEOF_FAULT));
      return wasm.get(head, blob.headBytes);
    });
  }
}
