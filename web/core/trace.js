/**
 * Says on the console what happens when, if told to: by HANSEL_TRACE=1 in Node's environment, by
 * globalThis.HANSEL_TRACE = true in a page.
 */

const isOn = globalThis.process?.env?.HANSEL_TRACE === '1';

/**
 * One line: milliseconds since the process or page began, the event, and its details as JSON.
 * @param {string} event such as 'read'
 * @param {Record<string, unknown>} detail the tensor or source, bytes
 */
export function trace(event, detail) {
  if (!isOn && !(/** @type {any} */ (globalThis).HANSEL_TRACE)) return;
  console[isOn ? 'error' : 'debug'](
    `hansel ${performance.now().toFixed(1)} ms ${event} ${JSON.stringify(detail)}`);
}
