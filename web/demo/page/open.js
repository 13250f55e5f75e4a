/** What the page opens: samples by a click, files by choice or drop, addresses. */
import { byId, bytes, h } from './dom.js';

/** Where the build put what the page ships. */
export const SHIPPED = new URL('../../../dist/demo/', import.meta.url);

/** @typedef {string | File} Source a URL, or a file */

/** @param {(source: Source) => void} start */
export function watchInputs(start) {
  const file = byId('file');
  file.addEventListener('change', () => {
    if (file.files[0]) start(file.files[0]);
    file.value = ''; // so that the same one can be chosen again
  });
  byId('open').addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    const text = byId('url').value.trim();
    if (text) start(absolute(text));
    else byId('url').focus();
  });
  let depth = 0;
  const drag = (/** @type {number} */ change) => {
    depth = change ? depth + change : 0;
    document.body.classList.toggle('dragging', depth > 0);
  };
  document.addEventListener('dragenter', () => drag(1));
  document.addEventListener('dragleave', () => drag(-1));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    drag(0);
    const dropped = event.dataTransfer?.files[0];
    const text = event.dataTransfer?.getData('text/uri-list');
    if (dropped) start(dropped);
    else if (text) start(text.split(/\r?\n/)[0]);
  });
  showSamples(start);
  const asked = new URLSearchParams(location.search).get('file');
  if (!asked) return;
  byId('url').value = asked;
  start(absolute(asked));
}

/** @param {string} text @returns {string} as it is if it is no address at all */
const absolute = (text) => (URL.canParse(text, location.href) ? new URL(text, location.href).href : text);

/** @param {(source: Source) => void} start */
async function showSamples(start) {
  const list = byId('samples');
  const answer = await fetch(new URL('samples/samples.json', SHIPPED)).catch(() => null);
  if (!answer?.ok) {
    list.replaceChildren(h('li', { class: 'muted' }, 'This copy of the page has no samples: make build makes them.'));
    return;
  }
  const samples = await answer.json();
  list.replaceChildren(...samples.map((/** @type {any} */ { file, title, note, bytes: size }) => h('li', {},
    h('button', {
      type: 'button', class: 'sample', 'data-file': file,
      onclick: () => start(new URL(`samples/${file}`, SHIPPED).href),
    }, h('strong', {}, title), h('span', {}, note), h('span', { class: 'size' }, bytes(size))))));
  list.removeAttribute('aria-busy');
}
