/**
 * Tensors that are several matrices: planes of their fields, classes of their rows (FORMAT.md
 * section 7). Whatever is wanted of such a tensor, all of it is decoded, and held.
 */
import { dtypeBytes } from '../core/dtypes.js';
import { HanselError, checkAborted, locate } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { bytesOf, loadPlanes } from '../core/planes.js';
import { takeTurn } from '../core/turn.js';
import { ByteReader } from '../file/byte_reader.js';
import { PLANES } from '../file/records.js';
import { dtypeBits, elementCount } from '../file/safetensors.js';
import { TensorReader } from './tensor_reader.js';

/** Weights of a slice. */
const SLICE = 1 << 18;

/** @typedef {import('./tensor.js').Place} Place */
/** @typedef {import('./tensor.js').Tensor} Tensor */
/** @typedef {import('./tensor_reader.js').Reading} Reading */
/** @typedef {import('../file/records.js').Matrix} Matrix */
/** @typedef {import('../file/records.js').Plane} Plane */
/** @typedef {{dtype: string, weights: number, shape?: number[], rows?: number, width?: number}} Expected
 *   of a matrix, where it is known; width: bits of an element */

/** @param {string} message @param {unknown} expected @param {unknown} got */
const contradicts = (message, expected, got) => new HanselError('HANSEL_ERR_MANIFEST', message, {
  expected, got,
});

/** Reads once, as TensorReader does. */
export class SeveralReader {
  #model;
  #bytes;
  #at;
  #lent = new Uint8Array(0);
  /** Room for a slice, the same each time; threads make several at a time.
   * @type {Reading['lend']} */
  #lend;

  /**
   * Reads nothing yet.
   * @param {import('./model.js').Model} model
   * @param {string} name @param {Reading} wanted
   */
  constructor(model, name, wanted) {
    const [tensor, place] = [model.tensor(name), model.place(name)];
    this.#model = model;
    this.#lend = model.pools[1].width > 1 ? undefined : (bytes) => {
      if (this.#lent.length < bytes) this.#lent = allocate(bytes, name);
      return this.#lent.subarray(0, bytes);
    };
    this.codec = model.codec;
    this.name = name;
    this.tensor = tensor;
    this.place = place;
    this.wanted = wanted;
    this.dtype = wanted.dtype ?? tensor.dtype;
    this.#at = place.start;
    this.#bytes = wanted.bytes ?? new ByteReader(place.source.stream(place.start, place.end, wanted));
  }

  /** Ends the transfer, if it is its own. */
  async close() {
    if (!this.wanted.bytes) await this.#bytes.close();
  }

  /** Model.slices(). @returns {AsyncGenerator<{start: number, bytes: Uint8Array}>} */
  async* slices() {
    try {
      yield* this.#slices();
    } catch (error) {
      throw locate(error, this.name);
    } finally {
      await this.close();
    }
  }

  /** @returns {AsyncGenerator<{start: number, bytes: Uint8Array}>} */
  async* #slices() {
    const { name, tensor, dtype, wanted: { out, isBrief, signal } } = this;
    if (isBrief) {
      await this.#decode(null, tensor.dtype);
      return;
    }
    const { weights } = tensor;
    // Symbols are as they are coded.
    const own = dtype === 'I8' ? 'I8' : tensor.dtype;
    const [from, to] = [dtypeBits(own) / 8, dtypeBits(dtype) / 8];
    const all = out && own === dtype ? out : allocate(weights * from, name);
    await this.#decode(all, own);
    const { convert } = await import('../core/convert.js');
    for (let start = 0; start < weights; start += SLICE) {
      await takeTurn();
      checkAborted(signal);
      const end = Math.min(start + SLICE, weights);
      const bytes = convert(all.subarray(start * from, end * from), own, dtype);
      if (all !== out) out?.set(bytes, start * to);
      yield { start, bytes: out ? bytes : bytes.slice() };
    }
  }

  /**
   * Decodes and checks all.
   * @param {Uint8Array | null} out receives it, if that is wanted
   * @param {string} wanted the tensor's own dtype, or 'I8'
   */
  async #decode(out, wanted) {
    const { tensor: { dtype, weights, shape }, place: { record } } = this;
    if (record?.kind === PLANES) {
      out?.fill(0);
      for (const plane of record.planes) await this.#decodePlane(plane, record.blockBytes, out);
    } else {
      const { matrix } = /** @type {import('../file/records.js').Lossless} */ (record);
      const expected = { dtype, weights, rows: elementCount(shape.slice(0, -1)) };
      for await (const { start, bytes } of this.#elements(matrix, expected, wanted, out)) {
        if (out && bytes.buffer !== out.buffer) out.set(bytes, start * dtypeBytes(wanted));
      }
    }
    this.wanted.onProgress?.({ done: weights, total: weights, tensor: this.name });
  }

  /** @param {Plane} plane @param {number} blockBytes @param {Uint8Array | null} out */
  async #decodePlane({ bitOffset, itemBits, items, width, dtype, base, matrix }, blockBytes, out) {
    const field = { blockBytes, bitOffset, itemBits, items, width };
    const { tensor } = this;
    const blocks = tensor.weights * dtypeBits(tensor.dtype) / 8 / blockBytes;
    const planes = await loadPlanes();
    const values = base && out ? await this.#readBase(base) : undefined;
    const expected = { dtype, weights: blocks * items, width };
    for await (const { start, bytes } of this.#elements(matrix, expected, dtype, null, !out)) {
      if (values) planes.addBase(/** @type {any} */ (base), values, bytes, start, width);
      const [from, to] = bytesOf(field, start, start + bytes.length / dtypeBytes(dtype));
      planes.put(field, out ? out.subarray(from, to) : new Uint8Array(to - from), bytes, start);
    }
  }

  /** @param {import('../file/records.js').Base} base @returns {Promise<Uint8Array>} its plane */
  async #readBase({ tensor, plane: number }) {
    const { signal } = this.wanted;
    const { buffer } = await this.#model.decode(tensor, { signal });
    const { record } = this.#model.place(tensor);
    const { blockBytes, planes } = /** @type {import('../file/records.js').Planes} */ (record);
    const field = { ...planes[number], blockBytes };
    const count = buffer.byteLength / blockBytes * field.items;
    return (await loadPlanes()).get(field, new Uint8Array(buffer), 0, count);
  }

  /**
   * A matrix' elements, in order; of classes all at once, or (isBrief) as they come.
   * @param {Matrix} matrix @param {Expected} expected @param {string} dtype wanted: its own, or 'I8'
   * @param {Uint8Array | null} out has room for all @param {boolean} [isBrief] all are only checked
   * @returns {AsyncGenerator<{start: number, bytes: Uint8Array}>}
   */
  async* #elements({ blobs }, expected, dtype, out, isBrief) {
    const { weights } = expected;
    if (blobs.length === 1) {
      yield* (await this.#blob(blobs[0], expected, { dtype, isBrief, lend: this.#lend })).slices();
      return;
    }
    const map = await this.#readMap(blobs[0], blobs.length - 1, expected);
    const columns = weights / map.length;
    const rowBytes = columns * dtypeBytes(dtype);
    const whole = isBrief ? null : out ?? allocate(weights * dtypeBytes(dtype), this.name);
    for (const [k, size] of blobs.slice(1).entries()) {
      let rows = 0;
      for (const own of map) rows += Number(own === k);
      const shape = [rows, columns];
      const reader = await this.#blob(size, { ...expected, shape, weights: rows * columns },
        { dtype, isBrief, lend: this.#lend });
      let row = -1;
      let left = 0; // bytes of that row which are still to come
      for await (const { bytes } of reader.slices()) {
        if (!whole) yield { start: 0, bytes };
        for (let at = 0; whole && at < bytes.length;) {
          if (!left) {
            row = map.indexOf(k, row + 1);
            left = rowBytes;
          }
          const some = bytes.subarray(at, at + left);
          whole.set(some, (row + 1) * rowBytes - left);
          at += some.length;
          left -= some.length;
        }
      }
    }
    if (whole) yield { start: 0, bytes: whole };
  }

  /**
   * @param {number} size of its blob @param {number} classes @param {Expected} expected of the matrix
   * @returns {Promise<Uint8Array>} each row's class
   * @throws {HanselError} HANSEL_ERR_MANIFEST, _CORRUPT
   */
  async #readMap(size, classes, { weights, rows }) {
    const reader = await this.#blob(size, { dtype: 'U8', weights: rows }, {});
    const { shape, streamCount } = (await reader.readHead()).blob;
    if (shape.length !== 1 || !streamCount || shape[0] > weights || weights % shape[0]) {
      throw contradicts('the map of classes is none', `a class for each row of ${weights} elements`,
        `[${shape}]`);
    }
    const map = allocate(shape[0], this.name);
    let done = 0;
    const seen = new Set();
    for await (const { bytes } of reader.slices()) {
      map.set(bytes, done);
      done += bytes.length;
      for (const k of bytes) seen.add(k);
    }
    const most = Math.max(...seen);
    if (most >= classes || seen.size < classes) {
      throw new HanselError('HANSEL_ERR_CORRUPT', 'the map names classes that are not there, or not all', {
        expected: `0 to ${classes - 1}`, got: [...seen].sort((a, b) => a - b).join(),
      });
    }
    return map;
  }

  /**
   * The next blob.
   * @param {number} size its bytes @param {Partial<Expected> & {dtype: string}} expected
   * @param {Reading} wanted
   * @returns {Promise<TensorReader>} whose head is read and right
   * @throws {HanselError} HANSEL_ERR_MANIFEST, _CORRUPT
   */
  async #blob(size, { dtype, weights, shape, width }, wanted) {
    const { place: { source }, wanted: { signal } } = this;
    const start = this.#at;
    this.#at += size;
    const tensor = /** @type {any} */ ({ dtype, shape, mode: 'lossless', step: 0, weights });
    const reader = new TensorReader(this.#model, this.name, tensor,
      { source, start, end: this.#at, crc: null }, { ...wanted, signal, bytes: this.#bytes });
    const { blob } = await reader.readHead();
    if (weights !== undefined && blob.weights !== weights) {
      throw contradicts('a blob contradicts the directory', `${weights} elements`, `[${blob.shape}]`);
    }
    if (width !== undefined && !blob.streamCount && blob.weights && blob.origin >> width) {
      throw new HanselError('HANSEL_ERR_CORRUPT', 'an element of a plane is too large', {
        expected: `less than ${2 ** width}`, got: blob.origin,
      });
    }
    return reader;
  }
}
