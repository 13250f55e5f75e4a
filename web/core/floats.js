/**
 * The typed array of each dtype. F16 and BF16 are Uint16Arrays of bit patterns:
 * Float16Array is not everywhere, and no engine has a BF16 one.
 */

/** @type {Record<string, {new (buffer: ArrayBuffer): ArrayBufferView}>} */
const ARRAYS = {
  F64: Float64Array, F32: Float32Array, F16: Uint16Array, BF16: Uint16Array, I8: Int8Array,
  I16: Int16Array, U16: Uint16Array, I32: Int32Array, U32: Uint32Array, I64: BigInt64Array,
  U64: BigUint64Array,
};

/**
 * Typed array for elements of a dtype; Uint8Array where JavaScript has no better one.
 * @param {string} dtype @param {ArrayBuffer} buffer @returns {any}
 */
export const typedArray = (dtype, buffer) => new (ARRAYS[dtype] ?? Uint8Array)(buffer);

const FLOATS = ['F32', 'F16', 'BF16'];

/** True where convert() can go from one dtype to the other. @param {string} a @param {string} b */
export const isConvertible = (a, b) => FLOATS.includes(a) && FLOATS.includes(b);
