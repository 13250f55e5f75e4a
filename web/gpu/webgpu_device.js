/** WebGPU: the device, its buffers and pipelines, its errors. */
import { HanselError } from '../core/errors.js';
import { refuse } from '../core/options.js';
import { loadMatrix } from './load.js';
import { ROW_ALIGN } from './plain_rows.js';
import { PROOF, checkProof } from './proof.js';
import { isFallback } from './renderer.js';
import { joinWgsl, namesOf, wgslFiles } from './shaders.js';
import { WebGpuCoded } from './webgpu_coded.js';
import { WebGpuPlain } from './webgpu_plain.js';
import { WebGpuStreams } from './webgpu_streams.js';
import { GROUP_COLUMNS, GROUP_SIZE } from './webgpu_products.js';

/**
 * @typedef {object} WebGpuOptions
 * @property {GPUDevice} [device] yours; otherwise one is requested, and again after a loss
 * @property {GPU} [gpu] navigator.gpu by default; the npm package webgpu in Node
 * @property {{bindingBytes?: number}} [limits] smaller ones than the device's
 */

/** So long after the first failure the loss of a device may be told. */
const LOSS_MS = 400;

/**
 * Opens WebGPU.
 * @param {WebGpuOptions} [options]
 * @returns {Promise<WebGpu>}
 * @throws {HanselError} HANSEL_ERR_ADAPTER when there is none that can be read
 * @example
 * const gpu = await webgpu();
 * const w = await gpu.load(model, 'w');
 * const symbols = await w.symbols();
 */
export async function webgpu(options = {}) {
  const { device, gpu, limits, ...rest } = options;
  await refuse(rest, 'webgpu');
  const self = new WebGpu(options);
  await self.ready();
  return self;
}

/** One WebGPU device. Make one with webgpu(). */
export class WebGpu {
  kind = /** @type {const} */ ('webgpu');
  /** @type {GPUDevice} */
  // @ts-expect-error set by ready()
  device;
  /** @type {GPUAdapterInfo | null} */
  info = null;
  /** Buffers that live. @type {Set<GPUBuffer>} */
  buffers = new Set();
  /** Counts devices: what was made on an earlier one is gone. */
  epoch = 0;
  /** Bytes that rows of plain matrices are padded to. */
  rowAlign = ROW_ALIGN;
  /** @type {Map<string, Promise<GPUComputePipeline>>} */
  #pipelines = new Map();
  /** @type {Promise<never> | null} */
  #lost = null;
  #isLost = false;
  /** That there is a device, which can be trusted. @type {Promise<void> | null} */
  #opening = null;
  /** Whether WGSL has dot4I8Packed. */
  hasPackedDot = false;
  /** It can code weights for its memory. */
  recodes = true;
  /** Whether a CPU pretends to be the GPU. */
  isSoftware = false;
  #options;

  /** @param {WebGpuOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Sees to it that there is a device. */
  ready() {
    if (!this.#opening) {
      const opening = this.#open();
      this.#opening = opening;
      opening.catch(() => { if (this.#opening === opening) this.#opening = null; });
    }
    return this.#opening;
  }

  async #open() {
    const { device, gpu = globalThis.navigator?.gpu } = this.#options;
    if (this.#isLost && device) throw this.#lossError('make another one and pass it to webgpu()');
    this.device = device ?? await this.#request(gpu);
    this.info = this.device.adapterInfo ?? null;
    this.isSoftware = isFallback(this.info);
    this.hasPackedDot = Boolean((gpu ?? globalThis.navigator?.gpu)?.wgslLanguageFeatures
      ?.has('packed_4x8_integer_dot_product'));
    this.#isLost = false;
    this.epoch++;
    this.#pipelines.clear();
    this.buffers.clear();
    const current = this.device;
    this.#lost = current.lost.then((info) => {
      if (this.device === current) {
        this.#isLost = true;
        this.#opening = null;
      }
      throw this.#lossError(info.message || info.reason);
    });
    this.#lost.catch(() => {}); // told to whoever waits
    try {
      checkProof(await this.guard(() => this.#readProof()), 'WebGPU');
    } catch (error) {
      if (!device) this.device.destroy();
      throw error;
    }
  }

  async #readProof() {
    const buffer = this.filled(PROOF, GPUBufferUsage.COPY_SRC, 'proof');
    try {
      return new Uint32Array((await this.read(buffer, 0, PROOF.byteLength)).buffer);
    } finally {
      this.free(buffer);
    }
  }

  /** @param {GPU | undefined} gpu @returns {Promise<GPUDevice>} */
  async #request(gpu) {
    const missing = (/** @type {string} */ what, /** @type {unknown} */ cause) => new HanselError(
      'HANSEL_ERR_ADAPTER', what, { expected: 'WebGPU', got: 'none', cause });
    if (!gpu) throw missing('no WebGPU here (a page needs https or localhost)', undefined);
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) throw missing('WebGPU has no adapter', undefined);
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    const wanted = /** @type {GPUFeatureName[]} */ (['shader-f16', 'timestamp-query']);
    try {
      return await adapter.requestDevice({
        label: 'hansel',
        requiredLimits: { maxStorageBufferBindingSize, maxBufferSize },
        requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
      });
    } catch (cause) {
      throw missing('the WebGPU adapter gave no device', cause);
    }
  }

  /** @param {number} epoch @throws {HanselError} HANSEL_ERR_LOST if that device is gone */
  checkLost(epoch) {
    if (this.epoch !== epoch) throw this.#lossError('another device took its place');
  }

  /** @param {string} why */
  #lossError(why) {
    return new HanselError('HANSEL_ERR_LOST', 'the GPU device was lost; load again', { got: why });
  }

  /** Bytes that one binding may have. */
  get bindingBytes() {
    const { maxStorageBufferBindingSize, maxBufferSize } = this.device.limits;
    return Math.min(maxStorageBufferBindingSize, maxBufferSize,
      this.#options.limits?.bindingBytes ?? Infinity);
  }

  /**
   * Waits, but not for a lost device; GPU errors since begin() become HanselErrors.
   * @template T @param {() => Promise<T> | T} body @returns {Promise<T>}
   */
  async guard(body) {
    const { device } = this;
    const lost = /** @type {Promise<never>} */ (this.#lost);
    const scopes = /** @type {const} */ (['internal', 'out-of-memory', 'validation']);
    for (const scope of scopes) device.pushErrorScope(scope);
    const run = async () => {
      /** @type {unknown} */
      let failure;
      let result;
      try {
        result = await body();
      } catch (error) {
        failure = error;
      }
      const found = await Promise.all(scopes.map(() => device.popErrorScope().catch(() => null)));
      const memory = found[1];
      if (memory) {
        throw new HanselError('HANSEL_ERR_MEMORY', 'not enough GPU memory', { got: memory.message });
      }
      if (failure instanceof HanselError) throw failure;
      const other = found[0] ?? found[2];
      if (other ?? failure) {
        throw new HanselError('HANSEL_ERR_GPU', 'the GPU reported an error', {
          got: (other ?? /** @type {Error} */ (failure)).message, cause: failure,
        });
      }
      return /** @type {T} */ (result);
    };
    const running = run();
    running.catch(() => {}); // after a loss nobody listens
    try {
      return await Promise.race([running, lost]);
    } catch (error) {
      // What fails while the device is being lost fails because of it: Firefox tells a tenth of a
      // second later.
      if (error instanceof HanselError && /_(GPU|SHADER|MEMORY)$/.test(error.code)) {
        await Promise.race([lost, new Promise((resolve) => { setTimeout(resolve, LOSS_MS); })]);
      }
      throw error;
    }
  }

  /**
   * @param {number} bytes @param {GPUBufferUsageFlags} usage @param {string} label
   * @returns {GPUBuffer} of a multiple of 16 bytes
   */
  buffer(bytes, usage, label) {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const buffer = this.device.createBuffer({ size, usage, label: `hansel ${label}` });
    this.buffers.add(buffer);
    return buffer;
  }

  /** @param {GPUBuffer | null} buffer */
  free(buffer) {
    if (!buffer) return;
    this.buffers.delete(buffer);
    buffer.destroy();
  }

  /** @param {ArrayBufferView<ArrayBuffer>} data @param {GPUBufferUsageFlags} usage @param {string} label */
  filled(data, usage, label) {
    const buffer = this.buffer(data.byteLength, usage | GPUBufferUsage.COPY_DST, label);
    this.device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  /**
   * @param {keyof typeof import('./shaders.js').WGSL | import('./shaders.js').Program} which
   * @param {string} entryPoint @param {Record<string, number>} constants
   */
  pipeline(which, entryPoint, constants) {
    const files = wgslFiles(which, this.hasPackedDot);
    const key = `${namesOf(files)} ${entryPoint} ${JSON.stringify(constants)}`;
    let found = this.#pipelines.get(key);
    if (!found) {
      found = this.#compile(files, entryPoint, constants);
      this.#pipelines.set(key, found);
      found.catch(() => this.#pipelines.delete(key));
    }
    return found;
  }

  /** @param {readonly import('./shaders.js').Part[]} files @param {string} entryPoint
   * @param {Record<string, number>} constants */
  async #compile(files, entryPoint, constants) {
    const { device } = this;
    const { code, where } = await joinWgsl(files);
    const label = namesOf(files.slice(-1));
    const module = device.createShaderModule({ label, code });
    const { messages } = await module.getCompilationInfo();
    const log = messages.filter(({ type }) => type === 'error')
      .map(({ lineNum, message }) => `${where(lineNum)}: ${message}`).join('\n');
    if (log) throw new HanselError('HANSEL_ERR_SHADER', 'the shader does not compile', { got: log });
    try {
      return await device.createComputePipelineAsync({
        label, layout: 'auto', compute: { module, entryPoint, constants },
      });
    } catch (cause) {
      if (this.#isLost) throw this.#lossError('while a shader was compiled');
      throw new HanselError('HANSEL_ERR_SHADER', 'the shader was not accepted', {
        where: label, got: /** @type {Error} */ (cause).message, cause,
      });
    }
  }

  /**
   * Records one dispatch into a pass.
   * @param {GPUComputePassEncoder} pass @param {GPUComputePipeline} pipeline
   * @param {(GPUBuffer | null)[]} buffers by binding, none of them null by now
   * @param {number} invocations
   */
  record(pass, pipeline, buffers, invocations) {
    const groups = Math.ceil(invocations / GROUP_SIZE);
    this.recordGrid(pass, pipeline, buffers, Math.min(groups, GROUP_COLUMNS),
      Math.ceil(groups / GROUP_COLUMNS));
  }

  /**
   * Records one dispatch of so many workgroups.
   * @param {GPUComputePassEncoder} pass @param {GPUComputePipeline} pipeline
   * @param {(GPUBuffer | null | undefined)[]} buffers by binding; undefined: the shader has none
   * @param {number} width @param {number} height
   */
  recordGrid(pass, pipeline, buffers, width, height) {
    if (!width || !height) return;
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.flatMap((buffer, binding) => (buffer === undefined ? []
        : [{ binding, resource: { buffer: /** @type {GPUBuffer} */ (buffer) } }])),
    }));
    pass.dispatchWorkgroups(width, height);
  }

  /**
   * Like record(), in a pass of its own.
   * @param {GPUCommandEncoder} encoder @param {GPUComputePipeline} pipeline
   * @param {GPUBuffer[]} buffers @param {number} invocations
   */
  dispatch(encoder, pipeline, buffers, invocations) {
    const pass = encoder.beginComputePass();
    this.record(pass, pipeline, buffers, invocations);
    pass.end();
  }

  /**
   * @param {GPUBuffer} buffer with COPY_SRC @param {number} from @param {number} bytes multiples of 4
   * @returns {Promise<Uint8Array>}
   */
  async read(buffer, from, bytes) {
    const staging = this.buffer(bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST, 'staging');
    try {
      const encoder = this.device.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer, from, staging, 0, bytes);
      this.device.queue.submit([encoder.finish()]);
      await staging.mapAsync(GPUMapMode.READ);
      return new Uint8Array(staging.getMappedRange(0, bytes).slice(0));
    } finally {
      this.free(staging);
    }
  }

  /**
   * Loads a tensor: its bytes go to the GPU as they arrive, as they lie in the file.
   * @param {import('../model/model.js').Model} model retained by the matrix, for verify()
   * @param {string} name @param {import('./load.js').LoadOptions} [options] progress in bytes
   * @returns {Promise<import('./matrix.js').Matrix>}
   * @throws {HanselError} HANSEL_ERR_LIMIT, _MEMORY, _LOST, _GPU, and as Model.decode()
   */
  load(model, name, options) {
    return loadMatrix(this, model, name, options);
  }

  /** Writes of a load. @param {() => void} body */
  upload(body) {
    return this.guard(body);
  }

  /** @param {string} name @param {import('../core/codec.js').Blob} blob
   * @param {import('../core/codec.js').Codec} codec */
  makeCoded(name, blob, codec) {
    return new WebGpuCoded(this, name, blob, codec);
  }

  /** @param {string} name @param {import('../core/codec.js').Blob} blob
   * @param {import('../core/recoder.js').Code} code */
  makeStreams(name, blob, code) {
    return new WebGpuStreams(this, name, blob, code);
  }

  /** @param {string} name @param {import('./plain_rows.js').PlainRows} plain */
  makePlain(name, plain) {
    return new WebGpuPlain(this, name, plain);
  }

  /** Destroys what load() made, and the device unless it is yours. */
  destroy() {
    for (const buffer of [...this.buffers]) this.free(buffer);
    if (!this.#options.device) this.device.destroy();
  }
}
