/** The heat map: which part of the matrix is seen, by pointer, buttons and keys. */
import { NAMES, available, backend } from './backends.js';
import { byId, fixed, h, onScheme, rgb, short } from './dom.js';
import { CpuPainter, WebGlPainter, WebGpuPainter } from './heatmap_gpu.js';

/** Cells that a zoom shows at least, in each direction. */
const LEAST = 8;
/** Of a view's side, per key. */
const MOVE = 0.1;

/** What is seen, in cells. */
let view = { x: 0, y: 0, width: 1, height: 1 };
/** @type {any} */
let painter = null;
/** @type {{name: string, rows: number, columns: number, symbols: Int8Array, step: number, peak: number} | null} */
let shown = null;
let isDrawing = false;
let isStale = false;

const canvas = () => /** @type {HTMLCanvasElement} */ (byId('heatmap'));

/** Draws the current view; a view that changes meanwhile is drawn next. */
async function draw() {
  if (!painter || !shown) return;
  isStale = true;
  delete canvas().dataset.view; // tells what is drawn
  if (isDrawing) return;
  isDrawing = true;
  try {
    while (isStale && painter) {
      isStale = false;
      const { x, y, width: across, height: down } = view;
      const { width, height } = canvas();
      const to = /** @type {CanvasRenderingContext2D} */ (canvas().getContext('2d'));
      await painter.paint(to, {
        x, y, columns: across / width, rows: down / height,
        peak: shown.peak, colours: ['heat-zero', 'heat-negative', 'heat-positive'].map(rgb),
      });
      if (isStale || !shown) continue;
      canvas().dataset.view = [x, y, across, down, shown.peak].join(' ');
      byId('heatmap-range').textContent = `rows ${Math.floor(y)}–${Math.ceil(y + down) - 1}, columns ${
        Math.floor(x)}–${Math.ceil(x + across) - 1}`;
    }
  } catch (error) {
    // A lost GPU is told elsewhere, and what it had drawn stays.
    if (/** @type {any} */ (error).code !== 'HANSEL_ERR_LOST') throw error;
  } finally {
    isDrawing = false;
  }
}

/** @param {number} x @param {number} y @param {number} width @param {number} height */
function look(x, y, width, height) {
  if (!shown) return;
  const { rows, columns } = shown;
  const fit = (/** @type {number} */ n, /** @type {number} */ all) => Math.min(Math.max(n, Math.min(LEAST, all)), all);
  const [w, ht] = [fit(width, columns), fit(height, rows)];
  const place = (/** @type {number} */ n, /** @type {number} */ size,
    /** @type {number} */ all) => Math.max(0, Math.min(n, all - size));
  view = { x: place(x, w, columns), y: place(y, ht, rows), width: w, height: ht };
  draw();
}

/** @param {number} factor below 1 comes nearer
 * @param {number} [atX] share of the image that stays @param {number} [atY] */
function zoom(factor, atX = 0.5, atY = 0.5) {
  const [width, height] = [view.width * factor, view.height * factor];
  look(view.x + atX * (view.width - width), view.y + atY * (view.height - height), width, height);
}

/** @param {number} dx share of the view @param {number} dy */
const move = (dx, dy) => look(view.x + dx * view.width, view.y + dy * view.height, view.width, view.height);
const reset = () => look(0, 0, Infinity, Infinity);

/** @type {Record<string, () => void>} */
const KEYS = {
  ArrowLeft: () => move(-MOVE, 0), ArrowRight: () => move(MOVE, 0), ArrowUp: () => move(0, -MOVE),
  ArrowDown: () => move(0, MOVE), '+': () => zoom(1 / 1.5), '=': () => zoom(1 / 1.5), '-': () => zoom(1.5), 0: reset,
};

/** @param {PointerEvent | WheelEvent | MouseEvent} event @returns {[number, number]} share of the image */
function placeOf(event) {
  const box = canvas().getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

/** @param {PointerEvent} event */
function tell(event) {
  if (!shown) return;
  const [x, y] = placeOf(event);
  const column = Math.min(shown.columns - 1, Math.max(0, Math.floor(view.x + x * view.width)));
  const row = Math.min(shown.rows - 1, Math.max(0, Math.floor(view.y + y * view.height)));
  const symbol = shown.symbols[row * shown.columns + column];
  byId('heatmap-value').textContent = `row ${row}, column ${column}: ${shown.step
    ? `${short(symbol * shown.step)} (grid index ${symbol})` : `coded byte ${symbol & 255}`}`;
}

/** Listens to pointer, wheel and keys; `again` redraws with another back end. @param {(kind: string) => void} again */
export function watchHeatmap(again) {
  const element = canvas();
  /** Pointers that are down, and where. @type {Map<number, [number, number]>} */
  const down = new Map();
  element.addEventListener('pointerdown', (event) => {
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, placeOf(event));
  });
  for (const kind of /** @type {const} */ (['pointerup', 'pointercancel'])) {
    element.addEventListener(kind, (event) => down.delete(event.pointerId));
  }
  element.addEventListener('pointermove', (event) => {
    const before = down.get(event.pointerId);
    const now = placeOf(event);
    if (!before) return tell(event);
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const far = (/** @type {[number, number]} */ p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
      if (far(now) > 0.02 && far(before) > 0.02) zoom(far(before) / far(now), ...other);
    } else {
      move(before[0] - now[0], before[1] - now[1]);
    }
    down.set(event.pointerId, now);
  });
  element.addEventListener('dblclick', (event) => zoom(0.5, ...placeOf(event)));
  // Pinching a trackpad comes as a wheel with Ctrl; the plain wheel scrolls the page.
  element.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(1.01 ** event.deltaY, ...placeOf(event));
  }, { passive: false });
  element.addEventListener('keydown', (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  byId('zoom-in').addEventListener('click', () => zoom(0.5));
  byId('zoom-out').addEventListener('click', () => zoom(2));
  byId('zoom-reset').addEventListener('click', reset);
  byId('heatmap-kind').addEventListener('change', () => again(byId('heatmap-kind').value));
  onScheme(draw);
}

/** Offers the back ends that open here, the best first. */
export async function offerPainters() {
  const kinds = await available();
  byId('heatmap-kind').replaceChildren(...kinds.map((kind) => h('option', { value: kind },
    kind === 'wasm' ? 'the CPU' : NAMES[kind])));
}

/**
 * Decodes a tensor where it is to be drawn, and draws it.
 * @param {import('../../hansel.js').Model} model @param {string} name
 * @param {{symbols: Int8Array, step: number, rows: number, columns: number}} known what the wasm
 *   decoded, for values under the pointer, and the matrix view
 * @param {AbortSignal} signal
 */
export async function showHeatmap(model, name, { symbols, step, rows, columns }, signal) {
  hideHeatmap();
  if (!symbols.length) return;
  if (!byId('heatmap-kind').value) await offerPainters();
  const kind = byId('heatmap-kind').value;
  const made = await makePainter(kind, model, name, { rows, columns, symbols }, signal);
  try {
    await made.prepare();
  } catch (error) {
    made.destroy();
    throw error;
  }
  let squares = 0;
  for (const symbol of symbols) squares += symbol * symbol;
  painter = made;
  shown = {
    name, rows, columns, symbols, step, peak: Math.max(1, 3 * Math.sqrt(squares / symbols.length)),
  };
  byId('heatmap-peak').textContent = step ? `±${short(shown.peak * step)} and beyond` : `±${fixed(shown.peak, 0)} and beyond`;
  canvas().dataset.kind = kind;
  canvas().setAttribute('aria-label', `Heat map of ${name}, ${rows} rows and ${columns} columns, drawn by ${NAMES[kind]}`);
  view = { x: 0, y: 0, width: columns, height: rows };
  await draw();
}

/**
 * @param {string} kind @param {import('../../hansel.js').Model} model @param {string} name
 * @param {{rows: number, columns: number, symbols: Int8Array}} cpu @param {AbortSignal} signal
 */
async function makePainter(kind, model, name, cpu, signal) {
  if (kind === 'wasm') return new CpuPainter(cpu);
  const matrix = await (await backend(kind)).load(model, name, { signal });
  try {
    await matrix.decodeOnGpu();
    return kind === 'webgpu' ? new WebGpuPainter(matrix) : new WebGlPainter(matrix);
  } catch (error) {
    matrix.destroy();
    throw error;
  }
}

/** Frees what was drawn. */
export function hideHeatmap() {
  painter?.destroy();
  painter = null;
  shown = null;
  const { width, height } = canvas();
  canvas().getContext('2d')?.clearRect(0, 0, width, height);
  delete canvas().dataset.view;
  for (const id of ['heatmap-range', 'heatmap-value', 'heatmap-peak']) byId(id).textContent = '';
}
