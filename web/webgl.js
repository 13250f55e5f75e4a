/** hansel/webgl: coded weights on WebGL2. */
export { WebGl, WebGlMatrix, webgl } from './gpu/webgl_device.js';
