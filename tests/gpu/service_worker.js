/** A module Service Worker that answers /hansel with what it could do, and did right. */
import { encode, open } from '../../min/all.js';

const data = new Int8Array(64 * 100).map((_, i) => i * i % 11);

/** @returns {Promise<Record<string, boolean>>} */
async function work() {
  const same = (/** @type {any} */ a, /** @type {any} */ b) => a.length === b.length
    && a.every((/** @type {number} */ v, /** @type {number} */ i) => v === b[i]);
  const file = await encode({ w: { dtype: 'I8', shape: [64, 100], data } });
  const model = await open(file);
  const { rows } = await model.head('w');
  const floats = await open(await encode({
    w: { dtype: 'F32', shape: [64, 100], data: new Float32Array(data) },
  }, { step: 1 }), { threads: 2 });
  return {
    decode: same(await model.decode('w'), data), head: rows === 64,
    rows: same(await model.rows('w', 3, 2), data.subarray(300, 500)),
    converts: same(await floats.decode('w', { dtype: 'BF16' }),
      Uint16Array.from(data, (v) => new Uint32Array(Float32Array.of(v).buffer)[0] >>> 16)),
    blob: same(await (await open(new Blob([file]))).decode('w'), data),
  };
}

globalThis.addEventListener('fetch', (/** @type {any} */ event) => {
  if (!event.request.url.endsWith('/hansel')) return;
  event.respondWith(work().then((found) => Response.json(found),
    (error) => Response.json({ error: String(error.stack) })));
});
globalThis.addEventListener('install', () => /** @type {any} */ (globalThis).skipWaiting());
globalThis.addEventListener('activate', (/** @type {any} */ event) => event.waitUntil(
  /** @type {any} */ (globalThis).clients.claim()));
