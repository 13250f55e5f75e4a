/** Weights in every form that a device has: the same symbols, the same products, the same words. */
import { open } from '../../web/hansel.js';
import { caseFile, cases, checkCases, firstDifference, forAll } from './cases.js';
import { checkProducts } from './products_cases.js';
import { checkVectors, vectorFiles } from './vectors.js';
import { checkWindows } from './windows_cases.js';

/** @typedef {{as: string, recode?: string}} Way */

/** What load() can be told. @param {any} gpu @returns {Way[]} */
export const waysOf = (gpu) => (gpu.makeStreams ? [
  { as: 'coded' },
  ...['prefix', 'packed'].flatMap((as) => (gpu.recodes ? ['cpu', 'gpu'] : ['cpu'])
    .map((recode) => ({ as, recode }))),
] : [{ as: 'auto' }]);

/** The same device, whose load() is told so. @param {any} gpu @param {Way} way */
export const inForm = (gpu, way) => Object.assign(Object.create(gpu), {
  load: (/** @type {any} */ model, /** @type {string} */ name, /** @type {any} */ options) => (
    gpu.load(model, name, { ...way, ...options })),
});

/**
 * Runs checks in every form.
 * @param {any} gpu @param {((gpu: any) => Promise<{problems: string[], count: number}>)[]} checks
 * @param {(way: Way) => boolean} [filter]
 */
async function inEveryForm(gpu, checks, filter = () => true) {
  const problems = [];
  let count = 0;
  for (const way of waysOf(gpu).filter(filter)) {
    for (const check of checks) {
      const found = await check(inForm(gpu, way));
      count += found.count;
      problems.push(...found.problems.map((problem) => `${JSON.stringify(way)} ${problem}`));
    }
  }
  return { problems, count };
}

/** Symbols and values of all cases and vectors. @param {any} gpu */
export const checkDecodedForms = (gpu) => inEveryForm(gpu, [checkCases, checkVectors],
  // The words that the CPU makes are the GPU's: checkWords().
  ({ recode }) => recode !== 'gpu');

/** Lossless floats in all windows. @param {any} gpu */
export const checkWindowForms = (gpu) => inEveryForm(gpu, [checkWindows],
  ({ recode }) => recode !== 'gpu');

/** Products of all forms. @param {any} gpu */
export const checkMultipliedForms = (gpu) => inEveryForm(gpu, [checkProducts],
  ({ recode }) => recode !== 'gpu');

/**
 * What a matrix says of itself, and, where a device codes weights too, that it makes the CPU's words.
 * @param {any} gpu @returns {Promise<{problems: string[], count: number}>}
 */
export async function checkWords(gpu) {
  /** @type {string[]} */
  const problems = [];
  let count = 0;
  let compared = 0;
  const files = [...cases().map((c) => ({ name: JSON.stringify(c), file: () => caseFile(c) })),
    ...await vectorFiles()];
  await forAll(files, async ({ name, file }) => {
    const model = await open(await file());
    for (const [tensor, { mode }] of model.tensors) {
      if (mode === 'pass-through') continue;
      for (const as of ['prefix', 'packed']) {
        const ways = waysOf(gpu).filter((way) => way.as === as);
        const loaded = [];
        for (const way of ways) loaded.push(await gpu.load(model, tensor, way));
        for (const w of loaded) {
          const isCoded = !w.blob.streamCount;
          if (w.form !== (isCoded ? 'coded' : as)) problems.push(`${name}: ${w.form} is no ${as}`);
          const most = 4 * Math.ceil(w.rows / 4) * (1 + w.blob.rawBytes) * (w.columns + 8) + 60000;
          if (!(w.bytes >= 0) || w.bytes > most) problems.push(`${name}: ${w.bytes} bytes, not ${most}`);
        }
        count++;
        if (loaded.length === 2 && loaded[0].form === as) {
          compared++;
          problems.push(...await differences(gpu, loaded, `${name} ${as}`));
        }
        for (const w of loaded) w.destroy();
      }
    }
  });
  if (gpu.kind === 'webgpu' && compared < 500) problems.push(`the words of only ${compared} were compared`);
  return { problems, count };
}

/** @param {any} gpu WebGPU @param {any[]} loaded two matrices @param {string} name */
async function differences(gpu, [one, other], name) {
  const found = [];
  const all = async (/** @type {any} */ w, /** @type {string} */ what) => {
    const parts = [];
    for (const part of w.parts) {
      const read = part[what] ? await gpu.read(part[what], 0, part[what].size) : new Uint8Array(0);
      parts.push(...new Uint32Array(read.slice().buffer));
    }
    return parts;
  };
  for (const what of ['words', 'bases', 'raw']) {
    const at = firstDifference(await all(one, what), await all(other, what));
    if (at >= 0) found.push(`${name}: ${what} differ at ${at}`);
  }
  return found;
}
