/** Codes a plain file in the page: the aim by a slider, what it would give at once, the file to save. */
import { HanselError } from '../../hansel.js';
import { byId, bytes, fixed, percent } from './dom.js';
import { progress, run, status } from './jobs.js';

/** @type {Worker | null} */
let worker = null;
/** @type {Map<number, {resolve: (value: any) => void, reject: (error: unknown) => void}>} */
const waiting = new Map();
let next = 0;
/** @type {{source: string | File, title: string} | null} */
let current = null;
/** @type {(file: File, from: string) => void} */
let show = () => {};
/** @type {string | null} */
let saved = null;

/** @param {string} command @param {object} [rest] @param {AbortSignal} [signal] @returns {Promise<any>} */
function ask(command, rest = {}, signal) {
  const own = /** @type {Worker} */ (worker);
  signal?.addEventListener('abort', () => own.postMessage({ command: 'stop' }), { once: true });
  return new Promise((resolve, reject) => {
    waiting.set(next, { resolve, reject });
    own.postMessage({ id: next++, command, ...rest });
  });
}

function startWorker() {
  worker?.terminate();
  for (const { reject } of waiting.values()) reject(new HanselError('HANSEL_ERR_ABORTED', 'another file was opened'));
  waiting.clear();
  worker = new Worker(new URL('./coder_worker.js', import.meta.url), { type: 'module' });
  worker.onmessage = ({ data: { id, result, error, progress: now } }) => {
    if (now) {
      progress(now.share);
      return;
    }
    const call = waiting.get(id);
    waiting.delete(id);
    if (error) call?.reject(new HanselError(error.code || 'HANSEL_ERR_MEMORY', error.message));
    else call?.resolve(result);
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new HanselError('HANSEL_ERR_MEMORY', event.message || 'the worker died'));
    waiting.clear();
  };
}

const kind = () => /** @type {any} */ (document.querySelector('input[name=aim]:checked')).value;

/** What is asked for. @returns {{bits: number} | {error: number} | {lossless: true}} */
function aim() {
  const at = Number(byId('aim').value);
  if (kind() === 'bits') return { bits: at };
  // The slider's error is a logarithm: a thousandth to a half.
  return kind() === 'error' ? { error: Number((10 ** at).toPrecision(2)) } : { lossless: true };
}

/** The slider's scale for the kind of aim. */
function setScale() {
  const slider = byId('aim');
  const [min, max, step, value] = kind() === 'error' ? [-3, -0.3, 0.05, -1.3] : [2, 8, 0.1, 4];
  Object.assign(slider, { min, max, step, value });
  slider.disabled = kind() === 'lossless';
}

let isAsking = false;
let isStale = false;

/** Shows what the aim would give; while one answer is awaited, only the newest question is kept. */
async function estimateNow() {
  if (byId('encode').disabled) return;
  const wanted = aim();
  const label = 'bits' in wanted ? `${fixed(wanted.bits, 1)} bits per weight`
    : 'error' in wanted ? `${percent(wanted.error, wanted.error < 0.01 ? 2 : 1)} relative error` : 'without loss';
  byId('aim-value').textContent = label;
  byId('aim').setAttribute('aria-valuetext', label);
  isStale = true;
  if (isAsking) return;
  isAsking = true;
  try {
    while (isStale) {
      isStale = false;
      const found = await ask('at', { aim: aim() });
      byId('estimate-size').textContent = bytes(found.bytes);
      byId('estimate-saving').textContent = percent(1 - found.bytes / found.rawBytes);
      byId('estimate-bits').textContent = found.coded ? fixed(found.bits, 2) : '–';
      byId('estimate-note').textContent = 'bits' in wanted && found.bits < wanted.bits - 0.1
        ? 'The largest weights set the finest step: 256 levels hold no more bits here.' : '';
      byId('estimate-error').textContent = found.error ? percent(found.error, found.error < 0.01 ? 3 : 2) : 'none';
    }
  } catch (error) {
    if (/** @type {any} */ (error).code !== 'HANSEL_ERR_ABORTED') throw error;
  } finally {
    isAsking = false;
  }
}

/** @param {(file: File, from: string) => void} onCoded called with the coded file */
export function watchCoder(onCoded) {
  show = onCoded;
  setScale();
  byId('aim').addEventListener('input', estimateNow);
  for (const radio of document.querySelectorAll('input[name=aim]')) {
    radio.addEventListener('change', () => {
      setScale();
      estimateNow();
    });
  }
  byId('encode').addEventListener('click', () => run(encodeNow, { source: current?.source }));
}

/**
 * Looks at a plain file.
 * @param {string | File} source @param {string} title @param {AbortSignal} signal
 */
export async function prepareCoder(source, title, signal) {
  current = { source, title };
  byId('code').hidden = false;
  byId('encode').disabled = true;
  status('Looking at the weights…');
  startWorker();
  await ask('open', { source }, signal);
  byId('encode').disabled = false;
  await estimateNow();
}

/** Hides the panel; the worker ends. */
export function hideCoder() {
  byId('code').hidden = true;
  worker?.terminate();
  worker = null;
  current = null;
}

/** @param {AbortSignal} signal */
async function encodeNow(signal) {
  if (!current) return '';
  status('Coding…');
  const start = performance.now();
  const threads = Math.max(1, Math.min(4, navigator.hardwareConcurrency - 1));
  const coded = await ask('encode', { aim: aim(), threads }, signal);
  const seconds = (performance.now() - start) / 1000;
  const name = `${current.title.replace(/\.safetensors$/i, '')}.hansel.safetensors`;
  const file = new File([coded], name, { type: 'application/octet-stream' });
  offer(file);
  const from = `coded from ${current.title} in ${fixed(seconds, 2)} s`;
  queueMicrotask(() => show(file, from));
  return `Coded: ${bytes(coded.length)} in ${fixed(seconds, 2)} s.`;
}

/** @param {File} file */
function offer(file) {
  if (saved) URL.revokeObjectURL(saved);
  saved = URL.createObjectURL(file);
  const link = byId('save');
  link.href = saved;
  link.download = file.name;
  link.textContent = `Save ${file.name} (${bytes(file.size)})`;
}
