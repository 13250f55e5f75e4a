/** How a tensor is coded on a grid: with a step, a rate or an error in mind, and with error feedback. */

/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('./encode.js').Spool} Spool */
/**
 * @typedef {object} Gridded
 * @property {number} bytes of the blob, which the spool keeps
 * @property {number} step @property {number} entropy bits a weight
 * @property {number} relativeError @property {number} maxError @property {number} saturated
 * @property {boolean} hasFeedback
 */

/**
 * @param {import('./encode.js').Making} make
 * @param {Input} input
 * @param {{step?: number, most: number, isExact?: boolean}} aim most: bits a weight that it may take with this
 *   step, which is widened until it does; isExact: it must hold all weights as they are; without a step, what
 *   make() has in mind
 * @param {import('../core/hessian.js').Factor | null} factor for error feedback, which wants a step
 * @param {number} rawBytes that it must take less than
 * @param {Spool} spool
 * @returns {Promise<Gridded | 'no step' | 'no gain'>}
 * @throws {import('../core/errors.js').HanselError} as TensorEncoder.plan() and code()
 */
export async function codeGrid(make, input, { step, most, isExact }, factor, rawBytes, spool) {
  // What feedback pushes beyond the ends is cut off, what was there is told.
  if (factor && isExact) await make(input, step).plan(false);
  for (let round = 1; ; round++) {
    const fed = factor && step ? await make(input, step).feedBack(factor) : null;
    const isFed = Boolean(fed?.input);
    const encoder = make(fed?.input ?? input, step);
    const planned = await encoder.plan(false);
    if (!planned) return 'no step';
    if (planned.bits / 8 >= rawBytes) return 'no gain';
    const { state: { blob, entropy, error }, head, lost } = await encoder.code(planned, spool);
    const over = 8 * blob.blobBytes / Math.max(blob.weights, 1) - most;
    if (blob.blobBytes < rawBytes && !(step && over > 0)) {
      await spool.keep(head);
      return {
        bytes: blob.blobBytes, step: blob.step, entropy, relativeError: error, ...lost, ...isFed && fed?.lost,
        hasFeedback: isFed,
      };
    }
    await spool.clear();
    if (!(step && over > 0)) return 'no gain';
    // Further each time, should so little not be enough.
    step = Math.fround(step * (1.0005 + over) ** round);
    if (!(step <= 3e38)) return 'no step';
  }
}
