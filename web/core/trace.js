/** Says on the console what happens when: HANSEL_TRACE=1 in Node, globalThis.HANSEL_TRACE in pages. */

const isOn = globalThis.process?.env?.HANSEL_TRACE === '1';

/**
 * One line: milliseconds since the process or page began, the event, and what it is about.
 * @param {string} event such as 'read' @param {Record<string, unknown>} detail its tensor or source, bytes
 */
export function trace(event, detail) {
  if (!isOn && !(/** @type {any} */ (globalThis).HANSEL_TRACE)) return;
  console[isOn ? 'error' : 'debug'](
    `hansel ${performance.now().toFixed(1)} ms ${event} ${JSON.stringify(detail)}`);
}
