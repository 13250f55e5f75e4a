/**
 * Reading: a safetensors file, or a sharded checkpoint, whose tensors may be
 * coded. Tensors are fetched and decoded in slices, so that no more than the
 * result and two chunks are in memory (with worker threads, four slices a thread).
 */
import { Codec, FIXED_BYTES } from '../core/codec.js';
import { dtypeBytes, isConvertible, typedArray } from '../core/dtypes.js';
import { HanselError, checkAborted } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { streamRanges } from '../core/ranges.js';
import { takeTurn } from '../core/turn.js';
import { ByteReader } from '../file/byte_reader.js';
import { formatCrc, readManifest } from '../file/manifest.js';
import { dtypeBits, elementCount, readHeader } from '../file/safetensors.js';
import { openSource } from '../file/source.js';
import { checkThreads, createPool, mapOrdered } from '../workers/pool.js';

/** Bytes in which most heads end. */
const HEAD_BYTES = 1 << 14;
/** Weights and bytes that are decoded at a time, unless one stream is larger: a millisecond's work. */
const BATCH = 1 << 18;
/** ... by workers, where each costs two messages. */
const WORKER_BATCH = 1 << 19;
/** Tensors of fewer weights are decoded by the calling thread. */
const MIN_THREADED = 1 << 20;

/**
 * @typedef {object} Tensor
 * @property {string} dtype of the weights, before coding
 * @property {number[]} shape
 * @property {'grid' | 'lossless' | 'pass-through'} mode
 * @property {number} step grid step; 0 unless mode is 'grid'
 * @property {number} weights
 * @property {number} bytes in the file
 * @property {number} bits bytes * 8 per weight; 0 without weights
 * @property {number | null} entropyBits per weight, raw planes included; null if not coded
 */
/** @typedef {import('../file/source.js').Source} Source */
/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {{source: Source, start: number, end: number, crc: number | null}} Place */
/** @typedef {{done: number, total: number, tensor: string}} Progress */
/**
 * @typedef {object} How a tensor is decoded
 * @property {boolean} [isBrief] leaves out what needs no check: weights that are all equal, of
 *   which a small file can claim very many
 * @property {boolean} [isPlane] leaves out the raw plane, but for its checksum
 * @property {Uint8Array} [out] where the whole tensor goes; slices are views of it
 */
/**
 * @typedef {object} ReadOptions
 * @property {string} [dtype] 'F32', 'F16' or 'BF16' converts, 'I8' gives grid indices; the
 *   tensor's own when left out
 * @property {AbortSignal} [signal]
 * @property {(progress: Progress) => void} [onProgress] done and total in weights
 */

/**
 * A range, its beginning by a small read: most heads are in it, and no transfer has to be broken off.
 * @param {Source} source @param {number} start @param {number} end @param {AbortSignal} [signal]
 */
async function* readAfterHead(source, start, end, signal) {
  const first = Math.min(start + HEAD_BYTES, end);
  yield source.read(start, first, { signal });
  yield* source.stream(first, end, { signal });
}

/** Names the tensor in whatever goes wrong with it. @param {unknown} error @param {string} name */
export function locate(error, name) {
  if (error instanceof HanselError && error.where === undefined) {
    error.where = name;
    error.message = `${name}: ${error.message}`;
  }
  return error;
}

/** An open file. Make one with open(). */
export class Model {
  /** @param {Codec} codec @param {number} [threads] */
  constructor(codec, threads = 1) {
    this.codec = codec;
    /** What decodes small tensors, and large ones. */
    this.pools = [createPool(codec), createPool(codec, threads)];
    /** Name to what it is, in file order. @type {Map<string, Tensor>} */
    this.tensors = new Map();
    /** The files' metadata, Hansel's own entry left out. @type {Map<string, string>} */
    this.metadata = new Map();
    /** Bytes of all files. */
    this.bytes = 0;
    /** True where every file carries a Hansel manifest. */
    this.isCoded = true;
    /** @type {Map<string, Place>} */
    this.places = new Map();
    /** @type {Source[]} */
    this.sources = [];
    /** Heads that rows() has read. @type {Map<string, {blob: Blob, cursors: Uint32Array}>} */
    this.heads = new Map();
  }

  /** @param {Source} source @param {AbortSignal} [signal] adds a file's tensors */
  async addFile(source, signal) {
    this.sources.push(source);
    this.bytes += source.size;
    const header = await readHeader(source, { signal });
    const manifest = readManifest(header, (bytes) => this.codec.crc32c(bytes));
    if (!manifest) this.isCoded = false;
    for (const [key, value] of header.metadata) {
      if (key !== 'hansel') this.metadata.set(key, value);
    }
    for (const [name, stored] of header.tensors) {
      if (this.tensors.has(name)) {
        throw new HanselError('HANSEL_ERR_INDEX', 'a tensor is in two shards', { where: name });
      }
      const entry = manifest?.tensors.get(name);
      this.tensors.set(name, describeTensor(name, stored, entry));
      this.places.set(name, {
        source, start: stored.start, end: stored.end, crc: entry ? entry.crc32c : null,
      });
    }
  }

  /**
   * What the file says of a tensor.
   * @param {string} name @returns {Tensor} @throws {HanselError} HANSEL_ERR_TENSOR
   */
  tensor(name) {
    const tensor = this.tensors.get(name);
    if (!tensor) {
      throw new HanselError('HANSEL_ERR_TENSOR', 'no such tensor', {
        expected: `one of the ${this.tensors.size} names in the file`, got: JSON.stringify(name),
      });
    }
    return tensor;
  }

  /** @param {string} name @returns {Place} where its bytes are */
  place(name) {
    this.tensor(name);
    return /** @type {Place} */ (this.places.get(name));
  }

  /**
   * The head of a coded tensor, checked against the file's manifest.
   * @param {string} name @param {ByteReader} reader at the blob's first byte
   * @returns {Promise<{blob: Blob, head: Uint8Array}>}
   */
  async readHead(name, reader) {
    const { start, end } = this.place(name);
    let head = (await reader.take(Math.min(FIXED_BYTES, end - start))).slice();
    let blob = this.codec.readHead(head);
    if (typeof blob === 'number') {
      if (blob > end - start) {
        throw new HanselError('HANSEL_ERR_TRUNCATED', 'the coded tensor is cut short', {
          expected: `${blob} bytes`, got: end - start,
        });
      }
      const more = await reader.take(blob - head.length);
      const whole = new Uint8Array(blob);
      whole.set(head);
      whole.set(more, head.length);
      head = whole;
      blob = this.codec.readHead(head);
    }
    if (typeof blob === 'number') throw new HanselError('HANSEL_ERR_TRUNCATED', 'no head');
    const { dtype, shape, mode, step } = this.tensor(name);
    const said = `${mode} ${dtype} [${shape}], step ${step}, in ${end - start} bytes`;
    const found = `${blob.mode} ${blob.dtype} [${blob.shape}], step ${blob.step}, `
      + `in ${blob.blobBytes} bytes`;
    if (said !== found) {
      throw new HanselError('HANSEL_ERR_MANIFEST', 'the coded tensor contradicts the manifest', {
        expected: said, got: found,
      });
    }
    return { blob, head };
  }

  /**
   * The head of a coded tensor, read and checked; the payload is not.
   * @param {string} name @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<import('./head.js').Head>}
   * @throws {HanselError} HANSEL_ERR_DTYPE if the tensor is not coded; what slices() throws
   */
  async head(name, { signal } = {}) {
    try {
      const { describeHead } = await import('./head.js');
      return describeHead((await this.headOf(name, signal)).blob);
    } catch (error) {
      throw locate(error, name);
    }
  }

  /**
   * @param {string} name @param {AbortSignal} [signal]
   * @returns {Promise<{blob: Blob, head: Uint8Array}>} the head, parsed and as bytes
   * @throws {HanselError} as head(), but not saying of which tensor
   */
  async headOf(name, signal) {
    this.#checkCoded(name);
    const { source, start, end } = this.place(name);
    const reader = new ByteReader(readAfterHead(source, start, end, signal));
    try {
      return await this.readHead(name, reader);
    } finally {
      await reader.close();
    }
  }

  /** @param {string} name */
  #checkCoded(name) {
    if (this.tensor(name).mode !== 'pass-through') return;
    throw new HanselError('HANSEL_ERR_DTYPE', 'the tensor is not coded', {
      expected: 'a coded tensor', got: 'passed through', where: name,
    });
  }

  /**
   * A coded tensor for those who bring their own decoder: its head at once, its payload as it
   * arrives, in chunks of any size. The payload's checksum is checked after the last chunk.
   * @param {string} name @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{blob: Blob, cursors: Uint32Array, chunks: AsyncGenerator<Uint8Array>}>}
   *   cursors: as Codec.readCursors(); chunks must be read to the end, or returned
   * @throws {HanselError} HANSEL_ERR_DTYPE if the tensor is not coded; what slices() throws
   */
  async payload(name, { signal } = {}) {
    this.#checkCoded(name);
    const { readPayload } = await import('./payload.js');
    return readPayload(this, name, signal);
  }

  /**
   * The dtype to decode to.
   * @param {string} name @param {string} [wanted] the tensor's own when left out
   * @returns {string} @throws {HanselError} HANSEL_ERR_TENSOR, _DTYPE
   */
  #target(name, wanted) {
    const { dtype, mode } = this.tensor(name);
    const isGrid = mode === 'grid';
    if (wanted === undefined || wanted === dtype || (isGrid && wanted === 'I8')
      || isConvertible(dtype, wanted)) return wanted ?? dtype;
    throw new HanselError('HANSEL_ERR_DTYPE', 'the tensor cannot be decoded to that dtype', {
      expected: isGrid ? 'F32, F16, BF16 or I8' : dtype, got: wanted, where: name,
    });
  }

  /**
   * A tensor piece by piece, first to last, checked as it goes: an error may come
   * after good slices. The slices are the caller's.
   * @param {string} name @param {ReadOptions} [options]
   * @returns {AsyncGenerator<{start: number, bytes: Uint8Array}>} start counts weights
   * @throws {HanselError} HANSEL_ERR_TENSOR, _DTYPE, what the source or the C core throws
   */
  slices(name, options = {}) {
    return this.#slices(name, options, {});
  }

  /**
   * @param {string} name @param {ReadOptions} options
   * @param {How} how
   * @returns {AsyncGenerator<{start: number, bytes: Uint8Array}>}
   */
  async* #slices(name, options, { isBrief, isPlane, out }) {
    const tensor = this.tensor(name);
    const { signal, onProgress } = options;
    const dtype = isPlane ? 'I8' : this.#target(name, options.dtype);
    const isGrid = tensor.mode === 'grid';
    const isConverted = !isGrid && !isPlane && dtype !== tensor.dtype;
    const { source, start, end } = this.place(name);
    const reader = new ByteReader(source.stream(start, end, { signal }));
    try {
      const converter = isConverted ? await import('../core/convert.js') : null;
      const direct = isConverted ? undefined : out;
      const parts = tensor.mode === 'pass-through'
        ? this.#passThrough(name, reader, direct)
        : this.#decode(name, reader, isGrid ? dtype : tensor.dtype, { isBrief, isPlane, out: direct });
      let done = 0;
      for await (const bytes of parts) {
        await takeTurn();
        checkAborted(signal);
        const slice = converter ? converter.convert(bytes, tensor.dtype, dtype) : bytes;
        if (out && isConverted) out.set(slice, done * dtypeBits(dtype) / 8);
        yield { start: done, bytes: slice };
        done += slice.length * 8 / dtypeBits(dtype);
        onProgress?.({ done, total: tensor.weights, tensor: name });
      }
    } catch (error) {
      throw locate(error, name);
    } finally {
      await reader.close();
    }
  }

  /** All slices, for what they leave in how.out. @param {string} name @param {ReadOptions} options
   * @param {How} how */
  async #drain(name, options, how) {
    for await (const slice of this.#slices(name, options, how)) void slice;
  }

  /** @param {string} name @param {ByteReader} reader @param {Uint8Array} [out] */
  async* #passThrough(name, reader, out) {
    const { start, end, crc } = this.place(name);
    let found = 0;
    for (let at = start; at < end;) {
      let bytes = await reader.take(Math.min(BATCH, end - at));
      if (crc !== null) found = this.codec.crc32c(bytes, found);
      if (out) out.set(bytes, at - start);
      bytes = out ? out.subarray(at - start, at - start + bytes.length) : bytes.slice();
      at += bytes.length;
      yield bytes;
    }
    checkCrc(crc ?? found, found);
  }

  /** What decodes tensors of so many weights. @param {number} weights */
  #pool(weights) {
    return this.pools[weights < MIN_THREADED ? 0 : 1];
  }

  /** @param {string} name @param {ByteReader} reader @param {string} dtype
   * @param {How} how */
  async* #decode(name, reader, dtype, { isBrief, isPlane, out }) {
    const { codec } = this;
    const { blob, head } = await this.readHead(name, reader);
    const isGrid = blob.mode === 'grid';
    const symbols = blob.rawBytes && !isPlane ? allocate(blob.weights, name) : undefined;
    const isSkipped = isBrief && !blob.streamCount && !symbols;
    let crc = 0;
    const target = isGrid && dtype !== 'I8' ? dtype : undefined;
    for await (const part of isSkipped ? [] : this.#parts(blob, head, reader, target, symbols ?? out)) {
      crc = codec.crc32cCombine(crc, part.crc, part.size);
      if (!symbols) yield part.bytes;
    }
    crc = codec.crc32c(await this.#padding(reader, 2 * blob.wordCount), crc);
    if (symbols) {
      for await (const part of this.#joined(blob, symbols, reader, out)) {
        crc = codec.crc32cCombine(crc, part.crc, part.size);
        yield part.bytes;
      }
      crc = codec.crc32c(await this.#padding(reader, blob.weights * blob.rawBytes), crc);
    } else if (isPlane) {
      for (let left = blob.weights * blob.rawBytes; left > 0;) {
        const raw = await reader.some(left);
        crc = codec.crc32c(raw, crc);
        left -= raw.length;
        yield raw.subarray(0, 0);
      }
      crc = codec.crc32c(await this.#padding(reader, blob.weights * blob.rawBytes), crc);
    }
    checkCrc(blob.payloadCrc, crc);
  }

  /**
   * Ranges of streams, decoded in order.
   * @param {Blob} blob @param {Uint8Array} head @param {ByteReader} reader @param {string} [dtype]
   * @param {Uint8Array} [out] the whole tensor's bytes
   * @returns {AsyncGenerator<{bytes: Uint8Array, crc: number, size: number}>} crc is of `size` bytes
   *   of words
   */
  #parts(blob, head, reader, dtype, out) {
    const pool = this.#pool(blob.weights);
    const size = dtype ? dtypeBytes(dtype) : 1;
    const ranges = this.#ranges(blob, head, reader, pool);
    return mapOrdered(ranges, pool.width, async ({ first, start, count, cursors, words }) => {
      const into = out?.subarray(size * start, size * (start + count));
      const part = await pool.run('decodeRange', [blob, cursors, first, words, count, dtype], into);
      return { ...part, size: words.length };
    });
  }

  /** Ranges of streams: count weights from start on. @param {Blob} blob @param {Uint8Array} head
   * @param {ByteReader} reader @param {import('../workers/pool.js').Pool} pool */
  async* #ranges(blob, head, reader, { width }) {
    const { codec } = this;
    const batch = width > 1 ? WORKER_BATCH : BATCH;
    const cursors = codec.readCursors(blob, head);
    for (const { first, last, start, end } of streamRanges(codec, blob, batch, { cursors })) {
      const words = await reader.take(2 * (cursors[last] - cursors[first]));
      yield { first, start, count: end - start, cursors: cursors.slice(first, last + 1), words };
    }
  }

  /**
   * Weights of lossless floats: coded plane and raw plane together.
   * @param {Blob} blob @param {Uint8Array} symbols @param {ByteReader} reader
   * @param {Uint8Array} [out] the whole tensor's bytes
   */
  #joined(blob, symbols, reader, out) {
    const pool = this.#pool(blob.weights);
    const size = dtypeBytes(blob.dtype);
    const pieces = async function* () {
      for (let at = 0; at < blob.weights; at += BATCH) {
        const some = symbols.subarray(at, at + BATCH);
        yield { at, some, raw: await reader.take(some.length * blob.rawBytes) };
      }
    };
    return mapOrdered(pieces(), pool.width, async ({ at, some, raw }) => {
      const into = out?.subarray(size * at, size * (at + some.length));
      const part = await pool.run('joinRange', [blob.dtype, some, raw], into);
      return { ...part, size: raw.length };
    });
  }

  /** @param {ByteReader} reader @param {number} bytes what is padded to 16 */
  async #padding(reader, bytes) {
    const padding = await reader.take(-bytes & 15);
    if (padding.some((byte) => byte !== 0)) {
      throw new HanselError('HANSEL_ERR_RESERVED', 'a padding byte is set', {
        expected: 0, got: padding.join(),
      });
    }
    return padding;
  }

  /**
   * Decodes a tensor.
   * @param {string} name
   * @param {ReadOptions & {shared?: boolean}} [options] shared: the result lies in a
   *   SharedArrayBuffer, which worker threads fill by themselves; in a page that needs cross-origin
   *   isolation
   * @returns {Promise<any>} row-major typed array of the dtype, the caller's: Float32Array for F32,
   *   Int8Array for I8, Uint16Array of bit patterns for F16 and BF16 (see web/core/floats.js)
   * @throws {HanselError} as slices(), HANSEL_ERR_MEMORY
   */
  async decode(name, options = {}) {
    const tensor = this.tensor(name);
    const dtype = this.#target(name, options.dtype);
    const out = allocate(Math.ceil(tensor.weights * dtypeBits(dtype) / 8), name, options.shared);
    await this.#drain(name, options, { out });
    return typedArray(dtype, /** @type {ArrayBuffer} */ (out.buffer));
  }

  /**
   * Some rows of a tensor, which all dimensions but the last count, such as those of an
   * embedding table. Reads and decodes only the streams that hold them; a coded tensor's head is
   * read once and kept. Checksums cover whole tensors and are not checked; a damaged stream is
   * found where it does not end as it must.
   * @param {string} name @param {number} first @param {number} count
   * @param {{dtype?: string, signal?: AbortSignal}} [options] dtype as in decode()
   * @returns {Promise<any>} count rows, row-major, a typed array as decode() gives it, the caller's
   * @throws {HanselError} HANSEL_ERR_ARGUMENT for rows that are not there, _TENSOR, _DTYPE,
   *   _CORRUPT, and what the source throws
   * @example
   * const vector = await model.rows('embed_tokens.weight', token, 1);
   */
  async rows(name, first, count, { dtype, signal } = {}) {
    const target = this.#target(name, dtype);
    const { readRows } = await import('./rows.js');
    try {
      return await readRows(this, name, first, count, target, signal);
    } catch (error) {
      throw locate(error, name);
    }
  }

  /**
   * The coded symbols: grid indices, or for lossless tensors the coded plane's bytes.
   * @param {string} name
   * @param {{signal?: AbortSignal, onProgress?: (progress: Progress) => void}} [options]
   * @returns {Promise<Int8Array>} row-major, the caller's
   * @throws {HanselError} HANSEL_ERR_DTYPE for a tensor without symbols: passed through, not I8 or U8
   */
  async symbols(name, { signal, onProgress } = {}) {
    const { mode, dtype, weights } = this.tensor(name);
    const isPlane = mode === 'lossless' && dtypeBits(dtype) > 8;
    if (mode !== 'grid' && !isPlane && dtypeBits(dtype) !== 8) {
      throw new HanselError('HANSEL_ERR_DTYPE', 'a tensor that is not coded has no symbols', {
        expected: 'a coded tensor', got: `${dtype}, passed through`, where: name,
      });
    }
    const options = { dtype: mode === 'grid' ? 'I8' : dtype, signal, onProgress };
    const out = allocate(weights, name);
    await this.#drain(name, options, { isPlane, out });
    return new Int8Array(out.buffer);
  }

  /**
   * y = W x on the CPU, decoding as it goes. Fetches the coded tensor each time: to multiply often,
   * keep it with `new WasmBackend().load(model, name)` of hansel/gpu.
   * @param {string} name @param {import('../core/vectors.js').Vector} x `columns` elements
   * @param {{bias?: Float32Array, signal?: AbortSignal}} [options] bias: rows
   * @returns {Promise<Float32Array>} rows
   * @throws {HanselError} HANSEL_ERR_DTYPE, _ARGUMENT, as decode()
   */
  async matvec(name, x, { bias, signal } = {}) {
    const { WasmBackend } = await import('../gpu/wasm_device.js');
    const matrix = await new WasmBackend().load(this, name, { signal });
    return matrix.matvec(x, { bias });
  }

  /**
   * Checks one tensor: every byte against the manifest's CRC-32C, every stream by decoding it.
   * @param {string} name @param {{signal?: AbortSignal}} [options]
   * @throws {HanselError} HANSEL_ERR_CHECKSUM and what decoding throws
   */
  async verify(name, { signal } = {}) {
    const { source, start, end, crc } = this.place(name);
    let found = 0;
    if (crc !== null && this.tensor(name).mode !== 'pass-through') {
      for await (const bytes of source.stream(start, end, { signal })) {
        await takeTurn();
        found = this.codec.crc32c(bytes, found);
      }
      try {
        checkCrc(crc, found);
      } catch (error) {
        throw locate(error, name);
      }
    }
    await this.#drain(name, { signal }, { isBrief: true });
  }

  /** Closes the files. Reading afterwards is HANSEL_ERR_SOURCE. */
  async close() {
    await Promise.all(this.sources.map((source) => source.close()));
  }
}

/** @param {number} expected @param {number} got */
export function checkCrc(expected, got) {
  if (expected === got) return;
  throw new HanselError('HANSEL_ERR_CHECKSUM', 'the bytes are damaged: their CRC-32C is wrong', {
    expected: `0x${formatCrc(expected)}`, got: `0x${formatCrc(got)}`,
  });
}

/**
 * @param {string} name
 * @param {{dtype: string, shape: number[], start: number, end: number}} stored
 * @param {import('../file/manifest.js').ManifestEntry} [entry]
 * @returns {Tensor}
 */
function describeTensor(name, stored, entry) {
  const bytes = stored.end - stored.start;
  const bitsOf = (/** @type {number} */ weights) => (weights ? bytes * 8 / weights : 0);
  if (!entry || entry.mode === undefined) {
    const weights = elementCount(stored.shape, name);
    return {
      dtype: stored.dtype, shape: stored.shape, mode: 'pass-through', step: 0, weights, bytes,
      bits: bitsOf(weights), entropyBits: null,
    };
  }
  const { dtype, shape, mode, step, entropy_bits: entropyBits } = /** @type {any} */ (entry);
  const isSane = (mode === 'grid' || mode === 'lossless') && typeof dtype === 'string'
    && Array.isArray(shape) && shape.every((n) => Number.isSafeInteger(n) && n >= 0)
    && typeof step === 'number' && typeof entropyBits === 'number' && stored.dtype === 'U8'
    && stored.shape.length === 1;
  if (!isSane) {
    throw new HanselError('HANSEL_ERR_MANIFEST', 'a coded tensor\'s entry is malformed', {
      expected: 'mode, dtype, shape, step and entropy_bits of a one-dimensional U8 tensor',
      got: JSON.stringify(entry), where: name,
    });
  }
  dtypeBits(dtype, name);
  const weights = elementCount(shape, name);
  return { dtype, shape, mode, step, weights, bytes, bits: bitsOf(weights), entropyBits };
}

/**
 * Opens a safetensors file, coded or not, or a checkpoint's model.safetensors.index.json.
 * Reads headers only; weights are fetched when asked for.
 *
 * @param {Uint8Array | ArrayBuffer | InstanceType<typeof globalThis.Blob> | URL | string} from
 *   a URL (the server must answer Range requests), a Blob or File, bytes, or in Node a path; retained until close()
 * @param {{signal?: AbortSignal, onProgress?: (progress: Progress) => void, threads?: number,
 *   simd?: boolean, resumable?: boolean}} [options] onProgress counts files; threads that
 *   share large tensors, the calling one among them, 1 by default; simd forces a WebAssembly build; resumable
 *   keeps what a stopped read has received, so that the next one asks for the rest only
 * @returns {Promise<Model>}
 * @throws {HanselError} HANSEL_ERR_SAFETENSORS, _MANIFEST, _INDEX, _TRUNCATED, _CHECKSUM, _VERSION
 *   for bad files; HANSEL_ERR_SOURCE, _HTTP, _ABORTED for what cannot be read
 * @example
 * const model = await open('model.hansel.safetensors');
 * for (const [name, { shape, bits }] of model.tensors) console.log(name, shape, bits);
 * const weights = await model.decode('w'); // Float32Array
 */
export async function open(from, { signal, onProgress, threads = 1, simd, resumable } = {}) {
  checkThreads(threads);
  const loading = Codec.create({ simd, decoder: true });
  loading.catch(() => {}); // reported below, if the source can be opened
  const source = await openSource(/** @type {any} */ (from), { signal, resumable });
  const model = await loading.then((codec) => new Model(codec, threads)).catch(async (error) => {
    await source.close();
    throw error;
  });
  try {
    if (!/\.json$/i.test(source.name)) {
      await model.addFile(source, signal);
      onProgress?.({ done: 1, total: 1, tensor: '' });
      return model;
    }
    const { addShards } = await import('../file/shards.js');
    await addShards(model, source, { signal, onProgress });
    return model;
  } catch (error) {
    await source.close();
    await model.close();
    throw error;
  }
}
