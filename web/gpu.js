/**
 * One interface over three back ends: WebGPU, WebGL2, and wasm where there is no
 * GPU. gpu() picks one and says which.
 */
import { encode } from './encode.js';
import { HanselError } from './errors.js';
import { open } from './model.js';
import { webgl } from './webgl.js';
import { webgpu } from './webgpu.js';

/** @typedef {import('./model.js').Model} Model */
/** @typedef {import('./webgpu.js').WebGpu | import('./webgl.js').WebGl | WasmBackend} Backend */

/** The CPU behind the GPUs' interface. */
export class WasmBackend {
  kind = /** @type {const} */ ('wasm');

  /** @param {Model} model @param {string} name @param {{signal?: AbortSignal}} [options] */
  async load(model, name, { signal } = {}) {
    const { chunks, blob } = await model.payload(name, { signal });
    await chunks.return(undefined); // decoding reads it again; only the head is wanted now
    return new WasmMatrix(model, name, blob);
  }

  destroy() {}
}

/** A coded matrix that stays in its file until it is decoded. */
export class WasmMatrix {
  /** @param {Model} model @param {string} name @param {import('./codec.js').Blob} blob */
  constructor(model, name, blob) {
    this.model = model;
    this.name = name;
    this.blob = blob;
    this.rows = blob.rows;
    this.columns = blob.columns;
    this.isDestroyed = false;
  }

  #checkAlive() {
    if (this.isDestroyed) {
      throw new HanselError('HANSEL_ERR_DESTROYED', 'the matrix was destroyed', { where: this.name });
    }
  }

  /** @returns {Promise<Int8Array>} as Model.symbols() */
  async symbols() {
    this.#checkAlive();
    return this.model.symbols(this.name);
  }

  /** @param {{dtype?: string}} [options] as Model.decode(); floats come as F32 unless told */
  async decode({ dtype } = {}) {
    this.#checkAlive();
    const own = this.blob.dtype;
    const isFloat = own === 'F32' || own === 'F16' || own === 'BF16';
    return this.model.decode(this.name, { dtype: dtype ?? (isFloat ? 'F32' : own) });
  }

  /** The reference cannot differ from itself, but its file can be damaged. */
  async verify() {
    this.#checkAlive();
    await this.model.verify(this.name);
    return { ok: /** @type {const} */ (true) };
  }

  destroy() {
    this.isDestroyed = true;
  }
}

/** @type {Record<string, () => Promise<Backend>>} */
const OPEN = {
  webgpu: () => webgpu(),
  webgl: () => webgl(),
  wasm: async () => new WasmBackend(),
};

/** Milliseconds to decode a small matrix, the second time. @param {Backend} backend */
async function time(backend) {
  const data = new Int8Array(1 << 20).map((_, i) => (Math.imul(i, 2654435761) >>> 28) - 8);
  const model = await open(await encode({ w: { dtype: 'I8', shape: [1024, 1024], data } }));
  let best = Infinity;
  for (let i = 0; i < 2; i++) {
    const matrix = await backend.load(model, 'w');
    const start = performance.now();
    await matrix.symbols();
    best = performance.now() - start;
    matrix.destroy();
  }
  return best;
}

/**
 * Opens the best back end: WebGPU, else WebGL2, else wasm.
 *
 * @param {object} [options]
 * @param {('webgpu' | 'webgl' | 'wasm')[]} [options.prefer] what to try, in this order; one name
 *   forces it
 * @param {boolean} [options.measure] try all of them, decode a small matrix on each, and keep the
 *   fastest: worth its tenths of a second where the GPU may be a software renderer
 * @returns {Promise<{gpu: Backend, kind: string, tried: {kind: string, ms?: number,
 *   error?: HanselError}[]}>} tried says why a preferred one was passed over
 * @throws {HanselError} HANSEL_ERR_ADAPTER when none of those named is there
 * @example
 * const { gpu, kind } = await gpu(); // await gpu({ prefer: ['webgl'] }) forces WebGL2
 */
export async function gpu({ prefer = ['webgpu', 'webgl', 'wasm'], measure = false } = {}) {
  /** @type {{kind: string, ms?: number, error?: HanselError}[]} */
  const tried = [];
  /** @type {{backend: Backend, ms: number} | null} */
  let best = null;
  for (const kind of prefer) {
    if (!Object.hasOwn(OPEN, kind)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'no such back end', {
        expected: Object.keys(OPEN).join(', '), got: kind,
      });
    }
    try {
      const backend = await OPEN[kind]();
      const ms = measure ? await time(backend) : 0;
      tried.push(measure ? { kind, ms } : { kind });
      if (best && best.ms <= ms) {
        backend.destroy();
        continue;
      }
      best?.backend.destroy();
      best = { backend, ms };
      if (!measure) break;
    } catch (error) {
      if (!(error instanceof HanselError)) throw error;
      tried.push({ kind, error });
    }
  }
  if (!best) {
    throw new HanselError('HANSEL_ERR_ADAPTER', 'no back end opens', {
      expected: prefer.join(' or '), got: tried.map(({ error }) => error?.message).join('; '),
    });
  }
  return { gpu: best.backend, kind: best.backend.kind, tried };
}
