/** The page about runtimes: the same ONNX model in onnxruntime-web, plain and coded, from its address to its text. */
import { openFile } from '../../file.js';
import { byId, bytes, h, percent, time } from './dom.js';
import { write } from './onnx_llama.js';
import { SHIPPED } from './open.js';

const MODELS = new URL('runtimes/', SHIPPED);
const ORT = new URL('vendor/ort/', SHIPPED);
const PROMPT = 'The licenses for most software are designed to ';
const CHARACTERS = 60;

/** @typedef {{name: string, file: string, bytes: number}} Row */
/** @typedef {import('./onnx_llama.js').Shape & {rows: Row[]}} Models */
/** @typedef {{load: number, start: number, first: number, text: string}} Measured milliseconds */

/** @type {AbortController | null} */
let running = null;

/** @returns {Promise<any>} onnxruntime-web, ready to run */
async function loadOrt() {
  const ort = await import(new URL('ort.wasm.min.mjs', ORT).href);
  ort.env.wasm.wasmPaths = ORT.href;
  ort.env.wasm.numThreads = 1;
  return ort;
}

/** @param {string} file @param {AbortSignal} signal @returns {Promise<Uint8Array>} a model, as the runtime takes it */
async function bytesOf(file, signal) {
  const url = new URL(file, MODELS);
  url.searchParams.set('visit', `${performance.now()}`); // no cache's time
  if (!file.endsWith('.hansel')) {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`${file}: status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  }
  const coded = await openFile(url, { signal });
  try {
    return await coded.bytes({ signal });
  } finally {
    await coded.close();
  }
}

/**
 * @param {any} ort @param {Models} models @param {Row} row @param {HTMLElement} output receives the text
 * @param {AbortSignal} signal @returns {Promise<Measured>}
 */
async function measure(ort, models, { file }, output, signal) {
  const begin = performance.now();
  const model = await bytesOf(file, signal);
  const loaded = performance.now();
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
  try {
    const started = performance.now();
    let first = 0;
    let text = '';
    for await (const character of write(ort, session, models, PROMPT, CHARACTERS, signal)) {
      first ||= performance.now();
      text += character;
      output.textContent = text;
    }
    return { load: loaded - begin, start: started - loaded, first: first - begin, text };
  } finally {
    await session.release();
  }
}

/** @param {Models} models */
function showRows({ rows: all }) {
  byId('rows').replaceChildren(...all.map(({ name, file, bytes: size }) => h('tr', { 'data-file': file },
    h('th', { scope: 'row' }, name), h('td', { class: 'n' }, bytes(size)),
    h('td', { class: 'n' }, percent(size / all[0].bytes, 0)), ...['load', 'start', 'first'].map((id) => (
      h('td', { class: 'n', 'data-is': id }, '–'))), h('td', { class: 'says', 'data-is': 'text' }))));
}

/** Runs all models, one after the other. @param {Models} models */
async function runAll(models) {
  running?.abort();
  const { signal } = running = new AbortController();
  byId('go').disabled = true;
  byId('stop').disabled = false;
  byId('notice').hidden = true;
  try {
    byId('status').textContent = 'Loading onnxruntime-web, 14 MB, and starting it once, which is not timed…';
    const ort = await loadOrt();
    await measure(ort, models, models.rows[0], document.createElement('p'), signal);
    for (const row of models.rows) {
      signal.throwIfAborted();
      byId('status').textContent = `${row.name}…`;
      const line = byId('rows').querySelector(`[data-file="${row.file}"]`);
      const cell = (/** @type {string} */ id) => line.querySelector(`[data-is=${id}]`);
      const found = await measure(ort, models, row, cell('text'), signal);
      for (const id of /** @type {const} */ (['load', 'start', 'first'])) cell(id).textContent = time(found[id]);
    }
    byId('status').textContent = 'Done. Each model was asked for anew, past the browser\'s cache.';
  } catch (error) {
    byId('status').textContent = signal.aborted ? 'Stopped.' : '';
    byId('notice').hidden = signal.aborted;
    byId('notice').textContent = `This did not work: ${/** @type {Error} */ (error).message}`;
  } finally {
    byId('go').disabled = false;
    byId('stop').disabled = true;
    document.body.dataset.state = 'idle';
  }
}

try {
  const response = await fetch(new URL('models.json', MODELS));
  if (!response.ok) throw new Error(`models.json: status ${response.status}`);
  const models = await response.json();
  showRows(models);
  byId('prompt').textContent = PROMPT;
  byId('go').addEventListener('click', () => {
    document.body.dataset.state = 'busy';
    runAll(models);
  });
  byId('stop').addEventListener('click', () => running?.abort());
  byId('go').disabled = false;
} catch (error) {
  byId('notice').hidden = false;
  byId('notice').textContent = `The models cannot be loaded: ${/** @type {Error} */ (error).message}`;
}
