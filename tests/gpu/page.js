/**
 * Helpers of GPU tests, in a page and (the WebGPU ones) on Dawn for Node. A missing adapter,
 * feature or context throws: a GPU test that cannot run has failed.
 */

const SCOPES = /** @type {const} */ (['validation', 'out-of-memory', 'internal']);

/**
 * Dawn toggles to disable. SwiftShader compiles the Vulkan extension's zeroing of workgroup memory
 * into one store per word, two seconds for 16 KiB; without it Dawn writes a loop.
 */
export const SLOW_TOGGLES = 'use_vulkan_zero_initialize_workgroup_memory_extension';

/**
 * A WebGPU device inside three error scopes.
 *
 * @param {object} [options]
 * @param {GPU} [options.gpu] default: the page's
 * @param {boolean} [options.forceMinimums] true: the default limits and no feature, so that code
 *   which needs more fails; false: all the adapter has
 * @param {GPUFeatureName[]} [options.features] required besides
 * @returns {Promise<{
 *   adapter: GPUAdapter,
 *   device: GPUDevice,
 *   finish: () => Promise<void>,
 * }>} finish throws on any error since, or when the device was lost other than by destroy(), and
 *   destroys the device. Always call it; withTestDevice does.
 */
export async function requestTestDevice(options = {}) {
  const { gpu = globalThis.navigator?.gpu, forceMinimums = false, features = [] } = options;
  if (!gpu) throw new Error('no WebGPU here');
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('no WebGPU adapter');
  /** @type {Record<string, number>} */
  const limits = {};
  const all = new Set(features);
  if (!forceMinimums) {
    for (const name in adapter.limits) {
      const value = adapter.limits[/** @type {keyof GPUSupportedLimits} */ (name)];
      if (typeof value === 'number') limits[name] = value;
    }
    for (const name of adapter.features) {
      if (!/experimental|internal/.test(name)) all.add(/** @type {GPUFeatureName} */ (name));
    }
  }
  const device = await adapter.requestDevice({
    label: 'test', requiredLimits: limits, requiredFeatures: [...all],
  });

  /** @type {string[]} */
  const problems = [];
  /** @type {GPUDeviceLostInfo | null} */
  let lost = null;
  device.lost.then((info) => { lost = info; });
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault();
    problems.push(`uncaptured: ${/** @type {GPUUncapturedErrorEvent} */ (event).error.message}`);
  });
  for (const scope of SCOPES) device.pushErrorScope(scope);

  async function finish() {
    for (const scope of SCOPES.slice().reverse()) {
      const error = await device.popErrorScope().catch(() => null);
      if (error) problems.push(`${scope}: ${error.message}`);
    }
    const info = /** @type {GPUDeviceLostInfo | null} */ (lost);
    if (info && info.reason !== 'destroyed') problems.push(`device lost: ${info.message}`);
    device.destroy();
    await device.lost;
    if (problems.length > 0) throw new Error(problems.join('\n'));
  }
  return { adapter, device, finish };
}

/**
 * Run a function with a device of requestTestDevice, and finish it whatever happens.
 * @template R
 * @param {Parameters<typeof requestTestDevice>[0]} options
 * @param {(device: GPUDevice, adapter: GPUAdapter) => R | Promise<R>} fn
 * @returns {Promise<R>}
 */
export async function withTestDevice(options, fn) {
  const { adapter, device, finish } = await requestTestDevice(options);
  let result;
  try {
    result = await fn(device, adapter);
  } catch (error) {
    // A validation error is the likelier cause than the exception it led to: say both.
    const more = await finish().then(() => '', (e) => `\n${e.message}`);
    throw new Error(`${/** @type {Error} */ (error).stack ?? error}${more}`, { cause: error });
  }
  await finish();
  return result;
}

/**
 * Copy a buffer's bytes out.
 * @param {GPUDevice} device
 * @param {GPUBuffer} buffer with COPY_SRC
 * @param {number} [start] multiple of 4
 * @param {number} [size] multiple of 4
 * @returns {Promise<Uint8Array>} owned by the caller
 */
export async function readBuffer(device, buffer, start = 0, size = buffer.size - start) {
  const staging = device.createBuffer({
    label: 'readBuffer', size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  try {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, start, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    return new Uint8Array(staging.getMappedRange().slice(0));
  } finally {
    staging.destroy();
  }
}

/**
 * Run one compute shader once, with storage buffers at group 0, bindings 0, 1, ...
 * @param {GPUDevice} device
 * @param {object} job
 * @param {string} job.code
 * @param {(Uint8Array | number)[]} job.buffers contents, or sizes of zeroed ones; multiples of 4
 * @param {Record<string, number>} [job.constants] values of override constants
 * @param {number[]} [job.groups] workgroups per dimension
 * @returns {Promise<Uint8Array>} what buffer 0 holds afterwards
 */
export async function runCompute(device, { code, buffers, constants = {}, groups = [1] }) {
  const module = device.createShaderModule({ code });
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto', compute: { module, constants },
  });
  const list = buffers.map((contents) => {
    const size = typeof contents === 'number' ? contents : contents.length;
    const buffer = device.createBuffer({
      size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    if (typeof contents !== 'number') {
      device.queue.writeBuffer(buffer, 0, /** @type {BufferSource} */ (contents));
    }
    return buffer;
  });
  try {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: list.map((buffer, binding) => ({ binding, resource: { buffer } })),
    }));
    pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
    pass.end();
    device.queue.submit([encoder.finish()]);
    return await readBuffer(device, list[0]);
  } finally {
    for (const buffer of list) buffer.destroy();
  }
}

/**
 * What an adapter offers, for logs.
 * @param {GPU} gpu
 * @param {GPUAdapter} adapter
 */
export function describeGpu(gpu, adapter) {
  const { vendor, architecture, device, description } = adapter.info;
  const { limits } = adapter;
  return {
    vendor, architecture, device, description,
    features: [...adapter.features].sort(),
    wgsl: [...gpu.wgslLanguageFeatures].sort(),
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxBufferSize: limits.maxBufferSize,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    minStorageBufferOffsetAlignment: limits.minStorageBufferOffsetAlignment,
  };
}

/** What WebGL2 guarantees, by parameter name. */
const GL_MINIMUMS = {
  MAX_TEXTURE_SIZE: 2048,
  MAX_RENDERBUFFER_SIZE: 2048,
  MAX_3D_TEXTURE_SIZE: 256,
  MAX_ARRAY_TEXTURE_LAYERS: 256,
  MAX_DRAW_BUFFERS: 4,
  MAX_COLOR_ATTACHMENTS: 4,
  MAX_TEXTURE_IMAGE_UNITS: 16,
  MAX_FRAGMENT_UNIFORM_VECTORS: 224,
  MAX_UNIFORM_BLOCK_SIZE: 16384,
};

/**
 * A WebGL2 context of its own, on a canvas of 1x1.
 *
 * @param {object} [options]
 * @param {boolean} [options.forceMinimums] report and enforce the guaranteed 4 attachments and
 *   2048 pixels, and offer no extension but WEBGL_lose_context
 * @param {boolean} [options.check] ask for an error after every call, and throw (default true)
 * @param {WebGLContextAttributes} [options.attributes]
 * @returns {{
 *   gl: WebGL2RenderingContext,
 *   canvas: OffscreenCanvas,
 *   finish: () => void,
 * }} finish throws on a pending error or a lost context, and frees the context: browsers keep
 *   16 and then drop the oldest. Always call it; withTestGl does.
 */
export function createTestGl({ forceMinimums = false, check = true, attributes = {} } = {}) {
  const canvas = new OffscreenCanvas(1, 1);
  const gl = canvas.getContext('webgl2', {
    antialias: false, depth: false, stencil: false, ...attributes,
  });
  if (!gl) throw new Error('no WebGL2 context');
  if (forceMinimums) limitGl(gl);
  const getError = gl.getError.bind(gl);
  if (check) checkGl(gl);
  let expectLoss = false;
  canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
  const extension = gl.getExtension('WEBGL_lose_context');
  if (extension) {
    const { loseContext } = extension;
    extension.loseContext = () => { expectLoss = true; loseContext.call(extension); };
  }
  function finish() {
    const lost = gl?.isContextLost() && !expectLoss;
    const error = expectLoss ? 0 : getError();
    if (!gl?.isContextLost()) extension?.loseContext();
    if (lost) throw new Error('the WebGL2 context was lost');
    if (error) throw new Error(`WebGL2 error 0x${error.toString(16)}`);
  }
  return { gl, canvas, finish };
}

/**
 * Run a function with a context of createTestGl, and finish it whatever happens.
 * @template R
 * @param {Parameters<typeof createTestGl>[0]} options
 * @param {(gl: WebGL2RenderingContext, canvas: OffscreenCanvas) => R | Promise<R>} fn
 * @returns {Promise<R>}
 */
export async function withTestGl(options, fn) {
  const { gl, canvas, finish } = createTestGl(options);
  let result;
  try {
    result = await fn(gl, canvas);
  } catch (error) {
    try { finish(); } catch { /* the first error says more */ }
    throw error;
  }
  finish();
  return result;
}

/** @param {any} gl reports and enforces the minimums from now on */
function limitGl(gl) {
  const { getParameter, getExtension, texStorage2D, texImage2D, drawBuffers } = gl;
  /** @type {Map<number, unknown>} */
  const limits = new Map(Object.entries(GL_MINIMUMS).map(([name, value]) => [gl[name], value]));
  const { MAX_TEXTURE_SIZE: side, MAX_DRAW_BUFFERS: count } = GL_MINIMUMS;
  gl.getParameter = (/** @type {number} */ name) =>
    limits.get(name) ?? getParameter.call(gl, name);
  gl.getExtension = (/** @type {string} */ name) =>
    name === 'WEBGL_lose_context' ? getExtension.call(gl, name) : null;
  gl.getSupportedExtensions = () => ['WEBGL_lose_context'];
  gl.texStorage2D = (/** @type {number[]} */ ...args) => {
    if (args[3] > side || args[4] > side) throw new Error(`a texture of ${args[3]}x${args[4]}`);
    texStorage2D.apply(gl, args);
  };
  gl.texImage2D = (/** @type {any[]} */ ...args) => {
    if (args.length > 6 && (args[3] > side || args[4] > side)) {
      throw new Error(`a texture of ${args[3]}x${args[4]}`);
    }
    texImage2D.apply(gl, args);
  };
  gl.drawBuffers = (/** @type {number[]} */ list) => {
    if (list.length > count) throw new Error(`${list.length} draw buffers`);
    drawBuffers.call(gl, list);
  };
}

/** @param {any} gl throws from now on where a call leaves an error */
function checkGl(gl) {
  const getError = gl.getError.bind(gl);
  for (const name in gl) {
    if (typeof gl[name] !== 'function' || name === 'getError') continue;
    const call = gl[name].bind(gl);
    gl[name] = (/** @type {any[]} */ ...args) => {
      const result = call(...args);
      const error = getError();
      if (error && error !== gl.CONTEXT_LOST_WEBGL) {
        throw new Error(`gl.${name}: error 0x${error.toString(16)}`);
      }
      return result;
    };
  }
}

/**
 * Compile and link, or throw the log.
 * @param {WebGL2RenderingContext} gl
 * @param {string} vertex
 * @param {string} fragment
 * @returns {WebGLProgram}
 */
export function linkProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, text] of /** @type {const} */ ([
    [gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment],
  ])) {
    const shader = gl.createShader(kind);
    if (!shader) throw new Error('no shader');
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) {
      throw new Error(gl.getShaderInfoLog(shader) ?? 'not compiled');
    }
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error(gl.getProgramInfoLog(program) ?? 'not linked');
  }
  return program;
}

/**
 * What a context offers, for logs.
 * @param {WebGL2RenderingContext} gl
 */
export function describeGl(gl) {
  const info = gl.getExtension('WEBGL_debug_renderer_info');
  return {
    renderer: gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER),
    MAX_DRAW_BUFFERS: gl.getParameter(gl.MAX_DRAW_BUFFERS),
    MAX_COLOR_ATTACHMENTS: gl.getParameter(gl.MAX_COLOR_ATTACHMENTS),
    MAX_TEXTURE_SIZE: gl.getParameter(gl.MAX_TEXTURE_SIZE),
    EXT_disjoint_timer_query: gl.getExtension('EXT_disjoint_timer_query_webgl2') !== null,
    extensions: gl.getSupportedExtensions(),
  };
}

/**
 * Send bytes to the test, which gets them with page.take(name).
 * @param {string} name
 * @param {Uint8Array} bytes
 */
export async function send(name, bytes) {
  // A Blob: Chromium uploads an ArrayBuffer twenty times slower.
  const response = await fetch(`/__mem/${encodeURIComponent(name)}`, {
    method: 'PUT', body: new Blob([/** @type {BlobPart} */ (bytes)]),
  });
  if (!response.ok) throw new Error(`PUT ${name}: status ${response.status}`);
}

/**
 * @param {string} url such as page.put() returned
 * @returns {Promise<Uint8Array>}
 */
export async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`GET ${url}: status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * SHA-256 in hexadecimal, to compare buffers without moving them.
 * @param {Uint8Array} bytes
 */
export async function digest(bytes) {
  const hash = await crypto.subtle.digest('SHA-256', /** @type {BufferSource} */ (bytes));
  return Array.from(new Uint8Array(hash), (b) => b.toString(16).padStart(2, '0')).join('');
}
