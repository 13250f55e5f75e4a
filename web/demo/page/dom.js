/** Elements, and numbers as people read them. */

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element. Text is always text, never markup: names come from files.
 * @param {string} tag
 * @param {Record<string, any>} [props] properties; class, role, aria-* and data-* are attributes; on*
 *   are listeners
 * @param {...(Node | string | number | null)} children
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined) continue;
    if (/^(class|role|for|style|scope|aria-.*|data-.*)$/.test(key)) element.setAttribute(key, value);
    else if (/^on/.test(key)) element.addEventListener(key.slice(2), value);
    else /** @type {any} */ (element)[key] = value;
  }
  element.append(...children.filter((child) => child !== null).map((child) => (
    child instanceof Node ? child : String(child))));
  return element;
}

/** A dash where there is no number: clocks can be so coarse that nothing takes time.
 * @param {number} n @param {number} [digits] after the point */
export const fixed = (n, digits = 2) => (Number.isFinite(n) ? n.toLocaleString('en-US', {
  minimumFractionDigits: digits, maximumFractionDigits: digits,
}) : '–');

/** @param {number} n */
export const whole = (n) => fixed(n, 0);

/** @param {number} n */
export function bytes(n) {
  if (n < 1000) return `${whole(n)} B`;
  const unit = Math.min(Math.floor(Math.log10(n) / 3), 4);
  const scaled = n / 1000 ** unit;
  return `${fixed(scaled, scaled < 10 ? 2 : scaled < 100 ? 1 : 0)} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`;
}

/** @param {number} share @param {number} [digits] */
export const percent = (share, digits = 1) => `${fixed(100 * share, digits)} %`;

/** @param {number} ms */
export function time(ms) {
  if (ms < 1) return `${fixed(ms, 2)} ms`;
  if (ms < 1000) return `${fixed(ms, ms < 10 ? 1 : 0)} ms`;
  return ms < 60000 ? `${fixed(ms / 1000, ms < 10000 ? 2 : 1)} s`
    : `${Math.floor(ms / 60000)} min ${Math.round(ms % 60000 / 1000)} s`;
}

/** Three significant digits. @param {number} n */
export const short = (n) => (n === 0 ? '0' : Math.abs(n) >= 1e-3 && Math.abs(n) < 1e5
  ? String(Number(n.toPrecision(3))) : n.toExponential(2));

/** A custom property of the page's colours. @param {string} name */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Red, green and blue from 0 to 1. @param {string} name of a #rrggbb colour */
export const rgb = (name) => [1, 3, 5].map((at) => parseInt(colour(name).slice(at, at + 2), 16) / 255);

/** Calls back when the page turns dark or light. @param {() => void} redraw */
export const onScheme = (redraw) => matchMedia('(prefers-color-scheme: dark)')
  .addEventListener('change', redraw);
