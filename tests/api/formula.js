/**
 * Test inputs by formula: the twin of formula.h, integers only, the same bytes.
 * Element i depends on the formula and i alone.
 */

/** @typedef {'F32'|'F16'|'BF16'|'I8'|'U8'|'F8_E4M3'|'F8_E5M2'} Dtype */
/**
 * Floats are n * 2^-exponent, bytes n mod 256; formula.h says what n each kind gives.
 * @typedef {{kind: string, scale: number, low: number, exponent: number, seed: number}} Formula
 */

/** @type {Record<string, {bytes: number, fraction: number, bias: number}>} */
const TYPES = {
  F32: { bytes: 4, fraction: 23, bias: 127 },
  F16: { bytes: 2, fraction: 10, bias: 15 },
  BF16: { bytes: 2, fraction: 7, bias: 127 },
};
const BYTE = { bytes: 1, fraction: 0, bias: 0 };

/** @param {number} x */
function mix(x) {
  x = Math.imul(x ^ x >>> 16, 0x21F0AAAD);
  x = Math.imul(x ^ x >>> 15, 0x735A2D97);
  return (x ^ x >>> 15) >>> 0;
}

/**
 * 32 even bits.
 * @param {number} seed
 * @param {number} index
 */
export function formulaRandom(seed, index) {
  return mix(mix(seed) + index | 0);
}

/** @param {Formula} f @param {number} i */
function gauss(f, i) {
  let sum = 0;
  for (let k = 0; k < 6; k++) {
    const random = formulaRandom(f.seed, 8 * i + k);
    sum += (random >>> 16) + (random & 65535);
  }
  return ((0x80080000 + Math.imul(sum - 393210, f.scale)) >>> 20) - 2048;
}

/**
 * The integer n of element i.
 * @param {Formula} f
 * @param {number} i
 * @returns {number}
 */
export function formulaInteger(f, i) {
  const random = formulaRandom(f.seed, 8 * i);
  switch (f.kind) {
    case 'gauss':
    case 'weights':
    case 'special': return f.low + gauss(f, i);
    case 'laplace': {
      const octaves = Math.clz32(random | 1);
      const magnitude = (16 * octaves + 15 - (random << octaves >>> 27 & 15)) * f.scale >>> 8;
      return f.low + (formulaRandom(f.seed, 8 * i + 1) & 1 ? magnitude : -magnitude);
    }
    case 'uniform': return f.low + ((random >>> 16) * f.scale >>> 16);
    case 'gaps': return f.low + 5 * ((random >>> 16) * f.scale >>> 16);
    case 'skewed': return f.low + (random % f.scale === 0 ? 1 : 0);
    case 'constant': return f.low;
    default: throw new RangeError(`no formula of kind ${f.kind}`);
  }
}

/** @param {typeof BYTE} type @param {number} n @param {number} exponent */
function floatBits({ bytes, fraction, bias }, n, exponent) {
  if (n === 0) return 0;
  const log2 = 31 - Math.clz32(Math.abs(n));
  const magnitude = log2 > fraction ? Math.abs(n) >>> log2 - fraction
    : Math.abs(n) << fraction - log2;
  const sign = n < 0 ? 2 ** (8 * bytes - 1) : 0;
  return sign + (bias + log2 - exponent - 1) * 2 ** fraction + magnitude;
}

/** @param {typeof BYTE} type @param {number} which */
function specialBits({ bytes, fraction }, which) {
  const sign = 2 ** (8 * bytes - 1);
  const unit = 2 ** fraction;
  const inf = sign - unit;
  return [0, sign, 1, sign + 1, unit - 1, unit, inf - 1, sign + inf - 1, inf, sign + inf,
    inf + unit / 2, inf + 1, 2 * sign - 1][which % 13];
}

/**
 * A tensor's bytes, little-endian.
 * @param {Formula} f
 * @param {Dtype} dtype
 * @param {number} count elements
 * @returns {Uint8Array}
 */
export function formulaBytes(f, dtype, count) {
  const type = TYPES[dtype] ?? BYTE;
  const bytes = new Uint8Array(count * type.bytes);
  for (let i = 0, at = 0; i < count; i++) {
    const n = formulaInteger(f, i);
    const random = formulaRandom(f.seed, 8 * i + 7);
    let bits = n & 255;
    if (type.bytes > 1) {
      const noisy = dtype === 'F32' && (f.kind === 'weights' || f.kind === 'special');
      bits = f.kind === 'special' && i % 4 === 0 ? specialBits(type, random >>> 8)
        : floatBits(type, n, f.exponent) ^ (noisy ? random & 0xFFF : 0);
    }
    for (let k = 0; k < type.bytes; k++) bytes[at++] = bits >>> 8 * k;
  }
  return bytes;
}
