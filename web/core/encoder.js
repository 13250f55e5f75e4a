/** The C core's encoding functions on slices of bytes, as web/core/codec.js has those that decode. */
import { BLOB_BYTES, Codec, describe } from './codec.js';
import { DTYPES, MODES, dtypeBytes } from './dtypes.js';
import { HanselError, STATUS } from './errors.js';
import { loadModule } from './wasm.js';

/** Weights of a slice whose floating-point sums are taken together: src/hansel.h. */
export const SLICE = 262144;
const TARGETS = { bits: 1, error: 2 };
const STATS_BYTES = 40;
const SEARCH_BYTES = 56;

/** @typedef {import('./codec.js').Blob} Blob */

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
    const position = Number(view.getBigUint64(fault, true));
    const details = code === 'HANSEL_ERR_NOT_FINITE' ? {
      expected: 'a finite weight', got: `${view.getFloat32(fault + 16, true)} at index ${position}`,
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
      const stats = wasm.zero(STATS_BYTES);
      const fault = wasm.zero(24);
      this.check(wasm.call.hansel_scan(stats, DTYPES[/** @type {'F32'} */ (dtype)],
        wasm.put(bytes), bytes.length / dtypeBytes(dtype), fault), fault);
      const view = wasm.view();
      return {
        low: view.getFloat32(stats + 24, true), high: view.getFloat32(stats + 28, true),
        sumSquares: view.getFloat64(stats, true),
      };
    });
  }

  /**
   * The coded plane of a slice: quantized with step, or split off losslessly.
   * @param {number} source address of the slice @param {number} count weights
   * @param {string} dtype @param {number} step 0 for lossless @param {boolean} clamp
   * @param {number} stats @param {number} raw address for the raw plane
   * @returns {number} address of count symbols
   */
  #symbols(source, count, dtype, step, clamp, stats, raw) {
    const { wasm } = this;
    const symbols = wasm.alloc(count);
    const number = DTYPES[/** @type {'F32'} */ (dtype)];
    if (step) {
      const fault = wasm.zero(24);
      this.check(wasm.call.hansel_quantize(symbols, number, source, count, step, clamp ? 1 : 0,
        stats, fault), fault);
    } else {
      wasm.call.hansel_split(symbols, raw, number, source, count);
    }
    return symbols;
  }

  /**
   * Histogram of a slice's coded plane, and what quantizing does to it.
   * @param {string} dtype @param {Uint8Array} bytes @param {number} step 0 for lossless
   * @param {boolean} clamp
   * @returns {{counts: Float64Array, sumError: number, maxError: number, saturated: number}}
   */
  measure(dtype, bytes, step, clamp) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const size = dtypeBytes(dtype);
      const stats = wasm.zero(STATS_BYTES);
      const raw = wasm.alloc(bytes.length);
      const symbols = this.#symbols(wasm.put(bytes), bytes.length / size, dtype, step, clamp,
        stats, raw);
      const counts = this.#histogram(symbols, bytes.length / size);
      const view = wasm.view();
      return {
        counts,
        sumError: view.getFloat64(stats + 8, true), maxError: view.getFloat64(stats + 16, true),
        saturated: view.getUint32(stats + 36, true),
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

  /** @param {Float64Array} counts @returns {number} address of the same as 64-bit integers */
  #putCounts(counts) {
    return this.wasm.put(new Uint8Array(BigUint64Array.from(counts, BigInt).buffer));
  }

  /** @param {Float64Array} counts histogram @returns {number} bits per symbol */
  entropy(counts) {
    const { wasm } = this;
    return wasm.scoped(() => wasm.call.hansel_entropy(this.#putCounts(counts)));
  }

  /**
   * Model and partition of a tensor, from its histogram.
   * @param {{dtype: string, mode: 'grid' | 'lossless', shape: number[], step: number,
   *   counts: Float64Array, precision?: number, streamLength?: number}} tensor
   * @returns {{blob: Blob, bits: number}} bits is the expected size of the blob
   */
  plan({ dtype, mode, shape, step, counts, precision = 0, streamLength = 0 }) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const blob = wasm.zero(BLOB_BYTES);
      const fault = wasm.zero(24);
      const dims = wasm.put(new Uint8Array(BigUint64Array.from(shape, BigInt).buffer));
      this.check(wasm.call.hansel_init(blob, DTYPES[/** @type {'F32'} */ (dtype)],
        MODES.indexOf(mode), shape.length, dims, step), fault);
      const fitted = wasm.call.hansel_fit(blob, this.#putCounts(counts), precision);
      if (fitted < 0) {
        throw new HanselError('HANSEL_ERR_ARGUMENT', 'no such precision', {
          expected: '8 to 12 bits', got: precision,
        });
      }
      const bits = wasm.call.hansel_plan(blob, fitted, streamLength);
      return { blob: describe(wasm.get(blob, BLOB_BYTES)), bits };
    });
  }

  /** How many weights a symbol of a planned blob could hold. @param {Blob} blob */
  mostFolded({ struct }) {
    const { wasm } = this;
    return wasm.scoped(() => wasm.call.hansel_most_folded(wasm.put(struct)));
  }

  /**
   * A planned blob with several weights to a symbol: its partition, and with counts its model.
   * @param {Blob} blob @param {{fold: number, bits: number, counts?: Float64Array | null,
   *   precision?: number, streamLength?: number}} options bits: what plan() expected; counts: of the
   *   folded symbols
   * @returns {{blob: Blob, bits: number}} bits is infinite if there are more symbols than slots
   */
  refold({ struct }, { fold, bits, counts = null, precision = 0, streamLength = 0 }) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const blob = wasm.put(struct);
      wasm.view().setUint32(blob + 176, fold, true);
      const fitted = counts ? wasm.call.hansel_fit(blob, this.#putCounts(counts), precision) : bits;
      const planned = wasm.call.hansel_plan(blob, fitted, streamLength);
      return {
        blob: describe(wasm.get(blob, BLOB_BYTES)), bits: fitted < 0 ? Infinity : planned,
      };
    });
  }

  /**
   * Histogram of the folded symbols of streams first .. first + count - 1.
   * @param {Blob} blob from refold() @param {Uint8Array} bytes as for encodeStreams()
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
    const stats = wasm.zero(STATS_BYTES);
    const struct = wasm.put(blob.struct);
    const weights = bytes.length / dtypeBytes(blob.dtype);
    const symbols = this.#symbols(wasm.put(bytes), weights, blob.dtype, blob.step, clamp, stats,
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
   * @returns {{words: Uint8Array<ArrayBuffer>, lengths: Uint32Array<ArrayBuffer>}}
   */
  encodeStreams(blob, bytes, first, count, clamp) {
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
      };
    });
  }

  /**
   * encodeStreams(), and the words' checksum.
   * @param {Parameters<Encoder['encodeStreams']>} args
   */
  encodePart(...args) {
    const part = this.encodeStreams(...args);
    return { ...part, crc: this.crc32c(part.words) };
  }

  /**
   * @param {string} dtype @param {Uint8Array} bytes
   * @returns {Uint8Array<ArrayBuffer>} the raw plane of a slice
   */
  splitRaw(dtype, bytes) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const count = bytes.length / dtypeBytes(dtype);
      const raw = wasm.alloc(bytes.length);
      wasm.call.hansel_split(wasm.alloc(count), raw, DTYPES[/** @type {'F32'} */ (dtype)],
        wasm.put(bytes), count);
      return wasm.get(raw, bytes.length - count);
    });
  }

  /**
   * Directory and sizes, once all streams are coded.
   * @param {Blob} blob @param {Uint32Array} lengths words of each stream
   * @returns {Blob}
   */
  finish(blob, lengths) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const struct = wasm.put(blob.struct);
      const at = wasm.put(new Uint8Array(lengths.buffer, lengths.byteOffset, lengths.byteLength));
      this.check(wasm.call.hansel_finish(struct, at), wasm.zero(24));
      return describe(wasm.get(struct, BLOB_BYTES));
    });
  }

  /**
   * @param {Blob} blob finished @param {Uint32Array} lengths @param {number} payloadCrc
   * @returns {Uint8Array<ArrayBuffer>} the head
   */
  writeHead(blob, lengths, payloadCrc) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const struct = wasm.put(blob.struct);
      const at = wasm.put(new Uint8Array(lengths.buffer, lengths.byteOffset, lengths.byteLength));
      const head = wasm.alloc(blob.headBytes);
      wasm.view().setUint32(struct + 112, payloadCrc, true);
      this.check(wasm.call.hansel_write_head(head, blob.headBytes, struct, at), wasm.zero(24));
      return wasm.get(head, blob.headBytes);
    });
  }

  /**
   * Begins, or with a value continues, the search for a step: src/hansel.h.
   * @param {Uint8Array | null} search what the last call returned
   * @param {{target?: 'bits' | 'error', goal?: number, low?: number, high?: number,
   *   value?: number}} argument
   * @returns {{search: Uint8Array, step: number, best: number}} step 0 ends it
   */
  search(search, { target = 'bits', goal = 0, low = 0, high = 0, value = 0 }) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const at = search ? wasm.put(search) : wasm.zero(SEARCH_BYTES);
      if (search) wasm.call.hansel_search_next(at, value);
      else wasm.call.hansel_search_begin(at, TARGETS[target], goal, low, high);
      const view = wasm.view();
      return {
        step: view.getFloat32(at + 40, true), best: view.getFloat32(at + 44, true),
        search: wasm.get(at, SEARCH_BYTES),
      };
    });
  }
}
