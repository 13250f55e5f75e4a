/**
 * Of which files of shaders/ each program is put together, and how. shaders/README.md tells of
 * programs of your own.
 */
import { HanselError } from '../core/errors.js';

/**
 * @typedef {object} Program
 * @property {readonly Part[]} files one after the other
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
    files: ['halves.wgsl', 'lossless_bits.wgsl', 'lossless.wgsl', 'values.wgsl'],
    entries: ['convert_values'],
    variants: [{}],
  },
  checksum: { files: ['checksum.wgsl'], entries: ['checksum_streams'], variants: [{}] },
  matvec: {
    files: [DOT, 'halves.wgsl', 'lossless_bits.wgsl', 'lossless.wgsl', 'tile.wgsl', 'decode_stream.wgsl',
      'matvec.wgsl'],
    entries: ['matvec_streams'],
    variants: [
      { kind: [0, 1], tile: [1, 4], weights_per_symbol: [1, 2, 4] },
      { kind: [2], tile: [1, 4] },
    ],
  },
  matvec_prefix: {
    files: ['halves.wgsl', 'lossless_bits.wgsl', 'streams.wgsl', 'streams_prefix.wgsl', 'matvec_prefix.wgsl',
      'matvec_streams.wgsl'],
    entries: ['matvec_streams'],
    variants: [
      { weights_per_code: [1, 2], has_halves: [0, 1], tile: [1, 4, 8] },
      { weights_per_code: [4], has_bit_fields: [0, 1], tile: [1, 4, 8] },
      { weights_per_code: [1, 2, 4], kind: [1] },
      { weights_per_code: [1, 2, 4], kind: [2], dtype: [1, 2, 3], raw_bytes: [1, 3], tile: [1, 4] },
    ],
  },
  matvec_packed: {
    files: ['halves.wgsl', 'lossless_bits.wgsl', 'streams.wgsl', 'streams_packed.wgsl', 'matvec_packed.wgsl',
      'matvec_streams.wgsl'],
    entries: ['matvec_streams'],
    variants: [
      { bits: [1, 2, 4, 8], has_center: [0, 1], has_byte_fields: [0, 1], tile: [1, 4, 8] },
      { bits: [1, 2, 4, 8], kind: [1], has_center: [0, 1] },
      { bits: [4, 8], kind: [2], dtype: [1, 2, 3], raw_bytes: [1, 3] },
    ],
  },
  recode: {
    files: ['streams.wgsl', 'recode.wgsl'],
    entries: ['recode_prefix'],
    variants: [{ weights_per_code: [1, 2, 4], is_write: [0, 1] }],
  },
  recode_packed: {
    files: ['streams.wgsl', 'recode.wgsl'], entries: ['recode_packed'], variants: [{ bits: [1, 2, 4, 8] }],
  },
  unpack_prefix: {
    files: ['streams.wgsl', 'streams_prefix.wgsl', 'unpack_prefix.wgsl', 'unpack.wgsl'],
    entries: ['unpack_streams'],
    variants: [{ weights_per_code: [1, 2, 4] }],
  },
  unpack_packed: {
    files: ['streams.wgsl', 'streams_packed.wgsl', 'unpack_packed.wgsl', 'unpack.wgsl'],
    entries: ['unpack_streams'],
    variants: [{ bits: [1, 2, 4, 8] }],
  },
  matvec_plain: {
    files: [DOT, 'tile.wgsl', 'matvec_plain.wgsl'],
    entries: ['matvec_rows'],
    variants: [
      { dtype: [1, 2, 3, 4], tile: [1, 4], wide: [0, 1], row_lanes: [1, 64] },
      { dtype: [1, 2, 3, 4], rows_each: [4], wide: [0, 1], row_lanes: [1, 64] },
      { is_integer: [1], dtype: [4], rows_each: [1, 4], wide: [0, 1], row_lanes: [1, 64] },
    ],
  },
  reduce: {
    files: ['reduce.wgsl'], entries: ['reduce_pieces'], variants: [{ is_integer: [0, 1] }],
  },
  widen: { files: ['halves.wgsl', 'widen.wgsl'], entries: ['widen_vectors'], variants: [{}] },
});

/** Of a program that decodes. */
const DECODER = { WEIGHTS_PER_SYMBOL: [1, 2, 4], TABLE_BLOCK: [0, 1] };
/** Of one that reads prefix codes. */
const PREFIX = { WEIGHTS_PER_CODE: [1, 2, 4], TALL_TABLE: [0, 1] };
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
    files: ['texels.glsl', 'halves.glsl', 'lossless_bits.glsl', 'lossless.glsl', 'values.frag.glsl'],
    variants: [{}],
  },
  values_streams: {
    files: ['texels.glsl', 'halves.glsl', 'lossless_bits.glsl', 'streams.glsl', 'lossless.glsl',
      'values.frag.glsl'],
    variants: [{ RAW_STREAMS: [1] }],
  },
  checksum: { files: ['texels.glsl', 'checksum.frag.glsl'], variants: [{}] },
  matvec: {
    files: ['texels.glsl', 'halves.glsl', 'lossless_bits.glsl', 'lossless.glsl', 'decode_stream.glsl',
      'matvec.frag.glsl'],
    variants: [
      { KIND: [0], TILE: [1, 4], ...DECODER, ...WHOLE },
      { KIND: [0], TILE: [1, 4], ...DECODER, ...SPLIT },
      { KIND: [1], ...DECODER, ...WHOLE }, { KIND: [1], ...DECODER, ...SPLIT },
      { KIND: [2], TILE: [1, 4], TABLE_BLOCK: [0, 1], ...WHOLE },
      { KIND: [2], TILE: [1, 4], TABLE_BLOCK: [0, 1], ...SPLIT },
    ],
  },
  matvec_prefix: {
    files: ['texels.glsl', 'halves.glsl', 'lossless_bits.glsl', 'streams.glsl', 'streams_prefix.glsl',
      'matvec_streams.frag.glsl', 'matvec_prefix.glsl'],
    variants: [
      { ...PREFIX, KIND: [0, 2], TILE: [1, 4] }, { ...PREFIX, KIND: [1] },
    ],
  },
  matvec_packed: {
    files: ['texels.glsl', 'halves.glsl', 'lossless_bits.glsl', 'streams.glsl', 'streams_packed.glsl',
      'matvec_streams.frag.glsl', 'matvec_packed.glsl'],
    variants: [
      { BITS: [1, 2, 4, 8], HAS_CENTER: [0, 1], TILE: [1, 4] },
      { BITS: [1, 2, 4, 8], KIND: [1], HAS_CENTER: [0, 1] }, { BITS: [1, 2, 4, 8], KIND: [2], TILE: [1, 4] },
    ],
  },
  marks: {
    files: ['texels.glsl', 'streams.glsl', 'streams_prefix.glsl', 'marks.frag.glsl'], variants: [PREFIX],
  },
  unpack_prefix: {
    files: ['texels.glsl', 'streams.glsl', 'streams_prefix.glsl', 'marks.glsl', 'unpack.frag.glsl'],
    variants: [PREFIX],
  },
  unpack_packed: {
    files: ['texels.glsl', 'streams.glsl', 'streams_packed.glsl', 'unpack.frag.glsl'],
    variants: [{ BITS: [1, 2, 4, 8] }],
  },
  matvec_plain: {
    files: ['texels.glsl', 'matvec_plain.frag.glsl'],
    variants: [
      { DTYPE: [1, 2, 3, 4], TILE: [1, 4], WIDE: [0, 1] }, { IS_INTEGER: [1], WIDE: [0, 1] },
    ],
  },
  reduce: { files: ['texels.glsl', 'reduce.frag.glsl'], variants: [{}] },
  widen: { files: ['texels.glsl', 'halves.glsl', 'widen.frag.glsl'], variants: [{}] },
});

/**
 * @param {keyof typeof WGSL | Program} program a name, or one of your own
 * @param {boolean} hasPackedDot whether WGSL has packed_4x8_integer_dot_product here
 * @returns {readonly Part[]} for joinWgsl()
 */
export function wgslFiles(program, hasPackedDot) {
  if (typeof program === 'object') return program.files;
  return WGSL[program].files.map(
    (file) => (file === DOT && !hasPackedDot ? 'dot_plain.wgsl' : file));
}

/** Texts of shaders/ by their names, as tools/shaders.js leaves them.
 * @type {Record<string, () => Promise<{default: Record<string, string>}>>} */
const TEXTS = {
  wgsl: () => import('../../dist/wgsl.js'),
  glsl: () => import('../../dist/glsl.js'),
};

/** @param {readonly Part[]} parts @returns {string} */
export const namesOf = (parts) => parts.map(
  (part) => (typeof part === 'string' ? part : part.file)).join(' ');

/**
 * The text of a file in shaders/, its comments left out.
 * @param {string} file
 * @returns {Promise<string>}
 * @throws {HanselError} HANSEL_ERR_SOURCE
 */
export async function readShader(file) {
  const load = TEXTS[file.split('.').pop() ?? ''];
  /** @type {Record<string, string>} */
  let texts = {};
  try {
    if (load) texts = (await load()).default;
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'the shaders cannot be loaded', {
      got: /** @type {Error} */ (cause).message, cause,
    });
  }
  if (Object.hasOwn(texts, file)) return texts[file];
  throw new HanselError('HANSEL_ERR_SOURCE', 'no such shader', {
    expected: Object.keys(texts).join(', ') || 'NAME.wgsl or NAME.glsl', got: file,
  });
}

/** @param {readonly Part[]} parts */
const readAll = (parts) => Promise.all(parts.map(async (part) => (typeof part === 'string'
  ? { file: part, text: await readShader(part) } : { file: part.file, text: await part.text })));

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
