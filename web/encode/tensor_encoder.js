/**
 * One tensor on its way through the codec, slice by slice: does what src/encoder.c asks for. Memory
 * holds a few slices and the tensor's stream lengths.
 */
import { dtypeBytes } from '../core/dtypes.js';
import { SLICE } from '../core/encoder.js';
import { WINDOW_COUNTS } from '../core/structs.js';
import { checkAborted } from '../core/errors.js';
import { streamRanges } from '../core/ranges.js';
import { elementCount } from '../file/safetensors.js';
import { mapOrdered } from '../workers/pool.js';
import { roundWithFeedback } from './feedback.js';
import { shifted } from './shifted.js';

/** Bytes of a tensor kept in memory while a step is searched, to read it only once. */
const KEEP_BYTES = 64 << 20;

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('../core/encoder.js').State} State */
/** @typedef {import('./encode.js').Spool} Spool */

export class TensorEncoder {
  /**
   * @param {import('../workers/pool.js').Pool<import('../core/encoder.js').Encoder>} pool
   * @param {import('./encode.js').Input} input @param {import('./encode.js').EncodeOptions} options
   * @param {(phase: 'fit' | 'round' | 'code', weights: number) => void} [report]
   */
  constructor(pool, input, options, report = () => {}) {
    this.pool = pool;
    this.codec = pool.codec;
    this.input = input;
    this.options = options;
    this.report = report;
    this.clamp = Boolean(options.saturate);
    this.size = dtypeBytes(input.dtype);
    this.weights = elementCount(input.shape, input.name);
    this.rawBytes = this.weights * this.size;
    /** @type {Uint8Array | null} */
    this.kept = null;
    /** What the last step did to the weights. */
    this.lost = { saturated: 0, maxError: 0 };
  }

  /**
   * Finds step, model and partition.
   * @param {boolean} lossless
   * @returns {Promise<State | null>} for code(); null if no step reaches the goal
   * @throws {HanselError} HANSEL_ERR_NOT_FINITE, _RANGE with the weight's position, _ABORTED, and
   *   what reading throws
   */
  async plan(lossless) {
    const { codec, input: { dtype, shape, read }, options } = this;
    const isSearched = !lossless && options.step === undefined;
    if (isSearched && this.rawBytes <= KEEP_BYTES) this.kept ??= await read(0, this.rawBytes);
    return this.#untilCode(codec.begin({ ...options, dtype, shape, lossless }));
  }

  /**
   * The tensor rounded to the step with error feedback.
   * @param {import('../core/hessian.js').Factor} factor
   */
  feedBack(factor) {
    const { input, options: { step, signal }, pool } = this;
    return roundWithFeedback(input, Number(step), factor, pool, {
      signal, report: (weights) => this.report('round', weights),
    });
  }

  /**
   * Codes all streams, again with a larger step where that keeps a promised rate.
   * @param {State} planned @param {Spool} spool receives the bytes after the head
   * @returns {Promise<{state: State, head: Uint8Array, crc: number,
   *   lost: {saturated: number, maxError: number}}>} crc: of the spooled bytes
   */
  async code(planned, spool) {
    const { codec, lost } = this;
    const codeOnce = async (/** @type {State} */ { blob }) => {
      const lengths = new Uint32Array(blob.streamCount);
      let crc = 0;
      for await (const { first, end, part } of this.#overStreams(blob, 'encodeRange')) {
        lengths.set(part.lengths, first);
        crc = codec.crc32cCombine(crc, part.crc, part.words.length);
        await spool.write(part.words);
        this.report('code', end);
      }
      return { lengths, crc };
    };
    let coded = await codeOnce(planned);
    let state = /** @type {State} */ (codec.next(planned, { numbers: coded.lengths }));
    while (state.work !== 'done') {
      await spool.clear();
      state = /** @type {State} */ (await this.#untilCode(state));
      coded = await codeOnce(state);
      state = /** @type {State} */ (codec.next(state, { numbers: coded.lengths }));
    }
    const { blob } = state;
    let { crc } = coded;
    const emit = async (/** @type {Uint8Array} */ bytes) => {
      crc = codec.crc32c(bytes, crc);
      await spool.write(bytes);
    };
    if (blob.rawBytes) {
      for await (const { bytes } of this.#slices()) await emit(codec.splitRaw(blob, bytes));
    }
    return { state, head: codec.writeHead(blob, coded.lengths, crc), crc, lost };
  }

  /** Does what is asked for until that is to code. @param {State | null} state */
  async #untilCode(state) {
    while (state && state.work !== 'code') {
      const { work, blob } = state;
      const found = work === 'scan' ? await this.scan() : work === 'window' ? await this.#window()
        : work === 'measure' ? await this.#measure(blob) : await this.#fold(blob);
      state = this.codec.next(state, found);
    }
    return state;
  }

  /** Range and energy of all weights. */
  async scan() {
    const sum = { low: 0, high: 0, sumSquares: 0 };
    for await (const part of this.#overSlices('scan', this.input.dtype)) {
      sum.low = Math.min(sum.low, part.low);
      sum.high = Math.max(sum.high, part.high);
      sum.sumSquares += part.sumSquares;
    }
    return sum;
  }

  async #window() {
    /** @type {Uint32Array | undefined} */
    let numbers;
    for await (const { counts } of this.#overSlices('windowCounts', this.input.dtype)) {
      if (numbers) for (let i = 0; i < counts.length; i++) numbers[i] += counts[i];
      numbers ??= counts;
    }
    return { numbers: numbers ?? new Uint32Array(WINDOW_COUNTS + 1) };
  }

  /** @param {Blob} blob whose step or window is measured */
  async #measure(blob) {
    const sum = { counts: new Float64Array(256), sumError: 0 };
    const { lost } = this;
    lost.saturated = lost.maxError = 0;
    for await (const part of this.#overSlices('measure', blob, this.clamp)) {
      add(sum.counts, part.counts);
      sum.sumError += part.sumError;
      lost.maxError = Math.max(lost.maxError, part.maxError);
      lost.saturated += part.saturated;
    }
    return sum;
  }

  /** @param {Blob} blob whose symbols are counted */
  async #fold(blob) {
    const counts = new Float64Array(256);
    for await (const { end, part } of this.#overStreams(blob, 'foldedCounts')) {
      add(counts, part.counts);
      this.report('fit', end);
    }
    return { counts };
  }

  /** Weights start..end as bytes. @param {number} start @param {number} end */
  async #read(start, end) {
    checkAborted(this.options.signal);
    if (this.kept) return this.kept.subarray(start * this.size, end * this.size);
    return this.input.read(start * this.size, end * this.size);
  }

  async* #slices() {
    for (let at = 0; at < this.weights; at += SLICE) {
      const end = Math.min(at + SLICE, this.weights);
      yield { at, end, bytes: await this.#read(at, end) };
    }
  }

  /**
   * A codec method over all slices, in parallel; results in order.
   * @param {'scan' | 'windowCounts' | 'measure'} method
   * @param {unknown} first argument before the bytes @param {unknown[]} rest those after them
   */
  async* #overSlices(method, first, ...rest) {
    const { pool } = this;
    const results = mapOrdered(this.#slices(), pool.width, async ({ at, end, bytes }) => {
      try {
        return { end, part: await pool.run(method, [first, bytes, ...rest]) };
      } catch (error) {
        throw shifted(error, at);
      }
    });
    for await (const { end, part } of results) {
      this.report('fit', end);
      yield part;
    }
  }

  /** Ranges of streams of about a slice. @param {Blob} blob */
  async* #ranges(blob) {
    if (!blob.streamCount) return;
    for (const { first, last, start, end } of streamRanges(this.codec, blob, SLICE)) {
      yield { first, count: last - first, end, bytes: await this.#read(start, end) };
    }
  }

  /**
   * A codec method over all streams, in parallel; results in order.
   * @param {Blob} blob @param {'encodeRange' | 'foldedCounts'} method
   */
  #overStreams(blob, method) {
    return mapOrdered(this.#ranges(blob), this.pool.width,
      async ({ first, count, end, bytes }) => ({
        first, end, part: await this.pool.run(method, [blob, bytes, first, count, this.clamp]),
      }));
  }
}

/** @param {Float64Array} sums added to @param {Float64Array} counts */
function add(sums, counts) {
  for (let i = 0; i < 256; i++) sums[i] += counts[i];
}
