/**
 * Coded weights on WebGPU, coded once more for its memory: prefix codes, or fields of a few bits, in
 * streams of four rows. FORMAT.md appendix A. Made from symbols, by the GPU or by the CPU.
 */
import { DTYPES } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { rowQuads } from '../core/vectors.js';
import { losslessOf } from './parts.js';
import { PACKED_UNIT, StreamLayout, bytesOf, sizesOf } from './stream_layout.js';
import { GROUP_COLUMNS, GROUP_SIZE } from './webgpu_products.js';
import { WebGpuStore } from './webgpu_store.js';
import { readWeights } from './webgpu_values.js';

/** Columns of a run: longer ones take less memory, shorter ones are read by more invocations. */
const RUN_COLUMNS = { prefix: 80, packed: 128 };
/** KIND_ of matvec_streams.wgsl. */
const KIND = { f32: 0, i8: 1, lossless: 2 };
/** Invocations of a group, at most. */
const MOST_GROUP = 256;
/** Invocations of a product, about: of a GPU, and of a CPU that pretends to be one. */
const INVOCATIONS = { gpu: 1 << 17, software: 1 << 11 };
/** Of recode.wgsl. */
const STRAY = 0xffffffff;
/** Weights that have the table's binary16: two to a code leave its lowest five bits free. */
const HALF_LIMIT = 64;

/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('../core/recoder.js').Code} Code */
/** @typedef {import('./recode.js').Recoded} Recoded */
/** @typedef {import('./stream_layout.js').StreamPart & {words: GPUBuffer, bases: GPUBuffer,
 *   raw: GPUBuffer | null, symbols: GPUBuffer | null, rawRows: GPUBuffer | null}} Part */

/** Whether some symbol is 0, which needs care: FORMAT.md section 5. @param {Blob} blob */
const hasZero = ({ streamCount, freq, origin }) => (
  !streamCount || freq.some((f, index) => f > 0 && (origin + index) % 256 === 0));

export class WebGpuStreams extends WebGpuStore {
  /** @type {Part[]} */
  parts = [];
  /** @type {GPUBuffer | null} */
  #table = null;

  /**
   * @param {import('./webgpu_device.js').WebGpu} gpu @param {string} name @param {Blob} blob
   * @param {Code} code
   */
  constructor(gpu, name, blob, code) {
    super(gpu, name);
    this.blob = blob;
    this.form = code.form;
    this.code = code;
    this.isPrefix = code.form === 'prefix';
    this.layout = new StreamLayout(code, blob.rows, blob.columns, RUN_COLUMNS[code.form],
      this.isPrefix ? 1 : PACKED_UNIT);
    this.floatKind = blob.rawBytes ? KIND.lossless : KIND.f32;
    if (this.isPrefix) {
      this.#table = this.weigh(gpu.filled(code.table, GPUBufferUsage.STORAGE, 'prefix table'));
    }
  }

  /** @param {number} bytes of one buffer of a part's @throws {HanselError} HANSEL_ERR_LIMIT */
  #checkRoom(bytes) {
    if (bytes <= this.gpu.bindingBytes) return;
    throw new HanselError('HANSEL_ERR_LIMIT', '256 rows are larger than the GPU allows', {
      expected: `at most ${this.gpu.bindingBytes} bytes`, got: bytes, where: this.name,
    });
  }

  /** @param {number} bytes @param {string} label @returns {GPUBuffer} for words */
  #wordsBuffer(bytes, label) {
    this.#checkRoom(bytes);
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    return this.weigh(this.gpu.buffer(bytes, STORAGE | COPY_DST | COPY_SRC, label));
  }

  /**
   * The next rows, their words yet to be written.
   * @param {number} rows @param {Uint32Array} sizes words of their blocks @returns {Part}
   */
  #makePart(rows, sizes) {
    const { gpu, layout } = this;
    const bases = layout.bases(sizes);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    const part = {
      ...layout.nextPart(this.parts, rows),
      words: this.#wordsBuffer(4 * bases[sizes.length], 'streams'),
      bases: this.weigh(gpu.filled(bases, usage, 'bases')),
      raw: null, symbols: null, rawRows: null,
    };
    this.parts.push(part);
    return part;
  }

  /** The next rows, as the CPU coded them. @param {number} rows @param {Recoded[]} blocks */
  addRows(rows, blocks) {
    this.#write(this.#makePart(rows, sizesOf(blocks)).words, blocks);
  }

  /** A part's raw plane. @param {number} index of the part @param {Recoded[]} blocks */
  addRaw(index, blocks) {
    const raw = this.#wordsBuffer(bytesOf(blocks), 'raw streams');
    this.parts[index].raw = raw;
    this.#write(raw, blocks);
  }

  /** @param {GPUBuffer} buffer @param {Recoded[]} blocks */
  #write(buffer, blocks) {
    let at = 0;
    for (const { bytes } of blocks) {
      this.gpu.device.queue.writeBuffer(buffer, at, bytes);
      at += bytes.length;
    }
  }

  /**
   * The next rows, coded by the GPU.
   * @param {number} rows @param {GPUBuffer} symbols of those rows, as decode.wgsl leaves them
   * @returns {Promise<boolean>} false if the code has nothing for some of them
   */
  async recodeRows(rows, symbols) {
    const { gpu, code, layout, isPrefix } = this;
    const pipelineOf = (/** @type {number} */ isWrite) => gpu.pipeline('recode',
      isPrefix ? 'recode_prefix' : 'recode_packed', {
        group_size: GROUP_SIZE, is_write: isWrite,
        ...(isPrefix ? { weights_per_code: code.weightsPerCode } : { bits: code.bits }),
      });
    const { STORAGE, COPY_SRC, UNIFORM } = GPUBufferUsage;
    const scratch = [
      gpu.filled(this.#streamsUniform(rows), UNIFORM, 'streams'),
      gpu.filled(Uint32Array.of(code.levelCount, code.pad), UNIFORM, 'recoding'),
      gpu.filled(isPrefix ? code.codes : new Uint32Array(1), STORAGE, 'codes'),
      gpu.buffer(16, STORAGE, 'no words'),
    ];
    const [uniform, recoding, codes, none] = scratch;
    const run = (/** @type {GPUComputePipeline} */ pipeline, /** @type {GPUBuffer} */ blocks,
      /** @type {GPUBuffer} */ words) => {
      const encoder = gpu.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      gpu.recordGrid(pass, pipeline, isPrefix ? [uniform, recoding, symbols, codes, blocks, words]
        : [uniform, undefined, symbols, undefined, blocks, words],
      Math.ceil(Math.ceil(rows / 4) / GROUP_SIZE), layout.runCount);
      pass.end();
      gpu.device.queue.submit([encoder.finish()]);
    };
    try {
      let sizes = layout.packedSizes(rows, code.bits);
      if (isPrefix) {
        const heights = gpu.filled(new Uint32Array(sizes.length), STORAGE | COPY_SRC, 'heights');
        scratch.push(heights);
        run(await pipelineOf(0), heights, none);
        const found = new Uint32Array((await gpu.read(heights, 0, 4 * sizes.length)).buffer);
        if (found.includes(STRAY)) return false;
        sizes = layout.sizes(rows, found);
      }
      const { words, bases } = this.#makePart(rows, sizes);
      run(await pipelineOf(1), bases, words);
      if (isPrefix || code.bits === 8) return true;
      const [end] = new Uint32Array((await gpu.read(bases, 4 * sizes.length, 4)).buffer);
      return end !== STRAY;
    } finally {
      for (const buffer of scratch) gpu.free(buffer);
    }
  }

  /**
   * struct Streams of the shaders.
   * @param {number} rows of a part @param {number} [rawBytes] for its raw plane: bytes of a weight
   * @returns {Uint32Array<ArrayBuffer>}
   */
  #streamsUniform(rows, rawBytes = 0) {
    const { layout: { columns, runColumns, runCount }, code, isPrefix } = this;
    const width = rawBytes || 1; // of a weight, in bytes that are columns
    const origin = isPrefix ? code.origin : code.origin << 24 >> 24;
    return Uint32Array.of(rows, width * columns, width * runColumns / 4, runCount, rawBytes ? 0 : origin);
  }

  /** MatrixStore.decode(): u32s of four symbols, row after row, rowQuads to a row. */
  async decode() {
    const { gpu, blob, code, isPrefix, layout, parts } = this;
    const prefix = isPrefix && await gpu.guard(() => gpu.pipeline('unpack_prefix', 'unpack_streams', {
      group_size: MOST_GROUP, weights_per_code: code.weightsPerCode, slot_count: 1 << code.bits,
    }));
    const packed = (/** @type {number} */ bits) => gpu.guard(() => gpu.pipeline('unpack_packed',
      'unpack_streams', { group_size: GROUP_SIZE, bits }));
    const pipeline = prefix || await packed(code.bits);
    const rawPipeline = blob.rawBytes ? await packed(8) : null;
    /** @type {GPUBuffer[]} */
    const made = [];
    /** @type {GPUBuffer[]} */
    const scratch = [];
    await gpu.guard(() => {
      this.checkAlive();
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
      const encoder = gpu.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      const unpack = (/** @type {GPUComputePipeline} */ way, /** @type {number} */ group, /** @type {Part} */ part,
        /** @type {(GPUBuffer | null | undefined)[]} */ from, /** @type {number} */ rawBytes) => {
        const bytes = 4 * part.rows * rowQuads((rawBytes || 1) * layout.columns);
        const symbols = this.keep(gpu.buffer(bytes, usage, 'symbols'));
        made.push(symbols);
        const streams = this.uniform([...this.#streamsUniform(part.rows, rawBytes)]);
        gpu.recordGrid(pass, way, [streams, ...from, symbols],
          Math.ceil(Math.ceil(part.rows / 4) / group), layout.runCount);
        return symbols;
      };
      for (const part of parts) {
        part.symbols = unpack(pipeline, isPrefix ? MOST_GROUP : GROUP_SIZE, part,
          [part.words, part.bases, this.#table ?? undefined], 0);
        if (!rawPipeline) continue;
        const sizes = layout.packedSizes(part.rows, 8, blob.rawBytes);
        const bases = this.keep(gpu.filled(layout.bases(sizes), usage, 'raw bases'));
        scratch.push(bases);
        part.rawRows = unpack(rawPipeline, GROUP_SIZE, part, [part.raw, bases, undefined], blob.rawBytes);
      }
      pass.end();
      gpu.device.queue.submit([encoder.finish()]);
    }).catch((error) => {
      for (const symbols of made) this.drop(symbols);
      for (const part of parts) part.symbols = part.rawRows = null;
      throw error;
    }).finally(() => {
      for (const buffer of scratch) this.drop(buffer);
    });
  }

  /** @type {import('./matrix.js').MatrixStore['read']} */
  read(target, first, count, out) {
    return readWeights(this, target, first, count, out);
  }

  /** What readWeights() is to know of a part's raw plane. @param {Part} part */
  rawPlane(part) {
    const pitch = 4 * rowQuads(this.blob.columns * this.blob.rawBytes);
    return { buffer: part.rawRows, pitch, offset: -part.firstRow * pitch };
  }

  /* ---- products ---- */

  /** Invocations of a group. */
  get #groupSize() {
    const quads = Math.ceil(Math.max(...this.parts.map(({ rows }) => rows), 1) / 4);
    return Math.min(MOST_GROUP, 2 ** Math.max(6, Math.ceil(Math.log2(quads))));
  }

  /** Vectors that are multiplied at a time. @param {boolean} integer @param {number} batch */
  #tile(integer, batch) {
    return integer || batch === 1 ? 1 : batch <= 4 ? 4 : 8;
  }

  /** @type {WebGpuStore['compile']} */
  async compile(integer) {
    const { gpu, blob, code, isPrefix } = this;
    const kind = integer ? KIND.i8 : this.floatKind;
    const low = code.origin << 24 >> 24;
    const hasHalves = !gpu.isSoftware && kind !== KIND.lossless && (code.weightsPerCode === 1
      || (code.weightsPerCode === 2 && low >= -HALF_LIMIT && low + code.levelCount - 1 <= HALF_LIMIT));
    for (const tile of integer ? [1] : [1, 4, 8]) {
      const constants = {
        group_size: this.#groupSize, kind, tile, ...(kind === KIND.lossless ? {
          dtype: DTYPES[/** @type {'F32'} */ (blob.dtype)], raw_bytes: blob.rawBytes,
          has_sign: blob.sign ? 0 : 1, has_zero: hasZero(blob) ? 1 : 0,
        } : {}),
      };
      this.pipelines.set(`${kind} ${tile}`, await (isPrefix
        ? gpu.pipeline('matvec_prefix', 'matvec_streams', {
          ...constants, weights_per_code: code.weightsPerCode, slot_count: 1 << code.bits,
          has_halves: hasHalves ? 1 : 0, has_bit_fields: gpu.isSoftware ? 0 : 1,
        })
        : gpu.pipeline('matvec_packed', 'matvec_streams', {
          ...constants, bits: code.bits, has_center: code.origin ? 1 : 0,
          has_byte_fields: gpu.isSoftware ? 0 : 1,
        })));
    }
    this.pipelines.set(`reduce ${kind}`, await gpu.pipeline('reduce', 'reduce_pieces', {
      group_size: GROUP_SIZE, is_integer: integer ? 1 : 0,
    }));
  }

  /** Runs of an invocation. @param {number} tile */
  #runsEach(tile) {
    const { gpu, layout: { rows, runCount } } = this;
    const quads = Math.ceil(rows / 4);
    const wanted = quads * runCount / INVOCATIONS[gpu.isSoftware ? 'software' : 'gpu'];
    const most = Math.max(1, Math.floor(gpu.bindingBytes / (16 * quads * tile))); // pieces
    return Math.max(1, Math.ceil(wanted), Math.ceil(runCount / most));
  }

  /** @type {WebGpuStore['record']} */
  record(pass, { x, y, xOffset, yOffset, xStride, yStride, batch, bias, integer }) {
    const { gpu, blob, none, layout: { rows, runCount } } = this;
    if (!rows) return;
    const kind = integer ? KIND.i8 : this.floatKind;
    const scale = { f32: kind === KIND.f32 && blob.mode === 'grid' ? blob.step : 1 };
    const quads = Math.ceil(rows / 4);
    const tile = this.#tile(integer, batch);
    const runsEach = this.#runsEach(tile);
    const pieces = Math.ceil(runCount / runsEach);
    const pipeline = /** @type {GPUComputePipeline} */ (this.pipelines.get(`${kind} ${tile}`));
    const reduce = /** @type {GPUComputePipeline} */ (this.pipelines.get(`reduce ${kind}`));
    const rawUnits = this.layout.rawRoom(1, blob.rawBytes) / 16;
    const sums = this.room('sums of pieces', 16 * quads * pieces * Math.min(tile, batch));
    for (let first = 0; first < batch; first += tile) {
      const count = Math.min(tile, batch - first);
      for (const part of this.parts) {
        const product = this.uniform([...Object.values(losslessOf(blob)), runsEach, part.firstRow / 4,
          quads, first, batch, xOffset / 4, xStride / 4, rawUnits]);
        gpu.recordGrid(pass, pipeline, [this.uniform([...this.#streamsUniform(part.rows)]),
          part.words, part.bases, this.#table ?? undefined, product, integer ? none : x,
          integer ? x : none, part.raw ?? none, sums],
        Math.ceil(Math.ceil(part.rows / 4) / this.#groupSize), pieces);
      }
      const reduction = this.uniform([rows * count, GROUP_COLUMNS, rows, pieces, 4 * quads, 1,
        4 * quads * count, yOffset + first * yStride, yStride, bias ? 1 : 0, scale]);
      gpu.record(pass, reduce, [reduction, sums, bias ?? none, y], rows * count);
    }
  }
}
