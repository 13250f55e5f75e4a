/**
 * The kernels that cost.js counts, with the constants that web/gpu/ gives them on GPUs, and what of
 * them is a round of the hot loop. A round is found by what it must do, and by nothing else: so many
 * multiplications with addition, stores or lookups.
 */
/**
 * @typedef {object} Kernel
 * @property {string} name
 * @property {keyof typeof import('../../web/gpu/shaders.js').WGSL} program
 * @property {Record<string, number>} constants
 * @property {number} weights of a round of the hot loop
 * @property {Partial<Record<'madds' | 'stores' | 'lookups', number>>} does of the hot loop and no other
 * @property {number} [target] VALU a weight on RDNA2, at most
 * @property {number} [tableSlots] that a group copies before it begins, at the cost of all its weights
 * @property {number} [group] invocations @property {number} [each] weights of an invocation, 4096 x 4096
 */

const GROUP = 64; // as web/gpu/webgpu_products.js has it
const STREAM_GROUP = 256; // as webgpu_streams.js has it
const QUAD = 16; // four columns of four rows
const RUN = 4 * 80; // weights of a stream of four rows: RUN_COLUMNS there
const PACKED_RUN = 4 * 128;
/** VALU a weight, RDNA2. @type {Record<number, number>} */
const PREFIX_TARGETS = { 1: 9, 2: 9, 4: 6.5 };
const PACKED_TARGET = 3;
const [I8, LOSSLESS] = [1, 2]; // kinds
const [F32, F16, BF16] = [1, 2, 3];
const BYTES = 4; // dtype of int8

/** @type {Kernel[]} */
const coded = [1, 2, 4].map((folded) => ({
  name: `coded (rANS), ${folded} a symbol`,
  program: 'matvec',
  constants: { group_size: GROUP, weights_per_symbol: folded, slot_count: 4096, slot_bits: 12,
    symbol_flip: folded === 1 ? 128 << 12 : 0 },
  weights: 2 * 4 * folded, // two steps of four lanes
  does: { madds: 2 * 4 * folded },
  tableSlots: 4096,
  group: GROUP,
  each: 4096, // a stream of S weights
}));

/** @type {Kernel[]} */
const plain = [['int8', BYTES, 16], ['F16', F16, 8]].flatMap(([name, dtype, weights]) => [1, 4].map((rows) => ({
  name: `plain ${name}, ${rows} row${rows > 1 ? 's' : ''}`,
  program: 'matvec_plain',
  constants: { group_size: GROUP, dtype: Number(dtype), wide: 1, row_lanes: 64, rows_each: rows, tile: 1 },
  weights: rows * Number(weights), // 16 bytes of each row
  does: { madds: rows * Number(weights) },
})));

/**
 * @param {number} weightsPerCode @param {string} [what] in its name
 * @param {Record<string, number>} [constants] that others lack @returns {Kernel}
 */
function prefix(weightsPerCode, what = '', constants = {}) {
  const tile = constants.tile ?? 1;
  const slots = weightsPerCode === 1 ? 256 : 4096;
  return {
    name: `prefix, ${weightsPerCode} a code${what && `, ${what}`}`,
    program: 'matvec_prefix',
    constants: { group_size: STREAM_GROUP, weights_per_code: weightsPerCode, slot_count: slots,
      has_halves: weightsPerCode === 4 ? 0 : 1, has_bit_fields: 1, ...constants },
    weights: QUAD,
    does: { madds: QUAD * tile, lookups: QUAD / weightsPerCode },
    target: what ? undefined : PREFIX_TARGETS[weightsPerCode],
    tableSlots: slots,
    group: STREAM_GROUP,
    each: RUN,
  };
}

/**
 * @param {number} bits @param {string} [what] in its name @param {Record<string, number>} [constants]
 * @returns {Kernel}
 */
const packed = (bits, what = '', constants = {}) => ({
  name: `packed ${bits}${what && `, ${what}`}`,
  program: 'matvec_packed',
  constants: { group_size: STREAM_GROUP, bits, has_byte_fields: 1, ...constants },
  weights: 128 / bits, // a unit of four words
  does: { madds: 128 / bits },
  target: what ? undefined : PACKED_TARGET,
  group: STREAM_GROUP,
  each: PACKED_RUN,
});

/**
 * Of lossless floats, as trained ones are: none of symbol 0, signs among the raw bits.
 * @type {[string, Record<string, number>][]}
 */
const LOSSLESS_KINDS = [
  ['lossless BF16', { kind: LOSSLESS, dtype: BF16, raw_bytes: 1, has_zero: 0 }],
  ['lossless F32', { kind: LOSSLESS, dtype: F32, raw_bytes: 3, has_zero: 0 }],
];

/** Passes of load() and decode(). @type {Kernel[]} */
const passes = [
  ...[0, 1].map((isWrite) => ({
    name: `recode, 2 a code, ${isWrite ? 'write' : 'count'}`,
    program: /** @type {const} */ ('recode'),
    constants: { group_size: GROUP, weights_per_code: 2, is_write: isWrite },
    weights: 4, // a column
    does: { stores: isWrite ? 2 : 0 },
  })),
  {
    name: 'unpack, 2 a code',
    program: 'unpack_prefix',
    constants: { group_size: STREAM_GROUP, weights_per_code: 2, slot_count: 4096 },
    weights: QUAD,
    does: { stores: 4, lookups: QUAD / 2 },
  },
  {
    name: 'unpack, packed 4',
    program: 'unpack_packed',
    constants: { group_size: GROUP, bits: 4 },
    weights: QUAD,
    does: { stores: 4 },
  },
];

export const KERNELS = [
  ...coded,
  ...plain,
  ...[1, 2, 4].map((weights) => prefix(weights)),
  prefix(2, 'x int8', { kind: I8 }),
  prefix(2, 'batch of 4', { tile: 4 }),
  prefix(2, 'batch of 8', { tile: 8 }),
  ...[1, 2].flatMap((weights) => LOSSLESS_KINDS.map(([what, constants]) => (
    prefix(weights, what, { has_halves: 0, ...constants })))),
  ...[8, 4, 2, 1].map((bits) => packed(bits)),
  ...LOSSLESS_KINDS.map(([what, constants]) => packed(8, what, constants)),
  ...passes,
];
