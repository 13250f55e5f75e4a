/** hansel/webgpu: coded weights on WebGPU. */
export { WebGpu, WebGpuMatrix, webgpu } from './gpu/webgpu_device.js';
