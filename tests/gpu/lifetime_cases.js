/**
 * A matrix's life, for any back end, in a page or in Node: calls at once, destroy() amid a call, and
 * what is left of the device's memory.
 */
import { encode, open } from '../../web/hansel.js';
import { random } from './cases.js';

/** What lives on a device; the CPU counts nothing. @param {any} gpu @returns {number} */
const living = (gpu) => (gpu.buffers ?? gpu.objects)?.size ?? 0;

/** A coded grid, coded lossless floats, coded without streams, and one that is not coded. */
async function makeModel() {
  const r = random(41);
  const shape = [301, 1003];
  const floats = Float32Array.from({ length: shape[0] * shape[1] }, r.gauss);
  const options = { always: true, streamLength: 512 };
  const file = async (/** @type {any} */ tensor, /** @type {any} */ more) => open(await encode(
    { w: { shape, ...tensor } }, { ...options, ...more }));
  const integers = new Int8Array(floats.map((v) => Math.round(9 * v)));
  return {
    grid: await file({ dtype: 'F32', data: floats }, { step: 0.125 }),
    lossless: await file({ dtype: 'F32', data: floats }, { lossless: true }),
    equal: await file({ dtype: 'I8', data: new Int8Array(integers.length).fill(3) }, {}),
    plain: await file({ dtype: 'I8', data: integers }, { exclude: /w/ }),
  };
}

/** @param {any} w @param {string} kind @returns {Record<string, () => Promise<any>>} */
function callsOf(w, kind) {
  const x = new Float32Array(w.columns).fill(0.5);
  const isInteger = kind !== 'lossless';
  return {
    decode: () => w.decode(),
    decodeRows: () => w.decodeRows(7, 100),
    matvec: () => w.matvec(x),
    matmul: () => w.matmul(new Float32Array(5 * w.columns), 5),
    verify: () => w.verify(),
    symbols: () => w.symbols(),
    ...(isInteger ? { matvecI8: () => w.matvecI8(new Int8Array(w.columns).fill(3)) } : {}),
    ...(kind !== 'plain' && w.products ? { decodeOnGpu: () => w.decodeOnGpu() } : {}),
    ...(w.products ? { prepare: () => w.products.prepare(false) } : {}),
  };
}

/** Turns of the event loop. @param {number} count */
async function turns(count) {
  for (let i = 0; i < count; i++) await new Promise((resolve) => { setTimeout(resolve, 0); });
}

/**
 * @param {any} gpu @returns {Promise<{problems: string[], count: number, amid: number}>} amid: calls
 *   that destroy() met while they were running
 */
export async function checkLifetime(gpu) {
  const models = await makeModel();
  const problems = /** @type {string[]} */ ([]);
  const before = living(gpu);
  let count = 0;
  let amid = 0;
  const expectLeft = (/** @type {string} */ what) => {
    if (living(gpu) !== before) problems.push(`${what}: ${living(gpu) - before} objects left`);
  };
  for (const [kind, model] of Object.entries(models)) {
    // At once: the memory of one decoding, the same bytes for all.
    const alone = await gpu.load(model, 'w');
    await alone.symbols();
    const expected = living(gpu);
    alone.destroy();
    expectLeft(`${kind}, one call`);
    const w = await gpu.load(model, 'w');
    const [a, b, c] = await Promise.all([w.symbols(), w.symbols(), w.symbols()]);
    const reference = await model.symbols('w');
    for (const found of [a, b, c]) {
      if (found.some((/** @type {number} */ q, /** @type {number} */ i) => q !== reference[i])) {
        problems.push(`${kind}: symbols() at once differ`);
      }
    }
    if (living(gpu) !== expected) {
      problems.push(`${kind}: ${living(gpu) - expected} objects more for calls at once`);
    }
    const rows = await w.decodeRows(3, 5);
    const all = await w.decode();
    if (rows.length !== 5 * w.columns || rows.some((/** @type {number} */ v,
      /** @type {number} */ i) => v !== all[3 * w.columns + i])) {
      problems.push(`${kind}: decodeRows() differs from decode()`);
    }
    w.destroy();
    w.destroy(); // twice is no harm
    expectLeft(`${kind}, calls at once`);

    for (const name of Object.keys(callsOf(alone, kind))) {
      for (const delay of [0, 1, 3]) {
        const matrix = await gpu.load(model, 'w');
        let isDone = false;
        const call = callsOf(matrix, kind)[name]().then(() => 'none', (e) => e.code ?? String(e))
          .finally(() => { isDone = true; });
        await turns(delay);
        const wasDone = isDone;
        matrix.destroy();
        const code = await call;
        count++;
        if (!wasDone) amid++;
        if (code !== (wasDone ? 'none' : 'HANSEL_ERR_DESTROYED')) {
          problems.push(`${kind}: ${name}() destroyed after ${delay} turns gave ${code}`);
        }
        expectLeft(`${kind}: ${name}() destroyed after ${delay} turns`);
        const late = await callsOf(matrix, kind)[name]().then(() => 'none', (e) => e.code);
        if (late !== 'HANSEL_ERR_DESTROYED') problems.push(`${kind}: ${name}() afterwards: ${late}`);
      }
    }
  }
  return { problems, count, amid };
}
