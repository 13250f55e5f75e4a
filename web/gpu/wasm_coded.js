/** Coded weights on the CPU: they stay as they are, and are decoded a slice at a time. */
import { allocate } from '../core/memory.js';
import { BATCH, expandRaw, multiplyStreams, scaled } from '../core/multiply.js';
import { streamRanges } from '../core/ranges.js';
import { takeTurn } from '../core/turn.js';
import { widened } from '../core/vectors.js';
import { rawRange, readWeights } from '../model/rows.js';
import { Store } from './store.js';

/** @typedef {import('../core/codec.js').Blob} Blob */

/** @extends {Store<never>} */
export class WasmCoded extends Store {
  /** What bytes of the payload are written in multiples of. */
  unit = 1;
  /** @type {Uint8Array} */
  #payload = new Uint8Array(0);
  /** @type {Uint32Array} */
  #cursors = new Uint32Array(0);

  /**
   * @param {import('./wasm_device.js').WasmBackend} gpu @param {string} name @param {Blob} blob
   * @param {import('../core/codec.js').Codec} codec
   */
  constructor(gpu, name, blob, codec) {
    super(gpu, name);
    this.blob = blob;
    this.codec = codec;
  }

  /** Makes room. @param {Uint32Array} cursors of all streams, in words */
  allocate(cursors) {
    const { blobBytes, headBytes } = this.blob;
    this.#payload = allocate(blobBytes - headBytes, this.name);
    this.#cursors = cursors;
    this.bytes = this.#payload.length + cursors.byteLength;
  }

  /** Where the payload's bytes go. */
  ranges() {
    const payload = this.#payload;
    return [{
      from: 0, to: payload.length,
      write: (/** @type {number} */ offset, /** @type {Uint8Array} */ bytes) => (
        payload.set(bytes, offset)),
    }];
  }

  /** @param {number} from @param {number} to bytes of the payload */
  #bytes(from, to) {
    this.checkAlive();
    return this.#payload.subarray(from, to);
  }

  /** @type {import('./matrix.js').MatrixStore['read']} */
  async read(target, first, count, out) {
    const { blob, codec } = this;
    const isSymbols = target === 'symbols';
    /** The coded plane alone, as bytes. @type {Blob} */
    const plane = { ...blob, mode: 'lossless', dtype: 'U8', rawBytes: 0, rawBits: 0 };
    out.set(await readWeights({
      codec, blob: isSymbols ? plane : blob, cursors: this.#cursors,
      read: (from, to) => this.#bytes(from, to),
    }, first * blob.columns, (first + count) * blob.columns, isSymbols ? 'U8' : target));
  }

  /** @type {import('./matrix.js').Multiply} */
  async multiply(x, batch, bias, integer) {
    const { blob, codec } = this;
    const { rows } = blob;
    const cursors = this.#cursors;
    const vectors = x instanceof Uint16Array ? widened(x) : x;
    const { buffer } = allocate(4 * rows * batch, this.name);
    const y = integer ? new Int32Array(buffer) : new Float32Array(buffer);
    for (const { first, last, start, end } of streamRanges(codec, blob, BATCH)) {
      await takeTurn();
      const { from, to, firstBit } = rawRange(blob, start, end);
      const raw = this.#bytes(from, to);
      multiplyStreams(codec, blob, cursors.slice(first, last + 1), first,
        this.#bytes(2 * cursors[first], 2 * cursors[last]), start, end - start,
        blob.rawBytes ? expandRaw(codec, blob, raw, firstBit, end - start) : raw, vectors, batch, y);
    }
    return scaled(y, blob.mode === 'grid' ? blob.step : 1, bias).buffer;
  }

  free() {
    super.free();
    this.#payload = new Uint8Array(0);
  }
}
