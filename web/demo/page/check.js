/** Decodes a tensor on every back end, side by side: times, equality, and products. */
import { PlainMatrix } from '../../plain.js';
import { NAMES, adapterName, backend } from './backends.js';
import { byId, fixed, h, short, time, whole } from './dom.js';

const ORDER = ['wasm', 'webgl', 'webgpu'];
/** A measurement repeats until so much time has passed, or so often. */
const MEASURE_MS = 150;
const MOST_ROUNDS = 20;

/** @typedef {import('../../hansel.js').Model} Model */
/** @typedef {{kind: string, decodeMs: number}} Decoded */

/** @type {Map<string, any>} */
const rows = new Map();

/** The rows, empty. */
export function resetCheck() {
  rows.clear();
  byId('check-rows').replaceChildren(...ORDER.map((kind) => {
    const bar = h('progress', { max: 1, value: 0, 'aria-label': `${NAMES[kind]} progress` });
    const cells = { bar, decode: h('td', { class: 'n' }), speed: h('td', { class: 'n' }), verdict: h('td'), product: h('td', { class: 'n' }), plain: h('td', { class: 'n' }), error: h('td', { class: 'n' }) };
    const adapter = h('small', { class: 'muted' });
    rows.set(kind, { ...cells, adapter });
    return h('tr', { 'data-kind': kind },
      h('th', { scope: 'row' }, NAMES[kind], adapter), h('td', {}, bar),
      ...['decode', 'speed', 'verdict', 'product', 'plain', 'error'].map((key) => cells[/** @type {'bar'} */ (key)]));
  }));
  byId('check-note').textContent = '';
}

/** @param {string} kind @param {'exact' | 'differs' | 'none'} is @param {string} text */
function badge(kind, is, text) {
  rows.get(kind).verdict.replaceChildren(h('span', { class: `badge ${is}` }, text));
}

/** The median of several runs, in milliseconds. @param {() => Promise<unknown>} body @param {AbortSignal} signal */
async function measure(body, signal) {
  const times = [];
  const end = performance.now() + MEASURE_MS;
  do {
    signal.throwIfAborted();
    const start = performance.now();
    await body();
    times.push(performance.now() - start);
  } while (performance.now() < end && times.length < MOST_ROUNDS);
  return times.sort((a, b) => a - b)[times.length >> 1];
}

/** Norm of the difference over the norm. @param {Float32Array} y @param {Float32Array} reference */
function relativeError(y, reference) {
  let [lost, energy] = [0, 0];
  for (let i = 0; i < y.length; i++) {
    lost += (y[i] - reference[i]) ** 2;
    energy += reference[i] ** 2;
  }
  return energy ? Math.sqrt(lost / energy) : Math.sqrt(lost);
}

/**
 * The plain kernel: WebGPU's, on the decoded matrix, or a loop where there is no WebGPU.
 * @param {any} matrix on WebGPU, decoded, or null @param {Model} model @param {string} name
 * @param {Int8Array} symbols @param {Float32Array} x @param {AbortSignal} signal
 * @returns {Promise<{y: Float32Array, ms: number, what: string} | null>}
 */
async function plainProduct(matrix, model, name, symbols, x, signal) {
  const { mode, step } = model.tensor(name);
  if (mode !== 'grid') return null;
  const columns = x.length;
  const rowCount = symbols.length / columns;
  if (matrix?.parts.length === 1) {
    const plain = PlainMatrix.fromBuffer(matrix.gpu, {
      buffer: matrix.buffer, dtype: 'I8', rows: rowCount, columns, scale: step, name: `${name}, plain`,
    });
    const y = await plain.matvec(x);
    const ms = await measure(() => plain.matvec(x), signal);
    plain.destroy();
    return { y, ms, what: 'the plain int8 kernel on WebGPU, on the decoded matrix' };
  }
  const loop = async () => {
    const y = new Float32Array(rowCount);
    for (let row = 0, at = 0; row < rowCount; row++) {
      let sum = 0;
      for (let column = 0; column < columns; column++) sum += symbols[at++] * x[column];
      y[row] = sum * step;
    }
    return y;
  };
  return { y: await loop(), ms: await measure(loop, signal), what: 'a plain loop in JavaScript, on the decoded matrix' };
}

/**
 * Checks one tensor.
 * @param {Model} model whose bytes are in memory, so that no network is timed @param {string} name
 * @param {AbortSignal} signal
 * @param {(share: number) => void} onProgress
 * @returns {Promise<{symbols: Int8Array, decoded: Decoded[], differs: string[]}>} what decoded it, and how fast
 */
export async function check(model, name, signal, onProgress) {
  resetCheck();
  const { weights, mode, dtype } = model.tensor(name);
  const { columns } = await model.head(name, { signal });
  /** @type {Decoded[]} */
  const decoded = [];
  /** @type {string[]} */
  const differs = [];
  const done = (/** @type {string} */ kind, /** @type {number} */ ms) => {
    const row = rows.get(kind);
    row.bar.value = 1;
    row.decode.textContent = time(ms);
    row.speed.textContent = `${whole(weights / ms / 1e3)} M/s`;
    decoded.push({ kind, decodeMs: ms });
  };
  const wasm = rows.get('wasm');
  wasm.adapter.textContent = 'CPU, one thread';
  let symbols = await model.symbols(name, {
    signal, onProgress: (p) => { wasm.bar.value = p.done / Math.max(p.total, 1); },
  });
  done('wasm', await measure(async () => { symbols = await model.symbols(name, { signal }); }, signal));
  badge('wasm', 'exact', 'reference');
  onProgress(0.3);

  const isFloat = /^(F32|F16|BF16)$/.test(dtype);
  const x = Float32Array.from({ length: columns }, (_, i) => Math.sin(0.7 * i + 1));
  /** @type {Map<string, {y: Float32Array, ms: number}>} */
  const products = new Map();
  const multiply = async (/** @type {string} */ kind, /** @type {any} */ matrix) => {
    if (!isFloat || !weights) return;
    const y = await matrix.matvec(x);
    products.set(kind, { y, ms: await measure(() => matrix.matvec(x), signal) });
  };
  /** @type {any[]} */
  const matrices = [];
  /** @type {any} */
  let onWebGpu = null;
  try {
    const own = await (await backend('wasm')).load(model, name, { signal });
    matrices.push(own);
    await multiply('wasm', own);
    for (const kind of ['webgl', 'webgpu']) {
      const found = await tryKind(kind, model, name, symbols, signal, done, differs);
      if (found) {
        matrices.push(found);
        if (kind === 'webgpu') onWebGpu = found;
        if (!differs.includes(kind)) await multiply(kind, found);
      }
      onProgress(kind === 'webgl' ? 0.6 : 0.9);
    }
    const plain = isFloat && weights && !differs.includes('webgpu')
      ? await plainProduct(onWebGpu, model, name, symbols, x, signal) : null;
    for (const [kind, { y, ms }] of products) {
      const row = rows.get(kind);
      row.product.textContent = time(ms);
      row.plain.textContent = plain ? `${fixed(plain.ms / ms, 2)}×` : '–';
      row.error.textContent = plain ? short(relativeError(y, plain.y)) : '–';
    }
    byId('check-note').textContent = plain ? `The plain kernel is ${plain.what}: ${time(plain.ms)}. “Speed” is its time `
      + 'over the fused product’s; the difference is relative to the norm. All product times include reading back.'
      : `${mode === 'grid' ? '' : 'Only grid tensors have a plain int8 kernel to compare with. '}`;
  } finally {
    for (const matrix of matrices) matrix.destroy();
  }
  return { symbols, decoded, differs };
}

/**
 * @param {string} kind @param {Model} model @param {string} name @param {Int8Array} reference
 * @param {AbortSignal} signal @param {(kind: string, ms: number) => void} done @param {string[]} differs
 * @returns {Promise<any>} the matrix, decoded; null where there is no such back end
 */
async function tryKind(kind, model, name, reference, signal, done, differs) {
  const row = rows.get(kind);
  let own;
  try {
    own = await backend(kind);
  } catch (error) {
    const { code, message } = /** @type {any} */ (error);
    if (code !== 'HANSEL_ERR_ADAPTER') throw error;
    row.adapter.textContent = '';
    badge(kind, 'none', 'not here');
    row.verdict.title = message;
    return null;
  }
  row.adapter.textContent = adapterName(own);
  /** @type {any} */
  let matrix = null;
  try {
    const warm = await own.load(model, name, { signal });
    try {
      await warm.decodeOnGpu(); // compiles the shaders
    } finally {
      warm.destroy();
    }
    matrix = await own.load(model, name, {
      signal, onProgress: (/** @type {any} */ p) => { row.bar.value = 0.8 * p.done / Math.max(p.total, 1); },
    });
    const start = performance.now();
    await matrix.decodeOnGpu();
    const ms = performance.now() - start;
    const symbols = await matrix.symbols();
    const at = symbols.findIndex((/** @type {number} */ q, /** @type {number} */ i) => q !== reference[i]);
    done(kind, ms);
    if (at < 0) badge(kind, 'exact', 'bit-exact');
    else {
      differs.push(kind);
      badge(kind, 'differs', `differs first at row ${Math.floor(at / matrix.columns)}, column ${
        at % matrix.columns}: ${symbols[at]}, not ${reference[at]}`);
    }
    return matrix;
  } catch (error) {
    matrix?.destroy();
    const { code, message } = /** @type {any} */ (error);
    if (signal.aborted || code === 'HANSEL_ERR_LOST') throw error;
    differs.push(kind);
    badge(kind, 'differs', message);
    return null;
  }
}
