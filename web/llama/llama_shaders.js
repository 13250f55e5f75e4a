/** The programs between the products, for gpu.pipeline() and gpu.program(). */
import { ownText } from './own_text.js';

/** @param {string} file in this folder @param {URL} url */
const own = (file, url) => ({
  file,
  /** Fetched when first wanted. */
  get text() {
    return ownText(url);
  },
});

/** @satisfies {import('../gpu/shaders.js').Program} */
export const LLAMA_WGSL = {
  files: [own('llama.wgsl', new URL('./llama.wgsl', import.meta.url))],
  entries: ['norm', 'rotate', 'store', 'score', 'blend', 'gate', 'add'],
  variants: [{ is_cache: [0, 1] }],
};

/** @satisfies {import('../gpu/shaders.js').Program} */
export const LLAMA_GLSL = {
  files: ['texels.glsl', own('llama.frag.glsl', new URL('./llama.frag.glsl', import.meta.url))],
  variants: [{ KERNEL: [0, 1, 2, 3, 4, 5] }],
};
