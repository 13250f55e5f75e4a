/**
 * Coded weights on WebGPU: in storage buffers as they lie in the file. Compute shaders decode them
 * there, to memory or as products go.
 */
import { rowQuads } from '../core/vectors.js';
import { allEqual, checkCountable, corrupt, cutParts, losslessOf, streamStep } from './parts.js';
import { GROUP_COLUMNS, GROUP_SIZE, TILE } from './webgpu_products.js';
import { WebGpuStore } from './webgpu_store.js';
import { readWeights } from './webgpu_values.js';

const NO_FAULT = 0xffffffff;
/** 128 << HANSEL_SYMBOL_SHIFT. */
const SYMBOL_FLIP = 128 << 12;
/** KIND_ of matvec.wgsl. */
const KIND = { f32: 0, i8: 1, lossless: 2 };

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('./parts.js').Part & {words: GPUBuffer | null, raw: GPUBuffer | null,
 *   cursors: GPUBuffer | null, symbols: GPUBuffer | null}} GpuPart */

export class WebGpuCoded extends WebGpuStore {
  /** @type {GpuPart[]} */
  parts = [];
  /** What bytes of the payload are written in multiples of. */
  unit = 4;
  /** The decoding table. @type {GPUBuffer | null} */
  #table = null;

  /**
   * @param {import('./webgpu_device.js').WebGpu} gpu @param {string} name @param {Blob} blob
   * @param {import('../core/codec.js').Codec} codec
   */
  constructor(gpu, name, blob, codec) {
    super(gpu, name);
    this.blob = blob;
    this.codec = codec;
    this.floatKind = blob.rawBytes ? KIND.lossless : KIND.f32;
    this.pieces = Math.max(blob.pieces, 1);
  }

  /**
   * Makes room.
   * @param {Uint32Array} cursors of all streams, in words
   * @param {number} [most] bytes of a part, unless a stream is larger; and no room for a raw plane
   */
  allocate(cursors, most) {
    const { gpu, blob } = this;
    checkCountable(blob, this.name);
    const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const room = (/** @type {number} */ from, /** @type {number} */ to,
      /** @type {string} */ label) => this.weigh(gpu.buffer(to - from, storage, label));
    const bytes = gpu.bindingBytes;
    const plane = most ? { ...blob, rawBytes: 0 } : blob;
    const longest = cursors.reduce((so, end, i) => Math.max(so, end - (cursors[i - 1] ?? 0)), 0);
    const least = Math.max(2 * longest + 8, 4 * streamStep(blob, 1)); // the first has most symbols
    const parts = cutParts(plane, cursors, {
      bytes: Math.min(bytes, Math.max(most ?? bytes, least)), streams: GROUP_COLUMNS * GROUP_COLUMNS,
    });
    for (const part of parts) {
      const own = cursors.slice(part.first, part.first + part.count + 1)
        .map((cursor) => cursor - part.wordsFrom / 2);
      this.parts.push({
        ...part,
        words: part.count ? room(part.wordsFrom, part.wordsTo, 'words') : null,
        raw: part.rawTo > part.rawFrom ? room(part.rawFrom, part.rawTo, 'raw') : null,
        cursors: part.count ? this.weigh(gpu.filled(own, storage, 'cursors')) : null,
        symbols: null,
      });
    }
    if (blob.streamCount) {
      this.#table = this.weigh(gpu.filled(this.codec.buildTable(blob), storage, 'table'));
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
    part.words = this.keep(gpu.filled(new Uint32Array(8).fill(65536), storage, 'words'));
    part.cursors = this.keep(gpu.filled(new Uint32Array(blob.rows + 1), storage, 'cursors'));
    this.#table = this.keep(gpu.filled(new Uint32Array(256).map(
      (_, slot) => slot << 20 | blob.origin << 12 | 256), storage, 'table'));
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

  /** Invocations that a part takes in a product. @param {GpuPart} part */
  #streamCount(part) {
    return this.blob.streamCount ? part.count : this.blob.weights ? this.blob.rows : 0;
  }

  /** @param {GpuPart} part @returns {number[]} struct Blob of the shaders */
  #blobUniform(part) {
    const { blob } = this;
    return [part.first, this.#streamCount(part), GROUP_COLUMNS, part.startStep, blob.rows,
      blob.columns, this.pieces, Math.max(blob.rowsPerStream, 1), blob.origin, blob.alphabetSize,
      blob.tailBits, blob.tailSteps];
  }

  /** MatrixStore.decode(): u32s of four symbols, row after row, rowQuads to a row. */
  async decode() {
    const made = await this.decodeParts(this.parts);
    this.parts.forEach((part, i) => { part.symbols = made[i]; });
  }

  /**
   * @param {GpuPart[]} parts @returns {Promise<GPUBuffer[]>} their symbols
   * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_CORRUPT with the stream
   */
  async decodeParts(parts) {
    const { gpu, blob } = this;
    const quads = rowQuads(blob.columns);
    const pairs = quads % 2 === 0
      && (blob.weightsPerSymbol > 1 || quads % (2 * blob.pieces) === 0);
    const pipeline = blob.streamCount ? await gpu.guard(() => gpu.pipeline('decode',
      'decode_streams', {
        slot_bits: blob.slotBits, slot_count: 1 << blob.slotBits, group_size: GROUP_SIZE,
        weights_per_symbol: blob.weightsPerSymbol, pairs: pairs ? 1 : 0,
      })) : null;
    /** @type {GPUBuffer[]} */
    const made = [];
    try {
      await gpu.guard(() => this.#decodeParts(parts, pipeline, pairs, made));
      this.checkAlive();
    } catch (error) {
      for (const symbols of made) this.drop(symbols);
      throw error;
    }
    return made;
  }

  /**
   * @param {GpuPart[]} parts
   * @param {GPUComputePipeline | null} pipeline @param {boolean} pairs of quads are stored at once
   * @param {GPUBuffer[]} made receives the parts' symbols
   */
  async #decodeParts(parts, pipeline, pairs, made) {
    const { gpu, blob } = this;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const faults = gpu.filled(Uint32Array.of(NO_FAULT), usage, 'faults');
    const none = gpu.buffer(16, usage, 'unused');
    const scratch = [faults, none];
    try {
      this.checkAlive();
      const encoder = gpu.device.createCommandEncoder();
      for (const part of parts) {
        const symbols = this.keep(gpu.buffer(4 * part.steps, usage, 'symbols'));
        made.push(symbols);
        if (!pipeline || !part.words || !part.cursors || !this.#table) {
          for (const { first, bytes } of allEqual(blob, part.steps)) {
            gpu.device.queue.writeBuffer(symbols, 4 * first, bytes);
          }
          continue;
        }
        const uniform = gpu.filled(Uint32Array.from(this.#blobUniform(part)),
          GPUBufferUsage.UNIFORM, 'blob');
        scratch.push(uniform);
        gpu.dispatch(encoder, pipeline,
          [uniform, part.words, part.cursors, this.#table, pairs ? none : symbols,
            pairs ? symbols : none, faults], part.count);
      }
      gpu.device.queue.submit([encoder.finish()]);
      const [stream] = new Uint32Array((await gpu.read(faults, 0, 4)).buffer);
      if (stream !== NO_FAULT) throw corrupt(stream, this.name);
    } finally {
      for (const buffer of scratch) gpu.free(buffer);
    }
  }

  /** @type {import('./matrix.js').MatrixStore['read']} */
  read(target, first, count, out) {
    return readWeights(this, target, first, count, out);
  }

  /** What readWeights() is to know of a part's raw plane. @param {GpuPart} part */
  rawPlane(part) {
    const { columns, rawBytes } = this.blob;
    return {
      buffer: part.raw, pitch: columns * rawBytes,
      offset: this.#rawStart(part) - part.startWeight * rawBytes,
    };
  }

  /** Where the raw bytes of a part's first weight are in its `raw`. @param {GpuPart} part */
  #rawStart({ startWeight, rawFrom }) {
    const { rawStart, rawBytes } = this.blob;
    return rawStart + startWeight * rawBytes - rawFrom;
  }

  /** @type {NonNullable<import('./matrix.js').MatrixStore['checksums']>} */
  async checksums(part) {
    const { gpu, blob } = this;
    const { count } = part;
    const pipeline = await gpu.guard(() => gpu.pipeline('checksum', 'checksum_streams', {
      group_size: GROUP_SIZE,
    }));
    return gpu.guard(async () => {
      this.checkAlive();
      const starts = Uint32Array.from({ length: count + 1 },
        (_, i) => streamStep(blob, part.first + i) - part.startStep);
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
    });
  }

  /* ---- products ---- */

  /** @type {WebGpuStore['compile']} */
  async compile(integer) {
    const { gpu, blob } = this;
    const kind = integer ? KIND.i8 : this.floatKind;
    // A tensor without streams is decoded from made-up ones: #pretendStreams().
    const slotBits = blob.streamCount ? blob.slotBits : 8;
    for (const tile of integer ? [1] : [1, TILE]) {
      this.pipelines.set(`${kind} ${tile}`,
        await gpu.pipeline('matvec', 'matvec_streams', {
          slot_bits: slotBits, slot_count: 1 << slotBits, group_size: GROUP_SIZE, kind, tile,
          weights_per_symbol: blob.weightsPerSymbol,
          symbol_flip: kind === KIND.f32 && blob.weightsPerSymbol === 1 ? SYMBOL_FLIP : 0,
        }));
    }
    if (this.pieces > 1) {
      this.pipelines.set(`reduce ${kind}`, await gpu.pipeline('reduce', 'reduce_pieces', {
        group_size: GROUP_SIZE, is_integer: integer ? 1 : 0,
      }));
    }
  }

  /** @type {WebGpuStore['record']} */
  record(pass, { x, y, xOffset, yOffset, xStride, yStride, batch, bias, integer }) {
    const { gpu, blob, pieces, none } = this;
    const { rows } = blob;
    const kind = integer ? KIND.i8 : this.floatKind;
    const isWhole = pieces === 1;
    const sums = isWhole ? y : this.room('sums of pieces', 4 * batch * rows * pieces);
    const scale = { f32: kind === KIND.f32 && blob.mode === 'grid' ? blob.step : 1 };
    const tile = integer || batch === 1 ? 1 : TILE;
    const pipeline = /** @type {GPUComputePipeline} */ (this.pipelines.get(`${kind} ${tile}`));
    for (const part of this.parts) {
      for (let first = 0; first < batch; first += tile) {
        const product = this.uniform([...Object.values(losslessOf(blob)), first, batch, xOffset / 4,
          xStride / 4, isWhole ? yOffset : 0, isWhole ? yStride : rows * pieces, this.#rawStart(part),
          part.startWeight, blob.rawBytes, isWhole && bias ? 1 : 0, scale]);
        gpu.record(pass, pipeline, [this.uniform(this.#blobUniform(part)), part.words,
          part.cursors, this.#table, product, integer ? none : x, integer ? x : none,
          part.raw ?? none, bias ?? none, sums], this.#streamCount(part));
      }
    }
    if (isWhole) return;
    const reduce = /** @type {GPUComputePipeline} */ (this.pipelines.get(`reduce ${kind}`));
    const reduction = this.uniform([rows * batch, GROUP_COLUMNS, rows, pieces, rows * pieces, pieces, 1,
      yOffset, yStride, bias ? 1 : 0, { f32: 1 }]);
    gpu.record(pass, reduce, [reduction, sums, bias ?? none, y], rows * batch);
  }
}
