/** Files of ONNX and GGUF, right or wrong in any place: what writers of such files would never write. */

/** @param {number | bigint} n @returns {Buffer} as Protocol Buffers write it; of negative ones 64 bits */
export function varint(n) {
  const bytes = [];
  let left = BigInt.asUintN(64, BigInt(n));
  for (; left > 127n; left >>= 7n) bytes.push(Number(left & 127n) | 128);
  return Buffer.from([...bytes, Number(left)]);
}

/**
 * A field of a message.
 * @param {number} number @param {number | bigint | string | Uint8Array} value numbers become varints
 */
export function field(number, value) {
  if (typeof value === 'number' || typeof value === 'bigint') return Buffer.concat([varint(8 * number), varint(value)]);
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(8 * number + 2), varint(bytes.length), bytes]);
}

/** @param {...(Uint8Array | false | undefined)} fields */
export const message = (...fields) => Buffer.concat(fields.filter(Boolean));

/**
 * A TensorProto; what is left out is left out.
 * @param {{name?: string | Uint8Array, dims?: (number | bigint)[], type?: number | bigint, raw?: Uint8Array,
 *   external?: Record<string, string>}} parts
 */
export const tensor = ({ name, dims = [], type, raw, external }) => message(
  ...dims.map((n) => field(1, n)), type !== undefined && field(2, type), name !== undefined && field(8, name),
  raw && field(9, raw), ...Object.entries(external ?? {}).map(([key, value]) => (
    field(13, message(field(1, key), field(2, value))))), external && field(14, 1));

/** A NodeProto. @param {string | Uint8Array} op @param {string[]} inputs @param {string[]} outputs
 * @param {...Uint8Array} attributes */
export const node = (op, inputs, outputs, ...attributes) => message(
  ...inputs.map((name) => field(1, name)), ...outputs.map((name) => field(2, name)), field(4, op),
  ...attributes.map((one) => field(5, one)));

/** A model of one graph. @param {...Uint8Array} fields of the graph */
export const onnx = (...fields) => message(field(1, 8), field(2, 'tests'), field(7, message(...fields, field(2, 'g'))),
  field(8, message(field(1, ''), field(2, 17))));

/** A model of initializers. @param {...Parameters<typeof tensor>[0]} tensors */
export const onnxOf = (...tensors) => onnx(...tensors.map((one) => field(5, tensor(one))));

/** @param {number} size @param {number} seed @returns {Buffer} bytes that code to about half */
export function weights(size, seed) {
  let state = seed;
  return Buffer.from(Uint8Array.from({ length: size }, () => {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    return state >>> 28;
  }));
}

/**
 * Numbers of a GGUF file.
 * @param {boolean} [isBig] big-endian
 */
export const numbers = (isBig = false) => {
  const number = (/** @type {number} */ size, /** @type {string} */ kind) => (/** @type {any} */ n) => {
    const bytes = Buffer.alloc(size);
    bytes[`write${kind}${isBig ? 'BE' : 'LE'}`](n);
    return bytes;
  };
  const [u32, long] = [number(4, 'UInt32'), number(8, 'BigUInt64')];
  const u64 = (/** @type {number | bigint} */ n) => long(BigInt.asUintN(64, BigInt(n)));
  const text = (/** @type {string | Uint8Array} */ s) => Buffer.concat([u64(Buffer.from(s).length), Buffer.from(s)]);
  return { u32, u64, text };
};

/**
 * A GGUF file.
 * @param {object} parts
 * @param {number} [parts.version] @param {boolean} [parts.isBig]
 * @param {[key: string, type: number, value: Uint8Array][]} [parts.metadata]
 * @param {{name: string | Uint8Array, shape: (number | bigint)[], type: number, offset?: number | bigint,
 *   data?: Uint8Array}[]} [parts.tensors] shape: fastest dimension first; offset: by default, behind the one before
 * @param {number | bigint} [parts.tensorCount] by default as many as there are
 * @param {number | bigint} [parts.keyCount] likewise
 * @param {number} [parts.alignment] of the data
 * @returns {Buffer}
 */
export function gguf({ version = 3, isBig = false, metadata = [], tensors = [], tensorCount = tensors.length,
  keyCount = metadata.length, alignment = 32 }) {
  const { u32, u64 } = numbers(isBig);
  const size = version === 1 ? u32 : u64;
  const name = (/** @type {string | Uint8Array} */ s) => (
    Buffer.concat([size(Buffer.from(s).length), Buffer.from(s)]));
  const padded = (/** @type {Uint8Array} */ bytes) => (
    Buffer.concat([bytes, Buffer.alloc(-bytes.length & alignment - 1)]));
  let at = 0;
  const data = [];
  const infos = tensors.map((one) => {
    const { data: own = Buffer.alloc(0), offset = at } = one;
    data.push(padded(own));
    at += padded(own).length;
    return [name(one.name), u32(one.shape.length), ...one.shape.map(size), u32(one.type), u64(offset)];
  });
  return Buffer.concat([
    padded(Buffer.concat([Buffer.from('GGUF'), u32(version), size(tensorCount), size(keyCount),
      ...metadata.flatMap(([key, type, value]) => [name(key), u32(type), value]), ...infos.flat()])), ...data,
  ]);
}
