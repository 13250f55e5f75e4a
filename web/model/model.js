/**
 * An open file: a safetensors file, or a sharded checkpoint, whose tensors may be coded. What is
 * rarely wanted is loaded when it is first called.
 */
import { Codec } from '../core/codec.js';
import { arrayType, isConvertible, typedArray } from '../core/dtypes.js';
import { HanselError } from '../core/errors.js';
import { allocate } from '../core/memory.js';
import { refuse } from '../core/options.js';
import { readManifest } from '../file/manifest.js';
import { dtypeBits, readHeader } from '../file/safetensors.js';
import { openSource } from '../file/source.js';
import { checkThreads, createPool } from '../workers/pool.js';
import { describeTensor, isSeveral } from './tensor.js';
import { TensorReader, drain } from './tensor_reader.js';

/** @typedef {import('./tensor.js').Tensor} Tensor */
/** @typedef {import('./tensor.js').Place} Place */
/** @typedef {import('./tensor.js').Progress} Progress */
/** @typedef {import('./tensor_reader.js').Reading} Reading */
/** @typedef {import('./tensor_reader.js').ReadHead} ReadHead */
/** @typedef {import('../file/source.js').Source} Source */
/** @typedef {import('../core/dtypes.js').Dtype} Dtype */
/**
 * @template {Dtype} D
 * @typedef {import('../core/dtypes.js').ArrayOf<D>} ArrayOf
 */
/**
 * @template {Dtype} [D=Dtype]
 * @typedef {object} ReadOptions
 * @property {D} [dtype] 'F32', 'F16' or 'BF16' converts, 'I8' gives grid indices; the
 *   tensor's own when left out
 * @property {AbortSignal} [signal]
 * @property {(progress: Progress) => void} [onProgress] done and total in weights
 */

/** Loaded for the first result in WebAssembly memory. @type {typeof import('./in_place.js') | undefined} */
let inPlace;

/** An open file. Make one with open(). */
export class Model {
  /** @param {Codec} codec @param {number} [threads] */
  constructor(codec, threads) {
    this.codec = codec;
    /** What decodes small tensors, and large ones. */
    this.pools = [createPool(codec), createPool(codec, threads)];
    this.threads = threads;
    /** Name to what it is, in file order. @type {Map<string, Tensor>} */
    this.tensors = new Map();
    /** The files' metadata, Hansel's own entry left out. @type {Map<string, string>} */
    this.metadata = new Map();
    /** Each file's header before it was coded, unless its manifest is of version 1 or 2.
     * @type {(import('../file/safetensors.js').Header | undefined)[]} */
    this.headers = [];
    /** Bytes of all files. */
    this.bytes = 0;
    /** True where every file carries a Hansel manifest. */
    this.isCoded = true;
    /** @type {Map<string, Place>} */
    this.places = new Map();
    /** @type {Source[]} */
    this.sources = [];
    /** Heads that rows() has read. @type {Map<string, import('./rows.js').KnownHead>} */
    this.heads = new Map();
  }

  /** Adds a file's tensors. @param {Source} source @param {AbortSignal} [signal]
   * @returns {Promise<Iterable<string>>} their names */
  async addFile(source, signal) {
    this.sources.push(source);
    this.bytes += source.size;
    const header = await readHeader(source, { signal }).catch(async (error) => {
      throw await (await import('../file/looks_like.js')).explain(error, source);
    });
    const manifest = await readManifest(header, (bytes) => this.codec.crc32c(bytes), source, { signal });
    if (!manifest) this.isCoded = false;
    const plain = manifest ? manifest.header : header;
    this.headers.push(plain);
    const { metadata, tensors } = plain ?? header;
    for (const [key, value] of metadata) {
      if (key !== 'hansel') this.metadata.set(key, value);
    }
    for (const [name, stored] of tensors) {
      if (this.tensors.has(name)) {
        throw new HanselError('HANSEL_ERR_INDEX', 'a tensor is in two shards', { where: name });
      }
      const entry = manifest?.tensors.get(name);
      this.tensors.set(name, describeTensor(name, stored, entry));
      this.places.set(name, {
        source, start: stored.start, end: stored.end, crc: entry?.crc32c ?? null, ...entry?.place,
      });
    }
    return tensors.keys();
  }

  /**
   * What the file says of a tensor.
   * @param {string} name @returns {Tensor} @throws {HanselError} HANSEL_ERR_TENSOR
   */
  tensor(name) {
    const tensor = this.tensors.get(name);
    if (!tensor) {
      throw new HanselError('HANSEL_ERR_TENSOR', 'no such tensor', {
        expected: `one of ${this.tensors.size} names`, got: JSON.stringify(name),
      });
    }
    return tensor;
  }

  /** @param {string} name @returns {Place} where its bytes are */
  place(name) {
    this.tensor(name);
    return /** @type {Place} */ (this.places.get(name));
  }

  /** @param {string} name @param {Reading} wanted @throws {HanselError} HANSEL_ERR_TENSOR */
  async #reader(name, wanted) {
    const place = this.place(name);
    if (!isSeveral(place)) return new TensorReader(this, name, this.tensor(name), place, wanted);
    const { SeveralReader } = await import('./several.js');
    return new SeveralReader(this, name, wanted);
  }

  /**
   * The head of a coded tensor, read and checked; the payload is not.
   * @param {string} name @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<import('./head.js').Head>}
   * @throws {HanselError} HANSEL_ERR_DTYPE if the tensor is not coded; what slices() throws
   */
  async head(name, { signal, ...rest } = {}) {
    await refuse(rest, 'head');
    const { describeHead } = await import('./head.js');
    return describeHead((await this.headOf(name, signal)).blob);
  }

  /**
   * @param {string} name @param {AbortSignal} [signal]
   * @returns {Promise<ReadHead>} the head as the C core's struct, as bytes, and the streams' starts
   * @throws {HanselError} as head()
   */
  async headOf(name, signal) {
    return (await this.#codedReader(name, { isHead: true, signal })).readHead();
  }

  /** @param {string} name @param {Reading} wanted @throws {HanselError} if it is not one blob */
  async #codedReader(name, wanted) {
    const isPassed = this.tensor(name).mode === 'pass-through';
    const reader = await this.#reader(name, wanted);
    if (reader instanceof TensorReader && !isPassed) return reader;
    await reader.close();
    throw new HanselError('HANSEL_ERR_DTYPE', 'the tensor has no head', {
      expected: 'a coded tensor, as one matrix', where: name,
      got: isPassed ? 'passed through' : 'planes, or classes of rows',
    });
  }

  /**
   * A coded tensor for those who bring their own decoder: its head at once, its payload as it
   * arrives. The payload's checksum is checked after the last chunk.
   * @param {string} name @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<ReadHead & {chunks: AsyncGenerator<Uint8Array>}>} cursors: as
   *   Codec.readCursors(); chunks: blobBytes - headBytes bytes in chunks of any size, not to be
   *   written to; must be read to the end, or returned
   * @throws {HanselError} HANSEL_ERR_DTYPE if the tensor is not coded; HANSEL_ERR_CHECKSUM, and
   *   what the source and the C core throw
   */
  async payload(name, { signal } = {}) {
    const reader = await this.#codedReader(name, { signal });
    return { ...await reader.readHead(), chunks: reader.chunks() };
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
   * A tensor piece by piece, first to last, checked as it goes: an error may come after good
   * slices. Of lossless floats, whose coded and raw planes lie one behind the other, a byte a
   * weight is held from the first slice on; of planes and classes (FORMAT.md 7), all of it.
   * @param {string} name @param {ReadOptions} [options]
   * @returns {AsyncGenerator<{start: number, bytes: Uint8Array}>} row-major, start in weights;
   *   bytes are little-endian elements of the dtype, whole ones, and the caller's
   * @throws {HanselError} HANSEL_ERR_TENSOR, _DTYPE; HANSEL_ERR_CHECKSUM, _CORRUPT, _RESERVED,
   *   _MANIFEST, _TRUNCATED for damaged tensors; HANSEL_ERR_ABORTED; what the source throws
   */
  async* slices(name, { dtype, signal, onProgress, ...rest } = {}) {
    await refuse(rest, 'slices');
    const wanted = { dtype: this.#target(name, dtype), signal, onProgress };
    yield* (await this.#reader(name, wanted)).slices();
  }

  /**
   * Decodes a tensor into an array of yours.
   * @template {ArrayBufferView} T
   * @overload
   * @param {string} name
   * @param {ReadOptions<Dtype> & {into: T}} options into: of the kind and size of the result; after an
   *   error it holds no one knows what
   * @returns {Promise<T>} into
   * @throws {HanselError} as below, HANSEL_ERR_ARGUMENT if into does not fit
   */
  /**
   * Decodes a tensor.
   * @template {Dtype} [D=Dtype]
   * @overload
   * @param {string} name
   * @param {ReadOptions<D> & {shared?: boolean, wasm?: boolean}} [options] shared: the result lies in a
   *   SharedArrayBuffer, which worker threads fill by themselves; in a page that needs cross-origin
   *   isolation. wasm: it lies in WebAssembly memory of its own, where the calling thread decodes it to, and which
   *   cannot be transferred to another; as `into` of a later call it is filled so again
   * @returns {Promise<ArrayOf<D>>} row-major typed array of the dtype, the caller's: Float32Array for
   *   F32, Int8Array for I8, Uint16Array of bit patterns for F16 and BF16 (web/core/convert.js has
   *   their values), Uint8Array where JavaScript has no type for them
   * @throws {HanselError} as slices(), HANSEL_ERR_MEMORY
   */
  /**
   * @param {string} name
   * @param {ReadOptions<Dtype> & {shared?: boolean, wasm?: boolean, into?: ArrayBufferView}} [options]
   * @returns {Promise<any>}
   */
  async decode(name, { dtype, shared, wasm, into, signal, onProgress, ...rest } = {}) {
    await refuse(rest, 'decode');
    const target = this.#target(name, dtype);
    const bytes = Math.ceil(this.tensor(name).weights * dtypeBits(target) / 8);
    const type = arrayType(target);
    if (into && !(into instanceof type && into.byteLength === bytes)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'into does not fit', {
        expected: `${type.name} of ${bytes} bytes`,
        got: `${into.constructor.name} of ${into.byteLength}`, where: name,
      });
    }
    if (wasm) inPlace ??= await import('./in_place.js');
    const out = into ? new Uint8Array(/** @type {ArrayBuffer} */ (into.buffer), into.byteOffset, bytes)
      : wasm && inPlace ? inPlace.roomInWasm(this.codec, bytes, name) : allocate(bytes, name, shared);
    const wanted = { dtype: target, out, signal, onProgress };
    await drain((await inPlace?.readerInWasm(this, name, wanted) ?? await this.#reader(name, wanted)).slices());
    return into ?? typedArray(target, /** @type {ArrayBuffer} */ (out.buffer), out.byteOffset, bytes);
  }

  /**
   * Some rows of a tensor, which all dimensions but the last count, such as those of an
   * embedding table. Reads and decodes only the streams that hold them, or of planes and classes
   * (FORMAT.md 7) the whole tensor; a coded tensor's head is read once and kept. Checksums cover
   * whole tensors and are not checked, but of planes and classes; a damaged stream is found where
   * it does not end as it must.
   * @template {Dtype} [D=Dtype]
   * @param {string} name @param {number} first @param {number} count
   * @param {{dtype?: D, signal?: AbortSignal}} [options] dtype as in decode()
   * @returns {Promise<ArrayOf<D>>} count rows, row-major, a typed array as decode() gives it, the caller's
   * @throws {HanselError} HANSEL_ERR_ARGUMENT for rows that are not there; HANSEL_ERR_TENSOR,
   *   _DTYPE, _CORRUPT, _ABORTED, _MEMORY; what the head and the source throw
   * @example
   * const vector = await model.rows('embed_tokens.weight', token, 1);
   */
  async rows(name, first, count, { dtype, signal, ...rest } = {}) {
    await refuse(rest, 'rows');
    const wanted = { dtype: this.#target(name, dtype), isHead: true, signal };
    const { readRows } = await import('./rows.js');
    return readRows(await this.#reader(name, wanted), this.heads, first, count);
  }

  /**
   * The coded symbols: grid indices, or for lossless tensors the coded plane's bytes.
   * @param {string} name
   * @param {{signal?: AbortSignal, onProgress?: (progress: Progress) => void}} [options] progress
   *   in weights
   * @returns {Promise<Int8Array<ArrayBuffer>>} one a weight, row-major, the caller's
   * @throws {HanselError} HANSEL_ERR_DTYPE for a tensor without symbols: passed through, and its
   *   elements no bytes; as decode()
   */
  async symbols(name, { signal, onProgress, ...rest } = {}) {
    await refuse(rest, 'symbols');
    const { mode, dtype, weights } = this.tensor(name);
    const isWhole = mode === 'pass-through' || this.place(name).record?.kind === 4; // as they are
    if (isWhole && dtypeBits(dtype) !== 8) this.#target(name, 'I8'); // throws
    const out = allocate(weights, name);
    await drain((await this.#reader(name, { dtype: 'I8', out, signal, onProgress })).slices());
    return new Int8Array(out.buffer);
  }

  /**
   * y = W x on the CPU, multiplied as it is decoded: of W no more than slices() holds is in memory.
   * Fetches the tensor each time: to multiply often, keep it with
   * `new WasmBackend().load(model, name)` of hansel/gpu.
   * @param {string} name a coded tensor, as a matrix of head(name).rows and .columns (FORMAT.md
   *   3.1), or F32, F16, BF16 or I8 that is not coded, its rows the last dimension
   * @param {import('../core/vectors.js').Vector} x `columns` elements; not modified
   * @param {{bias?: Float32Array, signal?: AbortSignal}} [options] bias: added, one a row
   * @returns {Promise<Float32Array>} one sum a row, the caller's
   * @throws {HanselError} HANSEL_ERR_DTYPE for weights that are no numbers to us (U8, F8, ...),
   *   HANSEL_ERR_ARGUMENT for a vector of the wrong type or length; as decode()
   */
  async matvec(name, x, { bias, signal, ...rest } = {}) {
    await refuse(rest, 'matvec');
    const { readProduct, wantedOf } = await import('./product.js');
    return readProduct(await this.#reader(name, wantedOf(this.tensor(name), signal)), x, bias);
  }

  /**
   * Checks one tensor: every byte against a CRC-32C, every stream by decoding it. Reads a coded
   * tensor of a file before version 4 twice; holds what slices() holds.
   * @param {string} name
   * @param {{signal?: AbortSignal, onProgress?: (progress: Progress) => void}} [options] progress in
   *   weights, of the decoding
   * @throws {HanselError} HANSEL_ERR_CHECKSUM, and as slices(); nothing if the tensor is sound
   */
  async verify(name, { signal, onProgress, ...rest } = {}) {
    await refuse(rest, 'verify');
    const place = this.place(name);
    const { crc } = place;
    const isBlob = this.tensor(name).mode !== 'pass-through' && !isSeveral(place);
    const checkBytes = async () => {
      const reader = await this.#codedReader(name, { signal });
      if (crc === null) await reader.readHead(); // which has the checksum of the rest
      await drain(reader.chunks());
    };
    if (isBlob && crc !== null) await checkBytes();
    try {
      await drain((await this.#reader(name, { isBrief: true, signal, onProgress })).slices());
    } catch (error) {
      if (isBlob) await checkBytes(); // damaged bytes are told as such
      throw error;
    }
  }

  /** Closes the files. Reading afterwards is HANSEL_ERR_SOURCE. */
  async close() {
    await Promise.all(this.sources.map((source) => source.close()));
  }
}

/**
 * Opens a safetensors file, coded or not, or a checkpoint's model.safetensors.index.json.
 * Reads headers only; weights are fetched when asked for.
 *
 * @param {Uint8Array | ArrayBuffer | InstanceType<typeof globalThis.Blob> | URL | string} from
 *   a URL (the server must answer Range requests), a Blob or File, bytes, or in Node a
 *   path; retained until close()
 * @param {{signal?: AbortSignal, onProgress?: (progress: Progress) => void, threads?: number,
 *   simd?: boolean, resumable?: boolean}} [options] onProgress counts files; threads that
 *   share large tensors, the calling one among them, 1 by default; simd forces a WebAssembly
 *   build; resumable keeps what a stopped read has received, so that the next one asks for the
 *   rest only
 * @returns {Promise<Model>}
 * @throws {HanselError} HANSEL_ERR_SAFETENSORS, _MANIFEST, _INDEX, _TRUNCATED, _CHECKSUM, _VERSION
 *   for bad files; HANSEL_ERR_SOURCE, _HTTP, _ABORTED for what cannot be read
 * @example
 * const model = await open('model.hansel.safetensors');
 * for (const [name, { shape, bits }] of model.tensors) console.log(name, shape, bits);
 * const weights = await model.decode('w'); // Float32Array
 */
export async function open(from, { signal, onProgress, threads, simd, resumable, ...rest } = {}) {
  await refuse(rest, 'open');
  checkThreads(threads);
  const loading = Codec.create({ simd, decoder: true });
  loading.catch(() => {}); // reported below, if the source can be opened
  const source = await openSource(/** @type {any} */ (from), { signal, resumable });
  let model;
  try {
    model = new Model(await loading, threads);
    if (/\.json$/i.test(source.name)) {
      await (await import('./checkpoint.js')).addShards(model, source, { signal, onProgress });
    } else {
      await model.addFile(source, signal);
      onProgress?.({ done: 1, total: 1, tensor: '' });
    }
    return model;
  } catch (error) {
    await source.close();
    await model?.close();
    throw error;
  }
}
