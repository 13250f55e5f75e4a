/**
 * Finds the fields that quantized tensors are made of: scales and codes of blocks, nibbles, bytes of
 * wide numbers, zero points. What a tensor's dtype and shape allow is tried on a sample of its
 * bytes; the smallest by entropy is taken.
 */
import { DTYPES } from '../core/dtypes.js';
import { HanselError, checkAborted, locate } from '../core/errors.js';
import { bytesOf, loadPlanes } from '../core/planes.js';
import { takeTurn } from '../core/turn.js';
import { byteSize, dtypeBits } from '../file/safetensors.js';

/** Bytes of a tensor that are looked at. */
const SAMPLE = 1 << 18;
/** Pieces that they come in, from all over it. */
const PIECES = 16;
/** What a matrix costs besides its symbols: head, entry in the directory; and for each symbol. */
const PLANE_BYTES = 40;
const SYMBOL_BYTES = 0.3;
/** A stream of so many symbols costs so many bytes more. */
const STREAM = 1 << 13;
const STREAM_BYTES = 7;
/** Matrices of fewer columns are coded as one row: a step holds 4 to 16 of them. */
const LEAST_COLUMNS = 8;
/** What a tensor taken apart may cost at most, of what it costs as it is. */
const WORTH = 0.999;
/** ... and from what on a sample cannot tell. */
const CLOSE = 0.98;
/** Bytes of a base, which is held in memory, at most. */
const MOST_BASE = 1 << 26;

/** @typedef {import('./encode.js').Input} Input */
/** @typedef {import('../core/planes.js').Field} Field */
/** @typedef {import('../core/planes.js').Base} Base */
/** @typedef {import('../core/planes.js').Planes} Planes */
/** @typedef {Base & {tensor: string, plane: number}} NamedBase */
/**
 * @typedef {object} Plane
 * @property {Field} field
 * @property {'U8' | 'F16' | 'F32'} dtype
 * @property {number[]} shape of the matrix that is coded
 * @property {NamedBase} [base]
 */
/**
 * @typedef {object} Plan
 * @property {number} blockBytes @property {Plane[]} planes
 * @property {number} cost expected, in bits
 * @property {boolean} [isClose] it may cost less as it is
 * @property {boolean} [isBase] another tensor depends on it: it must be coded so
 */
/** @typedef {Omit<Field, 'blockBytes'>} Items */
/** @typedef {Items[][]} Choice ways to take some bits of a block, of which one is taken */
/** @typedef {{blockBytes: number, choices: Choice[]}} Layout */
/** @typedef {{start: number, bytes: Uint8Array}[]} Sample */

/**
 * @param {number} at bit @param {number} width @param {number} [items]
 * @param {number} [itemBits] @returns {Items}
 */
const items = (at, width, items = 1, itemBits = width) => (
  { bitOffset: at, itemBits, items, width });

/** @param {number} at byte @param {number} count @returns {Choice} so many bytes of codes */
const codes = (at, count) => [[items(8 * at, 8, count)], [items(8 * at, 4, 2 * count)],
  [items(8 * at, 2, 4 * count)]];
/** @param {number} at byte @param {number} [count] @returns {Choice} */
const bytes = (at, count) => [[items(8 * at, 8, count)]];
/** @param {number} at byte @returns {Choice} */
const half = (at) => [[items(8 * at, 16)]];
/** @param {number} at byte @returns {Choice} two */
const halves = (at) => [[items(8 * at, 16), items(8 * at + 16, 16)], [items(8 * at, 16, 2)]];
/** Eight scales and minima of six bits: of four each in place, of the others in two parts.
 * @param {number} at byte @returns {Choice} */
const sixes = (at) => [[items(8 * at, 8, 12)],
  [0, 4, 8].map((i) => items(8 * (at + i), 8, 4)),
  [items(8 * at, 6, 4, 8), items(8 * at + 6, 2, 4, 8), items(8 * at + 32, 6, 4, 8),
    items(8 * at + 38, 2, 4, 8), items(8 * at + 64, 4, 4, 8), items(8 * at + 68, 4, 4, 8)]];

/** Blocks as GGUF has them. @type {Layout[]} */
const BLOCKS = [
  { blockBytes: 17, choices: [bytes(0), codes(1, 16)] }, // MXFP4
  { blockBytes: 18, choices: [half(0), codes(2, 16)] }, // Q4_0
  { blockBytes: 20, choices: [halves(0), codes(4, 16)] }, // Q4_1
  { blockBytes: 22, choices: [half(0), bytes(2, 4), codes(6, 16)] }, // Q5_0
  { blockBytes: 24, choices: [halves(0), bytes(4, 4), codes(8, 16)] }, // Q5_1
  { blockBytes: 34, choices: [half(0), bytes(2, 32)] }, // Q8_0
  { blockBytes: 84, choices: [codes(0, 16), codes(16, 64), halves(80)] }, // Q2_K
  { blockBytes: 110, choices: [bytes(0, 32), codes(32, 64), bytes(96, 12), half(108)] }, // Q3_K
  { blockBytes: 144, choices: [halves(0), sixes(4), codes(16, 128)] }, // Q4_K
  { blockBytes: 176, choices: [halves(0), sixes(4), bytes(16, 32), codes(48, 128)] }, // Q5_K
  { blockBytes: 210, choices: [codes(0, 128), codes(128, 64), bytes(192, 16), half(208)] }, // Q6_K
];

/**
 * Bits of so many elements, of which some were counted.
 * @param {ArrayLike<number>} counts @param {number} all
 * @param {number} [width] bits of each: two or four may share a symbol
 * @returns {number}
 */
export function costOf(counts, all, width = 8) {
  let total = 0;
  let used = 0;
  let sum = 0;
  for (let i = 0; i < counts.length; i++) {
    const n = counts[i];
    if (!n) continue;
    total += n;
    used++;
    sum += n * Math.log2(n);
  }
  if (!total) return 8 * PLANE_BYTES;
  // A sample's entropy is too low by so much (G. Miller, 1955).
  const missed = (used - 1) / 2 * Math.LOG2E * (all / total - 1);
  const bits = (Math.log2(total) - sum / total) * all + Math.max(0, missed);
  const streams = used > 1 ? all / STREAM / (width > 4 ? 1 : width > 2 ? 2 : 4) : 0;
  return bits + 8 * (PLANE_BYTES + SYMBOL_BYTES * used + STREAM_BYTES * streams);
}

/** @param {Uint8Array} symbols @param {Float64Array} [counts] added to */
function count(symbols, counts = new Float64Array(256)) {
  for (const symbol of symbols) counts[symbol]++;
  return counts;
}

/** Counts of the codes that bytes hold. @param {Float64Array} counts of bytes @param {number} width */
function codesIn(counts, width) {
  const found = new Float64Array(1 << width);
  for (const [byte, n] of counts.entries()) {
    for (let bit = 0; bit < 8; bit += width) found[byte >> bit & found.length - 1] += n;
  }
  return found;
}

/**
 * Bits of halves: exponent and some of the mantissa are coded, and the sign is not, unless it is always
 * the same.
 * @param {Uint8Array[]} parts of their bytes @param {number} all
 */
function costOfHalves(parts, all) {
  let counts = new Float64Array(1 << 15);
  let signs = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) {
      counts[(part[i + 1] & 127) << 8 | part[i]]++;
      signs |= part[i + 1] & 128 ? 2 : 1;
    }
  }
  let least = Infinity;
  for (let raw = 1; raw <= 7; raw++) {
    const coarse = new Float64Array(counts.length / 2);
    for (let i = 0; i < counts.length; i++) if (counts[i]) coarse[i >> 1] += counts[i];
    counts = coarse;
    const used = counts.findLastIndex((n) => n > 0) - counts.findIndex((n) => n > 0) + 1;
    if (raw < 3 || (used > 256 && raw < 7)) continue;
    least = Math.min(least, costOf(counts, all) + all * (raw + (signs === 3 ? 1 : 0)));
  }
  return least;
}

/** What sampled elements of a field are. */
class Estimator {
  /** By field. @type {Map<string, Float64Array>} */
  #known = new Map();

  /** @param {Planes} planes @param {Sample} sample @param {number} size bytes of the tensor */
  constructor(planes, sample, size) {
    this.planes = planes;
    this.sample = sample;
    this.size = size;
  }

  /**
   * @param {Field} field @returns {{first: number, elements: Uint8Array}[]} first: its index
   */
  elements(field) {
    const { blockBytes, items } = field;
    return this.sample.map(({ start, bytes }) => {
      const first = Math.ceil(start / blockBytes) * items;
      const end = Math.max(first, Math.floor((start + bytes.length) / blockBytes) * items);
      const [from, to] = bytesOf(field, first, end);
      return { first, elements: this.planes.get(field, bytes.subarray(from - start, to - start), first, end) };
    });
  }

  /** @param {Field} field @returns {number} elements of the tensor */
  all({ blockBytes, items }) {
    return this.size / blockBytes * items;
  }

  /** @param {Field} field @returns {Float64Array} how often each of its bytes comes */
  counts(field) {
    const key = Object.values(field).join();
    let counts = this.#known.get(key);
    if (counts) return counts;
    const { bitOffset, itemBits, items, width } = field;
    if (width < 8 && itemBits === width && bitOffset % 8 === 0 && items * width % 8 === 0) {
      counts = codesIn(this.counts({ ...field, itemBits: 8, items: items * width / 8, width: 8 }), width);
    } else {
      counts = new Float64Array(256);
      for (const { elements } of this.elements(field)) count(elements, counts);
    }
    this.#known.set(key, counts);
    return counts;
  }

  /** @param {Field} field @returns {number} bits of the whole plane */
  cost(field) {
    if (field.width < 16) return costOf(this.counts(field), this.all(field), field.width);
    return costOfHalves(this.elements(field).map(({ elements }) => elements), this.all(field));
  }

  /**
   * The cheapest way to take a layout's fields.
   * @param {Layout} layout @returns {{cost: number, fields: Field[]}}
   */
  choose({ blockBytes, choices }) {
    let cost = 0;
    /** @type {Field[]} */
    const fields = [];
    for (const ways of choices) {
      const found = cheapest(ways.map((way) => {
        const own = way.map((some) => ({ ...some, blockBytes }));
        return { fields: own, cost: own.reduce((sum, field) => sum + this.cost(field), 0) };
      }));
      cost += found.cost;
      fields.push(...found.fields);
    }
    return { cost, fields };
  }

  /**
   * Bytes of numbers: those that lie side by side together where that costs less.
   * @param {number} blockBytes
   */
  bytePlanes(blockBytes) {
    /** @type {{field: Field, counts: Float64Array, cost: number}[]} */
    const runs = [];
    for (let at = 0; at < blockBytes; at++) {
      const field = { ...items(8 * at, 8), blockBytes };
      const counts = this.counts(field);
      const last = runs[runs.length - 1];
      const own = costOf(counts, this.all(field));
      const joint = last && { ...last.field, items: last.field.items + 1 };
      const sums = last?.counts.map((n, i) => n + counts[i]);
      const cost = sums ? costOf(sums, this.all(joint)) : Infinity;
      if (last && cost <= last.cost + own) runs[runs.length - 1] = { field: joint, counts: sums, cost };
      else runs.push({ field, counts, cost: own });
    }
    return {
      cost: runs.reduce((sum, { cost }) => sum + cost, 0), fields: runs.map(({ field }) => field),
    };
  }
}

/** @template {{cost: number}} T @param {T[]} found @returns {T} the first of those that cost least */
const cheapest = (found) => found.reduce((a, b) => (b.cost < a.cost ? b : a));

/**
 * @param {Input} input @param {number} size its bytes @returns {Promise<Sample>} all of it, or pieces
 */
async function takeSample({ read }, size) {
  if (size <= SAMPLE) return [{ start: 0, bytes: (await read(0, size)).slice() }];
  const piece = SAMPLE / PIECES;
  const sample = [];
  for (let i = 0; i < PIECES; i++) {
    const start = Math.floor((size - piece) * i / (PIECES - 1));
    sample.push({ start, bytes: (await read(start, start + piece)).slice() });
  }
  return sample;
}

/** @param {Input} input @param {Field} field @returns {number[]} the shape of a plane */
function shapeOf({ dtype, shape }, { blockBytes, items }) {
  const rowBytes = (shape[shape.length - 1] ?? 1) * dtypeBits(dtype) / 8;
  const all = byteSize(dtype, shape, '') / blockBytes * items;
  const columns = rowBytes / blockBytes * items;
  return Number.isInteger(columns) && columns >= LEAST_COLUMNS && rowBytes % blockBytes === 0
    ? [all / columns, columns] : [all];
}

/** @param {Input} input @param {Field[]} fields @param {number} cost @returns {Plan} */
const planOf = (input, fields, cost) => ({
  cost,
  blockBytes: fields[0].blockBytes,
  planes: fields.map((field) => ({
    field, dtype: field.width === 32 ? 'F32' : field.width === 16 ? 'F16' : 'U8',
    shape: shapeOf(input, field),
  })),
});

/** Codes that fill bytes. @param {number} width 1, 2, 4 or 8 @returns {Field} */
const packedField = (width) => ({ ...items(0, width, 8 / width), blockBytes: 1 });
/** Half as many symbols: fewer that are rarer than a slot. @type {Field[]} */
const SIGN_APART = [items(0, 7), items(7, 1)].map((some) => ({ ...some, blockBytes: 1 }));
/** @type {Layout[]} */
const PACKED = [4, 2].map((width) => ({ blockBytes: 1, choices: [[[packedField(width)]]] }));

/**
 * The fields of a tensor, by itself.
 * @param {Estimator} estimator @param {Input} input
 * @returns {{cost: number, fields: Field[], isClose: boolean}} fields: none where it is best left as it
 *   is; isClose: that may cost less, after all
 */
function chooseFields(estimator, { dtype, shape }) {
  const { size } = estimator;
  const asIs = { cost: 8 * size, fields: [], isClose: false };
  if (dtype in DTYPES && dtype !== 'U8') return { cost: asIs.cost, fields: SIGN_APART, isClose: true };
  const ways = PACKED.map((layout) => estimator.choose(layout));
  if (dtype === 'U8') {
    asIs.cost = Math.min(asIs.cost, estimator.cost(packedField(8)));
    const rowBytes = shape[shape.length - 1] ?? 1;
    for (const layout of BLOCKS) {
      if (rowBytes % layout.blockBytes === 0) ways.push(estimator.choose(layout));
    }
  } else {
    const word = dtype.startsWith('F6') ? 3 : Math.ceil(dtypeBits(dtype) / 8);
    ways.push(estimator.bytePlanes(size % word ? 1 : word));
  }
  const found = cheapest(ways);
  const isClose = dtype === 'U8' && found.cost > CLOSE * asIs.cost;
  return found.cost < WORTH * asIs.cost ? { ...found, isClose } : asIs;
}

/**
 * Zero points that may belong to codes: of GPTQ, whose words hold codes of one column and of AWQ,
 * whose words hold those of a row.
 * @param {Input} input @param {Map<string, Input>} inputs
 * @returns {{tensor: string, width: number, base: Base}[]}
 */
function findBases({ name, dtype, shape }, inputs) {
  const tensor = name.replace(/\.qweight$/, '.qzeros');
  const zeros = inputs.get(tensor);
  if (tensor === name || !zeros || !/^[IU]32$/.test(dtype) || !/^[IU]32$/.test(zeros.dtype)
    || shape.length !== 2 || zeros.shape.length !== 2) return [];
  const [rows, columns] = shape;
  const [groups, words] = zeros.shape;
  const found = [];
  for (const width of [4, 8, 2]) {
    const each = 32 / width;
    const isGptq = words === Math.ceil(columns / each);
    if (!isGptq && words !== columns) continue;
    const length = isGptq ? rows * each : rows;
    // The last group may be shorter: groups are powers of two then.
    const group = length % groups ? 2 ** Math.ceil(Math.log2(length / groups)) : length / groups;
    if (!groups || !length || Math.ceil(length / group) !== groups) continue;
    found.push({
      tensor, width, base: isGptq ? { columns, depth: each, group, pitch: words * each }
        : { columns: columns * each, depth: 1, group, pitch: words * each },
    });
  }
  return found;
}

/**
 * What a tensor costs with a base, if that is less.
 * @param {Estimator} estimator @param {Input} input @param {Map<string, Input>} inputs
 * @param {number} cost without
 * @returns {Promise<{tensor: string, width: number, base: Base, cost: number} | undefined>}
 */
async function chooseBase(estimator, input, inputs, cost) {
  let best;
  for (const found of findBases(input, inputs)) {
    const { tensor, width, base } = found;
    const zeros = /** @type {Input} */ (inputs.get(tensor));
    const size = byteSize(zeros.dtype, zeros.shape, tensor);
    if (size > MOST_BASE) continue;
    const field = packedField(width);
    const values = estimator.planes.get(field, await zeros.read(0, size), 0, size * field.items);
    const counts = new Float64Array(256);
    for (const { first, elements } of estimator.elements(field)) {
      if (elements.length) estimator.planes.addBase(base, values, elements, first, width, true);
      count(elements, counts);
    }
    const own = costOf(counts, estimator.all(field), width);
    if (own >= cost) continue;
    best = { ...found, cost: own };
    cost = own;
  }
  return best;
}

/**
 * How tensors are to be taken apart.
 * @param {Iterable<Input>} inputs those that are to be coded without loss
 * @param {AbortSignal} [signal]
 * @returns {Promise<Map<string, Plan>>} by name; of those that are best coded as they are there is none
 * @throws {HanselError} HANSEL_ERR_ABORTED, and what reading throws
 */
export async function planFields(inputs, signal) {
  const all = new Map([...inputs].map((input) => [input.name, input]));
  /** @type {Map<string, Plan>} */
  const plans = new Map();
  for (const input of all.values()) {
    const { name, dtype, shape } = input;
    if (dtype in DTYPES && dtype !== 'U8' && !dtype.startsWith('F8')) continue;
    await takeTurn();
    checkAborted(signal);
    const size = byteSize(dtype, shape, name);
    if (!size || plans.get(name)?.isBase) continue;
    try {
      const estimator = new Estimator(await loadPlanes(), await takeSample(input, size), size);
      const { cost, fields, isClose } = chooseFields(estimator, input);
      const found = await chooseBase(estimator, input, all, cost);
      if (found) {
        const field = packedField(found.width);
        const plan = planOf(input, [field], found.cost);
        plan.planes[0].base = { ...found.base, tensor: found.tensor, plane: 0 };
        plans.set(name, plan);
        const zeros = /** @type {Input} */ (all.get(found.tensor));
        const most = 8 * byteSize(zeros.dtype, zeros.shape, zeros.name);
        plans.set(zeros.name, { ...planOf(zeros, [field], most), isBase: true });
      } else if (fields.length) {
        plans.set(name, { ...planOf(input, fields, cost), isClose });
      }
    } catch (error) {
      throw locate(error, name);
    }
  }
  return plans;
}

/**
 * A plane as a tensor of its own.
 * @param {Planes} planes @param {Input} input @param {Plane} plane @param {Map<string, Input>} inputs
 * @returns {Input}
 */
export function planeInput(planes, input, { field, dtype, shape, base }, inputs) {
  /** @type {Promise<Uint8Array> | undefined} */
  let values;
  const size = Math.ceil(field.width / 8);
  const readValues = async () => {
    const zeros = inputs.get(/** @type {NamedBase} */ (base).tensor);
    if (!zeros) throw new HanselError('HANSEL_ERR_ARGUMENT', 'the base is not there');
    const end = byteSize(zeros.dtype, zeros.shape, zeros.name);
    return planes.get(field, await zeros.read(0, end), 0, end * field.items);
  };
  return {
    name: input.name, dtype, shape,
    read: async (start, end) => {
      const [from, to] = bytesOf(field, start / size, end / size);
      const elements = planes.get(field, await input.read(from, to), start / size, end / size);
      if (base && elements.length) {
        values ??= readValues();
        planes.addBase(base, await values, elements, start, field.width, true);
      }
      return elements;
    },
  };
}
