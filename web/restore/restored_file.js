/**
 * A coded file as the one that was coded: its bytes, all or some, made as they are wanted. What was coded without
 * loss comes back byte for byte; other tensors have other values, in the same places.
 */
import { HanselError, checkAborted, locate } from '../core/errors.js';
import { allocate, fill } from '../core/memory.js';
import { refuse } from '../core/options.js';
import { ByteReader } from '../file/byte_reader.js';
import { layoutOf } from '../file/carrier.js';
import { formatCrc } from '../file/header_crc.js';
import { inflate } from '../file/inflate.js';
import { DEFLATED, PLANES } from '../file/records.js';
import { SeveralReader } from '../model/several.js';
import { isSeveral } from '../model/tensor.js';
import { TensorReader, drain } from '../model/tensor_reader.js';

/** Bytes of a Blob's part: what of it is in memory at a time. */
const BLOB_PART = 1 << 24;

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../file/carrier.js').Range} Range */
/** @typedef {{done: number, total: number}} FileProgress bytes that are made, and those that are wanted */
/**
 * @typedef {object} PartOptions
 * @property {number} [start] first byte that is wanted, 0 by default
 * @property {number} [end] one past the last; the file's size by default
 * @property {AbortSignal} [signal]
 * @property {(progress: FileProgress) => void} [onProgress]
 */

/** Made by openFile(). Reads may go on side by side. */
export class RestoredFile {
  #model;
  #ranges;
  #header;
  /** The tensor that holds the bytes between the others. */
  #restName;
  /** Once they were wanted. @type {Uint8Array | undefined} */
  #rest;
  #isClosed = false;

  /**
   * @param {Model} model of one file, closed by close()
   * @throws {HanselError} HANSEL_ERR_MANIFEST for a file of before version 4, or a wrong list of ranges
   */
  constructor(model) {
    const { headers: [header], sources: [{ name }] } = model;
    if (!header) {
      throw new HanselError('HANSEL_ERR_MANIFEST', 'a file of before version 4: decode it, and encode it anew', { where: name });
    }
    const { format, size, ranges, rest, beside } = layoutOf(header);
    this.#model = model;
    this.#ranges = ranges;
    this.#header = header.headerBytes;
    this.#restName = rest;
    /** Of the coded file: its path, or its URL without a query. */
    this.name = name;
    /** 'onnx', 'onnxdata' (beside an ONNX model), 'gguf', 'safetensors'; 'bytes' of any other. */
    this.format = format;
    /** Bytes of the file that is made. */
    this.size = size;
    /** ... and of the coded one. */
    this.codedSize = model.bytes;
    /** Names of the files that belong to this one, relative to it: external data, other shards. */
    this.beside = beside;
    /** Name to what it is, in the order of the file. */
    this.tensors = model.tensors;
  }

  /** Whether all is made by one reading of the coded file, from its start to its end. */
  get isSequential() {
    const isBased = [...this.#model.places.values()].some(({ record }) => (
      record?.kind === PLANES && record.planes.some(({ base }) => base)));
    return !isBased && this.#span(this.#ranges) !== undefined;
  }

  /**
   * All bytes, or some.
   * @param {PartOptions & {into?: Uint8Array, shared?: boolean}} [options] into: an array of that size, which receives
   *   them; shared: in a SharedArrayBuffer, which threads fill by themselves
   * @returns {Promise<Uint8Array<ArrayBuffer>>} the caller's; `into` if it is given
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _MEMORY, _ABORTED; as Model.slices() for damaged files
   */
  async bytes({ into, shared, ...options } = {}) {
    const part = await this.#checked(options, 'bytes');
    const size = part.end - part.start;
    if (into && !(into instanceof Uint8Array && into.length === size)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'into does not fit', {
        expected: `a Uint8Array of ${size} bytes`, got: into?.length, where: this.name,
      });
    }
    const out = into ?? allocate(size, this.name, shared);
    await drain(this.#pieces(part, out));
    return /** @type {Uint8Array<ArrayBuffer>} */ (out);
  }

  /**
   * All bytes, or some, as a Blob, which a browser may keep outside of memory.
   * @param {PartOptions & {type?: string}} [options] type: of the Blob
   * @returns {Promise<Blob>}
   * @throws {HanselError} as bytes()
   */
  async blob({ type = 'application/octet-stream', ...options } = {}) {
    const part = await this.#checked(options, 'blob');
    /** @type {Blob[]} */
    const done = [];
    /** @type {BlobPart[]} */
    let chunks = [];
    let size = 0;
    const finish = () => {
      done.push(new Blob(chunks));
      [chunks, size] = [[], 0];
    };
    for await (const bytes of this.#pieces(part)) {
      chunks.push(/** @type {Uint8Array<ArrayBuffer>} */ (bytes));
      size += bytes.length;
      if (size >= BLOB_PART) finish();
    }
    finish();
    return new Blob(done, { type });
  }

  /**
   * All bytes, or some, as they are made; to cancel it stops the transfer.
   * @param {PartOptions} [options]
   * @returns {ReadableStream<Uint8Array<ArrayBuffer>>} which fails as bytes() does
   */
  stream(options = {}) {
    const { signal } = options;
    /** Ends a transfer that is waited for. */
    const stop = new AbortController();
    if (signal?.aborted) stop.abort(signal.reason);
    signal?.addEventListener('abort', () => stop.abort(signal.reason), { signal: stop.signal });
    /** @type {AsyncGenerator<Uint8Array> | undefined} */
    let pieces;
    return new ReadableStream({
      pull: async (controller) => {
        try {
          pieces ??= this.#pieces(await this.#checked({ ...options, signal: stop.signal }, 'stream'));
          const { done, value } = await pieces.next();
          if (!done) return controller.enqueue(/** @type {Uint8Array<ArrayBuffer>} */ (value));
          controller.close();
          stop.abort();
        } catch (error) {
          stop.abort();
          throw error;
        }
      },
      cancel: async () => {
        stop.abort();
        await pieces?.return(undefined);
      },
    }, { highWaterMark: 1 });
  }

  /** Closes the coded file. Reading afterwards is HANSEL_ERR_SOURCE. */
  close() {
    this.#isClosed = true;
    return this.#model.close();
  }

  /** @param {PartOptions} options @param {string} call */
  async #checked({ start = 0, end = this.size, signal, onProgress, ...rest }, call) {
    await refuse(rest, call);
    checkAborted(signal);
    if (this.#isClosed) throw new HanselError('HANSEL_ERR_SOURCE', 'already closed', { where: this.name });
    if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= this.size) {
      return { start, end, signal, onProgress };
    }
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'bytes that are not there', {
      expected: `0 to ${this.size}`, got: `${start} to ${end}`, where: this.name,
    });
  }

  /**
   * @param {PartOptions & {start: number, end: number}} part @param {Uint8Array} [out] receives them
   * @returns {AsyncGenerator<Uint8Array>} in order, without holes; the caller's, if there is no out
   */
  async* #pieces({ start, end, signal, onProgress }, out) {
    const total = end - start;
    const wanted = this.#ranges.filter((range) => range.start < end && range.end > start);
    const rest = this.#restFor(wanted);
    const span = this.#span(wanted);
    const bytes = span && new ByteReader(this.#model.sources[0].stream(span.start, span.end, { signal }));
    let done = 0;
    try {
      if (rest !== null) await this.#readRest(rest, bytes, signal);
      for (const range of wanted) {
        const [first, last] = [Math.max(start, range.start), Math.min(end, range.end)];
        const how = { bytes, out: out?.subarray(first - start, last - start), signal };
        for await (const piece of this.#part(range, first - range.start, last - range.start, how)) {
          done += piece.length;
          onProgress?.({ done, total });
          yield piece;
        }
      }
    } finally {
      await bytes?.close();
    }
    if (!total) onProgress?.({ done, total });
  }

  /**
   * The tensor of bytes between others, if these ranges want it and it was not read: to be read before them, as it is
   * the first in the file.
   * @param {Range[]} wanted @returns {string | null}
   */
  #restFor(wanted) {
    return !this.#rest && wanted.some(({ name }) => name === this.#restName) ? this.#restName : null;
  }

  /**
   * What one transfer brings of the coded file.
   * @param {Range[]} wanted
   * @returns {{start: number, end: number} | undefined} none where that is not all that these ranges are made of, in
   *   their order, and no more
   */
  #span(wanted) {
    const rest = this.#restFor(wanted);
    let span;
    const tensors = wanted.flatMap(({ name }) => (name === null || name === this.#restName ? [] : [name]));
    for (const name of rest === null ? tensors : [rest, ...tensors]) {
      const { start, end, parts = [{ start, end }] } = this.#model.place(name);
      for (const part of parts) {
        span ??= { start: part.start, end: part.start };
        if (part.start !== span.end) return undefined;
        span.end = part.end;
      }
    }
    return span;
  }

  /**
   * Some bytes of a range.
   * @param {Range} range @param {number} first byte of it @param {number} last one past them
   * @param {{bytes?: ByteReader, out?: Uint8Array, signal?: AbortSignal}} how bytes: at what its tensor is made of, if
   *   that has to be read; out: receives them
   * @returns {AsyncGenerator<Uint8Array>}
   */
  async* #part({ name, from, start, end }, first, last, { bytes, out, signal }) {
    if (name === null || name === this.#restName) {
      const all = name === null ? this.#header : /** @type {Uint8Array} */ (this.#rest);
      const some = all.slice(from + first, from + last);
      out?.set(some);
      yield some;
      return;
    }
    const isWhole = last - first === end - start;
    let at = 0;
    for await (const piece of this.#slices(name, { bytes, out: isWhole ? out : undefined, signal })) {
      const some = piece.subarray(Math.max(first - at, 0), Math.max(last - at, 0));
      if (some.length) {
        if (!isWhole) out?.set(some, Math.max(at - first, 0));
        yield some;
      }
      at += piece.length;
      if (at >= last && last < end - start) return; // what is read to its end is checked
    }
  }

  /** @param {string} name @param {ByteReader} [bytes] at it @param {AbortSignal} [signal] */
  async #readRest(name, bytes, signal) {
    const rest = allocate(this.#model.tensor(name).weights, name);
    this.#rest = await fill(rest, this.#slices(name, { bytes, signal }), name);
  }

  /**
   * A tensor's bytes.
   * @param {string} name @param {{bytes?: ByteReader, out?: Uint8Array, signal?: AbortSignal}} wanted
   * @returns {AsyncGenerator<Uint8Array>}
   */
  async* #slices(name, wanted) {
    const [model, { bytes, out }] = [this.#model, wanted];
    const [tensor, place] = [model.tensor(name), model.place(name)];
    if (bytes && place.record?.kind === DEFLATED) { // its place is in a source of its own
      const piece = await this.#inflated(name, await bytes.take(place.record.bytes), place.end, place.record.crc32c);
      out?.set(piece);
      yield piece;
      return;
    }
    const reader = isSeveral(place) ? new SeveralReader(model, name, wanted)
      : new TensorReader(model, name, tensor, place, wanted);
    for await (const piece of reader.slices()) yield piece.bytes;
  }

  /** @param {string} name @param {Uint8Array} short @param {number} size @param {number} crc */
  async #inflated(name, short, size, crc) {
    try {
      const piece = await inflate(short, size);
      const got = this.#model.codec.crc32c(piece);
      if (piece.length === size && got === crc) return piece;
      throw new HanselError('HANSEL_ERR_CHECKSUM', 'the bytes are damaged: their CRC-32C is wrong', {
        expected: `0x${formatCrc(crc)}`, got: `0x${formatCrc(got)}`,
      });
    } catch (error) {
      throw locate(error, name);
    }
  }
}
