/** hansel/webgl: coded weights on WebGL2. */
export { Matrix, Matrix as WebGlMatrix } from './gpu/matrix.js';
export { joinGlsl } from './gpu/shaders.js';
export { WebGl, webgl } from './gpu/webgl_device.js';
