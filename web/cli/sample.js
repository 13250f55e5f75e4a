/**
 * NumPy's legacy random generator, and the reference matrix that `hansel sample` writes:
 * `np.random.seed(2025); w = np.random.randn(14336, 4096)`, rounded to F32.
 */
import { HanselError } from '../core/errors.js';

/** Rows of the reference matrix: the shape of a feed-forward weight of Llama 3 8B. */
export const SAMPLE_ROWS = 14336;
/** Columns of the reference matrix. */
export const SAMPLE_COLUMNS = 4096;
/** Seed of the reference matrix. */
export const SAMPLE_SEED = 2025;

/** MT19937's state, in words, and the distance of the word that each one is mixed with. */
const WORDS = 624;
const SHIFT = 397;

/**
 * numpy.random.RandomState: MT19937 and, on top of it, 53-bit uniforms and polar Gaussians.
 *
 * nextUint32 and randomSample equal NumPy's bit for bit. gauss takes its logarithm from Math.log,
 * whose last bit ECMAScript leaves open (as C does for NumPy): 3 % of its float64 values differ
 * from NumPy's, by 3 units in the last place at most.
 */
export class RandomState {
  /** The recurrence's words, and the same after tempering: what is handed out. */
  #state = new Int32Array(WORDS);
  #words = new Int32Array(WORDS);
  #next = WORDS;
  /** A Gaussian left over: they are made in pairs. */
  #spare = 0;
  #hasSpare = false;

  /**
   * @param {number} seed an integer in [0, 2^32), as for np.random.seed
   * @throws {HanselError} HANSEL_ERR_ARGUMENT for any other seed
   */
  constructor(seed) {
    if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'not a seed', {
        expected: 'an integer in [0, 2^32)', got: seed,
      });
    }
    const state = this.#state;
    state[0] = seed;
    for (let i = 1; i < WORDS; i++) {
      const last = state[i - 1];
      state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
    }
  }

  /** Makes the next block of words. */
  #refill() {
    const state = this.#state;
    const words = this.#words;
    for (let i = 0, j = 1, k = SHIFT; i < WORDS; i++) {
      const x = (state[i] & 0x80000000) | (state[j] & 0x7fffffff);
      let y = state[k] ^ (x >>> 1) ^ (-(x & 1) & 0x9908b0df);
      state[i] = y;
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      words[i] = y ^ (y >>> 18);
      if (++j === WORDS) j = 0;
      if (++k === WORDS) k = 0;
    }
    this.#next = 0;
  }

  /** @returns {number} the next word, signed: V8 keeps it out of floating point */
  #word() {
    if (this.#next === WORDS) this.#refill();
    return this.#words[this.#next++];
  }

  /** @returns {number} an integer in [0, 2^32) */
  nextUint32() {
    return this.#word() >>> 0;
  }

  /** @returns {number} uniform in [0, 1), a multiple of 2^-53; takes two words */
  randomSample() {
    const high = this.#word() >>> 5;
    const low = this.#word() >>> 6;
    return (high * 2 ** 26 + low) * 2 ** -53;
  }

  /** @returns {number} from the standard normal distribution: one value of np.random.randn */
  gauss() {
    if (this.#hasSpare) {
      this.#hasSpare = false;
      return this.#spare;
    }
    let x;
    let y;
    let square;
    do {
      x = 2 * this.randomSample() - 1;
      y = 2 * this.randomSample() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const scale = Math.sqrt(-2 * Math.log(square) / square);
    this.#spare = scale * x;
    this.#hasSpare = true;
    return scale * y;
  }
}

/**
 * @typedef {object} SampleOptions
 * @property {number} [rows]
 * @property {number} [columns]
 * @property {number} [seed] as for np.random.seed
 * @property {number} [rowsPerSlice] the last slice holds what is left
 */

/**
 * Like sampleRows, but yields the float64 values before rounding.
 * @param {SampleOptions} [options]
 * @returns {Generator<Float64Array, void, void>} the memory is reused from slice to slice
 * @throws {HanselError} HANSEL_ERR_ARGUMENT
 */
export function* sampleRows64({
  rows = SAMPLE_ROWS, columns = SAMPLE_COLUMNS, seed = SAMPLE_SEED, rowsPerSlice = 256,
} = {}) {
  for (const [name, count] of Object.entries({ rows, columns, rowsPerSlice })) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', `${name} is wrong`, {
        expected: 'a positive integer', got: count,
      });
    }
  }
  const random = new RandomState(seed);
  const slice = new Float64Array(Math.min(rows, rowsPerSlice) * columns);
  for (let row = 0; row < rows; row += rowsPerSlice) {
    const count = Math.min(rowsPerSlice, rows - row) * columns;
    for (let i = 0; i < count; i++) slice[i] = random.gauss();
    yield slice.subarray(0, count);
  }
}

/**
 * Generates `np.random.seed(seed); np.random.randn(rows, columns)`, each value rounded to F32;
 * by default the reference matrix, of which all values equal NumPy's: none lies so close to the
 * middle of two F32 that an error of 3 units in the last place of every Math.log would show.
 * @param {SampleOptions} [options]
 * @returns {Generator<Float32Array, void, void>} whole rows, row-major; each slice is new memory
 * @throws {HanselError} HANSEL_ERR_ARGUMENT, when the first slice is asked for
 * @example
 * for (const slice of sampleRows()) await file.write(slice);
 */
export function* sampleRows(options) {
  for (const slice of sampleRows64(options)) yield new Float32Array(slice);
}
