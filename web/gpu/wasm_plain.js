/** Weights on the CPU that are not coded: their bytes stay in memory as they lie in the file. */
import { HanselError } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { BATCH, multiplyPlain, scaled } from '../core/multiply.js';
import { takeTurn } from '../core/turn.js';
import { widened } from '../core/vectors.js';
import { KINDS, readRows } from './plain_rows.js';
import { Store } from './store.js';

/** @typedef {import('./plain_rows.js').PlainRows} PlainRows */

/** @extends {Store<never>} */
export class WasmPlain extends Store {
  /** @type {Uint8Array} */
  #bytes = new Uint8Array(0);

  /**
   * @param {import('./wasm_device.js').WasmBackend} gpu @param {string} name
   * @param {PlainRows} plain @param {import('../core/codec.js').Codec} codec a decoder
   */
  constructor(gpu, name, plain, codec) {
    super(gpu, name);
    this.form = /** @type {const} */ ('plain');
    this.plain = plain;
    this.codec = codec;
    /** One, of all rows. */
    this.parts = [{ firstRow: 0, rows: plain.rows }];
  }

  /**
   * Takes the weights from memory of the user's.
   * @param {Uint8Array} bytes of all elements, retained
   * @throws {HanselError} HANSEL_ERR_ARGUMENT if they are not as many as the elements take
   */
  take(bytes) {
    const { rows, rowPitch } = this.plain;
    if (bytes.length !== rows * rowPitch) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'not the bytes of this matrix', {
        expected: `${rows * rowPitch} bytes`, got: bytes.length, where: this.name,
      });
    }
    this.#bytes = bytes;
    this.bytes = bytes.length;
  }

  /** Makes room. @returns {number} all rows */
  allocate() {
    const { rows, rowPitch } = this.plain;
    this.#bytes = allocate(rows * rowPitch, this.name);
    this.bytes = this.#bytes.length;
    return rows;
  }

  /** @param {number} row @param {number} at byte of the row @param {Uint8Array} bytes */
  write(row, at, bytes) {
    this.#bytes.set(bytes, row * this.plain.rowPitch + at);
  }

  /** @type {import('./matrix.js').MatrixStore['read']} */
  read(target, first, count, out) {
    return readRows(this.plain, this.parts, async (part, start, bytes) => {
      await takeTurn();
      this.checkAlive();
      return this.#bytes.subarray(start, start + bytes);
    }, target, first, count, out);
  }

  /** @type {import('./matrix.js').Multiply} */
  async multiply(x, batch, bias, integer) {
    const { rows, columns, dtype, scale } = this.plain;
    const vectors = x instanceof Uint16Array ? widened(x) : x;
    const { buffer } = allocate(4 * rows * batch, this.name);
    const y = integer ? new Int32Array(buffer) : new Float32Array(buffer);
    const { bytes: size } = KINDS[dtype];
    for (let start = 0; start < rows * columns; start += BATCH) {
      await takeTurn();
      this.checkAlive();
      const count = Math.min(BATCH, rows * columns - start);
      const slice = this.#bytes.subarray(start * size, (start + count) * size);
      multiplyPlain(this.codec, { dtype, rows, columns }, slice, start, count, vectors, batch, y);
    }
    return scaled(y, scale, bias).buffer;
  }

  free() {
    super.free();
    this.#bytes = new Uint8Array(0);
  }
}
