/**
 * Of which files of shaders/ each program is put together, and how. shaders/README.md tells of
 * programs of your own.
 */
import { readTextAsset } from '../core/assets.js';

/**
 * @typedef {object} Program
 * @property {string[]} files in shaders/, one after the other
 * @property {string[]} [entries] entry points (WGSL)
 * @property {Record<string, number[]>[]} variants override constants (WGSL) or defines (GLSL) that
 *   choose what is compiled, and their values: all combinations within a record are programs. What
 *   only counts (group_size, slot_bits, ...) is left out
 */
/** @typedef {string | {file: string, text: string | Promise<string>}} Part a file in shaders/, or a
 *  text of yours */

/** In files, stands for dot_plain.wgsl too: see wgslFiles(). */
const DOT = 'dot_packed.wgsl';

export const WGSL = /** @satisfies {Record<string, Program>} */ ({
  decode: {
    files: ['decode_stream.wgsl', 'decode.wgsl'],
    entries: ['decode_streams'],
    variants: [{ weights_per_symbol: [1, 2, 4], pairs: [0, 1] }],
  },
  values: {
    files: ['halves.wgsl', 'lossless.wgsl', 'values.wgsl'],
    entries: ['convert_values'],
    variants: [{}],
  },
  checksum: { files: ['checksum.wgsl'], entries: ['checksum_streams'], variants: [{}] },
  matvec: {
    files: [DOT, 'halves.wgsl', 'lossless.wgsl', 'tile.wgsl', 'decode_stream.wgsl', 'matvec.wgsl'],
    entries: ['matvec_streams'],
    variants: [
      { kind: [0, 1], tile: [1, 4], weights_per_symbol: [1, 2, 4] },
      { kind: [2], tile: [1, 4] },
    ],
  },
  matvec_plain: {
    files: [DOT, 'tile.wgsl', 'matvec_plain.wgsl'],
    entries: ['matvec_rows'],
    variants: [
      { dtype: [1, 2, 3, 4], tile: [1, 4], wide: [0, 1], row_lanes: [1, 64] },
      { is_integer: [1], dtype: [4], wide: [0, 1], row_lanes: [1, 64] },
    ],
  },
  reduce: {
    files: ['reduce.wgsl'], entries: ['reduce_pieces'], variants: [{ is_integer: [0, 1] }],
  },
  widen: { files: ['halves.wgsl', 'widen.wgsl'], entries: ['widen_vectors'], variants: [{}] },
  llama: {
    files: ['llama.wgsl'],
    entries: ['norm', 'rotate', 'store', 'score', 'blend', 'gate', 'add'],
    variants: [{ is_cache: [0, 1] }],
  },
});

/** Of a program that decodes. */
const DECODER = { WEIGHTS_PER_SYMBOL: [1, 2, 4], TABLE_BLOCK: [0, 1] };
/** Sums and states that a product's fragment writes. */
const [WHOLE, SPLIT] = [{ TEXELS: [1, 2, 4, 8] }, { IS_SPLIT: [1], TEXELS: [2, 6] }];

/** Fragment shaders; fullscreen.vert.glsl goes with all of them. */
export const GLSL = /** @satisfies {Record<string, Program>} */ ({
  decode: {
    files: ['texels.glsl', 'decode_stream.glsl', 'decode.frag.glsl'],
    variants: [{ ...DECODER, ATTACHMENTS: [4, 8], PLAIN: [0, 1] }],
  },
  order: {
    files: ['texels.glsl', 'order.frag.glsl'],
    variants: [{ ALIGNED: [0], WEIGHTS_PER_SYMBOL: [1, 2, 4] }, { ALIGNED: [1] }],
  },
  values: {
    files: ['texels.glsl', 'halves.glsl', 'lossless.glsl', 'values.frag.glsl'], variants: [{}],
  },
  checksum: { files: ['texels.glsl', 'checksum.frag.glsl'], variants: [{}] },
  matvec: {
    files: ['texels.glsl', 'halves.glsl', 'lossless.glsl', 'decode_stream.glsl', 'matvec.frag.glsl'],
    variants: [
      { KIND: [0], TILE: [1, 4], ...DECODER, ...WHOLE },
      { KIND: [0], TILE: [1, 4], ...DECODER, ...SPLIT },
      { KIND: [1], ...DECODER, ...WHOLE }, { KIND: [1], ...DECODER, ...SPLIT },
      { KIND: [2], TILE: [1, 4], TABLE_BLOCK: [0, 1], ...WHOLE },
      { KIND: [2], TILE: [1, 4], TABLE_BLOCK: [0, 1], ...SPLIT },
    ],
  },
  matvec_plain: {
    files: ['texels.glsl', 'matvec_plain.frag.glsl'],
    variants: [
      { DTYPE: [1, 2, 3, 4], TILE: [1, 4], WIDE: [0, 1] }, { IS_INTEGER: [1], WIDE: [0, 1] },
    ],
  },
  reduce: { files: ['texels.glsl', 'reduce.frag.glsl'], variants: [{}] },
  widen: { files: ['texels.glsl', 'halves.glsl', 'widen.frag.glsl'], variants: [{}] },
  llama: { files: ['texels.glsl', 'llama.frag.glsl'], variants: [{ KERNEL: [0, 1, 2, 3, 4, 5] }] },
});

/**
 * @param {keyof typeof WGSL} name
 * @param {boolean} hasPackedDot whether WGSL has packed_4x8_integer_dot_product here
 * @returns {string[]} for joinWgsl()
 */
export const wgslFiles = (name, hasPackedDot) => WGSL[name].files.map(
  (file) => (file === DOT && !hasPackedDot ? 'dot_plain.wgsl' : file));

/** Files that were read. @type {Map<string, Promise<string>>} */
const texts = new Map();

/** @param {string} file */
function read(file) {
  let text = texts.get(file);
  if (!text) {
    text = readTextAsset(`shaders/${file}`);
    texts.set(file, text);
    text.catch(() => texts.delete(file));
  }
  return text;
}

/** @param {readonly Part[]} parts */
const readAll = (parts) => Promise.all(parts.map(async (part) => (typeof part === 'string'
  ? { file: part, text: await read(part) } : { file: part.file, text: await part.text })));

/**
 * Joins WGSL.
 * @param {readonly Part[]} parts in this order
 * @returns {Promise<{code: string, where: (line: number) => string}>} where: the file and line that a
 *   line of code is from
 * @throws {HanselError} HANSEL_ERR_SOURCE
 * @example
 * const { code } = await joinWgsl(['decode_stream.wgsl', { file: 'mine.wgsl', text }]);
 */
export async function joinWgsl(parts) {
  const found = await readAll(parts);
  return {
    code: found.map(({ text }) => text).join('\n'),
    where(line) {
      let left = line;
      for (const { file, text } of found) {
        const lines = text.split('\n').length;
        if (left <= lines) return `${file}:${left}`;
        left -= lines;
      }
      return `line ${line}`;
    },
  };
}

/**
 * Joins GLSL ES 3.00: the version, the defines, the parts.
 * @param {readonly Part[]} parts in this order, without #version
 * @param {Record<string, number>} [defines]
 * @returns {Promise<{code: string, explain: (log: string) => string}>} explain: puts files' names in
 *   the compiler's log
 * @throws {HanselError} HANSEL_ERR_SOURCE
 */
export async function joinGlsl(parts, defines = {}) {
  const found = await readAll(parts);
  return {
    code: ['#version 300 es', ...Object.entries(defines).map((pair) => `#define ${pair.join(' ')}`),
      ...found.map(({ text }, i) => `#line 1 ${i}\n${text}`)].join('\n'),
    explain: (log) => log.replace(/^(\w+: )(\d+)(?=:\d)/gm,
      (all, kind, i) => (found[i] ? kind + found[i].file : all)),
  };
}
