/** Everything that is timed on the data sets, behind one interface. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import {
  brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync,
} from 'node:zlib';
import * as zstd from '@bokuweb/zstd-wasm';
import { gunzipSync as fflate } from 'fflate';
import { decompress as fzstd } from 'fzstd';
import { Encoder } from '../../web/core/encoder.js';
import { encode, open } from '../../web/hansel.js';
import { decodeSlices, encodeSlices, joinParts, readHead } from './slices.js';

const run = promisify(execFile);
const NATIVE = new URL('../../build/bench', import.meta.url).pathname;

/** @typedef {import('./data.js').Task} Task */
/** What build/bench can run here: its decoders, by name. */
const VARIANTS = existsSync(NATIVE)
  ? execFileSync(NATIVE, ['--variants']).toString().trim().split('\n') : [];

/** @typedef {{bytes: number, encode?: number, decode?: number}} Round coded bytes; seconds */
/**
 * @typedef {object} Session one coder, ready to work on one data set
 * @property {number} symbols how many it codes
 * @property {() => Promise<Round>} round once through it
 */
/**
 * @typedef {object} Coder
 * @property {string} name
 * @property {string} timed what is inside the timer
 * @property {boolean} [ours]
 * @property {boolean} [anchor] ratios are taken to it
 * @property {string[]} [sets] where it is of interest; everywhere by default
 * @property {(task: Task) => Promise<Session>} prepare untimed
 */

/**
 * A session that times two functions, and checks outside the timers that what went in comes out.
 * @param {Uint8Array} data
 * @param {{encode?: () => unknown, decode?: () => unknown, bytes: () => number}} steps decode
 *   returns (a promise of) the data, be it a view; bytes is called last
 * @returns {Session}
 */
function session(data, { encode: forth, decode: back, bytes }) {
  return {
    symbols: data.length,
    async round() {
      /** @type {Partial<Round>} */
      const times = {};
      if (forth) {
        const start = performance.now();
        await forth();
        times.encode = (performance.now() - start) / 1000;
      }
      if (back) {
        const start = performance.now();
        const out = /** @type {Uint8Array} */ (await back());
        times.decode = (performance.now() - start) / 1000;
        if (Buffer.compare(out, data) !== 0) throw new Error('what comes out is not what went in');
      }
      return { ...times, bytes: bytes() };
    },
  };
}

/**
 * build/bench, which checks by itself; one process a round.
 * @param {string} part a name that it prints @param {number} streamLength
 * @returns {Coder['prepare']}
 */
export const native = (part, streamLength) => async ({ data, shape, path }) => ({
  symbols: data.length,
  async round() {
    const { stdout } = await run(NATIVE, [path, ...shape, streamLength, 1].map(String));
    const lines = stdout.trim().split('\n').map((line) => JSON.parse(line));
    const line = lines.find(({ name }) => name === part);
    const { bits, encode_Msps: [enc] = [], decode_Msps: [dec] } = line;
    const millions = data.length / 1e6;
    return {
      bytes: bits * data.length / 8, encode: enc ? millions / enc : undefined,
      decode: millions / dec,
    };
  },
});

/**
 * The C functions alone, all streams in one call, everything in WebAssembly memory already.
 * @param {boolean} simd @param {number} streamLength @param {number} [most] weights to a symbol
 * @returns {Coder['prepare']}
 */
export const wasmCore = (simd, streamLength, most) => async ({ data, shape }) => {
  const codec = await Encoder.create({ simd });
  const { wasm } = codec;
  const file = joinParts(await encodeSlices(codec, data, shape, streamLength, most));
  const blob = readHead(codec, file);
  const { streamCount: count, headBytes } = blob;
  const cursors = codec.readCursors(blob, file.subarray(0, headBytes));
  const words = file.subarray(headBytes, headBytes + 2 * blob.wordCount);
  const struct = wasm.put(blob.struct);
  const fault = wasm.zero(24);
  const table = wasm.put(new Uint8Array(codec.buildTable(blob).buffer));
  const starts = wasm.put(new Uint8Array(cursors.buffer));
  const lengths = wasm.alloc(4 * count);
  const src = wasm.put(data);
  const symbols = blob.weightsPerSymbol > 1 ? wasm.zero(data.length) : src;
  const coded = wasm.put(words);
  const dst = wasm.zero(data.length);
  const bound = Number(wasm.call.hansel_encode_bound(struct, 0, count));
  const room = wasm.zero(bound);
  let written = 0;
  return session(data, {
    encode() {
      const length = blob.weightsPerSymbol > 1
        ? wasm.call.hansel_fold(symbols, struct, 0, count, src, data.length) : data.length;
      written = wasm.call.hansel_encode_streams(room, bound, lengths, struct, 0, count, symbols,
        length) >>> 0;
    },
    decode() {
      codec.check(wasm.call.hansel_decode_streams(dst, data.length, struct, table, starts, 0, count,
        coded, words.length, fault), fault, 'stream');
      return new Uint8Array(wasm.memory.buffer, dst, data.length);
    },
    bytes() {
      const found = new Uint8Array(wasm.memory.buffer, room, written);
      if (Buffer.compare(found, words) !== 0) throw new Error('the encoders disagree');
      new Uint8Array(wasm.memory.buffer, dst, data.length).fill(0);
      return blob.blobBytes;
    },
  });
};

/** @param {boolean} simd @returns {Coder['prepare']} */
const wasmSlices = (simd) => async ({ data, shape }) => {
  const codec = await Encoder.create({ simd });
  const file = joinParts(await encodeSlices(codec, data, shape));
  return session(data, {
    encode: () => encodeSlices(codec, data, shape),
    decode: () => decodeSlices(codec, file),
    bytes: () => file.length,
  });
};

/** @param {number} threads @param {'array' | 'wasm'} [into] memory that was used before
 * @returns {Coder['prepare']} */
const api = (threads, into) => async ({ data, shape }) => {
  const tensor = { dtype: 'I8', shape, data };
  let file = await encode({ w: tensor }, { lossless: true });
  const room = into === 'array' ? new Int8Array(data.length).fill(1)
    : into && await (await open(file)).decode('w', { wasm: true });
  return session(data, {
    encode: async () => { file = await encode({ w: tensor }, { lossless: true, threads }); },
    decode: async () => {
      const model = await open(file, { threads });
      const { buffer, byteOffset, byteLength } = await model.decode('w', { into: room });
      await model.close();
      return new Uint8Array(buffer, byteOffset, byteLength);
    },
    bytes: () => file.length,
  });
};

/**
 * @param {(data: Uint8Array) => Uint8Array} forth @param {(coded: Uint8Array) => Uint8Array} back
 * @returns {Coder['prepare']}
 */
const library = (forth, back) => async ({ data }) => {
  let coded = new Uint8Array(0);
  return session(data, {
    encode: () => { coded = new Uint8Array(forth(data)); },
    decode: () => back(coded),
    bytes: () => coded.length,
  });
};

/** Slow to encode: done and timed only once. @type {Coder['prepare']} */
const zstd19 = async (task) => {
  const data = task.data.subarray(0, 4 << 20);
  const start = performance.now();
  const coded = zstd.compress(data, 19);
  const encodeTime = (performance.now() - start) / 1000;
  const inner = session(data, { decode: () => zstd.decompress(coded), bytes: () => coded.length });
  return {
    symbols: data.length,
    round: async () => ({ ...await inner.round(), encode: encodeTime }),
  };
};

/** @type {Coder['prepare']} */
const decompressionStream = async ({ data }) => {
  const coded = gzipSync(data, { level: 6 });
  return session(data, {
    decode: async () => {
      const stream = new Blob([coded]).stream().pipeThrough(new DecompressionStream('gzip'));
      return new Uint8Array(await new Response(stream).arrayBuffer());
    },
    bytes: () => coded.length,
  });
};

/** @type {Coder['prepare']} */
const memcpy = async ({ data }) => {
  const out = new Uint8Array(data.length);
  return session(data, {
    decode: () => { out.set(data); return out; },
    bytes: () => data.length,
  });
};

/** @type {Coder['prepare']} */
const zstdInScript = async ({ data }) => {
  const coded = new Uint8Array(zstd.compress(data, 3));
  return session(data, { decode: () => fzstd(coded), bytes: () => coded.length });
};

/** @type {Coder['prepare']} */
const gzipInScript = async ({ data }) => {
  const coded = gzipSync(data, { level: 6 });
  const out = new Uint8Array(data.length);
  return session(data, {
    decode: () => fflate(coded, { out }), bytes: () => coded.length,
  });
};

/** Must be awaited before zstd is used. */
export const initZstd = () => zstd.init();
export { zstd };

/** @type {Coder[]} */
export const CODERS = [
  { name: 'memcpy', timed: 'Uint8Array.set into memory used before', prepare: memcpy },
  {
    name: 'Hansel native, streams', ours: true, prepare: native('streams', 4096),
    timed: 'hansel_fold where it folds, hansel_encode_streams; hansel_build_table and '
      + 'hansel_decode_streams; one call each',
  },
  {
    name: 'Hansel native, whole blob', ours: true, prepare: native('blob', 4096),
    timed: 'hansel_encode; hansel_decode_symbols: also histogram, model, head, CRC-32C',
  },
  {
    name: 'Hansel native, streams, S=1024', ours: true, prepare: native('streams', 1024),
    timed: 'as "native, streams", with 1024 symbols a stream; all others have 4096',
  },
  ...VARIANTS.map((variant) => ({
    name: `Hansel native, streams, ${variant}`, ours: true, prepare: native(variant, 4096),
    timed: 'as "native, streams", by one decoder where that takes the best',
  })),
  {
    name: 'Hansel wasm scalar, core', ours: true, prepare: wasmCore(false, 4096),
    timed: 'hansel_fold where it folds, hansel_encode_streams; hansel_decode_streams; data in wasm '
      + 'memory, one call each',
  },
  {
    name: 'Hansel wasm SIMD, core', ours: true, prepare: wasmCore(true, 4096),
    timed: 'as "wasm scalar, core"',
  },
  {
    name: 'Hansel wasm SIMD, core, not folded', ours: true, prepare: wasmCore(true, 4096, 1),
    sets: ['g1', 'g4', 'ternary'], timed: 'as "wasm scalar, core", one weight to a symbol',
  },
  {
    name: 'Hansel wasm SIMD, core, S=1024', ours: true, prepare: wasmCore(true, 1024),
    timed: 'as "wasm scalar, core", with 1024 symbols a stream',
  },
  {
    name: 'Hansel wasm scalar', ours: true, prepare: wasmSlices(false),
    timed: 'web/codec.js on slices, JavaScript memory to JavaScript memory: also histogram, model, '
      + 'head, CRC-32C, copies in and out',
  },
  {
    name: 'Hansel wasm SIMD', ours: true, anchor: true, prepare: wasmSlices(true),
    timed: 'as "wasm scalar"',
  },
  {
    name: 'Hansel API, 1 thread', ours: true, prepare: api(1),
    timed: 'encode(); open() and decode(): a safetensors file in memory',
  },
  {
    name: 'Hansel API, into', ours: true, prepare: api(1, 'array'), timed: 'as "API, 1 thread", decode() into an array used before',
  },
  {
    name: 'Hansel API, into wasm', ours: true, prepare: api(1, 'wasm'),
    timed: 'as "API, 1 thread", decode() into what decode({ wasm: true }) gave before',
  },
  {
    name: 'Hansel API, 2 threads', ours: true, prepare: api(2),
    timed: 'as "API, 1 thread", with threads: 2; rounds are so long that the worker has ended in between, '
      + 'and starts: "Two threads" below has it up',
  },
  {
    name: 'gzip -6 (zlib)', timed: 'node:zlib, native, synchronous, in memory',
    prepare: library((data) => gzipSync(data, { level: 6 }), gunzipSync),
  },
  {
    name: "DecompressionStream('gzip')", prepare: decompressionStream,
    timed: 'the stream of a Blob, collected by Response.arrayBuffer; coded by gzip -6',
  },
  {
    name: 'brotli -5', timed: 'node:zlib, native, synchronous, in memory',
    prepare: library((data) => brotliCompressSync(data, {
      params: { [constants.BROTLI_PARAM_QUALITY]: 5 },
    }), brotliDecompressSync),
  },
  {
    name: 'zstd -3 (wasm)', timed: '@bokuweb/zstd-wasm compress and decompress, copies included',
    prepare: library((data) => zstd.compress(data, 3), (coded) => zstd.decompress(coded)),
  },
  {
    name: 'fflate (JavaScript)', prepare: gzipInScript,
    timed: 'gunzipSync of gzip -6, into memory used before',
  },
  {
    name: 'fzstd (JavaScript)', prepare: zstdInScript,
    timed: 'decompress of zstd -3',
  },
  {
    name: 'zstd -19 (wasm), 4 MiB', prepare: zstd19,
    timed: 'as "zstd -3", the first 4 MiB only; coded once',
  },
];
