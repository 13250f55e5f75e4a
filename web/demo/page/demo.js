/** The page: what is opened goes through its panels, one job at a time. */
import { open } from '../../hansel.js';
import { KINDS, NAMES, backend, onLost } from './backends.js';
import { check, resetCheck } from './check.js';
import { hideCoder, prepareCoder, watchCoder } from './coder.js';
import { byId, bytes, h } from './dom.js';
import { hideHeatmap, offerPainters, showHeatmap, watchHeatmap } from './heatmap.js';
import { drawHistogram, sharesOfPlain, sharesOfSymbols } from './histogram.js';
import { complain, progress, run, status, stop } from './jobs.js';
import { watchInputs } from './open.js';
import { hideSavings, showSavings } from './saves.js';
import { freeStream, prepareStream, stream } from './stream.js';
import { markChosen, showFacts, showSummary, showTable } from './tensors.js';
import { watchWriter } from './write.js';

/** Bytes of a file that is kept in memory, so that checks time no network. */
const KEEP_BYTES = 256 * 2 ** 20;
/** Weights of a tensor that is checked without being asked. */
const AUTO_WEIGHTS = 2 ** 24;

/** @typedef {import('../../hansel.js').Model} Model */
/**
 * @typedef {object} Session an open file
 * @property {string | File} source @property {string} title
 * @property {Model} model reads from the source
 * @property {Model | null} local reads from memory
 * @property {string} name of the chosen tensor
 */

/** @type {Session | null} */
let session = null;

/** @param {string | File} source */
const titleOf = (source) => (typeof source === 'string'
  ? decodeURIComponent(source.replace(/[?#].*$/, '').split('/').pop() || source) : source.name);

/** The remedy that goes with a lost GPU. @param {any} error */
const remedy = (error) => (error?.code === 'HANSEL_ERR_LOST'
  ? { label: 'Load again', act: () => { if (session) select(session.name); } } : undefined);

/** Opens a file and shows its largest tensor. @param {string | File} source @param {string} [from] */
function start(source, from) {
  return run(async (signal) => {
    const title = titleOf(source);
    status(`Opening ${title}…`);
    const model = await open(source, { signal, resumable: true });
    await close(Boolean(from));
    session = { source, title, model, local: null, name: '' };
    byId('save-box').hidden = !from;
    byId('origin').textContent = from ?? '';
    showSummary(model, title);
    byId('model').hidden = false;
    byId('hero').classList.add('opened');
    byId('file-name').focus({ preventScroll: true });
    byId('model').scrollIntoView({ block: 'start' });
    const tensors = [...model.tensors];
    if (!tensors.length) return 'The file has no tensors.';
    const coded = tensors.filter(([, { mode }]) => mode !== 'pass-through');
    const [name] = (coded.length ? coded : tensors).reduce((a, b) => (b[1].weights > a[1].weights ? b : a));
    showTable(model, name, select);
    prepareStream(model);
    if (!coded.length) await prepareCoder(source, title, signal);
    await showTensor(name, signal);
    return `Open: ${title}, ${tensors.length} ${tensors.length === 1 ? 'tensor' : 'tensors'}, ${bytes(model.bytes)}.`;
  }, { source, remedy });
}

/** Leaves the open file. @param {boolean} keepCoder so that it can be coded in another way */
async function close(keepCoder) {
  hideHeatmap();
  hideSavings();
  freeStream();
  if (!keepCoder) hideCoder();
  resetCheck();
  const { model, local } = session ?? {};
  session = null;
  if (local !== model) await local?.close();
  await model?.close();
}

/** The file from memory, brought there if it is not too large. @param {Session} of @param {AbortSignal} signal */
async function local(of, signal) {
  if (of.local) return of.local;
  const { model } = of;
  const [source] = model.sources;
  if (model.sources.length !== 1 || model.bytes > KEEP_BYTES) return of.local = model;
  status(`Fetching ${of.title}…`);
  const all = new Uint8Array(model.bytes);
  let at = 0;
  for await (const chunk of source.stream(0, model.bytes, { signal })) {
    all.set(chunk, at);
    at += chunk.length;
    progress(at / model.bytes);
  }
  return of.local = await open(all);
}

/** Shows another tensor. @param {string} name */
function select(name) {
  if (!session) return;
  markChosen(name);
  run(async (signal) => {
    await showTensor(name, signal);
    return `${name} is shown.`;
  }, { source: session.source, remedy });
}

/** Null of tensors that are several matrices. @param {Model} model @param {string} name @param {AbortSignal} signal */
const headOf = (model, name, signal) => model.head(name, { signal }).catch((error) => {
  if (error.code === 'HANSEL_ERR_DTYPE') return null;
  throw error;
});

/**
 * @param {string} name @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether it is one that back ends decode, side by side
 */
async function showTensor(name, signal) {
  const own = /** @type {Session} */ (session);
  own.name = name;
  markChosen(name);
  hideHeatmap();
  hideSavings();
  resetCheck();
  const tensor = own.model.tensor(name);
  const isCoded = tensor.mode !== 'pass-through';
  const head = isCoded && tensor.weights ? await headOf(own.model, name, signal) : null;
  showFacts(name, tensor, head);
  byId('heatmap-box').hidden = byId('check').hidden = !head;
  const model = await local(own, signal);
  if (!head) {
    status(`Reading ${name}…`);
    await drawHistogram(await sharesOfPlain(model, name, signal));
    return false;
  }
  status(`Decoding ${name}…`);
  const symbols = await model.symbols(name, { signal, onProgress: (p) => progress(0.2 * p.done / p.total) });
  await drawHistogram(sharesOfSymbols(symbols, head, tensor.step));
  const { rows, columns } = head;
  await showHeatmap(model, name, { symbols, step: tensor.step, rows, columns }, signal).catch((error) => {
    if (signal.aborted || error.code === 'HANSEL_ERR_LOST') throw error;
    byId('heatmap-range').textContent = `Not drawn: ${error.message}`; // the check says more
  });
  progress(0.3);
  if (tensor.weights <= AUTO_WEIGHTS) await checkTensor(name, signal);
  else byId('check-note').textContent = 'A large tensor: press Check to decode it on every back end.';
  return true;
}

/** @param {string} name @param {AbortSignal} signal */
async function checkTensor(name, signal) {
  const own = /** @type {Session} */ (session);
  const model = await local(own, signal);
  status(`Checking ${name}…`);
  const { symbols, decoded, differs } = await check(model, name, signal, (share) => progress(0.3 + 0.6 * share));
  const tensor = model.tensor(name);
  const exact = decoded.filter(({ kind }) => !differs.includes(kind));
  const weights = tensor.mode === 'grid' ? symbols : await model.decode(name, { signal });
  const { buffer, byteOffset, byteLength } = weights;
  const bytes = new Uint8Array(/** @type {ArrayBuffer} */ (buffer), byteOffset, byteLength);
  await showSavings(model, name, bytes, exact, signal);
  return differs;
}

/** Checks all coded tensors, one after the other. @param {AbortSignal} signal */
async function checkAll(signal) {
  const own = /** @type {Session} */ (session);
  const all = [...own.model.tensors].filter(([, { mode, weights }]) => mode !== 'pass-through' && weights).map(([name]) => name);
  const names = [];
  const bad = [];
  for (const [i, name] of all.entries()) {
    progress(i / all.length);
    if (!await showTensor(name, signal)) continue;
    names.push(name);
    if (own.model.tensor(name).weights > AUTO_WEIGHTS) await checkTensor(name, signal);
    if (byId('check-rows').querySelector('.differs')) bad.push(name);
  }
  if (names.length === 1 && !bad.length) return `${names[0]} is bit-exact on every back end that is here.`;
  return bad.length ? `${bad.length} of ${names.length} tensors differ: ${bad.join(', ')}.`
    : `All ${names.length} tensors that are coded as one matrix are bit-exact on every back end that is here.`;
}

/** Says which back ends there are. */
async function showBackends() {
  await Promise.all(KINDS.map(async (kind) => {
    const is = await backend(kind).then(() => 'here', () => 'missing');
    const chip = byId(`chip-${kind}`);
    chip.dataset.is = is;
    chip.replaceChildren(h('span', { 'aria-hidden': 'true' }, is === 'here' ? '●' : '○'), ` ${NAMES[kind]} `,
      h('span', { class: 'hidden' }, is === 'here' ? 'is available' : 'is not available'));
  }));
  await offerPainters();
}

watchInputs((source) => start(source));
watchCoder((file, from) => start(file, from));
watchHeatmap(() => { if (session) select(session.name); });
onLost((kind) => {
  if (!session) return;
  complain({ code: 'HANSEL_ERR_LOST', message: `${NAMES[kind]} was lost` }, null,
    { label: 'Load again', act: () => { if (session) select(session.name); } });
});
byId('stop').addEventListener('click', stop);
byId('check-one').addEventListener('click', () => run(async (signal) => {
  const name = /** @type {Session} */ (session).name;
  const differs = await checkTensor(name, signal);
  return differs.length ? `${name} differs on ${differs.map((kind) => NAMES[kind]).join(' and ')}.` : `${name} is bit-exact.`;
}, { source: session?.source, remedy }));
byId('check-all').addEventListener('click', () => run(checkAll, { source: session?.source, remedy }));
byId('stream-start').addEventListener('click', () => run((signal) => stream(signal, progress), { source: session?.source, remedy }));
await showBackends();
await watchWriter();
