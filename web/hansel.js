/**
 * hansel: entropy-coded neural-network weights. open() reads, encode() writes;
 * hansel/webgpu and hansel/webgl decode on the GPU. Browsers and Node.
 */
export { open, Model } from './model.js';
export { HanselError } from './errors.js';

/** As in web/encode.js, which a page that only reads need not fetch.
 * @type {typeof import('./encode.js').encode} */
export const encode = async (tensors, options) => (
  await import('./encode.js')).encode(tensors, options);

/** As in web/estimate.js. @type {typeof import('./estimate.js').estimate} */
export const estimate = async (model, options) => (
  await import('./estimate.js')).estimate(model, options);
