/** What elements of a tensor there are, and how they come to JavaScript. */

/** Source dtypes that can be coded, by the safetensors name: FORMAT.md section 2. */
export const DTYPES = { F32: 1, F16: 2, BF16: 3, I8: 4, U8: 5, F8_E4M3: 6, F8_E5M2: 7 };
/** The other way round. @type {Record<number, Dtype>} */
export const DTYPE_NAMES = /** @type {any} */ (
  Object.fromEntries(Object.entries(DTYPES).map(([k, v]) => [v, k])));
/** By their number in a head: FORMAT.md section 2. */
export const MODES = /** @type {const} */ (['grid', 'lossless']);
/** @param {string} dtype @returns {number} bytes of an element */
export const dtypeBytes = (dtype) => (dtype === 'F32' ? 4 : dtype.endsWith('16') ? 2 : 1);

/** @typedef {'F64' | 'F32' | 'F16' | 'BF16' | 'C64'} WideFloats */
/** @typedef {'F8_E4M3' | 'F8_E5M2' | 'F8_E8M0' | 'F8_E4M3FNUZ' | 'F8_E5M2FNUZ'} Eighths */
/** @typedef {'F6_E2M3' | 'F6_E3M2' | 'F4'} Fractions of a byte */
/** @typedef {'I64' | 'U64' | 'I32' | 'U32' | 'I16' | 'U16' | 'I8' | 'U8' | 'BOOL'} Integers */
/** How safetensors spells what elements are. @typedef {WideFloats | Eighths | Fractions | Integers} Dtype */

/**
 * What its elements come in: of F16 and BF16 the bit patterns; bytes where JavaScript has no better.
 * @typedef {object} Arrays
 * @property {Float64Array<ArrayBuffer>} F64
 * @property {Float32Array<ArrayBuffer>} F32
 * @property {Uint16Array<ArrayBuffer>} F16
 * @property {Uint16Array<ArrayBuffer>} BF16
 * @property {Int8Array<ArrayBuffer>} I8
 * @property {Int16Array<ArrayBuffer>} I16
 * @property {Uint16Array<ArrayBuffer>} U16
 * @property {Int32Array<ArrayBuffer>} I32
 * @property {Uint32Array<ArrayBuffer>} U32
 * @property {BigInt64Array<ArrayBuffer>} I64
 * @property {BigUint64Array<ArrayBuffer>} U64
 */
/**
 * @template {Dtype} D
 * @typedef {D extends keyof Arrays ? Arrays[D] : Uint8Array<ArrayBuffer>} ArrayOf
 */

/** @type {Record<string, {new (buffer: ArrayBuffer): ArrayBufferView}>} */
const ARRAYS = {
  F64: Float64Array, F32: Float32Array, F16: Uint16Array, BF16: Uint16Array, I8: Int8Array,
  I16: Int16Array, U16: Uint16Array, I32: Int32Array, U32: Uint32Array, I64: BigInt64Array,
  U64: BigUint64Array,
};

/** Class of arrays for a dtype; Uint8Array where JavaScript has no better one. @param {string} dtype */
export const arrayType = (dtype) => ARRAYS[dtype] ?? Uint8Array;

/** @param {string} dtype @param {ArrayBuffer} buffer
 * @param {number} [at] byte @param {number} [bytes] @returns {any} */
export const typedArray = (dtype, buffer, at = 0, bytes = buffer.byteLength) => {
  const type = /** @type {any} */ (arrayType(dtype));
  return new type(buffer, at, bytes / type.BYTES_PER_ELEMENT);
};

const FLOATS = ['F32', 'F16', 'BF16'];

/** True where convert() can go from one dtype to the other. @param {string} a @param {string} b */
export const isConvertible = (a, b) => FLOATS.includes(a) && FLOATS.includes(b);
