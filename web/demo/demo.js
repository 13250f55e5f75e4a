/** The demo page: opens a coded file and compares the three decoders on each tensor. */
import { open } from '../hansel.js';
import { gpu } from '../gpu.js';

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const status = (/** @type {string} */ text) => { $('status').textContent = text; };

/** @type {AbortController | null} */
let running = null;

/** Text in a new cell. @param {HTMLTableRowElement} row @param {string} text */
function cell(row, text) {
  const td = row.insertCell();
  td.textContent = text;
  return td;
}

/** Back ends by kind; null where there is none, with the reason. */
async function openBackends() {
  const backends = new Map();
  for (const kind of /** @type {const} */ (['webgl', 'webgpu'])) {
    const opened = await gpu({ prefer: [kind] }).catch((error) => ({ error }));
    backends.set(kind, opened);
  }
  return backends;
}

/** @param {number} weights @param {number} ms */
const speed = (weights, ms) => `${ms.toFixed(1)} ms, ${(weights / ms / 1e3).toFixed(0)} M/s`;

/**
 * Decodes one tensor on a GPU: the time is that of the second decode, without upload.
 * @param {any} opened @param {any} model @param {string} name @param {Int8Array} reference
 * @param {AbortSignal} signal @param {HTMLTableCellElement} td
 */
async function compare(opened, model, name, reference, signal, td) {
  if (opened.error) {
    td.textContent = `none: ${opened.error.message}`;
    return;
  }
  td.textContent = 'loading';
  try {
    const weights = model.tensors.get(name).weights;
    const first = await opened.gpu.load(model, name, { signal });
    await first.decodeOnGpu(); // compiles the shaders
    first.destroy();
    const w = await opened.gpu.load(model, name, { signal });
    const start = performance.now();
    await w.decodeOnGpu();
    const ms = performance.now() - start;
    const symbols = await w.symbols();
    w.destroy();
    const at = symbols.findIndex((/** @type {number} */ q, /** @type {number} */ i) => q !== reference[i]);
    const columns = w.columns;
    td.className = at < 0 ? 'exact' : 'differs';
    td.textContent = `${speed(weights, ms)}, ${at < 0 ? 'bit-exact'
      : `differs at row ${Math.floor(at / columns)}, column ${at % columns}: ${symbols[at]}, not ${reference[at]}`}`;
  } catch (error) {
    td.className = 'differs';
    td.textContent = /** @type {Error} */ (error).message;
    if (signal.aborted) throw error;
  }
}

/** @param {File | string} source */
async function run(source) {
  running?.abort();
  const stop = new AbortController();
  running = stop;
  const { signal } = stop;
  const body = $('tensors').tBodies[0];
  body.replaceChildren();
  $('tensors').hidden = false;
  $('progress').hidden = false;
  $('stop').disabled = false;
  /** @type {any} */
  let model;
  try {
    status('Opening');
    model = await open(source, { signal });
    const backends = await openBackends();
    const names = [...model.tensors.keys()];
    for (const [i, name] of names.entries()) {
      const tensor = model.tensors.get(name);
      const row = body.insertRow();
      cell(row, name);
      cell(row, `${tensor.shape.join(' x ')} ${tensor.dtype}`);
      cell(row, tensor.mode);
      cell(row, tensor.bits.toFixed(3));
      if (tensor.mode === 'pass-through') {
        for (let k = 0; k < 3; k++) cell(row, '-');
        continue;
      }
      status(`Decoding ${name} (${i + 1} of ${names.length})`);
      const cells = ['', '', ''].map((text) => cell(row, text));
      const onProgress = (/** @type {{done: number, total: number}} */ p) => {
        $('progress').value = (i + p.done / p.total) / names.length;
      };
      const start = performance.now();
      const reference = await model.symbols(name, { signal, onProgress });
      cells[0].textContent = speed(tensor.weights, performance.now() - start);
      await compare(backends.get('webgl'), model, name, reference, signal, cells[1]);
      await compare(backends.get('webgpu'), model, name, reference, signal, cells[2]);
      $('progress').value = (i + 1) / names.length;
    }
    for (const { gpu: backend } of backends.values()) backend?.destroy();
    status(`Done: ${names.length} tensors, ${(model.bytes / 1e6).toFixed(2)} MB`);
  } catch (error) {
    const { code = '', message } = /** @type {any} */ (error);
    status(code === 'HANSEL_ERR_ABORTED' ? 'Stopped' : `${code} ${message}`);
  } finally {
    await model?.close();
    if (running === stop) {
      $('progress').hidden = true;
      $('stop').disabled = true;
    }
  }
}

$('open').addEventListener('submit', (/** @type {Event} */ event) => {
  event.preventDefault();
  const [file] = $('file').files;
  const url = $('url').value.trim();
  if (url) run(new URL(url, location.href).href);
  else if (file) run(file);
  else status('Choose a file, or give an address.');
});
$('file').addEventListener('change', () => { if ($('file').files[0]) run($('file').files[0]); });
$('stop').addEventListener('click', () => running?.abort());
for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle('dragging', kind === 'dragover');
    const file = kind === 'drop' ? /** @type {DragEvent} */ (event).dataTransfer?.files[0] : null;
    if (file) run(file);
  });
}

const asked = new URLSearchParams(location.search).get('file');
if (asked) {
  $('url').value = asked;
  run(new URL(asked, location.href).href);
}
