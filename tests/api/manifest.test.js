/** Manifests of versions 1 and 2, which are read for ever, notice any single flipped bit of their header. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { MANIFEST_KEY, formatCrc } from '../../web/file/header_crc.js';
import { readManifest } from '../../web/file/manifest.js';
import { readHeader } from '../../web/file/safetensors.js';
import { buildHeader } from '../../web/file/write_header.js';
import { open } from '../../web/hansel.js';
import { formatManifest1, stampHeader1 } from './manifest_1.js';
import { formatManifest2, stampHeader2, toBase85 } from './manifest_2.js';
import { readAll, sourceOf } from './tensors.js';

const code = 'HANSEL_ERR_MANIFEST';
const utf8 = (text) => new TextEncoder().encode(text);

const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  for (let k = 0; k < 8; k++) i = i & 1 ? i >>> 1 ^ 0x82f63b78 : i >>> 1;
  return i;
});
const crc32c = (bytes) => ~bytes.reduce((crc, b) => crc >>> 8 ^ TABLE[(crc ^ b) & 255], ~0) >>> 0;

/** A file of two tensors, 3 and 4 bytes long. */
const build = (manifest, metadata = []) => Uint8Array.of(...buildHeader([
  ['a', { dtype: 'U8', shape: [3], bytes: 3 }], ['__proto__', { dtype: 'F16', shape: [2], bytes: 4 }],
], [[MANIFEST_KEY, manifest], ...metadata], { alignment: 64 }), ...new Uint8Array(7));
const headerLength = (bytes) => 8 + new DataView(bytes.buffer).getUint32(0, true);
const headerOf = (bytes) => bytes.subarray(0, headerLength(bytes));
const check = async (bytes) => readManifest(await readHeader(await sourceOf(bytes)), crc32c);

const FIRST = { crc32c: 0xabcdef, mode: 'grid', dtype: 'BF16', shape: [300, 7], step: 0.25 };

describe('manifest', function () {
  this.timeout(30000);

  it('knows the standard check value', () => {
    assert.equal(formatCrc(crc32c(utf8('123456789'))), 'e3069283');
    assert.equal(formatCrc(0), '00000000');
    assert.equal(formatCrc(-1), 'ffffffff');
    assert.equal(formatCrc(0xabc), '00000abc');
  });

  it('is null for plain safetensors, even with a key alike', async () => {
    const u8 = { dtype: 'U8', shape: [0], bytes: 0 };
    assert.equal(await check(buildHeader([['t', u8]])), null);
    assert.equal(await check(buildHeader([['hansel', u8]], [['Hansel', 'and Gretel']])), null);
    assert.equal(await check(buildHeader([], [['other', '{"version":1}']])), null);
    assert.equal(await check(buildHeader([], [['format', '200000000']])), null);
    for (const key of ['Hansel', 'hansem', 'hanselx', 'hanse', 'ianrel']) {
      for (const value of ['{"version":1}', '200000000', '400000000100']) {
        const found = check(buildHeader([], [[key, value]]));
        if (['Hansel', 'hansem'].includes(key)) await assert.rejects(found, { code }, key);
        else assert.equal(await found, null, key);
      }
    }
  });

  /** @type {[number, (entries: any[]) => string, typeof stampHeader2][]} */
  const versions = [[1, (entries) => formatManifest1(entries.map((entry, i) => [['a', '__proto__'][i], entry])),
    stampHeader1], [2, formatManifest2, stampHeader2]];
  for (const [version, format, stampIt] of versions) {
    describe(`version ${version}`, () => {
      const make = (entries = [{ ...FIRST, entropy_bits: 4.5 }, { crc32c: 0xabcdf0 }], ...more) => {
        const bytes = build(format(entries), ...more);
        stampIt(headerOf(bytes), crc32c);
        return bytes;
      };

      it('reads back what was written', async () => {
        const { version: found, tensors } = await check(make());
        assert.equal(found, version);
        assert.deepEqual([...tensors.keys()], ['a', '__proto__']);
        assert.deepEqual(tensors.get('a'), { ...FIRST, entropy_bits: 4.5 });
        assert.equal(tensors.get('__proto__').crc32c, 0xabcdf0);
        assert.equal(tensors.get('__proto__').mode, undefined);
      });

      it('is not confused by the placeholder elsewhere', async () => {
        const decoy = format([]);
        const bytes = make(undefined, [['decoy', decoy], [decoy, decoy]]);
        assert.equal((await check(bytes)).tensors.size, 2);
        const { metadata } = await readHeader(await sourceOf(bytes));
        assert.equal(metadata.get('decoy'), decoy);
        assert.equal(metadata.get(decoy), decoy);
      });

      it('lets no single flipped bit pass', async () => {
        const bytes = make(undefined, [['format', 'pt'], ['hansem', 'x'], ['n', '{"v']]);
        assert.equal((await check(bytes)).tensors.size, 2);
        const length = headerLength(bytes);
        const codes = new Map();
        for (let bit = 0; bit < 8 * length; bit++) {
          const flipped = bytes.slice();
          flipped[bit >> 3] ^= 1 << (bit & 7);
          const error = await check(flipped).then(
            (result) => assert.fail(`flipped bit ${bit} gave ${JSON.stringify(result)}`), (e) => e);
          assert.equal(error.name, 'HanselError', `bit ${bit}: ${error.stack}`);
          codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
        }
        for (const name of ['CHECKSUM', 'MANIFEST', 'SAFETENSORS', 'VERSION', 'TRUNCATED']) {
          assert.ok(codes.get(`HANSEL_ERR_${name}`) > 0, `no flip gave ${name}`);
        }
      });

      it('is refused where it does not stand first', async () => {
        const later = buildHeader([], [['z', ''], [MANIFEST_KEY, format([])]]);
        await assert.rejects(check(later), { code, message: /rewritten/ });
      });
    });
  }

  it('2 holds every kind, number and rank', async () => {
    const entries = Array.from({ length: 700 }, (_, i) => (i % 7 === 6 ? { crc32c: 2 ** 32 - 1 - i } : {
      crc32c: i * 6000007 % 2 ** 32, mode: i % 2 ? 'lossless' : 'grid',
      dtype: ['F32', 'F16', 'BF16', 'I8', 'U8', 'F8_E4M3', 'F8_E5M2'][i % 7],
      shape: Array.from({ length: i % 9 }, (__, k) => (i % 5 ? i * k : 2 ** (6 * k))),
      step: i % 2 ? 0 : Math.fround(1 / (i + 3)),
    }));
    const header = buildHeader(entries.map((_, i) => [`${i}`, { dtype: 'U8', shape: [0], bytes: 0 }]),
      [[MANIFEST_KEY, formatManifest2(entries)]]);
    const { tensors } = await check(stampHeader2(header, crc32c));
    for (const [i, entry] of entries.entries()) {
      const { entropy_bits: entropy, ...found } = tensors.get(`${i}`);
      assert.deepEqual(found, entry, `${i}`);
      const raw = entry.mode !== 'lossless' ? 0 : { F32: 24, F16: 8, BF16: 8 }[entry.dtype] ?? 0;
      assert.equal(entropy, raw); // of no symbols
    }
  });

  it('2 rounds the entropy to a 512th of a bit, raw planes apart', async () => {
    for (const [entropy, found] of [[4.5011, 4.501953125], [8, 4095 / 512], [0.0001, 0]]) {
      const bytes = build(formatManifest2([{ ...FIRST, entropy_bits: entropy },
        { ...FIRST, dtype: 'F32', mode: 'lossless', step: 0, entropy_bits: 24 + entropy }]));
      stampHeader2(headerOf(bytes), crc32c);
      const { tensors } = await check(bytes);
      assert.deepEqual([...tensors.values()].map((one) => one.entropy_bits), [found, 24 + found]);
    }
  });

  it('2 refuses, its checksum being right, what is no list of tensors', async () => {
    const whole = formatManifest2([FIRST, { crc32c: 1 }]).slice(9);
    /** @type {[string, string][]} */
    const bad = [['nothing', ''], ['one group', whole.slice(0, 5)], ['cut', whole.slice(0, -5)],
      ['more', whole + whole], ['no digits', 'zzzzz'], ['others', whole.replace(/./g, '\u20ac')],
      ['endless number', 'u$vDu'.repeat(40)]];
    for (const [what, text] of bad) {
      const bytes = build(`200000000${text}`);
      stampHeader2(headerOf(bytes), crc32c);
      await assert.rejects(check(bytes), { name: 'HanselError', code, message: /not as its tensors/ }, what);
    }
    for (const version of ['1', '3', '5', '', 'x']) {
      await assert.rejects(check(build(`${version}00000000`)), { code: 'HANSEL_ERR_VERSION' });
    }
    await assert.rejects(check(build('2')), { code: 'HANSEL_ERR_CHECKSUM' });
    await assert.rejects(check(build(formatManifest2([FIRST, FIRST]))), {
      code: 'HANSEL_ERR_CHECKSUM', expected: '00000000',
    });
  });

  it('2 takes no memory for what it only claims', async () => {
    const claims = [0x80, 0x80, 0x80, 0x10]; // 2^25 kinds
    for (const bytes of [claims, [1, 1, ...claims], [1, 1, 1, ...claims, 0]]) {
      const file = build(`200000000${toBase85(bytes)}`);
      stampHeader2(headerOf(file), crc32c);
      const before = process.memoryUsage().rss;
      await assert.rejects(check(file), { code });
      const grown = process.memoryUsage().rss - before;
      assert.ok(grown < 50e6, `${grown} bytes`);
    }
  });

  it('1 names what is wrong', async () => {
    const entries = [['a', { crc32c: 0xabcdef }], ['__proto__', { crc32c: 0xabcdf0 }]];
    /** Spoils the manifest's text and stamps the header with a correct checksum. */
    const spoilt = (from, to) => {
      const text = formatManifest1(entries);
      assert.ok(text.includes(from));
      const bytes = build(text.replace(from, to));
      stampHeader1(headerOf(bytes), crc32c);
      return bytes;
    };
    const rejects = (from, to, details) => assert.rejects(check(spoilt(from, to)), details);
    await rejects('00abcdef', '00ABCDEF', { code, where: 'a' });
    await rejects('00abcdef', '0abcdef', { code, where: 'a' });
    await rejects('"00abcdef"', '11259375', { code, where: 'a' });
    await rejects('"crc32c"', '"crc32d"', { code, where: 'a' });
    await rejects('"a":{', '"b":{', { code, where: 'a' });
    await rejects('"a":{', '"b":{"crc32c":"00000000"},"a":{', { code, where: 'b' });
    await rejects('"a":{', '"__proto__":{},"a":{', { code, message: /duplicate key/ });
    await rejects('"a":{', '"a":3,"c":{', { code, where: 'a', got: '3' });
    await rejects('"tensors"', '"tensor"', { code });
    await rejects('"tensors"', '"more":1,"tensors"', { code });
    await rejects('}}}', '}}', { code });

    const edited = (edit, details) => assert.rejects(check(build(edit(formatManifest1(entries)))), details);
    await edited((t) => t.replace('1', '2'), { code: 'HANSEL_ERR_VERSION', expected: 1, got: 2 });
    await edited((t) => t.replace('1', '1.5'), { code: 'HANSEL_ERR_VERSION' });
    await edited((t) => t.replace('1', '"1"'), { code });
    await edited(() => '{}', { code });
    await edited(() => '{', { code });
    await edited((t) => t.replace('1,', '1, '), { code, message: /rewritten/ });
    await edited((t) => t.replace('"00000000"', '"0000000g"'), { code });
    await edited((t) => t, { code: 'HANSEL_ERR_CHECKSUM', expected: '00000000' });
    const lacking = build(formatManifest1(entries.slice(0, 1)));
    stampHeader1(headerOf(lacking), crc32c);
    await assert.rejects(check(lacking), { code, where: '__proto__' });
  });

  it('2 is read from a file that release 1.1 wrote, as ever', async () => {
    const file = await readFile(new URL('../fixtures/version_2.hansel.safetensors', import.meta.url));
    const { model, result } = await readAll(file);
    const values = (count) => Float32Array.from({ length: count },
      (_, i) => Math.round((i * 7919 % 1013 - 506) / 8) / 64 + 0); // no -0
    assert.equal(model.isCoded, true);
    assert.deepEqual([...model.metadata], [['format', 'pt']]);
    assert.deepEqual([...model.tensors].map(([name, { mode, dtype, shape, step }]) => (
      [name, mode, dtype, shape, step])), [
      ['grid', 'grid', 'F32', [24, 20], 1 / 64], ['whole', 'lossless', 'I8', [30, 30], 0],
      ['equal', 'grid', 'BF16', [10, 10], 1 / 64], ['ids', 'pass-through', 'I64', [2], 0],
      ['norm', 'pass-through', 'F32', [6], 0]]);
    assert.deepEqual(result.get('norm'), values(6));
    assert.deepEqual(result.get('grid'), values(480));
    assert.deepEqual(result.get('ids'), BigInt64Array.of(1n, -2n));
    assert.deepEqual(result.get('whole'), Int8Array.from(values(900), (x) => 40 * x));
    assert.deepEqual(result.get('equal'), new Uint16Array(100).fill(0x3f80));
    assert.deepEqual(await model.rows('grid', 5, 2), values(480).slice(100, 140));
    const { start } = model.place('grid');
    file[start + 90] ^= 1;
    await assert.rejects(model.verify('grid'), { code: 'HANSEL_ERR_CHECKSUM' });
    await assert.rejects((await open(file)).verify('grid'), { code: 'HANSEL_ERR_CHECKSUM' });
  });
});
