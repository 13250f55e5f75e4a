/** Nothing damaged passes: bits, lengths, contradictions, other files. */
import assert from 'node:assert/strict';
import { RandomState } from '../../web/cli/sample.js';
import { Encoder } from '../../web/core/encoder.js';
import { CODES, STATUS } from '../../web/core/errors.js';
import { GRID, LOSSLESS } from '../../web/file/records.js';
import { byteSize } from '../../web/file/safetensors.js';
import { writeDirectory } from '../../web/file/write_directory.js';
import { buildHeader } from '../../web/file/write_header.js';
import { HanselError, encode, open } from '../../web/hansel.js';
import { formatManifest1, stampHeader1 } from './manifest_1.js';
import { as, f32, gaussian, readAll } from './tensors.js';

const ALL_CODES = new Set([...STATUS, ...Object.keys(CODES)]);

describe('damage', function () {
  this.timeout(180000);
  let file = new Uint8Array(0);
  const ids = BigInt64Array.from({ length: 12 }, (_, i) => BigInt(i));
  /** Where the first tensor begins. */
  let partsStart = 0;

  before(async () => {
    const random = new RandomState(17);
    const uniform = Float32Array.from({ length: 24 * 20 }, () => random.randomSample() - 0.5);
    const heavy = gaussian(24 * 24, { seed: 18 }).map((x) => x ** 3); // no 256 levels do
    const tensors = {
      grid: f32([24, 20], uniform), lossless: as('BF16', f32([24, 24], heavy)),
      norm: f32([6], gaussian(6)), equal: f32([10, 10], new Float32Array(100).fill(0.5)),
      ids: { dtype: 'I64', shape: [12], data: ids },
    };
    file = await encode(tensors, { error: 0.009, metadata: [['format', 'pt']] });
    const { model } = await readAll(file);
    assert.deepEqual([...model.tensors.values()].map(({ mode }) => mode).sort(),
      ['grid', 'grid', 'lossless', 'pass-through', 'pass-through']);
    assert.deepEqual([...model.places.values()].map(({ record }) => record.kind), [3, 2, 0, 3, 1]);
    partsStart = model.place('grid').start;
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
    const isIn = ({ parts }, at) => parts.some(({ start, end }) => at >= start && at < end);
    /** Heads' flips have many names, and those of deflated bytes. */
    const ends = new Map();
    for (const [name, { mode }] of kept.tensors) {
      if (mode !== 'pass-through') ends.set(name, (await kept.headOf(name)).head.length);
    }
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
        if (at < partsStart) assert.fail(`${what}, in the header or directory, opens`);
        model = opened;
      }
      for (const [name, place] of model.places) {
        const isHere = isIn(place, at);
        for (const method of ['verify', 'decode']) {
          const error = await model[method](name).then(() => null, (e) => e);
          if (!isHere && error) assert.fail(`${what}: ${name} is not damaged, but ${error.stack}`);
          if (!isHere) break;
          if (!error && place.record.kind === 1) { // another spelling, such as its last bits
            assert.deepEqual(await model.decode(name), ids);
            if (method === 'decode') count('HANSEL_OK');
            continue;
          }
          if (!error) assert.fail(`${what}: ${method} of ${name} notices nothing`);
          assertNamed(error, what);
          assert.equal(error.where, name, what);
          if (method === 'decode') count(error.code);
          else if (place.record.kind !== 1 && at >= place.start + (ends.get(name) ?? 0)) {
            assert.equal(error.code, 'HANSEL_ERR_CHECKSUM', what);
          }
        }
      }
      bad[at] = file[at];
    }
    assert.equal([...codes.values()].reduce((a, b) => a + b), 8 * file.length);
    assert.ok(!(codes.get('HANSEL_OK') > 8), `${codes.get('HANSEL_OK')} flips change nothing`);
    const shown = [...codes].map(([code, n]) => `${code.slice('HANSEL_ERR_'.length)} ${n}`);
    console.log(`      ${file.length} bytes: ${shown.join(', ')}`);
  });

  it('every truncation is noticed on opening, and every byte too much', async () => {
    for (let length = 0; length < file.length; length++) {
      const error = await open(file.slice(0, length)).then(() => null, (e) => e);
      if (!error) assert.fail(`${length} bytes open`);
      assertNamed(error, `${length} bytes`);
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

  describe('what contradicts a blob is refused, checksums being right:', () => {
    let crc32c;
    /** What the file says of each tensor. @type {Record<string, any>} */
    let said;
    let model;
    before(async () => {
      const codec = await Encoder.create();
      crc32c = (bytes) => codec.crc32c(bytes);
      model = await open(file);
      said = Object.fromEntries([...model.tensors].map(
        ([name, { dtype, shape, mode, step, entropyBits }]) => (
          [name, { dtype, shape, mode, step, entropy_bits: entropyBits }])));
    });

    /** Whatever is in the file, be it deflated. */
    const stored = async (name) => {
      const { source, start, end } = model.place(name);
      return source.read(start, end);
    };

    /** The file in version 1, its manifest changed. */
    const rewrite1 = async (change) => {
      const found = structuredClone(said);
      const parts = [];
      const entries = [];
      for (const [name, entry] of Object.entries(found)) {
        const bytes = await stored(name);
        parts.push(bytes);
        entries.push([name, entry.mode === 'pass-through' ? { ...entry, bytes: bytes.length }
          : { dtype: 'U8', shape: [bytes.length], bytes: bytes.length }]);
        found[name] = entry.mode === 'pass-through' ? { crc32c: crc32c(bytes) }
          : { crc32c: crc32c(bytes), ...entry };
      }
      change(found);
      const header = buildHeader(entries, [['hansel', formatManifest1(Object.entries(found))]]);
      stampHeader1(header, crc32c);
      return new Uint8Array(Buffer.concat([header, ...parts]));
    };

    /** The file, its header and records changed. */
    const rewrite4 = async (change) => {
      const found = structuredClone(said);
      for (const name in found) found[name].record = structuredClone(model.place(name).record);
      change(found);
      const entries = Object.entries(found).map(([name, { dtype, shape, mode, step, record }]) => {
        const isCoded = mode !== 'pass-through';
        if (isCoded) record = { ...record, kind: mode === 'grid' ? GRID : LOSSLESS, step };
        return [name, { dtype, shape, record, bytes: byteSize(dtype, shape, name) }];
      });
      const { start } = writeDirectory(buildHeader(entries),
        new Map(entries.map(([name, { record }]) => [name, record])), crc32c);
      return new Uint8Array(Buffer.concat([start, file.subarray(partsStart)]));
    };

    const changes = {
      step: (t) => { t.grid.step *= 2; }, mode: (t) => { t.grid.mode = 'lossless'; },
      shape: (t) => { t.grid.shape = [20, 24]; }, rank: (t) => { t.grid.shape = [480]; },
      dtype: (t) => { t.grid.dtype = 'F16'; }, bytes: (t) => { t.lossless.dtype = 'I8'; },
      huge: (t) => { t.grid.shape = [2 ** 20, 2 ** 20]; },
      other: (t) => { [t.grid, t.lossless] = [t.lossless, t.grid]; },
    };
    for (const [version, rewrite] of [[1, rewrite1], [4, rewrite4]]) {
      it(`a manifest or directory of version ${version}`, async () => {
        await readAll(await rewrite(() => {}));
        for (const [name, change] of Object.entries(changes)) {
          const bad = await rewrite(change);
          await assert.rejects(async () => {
            const opened = await open(bad);
            for (const tensor of ['lossless', 'grid']) await opened.decode(tensor);
          }, (error) => {
            assertNamed(error, name);
            // Sizes that change places are of other blobs, or of none.
            assert.ok(['HANSEL_ERR_MANIFEST', 'HANSEL_ERR_MEMORY', 'HANSEL_ERR_MAGIC'].includes(error.code),
              `${name}: ${error.stack}`);
            return true;
          }, name);
        }
      });
    }

    it('one of version 1 that is malformed', async () => {
      const malformed = {
        mode: (t) => { t.grid.mode = 'x'; }, shape: (t) => { t.grid.shape = 'x'; },
        extent: (t) => { t.grid.shape = [-1]; },
        step: (t) => { t.grid.step = '1'; }, entropy: (t) => { delete t.grid.entropy_bits; },
        none: (t) => { delete t.grid; }, more: (t) => { t.extra = t.grid; },
        pass: (t) => { t.norm = t.grid; },
        null: (t) => { t.grid = { crc32c: 0, mode: null }; },
      };
      for (const [name, change] of Object.entries(malformed)) {
        await assert.rejects(open(await rewrite1(change)),
          { name: 'HanselError', code: 'HANSEL_ERR_MANIFEST' }, name);
      }
      await assert.rejects(open(await rewrite1((t) => { t.grid.dtype = 'F31'; })), { name: 'HanselError' });
      await assert.rejects(open(await rewrite1((t) => { t.grid.dtype = 'toString'; })),
        { name: 'HanselError' });
    });
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
