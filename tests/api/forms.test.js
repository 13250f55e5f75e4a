/** Which form load() gives weights by itself: by levels, shape, size and device. */
import assert from 'node:assert/strict';
import { pickCode } from '../../web/gpu/recode.js';
import { encode, open } from '../../web/hansel.js';
import { random } from '../gpu/cases.js';

const GPU = { bindingBytes: 128 << 20 };
const WEBGL = { ...GPU, mostPrefixLevels: 57 };

/** @param {number[]} shape @param {(r: ReturnType<typeof random>) => number} index of a weight */
async function blobOf(shape, index) {
  const r = random(5);
  const data = Int8Array.from({ length: shape[0] * shape[1] }, () => index(r));
  const model = await open(await encode({ w: { dtype: 'I8', shape, data } }, { always: true }));
  return (await model.headOf('w')).blob;
}

const gauss = (/** @type {number} */ sigma, low = -128, high = 127) => (
  /** @type {ReturnType<typeof random>} */ r) => Math.max(low, Math.min(high, Math.round(sigma * r.gauss())));

/** Exponents and three bits of mantissas. @param {ReturnType<typeof random>} r */
const logarithm = (r) => Math.max(-128, Math.round(100 + 12 * Math.log2(Math.abs(r.gauss()))));

/** @type {[string, number[], ReturnType<typeof gauss>, object, string][]} */
const CASES = [
  ['about 4 bits', [512, 1024], gauss(4), GPU, 'prefix 2'],
  ['ternary', [1024, 1024], gauss(0.6, -1, 1), GPU, 'prefix 4'],
  ['16 levels', [512, 1024], gauss(4, -8, 7), GPU, 'packed 4'],
  ['about 90 levels', [512, 1024], gauss(10), GPU, 'prefix 1'],
  ['about 90 levels on WebGL2', [512, 1024], gauss(10), WEBGL, 'packed 8'],
  ['about 200 uneven levels', [512, 1024], logarithm, GPU, 'prefix 1'],
  ['256 levels', [512, 1024], gauss(52), GPU, 'packed 8'],
  ['a matrix that its table would outweigh', [64, 64], gauss(4), GPU, 'packed 8'],
  ['narrow rows', [4096, 31], gauss(4), GPU, 'coded'],
  ['three rows', [3, 4096], gauss(4), GPU, 'coded'],
  ['rows that no binding holds', [512, 1024], gauss(4), { bindingBytes: 100_000 }, 'coded'],
  ['one level', [512, 1024], () => 7, GPU, 'coded'],
];

describe('the form of weights', () => {
  for (const [what, shape, index, gpu, expected] of CASES) {
    it(`${what}: ${expected}`, async () => {
      const code = await pickCode('auto', await blobOf(shape, index), /** @type {any} */ (gpu));
      assert.equal(code ? `${code.form} ${code.weightsPerCode || code.bits}` : 'coded', expected);
    });
  }
});
