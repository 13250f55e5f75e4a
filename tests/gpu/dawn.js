/**
 * WebGPU in Node: the npm package `webgpu` (Dawn) on Chromium's SwiftShader, or on whatever Vulkan
 * driver VK_DRIVER_FILES or VK_ICD_FILENAMES names.
 */
import { existsSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { SLOW_TOGGLES, requestTestDevice, withTestDevice } from './page.js';

const CHROMIUM = '/usr/lib/chromium';
const RTLD_NODELETE = 0x1000;

/** Environment and Vulkan loader, both of which must be there before Dawn opens Vulkan. */
function prepareVulkan() {
  const { env } = process;
  if (!env.VK_DRIVER_FILES && !env.VK_ICD_FILENAMES) {
    env.VK_ICD_FILENAMES = `${CHROMIUM}/vk_swiftshader_icd.json`;
  }
  env.XDG_RUNTIME_DIR ??= tmpdir();
  // Dawn asks for libvulkan.so.1 by name. Chromium brings one outside the search path: once it is
  // in the process, the name finds it. Node takes it for an addon and complains, after loading it.
  const loader = `${CHROMIUM}/libvulkan.so.1`;
  if (process.platform !== 'linux' || !existsSync(loader)) return;
  try {
    process.dlopen({ exports: {} }, 'libvulkan.so.1', constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch (error) {
    if (/self-register/.test(String(error))) return;
    try {
      process.dlopen({ exports: {} }, loader, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
    } catch (second) {
      if (!/self-register/.test(String(second))) throw second;
    }
  }
}

/**
 * Open Dawn, and put WebGPU's constants and classes (GPUBufferUsage, ...) on globalThis.
 *
 * @param {{options?: string[]}} [settings] options of Dawn's create(), for instance
 *   'enable-dawn-features=allow_unsafe_apis'
 * @returns {Promise<{
 *   gpu: GPU,
 *   adapter: GPUAdapter,
 *   device: (options?: DeviceOptions) => ReturnType<typeof requestTestDevice>,
 *   withDevice: <R>(options: DeviceOptions,
 *     fn: (device: GPUDevice, adapter: GPUAdapter) => R | Promise<R>) => Promise<R>,
 * }>} as requestTestDevice and withTestDevice. The process ends by itself once no device is alive
 *   and nothing refers to gpu.
 */
export async function openDawn({ options = [] } = {}) {
  prepareVulkan();
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([`disable-dawn-features=${SLOW_TOGGLES}`, ...options]);
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('no WebGPU adapter: is there a Vulkan driver?');
  return {
    gpu,
    adapter,
    device: (settings) => requestTestDevice({ ...settings, gpu }),
    withDevice: (settings, fn) => withTestDevice({ ...settings, gpu }, fn),
  };
}

/**
 * As webgpu({ limits: { bindingBytes } }), on a back end that has compiled its shaders, which is
 * most of what a test on SwiftShader waits for.
 * @template R @param {any} gpu a back end @param {number} bytes @param {() => Promise<R>} body
 */
export async function withBindings(gpu, bytes, body) {
  Object.defineProperty(gpu, 'bindingBytes', { value: bytes, configurable: true });
  try {
    return await body();
  } finally {
    delete gpu.bindingBytes; // the class has it
  }
}

/** @typedef {Parameters<typeof requestTestDevice>[0]} DeviceOptions */
