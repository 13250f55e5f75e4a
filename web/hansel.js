/**
 * hansel: entropy-coded neural-network weights. open() reads, encode() writes;
 * hansel/webgpu and hansel/webgl decode on the GPU. Browsers and Node.
 */
export { open, Model } from './model.js';
export { encode } from './encode.js';
export { estimate } from './estimate.js';
export { HanselError } from './errors.js';
