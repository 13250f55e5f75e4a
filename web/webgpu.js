/** hansel/webgpu: coded weights on WebGPU. */
export { Matrix, Matrix as WebGpuMatrix } from './gpu/matrix.js';
export { joinWgsl } from './gpu/shaders.js';
export { WebGpu, webgpu } from './gpu/webgpu_device.js';
