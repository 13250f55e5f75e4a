/** The CPU behind the GPUs' interface. */
import { loadMatrix } from './load.js';
import { WasmCoded } from './wasm_coded.js';
import { WasmPlain } from './wasm_plain.js';

/** Opened by gpu(), or with new. */
export class WasmBackend {
  kind = /** @type {const} */ ('wasm');
  epoch = 0;
  /** Rows of plain matrices lie end to end. */
  rowAlign = 1;

  /**
   * Loads a tensor: its bytes stay in memory as they lie in the file.
   * @param {import('../model/model.js').Model} model retained by the matrix @param {string} name
   * @param {import('./load.js').LoadOptions} [options] progress in bytes
   * @returns {Promise<import('./matrix.js').Matrix>}
   * @throws {import('../core/errors.js').HanselError} as Model.decode()
   */
  load(model, name, options) {
    return loadMatrix(this, model, name, options);
  }

  /** @param {string} name @param {import('../core/codec.js').Blob} blob
   * @param {import('../core/codec.js').Codec} codec */
  makeCoded(name, blob, codec) {
    return new WasmCoded(this, name, blob, codec);
  }

  /** @param {string} name @param {import('./plain_rows.js').PlainRows} plain
   * @param {import('../core/codec.js').Codec} codec */
  makePlain(name, plain, codec) {
    return new WasmPlain(this, name, plain, codec);
  }

  /* What GPUs have to do here: a device that is always there, and memory that frees itself. */

  async ready() {}

  /** @template T @param {() => T} body @returns {T} */
  guard(body) {
    return body();
  }

  /** @param {() => void} body */
  upload(body) {
    body();
  }

  checkLost() {}

  free() {}

  destroy() {}
}
