/** How often each weight occurs, and how often the fitted model says it does. */
import { byId, colour, onScheme, short } from './dom.js';
import { SHIPPED } from './open.js';

const HEIGHT = 300;
/** Weights that are looked at where the tensor is not coded. */
const MOST = 1 << 22;
const BINS = 160;

/**
 * @typedef {object} Shares
 * @property {number[]} x weights, ascending
 * @property {number[]} y share of all weights
 * @property {number[] | null} model share that the coder's table gives them
 * @property {string} label of the x axis
 */

/** @param {Int8Array} symbols @param {import('../../model/head.js').Head} head
 * @param {number} step @returns {Shares} */
export function sharesOfSymbols(symbols, { frequencies, precision, weightsPerSymbol }, step) {
  const counts = new Float64Array(256);
  for (const symbol of symbols) counts[symbol + 128]++;
  const all = [...counts.keys()].map((i) => i - 128)
    .filter((symbol) => counts[symbol + 128] || frequencies.has(symbol));
  const low = Math.min(...all);
  const range = Array.from({ length: Math.max(...all) - low + 1 }, (_, i) => low + i);
  // A lossless plane's bytes count from 0.
  const value = (/** @type {number} */ symbol) => (step ? symbol * step : symbol & 255);
  const rows = range.map((symbol) => ({
    x: value(symbol), y: counts[symbol + 128] / symbols.length,
    m: (frequencies.get(symbol) ?? 0) / (weightsPerSymbol * 2 ** precision),
  })).sort((a, b) => a.x - b.x);
  return {
    x: rows.map(({ x }) => x), y: rows.map(({ y }) => y), model: rows.map(({ m }) => m),
    label: step ? 'weight' : 'coded byte',
  };
}

/** @param {import('../../hansel.js').Model} model @param {string} name
 * @param {AbortSignal} signal @returns {Promise<Shares>} */
export async function sharesOfPlain(model, name, signal) {
  const { dtype } = model.tensor(name);
  const isFloat = /^(F32|F16|BF16)$/.test(dtype);
  /** @type {Float32Array[]} */
  const parts = [];
  let count = 0;
  for await (const { bytes } of model.slices(name, { signal, dtype: isFloat ? 'F32' : undefined })) {
    const part = isFloat ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
      : Float32Array.from(dtype === 'I8' ? new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes);
    parts.push(part);
    count += part.length;
    if (count >= MOST) break;
  }
  let [low, high] = [Infinity, -Infinity];
  for (const part of parts) {
    for (const w of part) {
      if (w < low && w > -Infinity) low = w;
      if (w > high && w < Infinity) high = w;
    }
  }
  if (!(high >= low)) [low, high] = [0, 0];
  const width = (high - low) / BINS || 1;
  const counts = new Float64Array(BINS);
  for (const part of parts) {
    for (const w of part) if (Number.isFinite(w)) counts[Math.min(BINS - 1, Math.floor((w - low) / width))]++;
  }
  return {
    x: [...counts.keys()].map((i) => low + (i + 0.5) * width),
    y: [...counts].map((n) => n / Math.max(count, 1)), model: null, label: isFloat ? 'weight' : 'value',
  };
}

/** @type {any} */
let plot = null;
/** @type {Shares | null} */
let shown = null;
/** @type {Promise<any> | null} */
let library = null;

/** uPlot, only when something is to be plotted: it weighs two thirds of the codec. */
function load() {
  library ??= (async () => {
    const style = Object.assign(document.createElement('link'), {
      rel: 'stylesheet', href: new URL('vendor/uplot.css', SHIPPED).href,
    });
    document.head.append(style);
    const [{ default: uPlot }] = await Promise.all([
      import(new URL('vendor/uplot.js', SHIPPED).href),
      new Promise((resolve) => { style.onload = style.onerror = resolve; }),
    ]);
    return uPlot;
  })();
  library.catch(() => { library = null; });
  return library;
}

/** Draws, or says why not: some engines give a locale that uPlot cannot take, and all else goes on.
 * @param {Shares} shares */
export async function drawHistogram(shares) {
  shown = shares;
  try {
    draw(await load());
  } catch (error) {
    byId('histogram').textContent = `Not drawn: ${/** @type {Error} */ (error).message}`;
  }
}

/** @param {any} uPlot */
function draw(uPlot) {
  if (!shown) return;
  const { x, y, model, label } = shown;
  const root = byId('histogram');
  plot?.destroy();
  root.replaceChildren();
  const axis = {
    stroke: colour('muted'), grid: { stroke: colour('line'), width: 1 }, ticks: { stroke: colour('line'), width: 1 },
    font: '12px system-ui, sans-serif', labelFont: '12px system-ui, sans-serif',
  };
  const share = (/** @type {any} */ _, /** @type {number | null} */ v) => (
    v === null || v === undefined ? '–' : `${(100 * v).toFixed(v < 0.001 ? 4 : 2)} %`);
  plot = new uPlot({
    width: root.clientWidth, height: HEIGHT, padding: [8, 8, 0, 0],
    scales: {
      x: { time: false },
      y: {
        range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) => (
          [0, max * 1.05 || 1]),
      },
    },
    axes: [
      { ...axis, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((t) => short(t)) },
      { ...axis, size: 56, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((t) => `${short(100 * t)} %`) },
    ],
    series: [
      { label, value: (/** @type {any} */ _, /** @type {number | null} */ v) => (v === null || v === undefined ? '–' : short(v)) },
      {
        label: 'weights', value: share, fill: colour('bar'), stroke: colour('bar'), width: 0,
        paths: uPlot.paths.bars({ size: [0.86, 40] }), points: { show: false },
      },
      ...model ? [{
        label: 'fitted model', value: share, stroke: colour('accent'), width: 2,
        paths: model.length < 40 ? uPlot.paths.stepped({ align: 0 }) : uPlot.paths.linear(), points: { show: model.length < 40, size: 5, fill: colour('accent') },
      }] : [],
    ],
    cursor: { y: false, drag: { x: true, y: false } },
  }, model ? [x, y, model] : [x, y], root);
  const peak = y.indexOf(Math.max(...y));
  root.setAttribute('aria-label', `Histogram of ${x.length} values from ${short(x[0])} to ${short(x[x.length - 1])}; `
    + `the most frequent, ${short(x[peak])}, has ${share(null, y[peak])}${model ? `, the model gives it ${share(null, model[peak])}` : ''}.`);
}

const redraw = () => library?.then(draw);
onScheme(redraw);
new ResizeObserver(() => {
  const width = byId('histogram').clientWidth;
  if (plot && width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
}).observe(byId('histogram'));
