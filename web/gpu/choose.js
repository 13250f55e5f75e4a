/**
 * One interface over three back ends: WebGPU, WebGL2, and wasm where there is no
 * GPU. gpu() picks one and says which.
 */
import { HanselError } from '../core/errors.js';
import { refuse } from '../core/options.js';
import { encode } from '../encode/encode.js';
import { open } from '../model/model.js';
import { WasmBackend } from './wasm_device.js';
import { webgl } from './webgl_device.js';
import { webgpu } from './webgpu_device.js';

/** @typedef {import('./webgpu_device.js').WebGpu | import('./webgl_device.js').WebGl | WasmBackend} Backend */
/** @typedef {'webgpu' | 'webgl' | 'wasm'} Kind */

/** @type {Record<Kind, () => Promise<Backend>>} */
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
 * @param {Kind | Kind[]} [options.prefer] what to try, in this order; one name
 *   forces it
 * @param {boolean} [options.measure] try all of them, decode a small matrix on each, and keep the
 *   fastest: worth its tenths of a second where the GPU may be a software renderer
 * @returns {Promise<{gpu: Backend, kind: Kind, tried: {kind: Kind, ms?: number,
 *   error?: HanselError}[]}>} tried says why a preferred one was passed over
 * @throws {HanselError} HANSEL_ERR_ADAPTER when none of those named is there
 * @example
 * const { gpu, kind } = await gpu(); // await gpu({ prefer: ['webgl'] }) forces WebGL2
 */
export async function gpu({
  prefer = ['webgpu', 'webgl', 'wasm'], measure = false, ...rest
} = {}) {
  await refuse(rest, 'gpu');
  /** @type {{kind: Kind, ms?: number, error?: HanselError}[]} */
  const tried = [];
  /** @type {{backend: Backend, ms: number} | null} */
  let best = null;
  for (const kind of [prefer].flat()) {
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
      expected: [prefer].flat().join(' or '), got: tried.map(({ error }) => error?.message).join('; '),
    });
  }
  return { gpu: best.backend, kind: best.backend.kind, tried };
}
