/** Weights on their way to the GPU: each tensor is usable the moment its last byte is there. */
import { NAMES, available, backend } from './backends.js';
import { byId, bytes, h, time } from './dom.js';

/** @typedef {import('../../hansel.js').Model} Model */
/** @typedef {{row: any, bar: any, state: any, matrix: any}} Item */

/** @type {Map<string, Item>} */
const items = new Map();
/** @type {{model: Model} | null} */
let current = null;

/** @param {Model} model whose bytes are still where they came from */
export function prepareStream(model) {
  freeStream();
  current = { model };
  const coded = [...model.tensors].filter(([, { mode, weights }]) => mode !== 'pass-through' && weights);
  byId('stream').hidden = !coded.length;
  byId('stream-start').textContent = 'Load to the GPU';
  byId('stream-note').textContent = '';
  byId('stream-rows').replaceChildren(...coded.map(([name, tensor]) => {
    const bar = h('progress', { max: 1, value: 0, 'aria-label': `${name} progress` });
    const state = h('span', { class: 'state' }, 'waiting');
    const row = h('li', { 'data-name': name, 'data-state': 'waiting' },
      h('span', { class: 'name' }, name), h('span', { class: 'n muted' }, bytes(tensor.bytes)), bar, state);
    items.set(name, { row, bar, state, matrix: null });
    return row;
  }));
}

/** @param {Item} item @param {string} state @param {string} text */
function mark(item, state, text) {
  item.row.dataset.state = state;
  item.state.textContent = text;
}

/** Whether everything is there. */
const isComplete = () => [...items.values()].every(({ matrix }) => matrix);

/**
 * Loads what is not there yet.
 * @param {AbortSignal} signal @param {(share: number) => void} onProgress
 * @returns {Promise<string>} what to say in the end
 */
export async function stream(signal, onProgress) {
  if (!current) return 'Nothing to load.';
  const { model } = current;
  if (isComplete()) prepareStream(model); // once more
  const [kind] = await available();
  const own = await backend(kind);
  const total = [...items.keys()].reduce((sum, name) => sum + model.tensor(name).bytes, 0);
  let done = 0;
  const start = performance.now();
  let first = 0;
  byId('stream-note').textContent = `Bytes go to ${NAMES[kind]} as they arrive; Stop keeps what has come.`;
  for (const [name, item] of items) {
    const { bytes: size, dtype } = model.tensor(name);
    if (item.matrix) {
      done += size;
      continue;
    }
    let got = 0;
    mark(item, 'coming', 'receiving');
    try {
      const matrix = await own.load(model, name, {
        signal, onProgress: (/** @type {any} */ p) => {
          got = p.done;
          item.bar.value = p.done / Math.max(p.total, 1);
          item.state.textContent = `${bytes(p.done)} on ${NAMES[kind]}`;
          onProgress((done + p.done) / total);
        },
      });
      if (/^(F32|F16|BF16)$/.test(dtype)) await matrix.matvec(new Float32Array(matrix.columns).fill(1));
      item.matrix = matrix;
      item.bar.value = 1;
      const ms = performance.now() - start;
      first ||= ms;
      mark(item, 'ready', `usable after ${time(ms)}`);
      done += size;
    } catch (error) {
      const { code } = /** @type {any} */ (error);
      const isStopped = code === 'HANSEL_ERR_ABORTED';
      if (code === 'HANSEL_ERR_LOST') forget();
      else mark(item, isStopped ? 'stopped' : 'broken', isStopped ? `stopped, ${bytes(got)} kept` : 'not loaded');
      byId('stream-start').textContent = isStopped ? 'Resume' : 'Load again';
      throw error;
    }
  }
  byId('stream-start').textContent = 'Load once more';
  byId('stream-note').textContent = `${items.size === 1 ? 'Usable' : `The first tensor was usable after ${
    time(first)}, all of them`} after ${time(performance.now() - start)}: ${bytes(total)} on ${NAMES[kind]}, still coded.`;
  return `${items.size === 1 ? 'The coded tensor is' : `All ${items.size} coded tensors are`} on ${NAMES[kind]}.`;
}

/** What lay on a lost GPU is gone. */
function forget() {
  for (const item of items.values()) {
    item.matrix = null;
    item.bar.value = 0;
    mark(item, 'waiting', 'lost with the GPU');
  }
}

/** Frees what was loaded. */
export function freeStream() {
  for (const { matrix } of items.values()) matrix?.destroy();
  items.clear();
  current = null;
  byId('stream').hidden = true;
}
