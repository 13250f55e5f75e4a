/**
 * One encoder driver, two callers: a tensor in memory (src/encode_blob.c, by build/encode_cases)
 * and slices in JavaScript (web/encode/tensor_encoder.js) give the same bytes, or the same error.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { DTYPES } from '../../web/core/dtypes.js';
import { Encoder } from '../../web/core/encoder.js';
import { STATUS } from '../../web/core/errors.js';
import { codeTensor } from './code_tensor.js';

const program = new URL('../../build/encode_cases', import.meta.url).pathname;

/** T. Ettinger's mulberry32: numbers from 0 to 1. */
function random(seed) {
  let a = seed;
  return () => {
    a = a + 0x6D2B79F5 | 0;
    let t = Math.imul(a ^ a >>> 15, a | 1);
    t = t + Math.imul(t ^ t >>> 7, t | 61) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}

const gauss = (next) => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

/** Weights as multiples of about a unit, by what they look like. */
const LOOKS = {
  gauss: (next) => 8 * gauss(next),
  tails: (next) => gauss(next) ** 5,
  outliers: (next) => (next() < 0.002 ? 90 : 1) * gauss(next),
  uniform: (next) => 60 * next() - 30,
  equal: () => 3,
  zero: () => 0,
  two: (next) => (next() < 0.3 ? 5 : -2),
  ternary: (next) => Math.floor(3 * next()) - 1,
  levels: (next) => Math.floor(16 * next()) - 8,
  peaked: (next) => Math.round(1.2 * gauss(next)),
};

/** Bits of a binary16 near x. */
function half(x) {
  const [bits] = new Uint32Array(Float32Array.of(x).buffer);
  const rest = (bits & 0x7FFFFFFF) - (112 << 23);
  return bits >>> 16 & 0x8000 | (rest < 0 ? 0 : Math.min(rest >> 13, 0x7BFF));
}

/** Elements of a dtype near the numbers of `value`, as bytes. */
function bytesOf(dtype, count, value) {
  const values = Float32Array.from({ length: count }, value);
  const bits = new Uint32Array(values.buffer);
  const array = dtype === 'F32' ? values
    : dtype === 'BF16' ? Uint16Array.from(bits, (b) => b >>> 16)
      : dtype === 'F16' ? Uint16Array.from(values, half) : Uint8Array.from(values, Math.round);
  return new Uint8Array(array.buffer);
}

/** Case number i, always the same. */
function makeCase(i, large) {
  const next = random(1000 + i);
  const pick = (list) => list[Math.floor(list.length * next())];
  const maybe = (share, make) => (next() < share ? make() : undefined);
  const dtype = pick(['F32', 'F32', 'F32', 'F16', 'BF16', 'I8', 'U8', 'F8_E4M3', 'F8_E5M2']);
  const rank = large ? 2 : pick([0, 1, 1, 2, 2, 2, 3, 4, 5]);
  const shape = Array.from({ length: rank }, (_, k) => (
    large ? [3, 110003][k] : Math.ceil(next() * [0, 20000, 200, 32, 10, 7][rank])));
  if (!large && next() < 0.02 && rank) shape[0] = 0;
  const count = shape.reduce((a, b) => a * b, 1);
  const look = pick(Object.keys(LOOKS));
  const scale = 10 ** (4 * next() - 3);
  const isFloat = dtype === 'F32' || dtype.endsWith('16');
  const value = () => LOOKS[look](next) * (isFloat ? scale : 1);
  const data = bytesOf(dtype, count, value);
  const isSpoilt = dtype === 'F32' && count > 9 && next() < 0.1; // by a NaN
  if (isSpoilt) data.fill(255, 4 * (count - 5), 4 * (count - 4));
  const aim = isFloat ? pick(['step', 'bits', 'bits', 'bits', 'error', 'lossless']) : 'lossless';
  const options = {
    step: aim === 'step' ? Math.fround(scale * 2 ** (6 * next() - 7)) : undefined,
    bits: aim === 'bits' ? 0.4 + 8 * next() ** 3 : undefined,
    error: aim === 'error' ? 2 ** (-1 - 8 * next()) : undefined,
    saturate: aim === 'step' ? next() < 0.4 : undefined,
    streamLength: maybe(0.4, () => Math.floor(4 + 5000 * next() ** 3)),
    precision: maybe(0.3, () => 8 + Math.floor(5 * next())),
    weightsPerSymbol: maybe(0.3, () => pick([1, 2, 4])),
  };
  return { name: `case ${i}: ${look} ${dtype} [${shape}] ${JSON.stringify(options)}`,
    tensor: { dtype, shape, data }, options, lossless: aim === 'lossless' };
}

/** The line that build/encode_cases reads before a tensor. */
function lineOf({ tensor: { dtype, shape }, options: o, lossless }) {
  const target = o.bits !== undefined ? 1 : o.error !== undefined ? 2 : 0;
  return `${[DTYPES[dtype], shape.length, ...shape, o.step ?? 0, target, o.bits ?? o.error ?? 0,
    Number(lossless), Number(o.saturate ?? 0), o.streamLength ?? 0, o.precision ?? 0,
    o.weightsPerSymbol ?? 0].join(' ')}\n`;
}

describe('the encoder driver', function () {
  this.timeout(60000);

  it('makes the same of a tensor natively and in slices', async () => {
    const cases = Array.from({ length: 400 }, (_, i) => makeCase(i, i % 50 === 49));
    const { stdout, status, error } = spawnSync(program, {
      input: Buffer.concat(cases.flatMap((one) => [Buffer.from(lineOf(one)), one.tensor.data])),
      maxBuffer: 1 << 30,
    });
    assert.equal(status, 0, `${error}`);
    const codecs = [await Encoder.create({ simd: false }), await Encoder.create({ simd: true })];
    /** @type {string[]} */
    let asked = [];
    for (const codec of codecs) {
      const { next } = codec;
      codec.next = (state, found) => {
        asked.push(state.work);
        return next.call(codec, state, found);
      };
    }
    const seen = {
      rounds: 0, folded: 0, finer: 0, unfolded: 0, unreachable: 0, NOT_FINITE: 0, RANGE: 0,
    };
    let at = 0;
    for (const [i, { name, tensor, options, lossless }] of cases.entries()) {
      const end = stdout.indexOf('\n', at);
      const [code, position, bytes] = stdout.toString('latin1', at, end).split(' ').map(Number);
      const blob = stdout.subarray(end + 1, end + 1 + bytes);
      at = end + 1 + bytes;
      asked = [];
      const found = await codeTensor(codecs[i % 2], tensor, options, lossless).catch((e) => e);
      if (found instanceof Error) {
        assert.equal(found.code, STATUS[code], `${name} ${found.stack}`);
        assert.equal(found.position, position, name);
        seen[found.code.slice('HANSEL_ERR_'.length)]++;
      } else if (!found) {
        assert.equal(STATUS[code], 'HANSEL_ERR_RANGE', name);
        seen.unreachable++;
      } else {
        assert.equal(STATUS[code], 'HANSEL_OK', name);
        assert.ok(blob.equals(Buffer.concat([found.head, ...found.parts])), name);
        const works = asked.join(' ');
        const isFolded = codecs[0].readHead(blob).weightsPerSymbol > 1;
        seen.rounds += works.includes('code measure');
        seen.finer += works.includes('fold measure') && isFolded;
        seen.folded += isFolded;
        seen.unfolded += works.includes('fold') && !isFolded;
      }
    }
    assert.equal(at, stdout.length);
    console.log(`      ${cases.length} cases: ${JSON.stringify(seen)}`);
    for (const [what, count] of Object.entries(seen)) assert.ok(count > 0, `${what}: ${count}`);
  });
});
