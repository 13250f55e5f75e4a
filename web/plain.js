/**
 * Matrices on WebGPU that are not coded: tensors that passed through, decoded
 * ones, your own. Uploaded as they lie; products take the fastest layout known.
 */
import { HanselError, checkAborted } from './errors.js';
import { rowSteps } from './parts.js';
import { checkFloat, checkFloats, checkInteger, checkVector, checkXDtype } from './products.js';
import { GROUP_COLUMNS, GROUP_SIZE, Products } from './webgpu_products.js';

const TILE = 4;
/** As shaders/matvec_plain.wgsl. @type {Record<string, {code: number, bytes: number}>} */
const KINDS = {
  F32: { code: 1, bytes: 4 }, F16: { code: 2, bytes: 2 }, BF16: { code: 3, bytes: 2 },
  I8: { code: 4, bytes: 1 },
};
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|warp|basic render/i;

/** @typedef {import('./webgpu.js').WebGpu} WebGpu */
/** @typedef {import('./model.js').Model} Model */
/** @typedef {import('./products.js').Vector} Vector */
/** @typedef {{buffer: GPUBuffer, firstRow: number, rows: number}} PlainPart */
/**
 * @typedef {'group' | 'invocation'} Layout who computes a row: a workgroup, which is best on a GPU,
 *   or one invocation, which is best where a CPU pretends to be one
 */
/**
 * @typedef {object} PlainBuffer
 * @property {GPUBuffer} buffer usage STORAGE; stays yours
 * @property {string} dtype F32, F16, BF16 or I8: packed elements, lowest bits first
 * @property {number} rows @property {number} columns
 * @property {number} [rowPitch] bytes from row to row, a multiple of 4 (of 16 is faster); default:
 *   rows padded to 4 bytes, as WebGpuMatrix.buffer has them. Padding can hold anything
 * @property {number} [scale] of the product, such as a grid's step; default 1; not of integer ones
 * @property {Layout} [layout] default: by the adapter
 * @property {string} [name] for errors
 */

const ceilTo = (/** @type {number} */ n, /** @type {number} */ unit) => Math.ceil(n / unit) * unit;

/** The layout for an adapter. @param {GPUAdapterInfo | null} info @returns {Layout} */
export function pickLayout(info) {
  const { vendor, architecture, device, description } = info ?? {};
  const names = [vendor, architecture, device, description].join(' ');
  return info?.isFallbackAdapter || SOFTWARE.test(names) ? 'invocation' : 'group';
}

/**
 * Loads a tensor that was passed through: its bytes go to the GPU as they arrive, unconverted, each
 * row padded to 16 bytes.
 * @param {WebGpu} gpu @param {Model} model @param {string} name
 * @param {{signal?: AbortSignal, layout?: Layout}} [options]
 * @returns {Promise<PlainMatrix>}
 * @throws {HanselError} HANSEL_ERR_DTYPE when it is coded (see WebGpu.load()), or not F32, F16,
 *   BF16 or I8; HANSEL_ERR_LIMIT, _MEMORY, _LOST, _GPU, and as Model.slices()
 * @example
 * const head = await loadPlain(gpu, model, 'lm_head.weight');
 * const y = await head.matvec(x);
 */
export async function loadPlain(gpu, model, name, { signal, layout } = {}) {
  const { dtype, shape, mode } = model.tensor(name);
  if (mode !== 'pass-through') {
    throw new HanselError('HANSEL_ERR_DTYPE', 'the tensor is coded: gpu.load() takes it', {
      expected: 'a tensor that was passed through', got: mode, where: name,
    });
  }
  checkDtype(dtype, name);
  await gpu.ready();
  const columns = shape[shape.length - 1] ?? 1;
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const rowBytes = columns * KINDS[dtype].bytes;
  const rowPitch = ceilTo(rowBytes, 16);
  const partRows = Math.min(rows, Math.floor(gpu.bindingBytes / Math.max(rowPitch, 1)));
  if (rows && !partRows) {
    throw new HanselError('HANSEL_ERR_LIMIT', 'a row is larger than the GPU allows', {
      expected: `at most ${gpu.bindingBytes} bytes`, got: rowPitch, where: name,
    });
  }
  const matrix = new PlainMatrix(gpu, { dtype, rows, columns, rowPitch, layout, name });
  try {
    matrix.isOwner = true;
    await gpu.guard(() => {
      for (let firstRow = 0; firstRow < rows; firstRow += partRows) {
        const count = Math.min(partRows, rows - firstRow);
        const buffer = gpu.buffer(count * rowPitch,
          GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST, 'plain weights');
        matrix.parts.push({ buffer, firstRow, rows: count });
      }
    });
    const upload = new RowUpload(matrix, rowBytes, partRows);
    for await (const { bytes } of model.slices(name, { signal })) {
      checkAborted(signal);
      await gpu.guard(() => upload.push(bytes));
    }
    return matrix;
  } catch (error) {
    matrix.destroy();
    throw error;
  }
}

/** @param {string} dtype @param {string} name */
function checkDtype(dtype, name) {
  if (Object.hasOwn(KINDS, dtype)) return;
  throw new HanselError('HANSEL_ERR_DTYPE', 'no products with this dtype', {
    expected: Object.keys(KINDS).join(', '), got: dtype, where: name,
  });
}

/** Bytes of rows, in chunks of any size, to padded rows on the GPU. */
class RowUpload {
  /** Of the tensor, at the next byte. */
  row = 0;
  /** Of the row, likewise. */
  at = 0;

  /** @param {PlainMatrix} matrix @param {number} rowBytes @param {number} partRows */
  constructor(matrix, rowBytes, partRows) {
    this.matrix = matrix;
    this.rowBytes = rowBytes;
    this.partRows = partRows;
    /** The row that a chunk left unfinished, from `at - carried` on. */
    this.carry = new Uint8Array(4);
    this.carried = 0;
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    const { rowBytes, matrix: { rowPitch } } = this;
    for (let from = 0; from < bytes.length;) {
      const isStart = this.at === 0;
      const whole = isStart ? Math.min(Math.floor((bytes.length - from) / rowBytes),
        this.partRows - this.row % this.partRows) : 0;
      if (whole) {
        this.#write(0, this.#padded(bytes.subarray(from, from + whole * rowBytes), whole));
        this.row += whole;
        from += whole * rowBytes;
        continue;
      }
      const count = Math.min(rowBytes - this.at, bytes.length - from);
      this.#piece(bytes.subarray(from, from + count), this.at + count === rowBytes, rowPitch);
      from += count;
    }
  }

  /** Rows with their padding. @param {Uint8Array} bytes @param {number} rows */
  #padded(bytes, rows) {
    const { rowBytes, matrix: { rowPitch } } = this;
    if (rowPitch === rowBytes) return bytes;
    const padded = new Uint8Array(rows * rowPitch);
    for (let row = 0; row < rows; row++) {
      padded.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), row * rowPitch);
    }
    return padded;
  }

  /** A row's next bytes: whole words are written, the others wait for more.
   * @param {Uint8Array} bytes @param {boolean} isLast @param {number} rowPitch */
  #piece(bytes, isLast, rowPitch) {
    const start = this.at - this.carried;
    const joint = new Uint8Array(isLast ? rowPitch - start : this.carried + bytes.length);
    joint.set(this.carry.subarray(0, this.carried));
    joint.set(bytes, this.carried);
    const whole = joint.length - joint.length % 4;
    this.#write(start, joint.subarray(0, whole));
    this.carried = joint.length - whole;
    this.carry.set(joint.subarray(whole));
    this.at = isLast ? 0 : this.at + bytes.length;
    if (isLast) this.row++;
  }

  /** @param {number} at of the row @param {Uint8Array} bytes */
  #write(at, bytes) {
    if (!bytes.length) return;
    const { gpu, parts, rowPitch } = this.matrix;
    const { buffer, firstRow } = parts[Math.floor(this.row / this.partRows)];
    gpu.device.queue.writeBuffer(buffer, (this.row - firstRow) * rowPitch + at,
      /** @type {Uint8Array<ArrayBuffer>} */ (bytes));
  }
}

/** A matrix on the GPU that is not coded. Made by loadPlain() or PlainMatrix.fromBuffer(). */
export class PlainMatrix {
  /** @type {PlainPart[]} */
  parts = [];
  /** Whether the buffers are destroyed with the matrix. */
  isOwner = false;
  #isDestroyed = false;

  /**
   * @param {WebGpu} gpu
   * @param {Omit<PlainBuffer, 'buffer'> & {rowPitch: number}} description
   */
  constructor(gpu, { dtype, rows, columns, rowPitch, scale = 1, layout, name = 'plain matrix' }) {
    this.gpu = gpu;
    this.name = name;
    this.dtype = dtype;
    this.rows = rows;
    this.columns = columns;
    /** Bytes from row to row. */
    this.rowPitch = rowPitch;
    this.scale = scale;
    this.layout = layout ?? pickLayout(gpu.info);
    /** y = W x, for your own command encoders: prepare() and encode() as for coded matrices. */
    this.products = new PlainProducts(this);
  }

  /**
   * A matrix in a buffer of yours, or of a decoded tensor: `PlainMatrix.fromBuffer(gpu, { buffer:
   * w.buffer, dtype: 'I8', rows: w.rows, columns: w.columns, scale: w.step })`.
   * @param {WebGpu} gpu @param {PlainBuffer} description
   * @returns {PlainMatrix} destroy() leaves the buffer alone
   * @throws {HanselError} HANSEL_ERR_ARGUMENT, _DTYPE, _LIMIT
   */
  static fromBuffer(gpu, description) {
    const { buffer, dtype, rows, columns, name = 'plain matrix' } = description;
    checkDtype(dtype, name);
    const rowBytes = columns * KINDS[dtype].bytes;
    const { rowPitch = ceilTo(rowBytes, 4) } = description;
    const bytes = rows ? (rows - 1) * rowPitch + rowBytes : 0;
    if (![rows, columns].every(Number.isSafeInteger) || Math.min(rows, columns) < 0
      || rowPitch % 4 || rowPitch < rowBytes || buffer.size < bytes) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'the buffer cannot hold this matrix', {
        expected: 'a pitch that is a multiple of 4 and holds a row, and room for all rows',
        got: `${rows} x ${columns} ${dtype}, pitch ${rowPitch}, ${buffer.size} bytes`, where: name,
      });
    }
    if (buffer.size > gpu.bindingBytes) {
      throw new HanselError('HANSEL_ERR_LIMIT', 'the buffer is larger than a binding', {
        expected: `at most ${gpu.bindingBytes} bytes`, got: buffer.size, where: name,
      });
    }
    const matrix = new PlainMatrix(gpu, { ...description, rowPitch });
    if (rows) matrix.parts.push({ buffer, firstRow: 0, rows });
    return matrix;
  }

  /** @throws {HanselError} HANSEL_ERR_DESTROYED */
  checkAlive() {
    if (this.#isDestroyed) {
      throw new HanselError('HANSEL_ERR_DESTROYED', 'the matrix was destroyed', {
        where: this.name,
      });
    }
  }

  /** As WebGpuMatrix.matvec(). @param {Vector} x @param {{bias?: Float32Array}} [options] */
  async matvec(x, { bias } = {}) {
    return this.matmul(x, 1, { bias });
  }

  /**
   * As WebGpuMatrix.matmul().
   * @param {Vector} x @param {number} batch @param {{bias?: Float32Array}} [options]
   * @returns {Promise<Float32Array>}
   */
  async matmul(x, batch, { bias } = {}) {
    this.checkAlive();
    const { rows, name } = this;
    const vectors = checkFloats(this, x, batch);
    if (bias) checkVector({ rows, columns: rows, name: `${name} bias` }, bias, 'Float32Array', 1);
    return new Float32Array(await this.products.run(vectors, batch, bias, false));
  }

  /**
   * I8 weights times signed bytes: exact, not scaled.
   * @param {Int8Array} x @returns {Promise<Int32Array>} rows
   * @throws {HanselError} HANSEL_ERR_DTYPE for floats, HANSEL_ERR_LIMIT above 131,071 columns
   */
  async matvecI8(x) {
    this.checkAlive();
    checkInteger(this.products.blob, this.name);
    checkVector(this, x, 'Int8Array', 1);
    return new Int32Array(await this.products.run(x, 1, undefined, true));
  }

  /** Frees the GPU's memory, but no buffer of yours. The matrix cannot be used afterwards. */
  destroy() {
    this.#isDestroyed = true;
    if (this.isOwner) for (const { buffer } of this.parts) this.gpu.free(buffer);
    this.products.destroy();
    this.parts = [];
  }
}

/** The products of one plain matrix: those of coded ones, but for the kernel. */
class PlainProducts extends Products {
  /** @type {Map<string, GPUBuffer>} */
  #uniforms = new Map();
  /** @type {Map<string, GPUComputePipeline>} */
  #pipelines = new Map();
  /** @type {GPUBuffer | null} */
  #none = null;
  #rowLanes;

  /** @param {PlainMatrix} plain */
  constructor(plain) {
    const { gpu, name, dtype, rows, columns } = plain;
    // What Products asks of a coded matrix.
    const blob = { mode: 'plain', dtype, rows, columns, pieces: 1 };
    super(/** @type {any} */ ({ gpu, name, blob, checkAlive: () => plain.checkAlive() }));
    this.plain = plain;
    this.blob = blob;
    // No more invocations than a row has work for.
    const { bytes } = KINDS[dtype];
    const pieces = Math.max(1, Math.ceil(columns * bytes / (plain.rowPitch % 16 ? 4 : 16)));
    this.#rowLanes = plain.layout === 'group'
      ? Math.min(GROUP_SIZE, 2 ** Math.ceil(Math.log2(pieces))) : 1;
  }

  /** Compiles what encode() will need. @param {boolean} integer @param {'F32' | 'F16'} [xDtype] */
  async prepare(integer, xDtype = 'F32') {
    const { gpu, dtype, rowPitch, name } = this.plain;
    checkXDtype(xDtype, integer, name);
    const dot = gpu.hasPackedDot ? 'dot_packed.wgsl' : 'dot_plain.wgsl';
    await gpu.guard(async () => {
      if (xDtype === 'F16') await this.prepareWidening();
      for (const tile of integer ? [1] : [1, TILE]) {
        const constants = {
          group_size: GROUP_SIZE, row_lanes: this.#rowLanes, dtype: KINDS[dtype].code, tile,
          is_integer: integer ? 1 : 0, wide: rowPitch % 16 ? 0 : 1,
        };
        this.#pipelines.set(`${integer} ${tile}`,
          await gpu.pipeline([dot, 'matvec_plain.wgsl'], 'matvec_rows', constants));
      }
    });
  }

  /**
   * Records the product into a compute pass of yours; prepare() must have been awaited.
   * @param {GPUComputePassEncoder} pass
   * @param {import('./webgpu_products.js').ProductArguments} argument
   */
  encode(pass, argument) {
    const { integer = false, xDtype = 'F32' } = argument;
    const { plain } = this;
    const { gpu, rows, columns, name } = plain;
    plain.checkAlive();
    checkXDtype(xDtype, integer, name);
    const { x, y, xOffset = 0, yOffset = 0, xStride, yStride, batch = 1, bias } = xDtype === 'F16'
      ? this.widen(pass, argument) : argument;
    (integer ? checkInteger : checkFloat)(this.blob, name);
    const stride = xStride ?? 4 * rowSteps(columns);
    if (xOffset % 4 || stride % 4 || (integer && bias)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible product', {
        expected: 'xOffset and xStride multiples of 4, no bias with integer',
        got: `${xOffset}, ${stride}, ${bias ? 'bias' : 'no bias'}`, where: name,
      });
    }
    const tile = integer || batch === 1 ? 1 : TILE;
    const pipeline = this.#pipelines.get(`${integer} ${tile}`);
    if (!pipeline) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'await prepare() before encode()', {
        where: name,
      });
    }
    this.#none ??= gpu.buffer(16, GPUBufferUsage.STORAGE, 'unused');
    const none = this.#none;
    for (const { buffer, firstRow, rows: count } of plain.parts) {
      for (let first = 0; first < batch; first += tile) {
        const uniform = this.#uniform([firstRow, count, GROUP_COLUMNS, columns, plain.rowPitch / 4,
          first, batch, xOffset / 4, stride / 4, yOffset, yStride ?? rows, bias ? 1 : 0],
        plain.scale);
        gpu.record(pass, pipeline, [uniform, buffer, buffer, integer ? none : x,
          integer ? x : none, bias ?? none, y], count * this.#rowLanes);
      }
    }
  }

  /** A uniform buffer with struct Plain, made once.
   * @param {number[]} fields @param {number} scale */
  #uniform(fields, scale) {
    const { gpu } = this.plain;
    const key = String(fields);
    let buffer = this.#uniforms.get(key);
    if (!buffer) {
      const data = new Uint32Array(16);
      data.set(fields);
      new Float32Array(data.buffer)[fields.length] = scale;
      buffer = gpu.filled(data, GPUBufferUsage.UNIFORM, 'uniform');
      this.#uniforms.set(key, buffer);
    }
    return buffer;
  }

  destroy() {
    const { gpu } = this.plain;
    for (const buffer of this.#uniforms.values()) gpu.free(buffer);
    gpu.free(this.#none);
    this.#uniforms.clear();
    super.destroy();
  }
}
