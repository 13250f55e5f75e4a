/** Nothing damaged passes: bits, lengths, contradictions, other files. */
import assert from 'node:assert/strict';
import { RandomState } from '../../web/cli/sample.js';
import { Encoder } from '../../web/core/encoder.js';
import { CODES, STATUS } from '../../web/core/errors.js';
import { readManifest } from '../../web/file/manifest.js';
import { readHeader } from '../../web/file/safetensors.js';
import { buildHeader } from '../../web/file/write_header.js';
import { HanselError, encode, open } from '../../web/hansel.js';
import { formatManifest1, stampHeader1 } from './manifest_1.js';
import { as, f32, gaussian, readAll, sourceOf } from './tensors.js';

const ALL_CODES = new Set([...STATUS, ...Object.keys(CODES)]);

describe('damage', function () {
  this.timeout(180000);
  let file = new Uint8Array(0);
  let dataStart = 0;

  before(async () => {
    const random = new RandomState(17);
    const uniform = Float32Array.from({ length: 24 * 20 }, () => random.randomSample() - 0.5);
    const heavy = gaussian(24 * 24, { seed: 18 }).map((x) => x ** 3); // no 256 levels do
    const tensors = {
      grid: f32([24, 20], uniform), lossless: as('BF16', f32([24, 24], heavy)),
      norm: f32([6], gaussian(6)), equal: f32([10, 10], new Float32Array(100).fill(0.5)),
    };
    file = await encode(tensors, { error: 0.009, metadata: [['format', 'pt']] });
    const { model } = await readAll(file);
    assert.deepEqual([...model.tensors.values()].map(({ mode }) => mode).sort(),
      ['grid', 'grid', 'lossless', 'pass-through'].sort());
    dataStart = (await readHeader(await sourceOf(file))).dataStart;
    assert.ok(file.length < 3200, `${file.length} bytes`);
  });

  /** Whatever is wrong must be said by a HanselError with a code of the list. */
  function assertNamed(error, what) {
    if (!(error instanceof HanselError) || !ALL_CODES.has(error.code)) {
      assert.fail(`${what}: ${error.stack}`);
    }
  }

  /* A module of wasm to every open() is what takes long: all bits of the header and one of each byte
   * behind it are flipped before open(), the others below a model that is open. What the C core says
   * to every flip in many vectors is in tests/core/native_hostile.c. */
  it('every single flipped bit is noticed, by verify and by decode', async () => {
    const codes = new Map();
    const count = (/** @type {string} */ code) => codes.set(code, (codes.get(code) ?? 0) + 1);
    const bad = file.slice();
    const kept = await open(bad);
    const isIn = ({ start, end }, at) => at >= start && at < end;
    for (let bit = 0; bit < 8 * file.length; bit++) {
      const at = bit >> 3;
      const what = `bit ${bit & 7} of byte ${at}`;
      bad[at] = file[at] ^ 1 << (bit & 7);
      let model = kept;
      const isTensor = [...kept.places.values()].some((place) => isIn(place, at));
      if (!isTensor || (bit & 7) === at % 8) {
        const opened = await open(bad).catch((e) => e);
        if (opened instanceof Error) {
          assertNamed(opened, what);
          count(opened.code);
          bad[at] = file[at];
          continue;
        }
        if (at < dataStart) assert.fail(`${what}, in the header, opens`);
        model = opened;
      }
      for (const [name, place] of model.places) {
        const isHere = isIn(place, at);
        for (const method of ['verify', 'decode']) {
          const error = await model[method](name).then(() => null, (e) => e);
          if (!isHere && error) assert.fail(`${what}: ${name} is not damaged, but ${error.stack}`);
          if (!isHere) break;
          if (!error) assert.fail(`${what}: ${method} of ${name} notices nothing`);
          assertNamed(error, what);
          assert.equal(error.where, name, what);
          if (method === 'decode') count(error.code);
          else assert.equal(error.code, 'HANSEL_ERR_CHECKSUM', what);
        }
      }
      bad[at] = file[at];
    }
    assert.equal([...codes.values()].reduce((a, b) => a + b), 8 * file.length);
    const shown = [...codes].map(([code, n]) => `${code.slice('HANSEL_ERR_'.length)} ${n}`);
    console.log(`      ${file.length} bytes: ${shown.join(', ')}`);
  });

  it('every truncation is noticed on opening, and every byte too much', async () => {
    for (let length = 0; length < file.length; length++) {
      const error = await open(file.slice(0, length)).then(() => null, (e) => e);
      if (!error) assert.fail(`${length} bytes open`);
      assertNamed(error, `${length} bytes`);
      if (length < dataStart) continue;
      assert.equal(error.code, 'HANSEL_ERR_TRUNCATED');
    }
    for (const more of [1, 16]) {
      const longer = new Uint8Array(file.length + more);
      longer.set(file);
      await assert.rejects(open(longer), { code: 'HANSEL_ERR_TRAILING' });
    }
  });

  it('symbols() and payload() check the checksum too, on a grid and without loss', async () => {
    for (const options of [{ step: 0.1 }, {}]) {
      const good = await encode({ w: f32([64, 64]) }, options);
      const bad = good.slice();
      const model = await open(bad);
      const { start, end } = model.place('w');
      for (let bit = 8 * start; bit < 8 * end; bit += 29) {
        bad[bit >> 3] ^= 1 << (bit & 7);
        const drain = async () => {
          const { chunks } = await model.payload('w');
          for await (const chunk of chunks) assert.ok(chunk.length > 0);
        };
        for (const read of [() => model.symbols('w'), drain]) {
          const error = await read().then(() => null, (e) => e);
          if (!error) assert.fail(`bit ${bit} passes`);
          assertNamed(error, `bit ${bit}`);
        }
        bad[bit >> 3] = good[bit >> 3];
      }
    }
  });

  it('a manifest that contradicts its blob is refused, its checksums being right', async () => {
    const { metadata, tensors, headerBytes } = await readHeader(await sourceOf(file));
    const codec = await Encoder.create();
    const crc32c = (bytes) => codec.crc32c(bytes);
    const read = await readManifest({ metadata, tensors, headerBytes }, crc32c);
    const rewrite = (change) => {
      const found = structuredClone(Object.fromEntries(read.tensors));
      for (const entry of Object.values(found)) if (!entry.mode) delete entry.entropy_bits;
      change(found);
      const entries = [...tensors].map(([name, { dtype, shape, start, end }]) => (
        [name, { dtype, shape, bytes: end - start }]));
      const header = buildHeader(entries, [['hansel', formatManifest1(Object.entries(found))]]);
      stampHeader1(header, crc32c);
      return new Uint8Array([...header, ...file.subarray(headerBytes.length)]);
    };
    await readAll(rewrite(() => {}));
    const changes = {
      step: (t) => { t.grid.step *= 2; }, mode: (t) => { t.grid.mode = 'lossless'; },
      shape: (t) => { t.grid.shape = [20, 24]; }, rank: (t) => { t.grid.shape = [480]; },
      dtype: (t) => { t.grid.dtype = 'F16'; }, bytes: (t) => { t.lossless.dtype = 'I8'; },
      huge: (t) => { t.grid.shape = [2 ** 20, 2 ** 20]; },
      other: (t) => { [t.grid, t.lossless] = [t.lossless, t.grid]; },
    };
    for (const [name, change] of Object.entries(changes)) {
      const bad = rewrite(change);
      await assert.rejects(async () => {
        const model = await open(bad);
        for (const tensor of ['lossless', 'grid']) await model.decode(tensor);
      }, (error) => {
        assertNamed(error, name);
        assert.ok(['HANSEL_ERR_MANIFEST', 'HANSEL_ERR_MEMORY'].includes(error.code),
          `${name}: ${error.code}`);
        return true;
      }, name);
    }
    const malformed = {
      mode: (t) => { t.grid.mode = 'x'; }, shape: (t) => { t.grid.shape = 'x'; },
      extent: (t) => { t.grid.shape = [-1]; },
      step: (t) => { t.grid.step = '1'; }, entropy: (t) => { delete t.grid.entropy_bits; },
      none: (t) => { delete t.grid; }, more: (t) => { t.extra = t.grid; },
      pass: (t) => { t.norm = t.grid; },
      null: (t) => { t.grid = { crc32c: 0, mode: null }; },
    };
    for (const [name, change] of Object.entries(malformed)) {
      await assert.rejects(open(rewrite(change)),
        { name: 'HanselError', code: 'HANSEL_ERR_MANIFEST' }, name);
    }
    await assert.rejects(open(rewrite((t) => { t.grid.dtype = 'F31'; })), { name: 'HanselError' });
    await assert.rejects(open(rewrite((t) => { t.grid.dtype = 'toString'; })),
      { name: 'HanselError' });
  });

  it('other files are refused by name', async () => {
    for (const text of ['', 'hansel', '{}', 'PK\u0003\u0004'.padEnd(100, 'x'), '\0'.repeat(64)]) {
      await assert.rejects(open(new TextEncoder().encode(text)), (error) => {
        assertNamed(error, JSON.stringify(text));
        return true;
      });
    }
  });
});
