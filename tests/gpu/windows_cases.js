/**
 * Lossless floats of version 4 in all their windows, on any device: what FORMAT.md section 5 says, computed here
 * once more.
 */
import { convert } from '../../web/core/convert.js';
import { open } from '../../web/hansel.js';
import { firstDifference, forAll, isNaNBits, random } from './cases.js';
import { normError, product } from './products_cases.js';
import { windowFile } from './window_file.js';

/**
 * @typedef {object} Window
 * @property {'F32' | 'F16' | 'BF16'} dtype @property {number[]} shape @property {number} mantissaBits
 * @property {number} sign @property {number} windowBase @property {number} levels symbols are below it
 * @property {number} seed
 */

const WIDTHS = { F32: [32, 8, 23], F16: [16, 5, 10], BF16: [16, 8, 7] };
const SHAPES = [[1], [3, 5], [7, 257], [33, 1001]];

/** @param {Pick<Window, 'dtype' | 'mantissaBits' | 'sign'>} c */
const rawBitsOf = ({ dtype, mantissaBits, sign }) => (
  WIDTHS[dtype][2] - mantissaBits + (sign === 0 ? 1 : 0));

/** Windows around 1, and at both ends: subnormals, infinities and NaNs. @returns {Window[]} */
function windows() {
  /** @type {Window[]} */
  const list = [];
  for (const dtype of /** @type {const} */ (['BF16', 'F16', 'F32'])) {
    const [, exponentBits] = WIDTHS[dtype];
    const bias = 2 ** (exponentBits - 1) - 1;
    for (const mantissaBits of dtype === 'F16' ? [3, 5, 7] : [0, 2, 3, 7]) {
      const levels = Math.min(256, 14 << mantissaBits);
      for (const sign of [0, 1, 2]) {
        const others = [{ windowBase: 0 }, { windowBase: (1 << exponentBits + mantissaBits) - levels },
          { levels: 14 }, { levels: 40 }, { levels: 1 }]; // of few levels, several to a code
        for (const part of [{ shape: [64, 1024] }, { shape: SHAPES[list.length % 4] }, others[list.length % 5]]) {
          list.push({
            dtype, shape: [7, 257], mantissaBits, sign, windowBase: bias - 7 << mantissaBits, levels,
            seed: 7919 * (list.length + 1), ...part,
          });
        }
      }
    }
  }
  list.push({ ...list[0], shape: [5, 300], levels: 3 });
  return list;
}

/**
 * @param {Window} c
 * @returns {{symbols: Uint8Array, raw: Uint32Array, bytes: Uint8Array}} of each weight; bytes: the
 *   weights
 */
function windowWeights(c) {
  const { dtype, shape, sign, windowBase, levels, seed } = c;
  const [width] = WIDTHS[dtype];
  const rawBits = rawBitsOf(c);
  const r = random(seed);
  const count = shape.reduce((a, b) => a * b, 1);
  const symbols = Uint8Array.from({ length: count }, () => {
    if (r.next() < 0.1) return Math.floor(r.next() < 0.5 ? 0 : levels * r.next());
    const level = Math.round((levels - 1) * (0.6 + 0.12 * r.gauss()));
    return Math.max(levels > 1 ? 1 : 0, Math.min(levels - 1, level));
  });
  const raw = Uint32Array.from({ length: count }, () => Math.floor(r.next() * 2 ** rawBits));
  const words = Array.from(symbols, (symbol, i) => {
    const field = symbol === 0 ? 0 : windowBase + symbol;
    const word = field * 2 ** rawBits + raw[i];
    if (sign === 0) return Math.floor(word / 2) + word % 2 * 2 ** (width - 1);
    return word + (sign === 2 ? 2 ** (width - 1) : 0);
  });
  const array = width === 32 ? Uint32Array.from(words) : Uint16Array.from(words);
  return { symbols, raw, bytes: new Uint8Array(array.buffer) };
}

/** Elements as bits. @param {string} dtype @param {ArrayBuffer} buffer */
const bitsOf = (dtype, buffer) => (dtype === 'F32' ? new Uint32Array(buffer) : new Uint16Array(buffer));

/** @param {string} dtype @param {ArrayBuffer} buffer with all NaNs made one */
const withOneNaN = (dtype, buffer) => bitsOf(dtype, buffer).map((bits) => {
  const isNaN = dtype === 'F32' ? (bits & 0x7fffffff) > 0x7f800000 : isNaNBits(dtype, bits);
  return isNaN ? 0x7fff : bits;
});

/**
 * Symbols, values, rows and products of one.
 * @param {any} gpu @param {Window} c @returns {Promise<{problems: string[], count: number}>}
 */
async function checkWindow(gpu, c) {
  const { dtype } = c;
  const { symbols, raw, bytes } = windowWeights(c);
  const model = await open(await windowFile(c, symbols, raw, rawBitsOf(c)));
  /** @type {string[]} */
  const problems = [];
  const say = (/** @type {string} */ what, /** @type {any} */ got, /** @type {any} */ expected) => {
    const at = firstDifference(got, expected);
    if (at >= 0) problems.push(`${what} differ at ${at}: ${got[at]}, not ${expected[at]}`);
  };
  say('the file\'s', bitsOf(dtype, (await model.decode('w')).slice().buffer), bitsOf(dtype, bytes.slice().buffer));
  const w = await gpu.load(model, 'w');
  say('symbols', new Uint8Array((await w.symbols()).buffer), symbols);
  say('own values', bitsOf(dtype, (await w.decode({ dtype })).buffer), bitsOf(dtype, bytes.slice().buffer));
  for (const target of ['F32', 'F16', 'BF16'].filter((other) => other !== dtype)) {
    const expected = convert(bytes, dtype, target).slice().buffer;
    say(`${target} values`, withOneNaN(target, (await w.decode({ dtype: target })).buffer),
      withOneNaN(target, /** @type {ArrayBuffer} */ (expected)));
  }
  const { rows, columns } = w;
  const first = Math.floor(rows / 2);
  const size = bytes.length / symbols.length;
  say('rows', new Uint8Array((await w.decodeRows(first, rows - first, { dtype })).buffer),
    bytes.subarray(first * columns * size));
  const verdict = await w.verify();
  if (!verdict.ok) problems.push(`verify: ${JSON.stringify(verdict)}`);
  const weights = new Float32Array(/** @type {ArrayBuffer} */ (convert(bytes, dtype, 'F32').slice().buffer));
  const isFinite = weights.every(Number.isFinite);
  const isNormal = isFinite && weights.some((v) => Math.abs(v) > 1e-6); // GPUs may flush others
  for (const batch of isNormal ? [1, 4] : []) {
    const r = random(c.seed + batch);
    const x = Float32Array.from({ length: batch * columns }, r.gauss);
    const error = normError(await w.matmul(x, batch), product(weights, rows, x, batch));
    if (!(error < 1e-5)) problems.push(`batch ${batch}: error ${error}`);
  }
  w.destroy();
  return { problems, count: isNormal ? 2 : 1 };
}

/** All of them. @param {any} gpu @returns {Promise<{count: number, problems: string[]}>} */
export async function checkWindows(gpu) {
  /** @type {string[]} */
  const problems = [];
  let count = 0;
  await forAll(windows(), async (c) => {
    const found = await checkWindow(gpu, c).catch(
      (error) => ({ problems: [String(error.stack)], count: 0 }));
    count += found.count;
    problems.push(...found.problems.map((problem) => `${JSON.stringify(c)}: ${problem}`));
  });
  return { count, problems };
}
