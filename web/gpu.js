/** hansel/gpu: one interface over WebGPU, WebGL2 and wasm. Browsers and Node. */
export { gpu } from './gpu/choose.js';

/** @typedef {import('./gpu/choose.js').Backend} Backend */
