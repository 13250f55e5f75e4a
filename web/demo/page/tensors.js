/** The file's tensors: totals, a table to choose from, and one tensor's facts. */
import { byId, bytes, fixed, h, percent, short, whole } from './dom.js';

/** @typedef {import('../../hansel.js').Model} Model */
/** @typedef {import('../../model/model.js').Tensor} Tensor */

/** @type {Record<string, number>} */
const BITS = { F64: 64, I64: 64, U64: 64, F32: 32, I32: 32, U32: 32, F16: 16, BF16: 16, I16: 16, U16: 16 };

/** Bytes before coding. @param {Tensor} tensor */
export const rawBytes = ({ dtype, weights, mode, bytes: stored }) => (
  mode === 'pass-through' ? stored : weights * (BITS[dtype] ?? 8) / 8);

/** @param {Tensor} tensor */
const saving = (tensor) => {
  const raw = rawBytes(tensor);
  return tensor.mode === 'pass-through' || !raw ? '–' : percent(1 - tensor.bytes / raw);
};

/** @param {number[]} shape */
const dimensions = (shape) => (shape.length ? shape.map(whole).join(' × ') : 'scalar');

/** @param {string} term @param {string} value @param {string} [note] */
const fact = (term, value, note = '') => h('div', {}, h('dt', {}, term),
  h('dd', {}, value, note ? h('small', {}, ` ${note}`) : null));

/** @param {Model} model @param {string} title */
export function showSummary(model, title) {
  const all = [...model.tensors.values()];
  const coded = all.filter(({ mode }) => mode !== 'pass-through');
  const raw = all.reduce((sum, tensor) => sum + rawBytes(tensor), 0);
  const stored = all.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const weights = coded.reduce((sum, tensor) => sum + tensor.weights, 0);
  const bits = weights ? 8 * coded.reduce((sum, tensor) => sum + tensor.bytes, 0) / weights : 0;
  byId('file-name').textContent = title;
  byId('file-facts').replaceChildren(
    fact('file', bytes(model.bytes)),
    fact('before coding', coded.length ? bytes(raw + model.bytes - stored) : '–'),
    fact('saved', coded.length && raw ? percent(1 - stored / raw) : '–'),
    fact('coded bits per weight', coded.length ? fixed(bits, 3) : '–'),
    fact('tensors', `${all.length}`, coded.length < all.length ? `${coded.length} coded` : ''),
  );
}

/**
 * @param {Model} model @param {string} chosen @param {(name: string) => void} choose
 */
export function showTable(model, chosen, choose) {
  const rows = [...model.tensors].map(([name, tensor]) => h('tr', { 'data-name': name },
    h('th', { scope: 'row' }, h('button', {
      type: 'button', class: 'name', 'aria-pressed': String(name === chosen), onclick: () => choose(name),
    }, name)),
    h('td', {}, dimensions(tensor.shape)), h('td', {}, tensor.dtype),
    h('td', {}, tensor.mode), h('td', { class: 'n' }, tensor.step ? short(tensor.step) : '–'),
    h('td', { class: 'n' }, tensor.entropyBits === null ? '–' : fixed(tensor.entropyBits, 3)),
    h('td', { class: 'n' }, fixed(tensor.bits, 3)), h('td', { class: 'n' }, saving(tensor))));
  byId('tensors').tBodies[0].replaceChildren(...rows);
}

/** @param {string} name */
export function markChosen(name) {
  for (const row of byId('tensors').tBodies[0].rows) {
    row.querySelector('button').setAttribute('aria-pressed', String(row.dataset.name === name));
  }
}

/** @param {string} name @param {Tensor} tensor @param {import('../../model/head.js').Head | null} head */
export function showFacts(name, tensor, head) {
  byId('tensor-name').textContent = name;
  const { entropyBits, bits } = tensor;
  byId('tensor-facts').replaceChildren(
    fact('shape', dimensions(tensor.shape)),
    fact('dtype', tensor.dtype),
    fact('mode', tensor.mode),
    fact('step', tensor.step ? short(tensor.step) : '–'),
    fact('entropy', entropyBits === null ? '–' : fixed(entropyBits, 3), entropyBits === null ? '' : 'bits'),
    fact('stored', fixed(bits, 3), `bits${entropyBits ? `, ${bits >= entropyBits ? '+' : ''}${percent(bits / entropyBits - 1, 2)}` : ''}`),
    fact('saving', saving(tensor), tensor.mode === 'pass-through' ? '' : `of ${bytes(rawBytes(tensor))}`),
    fact('streams', head ? whole(head.streams) : '–'),
  );
  showBytes(head, tensor);
}

/** @type {[keyof import('../../model/head.js').Head['bytes'], string][]} */
const PARTS = [['payload', 'streams'], ['raw', 'raw plane'], ['directory', 'stream directory'],
  ['table', 'frequency table'], ['fixed', 'fixed fields and shape'], ['padding', 'padding']];

/** @param {import('../../model/head.js').Head | null} head @param {Tensor} tensor */
function showBytes(head, tensor) {
  const parts = head ? PARTS.map(([key, label]) => ({ key, label, size: head.bytes[key] })).filter(({ size }) => size)
    : [{ key: 'payload', label: tensor.mode === 'pass-through' ? 'not coded' : 'several matrices', size: tensor.bytes }];
  byId('bytes-bar').replaceChildren(...parts.map(({ key, size }) => h('span', {
    class: `part part-${key}`, style: `flex-grow:${size / Math.max(tensor.bytes, 1)}`,
  })));
  byId('bytes-legend').replaceChildren(...parts.map(({ key, label, size }) => h('li', {},
    h('span', { class: `swatch part-${key}`, 'aria-hidden': 'true' }), `${label} `,
    h('b', {}, bytes(size)), ` ${percent(size / Math.max(tensor.bytes, 1), 2)}`)));
}
