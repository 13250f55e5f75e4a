/** The three back ends, opened when first asked for, and the news when a GPU is lost. */
import { gpu } from '../../gpu.js';

export const KINDS = /** @type {const} */ (['webgpu', 'webgl', 'wasm']);
/** @type {Record<string, string>} */
export const NAMES = { webgpu: 'WebGPU', webgl: 'WebGL2', wasm: 'WebAssembly' };

/** @type {Map<string, Promise<any>>} */
const opened = new Map();
/** Devices and contexts that are watched already. */
const watched = new WeakSet();
/** @type {(kind: string) => void} */
let tell = () => {};

/** @param {(kind: string) => void} listener called when a GPU is lost */
export const onLost = (listener) => { tell = listener; };

/** @param {any} backend */
function watch(backend) {
  const { device, gl, kind } = backend;
  const object = device ?? gl;
  if (!object || watched.has(object)) return;
  watched.add(object);
  if (device) device.lost.then(() => tell(kind));
  else gl.canvas.addEventListener('webglcontextlost', () => tell(kind));
}

/**
 * @param {string} kind
 * @returns {Promise<any>} a back end that works, again after a loss
 * @throws {import('../../core/errors.js').HanselError} HANSEL_ERR_ADAPTER
 */
export async function backend(kind) {
  let found = opened.get(kind);
  if (!found) {
    found = gpu({ prefer: [/** @type {'wasm'} */ (kind)] }).then((result) => result.gpu);
    opened.set(kind, found);
    found.catch(() => opened.delete(kind));
  }
  const own = await found;
  await own.ready?.();
  watch(own);
  return own;
}

/** The kinds that open here, best first. @returns {Promise<string[]>} */
export async function available() {
  const kinds = await Promise.all(KINDS.map((kind) => backend(kind).then(() => kind, () => null)));
  return kinds.filter((kind) => kind !== null);
}

/** What the adapter calls itself. @param {any} own @returns {string} */
export function adapterName(own) {
  if (own.kind === 'wasm') return 'CPU';
  if (own.kind === 'webgl') {
    const info = own.gl.getExtension('WEBGL_debug_renderer_info');
    return String(own.gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : own.gl.RENDERER));
  }
  const { description, vendor, architecture, device } = own.info ?? {};
  return description || [vendor, architecture, device].filter(Boolean).join(' ') || 'GPU';
}
