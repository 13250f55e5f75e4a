/** Makes a WebGL2 context. */
import { HanselError } from '../core/errors.js';

/**
 * @param {HTMLCanvasElement | OffscreenCanvas} [canvas] to make it on; otherwise one of our own
 * @returns {WebGL2RenderingContext}
 * @throws {HanselError} HANSEL_ERR_ADAPTER where there is no WebGL2
 */
export function createContext(canvas) {
  const settings = { alpha: false, antialias: false, depth: false, stencil: false };
  const ways = canvas ? [() => canvas] : [
    () => new OffscreenCanvas(1, 1), // throws where there is none
    () => document.createElement('canvas'), // or it may know 2-D only
  ];
  /** @type {unknown} */
  let cause;
  for (const way of ways) {
    try {
      const gl = way().getContext('webgl2', settings);
      if (gl) return /** @type {WebGL2RenderingContext} */ (gl);
    } catch (error) {
      cause = error;
    }
  }
  throw new HanselError('HANSEL_ERR_ADAPTER', 'no WebGL2 here', {
    expected: 'WebGL2', got: 'none', cause,
  });
}
