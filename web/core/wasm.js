/**
 * Loads the WebAssembly build of the C core and lends memory in it. Knows
 * nothing of the codec; web/core/codec.js does. No JavaScript glue comes with the
 * module: its exports are the functions of src/hansel_slices.h, and memory from
 * __heap_base on is ours.
 */
import { loadAsset } from './assets.js';
import { needing } from './memory.js';

/** A module of one function that returns i8x16.popcnt(v128.const 0): valid where SIMD is. */
const SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
);

/** @type {Map<string, Promise<WebAssembly.Module>>} */
const modules = new Map();

/** What they were compiled from. @type {WeakMap<WebAssembly.Module, Uint8Array<ArrayBuffer>>} */
export const sources = new WeakMap();

/** @param {string} file @returns {Promise<WebAssembly.Module>} */
async function compile(file) {
  try {
    const { module, bytes } = await loadAsset(file);
    sources.set(module, bytes);
    return module;
  } catch (error) {
    modules.delete(file);
    throw error;
  }
}

/** True where WebAssembly SIMD is supported. */
export const hasSimd = () => WebAssembly.validate(SIMD_PROBE);

/**
 * The compiled module, shared by all instances.
 * @param {{simd?: boolean, decoder?: boolean}} [options] simd forces a build, by default the best
 *   one that runs here; decoder: one that decodes and multiplies, and cannot encode
 * @returns {Promise<WebAssembly.Module>}
 */
export function loadModule({ simd = hasSimd(), decoder = false } = {}) {
  return loadFile(`${decoder ? 'decode' : 'hansel'}${simd ? '_simd.wasm' : '.wasm'}`);
}

/** @param {string} file in dist/ @returns {Promise<WebAssembly.Module>} loaded once */
export function loadFile(file) {
  const module = modules.get(file) ?? compile(file);
  modules.set(file, module);
  return module;
}

/** One instance: its functions, and a stack of memory. */
export class Wasm {
  /** @param {WebAssembly.Module} module */
  constructor(module) {
    this.module = module;
    const { exports } = needing('memory for WebAssembly', () => new WebAssembly.Instance(module));
    /** @type {Record<string, (...args: any[]) => any>} */
    this.call = /** @type {any} */ (exports);
    this.memory = /** @type {WebAssembly.Memory} */ (exports.memory);
    this.base = /** @type {WebAssembly.Global} */ (exports.__heap_base).value;
    this.top = this.base;
    this.call._initialize?.();
  }

  /**
   * Runs a function with memory of its own: what it allocates is released when
   * it returns or throws.
   * @template T @param {() => T} body @returns {T}
   */
  scoped(body) {
    const top = this.top;
    try {
      return body();
    } finally {
      this.top = top;
    }
  }

  /**
   * @param {number} bytes @returns {number} a 16-byte aligned address, valid in this scope
   * @throws {HanselError} HANSEL_ERR_MEMORY
   */
  alloc(bytes) {
    const at = Math.ceil(this.top / 16) * 16;
    this.top = at + bytes;
    const missing = this.top - this.memory.buffer.byteLength;
    if (missing > 0) {
      needing(`WebAssembly memory of ${this.top} bytes`, () => (
        this.memory.grow(Math.ceil(missing / 65536))));
    }
    return at;
  }

  /**
   * @param {number} bytes @param {Uint8Array} [into] where the result is to go
   * @returns {number} its address if it lies in this memory, else that of room for it
   */
  room(bytes, into) {
    return into && into.buffer === this.memory.buffer ? into.byteOffset : this.alloc(bytes);
  }

  /** @param {Uint8Array} bytes copied in, unless they are there @returns {number} its address */
  put(bytes) {
    if (bytes.buffer === this.memory.buffer) return bytes.byteOffset;
    const at = this.alloc(bytes.length);
    new Uint8Array(this.memory.buffer, at, bytes.length).set(bytes);
    return at;
  }

  /** @param {number} bytes @returns {number} address of so many zero bytes */
  zero(bytes) {
    const at = this.alloc(bytes);
    new Uint8Array(this.memory.buffer, at, bytes).fill(0);
    return at;
  }

  /**
   * A copy.
   * @param {number} at @param {number} bytes @param {Uint8Array} [into] where to; of that size
   * @returns {Uint8Array<ArrayBuffer>} into, or an array of its own
   */
  get(at, bytes, into) {
    const found = new Uint8Array(this.memory.buffer, at, bytes);
    if (!into) return new Uint8Array(found); // its buffer is not shared, be the memory so
    if (into.buffer !== found.buffer || into.byteOffset !== at) into.set(found);
    return /** @type {Uint8Array<ArrayBuffer>} */ (into);
  }

  /**
   * Keeps memory for good.
   * @param {number} bytes @returns {number} its address
   */
  reserve(bytes) {
    const at = this.alloc(bytes);
    this.base = this.top;
    return at;
  }

  /** Little-endian access; stale once memory grows, so fetch it after the last alloc. */
  view() {
    return new DataView(this.memory.buffer);
  }
}
