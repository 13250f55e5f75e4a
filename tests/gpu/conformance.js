/**
 * What every device must do, in a page or in Node: tests/gpu/conformance.test.js runs it on each.
 * Each check takes a back end, and returns what is wrong, and how much it looked at.
 */
import { checkCorrupt, checkStray } from './corrupt_cases.js';
import {
  checkDecodedForms, checkMultipliedForms, checkWindowForms, checkWords,
} from './forms_cases.js';
import { checkLifetime } from './lifetime_cases.js';
import { BAD_PLAIN, badPlain, checkLoad, checkPlain } from './plain_cases.js';
import {
  BAD_ENCODES, BAD_PRODUCTS, badProducts, checkHalves,
} from './products_cases.js';

/** @typedef {{problems: string[], count: number, [detail: string]: any}} Found */

/** @param {Record<string, string>} found @param {Record<string, string>} expected */
function differences(found, expected) {
  const names = new Set([...Object.keys(found), ...Object.keys(expected)]);
  return {
    count: names.size,
    problems: [...names].filter((name) => found[name] !== expected[name])
      .map((name) => `${name}: ${found[name]}, not ${expected[name]}`),
  };
}

/**
 * By what they show; least: how much each looks at, or it has not run; on GPUs, where that is more.
 * @type {Record<string, {least: number, leastOnGpu?: number, check: (gpu: any) => Promise<Found>}>}
 */
export const SUITE = {
  'decodes every case and vector like the wasm': { least: 300, leastOnGpu: 900, check: checkDecodedForms },
  'puts lossless floats together in every window': { least: 100, leastOnGpu: 300, check: checkWindowForms },
  'multiplies': { least: 200, leastOnGpu: 600, check: checkMultipliedForms },
  'says what form it has, and codes the same words everywhere': { least: 600, check: checkWords },
  'multiplies vectors in F16 as those in F32': {
    least: 1, check: async (gpu) => ({ problems: await checkHalves(gpu), count: 1 }),
  },
  'refuses bad products': {
    least: 17,
    check: async (gpu) => differences(await badProducts(gpu),
      { ...BAD_PRODUCTS, ...(gpu.kind === 'wasm' ? {} : BAD_ENCODES) }),
  },
  'loads tensors of every kind': {
    least: 1, check: async (gpu) => ({ problems: await checkLoad(gpu), count: 1 }),
  },
  'multiplies what is not coded': { least: 150, leastOnGpu: 650, check: checkPlain },
  'multiplies what is not coded by vectors in F16': {
    least: 1,
    check: async (gpu) => ({
      problems: await checkHalves(gpu, undefined, { exclude: /w/ }), count: 1,
    }),
  },
  'refuses bad matrices that are not coded': {
    least: 20,
    check: async (gpu) => differences(await badPlain(gpu),
      BAD_PLAIN[/** @type {'wasm'} */ (gpu.kind)]),
  },
  'makes no products of corrupt streams': { least: 50, leastOnGpu: 130, check: checkCorrupt },
  'takes no weights for others that have no code': { least: 1, leastOnGpu: 3, check: checkStray },
  'decodes once, and can be destroyed amid a call': { least: 80, check: checkLifetime },
};

/**
 * Runs one check.
 * @param {any} gpu @param {string} name of SUITE
 * @returns {Promise<Found & {left: number, least: number}>} left: objects of the device that nobody
 *   freed
 */
export async function runCheck(gpu, name) {
  const { least, leastOnGpu = least, check } = SUITE[name];
  const found = await check(gpu);
  return { ...found, least: gpu.kind === 'wasm' ? least : leastOnGpu, left: (gpu.buffers ?? gpu.objects)?.size ?? 0 };
}
