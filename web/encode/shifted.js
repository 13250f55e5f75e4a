/** Where in a tensor an error is that was found in a part of it. */
import { HanselError } from '../core/errors.js';

/**
 * An error of a slice, its index counted from the tensor's start.
 * @param {any} error @param {number} at @returns {unknown}
 */
export function shifted(error, at) {
  if (!(error instanceof HanselError) || error.position === undefined || at === 0) return error;
  const position = error.position + at;
  const fix = (/** @type {unknown} */ text) => String(text)
    .replace(`index ${error.position}`, `index ${position}`);
  return Object.assign(error, { position, message: fix(error.message), got: fix(error.got) });
}
