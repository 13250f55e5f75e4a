/**
 * Where the files are that this package has beside its modules: each in a new URL() of its own, since
 * bundlers look for just that.
 */

/** @type {Record<string, () => URL>} */
const FILES = {
  'decode.wasm': () => new URL('../dist/decode.wasm', import.meta.url),
  'decode_simd.wasm': () => new URL('../dist/decode_simd.wasm', import.meta.url),
  'hansel.wasm': () => new URL('../dist/hansel.wasm', import.meta.url),
  'hansel_simd.wasm': () => new URL('../dist/hansel_simd.wasm', import.meta.url),
  'planes.wasm': () => new URL('../dist/planes.wasm', import.meta.url),
  'recode.wasm': () => new URL('../dist/recode.wasm', import.meta.url),
  'worker.js': () => new URL('../dist/worker.js', import.meta.url),
};

/** @param {string} name of a file in dist/ @returns {URL} */
export function fileUrl(name) {
  const { href } = FILES[name](); // of Next's URLs a path
  // Before version 8, Vite's development server moves modules away from what lies beside them.
  return new URL(href.replace('/.vite/dist/', '/hansel/dist/'), globalThis.location?.href);
}
