/**
 * Coded weights on WebGPU: the bytes go to storage buffers as they arrive, and
 * compute shaders decode them there.
 */
import { DTYPES, typedArray } from '../core/dtypes.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { checkFloat, checkFloats, checkInteger, checkVector, rowQuads } from '../core/vectors.js';
import {
  LARGEST, RangeWriter, allEqual, cutParts, decodeTarget, firstDifference, referenceChecksums, streamStep, unpad,
} from './parts.js';
import { joinWgsl, wgslFiles } from './shaders.js';
import { loadWebGpuPlain } from './webgpu_plain.js';
import { GROUP_COLUMNS, GROUP_SIZE, Products } from './webgpu_products.js';

/** Bytes read back at a time. */
const READ_BYTES = 16 << 20;
const NO_FAULT = 0xffffffff;

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('./parts.js').Part} Part */
/** @typedef {import('../core/vectors.js').Vector} Vector */
/** @typedef {Part & {words: GPUBuffer | null, raw: GPUBuffer | null, cursors: GPUBuffer | null,
 *   symbols: GPUBuffer | null}} GpuPart */
/**
 * @typedef {object} WebGpuOptions
 * @property {GPUDevice} [device] yours; otherwise one is requested, and again after a loss
 * @property {GPU} [gpu] navigator.gpu by default; the npm package webgpu in Node
 * @property {{bindingBytes?: number}} [limits] smaller ones than the device's
 */

/**
 * Opens WebGPU.
 * @param {WebGpuOptions} [options]
 * @returns {Promise<WebGpu>}
 * @throws {HanselError} HANSEL_ERR_ADAPTER when there is none
 * @example
 * const gpu = await webgpu();
 * const w = await gpu.load(model, 'w');
 * const symbols = await w.symbols();
 */
export async function webgpu(options = {}) {
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
  /** @type {Map<string, Promise<GPUComputePipeline>>} */
  #pipelines = new Map();
  /** @type {Promise<never> | null} */
  #lost = null;
  #isLost = false;
  /** Whether WGSL has dot4I8Packed. */
  hasPackedDot = false;
  #options;

  /** @param {WebGpuOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Sees to it that there is a device. */
  async ready() {
    if (this.#lost && !this.#isLost) return;
    const { device, gpu = globalThis.navigator?.gpu } = this.#options;
    if (this.#isLost && device) throw this.#lossError('make another one and pass it to webgpu()');
    this.device = device ?? await this.#request(gpu);
    this.info = this.device.adapterInfo ?? null;
    this.hasPackedDot = Boolean((gpu ?? globalThis.navigator?.gpu)?.wgslLanguageFeatures
      ?.has('packed_4x8_integer_dot_product'));
    this.#isLost = false;
    this.#pipelines.clear();
    this.buffers.clear();
    const current = this.device;
    this.#lost = current.lost.then((info) => {
      if (this.device === current) this.#isLost = true;
      throw this.#lossError(info.message || info.reason);
    });
    this.#lost.catch(() => {}); // told to whoever waits
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
      // What fails while the device is being lost fails because of it.
      if (error instanceof HanselError && error.code === 'HANSEL_ERR_GPU') {
        await Promise.race([lost, new Promise((resolve) => { setTimeout(resolve, 20); })]);
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
   * @param {keyof typeof import('./shaders.js').WGSL} name @param {string} entryPoint
   * @param {Record<string, number>} constants
   */
  pipeline(name, entryPoint, constants) {
    const files = wgslFiles(name, this.hasPackedDot);
    const key = `${files} ${entryPoint} ${JSON.stringify(constants)}`;
    let found = this.#pipelines.get(key);
    if (!found) {
      found = this.#compile(files, entryPoint, constants);
      this.#pipelines.set(key, found);
      found.catch(() => this.#pipelines.delete(key));
    }
    return found;
  }

  /** @param {string[]} files @param {string} entryPoint @param {Record<string, number>} constants */
  async #compile(files, entryPoint, constants) {
    const { device } = this;
    const { code, where } = await joinWgsl(files);
    const label = files[files.length - 1];
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
    if (!invocations) return;
    const groups = Math.ceil(invocations / GROUP_SIZE);
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => (
        { binding, resource: { buffer: /** @type {GPUBuffer} */ (buffer) } })),
    }));
    pass.dispatchWorkgroups(Math.min(groups, GROUP_COLUMNS), Math.ceil(groups / GROUP_COLUMNS));
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
   * Loads a tensor: its bytes go to the GPU as they arrive, as they lie in the file. If it is not
   * coded, what comes is a PlainMatrix.
   * @param {Model} model retained by the matrix, for verify() @param {string} name
   * @param {{signal?: AbortSignal,
   *   onProgress?: (progress: {done: number, total: number, tensor: string}) => void}} [options]
   *   progress in bytes
   * @returns {Promise<WebGpuMatrix | import('./webgpu_plain.js').PlainMatrix>}
   * @throws {HanselError} HANSEL_ERR_LIMIT, _MEMORY, _LOST, _GPU, and as Model.decode()
   */
  async load(model, name, { signal, onProgress } = {}) {
    if (model.tensor(name).mode === 'pass-through') {
      return loadWebGpuPlain(this, model, name, { signal, onProgress });
    }
    await this.ready();
    const { blob, cursors, chunks } = await model.payload(name, { signal });
    const matrix = new WebGpuMatrix(this, model, name, blob);
    try {
      await this.guard(() => matrix.allocate(cursors));
      const writer = new RangeWriter(matrix.ranges());
      const total = blob.blobBytes - blob.headBytes;
      for await (const chunk of chunks) {
        checkAborted(signal);
        await this.guard(() => writer.push(chunk));
        onProgress?.({ done: writer.at, total, tensor: name });
      }
      return matrix;
    } catch (error) {
      matrix.destroy();
      throw error;
    } finally {
      await chunks.return(undefined);
    }
  }

  /** Destroys what load() made, and the device unless it is yours. */
  destroy() {
    for (const buffer of [...this.buffers]) this.free(buffer);
    if (!this.#options.device) this.device.destroy();
  }
}

/** A coded matrix on the GPU. Make one with WebGpu.load(). */
export class WebGpuMatrix {
  /** @type {GpuPart[]} */
  parts = [];
  /** @type {GPUBuffer | null} */
  table = null;
  #isDestroyed = false;

  /** @param {WebGpu} gpu @param {Model} model @param {string} name @param {Blob} blob */
  constructor(gpu, model, name, blob) {
    this.gpu = gpu;
    this.model = model;
    this.name = name;
    this.blob = blob;
    const { dtype, shape, mode, step, rows, columns } = blob;
    Object.assign(this, { dtype, shape, mode, step });
    /** y = W x on the coded weights, for your own command encoders. */
    this.products = new Products(this);
    /** Rows and columns of the matrix view. */
    this.rows = rows;
    this.columns = columns;
    /** u32s of a decoded row: four symbols each, the last padded with zeros. */
    this.rowQuads = rowQuads(columns);
  }

  /** @param {Uint32Array} cursors */
  allocate(cursors) {
    const { gpu, blob } = this;
    if (blob.weights + 4 * blob.rows >= 2 ** 32) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'shaders count weights in 32 bits', {
        expected: 'fewer than 2^32', got: blob.weights, where: this.name,
      });
    }
    const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const parts = cutParts(blob, cursors, {
      bytes: gpu.bindingBytes, streams: GROUP_COLUMNS * GROUP_COLUMNS,
    });
    for (const part of parts) {
      const own = cursors.slice(part.first, part.first + part.count + 1)
        .map((cursor) => cursor - part.wordsFrom / 2);
      this.parts.push({
        ...part,
        words: part.count ? gpu.buffer(part.wordsTo - part.wordsFrom, storage, 'words') : null,
        raw: part.rawTo > part.rawFrom ? gpu.buffer(part.rawTo - part.rawFrom, storage, 'raw') : null,
        cursors: part.count ? gpu.filled(own, storage, 'cursors') : null,
        symbols: null,
      });
    }
    if (blob.streamCount) {
      this.table = gpu.filled(this.model.codec.buildTable(blob), storage, 'table');
    } else if (blob.weights) {
      this.#pretendStreams(storage);
    }
  }

  /**
   * A tensor without streams gets some for the products: a stream to a row, all reading the same
   * states, which its one symbol of probability 1 never changes.
   * @param {GPUBufferUsageFlags} storage
   */
  #pretendStreams(storage) {
    const { gpu, blob, parts: [part] } = this;
    part.words = gpu.filled(new Uint32Array(8).fill(65536), storage, 'words');
    part.cursors = gpu.filled(new Uint32Array(blob.rows + 1), storage, 'cursors');
    this.table = gpu.filled(new Uint32Array(256).map(
      (_, slot) => slot << 20 | blob.origin << 12 | 256), storage, 'table');
  }

  /** Invocations that a part takes in a product. @param {Part} part */
  streamCount(part) {
    return this.blob.streamCount ? part.count : this.blob.weights ? this.blob.rows : 0;
  }

  /** Where the payload's bytes go. */
  ranges() {
    const { queue } = this.gpu.device;
    const to = (/** @type {GPUBuffer | null} */ buffer) => (
      /** @type {number} */ offset, /** @type {Uint8Array} */ bytes) => queue.writeBuffer(
      /** @type {GPUBuffer} */ (buffer), offset, /** @type {Uint8Array<ArrayBuffer>} */ (bytes));
    return this.parts.flatMap((part) => [
      { from: part.wordsFrom, to: part.wordsTo, write: to(part.words) },
      { from: part.rawFrom, to: part.rawTo, write: to(part.raw) },
    ]);
  }

  /** @throws {HanselError} HANSEL_ERR_DESTROYED */
  checkAlive() {
    if (this.#isDestroyed) {
      throw new HanselError('HANSEL_ERR_DESTROYED', 'the matrix was destroyed', { where: this.name });
    }
  }

  /** @param {Part} part @returns {number[]} struct Blob of decode_stream.wgsl */
  blobUniform(part) {
    const { blob } = this;
    return [part.first, this.streamCount(part), GROUP_COLUMNS, part.startStep, blob.rows,
      blob.columns, Math.max(blob.pieces, 1), Math.max(blob.rowsPerStream, 1), blob.origin,
      blob.alphabetSize, blob.tailBits, blob.tailSteps];
  }

  /**
   * Decodes to GPU memory, once: afterwards each part's `symbols` buffer holds u32s of four
   * symbols, row after row, rowQuads to a row.
   * @returns {Promise<GpuPart[]>}
   * @throws {HanselError} HANSEL_ERR_CORRUPT with the stream, _LOST, _MEMORY, _GPU, _DESTROYED
   */
  async decodeOnGpu() {
    this.checkAlive();
    const { gpu, blob } = this;
    const missing = this.parts.filter(({ symbols }) => !symbols);
    if (!missing.length) return this.parts;
    const slots = 1 << blob.slotBits;
    const pairs = this.rowQuads % 2 === 0
      && (blob.weightsPerSymbol > 1 || this.rowQuads % (2 * blob.pieces) === 0);
    const pipeline = blob.streamCount ? await gpu.guard(() => gpu.pipeline('decode',
      'decode_streams', {
        slot_bits: blob.slotBits, slot_count: slots, group_size: GROUP_SIZE,
        weights_per_symbol: blob.weightsPerSymbol, pairs: pairs ? 1 : 0,
      })) : null;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    await gpu.guard(async () => {
      /** @type {GPUBuffer[]} */
      const scratch = [];
      const made = new Map();
      try {
        const faults = gpu.filled(Uint32Array.of(NO_FAULT), usage, 'faults');
        scratch.push(faults);
        const none = gpu.buffer(16, usage, 'unused');
        scratch.push(none);
        const encoder = gpu.device.createCommandEncoder();
        for (const part of missing) {
          const symbols = gpu.buffer(4 * part.steps, usage, 'symbols');
          made.set(part, symbols);
          if (!pipeline || !part.words || !part.cursors || !this.table) {
            gpu.device.queue.writeBuffer(symbols, 0, allEqual(blob, part.steps));
            continue;
          }
          const uniform = gpu.filled(Uint32Array.from(this.blobUniform(part)),
            GPUBufferUsage.UNIFORM, 'blob');
          scratch.push(uniform);
          gpu.dispatch(encoder, pipeline,
            [uniform, part.words, part.cursors, this.table, pairs ? none : symbols,
              pairs ? symbols : none, faults], part.count);
        }
        gpu.device.queue.submit([encoder.finish()]);
        const [stream] = new Uint32Array((await gpu.read(faults, 0, 4)).buffer);
        if (stream !== NO_FAULT) {
          throw new HanselError('HANSEL_ERR_CORRUPT', 'a stream does not end as it must', {
            expected: 'an exact end', got: `none, in stream ${stream}`, where: this.name,
          });
        }
        for (const [part, symbols] of made) part.symbols = symbols;
      } catch (error) {
        for (const symbols of made.values()) gpu.free(symbols);
        throw error;
      } finally {
        for (const buffer of scratch) gpu.free(buffer);
      }
    });
    return this.parts;
  }

  /**
   * The decoded matrix, for your own shaders: array<u32>, rowQuads u32s to a row, a column's symbol
   * in byte column % 4 (shaders/weight.wgsl reads it). Lives until destroy(). Decode first.
   * @returns {GPUBuffer}
   * @throws {HanselError} HANSEL_ERR_ARGUMENT when not decoded yet, or cut into parts
   */
  get buffer() {
    this.checkAlive();
    const [part] = this.parts;
    if (this.parts.length !== 1 || !part.symbols) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'no single decoded buffer', {
        expected: 'decodeOnGpu() before, and a tensor in one part',
        got: `${this.parts.length} parts${part.symbols ? '' : ', not decoded'}`, where: this.name,
      });
    }
    return part.symbols;
  }

  /**
   * The symbols, decoded on the GPU and read back: equal to Model.symbols().
   * @returns {Promise<Int8Array>} row-major @throws {HanselError} as decodeOnGpu()
   */
  async symbols() {
    const parts = await this.decodeOnGpu();
    const out = allocate(this.blob.weights, this.name);
    const { gpu } = this;
    const unit = READ_BYTES / 4;
    for (const part of parts) {
      for (let step = 0; step < part.steps; step += unit) {
        const padded = await gpu.guard(() => gpu.read(/** @type {GPUBuffer} */ (part.symbols),
          4 * step, 4 * Math.min(unit, part.steps - step)));
        unpad(padded, part.startStep + step, this.columns, 1, out);
      }
    }
    return new Int8Array(out.buffer);
  }

  /**
   * The weights, put together on the GPU and read back: equal to Model.decode() with that dtype.
   * @param {{dtype?: string}} [options] 'F32' (the default for float tensors), 'F16' or 'BF16'; the
   *   one-byte dtypes have only their own
   * @returns {Promise<any>} row-major typed array
   * @throws {HanselError} HANSEL_ERR_DTYPE, as decodeOnGpu()
   */
  async decode({ dtype } = {}) {
    const { blob, gpu } = this;
    const { target, isFloat } = decodeTarget(blob, dtype, this.name);
    if (!isFloat) return typedArray(target, /** @type {ArrayBuffer} */ ((await this.symbols()).buffer));
    const parts = await this.decodeOnGpu();
    const pipeline = await gpu.guard(() => gpu.pipeline('values', 'convert_values', {
      group_size: GROUP_SIZE,
    }));
    const size = target === 'F32' ? 4 : 2;
    const out = allocate(blob.weights * size, this.name);
    const unit = Math.floor(Math.min(READ_BYTES, gpu.bindingBytes) / (4 * size));
    for (const part of parts) {
      for (let step = 0; step < part.steps; step += unit) {
        const count = Math.min(unit, part.steps - step);
        const padded = await gpu.guard(() => this.#values(pipeline, part, step, count, target));
        unpad(padded, part.startStep + step, this.columns, size, out);
      }
    }
    return typedArray(target, /** @type {ArrayBuffer} */ (out.buffer));
  }

  /**
   * @param {GPUComputePipeline} pipeline @param {GpuPart} part @param {number} step of the part
   * @param {number} count steps @param {string} dtype @returns {Promise<Uint8Array>} padded rows
   */
  async #values(pipeline, part, step, count, dtype) {
    const { gpu, blob } = this;
    const uniform = new DataView(new ArrayBuffer(64));
    const rawStart = Math.ceil(2 * blob.wordCount / 16) * 16;
    [part.startStep + step, count, GROUP_COLUMNS, part.startStep, blob.columns,
      blob.mode === 'grid' ? 0 : 1, DTYPES[/** @type {'F32'} */ (blob.dtype)],
      DTYPES[/** @type {'F32'} */ (dtype)], 0, blob.rawBytes,
      rawStart + part.startWeight * blob.rawBytes - part.rawFrom, part.startWeight,
    ].forEach((value, i) => uniform.setUint32(4 * i, value, true));
    uniform.setFloat32(32, blob.step, true);
    uniform.setFloat32(48, LARGEST[/** @type {'F32'} */ (dtype)], true);
    const bytes = count * (dtype === 'F32' ? 16 : 8);
    const scratch = [
      gpu.filled(new Uint8Array(uniform.buffer), GPUBufferUsage.UNIFORM, 'values'),
      gpu.buffer(bytes, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, 'values'),
    ];
    const raw = part.raw ?? gpu.buffer(16, GPUBufferUsage.STORAGE, 'no raw plane');
    if (!part.raw) scratch.push(raw);
    try {
      const encoder = gpu.device.createCommandEncoder();
      gpu.dispatch(encoder, pipeline,
        [scratch[0], /** @type {GPUBuffer} */ (part.symbols), raw, scratch[1]], count);
      gpu.device.queue.submit([encoder.finish()]);
      return await gpu.read(scratch[1], 0, bytes);
    } finally {
      for (const buffer of scratch) gpu.free(buffer);
    }
  }

  /**
   * y = W x, decoding as it goes. The error is that of binary32 sums in the kernel's order: relative
   * to the norm, below 1e-5 for 4096 columns. NaN and infinity go where arithmetic takes them.
   * x in F16 gives exactly what the same numbers give in F32.
   * @param {Vector} x `columns` elements @param {{bias?: Float32Array}} [options] bias: rows
   * @returns {Promise<Float32Array>} rows
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _DESTROYED, _LOST, _MEMORY
   */
  async matvec(x, { bias } = {}) {
    return this.matmul(x, 1, { bias });
  }

  /**
   * Like matvec, for a batch: each weight is decoded once for every four vectors.
   * @param {Vector} x batch vectors of `columns` elements, one after the other
   * @param {number} batch 1 to 64 @param {{bias?: Float32Array}} [options]
   * @returns {Promise<Float32Array>} batch vectors of `rows` elements
   */
  async matmul(x, batch, { bias } = {}) {
    this.checkAlive();
    checkFloat(this.blob, this.name);
    const vectors = checkFloats(this, x, batch);
    if (bias) checkVector({ ...this, columns: this.rows, name: `${this.name} bias` }, bias, 'Float32Array', 1);
    return new Float32Array(await this.products.run(vectors, batch, bias, false));
  }

  /**
   * Grid indices (or I8 weights) times signed bytes: exact, not scaled by the step.
   * @param {Int8Array} x `columns` elements @returns {Promise<Int32Array>} rows
   * @throws {HanselError} HANSEL_ERR_DTYPE for lossless floats, HANSEL_ERR_LIMIT above 131,071 columns
   */
  async matvecI8(x) {
    this.checkAlive();
    checkInteger(this.blob, this.name);
    checkVector(this, x, 'Int8Array', 1);
    return new Int32Array(await this.products.run(x, 1, undefined, true));
  }

  /**
   * Compares what the GPU decodes with what the wasm decodes, by checksums computed on the GPU.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{ok: true} | {ok: false, tensor: string, row: number, column: number,
   *   expected: number, got: number}>} the first symbol that differs
   */
  async verify({ signal } = {}) {
    const { gpu, blob } = this;
    const parts = await this.decodeOnGpu();
    const reference = new Uint8Array((await this.model.symbols(this.name, { signal })).buffer);
    const sums = referenceChecksums(blob, reference);
    const pipeline = await gpu.guard(() => gpu.pipeline('checksum', 'checksum_streams', {
      group_size: GROUP_SIZE,
    }));
    for (const part of parts) {
      const found = await gpu.guard(() => this.#checksums(pipeline, part));
      for (let i = 0; i < found.length; i++) {
        if (found[i] !== sums[part.first + i]) {
          const symbols = new Uint8Array((await this.symbols()).buffer);
          return firstDifference(this.name, this.columns, symbols, reference);
        }
      }
    }
    return { ok: true };
  }

  /** @param {GPUComputePipeline} pipeline @param {GpuPart} part @returns {Promise<Uint32Array>} */
  async #checksums(pipeline, part) {
    const { gpu, blob } = this;
    const count = Math.max(part.count, 1);
    const starts = part.count
      ? Uint32Array.from({ length: count + 1 },
        (_, i) => streamStep(blob, part.first + i) - part.startStep)
      : Uint32Array.of(0, part.steps);
    const scratch = [
      gpu.filled(Uint32Array.of(count, GROUP_COLUMNS), GPUBufferUsage.UNIFORM, 'checksums'),
      gpu.filled(starts, GPUBufferUsage.STORAGE, 'starts'),
      gpu.buffer(4 * count, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, 'sums'),
    ];
    try {
      const encoder = gpu.device.createCommandEncoder();
      gpu.dispatch(encoder, pipeline,
        [scratch[0], /** @type {GPUBuffer} */ (part.symbols), scratch[1], scratch[2]], count);
      gpu.device.queue.submit([encoder.finish()]);
      return new Uint32Array((await gpu.read(scratch[2], 0, 4 * count)).buffer);
    } finally {
      for (const buffer of scratch) gpu.free(buffer);
    }
  }

  /** Frees the GPU's memory. The matrix cannot be used afterwards. */
  destroy() {
    this.#isDestroyed = true;
    for (const { words, raw, cursors, symbols } of this.parts) {
      for (const buffer of [words, raw, cursors, symbols]) this.gpu.free(buffer);
    }
    this.gpu.free(this.table);
    this.products.destroy();
    this.parts = [];
  }
}
