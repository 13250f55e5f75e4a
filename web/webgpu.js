/** hansel/webgpu: coded weights on WebGPU. */
export { joinWgsl } from './gpu/shaders.js';
export { WebGpu, WebGpuMatrix, webgpu } from './gpu/webgpu_device.js';
