/**
 * Hessians, each the mean of x x^T over a matrix's inputs x, and what error feedback needs of them: the
 * wasm build of src/feedback.c, in instances of their own, whose memory goes when the work is done.
 */
import { Encoder } from './encoder.js';
import { HanselError, STATUS, checkAborted } from './errors.js';
import * as C from './structs.js';
import { takeTurn } from './turn.js';

/**
 * @typedef {object} Factor
 * @property {number} columns
 * @property {number} gain how much coarser a step does as little harm as one of plain rounding
 * @property {Uint8Array} struct hansel_feedback @property {Uint8Array} factor @property {Uint8Array} order
 */

/**
 * @param {WebAssembly.Module} module of an Encoder
 * @param {Float32Array} triangle the Hessian's upper half by rows, columns * (columns + 1) / 2 numbers
 * @param {number} columns
 * @param {AbortSignal} [signal]
 * @returns {Promise<Factor>}
 * @throws {HanselError} HANSEL_ERR_HESSIAN for one that is not finite or not positive semidefinite,
 *   _MEMORY, _ABORTED
 */
export async function makeFactor(module, triangle, columns, signal) {
  if (!(columns >= 1 && columns <= C.FEEDBACK_MOST) || triangle.length !== columns * (columns + 1) / 2) {
    throw new HanselError('HANSEL_ERR_HESSIAN', 'a Hessian of the wrong size', {
      expected: columns > C.FEEDBACK_MOST ? `${C.FEEDBACK_MOST} columns at most`
        : `${columns * (columns + 1) / 2} numbers, the upper half of ${columns} x ${columns}`,
      got: columns > C.FEEDBACK_MOST ? columns : triangle.length,
    });
  }
  const { wasm } = new Encoder(module);
  const { call } = wasm;
  const fault = wasm.alloc(C.SIZEOF_FAULT);
  const check = (/** @type {number} */ status) => {
    if (!status) return;
    const view = wasm.view();
    const row = view.getBigUint64(fault + C.FAULT_EXPECTED, true);
    const column = view.getBigUint64(fault + C.FAULT_POSITION, true);
    throw new HanselError(STATUS[status], 'not a Hessian', {
      expected: 'finite numbers, positive semidefinite', got: `another at row ${row}, column ${column}`,
    });
  };
  const struct = wasm.zero(C.SIZEOF_FEEDBACK);
  const order = wasm.alloc(4 * columns);
  const panels = Math.ceil(columns / C.FEEDBACK_WIDTH);
  const pivots = wasm.alloc(4 * panels * C.FEEDBACK_WIDTH);
  const size = 4 * Number(call.hansel_feedback_floats(columns));
  const factor = wasm.alloc(size);
  check(call.hansel_feedback_begin(struct, factor, order,
    wasm.put(new Uint8Array(triangle.buffer, triangle.byteOffset, triangle.byteLength)), columns, fault));
  for (let panel = panels - 1; panel >= 0; panel--) {
    await takeTurn();
    checkAborted(signal);
    check(call.hansel_feedback_factor(struct, factor, pivots, order, panel, fault));
  }
  const mean = wasm.view().getFloat64(struct + C.FEEDBACK_MEAN, true);
  const least = new Float32Array(wasm.get(pivots, 4 * columns).buffer).reduce((sum, x) => sum + x, 0) / columns;
  return {
    columns, gain: Math.max(1, Math.sqrt(mean / least)), struct: wasm.get(struct, C.SIZEOF_FEEDBACK),
    factor: wasm.get(factor, size), order: wasm.get(order, 4 * columns),
  };
}

/** A Hessian to be. */
export class HessianSum {
  #wasm;
  #sums;
  #columns;
  #count = 0;

  /** @param {WebAssembly.Module} module of an Encoder @param {number} columns */
  constructor(module, columns) {
    this.#wasm = new Encoder(module).wasm;
    this.#columns = columns;
    this.#sums = this.#wasm.zero(4 * Number(this.#wasm.call.hansel_feedback_floats(columns)));
  }

  /** @param {Float32Array} x inputs, one after the other: 64 at most */
  add(x) {
    const wasm = this.#wasm;
    const count = x.length / this.#columns;
    wasm.scoped(() => wasm.call.hansel_feedback_gather(this.#sums,
      wasm.put(new Uint8Array(x.buffer, x.byteOffset, x.byteLength)), count, this.#columns,
      wasm.alloc(4 * C.FEEDBACK_WIDTH ** 2 * (Math.ceil(this.#columns / C.FEEDBACK_WIDTH) + 1))));
    this.#count += count;
  }

  /** @returns {Uint8Array<ArrayBuffer>} the upper half by rows, F32 */
  mean() {
    const wasm = this.#wasm;
    return wasm.scoped(() => {
      const size = 2 * this.#columns * (this.#columns + 1);
      const h = wasm.alloc(size);
      wasm.call.hansel_feedback_mean(h, this.#sums, this.#columns, this.#count);
      return wasm.get(h, size);
    });
  }
}
