/** Which token comes next. */
import { HanselError } from '../core/errors.js';

/**
 * @param {{temperature: number, topK: number, seed?: number}} options topK 0: all
 * @returns {(logits: Float32Array) => number} token id
 * @throws {HanselError} HANSEL_ERR_ARGUMENT
 */
export function createSampler({ temperature, topK, seed = Math.floor(Math.random() * 2 ** 32) }) {
  if (!(Number.isFinite(temperature) && temperature >= 0 && Number.isInteger(topK) && topK >= 0
    && Number.isInteger(seed))) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible sampling', {
      expected: 'a temperature from 0, whole topK from 0, a whole seed',
      got: `${temperature}, ${topK}, ${seed}`,
    });
  }
  const random = randomNumbers(seed);
  return (logits) => {
    const order = Array.from(logits, (_, id) => id);
    if (temperature === 0) return order.reduce((best, id) => (logits[id] > logits[best] ? id : best));
    if (topK) order.sort((a, b) => logits[b] - logits[a]);
    const ids = order.slice(0, topK || order.length);
    const most = ids.reduce((best, id) => Math.max(best, logits[id]), -Infinity);
    const weights = ids.map((id) => Math.exp((logits[id] - most) / temperature));
    let left = random() * weights.reduce((a, b) => a + b);
    return ids.find((_, i) => (left -= weights[i]) < 0) ?? ids[0];
  };
}

/** From 0 to 1, repeatable: mulberry32. @param {number} seed @returns {() => number} */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = state + 0x6d2b79f5 >>> 0;
    let t = Math.imul(state ^ state >>> 15, 1 | state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}
