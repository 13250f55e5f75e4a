/** From the address to weights on the GPU: how long it takes with each way to pack the same weights. */
import { NAMES } from './backends.js';
import { byId, bytes, h, time } from './dom.js';
import { SHIPPED } from './open.js';

const RATES = /** @type {const} */ ([[10, '10 Mbit/s'], [100, '100 Mbit/s'], [1000, '1 Gbit/s']]);
/** Bytes that the general coders are tried on. */
const PART = 4 << 20;

/** @typedef {{name: string, size: number, unpackMs: number, overlaps: boolean}} Way */
/** @typedef {{size: number, unpackMs: number}} Packed */

/** @param {Uint8Array<ArrayBuffer>} data @param {any} transform @returns {Promise<Uint8Array>} */
const through = async (data, transform) => new Uint8Array(
  await new Response(new Blob([data]).stream().pipeThrough(transform)).arrayBuffer());

/** @param {Uint8Array<ArrayBuffer>} data @param {string} format of the browser's own @returns {Promise<Packed>} */
async function native(data, format) {
  const packed = /** @type {Uint8Array<ArrayBuffer>} */ (
    await through(data, new CompressionStream(/** @type {'gzip'} */ (format))));
  const start = performance.now();
  const back = await through(packed, new DecompressionStream(/** @type {'gzip'} */ (format)));
  const unpackMs = performance.now() - start;
  if (back.length !== data.length) throw new Error(`${format}: not what went in`);
  return { size: packed.length, unpackMs };
}

/** @type {Promise<any> | null} */
let zstdModule = null;

/** zstd in wasm, where the browser has none. @param {Uint8Array<ArrayBuffer>} data @returns {Promise<Packed>} */
async function zstd(data) {
  zstdModule ??= import(new URL('vendor/zstd/index.web.js', SHIPPED).href).then(async (module) => {
    await module.init();
    return module;
  });
  const { compress, decompress } = await zstdModule;
  const packed = compress(data, 3);
  const start = performance.now();
  const back = decompress(packed);
  const unpackMs = performance.now() - start;
  if (back.length !== data.length) throw new Error('zstd: not what went in');
  return { size: packed.length, unpackMs };
}

/**
 * Measures and draws.
 * @param {import('../../hansel.js').Model} model in memory @param {string} name
 * @param {Uint8Array<ArrayBuffer>} weights one byte each, or as they were before coding
 * @param {import('./check.js').Decoded[]} decoded what was measured
 * @param {AbortSignal} signal
 */
export async function showSavings(model, name, weights, decoded, signal) {
  const tensor = model.tensor(name);
  const part = weights.slice(0, PART);
  const share = weights.length / Math.max(part.length, 1);
  /** @type {Way[]} */
  const ways = [{ name: 'raw', size: weights.length, unpackMs: 0, overlaps: true }];
  for (const [label, pack] of /** @type {const} */ ([['gzip', () => native(part, 'gzip')], ['zstd -3', () => zstd(part)]])) {
    signal.throwIfAborted();
    const { size, unpackMs } = await pack();
    ways.push({ name: label, size: size * share, unpackMs: unpackMs * share, overlaps: true });
  }
  // On the CPU, as decode() does: what has arrived is decoded while the rest does.
  const own = decoded.find(({ kind }) => kind === 'wasm') ?? decoded[0];
  ways.push({ name: 'Hansel', size: tensor.bytes, unpackMs: own.decodeMs, overlaps: own.kind === 'wasm' });
  byId('saves-rows').replaceChildren(...RATES.map(([rate, label]) => group(rate, label, ways)));
  byId('saves-note').textContent = `For ${name}, ${bytes(weights.length)} as ${
    tensor.mode === 'grid' ? 'int8 grid indices' : tensor.dtype}; sizes and unpacking measured in this page just now${
    share > 1 ? ` (gzip and zstd on the first ${bytes(part.length)})` : ''}. All unpack while they download, on one thread${
    own.kind === 'wasm' ? '' : `; Hansel after it, on ${NAMES[own.kind]}`}. Fused products need no unpacking at all.`;
  byId('saves').hidden = false;
}

/** @param {number} rate Mbit/s @param {string} label @param {Way[]} ways */
function group(rate, label, ways) {
  const rows = ways.map(({ name, size, unpackMs, overlaps }) => {
    const download = 8 * size / rate / 1e3;
    const total = overlaps ? Math.max(download, unpackMs) : download + unpackMs;
    return { name, size, download, total };
  });
  const most = Math.max(...rows.map(({ total }) => total));
  const raw = rows[0].total;
  return h('div', { class: 'rate' }, h('h3', {}, label), h('dl', { class: 'bars' }, ...rows.flatMap(({ name, size, download, total }) => [
    h('dt', {}, name, h('small', {}, ` ${bytes(size)}`)),
    h('dd', {},
      h('span', { class: `bar ${name === 'Hansel' ? 'ours' : ''}`, style: `width:${100 * total / most * 0.62}%`, 'aria-hidden': 'true' },
        h('span', { class: 'wait', style: `width:${100 * download / total}%` })),
      h('span', { class: 'n' }, `${time(total)}${name === 'raw' ? '' : `, ${Math.round(100 * total / raw)} %`}`)),
  ])));
}

/** Empties the panel. */
export function hideSavings() {
  byId('saves').hidden = true;
  byId('saves-rows').replaceChildren();
}
