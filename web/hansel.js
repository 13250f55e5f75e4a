/**
 * hansel: entropy-coded neural-network weights. open() reads, encode() writes;
 * hansel/webgpu and hansel/webgl decode on the GPU. Browsers and Node.
 */
export { open, Model } from './model/model.js';
/** @typedef {import('./core/dtypes.js').Dtype} Dtype */
export { assets } from './core/assets.js';
export { HanselError } from './core/errors.js';

/** As in web/encode/encode.js, which a page that only reads need not fetch.
 * @type {typeof import('./encode/encode.js').encode} */
export const encode = async (tensors, options) => (
  await import('./encode/encode.js')).encode(tensors, options);

/** As in web/encode/estimate.js. @type {typeof import('./encode/estimate.js').estimate} */
export const estimate = async (model, options) => (
  await import('./encode/estimate.js')).estimate(model, options);
