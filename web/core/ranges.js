/** Streams of a coded tensor, some at a time. */

/** @typedef {import('./codec.js').Blob} Blob */

/**
 * The most that fits, by bisection.
 * @param {number} low fits @param {number} high the most there is
 * @param {(n: number) => boolean} fits true up to some number, false beyond it
 */
export function mostFitting(low, high, fits) {
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * Ranges of whole streams, as large as `most` allows but one stream at least. Of a tensor without
 * streams, all equal or empty, ranges of weights.
 * @param {import('./codec.js').Codec} codec @param {Blob} blob
 * @param {number} most weights of a range
 * @param {{cursors?: Uint32Array, from?: number, to?: number}} [options] cursors, as
 *   Codec.readCursors(): then also the most bytes of words; from, to: the weights that are wanted
 * @returns {Generator<{first: number, last: number, start: number, end: number}>} streams first up to
 *   but not last, which hold weights start up to but not end
 */
export function* streamRanges(codec, blob, most, { cursors, from = 0, to = blob.weights } = {}) {
  const { streamCount } = blob;
  const startOf = (/** @type {number} */ stream) => codec.streamStart(blob, stream);
  let first = mostFitting(0, Math.max(streamCount - 1, 0), (stream) => startOf(stream) <= from);
  let start = streamCount ? startOf(first) : from;
  let count = 1; // of streams in a range, most likely
  while (from < to && start < to) {
    const fits = (/** @type {number} */ stream) => (
      startOf(stream) - start <= most && startOf(stream - 1) < to
      && !(cursors && 2 * (cursors[stream] - cursors[first]) > most));
    const likely = first + count;
    const last = streamCount && (likely < streamCount && fits(likely) && !fits(likely + 1) ? likely
      : mostFitting(first + 1, streamCount, fits));
    count = last - first;
    const end = streamCount ? startOf(last) : Math.min(start + most, to);
    yield { first, last, start, end };
    first = last;
    start = end;
  }
}
