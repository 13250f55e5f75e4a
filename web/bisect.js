/**
 * The most that fits.
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
