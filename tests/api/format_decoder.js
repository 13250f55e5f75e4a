/**
 * A decoder of blobs of version 4, written from src/FORMAT.md alone: sections 3.1, 3.3, 4, 5, 6, 11
 * and 12, with the fields of 2 and the errors of 8. As the document says it, not as it is fast.
 */

/**
 * Floats have a number of bits for the exponent and of bits for the mantissa (section 5), and a
 * largest finite number (section 6).
 * @typedef {{name: string, bytes: number, exponent?: number, mantissa?: number, largest?: number}} Dtype
 */

/**
 * dtypes by their number, section 2.
 * @type {Record<number, Dtype>}
 */
const DTYPES = {
  1: { name: 'F32', bytes: 4, exponent: 8, mantissa: 23, largest: (2 - 2 ** -23) * 2 ** 127 },
  2: { name: 'F16', bytes: 2, exponent: 5, mantissa: 10, largest: 65504 },
  3: { name: 'BF16', bytes: 2, exponent: 8, mantissa: 7, largest: (2 - 2 ** -7) * 2 ** 127 },
  4: { name: 'I8', bytes: 1 },
  5: { name: 'U8', bytes: 1 },
  6: { name: 'F8_E4M3', bytes: 1 },
  7: { name: 'F8_E5M2', bytes: 1 },
};

/** @param {boolean} isRight @param {string} code without HANSEL_ERR_, section 8 @param {string} message */
function check(isRight, code, message) {
  if (!isRight) throw Object.assign(new Error(message), { code: `HANSEL_ERR_${code}` });
}

/** CRC-32C, section 2. @param {Uint8Array} bytes */
export function crc32c(bytes) {
  let crc = 0xFFFFFFFF;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = crc >>> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
  }
  return ~crc >>> 0;
}

/** count bits from a bit on, the lowest of a byte first.
 * @param {Uint8Array} bytes @param {number} bit @param {number} count */
function readBits(bytes, bit, count) {
  let value = 0;
  for (let k = 0; k < count; k++, bit++) value += (bytes[Math.floor(bit / 8)] >> bit % 8 & 1) * 2 ** k;
  return value;
}

/** Section 12: the weight of a level. @param {number} logarithm @param {number} logBits */
export function levelWeight(logarithm, logBits) {
  const power = [128, 134, 140, 146, 152, 159, 166, 173, 181, 189, 197, 206, 215, 225, 235, 245];
  if (logarithm === 0) return 0;
  const e = logarithm - 1 << 4 - logBits;
  return power[e % 16] << (e >> 4);
}

/** Section 12: weights to frequencies that sum to 2^p. @param {number[]} weights @param {number} p */
export function normalize(weights, p) {
  const count = weights.filter((w) => w > 0).length;
  check(count >= 2 && count <= 2 ** p, 'TABLE', `${count} frequencies`);
  /** @param {number} w @param {bigint} m */
  const share = (w, m) => (w === 0 ? 0 : Math.max(1, Number(BigInt(w) * m + 2n ** 31n >> 32n)));
  /** @param {bigint} m */
  const sum = (m) => weights.reduce((total, w) => total + share(w, m), 0);
  // The sum grows with m: it is small enough at low, and too large at high.
  let [low, high] = [0n, 2n ** 45n];
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (sum(middle) <= 2 ** p) low = middle;
    else high = middle;
  }
  let left = 2 ** p - sum(low);
  return weights.map((w) => {
    const isMore = left > 0 && share(w, low + 1n) > share(w, low);
    if (isMore) left--;
    return share(w, low) + (isMore ? 1 : 0);
  });
}

/** Section 12: freq of all symbols. @param {number[]} weights of levels @param {number} perSymbol @param {number} p */
function symbolFrequencies(weights, perSymbol, p) {
  if (perSymbol === 1) return normalize(weights, p);
  const v = normalize(weights, perSymbol === 2 ? 12 : 8);
  const symbols = Array.from({ length: alphabetSize(weights.length, perSymbol) }, (_, symbol) => {
    let product = 1;
    for (let k = 0; k < perSymbol; k++) product *= v[field(symbol, k, perSymbol)] ?? 0;
    return product;
  });
  return normalize(symbols, p);
}

/** Section 4.5. @param {number} symbol @param {number} k @param {number} perSymbol */
function field(symbol, k, perSymbol) {
  const bits = 8 / perSymbol;
  return symbol >> bits * k & 2 ** bits - 1;
}

/** Section 12: one more than the symbol of the highest fields. @param {number} levels @param {number} perSymbol */
function alphabetSize(levels, perSymbol) {
  let symbol = 0;
  for (let k = 0; k < perSymbol; k++) symbol = symbol << 8 / perSymbol | levels - 1;
  return symbol + 1;
}

/** Sections 11 and 12. @param {Uint8Array} bytes of the blob */
function readHead(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  check(bytes.length >= 16, 'TRUNCATED', 'fewer than 16 bytes');
  check(view.getUint32(0, true) === 0x4C534E48, 'MAGIC', 'no blob');
  check(bytes[4] === 4, 'VERSION', `version ${bytes[4]}`);
  const headBytes = view.getUint32(4, true) >>> 8;
  check(headBytes > 16 && headBytes % 2 === 0, 'HEADER', `head_bytes ${headBytes}`);
  check(bytes.length >= headBytes, 'TRUNCATED', 'fewer bytes than head_bytes');
  const head = bytes.slice(0, headBytes);
  head.fill(0, 8, 12);
  check(view.getUint32(8, true) === crc32c(head), 'CHECKSUM', 'head_crc');

  let at = 16;
  const readByte = () => {
    check(at < headBytes, 'HEADER', 'head_bytes cuts a field');
    return head[at++];
  };
  /** @param {number} most @param {string} name */
  const readNumber = (most, name) => {
    let value = 0n;
    for (let k = 0n; ; k++) {
      check(k < 9n, 'HEADER', `${name} has more than nine bytes`);
      const byte = readByte();
      value += BigInt(byte & 127) << 7n * k;
      if (byte < 128) break;
    }
    check(value <= most, 'HEADER', `${name} ${value}`);
    return Number(value);
  };

  const kind = readByte();
  check(kind < 128 && kind >> 5 < 3, 'RESERVED', 'weights_per_symbol');
  const dtype = DTYPES[kind & 15];
  const isGrid = (kind >> 4 & 1) === 0;
  const perSymbol = 1 << (kind >> 5);
  check(dtype !== undefined, 'HEADER', 'dtype');
  const isFloat = dtype.exponent !== undefined;
  check(isFloat || !isGrid, 'HEADER', 'mode');
  check(perSymbol === 1 || isGrid || !isFloat, 'HEADER', 'weights_per_symbol');

  const ranks = readByte();
  const [rank, rowDims] = [ranks & 15, ranks >> 4];
  check(rank <= 8 && (rowDims === 0 || rowDims >= 2 && rowDims < rank), 'HEADER', 'rank or row_dims');
  const shape = Array.from({ length: rank }, () => readNumber(2 ** 48 - 1, 'dimension'));
  /** @param {number[]} dims */
  const product = (dims) => dims.reduce((result, n) => result * BigInt(n), 1n);
  const columns = Number(product(shape.slice(rank - (rowDims || Math.min(rank, 1)))));
  const rows = Number(product(shape.slice(0, rank - (rowDims || Math.min(rank, 1)))));
  const weights = Number(product(shape));
  check(weights < 2 ** 48 && columns <= 2 ** 34, 'HEADER', 'shape');

  let step = 0;
  if (isGrid) {
    const stepBytes = Uint8Array.from({ length: 4 }, readByte);
    step = new DataView(stepBytes.buffer).getFloat32(0, true);
    check(step >= 2 ** -126 && step < Infinity, 'HEADER', 'step');
  }
  let [mantissaBits, sign, windowBase, rawBits] = [0, 0, 0, 0];
  if (!isGrid && isFloat) {
    const window = readByte();
    [mantissaBits, sign] = [window & 15, window >> 4];
    check(mantissaBits <= 7 && sign <= 2, 'HEADER', 'mantissa_bits or sign');
    check(dtype.name !== 'F16' || mantissaBits >= 3, 'HEADER', 'mantissa_bits of F16');
    windowBase = readNumber(2 ** 15 - 1, 'window_base');
    rawBits = Number(dtype.mantissa) - mantissaBits + (sign === 0 ? 1 : 0);
  }
  const levels = readNumber(perSymbol === 1 ? 256 : 2 ** (8 / perSymbol), 'level_count');
  check(levels >= (perSymbol === 1 ? 0 : 2) && (levels === 0) === (weights === 0), 'HEADER', 'level_count');
  const origin = levels === 0 ? 0 : readByte();
  if (!isGrid && isFloat && levels > 0) {
    const fields = 2 ** (Number(dtype.exponent) + mantissaBits);
    check(origin + levels <= 256 && windowBase + origin + levels <= fields, 'HEADER', 'window');
  }
  const fields = { dtype, isGrid, perSymbol, shape, rows, columns, weights, step, mantissaBits, sign, windowBase,
    rawBits, origin, headBytes };
  const model = levels < 2 ? null : readModel();
  if (at % 2 === 1 && at < headBytes) check(head[at++] === 0, 'RESERVED', 'padding of the head');
  check(at === headBytes, 'DIRECTORY', 'the fields do not end at head_bytes');
  return { ...fields, ...model ?? { slotBits: 8, frequencies: [], tailBits: 0, tailSteps: 0, pieces: 0,
    rowsPerStream: 0, lengthBase: 0, entries: [], streams: 0, words: 0 } };

  function readModel() {
    const bits = readByte();
    const [slotBits, logBits, riceBits] = [8 + (bits & 7), 1 + (bits >> 3 & 3), bits >> 5];
    check(slotBits <= 12, 'HEADER', 'slot_bits');
    const tailBits = 32 - Math.clz32(alphabetSize(levels, perSymbol) - 1);
    const tailSteps = readByte();
    check(tailBits * tailSteps <= 31, 'HEADER', 'tail_steps');
    const cut = readNumber(2 ** 32 - 1, 'cut');
    const pieces = cut % 2 === 1 ? (cut - 1) / 2 : 1;
    const rowsPerStream = cut % 2 === 1 ? 1 : cut / 2;
    const rowSteps = Math.ceil(columns / (4 * perSymbol));
    if (cut % 2 === 1) check(pieces >= 2 && pieces <= rowSteps, 'HEADER', 'pieces');
    else check(rowsPerStream >= 1 && rowsPerStream <= rows, 'HEADER', 'rows_per_stream');
    const streams = pieces > 1 ? rows * pieces : Math.ceil(rows / rowsPerStream);
    check(streams <= 2 ** 31, 'HEADER', 'streams');
    const lengthBase = readNumber(2 ** 32 - 1, 'length_base');
    const lengthBits = readByte();
    check(lengthBits <= 31, 'HEADER', 'length_bits');

    // Logarithms, section 12.
    let bit = 8 * at;
    /** @param {number} count */
    const take = (count) => {
      check(bit + count <= 8 * headBytes, 'TABLE', 'head_bytes cuts the logarithms');
      bit += count;
      return readBits(head, bit - count, count);
    };
    let logarithm = 0;
    const levelWeights = Array.from({ length: levels }, () => {
      let ones = 0;
      while (take(1) === 1) ones++;
      const z = ones * 2 ** riceBits + take(riceBits);
      logarithm += z % 2 === 0 ? z / 2 : -(z + 1) / 2;
      check(logarithm >= 0 && logarithm <= 15 * 2 ** logBits + 1, 'TABLE', `logarithm ${logarithm}`);
      return levelWeight(logarithm, logBits);
    });
    at = Math.ceil(bit / 8);
    check(readBits(head, bit, 8 * at - bit) === 0, 'RESERVED', 'bits after the logarithms');
    const frequencies = symbolFrequencies(levelWeights, perSymbol, slotBits);

    // Directory, section 3.3. Where entries have no bits there may be more streams than memory.
    bit = 8 * at;
    at += Math.ceil(streams * lengthBits / 8);
    check(at <= headBytes, 'DIRECTORY', 'head_bytes cuts the directory');
    const entries = lengthBits === 0 ? null
      : Array.from({ length: streams }, (_, s) => readBits(head, bit + s * lengthBits, lengthBits));
    bit += streams * lengthBits;
    check(readBits(head, bit, 8 * at - bit) === 0, 'RESERVED', 'bits after the directory');
    const shortest = lengthBase + (entries ?? [0]).reduce((a, b) => Math.min(a, b));
    const words = streams * lengthBase + (entries ?? []).reduce((a, b) => a + b, 0);
    check(shortest >= 8 && words < 2 ** 32, 'DIRECTORY', 'lengths of streams');
    return { slotBits, frequencies, tailBits, tailSteps, pieces, rowsPerStream, lengthBase, entries, streams, words };
  }
}

/** The runs of columns that are a stream, section 3.1. @param {ReturnType<typeof readHead>} head @param {number} s */
function streamRuns({ rows, columns, perSymbol, pieces, rowsPerStream }, s) {
  const width = 4 * perSymbol;
  if (pieces === 1) {
    const first = s * rowsPerStream;
    return Array.from({ length: Math.min(rowsPerStream, rows - first) },
      (_, r) => ({ row: first + r, start: 0, end: columns }));
  }
  const rowSteps = Math.ceil(columns / width);
  const [even, extra] = [Math.floor(rowSteps / pieces), rowSteps % pieces];
  /** @param {number} j */
  const start = (j) => Math.min(columns, width * (j * even + Math.min(j, extra)));
  const j = s % pieces;
  return [{ row: Math.floor(s / pieces), start: start(j), end: start(j + 1) }];
}

/**
 * One stream to the bytes of its weights, section 4.
 * @param {ReturnType<typeof readHead>} head @param {number} s @param {DataView} words the stream's
 * @param {{index: number, bias: number, freq: number}[]} table @param {Uint8Array} symbols all of the tensor's
 */
function decodeStream(head, s, words, table, symbols) {
  const { perSymbol, slotBits, tailSteps, tailBits, origin, columns, frequencies } = head;
  const length = words.byteLength / 2;
  /** @param {number} cursor */
  const word = (cursor) => words.getUint16(2 * cursor, true);
  const x = [0, 1, 2, 3].map((lane) => words.getUint32(4 * lane, true));
  check(x.every((state) => state >= 2 ** 16), 'CORRUPT', 'an initial state');
  let cursor = 8;

  const width = 4 * perSymbol;
  const steps = streamRuns(head, s).flatMap(({ row, start, end }) => Array.from(
    { length: Math.ceil((end - start) / width) },
    (_, k) => ({
      row, first: start + k * width, end,
      lanes: [0, 1, 2, 3].filter((l) => start + k * width + l < end),
    })));
  /** @param {typeof steps[0]} step @param {number} lane @param {number} index */
  const emit = ({ row, first, end }, lane, index) => {
    for (let k = 0; k < perSymbol; k++) {
      const column = first + 4 * k + lane;
      if (column < end) symbols[row * columns + column] = origin + field(index, k, perSymbol);
    }
  };

  const tail = Math.min(tailSteps, steps.length);
  for (const step of steps.slice(0, steps.length - tail)) {
    for (const lane of step.lanes) {
      const { index, bias, freq } = table[x[lane] % 2 ** slotBits];
      emit(step, lane, index);
      x[lane] = freq * (x[lane] >>> slotBits) + bias;
    }
    for (const lane of step.lanes) {
      if (x[lane] >= 2 ** 16) continue;
      check(cursor < length, 'CORRUPT', 'a word beyond the end of the stream');
      x[lane] = x[lane] * 2 ** 16 + word(cursor++);
    }
  }
  check(cursor === length, 'CORRUPT', 'words are left');
  check(x.every((state) => state >= 2 ** 16), 'CORRUPT', 'a final state');
  const d = x.map((state) => state - 2 ** 16);
  for (const step of steps.slice(steps.length - tail)) {
    for (const lane of step.lanes) {
      const index = d[lane] % 2 ** tailBits;
      d[lane] = Math.floor(d[lane] / 2 ** tailBits);
      check(index < frequencies.length, 'CORRUPT', 'a digit of the tail');
      emit(step, lane, index);
    }
  }
  check(d.every((digit) => digit === 0), 'CORRUPT', 'digits are left');
}

/** The bits of a weight on the grid, section 6. @param {number} step @param {number} byte @param {Dtype} dtype */
function gridBits(step, byte, { exponent = 0, mantissa = 0, largest = 0 }) {
  const q = byte << 24 >> 24;
  const value = Math.fround(step * q);
  if (q === 0) return 0;
  const magnitude = Math.min(Math.abs(value), largest);
  // In units of the last bit of dtype; an exponent below the lowest is a subnormal number's.
  const lowest = 2 - 2 ** (exponent - 1);
  const e = Math.max(lowest, (new Uint32Array(Float32Array.of(magnitude).buffer)[0] >>> 23) - 127);
  const units = magnitude / 2 ** (e - mantissa);
  const even = units + 2 ** 52 - 2 ** 52; // rounds to nearest even: numbers above 2^52 are integers
  return (q < 0 ? 2 ** (exponent + mantissa) : 0) + (e - lowest) * 2 ** mantissa + even;
}

/** The bits of a lossless float, section 5.
 * @param {ReturnType<typeof readHead>} head @param {number} symbol @param {number} raw */
function losslessBits({ dtype, windowBase, rawBits, sign }, symbol, raw) {
  const top = 2 ** (8 * dtype.bytes - 1);
  const word = (symbol === 0 ? 0 : windowBase + symbol) * 2 ** rawBits + raw;
  if (sign === 0) return word % 2 * top + Math.floor(word / 2);
  return sign === 1 ? word : word + top;
}

/**
 * @param {Uint8Array} bytes
 * @returns {{dtype: string, mode: 'grid' | 'lossless', shape: number[], step: number, symbols: Uint8Array,
 *   values: Uint8Array}} symbols: a byte a weight; values: elements of the dtype, little-endian
 * @throws {Error} with `code`, a name of section 8
 */
export function decodeBlob(bytes) {
  const head = readHead(bytes);
  const { dtype, isGrid, shape, step, weights, rawBits, origin, headBytes } = head;
  const rawStart = headBytes + 2 * head.words;
  const rawBytes = Math.ceil(weights * rawBits / 8);
  check(bytes.length >= rawStart + rawBytes, 'TRUNCATED', 'fewer bytes than blob_bytes');
  check(bytes.length <= rawStart + rawBytes, 'TRAILING', 'more bytes than blob_bytes');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  check(view.getUint32(12, true) === crc32c(bytes.subarray(headBytes)), 'CHECKSUM', 'payload_crc');

  const table = head.frequencies.flatMap((freq, index) => Array.from({ length: freq },
    (_, bias) => ({ index, bias, freq })));
  const symbols = new Uint8Array(weights).fill(origin);
  for (let s = 0, start = headBytes; s < head.streams; s++) {
    const size = 2 * (head.lengthBase + (head.entries?.[s] ?? 0));
    decodeStream(head, s, new DataView(bytes.buffer, bytes.byteOffset + start, size), table, symbols);
    start += size;
  }

  const plane = bytes.subarray(rawStart);
  const planeBits = weights * rawBits;
  check(readBits(plane, planeBits, 8 * rawBytes - planeBits) === 0, 'RESERVED', 'bits after the raw plane');
  const values = new Uint8Array(weights * dtype.bytes);
  symbols.forEach((symbol, i) => {
    const bits = dtype.exponent === undefined ? symbol : isGrid ? gridBits(step, symbol, dtype)
      : losslessBits(head, symbol, readBits(plane, i * rawBits, rawBits));
    for (let k = 0; k < dtype.bytes; k++) values[i * dtype.bytes + k] = Math.floor(bits / 2 ** (8 * k));
  });
  return { dtype: dtype.name, mode: isGrid ? 'grid' : 'lossless', shape, step, symbols, values };
}
