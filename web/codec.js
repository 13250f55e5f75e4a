/**
 * The C core's functions on slices of bytes: one wasm instance, synchronous,
 * stateless between calls, so that any worker can do any slice. All arguments
 * and results can be posted to another thread.
 */
import { HanselError, STATUS } from './errors.js';
import { Wasm, loadModule } from './wasm.js';

/** Source dtypes that can be coded, by the safetensors name: FORMAT.md section 2. */
export const DTYPES = Object.freeze(
  { F32: 1, F16: 2, BF16: 3, I8: 4, U8: 5, F8_E4M3: 6, F8_E5M2: 7 });
const DTYPE_NAMES = Object.fromEntries(Object.entries(DTYPES).map(([k, v]) => [v, k]));
export const MODES = Object.freeze(['grid', 'lossless']);
/** Bytes of a head's fixed part; enough to learn head_bytes from. */
export const FIXED_BYTES = 56;
/** Weights of a slice whose floating-point sums are taken together: src/hansel.h. */
export const SLICE = 262144;
export const TARGETS = Object.freeze({ bits: 1, error: 2 });

/** @param {string} dtype @returns {number} bytes of an element */
export const dtypeBytes = (dtype) => (dtype === 'F32' ? 4 : dtype.endsWith('16') ? 2 : 1);

const BLOB_BYTES = 696;
const FREQ = 180;
const STATS_BYTES = 40;
const SEARCH_BYTES = 56;
const MAX_SLOTS = 4096;

/**
 * A parsed head. Numbers are exact (the format keeps them below 2^53).
 * @typedef {object} Blob
 * @property {Uint8Array} struct hansel_blob, to hand back to the codec
 * @property {string} dtype
 * @property {'grid' | 'lossless'} mode
 * @property {number[]} shape
 * @property {number} rows
 * @property {number} columns
 * @property {number} weights
 * @property {number} blobBytes
 * @property {number} wordCount 16-bit words of all streams
 * @property {number} step 0 when lossless
 * @property {number} headBytes
 * @property {number} payloadCrc
 * @property {number} rawBytes per weight
 * @property {number} precision
 * @property {number} origin
 * @property {number} alphabetSize
 * @property {number} tailBits
 * @property {number} tailSteps
 * @property {number} lengthBits of a stream's length in the directory
 * @property {number} pieces
 * @property {number} rowsPerStream
 * @property {number} streamCount
 * @property {number} fold weights per symbol
 * @property {Uint16Array} freq by alphabet index
 */

/** @param {Uint8Array} struct @returns {Blob} */
function describe(struct) {
  const view = new DataView(struct.buffer, struct.byteOffset, struct.length);
  const u32 = (/** @type {number} */ at) => view.getUint32(at, true);
  const u64 = (/** @type {number} */ at) => Number(view.getBigUint64(at, true));
  const freq = new Uint16Array(u32(140)).map((_, i) => view.getUint16(FREQ + 2 * i, true));
  return {
    struct,
    shape: Array.from({ length: u32(124) }, (_, i) => u64(8 * i)),
    rows: u64(64), columns: u64(72), weights: u64(80), blobBytes: u64(88), wordCount: u64(96),
    step: view.getFloat32(104, true), headBytes: u32(108), payloadCrc: u32(112),
    dtype: DTYPE_NAMES[u32(116)], mode: /** @type {'grid'} */ (MODES[u32(120)]),
    rawBytes: u32(128), precision: u32(132), origin: u32(136), alphabetSize: u32(140),
    tailBits: u32(144), tailSteps: u32(148), lengthBits: u32(152), pieces: u32(160),
    rowsPerStream: u32(164), streamCount: u32(168), fold: u32(176), freq,
  };
}

/** What a C status means, for people. @type {Record<string, string>} */
const MEANING = {
  HANSEL_ERR_ARGUMENT: 'impossible argument',
  HANSEL_ERR_TRUNCATED: 'the coded tensor is cut short',
  HANSEL_ERR_TRAILING: 'bytes follow the coded tensor',
  HANSEL_ERR_MAGIC: 'not a Hansel blob',
  HANSEL_ERR_VERSION: 'a format version this library does not know',
  HANSEL_ERR_RESERVED: 'a reserved field or padding byte is set',
  HANSEL_ERR_HEADER: 'the head is out of range or contradicts itself',
  HANSEL_ERR_CHECKSUM: 'the checksum does not match: the bytes are damaged',
  HANSEL_ERR_TABLE: 'the frequencies do not add up',
  HANSEL_ERR_DIRECTORY: 'the stream lengths do not fill the payload',
  HANSEL_ERR_CORRUPT: 'a stream does not end as it must',
  HANSEL_ERR_NOT_FINITE: 'NaN or infinity cannot be quantized (lossless can code it)',
  HANSEL_ERR_RANGE: 'weights lie outside the 256 levels of this step (take a larger step, '
    + 'or allow saturation)',
  HANSEL_ERR_CAPACITY: 'the output does not fit',
};

/** One wasm instance and the codec's functions. */
export class Codec {
  /** @param {WebAssembly.Module} module */
  constructor(module) {
    this.wasm = new Wasm(module);
  }

  /**
   * @param {{simd?: boolean, decoder?: boolean}} [options] as loadModule(); only a decoder multiplies, and it cannot encode
   * @returns {Promise<Codec>}
   */
  static async create(options) {
    return new Codec(await loadModule(options));
  }

  /**
   * Throws what a status says.
   * @param {number} status @param {number} fault address of a hansel_fault
   * @param {string} [unit] what its position counts; 'float' for found as binary32 bits
   */
  check(status, fault, unit = 'offset') {
    if (status === 0) return;
    const code = STATUS[status] ?? 'HANSEL_ERR_ARGUMENT';
    const view = this.wasm.view();
    const [position, expected, found] = [0, 8, 16].map((at) => view.getBigUint64(fault + at, true));
    const details = { position: Number(position) };
    let error;
    if (code === 'HANSEL_ERR_NOT_FINITE') {
      error = { expected: 'a finite weight', got: `${view.getFloat32(fault + 16, true)} at index ${position}` };
    } else if (code === 'HANSEL_ERR_RANGE') {
      error = { expected: 'indices -128..127', got: `one outside at index ${position}` };
    } else if (unit === 'stream') {
      error = { expected: `an exact end after ${expected} words`, got: `none, in stream ${position}` };
    } else {
      const hex = code === 'HANSEL_ERR_CHECKSUM' || code === 'HANSEL_ERR_MAGIC';
      const show = (/** @type {bigint} */ n) => (hex ? `0x${n.toString(16).padStart(8, '0')}` : `${n}`);
      error = { expected: show(expected), got: `${show(found)} at ${unit} ${position}` };
    }
    throw Object.assign(new HanselError(code, MEANING[code], error), details);
  }

  /** @param {Uint8Array} bytes @param {number} [crc] of what comes before @returns {number} */
  crc32c(bytes, crc = 0) {
    const { wasm } = this;
    const chunk = 1 << 20;
    for (let at = 0; at < bytes.length; at += chunk) {
      const part = bytes.subarray(at, at + chunk);
      crc = wasm.scoped(() => wasm.call.hansel_crc32c(crc, wasm.put(part), part.length)) >>> 0;
    }
    return crc;
  }

  /**
   * @param {number} first CRC-32C of some bytes @param {number} second of those that follow them
   * @param {number} secondBytes how many those are @returns {number} of both
   */
  crc32cCombine(first, second, secondBytes) {
    return this.wasm.call.hansel_crc32c_combine(first, second, BigInt(secondBytes)) >>> 0;
  }

  /* ---- decoding ---- */

  /**
   * @param {Uint8Array} bytes a blob's first bytes
   * @returns {Blob | number} the head, or how many bytes are needed to read it
   * @throws {HanselError} as hansel_read_head()
   */
  readHead(bytes) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const blob = wasm.zero(BLOB_BYTES);
      const fault = wasm.zero(24);
      const status = wasm.call.hansel_read_head(blob, wasm.put(bytes), bytes.length, fault);
      if (STATUS[status] === 'HANSEL_ERR_TRUNCATED') {
        return Number(wasm.view().getBigUint64(fault + 8, true));
      }
      this.check(status, fault);
      return describe(wasm.get(blob, BLOB_BYTES));
    });
  }

  /** @param {Blob} blob @param {number} stream @returns {number} index of its first weight */
  streamStart(blob, stream) {
    const { wasm } = this;
    return wasm.scoped(
      () => Number(wasm.call.hansel_stream_start(wasm.put(blob.struct), stream)));
  }

  /**
   * Where every stream begins, in words, and where the last ends.
   * @param {Blob} blob @param {Uint8Array} head its head's bytes
   * @returns {Uint32Array<ArrayBuffer>} streamCount + 1 numbers
   */
  readCursors(blob, head) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const cursors = wasm.alloc(4 * (blob.streamCount + 1));
      wasm.call.hansel_read_cursors(cursors, wasm.put(blob.struct), wasm.put(head), 0,
        blob.streamCount, 0);
      return new Uint32Array(wasm.get(cursors, 4 * (blob.streamCount + 1)).buffer);
    });
  }

  /** @param {Blob} blob @returns {Uint32Array<ArrayBuffer>} the decoding table, by slot */
  buildTable(blob) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const table = wasm.zero(4 * MAX_SLOTS);
      wasm.call.hansel_build_table(table, wasm.put(blob.struct));
      return new Uint32Array(wasm.get(table, 4 << blob.precision).buffer);
    });
  }

  /**
   * Decodes streams first.. to symbols, or (grid) to values of dtype.
   * @param {Blob} blob
   * @param {Uint32Array} cursors count + 1 of them, from stream first on
   * @param {number} first
   * @param {Uint8Array} words those streams' words
   * @param {number} count of weights in those streams
   * @param {string} [dtype] 'F32', 'F16' or 'BF16'; symbols when left out
   * @param {Uint8Array} [into] receives them
   * @returns {Uint8Array<ArrayBuffer>} into, or an array of its own
   */
  decodeStreams(blob, cursors, first, words, count, dtype, into) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const fault = wasm.zero(24);
      const struct = wasm.put(blob.struct);
      const table = wasm.alloc(4 * MAX_SLOTS);
      const symbols = wasm.room(count, dtype ? undefined : into);
      if (blob.streamCount) wasm.call.hansel_build_table(table, struct);
      const at = wasm.put(new Uint8Array(cursors.buffer, cursors.byteOffset, cursors.byteLength));
      this.check(wasm.call.hansel_decode_streams(symbols, count, struct, table, at, first,
        Math.max(cursors.length - 1, 0), wasm.put(words), words.length, fault), fault, 'stream');
      if (!dtype) return wasm.get(symbols, count, into);
      const bytes = count * dtypeBytes(dtype);
      const values = wasm.room(bytes, into);
      wasm.call.hansel_dequantize(values, DTYPES[/** @type {'F32'} */ (dtype)], symbols, count,
        blob.step);
      return wasm.get(values, bytes, into);
    });
  }

  /**
   * decodeStreams(), and the words' checksum.
   * @param {Blob} blob @param {Uint32Array} cursors @param {number} first @param {Uint8Array} words
   * @param {number} count @param {string} [dtype] @param {Uint8Array} [into]
   * @returns {{bytes: Uint8Array<ArrayBuffer>, crc: number}}
   */
  decodePart(blob, cursors, first, words, count, dtype, into) {
    const bytes = this.decodeStreams(blob, cursors, first, words, count, dtype, into);
    return { bytes, crc: this.crc32c(words) };
  }

  /**
   * join(), and the raw bytes' checksum.
   * @param {string} dtype @param {Uint8Array} symbols @param {Uint8Array} raw
   * @param {Uint8Array} [into] @returns {{bytes: Uint8Array<ArrayBuffer>, crc: number}}
   */
  joinPart(dtype, symbols, raw, into) {
    return { bytes: this.join(dtype, symbols, raw, into), crc: this.crc32c(raw) };
  }

  /**
   * @param {string} dtype @param {Uint8Array} symbols @param {Uint8Array} raw
   * @param {Uint8Array} [into] receives them
   * @returns {Uint8Array<ArrayBuffer>} elements, as hansel_join(); into, or an array of its own
   */
  join(dtype, symbols, raw, into) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const bytes = symbols.length * dtypeBytes(dtype);
      const values = wasm.room(bytes, into);
      wasm.call.hansel_join(values, DTYPES[/** @type {'F32'} */ (dtype)], wasm.put(symbols),
        wasm.put(raw), symbols.length);
      return wasm.get(values, bytes, into);
    });
  }

  /**
   * Adds the share of some streams to y = W x: src/matvec.c.
   * @param {Blob} blob @param {Uint32Array} cursors as for decodeStreams @param {number} first
   * @param {Uint8Array} words @param {number} start row-major index of their first weight
   * @param {number} count of weights @param {Uint8Array} raw their raw plane, empty without one
   * @param {Float32Array | Int8Array} x batch vectors; Int8Array: one, and y is Int32Array
   * @param {number} batch @param {Float32Array | Int32Array} y batch vectors of rows, added to;
   *   of grid matrices not yet scaled by the step
   */
  multiplyStreams(blob, cursors, first, words, start, count, raw, x, batch, y) {
    const { wasm } = this;
    wasm.scoped(() => {
      const fault = wasm.zero(24);
      const struct = wasm.put(blob.struct);
      const table = wasm.alloc(4 * MAX_SLOTS);
      let weights = wasm.alloc(count);
      if (blob.streamCount) wasm.call.hansel_build_table(table, struct);
      const at = wasm.put(new Uint8Array(cursors.buffer, cursors.byteOffset, cursors.byteLength));
      this.check(wasm.call.hansel_decode_streams(weights, count, struct, table, at, first,
        Math.max(cursors.length - 1, 0), wasm.put(words), words.length, fault), fault, 'stream');
      const isFloat = blob.mode === 'lossless' && DTYPES[/** @type {'F32'} */ (blob.dtype)] <= 3;
      if (isFloat) {
        const joined = wasm.alloc(4 * count);
        const dtype = DTYPES[/** @type {'F32'} */ (blob.dtype)];
        wasm.call.hansel_join(joined, dtype, weights, wasm.put(raw), count);
        weights = wasm.alloc(4 * count);
        wasm.call.hansel_widen(weights, dtype, joined, count);
      }
      this.#addProduct(weights, isFloat, start, count, blob, x, batch, y);
    });
  }

  /**
   * Like multiplyStreams, but for weights that are not coded.
   * @param {{dtype: string, rows: number, columns: number}} matrix of F32, F16, BF16 or I8
   * @param {Uint8Array} bytes of the weights from start on @param {number} start
   * @param {number} count @param {Float32Array | Int8Array} x
   * @param {number} batch @param {Float32Array | Int32Array} y
   */
  multiplyPlain({ dtype, rows, columns }, bytes, start, count, x, batch, y) {
    const { wasm } = this;
    wasm.scoped(() => {
      let weights = wasm.put(bytes);
      if (dtype === 'F16' || dtype === 'BF16') {
        const wide = wasm.alloc(4 * count);
        wasm.call.hansel_widen(wide, DTYPES[dtype], weights, count);
        weights = wide;
      }
      this.#addProduct(weights, dtype !== 'I8', start, count, { rows, columns }, x, batch, y);
    });
  }

  /**
   * @param {number} weights where they are: float32, or int8 @param {boolean} isFloat
   * @param {number} start @param {number} count @param {{rows: number, columns: number}} matrix
   * @param {Float32Array | Int8Array} x @param {number} batch
   * @param {Float32Array | Int32Array} y
   */
  #addProduct(weights, isFloat, start, count, { rows, columns }, x, batch, y) {
    const { wasm } = this;
    const row = Math.floor(start / columns);
    const touched = Math.ceil((start + count) / columns) - row;
    const vector = wasm.put(new Uint8Array(x.buffer, x.byteOffset, x.byteLength));
    const sums = wasm.zero(4 * touched * batch);
    const big = [start, count, columns].map(BigInt);
    if (x instanceof Int8Array) wasm.call.hansel_matvec_i8(sums, weights, ...big, vector);
    else {
      wasm.call.hansel_matvec(sums, BigInt(touched), weights, isFloat ? 1 : 0, ...big, vector, batch);
    }
    const part = x instanceof Int8Array ? new Int32Array(wasm.memory.buffer, sums, touched)
      : new Float32Array(wasm.memory.buffer, sums, touched * batch);
    for (let b = 0; b < batch; b++) {
      for (let r = 0; r < touched; r++) y[b * rows + row + r] += part[b * touched + r];
    }
  }

  /* ---- encoding ---- */

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
   * @param {Parameters<Codec['encodeStreams']>} args
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
