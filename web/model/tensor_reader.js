/**
 * One reading of one tensor: head, streams and raw plane, all their checksums, in slices, so that
 * no more than the result and two chunks are in memory (with worker threads, four slices a thread).
 */
import { MIN_HEAD_BYTES } from '../core/codec.js';
import { dtypeBytes } from '../core/dtypes.js';
import { HanselError, checkAborted, locate } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { streamRanges } from '../core/ranges.js';
import { trace } from '../core/trace.js';
import { takeTurn } from '../core/turn.js';
import { ByteReader } from '../file/byte_reader.js';
import { formatCrc } from '../file/header_crc.js';
import { dtypeBits } from '../file/safetensors.js';
import { mapOrdered } from '../workers/pool.js';

/** Bytes in which most heads end: read at first where a head is all that is wanted. */
const HEAD_BYTES = 1 << 14;
/** Weights of a slice, bytes of its streams, unless one stream has more: a millisecond's work. */
const SLICE = 1 << 18;
/** ... for workers, where each costs two messages. */
const WORKER_SLICE = 1 << 19;
/** Tensors of fewer weights are decoded by the calling thread. */
const MIN_THREADED = 1 << 20;

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('../core/codec.js').Codec} Codec */
/** @typedef {{blob: Blob, head: Uint8Array, cursors: Uint32Array}} ReadHead head: its bytes;
 *   cursors: as Codec.readCursors() */
/**
 * @typedef {object} Reading what is wanted of a tensor
 * @property {string} [dtype] of the slices, one that the tensor can be decoded to; its own when
 *   left out. 'I8' gives the coded symbols, and of a raw plane nothing but the check
 * @property {Uint8Array} [out] receives the whole tensor; slices are then nobody's
 * @property {(bytes: number) => Uint8Array} [lend] without out, and on one thread: room for a slice, which then
 *   lasts until the next is asked for
 * @property {number} [slice] weights of a coded tensor's slice, unless one stream has more
 * @property {boolean} [isBrief] leaves out what needs no check: weights that are all equal, of
 *   which a small file can claim very many
 * @property {boolean} [isHead] only the head is read, so that no transfer has to be broken off
 * @property {ByteReader} [bytes] at the tensor's start, and left open behind its end
 * @property {AbortSignal} [signal]
 * @property {(progress: import('./tensor.js').Progress) => void} [onProgress]
 */
/**
 * @typedef {object} Task a slice for a codec method
 * @property {number} start weight @property {number} count weights
 * @property {Uint8Array} coded the bytes that it is made of
 * @property {unknown[]} args of the method, which returns the slice's bytes, and coded's checksum
 */

/** @param {unknown} got @returns {never} */
function reserved(got) {
  throw new HanselError('HANSEL_ERR_RESERVED', 'a reserved field or padding byte is set', {
    expected: 0, got,
  });
}

/** @param {number} expected @param {number} got */
function checkCrc(expected, got) {
  if (expected === got) return;
  throw new HanselError('HANSEL_ERR_CHECKSUM', 'the bytes are damaged: their CRC-32C is wrong', {
    expected: `0x${formatCrc(expected)}`, got: `0x${formatCrc(got)}`,
  });
}

/** All of them, for what they leave behind. @param {AsyncIterable<unknown>} items */
export async function drain(items) {
  for await (const item of items) void item;
}

/** What head and manifest must say alike. @param {import('./tensor.js').Tensor | Blob} coded
 * @param {number} bytes */
const sayHow = ({ mode, dtype, shape, step }, bytes) => (
  `${mode} ${dtype} [${shape}], step ${step}, in ${bytes} bytes`);

/** Reads forward, once: readHead() or nothing, then slices() or chunks(). */
export class TensorReader {
  #bytes;
  #pool;
  /** CRC-32C of what has been read: the payload of a coded tensor. */
  #crc = 0;
  /** @type {ReadHead | undefined} */
  #head;

  /**
   * Reads nothing yet.
   * @param {{codec: Codec, pools: import('../workers/pool.js').Pool[]}} model pools: what decodes
   *   small tensors, and large ones
   * @param {string} name @param {import('./tensor.js').Tensor} tensor without a shape, it may have any
   * @param {import('./tensor.js').Place} place @param {Reading} wanted
   */
  constructor({ codec, pools }, name, tensor, place, wanted) {
    this.codec = codec;
    this.name = name;
    this.tensor = tensor;
    this.place = place;
    this.wanted = wanted;
    this.dtype = wanted.dtype ?? tensor.dtype;
    this.#pool = pools[tensor.weights < MIN_THREADED ? 0 : 1];
    this.#bytes = wanted.bytes ?? new ByteReader(place.source.stream(place.start, place.end, wanted));
  }

  /** Ends the transfer. */
  async close() {
    if (!this.wanted.bytes) await this.#bytes.close();
  }

  /**
   * The head of a coded tensor, checked against the file's manifest; the first thing to be read.
   * @returns {Promise<ReadHead>}
   * @throws {HanselError} HANSEL_ERR_MANIFEST, _TRUNCATED, what readHead() of the C core and the
   *   source throw
   */
  async readHead() {
    const { codec, name, place: { source, start, end }, wanted, wanted: { isHead } } = this;
    if (this.#head) return this.#head;
    try {
      let head = new Uint8Array(0);
      /** @type {Blob | number} */
      let blob = Math.min(isHead ? HEAD_BYTES : MIN_HEAD_BYTES, end - start);
      while (typeof blob === 'number') { // so many bytes are needed
        if (blob > end - start) {
          throw new HanselError('HANSEL_ERR_TRUNCATED', 'the coded tensor is cut short', {
            expected: `${blob} bytes`, got: end - start,
          });
        }
        const longer = new Uint8Array(blob);
        longer.set(head);
        longer.set(await (isHead ? source.read(start + head.length, start + blob, wanted)
          : this.#bytes.take(blob - head.length)), head.length);
        head = longer;
        blob = codec.readHead(head);
      }
      const { shape = blob.shape } = this.tensor;
      const said = sayHow({ ...this.tensor, shape }, end - start);
      const found = sayHow(blob, blob.blobBytes);
      if (said !== found) {
        throw new HanselError('HANSEL_ERR_MANIFEST', 'the coded tensor contradicts the manifest', {
          expected: said, got: found,
        });
      }
      head = head.subarray(0, blob.headBytes);
      this.#head = { blob, head, get cursors() { return codec.readCursors(blob, head); } };
      trace('head', { tensor: name, bytes: blob.headBytes, streams: blob.streamCount });
      return this.#head;
    } catch (error) {
      await this.close();
      throw locate(error, name);
    }
  }

  /** @template T @param {AsyncGenerator<T>} items @returns {AsyncGenerator<T>} them, the transfer
   * closed after them, and the tensor named in what goes wrong */
  async* #guarded(items) {
    try {
      yield* items;
    } catch (error) {
      throw locate(error, this.name);
    } finally {
      await this.close();
    }
  }

  /** Model.slices(), to the dtype that is wanted. */
  slices() {
    return this.#guarded(this.#slices());
  }

  /** @returns {AsyncGenerator<{start: number, bytes: Uint8Array}>} */
  async* #slices() {
    const { tensor, name, dtype, wanted: { out, signal, onProgress } } = this;
    const converter = tensor.mode === 'grid' || dtype === tensor.dtype || dtype === 'I8' ? undefined
      : await import('../core/convert.js');
    const direct = converter ? undefined : out;
    let done = 0;
    for await (const bytes of tensor.mode === 'pass-through' ? this.#stored(direct)
      : this.#decoded(direct)) {
      await takeTurn();
      checkAborted(signal);
      const slice = converter ? converter.convert(bytes, tensor.dtype, dtype) : bytes;
      if (converter) out?.set(slice, done * dtypeBytes(dtype));
      yield { start: done, bytes: slice };
      done += slice.length * 8 / dtypeBits(dtype);
      onProgress?.({ done, total: tensor.weights, tensor: name });
    }
  }

  /** @param {Uint8Array} [out] @returns {AsyncGenerator<Uint8Array>} */
  async* #stored(out) {
    const { start, end, crc } = this.place;
    for (let at = 0; at < end - start;) {
      const bytes = await this.#bytes.take(Math.min(SLICE, end - start - at));
      if (crc !== null) this.#crc = this.codec.crc32c(bytes, this.#crc);
      out?.set(bytes, at);
      at += bytes.length;
      yield out ? bytes : bytes.slice();
    }
    checkCrc(crc ?? 0, this.#crc);
  }

  /** @param {Uint8Array} [out] @returns {AsyncGenerator<Uint8Array>} */
  async* #decoded(out) {
    const { name, dtype, wanted: { isBrief } } = this;
    const head = await this.readHead();
    const { blob, blob: { weights, rawBits } } = head;
    const isPlane = dtype === 'I8'; // or whole weights, where there is a raw plane
    const plane = blob.rawBytes && !isPlane ? allocate(weights, name) : undefined;
    const target = blob.mode === 'grid' && !isPlane ? dtype : undefined;
    if (!isBrief || blob.streamCount || plane) {
      const symbols = this.#run('decodeRange', this.#streams(head, target),
        target ? dtypeBytes(target) : 1, plane ?? out);
      for await (const bytes of symbols) if (!plane) yield bytes;
    }
    if (blob.version < 4) await this.#readPadding(2 * blob.wordCount);
    if (plane) {
      yield* this.#run('joinRange', this.#raw(blob, plane), dtypeBytes(blob.dtype), out);
    } else {
      await drain(this.#read(Math.ceil(weights * rawBits / 8)));
    }
    if (blob.version < 4) await this.#readPadding(weights * rawBits / 8);
    checkCrc(blob.payloadCrc, this.#crc);
  }

  /**
   * Runs tasks on the pool.
   * @param {string} method @param {AsyncIterable<Task>} tasks
   * @param {number} size bytes of a weight in the slices @param {Uint8Array} [out]
   * @returns {AsyncGenerator<Uint8Array>} slices in order, views of `out` if it is given
   */
  async* #run(method, tasks, size, out) {
    const pool = this.#pool;
    const slices = mapOrdered(tasks, pool.width, async ({ start, count, coded, args }) => {
      const into = out?.subarray(size * start, size * (start + count)) ?? this.wanted.lend?.(size * count);
      const slice = await pool.run(method, args, into);
      trace('decoded', { tensor: this.name, start, count, bytes: coded.length });
      return { ...slice, size: coded.length };
    });
    for await (const { bytes, crc, size: coded } of slices) {
      this.#crc = pool.codec.crc32cCombine(this.#crc, crc, coded);
      yield bytes;
    }
  }

  /** Ranges of streams. @param {ReadHead} head @param {string} [dtype] as for Codec.decodeStreams()
   * @returns {AsyncGenerator<Task>} */
  async* #streams({ blob, cursors }, dtype) {
    const { slice = this.#pool.width > 1 ? WORKER_SLICE : SLICE } = this.wanted;
    for (const { first, last, start, end } of streamRanges(this.codec, blob, slice, { cursors })) {
      const coded = await this.#bytes.take(2 * (cursors[last] - cursors[first]));
      const count = end - start;
      const own = cursors.slice(first, last + 1);
      yield { start, count, coded, args: [blob, own, first, coded, count, dtype] };
    }
  }

  /** The raw plane, cut where streams end. @param {Blob} blob @param {Uint8Array} plane the coded
   * one @returns {AsyncGenerator<Task>} */
  async* #raw(blob, plane) {
    const { rawBits } = blob;
    let last = new Uint8Array(0); // the byte that this range shares with the one before
    for (const { start, end } of streamRanges(this.codec, blob, this.wanted.slice ?? SLICE)) {
      const firstBit = start * rawBits % 8;
      const coded = await this.#bytes.take(
        Math.ceil(end * rawBits / 8) - Math.ceil(start * rawBits / 8));
      let raw = coded;
      if (firstBit) {
        raw = new Uint8Array(1 + coded.length);
        raw.set(last);
        raw.set(coded, 1);
      }
      last = raw.slice(-1);
      const left = end === plane.length && end * rawBits % 8;
      if (left && last[0] >> left) reserved(last[0]);
      yield { start, count: end - start, coded, args: [blob, plane.subarray(start, end), raw, firstBit] };
    }
  }

  /** @param {number} left @returns {AsyncGenerator<Uint8Array>} so many bytes, as they arrive */
  async* #read(left) {
    while (left > 0) {
      await takeTurn();
      const chunk = await this.#bytes.some(left);
      this.#crc = this.codec.crc32c(chunk, this.#crc);
      left -= chunk.length;
      yield chunk;
    }
  }

  /** @param {number} bytes what is padded to 16 */
  async #readPadding(bytes) {
    const padding = await this.#bytes.take(-bytes & 15);
    if (padding.some((byte) => byte !== 0)) reserved(padding.join());
    this.#crc = this.codec.crc32c(padding, this.#crc);
  }

  /**
   * The bytes as they are in the file and as they arrive, or those behind the head if that has
   * been read. Their checksum is checked after the last.
   * @returns {AsyncGenerator<Uint8Array>} not modified
   */
  chunks() {
    return this.#guarded(this.#chunks());
  }

  /** @returns {AsyncGenerator<Uint8Array>} */
  async* #chunks() {
    const { start, end, crc } = this.place;
    const { blob } = this.#head ?? {};
    yield* this.#read(end - start - (blob?.headBytes ?? 0));
    checkCrc(blob?.payloadCrc ?? crc ?? this.#crc, this.#crc);
  }
}
