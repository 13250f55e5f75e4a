/** hansel/webgl: coded weights on WebGL2. */
export { joinGlsl } from './gpu/shaders.js';
export { WebGl, WebGlMatrix, webgl } from './gpu/webgl_device.js';
