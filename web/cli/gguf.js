/** Where the tensors of a GGUF file are. Node only. */
import { HanselError } from '../core/errors.js';
import { dtypeBits } from '../file/safetensors.js';
import { ownName } from './own_name.js';

/**
 * Types of tensors, by ggml's numbers: their dtype, or elements and bytes of a block, which is coded as bytes.
 * Source: ggml.h, ggml-common.h.
 * @type {Record<number, string | [elements: number, bytes: number]>}
 */
const TYPES = {
  0: 'F32', 1: 'F16', 24: 'I8', 25: 'I16', 26: 'I32', 27: 'I64', 28: 'F64', 30: 'BF16',
  2: [32, 18], 3: [32, 20], 6: [32, 22], 7: [32, 24], 8: [32, 34], 9: [32, 36], // Q4_0 to Q8_1
  10: [256, 84], 11: [256, 110], 12: [256, 144], 13: [256, 176], 14: [256, 210], 15: [256, 292], // Q2_K to Q8_K
  16: [256, 66], 17: [256, 74], 18: [256, 98], 19: [256, 50], 20: [32, 18], // IQ2_XXS, _XS, IQ3_XXS, IQ1_S, IQ4_NL
  21: [256, 110], 22: [256, 82], 23: [256, 136], 29: [256, 56], // IQ3_S, IQ2_S, IQ4_XS, IQ1_M
  34: [256, 54], 35: [256, 66], 39: [32, 17], // TQ1_0, TQ2_0, MXFP4
  40: [64, 36], 41: [128, 18], 42: [64, 18], // NVFP4, Q1_0, Q2_0
};

/** @typedef {{name: string, type: number, start: number, shape: number[]}} Info shape: slowest dimension first */

/** The parser asks for so many bytes behind what it reads, at most. */
const AHEAD = 1 << 20;
/** The other files of a split model, by the name of the first. */
const FIRST_OF = /-00001-of-(\d{5})\.gguf$/;

/** @param {string} message @param {{expected?: unknown, got?: unknown, where?: string, cause?: unknown}} details */
const bad = (message, details) => new HanselError('HANSEL_ERR_GGUF', message, details);

/** @param {import('../file/source.js').Source} source @param {string} [expected] @param {unknown} [cause] */
const cutOff = ({ name, size }, expected, cause) => new HanselError('HANSEL_ERR_TRUNCATED', 'the header is cut off', {
  expected, got: expected ? size : `${size} bytes`, where: name, cause,
});

/**
 * The file as a server that knows Range. Behind its end the parser sees zeros, but not without end.
 * @param {import('../file/source.js').Source} source @param {(end: number) => void} note what has been read
 * @param {AbortSignal} [signal]
 */
const fetchFrom = (source, note, signal) => async (/** @type {unknown} */ url, /** @type {any} */ { headers }) => {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.Range) ?? [];
  const [start, end] = [first, Number(last) + 1].map((at) => Math.min(Number(at), source.size));
  if (Number(first) > source.size + AHEAD) throw cutOff(source);
  note(end);
  return new Response(/** @type {Uint8Array<ArrayBuffer>} */ (await source.read(start, end, { signal })));
};

/**
 * @param {import('../file/source.js').Source} source
 * @param {AbortSignal} [signal]
 * @returns {Promise<import('../encode/carrier_inputs.js').FoundFile>} beside: the other files, if it is the first
 *   of several
 * @throws {HanselError} HANSEL_ERR_GGUF, _TRUNCATED; what the source throws
 */
export async function findInGguf(source, signal) {
  const { gguf } = await import('../../dist/parsers.js');
  const { name: where, size } = source;
  let [parsed, done] = [/** @type {any} */ (null), 0];
  try {
    parsed = await gguf('https://gguf.file/', { fetch: fetchFrom(source, (end) => { done = end; }, signal) });
  } catch (cause) {
    if (cause instanceof HanselError) throw cause;
    if (!(cause instanceof RangeError)) {
      throw bad('not a GGUF file that can be read', { got: /** @type {Error} */ (cause).message, where, cause });
    }
    if (done === size) throw cutOff(source, undefined, cause);
    throw bad('the header is too long to be read', { expected: 'at most 50 MB, and 2 MB a text', where, cause });
  }
  const { tensorInfos, tensorInfoByteRange: [, headerEnd], littleEndian, metadata } = parsed;
  if (headerEnd > size) throw cutOff(source, `at least ${headerEnd} bytes`);
  const alignment = Number(metadata['general.alignment'] ?? 32);
  if (alignment < 1 || alignment > 2 ** 20 || alignment & alignment - 1) {
    throw bad('an impossible general.alignment', { expected: 'a power of two', got: alignment, where });
  }
  const dataStart = Math.ceil(headerEnd / alignment) * alignment;
  const seen = new Set();
  /** @type {Info[]} */
  const infos = tensorInfos.map((/** @type {any} */ info) => {
    const { name, shape, dtype: type } = info;
    if (seen.has(name)) throw bad('two tensors of one name', { got: JSON.stringify(name), where });
    seen.add(name);
    const start = dataStart + Number(info.offset);
    if (!Number.isSafeInteger(start) || start % alignment) {
      throw bad('an impossible offset', { expected: `a multiple of ${alignment}`, got: info.offset, where: name });
    }
    return { name, type, start, shape: shape.map(Number).reverse() };
  }).sort((/** @type {Info} */ a, /** @type {Info} */ b) => a.start - b.start);
  return {
    format: 'gguf', code: 'HANSEL_ERR_GGUF', source, beside: splitsOf(where),
    tensors: infos.map((info, i) => placeOf(info, littleEndian, infos[i + 1]?.start ?? size)),
  };
}

/**
 * @param {Info} info
 * @param {boolean} isNumeric its numbers are in the order that we know
 * @param {number} next where another tensor, or the end, is
 * @returns {import('../encode/carrier_inputs.js').Found}
 */
function placeOf({ name, type, start, shape }, isNumeric, next) {
  const known = TYPES[type];
  const columns = shape[shape.length - 1] ?? 1;
  const rows = shape.slice(0, -1).reduce((product, n) => product * n, 1);
  const [elements, bytes] = typeof known === 'string' ? [1, dtypeBits(known) / 8] : known ?? [1, 0];
  const rowBytes = columns / elements * bytes;
  const end = start + rows * rowBytes;
  const most = shape.reduce((product, n) => product * (n || 1), 1); // as 0 hides what is before it
  if (!Number.isInteger(rowBytes) || !Number.isSafeInteger(end) || !Number.isSafeInteger(most)) {
    throw bad('an impossible shape', {
      expected: elements > 1 ? `rows of a multiple of ${elements}` : 'less than 2^53 bytes', got: `[${shape}]`, where: name,
    });
  }
  // Of a type that is not known yet, all there is up to the next tensor.
  if (!known) return { name, dtype: 'U8', shape: [Math.max(next - start, 0)], start, end: Math.max(next, start) };
  if (typeof known === 'string' && isNumeric) return { name, dtype: known, shape, start, end };
  return { name, dtype: 'U8', shape: [...shape.slice(0, -1), rowBytes], start, end };
}

/** @param {string} path @returns {string[]} names of the files that follow the first */
function splitsOf(path) {
  const name = ownName(path);
  const [, count = '1'] = FIRST_OF.exec(name) ?? [];
  return Array.from({ length: Number(count) - 1 }, (_, i) => (
    name.replace(/-00001-of-/, `-${String(i + 2).padStart(5, '0')}-of-`)));
}
