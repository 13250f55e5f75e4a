/** open(): shards by path and URL, plain files, many decodes at once. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serve } from '../../web/cli/serve.js';
import { convert } from '../../web/core/convert.js';
import { dtypeBits } from '../../web/file/safetensors.js';
import { buildHeader } from '../../web/file/write_header.js';
import { encode, open } from '../../web/hansel.js';
import { as, bytesOf, f32, gaussian, readAll, relativeError, same } from './tensors.js';

describe('files and servers', function () {
  this.timeout(30000);
  let folder = '';
  let server = { url: '', close: async () => {} };
  const parts = [
    { 'a.w': f32([64, 100], gaussian(6400, { seed: 1 })), 'a.n': f32([10], gaussian(10)) },
    { 'b.w': f32([200, 33], gaussian(6600, { seed: 2 })) },
  ];
  const NAMES = ['m-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors'];
  const MAP = { 'a.w': NAMES[0], 'a.n': NAMES[0], 'b.w': NAMES[1] };

  const writeIndex = (/** @type {string} */ name, /** @type {unknown} */ index) => (
    writeFileSync(join(folder, name), typeof index === 'string' ? index : JSON.stringify(index)));

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hansel-api-'));
    for (const [i, tensors] of parts.entries()) {
      writeFileSync(join(folder, NAMES[i]), await encode(tensors,
        { bits: 5, metadata: [['part', `${i}`]] }));
    }
    writeIndex('m.safetensors.index.json',
      `${JSON.stringify({ metadata: { total_size: 1 }, weight_map: MAP }, null, 2)}\n`);
    server = await serve(folder);
  });

  after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  it('opens a sharded checkpoint by path and by URL', async () => {
    const index = 'm.safetensors.index.json';
    for (const from of [join(folder, index), new URL(index, server.url),
      `${server.url}${index}?x=1`]) {
      const calls = [];
      const { model, result } = await readAll(from,
        { onProgress: ({ done, total }) => calls.push([done, total]) });
      assert.deepEqual(calls, [[1, 2], [2, 2]]);
      assert.deepEqual([...model.tensors.keys()], ['a.w', 'a.n', 'b.w']);
      assert.equal(model.isCoded, true);
      assert.equal(model.bytes, NAMES.reduce((sum, name) =>
        sum + readFileSync(join(folder, name)).length, 0));
      for (const [name, { data }] of Object.entries({ ...parts[0], ...parts[1] })) {
        const single = await open(join(folder, MAP[name]));
        assert.ok(same(result.get(name), await single.decode(name)), name);
        await single.close();
        assert.ok(relativeError(result.get(name), data) < 0.1);
      }
      await model.close();
    }
  });

  it('refuses an index that contradicts its shards', async () => {
    const [one, two] = NAMES;
    const bad = {
      'a tensor too few': { weight_map: { 'a.w': one, 'b.w': two } },
      'a tensor too many': { weight_map: { ...MAP, 'c.w': two } },
      'in the other shard': { weight_map: { ...MAP, 'b.w': one, 'a.n': two } },
      'no map': { metadata: {} }, 'a list': [], 'not JSON': '{',
      'not strings': { weight_map: { 'a.w': 1 } },
      'upwards': { weight_map: { 'a.w': '../x.safetensors' } },
      'absolute': { weight_map: { 'a.w': '/etc/passwd' } },
      'a duplicate key': `{"weight_map":{"a.w":"${one}","a.w":"${one}"}}`,
    };
    for (const [name, index] of Object.entries(bad)) {
      writeIndex('bad.index.json', index);
      await assert.rejects(open(join(folder, 'bad.index.json')),
        { name: 'HanselError', code: 'HANSEL_ERR_INDEX' }, name);
      await assert.rejects(open(`${server.url}bad.index.json`), { code: 'HANSEL_ERR_INDEX' }, name);
    }
    writeFileSync(join(folder, 'copy.safetensors'), readFileSync(join(folder, two)));
    writeIndex('bad.index.json', { weight_map: { ...MAP, 'd.w': 'copy.safetensors' } });
    await assert.rejects(open(join(folder, 'bad.index.json')),
      { code: 'HANSEL_ERR_INDEX', where: 'b.w' });
    writeIndex('bad.index.json', { weight_map: { ...MAP, 'd.w': 'none.safetensors' } });
    await assert.rejects(open(join(folder, 'bad.index.json')), { code: 'HANSEL_ERR_SOURCE' });
    await assert.rejects(open(`${server.url}bad.index.json`), { code: 'HANSEL_ERR_HTTP' });
    const damaged = readFileSync(join(folder, two));
    damaged[8 + Number(damaged.readBigUint64LE(0)) + 6] ^= 1; // in the directory
    writeFileSync(join(folder, 'damaged.safetensors'), damaged);
    writeIndex('bad.index.json', { weight_map: { ...MAP, 'b.w': 'damaged.safetensors' } });
    await assert.rejects(open(join(folder, 'bad.index.json')), { code: 'HANSEL_ERR_CHECKSUM' });
    await assert.rejects(open(join(folder, 'none.safetensors')), { code: 'HANSEL_ERR_SOURCE' });
    await assert.rejects(open(folder), { code: 'HANSEL_ERR_SOURCE' });
  });

  it('opens plain safetensors, and says that they are', async () => {
    const data = gaussian(100, { seed: 3 });
    const halves = as('F16', f32([50], data.slice(0, 50)));
    const header = buildHeader([['w', { dtype: 'F32', shape: [10, 10], bytes: 400 }],
      ['h', { dtype: 'F16', shape: [50], bytes: 100 }]],
    [['format', 'pt']]);
    const plain = new Uint8Array([...header, ...bytesOf(data), ...halves.data]);
    const { model, result } = await readAll(plain);
    assert.equal(model.isCoded, false);
    assert.deepEqual([...model.metadata], [['format', 'pt']]);
    assert.deepEqual(result.get('w'), data);
    assert.ok(same(result.get('h'), halves.data));
    assert.ok(same(await model.decode('h', { dtype: 'F32' }), convert(halves.data, 'F16', 'F32')));
    for (const { mode, entropyBits, bits, dtype } of model.tensors.values()) {
      assert.deepEqual([mode, entropyBits, bits], ['pass-through', null, dtypeBits(dtype)]);
    }
    const blob = await open(new Blob([plain]));
    assert.deepEqual(await blob.decode('w'), data);
  });

  it('eight decodes at once on one model do not disturb each other', async () => {
    const tensors = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`t${i}`,
      i % 2 ? f32([300, 1000 + i], gaussian(300 * (1000 + i), { seed: i, sigma: i }))
        : as('BF16', f32([300, 1000 + i], gaussian(300 * (1000 + i), { seed: i })))]));
    for (const options of [{ bits: 4 }, {}]) {
      const file = await encode(tensors, options);
      writeFileSync(join(folder, 'eight.safetensors'), file);
      const alone = await readAll(file);
      for (const from of [file, join(folder, 'eight.safetensors'),
        `${server.url}eight.safetensors`]) {
        const model = await open(from);
        const all = await Promise.all(Object.keys(tensors).flatMap((name) => (
          [model.decode(name), model.symbols(name), model.verify(name)])));
        const same8 = await Promise.all(Array.from({ length: 8 }, () => model.decode('t3')));
        for (const [i, name] of Object.keys(tensors).entries()) {
          assert.ok(same(all[3 * i], alone.result.get(name)), name);
          assert.ok(same(all[3 * i + 1], await alone.model.symbols(name)), name);
        }
        for (const values of same8) assert.ok(same(values, alone.result.get('t3')));
        await model.close();
      }
    }
  });
});
