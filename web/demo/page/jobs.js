/** One piece of long work at a time: its status, its progress, the button that stops it, its errors. */
import { byId, h } from './dom.js';
import { explain } from './explain.js';

/** @type {AbortController | null} */
let running = null;

/** @param {string} text */
export const status = (text) => { byId('status').textContent = text; };

/** @param {number} share from 0 to 1 */
export const progress = (share) => { byId('progress').value = share; };

/** Stops what is under way. */
export const stop = () => running?.abort();

/**
 * Shows what went wrong.
 * @param {any} error @param {string | Blob | null} source
 * @param {{label: string, act: () => void}} [remedy]
 */
export async function complain(error, source, remedy) {
  const { sentence, detail } = await explain(error, source);
  const notice = byId('notice');
  notice.replaceChildren(
    h('p', {}, sentence),
    h('details', {}, h('summary', {}, 'Details'), h('code', {}, detail)),
    ...remedy ? [h('button', { type: 'button', onclick: () => { notice.hidden = true; remedy.act(); } }, remedy.label)] : [],
  );
  notice.hidden = false;
}

/**
 * Runs a job; what ran before is stopped first.
 * @param {(signal: AbortSignal) => Promise<string>} body returns the status to leave
 * @param {{source?: string | Blob | null, remedy?: (error: any) => {label: string, act: () => void} | undefined}}
 *   [options]
 * @returns {Promise<boolean>} whether it came to its end
 */
export async function run(body, { source = null, remedy } = {}) {
  running?.abort();
  const own = new AbortController();
  running = own;
  byId('notice').hidden = true;
  byId('stop').disabled = false;
  progress(0);
  document.body.dataset.state = 'busy';
  try {
    const text = await body(own.signal);
    if (running === own) status(text);
    return true;
  } catch (error) {
    if (running !== own) return false; // the next job speaks now
    if (own.signal.aborted) status('Stopped.');
    else {
      status('That did not work.');
      await complain(error, source, remedy?.(error));
    }
    return false;
  } finally {
    if (running === own) {
      running = null;
      byId('stop').disabled = true;
      progress(0);
      document.body.dataset.state = 'idle';
    }
  }
}
