/**
 * Conformance of a GPU back end, wherever it runs: a page or Node. Each case is
 * coded here, decoded by the wasm and by the back end, and compared.
 */
import { encode, open } from '../../web/hansel.js';

/** xorshift32: the same numbers everywhere. @param {number} seed */
export function random(seed) {
  let x = seed | 1;
  const next = () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
  return {
    next,
    gauss: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    laplace: () => (next() < 0.5 ? -1 : 1) * -Math.log(1 - next()) / Math.SQRT2,
  };
}

const clamp = (/** @type {number} */ q) => Math.max(-128, Math.min(127, Math.round(q)));

/** @type {Record<string, (r: ReturnType<typeof random>, sigma: number) => number>} */
const DISTRIBUTIONS = {
  gauss: (r, sigma) => clamp(sigma * r.gauss()),
  laplace: (r, sigma) => clamp(sigma * r.laplace()),
  uniform: (r) => Math.floor(r.next() * 256) - 128,
  two: (r) => (r.next() < 0.1 ? 5 : -3),
  one: () => 7,
  int4: (r) => Math.floor(r.next() * 16) - 8,
  ternary: (r) => Math.floor(r.next() * 3) - 1,
};

/**
 * @typedef {object} Case
 * @property {string} dtype @property {number[]} shape @property {string} distribution
 * @property {number} sigma @property {number} seed
 * @property {import('../../web/encode/encode.js').EncodeOptions} options
 */

const SHAPES = [[1, 1024], [64, 64], [37, 1001], [131, 127], [1000, 3], [1, 100003], [257, 1],
  [5, 7, 333], [40, 13, 3, 3], [3, 20011], [2, 2, 2, 2, 2, 2, 2, 300]];

/** All cases, small enough for a software renderer. @returns {Case[]} */
export function cases() {
  /** @type {Case[]} */
  const list = [];
  let seed = 1;
  const add = (/** @type {Partial<Case>} */ part) => list.push({
    dtype: 'I8', shape: [37, 1001], distribution: 'gauss', sigma: 4, seed: seed++ * 7919,
    options: {}, ...part,
  });
  for (const shape of SHAPES) {
    for (const streamLength of [16, 256, 4096]) add({ shape, options: { streamLength } });
  }
  for (const sigma of [0.3, 1, 2, 8, 20, 60]) add({ sigma });
  for (const sigma of [0.5, 3, 15]) add({ sigma, distribution: 'laplace' });
  for (const distribution of ['uniform', 'two', 'one']) add({ distribution });
  for (let precision = 8; precision <= 12; precision++) add({ options: { precision, streamLength: 100 } });
  for (const dtype of ['F32', 'F16', 'BF16']) {
    add({ dtype, options: { step: 0.125 } });
    add({ dtype, shape: [300, 77], options: { lossless: true } });
    add({ dtype, shape: [2, 30011], options: { lossless: true, streamLength: 1000 } });
  }
  for (const [distribution, weightsPerSymbol] of /** @type {const} */ ([['int4', 2], ['ternary', 4]])) {
    for (const shape of SHAPES) {
      for (const streamLength of [16, 256]) add({ shape, distribution, options: { streamLength, weightsPerSymbol } });
    }
  }
  for (const dtype of ['U8', 'F8_E4M3']) add({ dtype, shape: [61, 257] });
  return list;
}

/** The coded file of a case, with one tensor w. @param {Case & {origin?: number}} c */
export async function makeCase({ dtype, shape, distribution, sigma, seed, options, origin }) {
  const r = random(seed);
  const count = shape.reduce((a, b) => a * b, 1);
  const indices = Int8Array.from({ length: count }, () => DISTRIBUTIONS[distribution](r, sigma));
  let data = /** @type {ArrayBufferView} */ (indices);
  if (dtype === 'F32' || dtype === 'BF16' || dtype === 'F16') {
    // Grid: multiples of 1/8, exact in all three. Lossless: noise in the fraction too.
    const floats = Float32Array.from(indices, (q) => q / 8 * (options.lossless ? 1 + r.next() : 1));
    data = floats;
    if (dtype === 'BF16') data = new Uint16Array(floats.buffer).filter((_, i) => i % 2 === 1);
    if (dtype === 'F16') {
      data = Uint16Array.from(indices, (q) => (q < 0 ? 0x8000 : 0) | 0x3000 + Math.abs(q) * 37);
      if (!options.lossless) {
        const { convert } = await import('../../web/core/convert.js');
        data = new Uint16Array(convert(new Uint8Array(floats.buffer), 'F32', 'F16').buffer);
      }
    }
  }
  const file = await encode({ w: { dtype, shape, data } }, { ...options, always: true });
  return origin === undefined ? file : moveOrigin(file, origin);
}

/** Files of cases, which several back ends and limits share. @type {Map<string, Promise<Uint8Array>>} */
const made = new Map();

/** makeCase(), once for each case. @param {Case & {origin?: number}} c @returns not to be written to */
export function caseFile(c) {
  const key = JSON.stringify(c);
  if (!made.has(key)) made.set(key, makeCase(c));
  return /** @type {Promise<Uint8Array>} */ (made.get(key));
}

/**
 * The same symbols for other weights: FORMAT.md takes any origin, and weights wrap.
 * @param {Uint8Array} file @param {number} origin
 */
async function moveOrigin(file, origin) {
  const moved = file.slice();
  const model = await open(moved);
  const { start } = model.place('w');
  const view = new DataView(moved.buffer, start);
  const { mode, shape } = model.tensor('w');
  let at = 18; // FORMAT.md section 11
  const skipNumber = () => {
    while (view.getUint8(at++) > 127);
  };
  shape.forEach(skipNumber);
  if (mode === 'grid') at += 4;
  skipNumber();
  view.setUint8(at, origin);
  view.setUint32(8, 0, true);
  view.setUint32(8, model.codec.crc32c(moved.subarray(start, start + view.getUint16(5, true))), true);
  return moved;
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b @returns {number} first difference, or -1 */
export function firstDifference(a, b) {
  if (a.length !== b.length) return 0;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}

/** @type {Record<string, number>} */
const NAN_BITS = { F16: 0x7c00, BF16: 0x7f80 };

/** @param {string} dtype @param {number} v a number, or for 16-bit floats its bits */
export const isNaNBits = (dtype, v) => (dtype === 'F32' ? Number.isNaN(v) : (v & 0x7fff) > NAN_BITS[dtype]);

/**
 * Runs one coded file through a back end.
 * @param {any} gpu @param {Uint8Array} file
 * @returns {Promise<string[]>} what is wrong
 */
export async function checkFile(gpu, file) {
  const model = await open(file);
  const problems = [];
  let checked = 0;
  for (const [name, { mode, dtype }] of model.tensors) {
    if (mode === 'pass-through') continue; // vectors of the trained model
    checked++;
    const w = await gpu.load(model, name);
    const say = (/** @type {string} */ what, /** @type {any} */ got, /** @type {any} */ expected) => {
      const at = firstDifference(got, expected);
      if (at >= 0) problems.push(`${name}: ${what} differ at ${at}: ${got[at]}, not ${expected[at]}`);
    };
    say('symbols', await w.symbols(), await model.symbols(name));
    const isFloat = ['F32', 'F16', 'BF16'].includes(dtype);
    for (const target of isFloat ? ['F32', 'F16', 'BF16'] : [dtype]) {
      // Between dtypes a NaN stays a NaN, but not which one: the engine's own may differ.
      const plain = (/** @type {any} */ values) => (target === dtype ? values
        : values.map((/** @type {number} */ v) => (isNaNBits(target, v) ? (target === 'F32' ? NaN : 0x7fff) : v)));
      say(`${target} values`, plain(await w.decode({ dtype: target })),
        plain(await model.decode(name, { dtype: target })));
    }
    const verdict = await w.verify();
    if (!verdict.ok) problems.push(`verify: ${JSON.stringify(verdict)}`);
    w.destroy();
  }
  await model.close();
  if (!checked) problems.push('no coded tensor in the file');
  return problems;
}

/**
 * Checks several things at a time: Firefox takes a tenth of a second to hear from its GPU.
 * @template T @param {T[]} items @param {(item: T, index: number) => Promise<void>} check
 */
export async function forAll(items, check) {
  const queue = [...items.entries()];
  await Promise.all(Array.from({ length: 12 }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await check(next[1], next[0]);
  }));
}

/** Runs all cases. @param {any} gpu @returns {Promise<{count: number, problems: string[]}>} */
export async function checkCases(gpu) {
  const all = cases();
  /** @type {string[]} */
  const problems = [];
  await forAll(all, async (c) => {
    const found = await checkFile(gpu, await caseFile(c));
    problems.push(...found.map((problem) => `${JSON.stringify(c)}: ${problem}`));
  });
  return { count: all.length, problems };
}
