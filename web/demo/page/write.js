/** A language model that writes, on weights that stay coded: which rate, which back end, which text. */
import { open } from '../../hansel.js';
import { loadLlama } from '../../llama/llama.js';
import { NAMES, available, backend } from './backends.js';
import { byId, bytes, fixed, h, percent } from './dom.js';
import { explain } from './explain.js';
import { SHIPPED } from './open.js';

const HOME = new URL('models/licence-llama/', SHIPPED);
/** Of F32 weights, for what is saved. */
const F32 = 32;

/** @typedef {{id: string, bits: number, feedback: boolean, file: string, bytes: number, loss: number | null,
 *   divergence: number | null}} Variant */

/** @type {Variant[]} */
let variants = [];
/** @type {object} */
let config = {};
/** What is loaded. @type {{llama: import('../../llama/llama.js').Llama, id: string, kind: string} | null} */
let loaded = null;
/** @type {AbortController | null} */
let running = null;
/** What the exact weights wrote to which beginning, to compare with. */
let reference = { prompt: '', text: '' };
let hasWritten = false;

/** @param {string} name */
const chosen = (name) => /** @type {any} */ (document.querySelector(`input[name=${name}]:checked`))?.value;
/** @param {string} text */
const say = (text) => { byId('write-status').textContent = text; };
const label = (/** @type {Variant} */ { bits, feedback }) => (
  bits === F32 ? 'F32' : `${bits} bits${feedback ? ', feedback' : ''}`);
/** The one that is chosen. */
const variant = () => /** @type {Variant} */ (variants.find(({ id }) => id === chosen('bits')));

/** @param {string} name @param {{value: string, text: string}[]} options @param {string} value */
const radios = (name, options, value) => options.map((option) => h('label', {}, h('input', {
  type: 'radio', name, value: option.value, checked: option.value === value, onchange: change,
}), h('span', {}, option.text)));

/** Fills the panel, if this copy of the page has the model. */
export async function watchWriter() {
  const answer = await fetch(new URL('models.json', HOME)).catch(() => null);
  if (!answer?.ok) {
    byId('write').hidden = true;
    return;
  }
  const { prompt, characters, models } = await answer.json();
  config = await (await fetch(new URL('config.json', HOME))).json();
  variants = models;
  byId('write-bits').append(...radios('bits', variants.map((one) => ({ value: one.id, text: label(one) })), '4'));
  byId('write-kind').append(...radios('kind', (await available()).map((kind) => ({ value: kind, text: NAMES[kind] })),
    (await available())[0]));
  byId('prompt').value = prompt;
  byId('write-about').textContent = `Loss and divergence in nats per character, over ${characters.toLocaleString('en-US')} characters of text that it was not trained on. The divergence says how far its guesses are from those of the exact weights. Feedback: weights were rounded so that they make up for what others lost.`;
  for (const control of byId('write').querySelectorAll('button, textarea')) control.disabled = false;
  byId('write-stop').disabled = true;
  byId('write-form').addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    write();
  });
  byId('write-stop').addEventListener('click', () => running?.abort());
  showVariant();
}

/** How matrices lie on a device. @type {Record<string, string>} */
const FORMS = {
  prefix: 'as prefix codes', packed: 'packed', coded: 'coded', plain: 'as they are',
};

/** Another rate or back end writes the same beginning again. */
function change() {
  showVariant();
  if (hasWritten) write();
}

function showVariant() {
  const own = variant();
  const { bits } = own;
  const exact = variants.find((one) => one.bits === F32);
  byId('write-size').textContent = bytes(own.bytes);
  byId('write-size-note').textContent = bits === F32 ? 'without loss' : `${percent(own.bytes / (exact?.bytes ?? own.bytes), 0)} of F32’s`;
  byId('write-loss').textContent = own.loss === null ? 'not measured' : fixed(own.loss, 4);
  byId('write-loss-note').textContent = own.loss === null || !exact?.loss ? '' : bits === F32 ? 'the reference' : `+${fixed(own.loss - exact.loss, 4)}`;
  byId('write-divergence').textContent = own.divergence === null ? 'not measured' : bits === F32 ? '0' : fixed(own.divergence, 4);
}

/** @param {string} kind @param {Variant} one @param {AbortSignal} signal */
async function load(kind, one, signal) {
  const { id, file } = one;
  if (loaded?.kind === kind && loaded.id === id) return loaded.llama;
  loaded?.llama.destroy();
  loaded = null;
  say(`Loading ${label(one)} to ${NAMES[kind]}…`);
  const model = await open(new URL(file, HOME).href, { signal, resumable: true });
  try {
    const llama = await loadLlama(model, config, await backend(kind), {
      signal, onProgress: ({ done, total }) => { byId('write-progress').value = done / total; },
    });
    loaded = { llama, kind, id };
    const { forms, bytes: room } = llama.memory;
    byId('write-memory').textContent = bytes(room);
    byId('write-forms').textContent = Object.entries(forms)
      .map(([form, count]) => `${count} ${FORMS[form]}`).join(', ');
    return llama;
  } finally {
    await model.close();
  }
}

/** Writes until the context is full. */
async function write() {
  running?.abort();
  const own = new AbortController();
  running = own;
  const { signal } = own;
  const [kind, one, prompt] = [chosen('kind'), variant(), byId('prompt').value];
  const isExact = one.bits === F32;
  const out = byId('written');
  byId('write-stop').disabled = false;
  byId('write-notice').hidden = true;
  out.setAttribute('aria-busy', 'true');
  hasWritten = true;
  try {
    const llama = await load(kind, one, signal);
    const beginning = h('span', { class: 'beginning' }, prompt);
    const same = h('span', {});
    const other = h('mark', {});
    out.replaceChildren(beginning, same, other);
    const expected = reference.prompt === prompt ? reference.text : '';
    let text = '';
    let start = 0;
    let count = 0;
    for await (const token of llama.generate(llama.encodeText(prompt), { signal })) {
      if (running !== own) return;
      if (count++ === 0) start = performance.now(); // reading the beginning is not writing
      text += token.text;
      if (other.textContent || (!isExact && expected && !expected.startsWith(text))) other.append(token.text);
      else same.append(token.text);
      const speed = count > 1 ? (count - 1) / (performance.now() - start) * 1000 : 0;
      byId('write-speed').textContent = speed ? fixed(speed, speed < 100 ? 1 : 0) : '–';
      say(`Writing with ${label(one)} on ${NAMES[kind]}…`);
      byId('write-progress').value = (token.position + 1) / llama.context;
    }
    if (isExact) reference = { prompt, text };
    say(`${label(one)} on ${NAMES[kind]}: ${text.length} characters.${!isExact && expected
      ? text === expected ? ' The same as F32 wrote.' : ' Marked from where it leaves what F32 wrote.' : ''}`);
  } catch (error) {
    if (running !== own) return;
    if (signal.aborted) say('Stopped.');
    else {
      const { code } = /** @type {any} */ (error);
      if (code === 'HANSEL_ERR_LOST' || code === 'HANSEL_ERR_DESTROYED') loaded = null;
      const { sentence, detail } = await explain(error, HOME.href);
      byId('write-notice').replaceChildren(h('p', {}, sentence), h('code', {}, detail));
      byId('write-notice').hidden = false;
      say('That did not work.');
    }
  } finally {
    if (running === own) {
      running = null;
      byId('write-stop').disabled = true;
      byId('write-progress').value = 0;
      out.setAttribute('aria-busy', 'false');
    }
  }
}
