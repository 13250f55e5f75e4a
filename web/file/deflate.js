/**
 * Raw DEFLATE (RFC 1951) of a header or a small tensor. What engines' CompressionStreams write differs;
 * these bytes are the same everywhere.
 */

/** Bytes of the longest match, and of a stored block. */
const [LONGEST, STORED] = [258, 65535];
/** Matches reach less far back. */
const WINDOW = 32768;
/** A match of three bytes, so far away, costs more than they do. */
const TOO_FAR = 4096;
/** Earlier places that are looked at; a match so long will do. */
const [CHAIN, NICE] = [128, 128];
/** Bytes and matches in a block. */
const BLOCK = 1 << 14;
/** In which order the lengths of the codes for codes' lengths come. */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** @typedef {{symbol: number, bits: number, extra: number}} Coded bits: of extra, which follows */

/** Numbers that, from 2^shift on, share a symbol with more and more others.
 * @param {number} n @param {number} shift @param {number} first symbol @returns {Coded} */
function stepOf(n, shift, first) {
  const bits = Math.max(31 - Math.clz32(n) - shift, 0);
  return { symbol: first + (bits << shift) + (n >> bits), bits, extra: n & (1 << bits) - 1 };
}

/** @param {number} symbol @returns {Coded} */
const bare = (symbol) => ({ symbol, bits: 0, extra: 0 });
/** Bytes, and the end of a block. */
const LITERALS = Array.from({ length: 257 }, (_, i) => bare(i));
/** Lengths of matches, but for 0 to 2. */
const LENGTHS = Array.from({ length: LONGEST }, (_, i) => stepOf(i - 3, 2, 257)).concat(bare(285));
const FIXED = [
  Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)),
  Array.from({ length: 30 }, () => 5)];

/**
 * @param {Uint8Array} bytes not modified
 * @returns {Uint8Array<ArrayBuffer>} hardly longer, whatever they are
 */
export function deflate(bytes) {
  const out = new BitWriter();
  /** @type {number[]} */
  let items = [];
  let start = 0;
  let end = 0;
  for (const item of search(bytes)) {
    items.push(item);
    end += item < 256 ? 1 : item >> 16;
    if (items.length < BLOCK || end === bytes.length) continue;
    writeBlock(out, items, bytes.subarray(start, end), 0);
    items = [];
    start = end;
  }
  writeBlock(out, items, bytes.subarray(start), 1);
  out.align();
  return Uint8Array.from(out.bytes);
}

/**
 * Bytes and matches; a match gives way to a longer one that begins a byte later.
 * @param {Uint8Array} bytes @returns {Generator<number>} matches as length * 2^16 + distance
 */
function* search(bytes) {
  const newest = new Int32Array(WINDOW).fill(-1);
  const older = new Int32Array(WINDOW);
  /** Notes the place. @returns {number} the longest match of more than `length` bytes, or 0 */
  const find = (/** @type {number} */ at, /** @type {number} */ length) => {
    const most = Math.min(LONGEST, bytes.length - at);
    if (most < 3) return 0;
    const hash = (bytes[at] << 10 ^ bytes[at + 1] << 5 ^ bytes[at + 2]) % WINDOW;
    let match = 0;
    let old = newest[hash];
    for (let left = CHAIN; left > 0 && old >= 0 && at - old < WINDOW && length < Math.min(most, NICE);
      left--, old = older[old % WINDOW]) {
      if (bytes[old + length] !== bytes[at + length]) continue;
      let same = 0;
      while (same < most && bytes[old + same] === bytes[at + same]) same++;
      if (same <= length || (same === 3 && at - old >= TOO_FAR)) continue;
      match = (length = same) * 2 ** 16 + at - old;
    }
    older[at % WINDOW] = newest[hash];
    newest[hash] = at;
    return match;
  };
  let next = find(0, 2);
  for (let at = 0; at < bytes.length;) {
    const match = next;
    next = find(at + 1, match >> 16 || 2);
    if (!match || next) {
      yield bytes[at++];
      continue;
    }
    yield match;
    const end = at + (match >> 16);
    for (at += 2; at < end; at++) find(at, LONGEST); // only notes the places
    next = find(at, 2);
  }
}

/** In the shortest of three ways. @param {BitWriter} out @param {number[]} items
 * @param {Uint8Array} bytes that they stand for @param {number} last 1 or 0 */
function writeBlock(out, items, bytes, last) {
  /** Of two alphabets: literals and lengths; distances. @type {Coded[][]} */
  const coded = items.map((item) => (item < 256 ? [LITERALS[item]]
    : [LENGTHS[item >> 16], stepOf((item & 65535) - 1, 1, 0)]));
  coded.push([LITERALS[256]]);
  const counts = [new Array(286).fill(0), new Array(30).fill(0)];
  for (const one of coded) one.forEach(({ symbol }, i) => counts[i][symbol]++);
  const lengths = counts.map((some) => codeLengths(some, 15));
  const [literals, distances] = lengths.map(trimmed);
  const runs = [...runsOf([...literals, ...distances])];
  const runCounts = new Array(19).fill(0);
  for (const { symbol } of runs) runCounts[symbol]++;
  const runLengths = codeLengths(runCounts, 7);
  const ordered = trimmed(ORDER.map((symbol) => runLengths[symbol]));

  const bitsOf = (/** @type {Coded[][]} */ all, /** @type {number[][]} */ by) => all.reduce((sum, one) => (
    one.reduce((s, { symbol, bits }, i) => s + by[i][symbol] + bits, sum)), 0);
  const write = (/** @type {Coded[][]} */ all, /** @type {number[][]} */ by) => {
    const codes = by.map(codesOf);
    for (const one of all) {
      one.forEach(({ symbol, bits, extra }, i) => {
        out.write(codes[i][symbol], by[i][symbol]);
        out.write(extra, bits);
      });
    }
  };
  const told = runs.map((run) => [run]);
  const own = 14 + 3 * ordered.length + bitsOf(told, [runLengths]) + bitsOf(coded, lengths);
  const fixed = bitsOf(coded, FIXED);
  if (8 * bytes.length + 40 * Math.ceil(bytes.length / STORED) <= Math.min(own, fixed) && bytes.length) {
    for (let at = 0; at < bytes.length; at += STORED) {
      const piece = bytes.subarray(at, at + STORED);
      out.write(at + STORED < bytes.length ? 0 : last, 3);
      out.align();
      out.write(piece.length, 16);
      out.write(~piece.length & 65535, 16);
      for (const byte of piece) out.write(byte, 8);
    }
  } else if (fixed <= own) {
    out.write(last + 2, 3);
    write(coded, FIXED);
  } else {
    out.write(last + 4, 3);
    out.write(literals.length - 257, 5);
    out.write(distances.length - 1, 5);
    out.write(ordered.length - 4, 4);
    for (const length of ordered) out.write(length, 3);
    write(told, [runLengths]);
    write(coded, lengths);
  }
}

/** Without zeros at the end, but four. @param {number[]} lengths */
const trimmed = (lengths) => lengths.slice(0, Math.max(4, ...lengths.map((n, i) => (n ? i + 1 : 0))));

/**
 * By package-merge.
 * @param {number[]} counts @param {number} longest
 * @returns {number[]} bits of each symbol's code, 0 where it does not occur; of two symbols at least,
 *   as not all decoders take a code of one
 */
function codeLengths(counts, longest) {
  const single = counts.map((count, symbol) => ({ count, symbols: [symbol] })).filter((one) => one.count);
  for (let symbol = 0; single.length < 2; symbol++) {
    if (!counts[symbol]) single.push({ count: 0, symbols: [symbol] });
  }
  let all = single.slice(0, 0);
  for (let i = 0; i < longest; i++) {
    const packages = [];
    for (let k = 1; k < all.length; k += 2) {
      const [a, b] = [all[k - 1], all[k]];
      packages.push({ count: a.count + b.count, symbols: a.symbols.concat(b.symbols) });
    }
    all = [...single, ...packages].sort((a, b) => a.count - b.count);
  }
  const lengths = counts.map(() => 0);
  for (const { symbols } of all.slice(0, 2 * single.length - 2)) {
    for (const symbol of symbols) lengths[symbol]++;
  }
  return lengths;
}

/** @param {number[]} lengths @returns {number[]} each symbol's code, its first bit the lowest */
function codesOf(lengths) {
  const codes = lengths.map(() => 0);
  let code = 0;
  for (let length = 1; length < 16; length++, code *= 2) {
    for (const [symbol, own] of lengths.entries()) {
      if (own !== length) continue;
      for (let bit = 0; bit < length; bit++) codes[symbol] |= (code >> bit & 1) << length - 1 - bit;
      code++;
    }
  }
  return codes;
}

/** Lengths of codes in an alphabet of their own: 16 repeats the one before, 17 and 18 are zeros.
 * @param {number[]} lengths @returns {Generator<Coded>} */
function* runsOf(lengths) {
  for (let at = 0, run = 0; at < lengths.length; at += run) {
    const length = lengths[at];
    const repeats = at > 0 && length === lengths[at - 1] && length > 0;
    const most = length ? 6 : 138;
    for (run = 1; run < most && lengths[at + run] === length;) run++;
    if (run > 2 && (repeats || !length)) {
      yield length ? { symbol: 16, bits: 2, extra: run - 3 }
        : run < 11 ? { symbol: 17, bits: 3, extra: run - 3 } : { symbol: 18, bits: 7, extra: run - 11 };
    } else {
      yield bare(length);
      run = 1;
    }
  }
}

class BitWriter {
  /** @type {number[]} */
  bytes = [];
  /** Bits that make no byte yet, and how many. */
  #word = 0;
  #count = 0;

  /** @param {number} value @param {number} bits of it, at most 16 */
  write(value, bits) {
    this.#word |= value << this.#count;
    for (this.#count += bits; this.#count > 7; this.#count -= 8, this.#word >>>= 8) {
      this.bytes.push(this.#word & 255);
    }
  }

  /** Zeros to the next byte. */
  align() {
    this.write(0, -this.#count & 7);
  }
}
