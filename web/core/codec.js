/**
 * The C core's decoding functions on slices of bytes: one wasm instance, synchronous,
 * stateless between calls, so that any worker can do any slice. All arguments
 * and results can be posted to another thread.
 */
import { DTYPES, DTYPE_NAMES, MODES, dtypeBytes } from './dtypes.js';
import { HanselError, STATUS } from './errors.js';
import * as C from './structs.js';
import { Wasm, loadModule } from './wasm.js';

/** Bytes of a head that say how many more there are. */
export { MIN_HEAD_BYTES } from './structs.js';

/**
 * A parsed head. Numbers are exact (the format keeps them below 2^53).
 * @typedef {object} Blob
 * @property {Uint8Array} struct hansel_blob, to hand back to the codec
 * @property {import('./dtypes.js').Dtype} dtype
 * @property {'grid' | 'lossless'} mode
 * @property {number[]} shape
 * @property {number} rows
 * @property {number} columns
 * @property {number} weights
 * @property {number} blobBytes
 * @property {number} wordCount 16-bit words of all streams
 * @property {number} rawStart byte of the payload where the raw plane begins
 * @property {number} step 0 when lossless
 * @property {number} headBytes
 * @property {number} payloadCrc
 * @property {number} rawBytes that hold a weight's raw bits: 0, 1 or 3
 * @property {number} rawBits of a weight in the raw plane
 * @property {number} windowBase lossless floats: what symbols count from, FORMAT.md section 5
 * @property {number} mantissaBits in a symbol @property {number} sign 0: raw, 1: all +, 2: all -
 * @property {number} version of the head: 1 to 4
 * @property {number} directoryOffset where the streams' lengths begin in the head
 * @property {number} slotBits of probability
 * @property {number} origin
 * @property {number} alphabetSize
 * @property {number} tailBits
 * @property {number} tailSteps
 * @property {number} lengthBits of a stream's length in the directory
 * @property {number} pieces
 * @property {number} rowsPerStream
 * @property {number} streamCount
 * @property {number} weightsPerSymbol 1, 2 or 4
 * @property {Uint16Array} freq by alphabet index
 */

/** @param {Uint8Array} struct @returns {Blob} */
export function describe(struct) {
  const view = new DataView(struct.buffer, struct.byteOffset, struct.length);
  const u32 = (/** @type {number} */ at) => view.getUint32(at, true);
  const u64 = (/** @type {number} */ at) => Number(view.getBigUint64(at, true));
  const freq = new Uint16Array(u32(C.BLOB_ALPHABET_SIZE))
    .map((_, i) => view.getUint16(C.BLOB_FREQ + 2 * i, true));
  return {
    struct,
    shape: Array.from({ length: u32(C.BLOB_RANK) }, (_, i) => u64(C.BLOB_SHAPE + 8 * i)),
    rows: u64(C.BLOB_ROWS), columns: u64(C.BLOB_COLUMNS), weights: u64(C.BLOB_WEIGHTS),
    blobBytes: u64(C.BLOB_BLOB_BYTES), wordCount: u64(C.BLOB_WORD_COUNT),
    rawStart: u64(C.BLOB_RAW_START), rawBits: u32(C.BLOB_RAW_BITS),
    windowBase: u32(C.BLOB_WINDOW_BASE), mantissaBits: u32(C.BLOB_MANTISSA_BITS),
    sign: u32(C.BLOB_SIGN), version: u32(C.BLOB_VERSION),
    directoryOffset: u32(C.BLOB_DIRECTORY_OFFSET),
    step: view.getFloat32(C.BLOB_STEP, true), headBytes: u32(C.BLOB_HEAD_BYTES),
    payloadCrc: u32(C.BLOB_PAYLOAD_CRC), dtype: DTYPE_NAMES[u32(C.BLOB_DTYPE)],
    mode: /** @type {'grid'} */ (MODES[u32(C.BLOB_MODE)]), rawBytes: u32(C.BLOB_RAW_BYTES),
    slotBits: u32(C.BLOB_SLOT_BITS), origin: u32(C.BLOB_ORIGIN),
    alphabetSize: u32(C.BLOB_ALPHABET_SIZE), tailBits: u32(C.BLOB_TAIL_BITS),
    tailSteps: u32(C.BLOB_TAIL_STEPS), lengthBits: u32(C.BLOB_LENGTH_BITS),
    pieces: u32(C.BLOB_PIECES), rowsPerStream: u32(C.BLOB_ROWS_PER_STREAM),
    streamCount: u32(C.BLOB_STREAM_COUNT), weightsPerSymbol: u32(C.BLOB_WEIGHTS_PER_SYMBOL), freq,
  };
}

/** What a C status means, for people. @type {Record<string, string>} */
const MEANING = {
  HANSEL_ERR_ARGUMENT: 'impossible argument',
  HANSEL_ERR_TRUNCATED: 'the coded tensor is cut short',
  HANSEL_ERR_TRAILING: 'bytes follow the coded tensor',
  HANSEL_ERR_MAGIC: 'not a Hansel blob',
  HANSEL_ERR_VERSION: 'unknown version of the format',
  HANSEL_ERR_RESERVED: 'a reserved field or padding byte is set',
  HANSEL_ERR_HEADER: 'the head is out of range or contradicts itself',
  HANSEL_ERR_CHECKSUM: 'the bytes are damaged: their CRC-32C is wrong',
  HANSEL_ERR_TABLE: 'the frequencies do not add up',
  HANSEL_ERR_DIRECTORY: 'the stream lengths do not fill the payload',
  HANSEL_ERR_CORRUPT: 'a stream does not end as it must',
  HANSEL_ERR_CAPACITY: 'the output does not fit',
};

/** One wasm instance and the functions that decode; web/core/encoder.js adds those that encode. */
export class Codec {
  /** @param {WebAssembly.Module} module */
  constructor(module) {
    this.wasm = new Wasm(module);
  }

  /**
   * @param {{simd?: boolean, decoder?: boolean}} [options] as loadModule(); only a decoder
   *   multiplies (web/core/multiply.js)
   * @returns {Promise<Codec>}
   */
  static async create(options) {
    return new Codec(await loadModule(options));
  }

  /**
   * Throws what a status says.
   * @param {number} status @param {number} fault address of a hansel_fault
   * @param {string} [unit] what its position counts
   */
  check(status, fault, unit = 'offset') {
    if (status === 0) return;
    const code = STATUS[status] ?? 'HANSEL_ERR_ARGUMENT';
    const view = this.wasm.view();
    const [position, expected, found] = [C.FAULT_POSITION, C.FAULT_EXPECTED, C.FAULT_FOUND]
      .map((at) => view.getBigUint64(fault + at, true));
    const details = { position: Number(position) };
    let error;
    if (unit === 'stream') {
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

  /**
   * @param {Uint8Array} bytes a blob's first bytes
   * @returns {Blob | number} the head, or how many bytes are needed to read it
   * @throws {HanselError} as hansel_read_head()
   */
  readHead(bytes) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const blob = wasm.zero(C.SIZEOF_BLOB);
      const fault = wasm.zero(C.SIZEOF_FAULT);
      const status = wasm.call.hansel_read_head(blob, wasm.put(bytes), bytes.length, fault);
      if (STATUS[status] === 'HANSEL_ERR_TRUNCATED') {
        return Number(wasm.view().getBigUint64(fault + C.FAULT_EXPECTED, true));
      }
      this.check(status, fault);
      return describe(wasm.get(blob, C.SIZEOF_BLOB));
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
      const table = wasm.zero(4 * C.MAX_SLOTS);
      wasm.call.hansel_build_table(table, wasm.put(blob.struct));
      return new Uint32Array(wasm.get(table, 4 << blob.slotBits).buffer);
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
    return this.wasm.scoped(() => this.#decodeAt(blob, cursors, first, this.wasm.put(words), words.length, count,
      dtype, into));
  }

  /**
   * decodeStreams(), in a scope, of words that are in memory.
   * @param {Blob} blob @param {Uint32Array} cursors @param {number} first @param {number} at address of the words
   * @param {number} bytes of them @param {number} count @param {string} [dtype] @param {Uint8Array} [into]
   */
  #decodeAt(blob, cursors, first, at, bytes, count, dtype, into) {
    const { wasm } = this;
    const fault = wasm.zero(C.SIZEOF_FAULT);
    const struct = wasm.put(blob.struct);
    const table = wasm.alloc(4 * C.MAX_SLOTS);
    const symbols = wasm.room(count, dtype ? undefined : into);
    if (blob.streamCount) wasm.call.hansel_build_table(table, struct);
    const starts = wasm.put(new Uint8Array(cursors.buffer, cursors.byteOffset, cursors.byteLength));
    this.check(wasm.call.hansel_decode_streams(symbols, count, struct, table, starts, first,
      Math.max(cursors.length - 1, 0), at, bytes, fault), fault, 'stream');
    if (!dtype) return wasm.get(symbols, count, into);
    const size = count * dtypeBytes(dtype);
    const values = wasm.room(size, into);
    wasm.call.hansel_dequantize(values, DTYPES[/** @type {'F32'} */ (dtype)], symbols, count, blob.step);
    return wasm.get(values, size, into);
  }

  /**
   * decodeStreams(), and the words' checksum.
   * @param {Blob} blob @param {Uint32Array} cursors @param {number} first @param {Uint8Array} words
   * @param {number} count @param {string} [dtype] @param {Uint8Array} [into]
   * @returns {{bytes: Uint8Array<ArrayBuffer>, crc: number}}
   */
  decodeRange(blob, cursors, first, words, count, dtype, into) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const at = wasm.put(words);
      const bytes = this.#decodeAt(blob, cursors, first, at, words.length, count, dtype, into);
      return { bytes, crc: wasm.call.hansel_crc32c(0, at, words.length) >>> 0 };
    });
  }

  /**
   * joinPacked(), and the checksum of the raw bytes that no range before had.
   * @param {Blob} blob @param {Uint8Array} symbols @param {Uint8Array} raw @param {number} firstBit
   * @param {Uint8Array} [into] @returns {{bytes: Uint8Array<ArrayBuffer>, crc: number}}
   */
  joinRange(blob, symbols, raw, firstBit, into) {
    const { wasm } = this;
    const known = firstBit ? 1 : 0;
    return wasm.scoped(() => {
      const at = wasm.put(raw);
      const bytes = this.#joinAt(blob, symbols, at, firstBit, into);
      return { bytes, crc: wasm.call.hansel_crc32c(0, at + known, raw.length - known) >>> 0 };
    });
  }

  /**
   * Lossless weights from their symbols and their part of the raw plane.
   * @param {Blob} blob @param {Uint8Array} symbols @param {Uint8Array} raw
   * @param {number} firstBit of raw that counts, 0 to 7 @param {Uint8Array} [into] receives them
   * @returns {Uint8Array<ArrayBuffer>} elements, as hansel_join(); into, or an array of its own
   */
  joinPacked(blob, symbols, raw, firstBit, into) {
    return this.wasm.scoped(() => this.#joinAt(blob, symbols, this.wasm.put(raw), firstBit, into));
  }

  /**
   * joinPacked(), in a scope, of a raw plane that is in memory.
   * @param {Blob} blob @param {Uint8Array} symbols @param {number} raw its address @param {number} firstBit
   * @param {Uint8Array} [into]
   */
  #joinAt(blob, symbols, raw, firstBit, into) {
    const { wasm } = this;
    const { length: count } = symbols;
    const bytes = count * dtypeBytes(blob.dtype);
    const values = wasm.room(bytes, into);
    const struct = wasm.put(blob.struct);
    const whole = wasm.alloc(count * blob.rawBytes);
    wasm.call.hansel_expand_raw(whole, struct, raw, firstBit, count);
    wasm.call.hansel_join(values, struct, wasm.put(symbols), whole, count);
    return wasm.get(values, bytes, into);
  }
}
