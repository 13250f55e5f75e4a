/**
 * What both GPU back ends share: how a coded tensor is cut into parts that a
 * GPU's limits allow, and how its bytes get there as they arrive.
 */
import { DTYPES } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { mostFitting } from '../core/ranges.js';
import { rowQuads } from '../core/vectors.js';

/** @typedef {import('../core/codec.js').Blob} Blob */
/**
 * @typedef {object} Part a range of streams
 * @property {number} first stream @property {number} count
 * @property {number} startStep of the tensor's steps (four columns each), the first of the part
 * @property {number} steps
 * @property {number} startWeight @property {number} weights
 * @property {number} wordsFrom byte of the payload, a multiple of 4, where its words begin
 * @property {number} wordsTo where they end, a multiple of 4
 * @property {number} rawFrom likewise for its raw plane; equal to rawTo without one
 * @property {number} rawTo
 */
/**
 * @typedef {object} PartLimits
 * @property {number} bytes of words, of symbols, of raw plane or of cursors, each
 * @property {number} [symbolBytes] of symbols, where they may have more
 * @property {number} streams
 * @property {number} [align] what bytes of words and raw plane begin and end at multiples of; 4
 */

/** Symbols of a row: FORMAT.md 4.5. @param {Blob} blob */
export const symbolColumns = ({ columns, weightsPerSymbol }) => (
  Math.floor(columns / (4 * weightsPerSymbol)) * 4 + Math.min(columns % (4 * weightsPerSymbol), 4));

/**
 * First step of a stream: FORMAT.md section 3.1.
 * @param {Blob} blob @param {number} stream up to and including streamCount
 */
export function streamStep({ rows, columns, pieces, rowsPerStream, weightsPerSymbol }, stream) {
  const steps = rowQuads(columns);
  if (pieces <= 1) return Math.min(stream * rowsPerStream, rows) * steps;
  const piece = stream % pieces;
  const symbolSteps = Math.ceil(steps / weightsPerSymbol);
  return Math.floor(stream / pieces) * steps + weightsPerSymbol * (piece * Math.floor(symbolSteps / pieces)
    + Math.min(piece, symbolSteps % pieces));
}

/** First weight of a step. @param {Blob} blob @param {number} step */
function stepWeight({ columns }, step) {
  const steps = rowQuads(columns);
  return steps ? Math.floor(step / steps) * columns + step % steps * 4 : 0;
}

/**
 * Cuts a tensor into as few parts as the limits allow, at the ends of rows where it can.
 * @param {Blob} blob @param {Uint32Array} cursors of all streams, in words @param {PartLimits} limits
 * @returns {Part[]} at least one, also for a tensor without streams
 * @throws {HanselError} HANSEL_ERR_LIMIT when a single stream is too large
 */
export function cutParts(blob, cursors, limits) {
  const { streamCount, rawStart, rawBytes, pieces } = blob;
  const { align = 4 } = limits;
  const down = (/** @type {number} */ n) => n - n % align;
  const up = (/** @type {number} */ n) => down(n + align - 1);
  /** @param {number} first @param {number} last @returns {Part} */
  const make = (first, last) => {
    const all = streamCount === 0;
    const startStep = all ? 0 : streamStep(blob, first);
    const endStep = all ? blob.rows * rowQuads(blob.columns) : streamStep(blob, last);
    const startWeight = stepWeight(blob, startStep);
    const endWeight = last === streamCount ? blob.weights : stepWeight(blob, endStep);
    return {
      first, count: last - first, startStep, steps: endStep - startStep, startWeight,
      weights: endWeight - startWeight,
      wordsFrom: down(2 * cursors[first]), wordsTo: up(2 * cursors[last]),
      rawFrom: down(rawStart + startWeight * rawBytes),
      rawTo: up(rawStart + endWeight * rawBytes),
    };
  };
  // One without streams gets some for its products, a stream to a row.
  const streams = (/** @type {Part} */ part) => (streamCount ? part.count : blob.rows);
  const symbolRoom = (limits.symbolBytes ?? limits.bytes) / limits.bytes;
  const needs = (/** @type {Part} */ part) => Math.max(part.wordsTo - part.wordsFrom,
    4 * part.steps / symbolRoom, part.rawTo - part.rawFrom, 4 * (streams(part) + 1));
  const fits = (/** @type {Part} */ part) => needs(part) <= limits.bytes
    && streams(part) <= limits.streams;
  if (streamCount === 0 && fits(make(0, 0))) return [make(0, 0)];
  const unit = pieces > 1 && fits(make(0, Math.min(pieces, streamCount))) ? pieces : 1;
  const parts = [];
  for (let first = 0; first < streamCount;) {
    const end = (/** @type {number} */ units) => Math.min(first + units * unit, streamCount);
    const units = mostFitting(0, Math.ceil((streamCount - first) / unit),
      (count) => fits(make(first, end(count))));
    if (units === 0) break;
    parts.push(make(first, end(units)));
    first = end(units);
  }
  const covered = parts.reduce((sum, { count }) => sum + count, 0);
  if (covered < streamCount || streamCount === 0) {
    throw new HanselError('HANSEL_ERR_LIMIT', 'a stream is larger than the GPU allows', {
      expected: `at most ${limits.bytes} bytes`,
      got: `${needs(make(covered, Math.min(covered + 1, streamCount)))} bytes`,
    });
  }
  return parts;
}

/**
 * Hands a payload's bytes, as they arrive, to what wants ranges of them. A byte
 * may be wanted twice: neighbouring parts can share a unit.
 */
export class RangeWriter {
  /**
   * @param {{from: number, to: number, write: (offset: number, bytes: Uint8Array) => void}[]}
   *   ranges multiples of the unit; write gets offsets from the range's start and lengths that are
   *   multiples of it, in order; bytes are valid during the call
   * @param {number} [unit]
   */
  constructor(ranges, unit = 4) {
    this.unit = unit;
    this.ranges = ranges.map((range) => ({
      ...range, carry: new Uint8Array(unit), carried: 0, next: range.from,
    }));
    this.at = 0;
  }

  /** @param {Uint8Array} chunk the payload's next bytes */
  push(chunk) {
    const end = this.at + chunk.length;
    for (const range of this.ranges) {
      const from = Math.max(range.next + range.carried, this.at);
      if (from >= Math.min(range.to, end)) continue;
      let part = chunk.subarray(from - this.at, Math.min(range.to, end) - this.at);
      if (range.carried) {
        const fill = Math.min(this.unit - range.carried, part.length);
        range.carry.set(part.subarray(0, fill), range.carried);
        range.carried += fill;
        part = part.subarray(fill);
        if (range.carried < this.unit) continue;
        this.#write(range, range.carry);
        range.carried = 0;
      }
      const whole = part.length - part.length % this.unit;
      if (whole) this.#write(range, part.subarray(0, whole));
      range.carry.set(part.subarray(whole));
      range.carried = part.length - whole;
    }
    this.at = end;
  }

  /** @param {any} range @param {Uint8Array} bytes */
  #write(range, bytes) {
    range.write(range.next - range.from, bytes);
    range.next += bytes.length;
  }
}

/**
 * Elements without the padding of rows.
 * @param {Uint8Array} padded whole steps of four elements, from firstStep of out's rows on
 * @param {number} firstStep @param {number} columns @param {number} size bytes of an element
 * @param {Uint8Array} out whole rows; receives them where they belong
 */
export function unpad(padded, firstStep, columns, size, out) {
  const steps = rowQuads(columns);
  const end = firstStep + padded.length / (4 * size);
  for (let step = firstStep; step < end;) {
    const row = Math.floor(step / steps);
    const next = columns % 4 ? Math.min((row + 1) * steps, end) : end; // no padding: all at once
    const column = 4 * (step - row * steps);
    const count = Math.min(4 * (next - step), columns % 4 ? columns - column : Infinity);
    const from = 4 * size * (step - firstStep);
    out.set(padded.subarray(from, from + count * size), (row * columns + column) * size);
    step = next;
  }
}

/** struct Lossless of the shaders. @param {Blob} blob @returns {Record<string, number>} */
export const losslessOf = ({ dtype, windowBase, rawBits, sign }) => ({
  dtype: DTYPES[/** @type {'F32'} */ (dtype)], window_base: windowBase, raw_bits: rawBits, sign,
});

/** The same as uniforms of GLSL. @param {Blob} blob @returns {Record<string, number>} */
export const losslessUniforms = (blob) => Object.fromEntries(
  Object.entries(losslessOf(blob)).map(([name, value]) => [`lossless.${name}`, value]));

/** Largest finite number. @type {Record<string, number>} */
export const LARGEST = { F32: 3.4028234663852886e38, F16: 65504, BF16: 3.3895313892515355e38 };

/** Steps that are made at a time, a multiple of 4. */
const SLICE_STEPS = 1 << 20;

/**
 * The decoded rows of a tensor without streams, padded to whole steps, in slices: such a tensor may
 * say that it is very large.
 * @param {Blob} blob @param {number} steps
 * @returns {Generator<{first: number, bytes: Uint8Array<ArrayBuffer>}>} first: step; bytes: of
 *   whole texels, zeros after the last step; valid until the next
 */
export function* allEqual({ origin, columns }, steps) {
  const room = 16 * Math.ceil(steps / 4);
  const slice = new Uint8Array(Math.min(room, 4 * SLICE_STEPS));
  const pitch = 4 * rowQuads(columns);
  for (let first = 0; first < steps; first += SLICE_STEPS) {
    const bytes = slice.subarray(0, room - 4 * first).fill(origin).fill(0, 4 * (steps - first));
    let end = columns - 4 * first % pitch; // of a row, in this slice
    for (; pitch !== columns && end < bytes.length; end += pitch) {
      bytes.fill(0, end, end + pitch - columns);
    }
    yield { first, bytes };
  }
}

/** @param {Blob} blob @param {string} where @throws {HanselError} HANSEL_ERR_LIMIT */
export function checkCountable({ weights, rows }, where) {
  if (weights + 4 * rows < 2 ** 32) return;
  throw new HanselError('HANSEL_ERR_LIMIT', 'shaders count weights in 32 bits', {
    expected: 'fewer than 2^32', got: weights, where,
  });
}

/** @param {number} stream at fault @param {string} where */
export const corrupt = (stream, where) => new HanselError('HANSEL_ERR_CORRUPT',
  'a stream does not end as it must', {
    expected: 'an exact end', got: `none, in stream ${stream}`, where,
  });
