/** DEFLATE as we write it, read by zlib; and what inflates it, given what is not DEFLATE. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { RandomState } from '../../web/cli/sample.js';
import { deflate } from '../../web/file/deflate.js';
import { inflate } from '../../web/file/inflate.js';
import { same } from './tensors.js';

const random = new RandomState(4);
/** @param {number} length @param {(i: number) => number} at */
const make = (length, at) => Uint8Array.from({ length }, (_, i) => at(i));
const noise = (/** @type {number} */ below) => () => random.nextUint32() % below;
const utf8 = (/** @type {string} */ text) => new TextEncoder().encode(text);

/** @type {Record<string, Uint8Array>} */
const INPUTS = {
  'nothing': new Uint8Array(0), 'one byte': Uint8Array.of(7), 'two bytes': Uint8Array.of(7, 7),
  'three bytes': Uint8Array.of(7, 7, 7),
  'the longest match': new Uint8Array(259), 'one more': new Uint8Array(260),
  'noise': make(200_000, noise(256)), 'few levels': make(200_000, noise(5)),
  'noise of a stored block': make(65535, noise(256)), 'and a byte': make(65536, noise(256)),
  'a short period': make(200_000, (i) => i % 7), 'a long period': make(200_000, (i) => (i % 32767) ** 2 / 7),
  'a period just beyond the window': make(150_000, (i) => (i % 32769) ** 2 / 7),
  'spaces': new Uint8Array(200_000).fill(32),
  'floats': new Uint8Array(Float32Array.from({ length: 50_000 }, () => random.gauss()).buffer),
  'text': readFileSync(new URL('../../src/FORMAT.md', import.meta.url)),
  'noise, then zeros': make(200_000, (i) => (i < 50_000 ? noise(256)() : 0)),
  'Fibonacci frequencies': make(300_000, () => Math.floor(Math.log(1 / (random.nextUint32() + 1) * 2 ** 32)
    / Math.log(1.618))),
};

describe('deflate', function () {
  this.timeout(60_000);

  for (const [name, bytes] of Object.entries(INPUTS)) {
    it(`is read by zlib, and hardly longer than zlib's: ${name}`, async () => {
      const short = deflate(bytes);
      assert.ok(same(inflateRawSync(short), bytes));
      assert.ok(same(await inflate(short, bytes.length), bytes));
      assert.ok(short.length <= 1.04 * deflateRawSync(bytes).length + 4, `${short.length} bytes`);
    });
  }

  it('is read by zlib: 2,000 short ones', () => {
    for (let i = 0; i < 2000; i++) {
      const bytes = make(noise(600)(), noise(1 + noise(256)()));
      assert.ok(same(inflateRawSync(deflate(bytes)), bytes));
    }
  });

  it('gives these bytes, everywhere', () => {
    const hash = createHash('sha256');
    for (const bytes of [new Uint8Array(0), utf8('Hansel, Hansel, Gretel'), make(1e5, (i) => i * i / 77 % 251),
      make(1e5, (i) => Math.imul(i, i ^ 0x9e3779b9) >>> 13)]) hash.update(deflate(bytes));
    assert.equal(hash.digest('hex'), 'be6e6a20cf36d4d226383ef3909fcb7adec4e98674c7cf29134843eefa60eaf5');
  });
});

describe('inflate', function () {
  this.timeout(60_000);
  const bytes = INPUTS.text;
  const short = deflate(bytes);
  const refused = { name: 'HanselError', code: 'HANSEL_ERR_CORRUPT' };

  it('refuses what is cut, what is more than asked for, and noise', async () => {
    for (const length of [0, 1, 100, short.length - 1]) {
      await assert.rejects(inflate(short.subarray(0, length), bytes.length), refused, `${length}`);
    }
    for (const most of [0, 1, bytes.length - 1]) await assert.rejects(inflate(short, most), refused);
    for (let i = 0; i < 200; i++) {
      const spoilt = short.slice();
      spoilt[noise(short.length)()] ^= 1 << i % 8;
      const found = await inflate(spoilt, bytes.length).catch((error) => error);
      assert.ok(found instanceof Uint8Array || found.code === refused.code, found.stack);
    }
    await assert.rejects(inflate(make(1000, noise(256)).fill(6, 0, 1), 1e6), refused); // no such block
  });

  it('takes no memory for what it does not give', async () => {
    const bomb = deflateRawSync(new Uint8Array(1e9));
    const before = process.memoryUsage().rss;
    await assert.rejects(inflate(bomb, 1e6), refused);
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 50e6, `${grown} bytes`);
  });
});
