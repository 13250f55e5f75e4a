/** Version 4 of the container: what is written is read back, the plain file comes back, nothing passes
 * that contradicts itself. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { decodeCommand } from '../../web/cli/decode.js';
import { encodeCommand } from '../../web/cli/encode.js';
import { RandomState } from '../../web/cli/sample.js';
import { CODES, STATUS } from '../../web/core/errors.js';
import { readManifest } from '../../web/file/manifest.js';
import { readHeader } from '../../web/file/safetensors.js';
import { openSource } from '../../web/file/source.js';
import { varint } from '../../web/file/write_directory.js';
import { HanselError, encode, open } from '../../web/hansel.js';
import { TENSORS, crc32c, fileOf, plainFile, taken, wrapped } from './directory_file.js';
import { f32, gaussian, same, sourceOf } from './tensors.js';

const code = 'HANSEL_ERR_MANIFEST';
const ALL_CODES = new Set([...STATUS, ...Object.keys(CODES)]);

/** What open() reads, without the wasm module that it makes. */
async function read(bytes) {
  const source = await openSource(bytes);
  return readManifest(await readHeader(source), crc32c, source);
}

const assertNamed = (error, what) => {
  if (!(error instanceof HanselError) || !ALL_CODES.has(error.code)) assert.fail(`${what}: ${error.stack}`);
};

describe('directory', function () {
  this.timeout(60_000);

  it('says of every kind what was written', async () => {
    const tensors = TENSORS();
    const file = fileOf(tensors);
    const model = await open(file);
    assert.deepEqual([...model.tensors.keys()], Object.keys(tensors));
    assert.deepEqual([...model.metadata], [['format', 'pt']]);
    let at = file.length - taken(file).parts.length;
    for (const [name, [dtype, shape, record]] of Object.entries(tensors)) {
      const tensor = model.tensor(name);
      const place = model.place(name);
      assert.deepEqual([tensor.dtype, tensor.shape], [dtype, shape]);
      assert.deepEqual(place.record, record, name);
      const from = at;
      for (const { start, end } of place.parts) {
        assert.equal(start, at, name);
        at = end;
      }
      assert.equal(tensor.bytes, at - from, name);
      if (record.kind !== 1) assert.deepEqual([place.start, place.end], [from, at], name);
      assert.equal(place.crc, record.crc32c ?? null, name);
    }
    assert.equal(at, file.length);
    const sizes = (name) => model.place(name).parts.map(({ start, end }) => end - start);
    assert.deepEqual(sizes('classes'), [20, 30, 40, 50]);
    assert.deepEqual(sizes('q4'), [21, 5, 6, 7, 8, 300, 1]);
    assert.deepEqual(['stored', 'deflated', 'grid', 'classes', 'q4', 'none'].map(
      (name) => model.tensor(name).mode),
    ['pass-through', 'pass-through', 'grid', 'lossless', 'lossless', 'pass-through']);
    assert.equal(model.tensor('grid').step, 0.25);
    assert.deepEqual(['stored', 'grid', 'classes'].map((name) => model.tensor(name).entropyBits),
      [null, 513 / 512, 516 / 512]);
    // Of 36 bytes: 2 halves, 2 and 2 bytes, 28 and 28 nibbles.
    const near = (2 * 513 + 2 * 515 + 2 * 513 + 56 * 513) / 36 / 512;
    assert.ok(Math.abs(model.tensor('q4').entropyBits - near) < 1e-9);
  });

  it('is of no use where the parts are noise: every reading says so by name', async () => {
    const model = await open(fileOf(TENSORS()));
    for (const name of ['grid', 'classes', 'qweight', 'qzeros', 'q4', 'one class']) {
      for (const method of ['decode', 'verify', 'symbols', 'head', 'payload']) {
        const error = await model[method](name).then(() => assert.fail(`${method} ${name}`), (e) => e);
        assertNamed(error, `${method} ${name}`);
      }
    }
  });

  it('takes three reads', async () => {
    const reads = [];
    const file = fileOf(TENSORS());
    const source = { ...await openSource(file), read: async (start, end) => {
      reads.push([start, end]);
      return file.subarray(start, end);
    } };
    await readManifest(await readHeader(source), crc32c, source);
    const { length } = (await readHeader(await sourceOf(file))).headerBytes;
    assert.deepEqual(reads, [[0, 8], [0, length], [length, length + taken(file).directory.length]]);
  });

  it('is a tensor of bytes to whoever reads safetensors', async () => {
    for (const file of [fileOf(TENSORS()), await encode({}), await encode({ w: f32([64, 64]) })]) {
      const { tensors, metadata, dataStart } = await readHeader(await sourceOf(file));
      assert.deepEqual([...tensors], [['hansel',
        { dtype: 'U8', shape: [file.length - dataStart], start: dataStart, end: file.length }]]);
      assert.match(metadata.get('hansel'), /^4[0-9a-f]{8}\d+$/);
      assert.deepEqual([...metadata.keys()], ['hansel']);
      assert.equal(dataStart % 8, 0);
    }
  });

  it('is small', async () => {
    const shapes = { 'mlp.up_proj': [512, 192], 'mlp.down_proj': [192, 512], 'self_attn.q_proj': [192, 192],
      'self_attn.k_proj': [64, 192], input_layernorm: [192] };
    const tensors = Object.fromEntries(Array.from({ length: 12 }, (_, layer) => (
      Object.entries(shapes).map(([name, shape]) => [`model.layers.${layer}.${name}.weight`,
        f32(shape, gaussian(shape.reduce((a, b) => a * b), { seed: layer }))]))).flat());
    const file = await encode(tensors, { bits: 4, metadata: [['format', 'pt']] });
    const overhead = file.length - taken(file).parts.length;
    console.log(`      ${overhead} bytes before the parts of 60 tensors`);
    assert.ok(overhead < 1500, `${overhead} bytes`);
  });
});

describe('the plain file comes back, byte for byte', function () {
  this.timeout(60_000);
  let folder;
  before(async () => { folder = await mkdtemp(join(tmpdir(), 'hansel-directory-')); });
  after(() => rm(folder, { recursive: true }));

  const t = (dtype, shape, begin, end) => (
    `{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`);
  /** Header, bytes of data, how many data_offsets the directory leaves out.
   * @type {Record<string, [string, number, number]>} */
  const FILES = {
    'compact': [`{"a":${t('F32', [2, 3], 0, 24)},"b":${t('U8', [5], 24, 29)}}`, 29, 2],
    'metadata': [`{"__metadata__":{"format":"pt","x":"\\u00e9\\n"},"a":${t('I64', [2], 0, 16)}}`, 16, 1],
    'metadata in the middle': [`{"a":${t('U8', [1], 0, 1)},"__metadata__":{"k":"v"},"b":${t('U8', [1], 1, 2)}}`, 2, 2],
    'spaces': ['{ "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},\n\t"b": '
      + '{"dtype": "U8", "shape": [5], "data_offsets": [24, 29]}}', 29, 0],
    'one with spaces': [`{"a":{"dtype":"U8","shape":[4],"data_offsets":[4, 8]},"b":${t('U8', [4], 0, 4)},`
      + `"c":${t('U8', [4], 8, 12)}}`, 12, 0],
    'other order of keys': ['{"a":{"data_offsets":[0,24],"shape":[2,3],"dtype":"F32"},'
      + '"b":{"shape":[5],"data_offsets":[24,29],"dtype":"U8"}}', 29, 2],
    'data in another order': [`{"a":${t('U8', [3], 5, 8)},"b":${t('U8', [5], 0, 5)},"c":${t('U8', [2], 8, 10)},`
      + `"d":${t('U8', [1], 10, 11)}}`, 11, 1],
    'no bytes': [`{"a":${t('U8', [0, 3], 0, 0)},"b":${t('F32', [2], 0, 8)},"c":${t('F32', [0], 8, 8)},`
      + `"d":${t('F32', [0], 0, 0)}}`, 8, 3],
    'no bytes, spelled in two ways': [`{"a":{"dtype":"U8","shape":[0],"data_offsets":[ 0,0]},`
      + `"b":${t('U8', [0], 0, 0)},"c":${t('U8', [2], 0, 2)},"d":${t('U8', [0], 0, 0)}}`, 2, 2],
    'escaped keys': ['{"\\u0061":{"dtype":"U8","shape":[4],"data\\u005foffsets":[0,4]},'
      + `"b":${t('U8', [1], 4, 5)}}`, 5, 1],
    'names and values that look like offsets': ['{"__metadata__":{"\\"data_offsets\\":[0,4]":"\\"data_offsets\\":[0,4]"},'
      + `"data_offsets":${t('U8', [4], 0, 4)},"x\\"data_offsets":${t('U8', [4], 4, 8)}}`, 8, 2],
    'odd padding': [`{"a":${t('U8', [7], 0, 7)}}${' '.repeat(123)}`, 7, 1],
    'no padding': [`{"a":${t('U8', [7], 0, 7)}}`, 7, 1],
    'no tensors': ['{}', 0, 0],
    'no tensors but metadata': ['{"__metadata__":{"a":"b"}}   ', 0, 0],
    'names beyond ASCII': [`{"h\u00e9llo \u{1f600}":${t('U8', [7], 0, 7)},"__proto__":${t('BOOL', [1], 7, 8)}}`, 8, 2],
    'small elements': [`{"a":${t('F4', [4, 2], 0, 4)},"b":${t('F6_E2M3', [4], 4, 7)}}`, 7, 2],
    'to be coded': [`{"w":${t('I8', [64, 64], 6, 4102)},"__metadata__":{"a":"b"},"v":${t('F16', [3], 0, 6)},`
      + `"z":${t('U8', [2 ** 12], 4102, 8198)}}`, 8198, 0],
  };
  for (const [name, [json, bytes, count]] of Object.entries(FILES)) {
    it(name, async () => {
      const plain = plainFile(json, bytes);
      const model = await open(plain);
      const coded = await encode(model);
      const path = join(folder, 'plain');
      await writeFile(path, plain);
      await encodeCommand(path, join(folder, 'coded'), { force: true });
      assert.ok(same(await readFile(join(folder, 'coded')), coded), 'the command line\'s');
      await decodeCommand(join(folder, 'coded'), join(folder, 'back'), { force: true });
      assert.ok(same(await readFile(join(folder, 'back')), plain));
      const opened = await open(coded);
      assert.deepEqual([...opened.tensors.keys()], [...model.tensors.keys()], 'order');
      for (const tensor of model.tensors.keys()) {
        await opened.verify(tensor);
        assert.ok(same(await opened.decode(tensor), await model.decode(tensor)), tensor);
      }
      let { directory: rest } = taken(coded);
      for (const skip of [4, 0, 0]) { // the checksum and two numbers
        rest = rest.subarray(skip);
        if (!skip) rest = rest.subarray(rest.findIndex((byte) => byte < 128) + 1);
      }
      const short = inflateRawSync(rest);
      assert.equal(short.filter((byte) => byte === 1).length, count, short.toString());
    });
  }

  it('coded anew from a coded file whose tensors are all as they were', async () => {
    const plain = plainFile(...FILES['data in another order']);
    const coded = await encode(await open(plain), { exclude: /./ });
    assert.ok(same(await encode(await open(coded), { exclude: /./ }), coded));
  });

  it('but for metadata that the caller gives, or another dtype', async () => {
    const plain = plainFile(`{"__metadata__":{"a":"b"}, "w":${t('F32', [64, 64], 0, 2 ** 14)}}`, 2 ** 14);
    const coded = await open(await encode(await open(plain), { metadata: [['c', 'd']], exclude: /./ }));
    assert.deepEqual([...coded.metadata], [['c', 'd']]);
    await writeFile(join(folder, 'other'), await encode(await open(plain), { exclude: /./ }));
    await decodeCommand(join(folder, 'other'), join(folder, 'half'), { force: true, dtype: 'F16' });
    await decodeCommand(join(folder, 'other'), join(folder, 'same'), { force: true, dtype: 'F32' });
    assert.ok(same(await readFile(join(folder, 'same')), plain));
    const half = await open(join(folder, 'half'));
    assert.deepEqual([...half.metadata], [['a', 'b']]);
    assert.equal(half.tensor('w').dtype, 'F16');
    await half.close();
  });

  it('a shard each: all of a checkpoint', async () => {
    const names = [1, 2].map((n) => `m-0000${n}-of-00002.safetensors`);
    const plains = [plainFile(...FILES.spaces), plainFile(
      `{"c":${t('U8', [3], 5, 8)},"d":${t('I16', [2, 2], 8, 16)},"e":${t('U8', [5], 0, 5)}}  `, 16)];
    for (const i of [0, 1]) await writeFile(join(folder, names[i]), plains[i]);
    await writeFile(join(folder, 'm.safetensors.index.json'), JSON.stringify({ weight_map: {
      a: names[0], b: names[0], c: names[1], d: names[1], e: names[1],
    } }));
    const { files } = await encodeCommand(join(folder, 'm.safetensors.index.json'),
      join(folder, 'out.safetensors.index.json'), { force: false });
    for (const i of [0, 1]) {
      await decodeCommand(files[i], join(folder, 'back'), { force: true });
      assert.ok(same(await readFile(join(folder, 'back')), plains[i]), names[i]);
    }
    const whole = await open(join(folder, 'out.safetensors.index.json'));
    assert.equal(whole.tensors.size, 5);
    await whole.close();
    await decodeCommand(join(folder, 'out.safetensors.index.json'), join(folder, 'back'), { force: true });
    assert.equal((await open(await readFile(join(folder, 'back')))).tensors.size, 5);
  });
});

describe('a tensor that is not coded', function () {
  this.timeout(60_000);
  const ids = { dtype: 'I64', shape: [1000], data: BigInt64Array.from({ length: 1000 }, (_, i) => BigInt(i)) };
  const noise = f32([10], gaussian(10));

  it('is deflated where that saves eight bytes, and read in every way', async () => {
    const large = { dtype: 'I32', shape: [2 ** 18 + 1], data: new Int32Array(2 ** 18 + 1) };
    const whole = { dtype: 'I32', shape: [2 ** 10, 2 ** 8], data: new Int32Array(2 ** 18).fill(7) };
    const model = await open(await encode({ ids, noise, large, whole }, { exclude: /./ }));
    const kinds = Object.fromEntries([...model.places].map(([name, { record }]) => [name, record.kind]));
    assert.deepEqual(kinds, { ids: 1, noise: 0, large: 0, whole: 1 });
    const { bytes, bits } = model.tensor('ids');
    assert.ok(bytes < 4000 && bits === bytes * 8 / 1000, `${bytes} bytes`);
    assert.deepEqual(await model.decode('ids'), ids.data);
    assert.deepEqual(await model.rows('whole', 3, 2), whole.data.slice(0, 512));
    await model.verify('ids');
    const slices = [];
    for await (const { bytes: slice } of model.slices('whole')) slices.push(slice);
    assert.ok(same(Buffer.concat(slices), whole.data));
    assert.equal((await encode(model, { exclude: /./ })).length, model.bytes);
  });

  it('saves eight bytes or is stored', async () => {
    const sizes = [];
    for (let n = 1; n < 40; n++) {
      const model = await open(await encode({ z: { dtype: 'I16', shape: [n], data: new Int16Array(n) } },
        { exclude: /./ }));
      const { record, parts: [{ start, end }] } = model.place('z');
      sizes.push(record.kind);
      if (record.kind) assert.ok(end - start + 1 + 8 <= 2 * n, `${n}`);
      else assert.equal(end - start, 2 * n);
    }
    assert.equal(sizes[0], 0);
    assert.equal(sizes.at(-1), 1);
  });

  it('does not inflate to more, or less, than its shape', async () => {
    for (const [bytes, message] of [[999, /too few/], [1001, /damaged/], [1e6, /damaged/]]) {
      const part = deflateRawSync(new Uint8Array(bytes));
      const model = await open(fileOf({ z: ['U8', [1000], { kind: 1, bytes: part.length, crc32c: 0 }] }, part));
      for (const method of ['decode', 'verify']) {
        await assert.rejects(model[method]('z'), { code: 'HANSEL_ERR_CORRUPT', where: 'z', message });
      }
    }
    const part = deflateRawSync(new Uint8Array(1000));
    const model = await open(fileOf({ z: ['U8', [1000], { kind: 1, bytes: part.length, crc32c: 1 }] }, part));
    await assert.rejects(model.decode('z'), { code: 'HANSEL_ERR_CHECKSUM', where: 'z' });
  });
});

describe('a directory that is damaged', function () {
  this.timeout(180_000);
  const file = fileOf(TENSORS());
  const { directory, parts } = taken(file);
  const refused = async (bytes, what) => {
    const error = await read(bytes).then(() => assert.fail(`${what} passes`), (e) => e);
    assertNamed(error, what);
    return error;
  };

  it('is refused at every shorter length, and longer', async () => {
    for (let length = 0; length < file.length; length += length < file.length - parts.length ? 1 : 97) {
      await refused(file.slice(0, length), `${length} bytes`);
    }
    await refused(new Uint8Array([...file, 0]), 'a byte more');
    for (let length = 0; length < directory.length; length++) {
      await refused(wrapped(directory.slice(0, length), parts), `${length} bytes of the directory`);
    }
    await refused(wrapped(new Uint8Array([...directory, 0]), parts), 'a byte more of the directory');
    assert.equal((await read(wrapped(directory.slice(), parts))).tensors.size, 9);
  });

  it('is refused for any bit that flips', async () => {
    const bad = file.slice();
    for (let bit = 0; bit < 8 * (file.length - parts.length); bit++) {
      bad[bit >> 3] ^= 1 << (bit & 7);
      const { code: found } = await refused(bad, `bit ${bit}`);
      if (bit >> 3 >= file.length - parts.length - directory.length) assert.equal(found, 'HANSEL_ERR_CHECKSUM');
      bad[bit >> 3] ^= 1 << (bit & 7);
    }
  });

  it('is refused or sound for bytes that change under right checksums', async () => {
    const random = new RandomState(44);
    const below = (n) => random.nextUint32() % n;
    const before = process.memoryUsage().rss;
    const codes = new Map();
    const sound = [];
    let slowest = 0;
    for (let round = 0; round < 6000; round++) {
      const bytes = [...directory];
      for (let edits = 1 + below(3); edits > 0; edits--) {
        // Mostly the records: what precedes them inflates to nothing, changed anyhow.
        const at = below(4) ? directory.length - 1 - below(200) : 4 + below(directory.length - 4);
        bytes.splice(at, below(5) ? 1 : below(3), ...below(6) ? [below(256)] : []);
      }
      const bad = wrapped(Uint8Array.from(bytes), parts);
      const start = performance.now();
      const error = await read(bad).then(() => null, (e) => e);
      slowest = Math.max(slowest, performance.now() - start);
      if (error) assertNamed(error, `round ${round}`);
      else sound.push(bad);
      codes.set(error?.code ?? 'HANSEL_OK', (codes.get(error?.code ?? 'HANSEL_OK') ?? 0) + 1);
    }
    for (const bytes of sound.slice(0, 100)) {
      const model = await open(bytes);
      for (const name of model.tensors.keys()) await model.decode(name).catch((e) => assertNamed(e, name));
    }
    const grown = process.memoryUsage().rss - before;
    console.log(`      ${[...codes].map(([name, n]) => `${name.slice(7)} ${n}`).join(', ')}`);
    assert.ok(slowest < 1000, `${slowest} ms`);
    assert.ok(grown < 200e6, `${grown} bytes`);
    assert.ok(sound.length > 50 && codes.size > 3);
  });
});

describe('a directory that contradicts itself or its file, its checksums being right', function () {
  this.timeout(60_000);

  /** @type {[string, (t: any) => void, string, RegExp][]} what, change, where, message */
  const CHANGES = [
    ['an unknown kind', (t) => { t.stored[2].kind = 5; }, 'stored', /unknown kind/],
    ['deflated to nothing', (t) => { t.deflated[2].bytes = 1; }, 'deflated', /inflate/],
    ['nine classes', (t) => { t.classes[1] = [12, 4]; t.classes[2].matrix.blobs = Array(10).fill(9); }, 'classes', /classes.*9/],
    ['more classes than rows', (t) => { t.classes[1] = [2, 4]; }, 'classes', /classes.*3/],
    ['classes of a vector', (t) => { t.classes[1] = [24]; }, 'classes', /classes.*3/],
    ['classes of a grid', (t) => { t.grid[2].matrix.blobs = [1, 2, 97]; }, 'grid', /classes.*2/],
    ['a grid of bytes', (t) => { t.grid[0] = 'I8'; }, 'grid', /grid.*I8/],
    ['integers coded', (t) => { t.classes[0] = 'I32'; }, 'classes', /not coded.*I32/],
    ...[0, -1, NaN, Infinity, 1e-39].map((step) => /** @type {any} */ (
      [`a step of ${step}`, (t) => { t.grid[2].step = step; }, 'grid', /step/])),
    ['blocks of no bytes', (t) => { t.qzeros[2].blockBytes = 0; }, 'qzeros', /blocks/],
    ['blocks that do not fill it', (t) => { t.qzeros[2].blockBytes = 5; }, 'qzeros', /blocks/],
    ['blocks too large', (t) => { t.q4[1] = [8192]; t.q4[2].blockBytes = 8192; }, 'q4', /blocks/],
    ['no planes', (t) => { t.q4[2].planes = []; }, 'q4', /planes/],
    ['65 planes', (t) => { t.q4[2].planes = Array(65).fill(t.q4[2].planes[1]); }, 'q4', /number of planes/],
    ['no items', (t) => { t.q4[2].planes[2].items = 0; }, 'q4', /beyond/],
    ['items beyond the block', (t) => { t.q4[2].planes[1].items = 3; }, 'q4', /beyond/],
    ['very many items', (t) => { t.q4[2].planes[1].items = 2 ** 52; }, 'q4', /beyond/],
    ['very many items at once', (t) => { Object.assign(t.q4[2].planes[1], { items: 2 ** 52, itemBits: 0 }); }, 'q4', /overlap/],
    ['planes that overlap', (t) => { t.q4[2].planes[2].bitOffset = 0; }, 'q4', /overlap/],
    ['planes that leave a hole', (t) => { t.q4[2].planes.pop(); }, 'q4', /in no plane/],
    ['a bit in no plane', (t) => { t.qzeros[2].planes[0].width = 3; }, 'qzeros', /in no plane/],
    ['an item across bytes', (t) => { t.qzeros[2].planes[0].bitOffset = 2; t.qzeros[2].planes[0].items = 1; }, 'qzeros', /in no plane|across/],
    ['a half that begins in a byte', (t) => { t.q4[2].planes[0].bitOffset = 12; }, 'q4', /across/],
    ['items of no bits', (t) => { t.qzeros[2].planes[0].width = 0; }, 'qzeros', /width/],
    ['items of nine bits', (t) => { t.qzeros[2].planes[0].width = 9; }, 'qzeros', /width/],
    ['planes of I8', (t) => { t.qzeros[2].planes[0].dtype = 'I8'; }, 'qzeros', /dtype of a plane/],
    ['its own base', (t) => { t.qweight[2].planes[0].base.tensor = 'qweight'; }, 'qweight', /base/],
    ['a base that is not there', (t) => { t.qweight[2].planes[0].base.tensor = 'nowhere'; }, 'qweight', /not there/],
    ['a base without planes', (t) => { t.qweight[2].planes[0].base.tensor = 'grid'; }, 'qweight', /no planes/],
    ['a base with a base', (t) => { t.qzeros[2].planes[0].base = { ...t.qweight[2].planes[0].base, tensor: 'qweight' }; }, 'qweight', /or a base/],
    ['a plane that the base lacks', (t) => { t.qweight[2].planes[0].base.plane = 1; }, 'qweight', /no such base/],
    ['a base of another width', (t) => { Object.assign(t.qweight[2].planes[0].base, { tensor: 'q4', plane: 1 }); }, 'qweight', /no such base/],
    ['a base of floats', (t) => { Object.assign(t.qweight[2].planes[0].base, { tensor: 'q4', plane: 0 }); }, 'qweight', /no such base/],
    ['floats on a base', (t) => { t.q4[2].planes[0].base = { ...t.qweight[2].planes[0].base }; }, 'q4', /base/],
    ...['columns', 'depth', 'group'].map((key) => /** @type {any} */ (
      [`a base of no ${key}`, (t) => { t.qweight[2].planes[0].base[key] = 0; }, 'qweight', /fit/])),
    ['a base that is too small', (t) => { t.qweight[2].planes[0].base.group = 8; }, 'qweight', /fit/],
    ['a base pitched too far', (t) => { t.qweight[2].planes[0].base.pitch = 17; }, 'qweight', /fit/],
    ['rows of a base that are not whole', (t) => { t.qweight[2].planes[0].base.columns = 15; }, 'qweight', /fit/],
  ];
  for (const [what, change, where, message] of CHANGES) {
    it(what, async () => {
      const tensors = TENSORS();
      change(tensors);
      await assert.rejects(read(fileOf(tensors)), { name: 'HanselError', code, where, message });
    });
  }

  it('no classes at all', async () => { // which the writer cannot write
    const { directory, parts } = taken(fileOf({ w: ['F32', [6, 4], { kind: 2, matrix: { blobs: [77], entropy: 1 } }] }));
    directory[directory.length - 3] = 0;
    await assert.rejects(read(wrapped(directory, parts)), { code, where: 'w', message: /classes/ });
  });

  it('parts that are more or fewer than the file has', async () => {
    const file = fileOf(TENSORS());
    const { directory, parts } = taken(file);
    for (const length of [0, 1, parts.length - 1]) {
      await assert.rejects(read(wrapped(directory.slice(), parts.slice(0, length))), { code, message: /do not fill/ });
    }
    await assert.rejects(read(wrapped(directory.slice(), new Uint8Array(parts.length + 1))), { code, message: /do not fill/ });
    const huge = TENSORS();
    huge.grid[2].matrix.blobs = [2 ** 48];
    huge.classes[2].matrix.blobs.fill(2 ** 47);
    await assert.rejects(read(wrapped(taken(fileOf(huge, parts)).directory, parts)), { code, message: /do not fill/ });
  });

  it('records that are missing, or left over', async () => {
    const { directory, parts } = taken(fileOf(TENSORS()));
    const last = directory.length - 1 - 1 - varint(2 ** 14).length - 2; // kind, classes, bytes, entropy
    for (const length of [last, last + 1, directory.length - 1]) {
      await assert.rejects(read(wrapped(directory.slice(0, length), parts)), { code, message: /early/ }, `${length}`);
    }
    await assert.rejects(read(wrapped(new Uint8Array([...directory, ...directory.subarray(last)]), parts)),
      { code, message: /follows/ });
  });

  it('numbers that have no end, or are too large', async () => {
    const { directory, parts } = taken(fileOf(TENSORS()));
    const last = directory.length - 1 - 1 - varint(2 ** 14).length - 2;
    for (const tail of [Array(50).fill(128), Array(50).fill(255), [...Array(8).fill(255), 1], Array(2000).fill(128)]) {
      await assert.rejects(read(wrapped(new Uint8Array([...directory.subarray(0, last), 2, ...tail]), parts)),
        { code, message: /too large|early/ });
    }
  });

  it('a header that is none, or longer or shorter than it says', async () => {
    const json = '{"w":{"dtype":"U8","shape":[3],\x01}} ';
    const length = json.length - 1 + '"data_offsets":[0,3]'.length;
    const make = (text, size, deflated = deflateRawSync(Buffer.from(text, 'latin1'))) => wrapped(new Uint8Array(
      [0, 0, 0, 0, ...varint(size), ...varint(deflated.length), ...deflated, 0, 1, 2, 3, 4]), new Uint8Array(3));
    assert.deepEqual((await read(make(json, length))).tensors.get('w').place.parts.length, 1);
    for (const size of [0, 1, json.length, length - 1, length + 1, 1000]) {
      await assert.rejects(read(make(json, size)), { code: /MANIFEST|CORRUPT/ }, `${size}`);
    }
    for (const size of [1e8 + 1, 2 ** 50]) await assert.rejects(read(make(json, size)), { code });
    await assert.rejects(read(make(json, length, Buffer.from(json))), { code: 'HANSEL_ERR_CORRUPT' });
    for (const text of ['', ' ', '[]', '{', '{"w":1}', '{"w":{\x01}}', '{"w":\x01}', '{\x01}', '\x01', '{"\x01":1}',
      '{"\\\x01}', '{"__metadata__":{\x01}}', '{"w":{"dtype":"U8","shape":[3],"data_offsets":null}}', '{"w\xff":1}',
      '{"w":{"dtype":"U8","shape":[3],\x01,\x01}}', '{"w":{"dtype":"U8","shape":3,\x01}}',
      '{"w":{"dtype":"U9","shape":[3],\x01}}', '{"w":{"dtype":"U8","shape":[9007199254740991,9],\x01}}',
      '{"w":{"dtype":"U8","shape":{"a":1},\x01}}', '{"w":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}',
      '{"v":{"dtype":"U8","shape":[3],"data_offsets":7},"w":{"dtype":"U8","shape":[3],\x01}}',
      '{"v":{"dtype":"U8","shape":[9007199254740991],\x01},"w":{"dtype":"U8","shape":[9007199254740991],\x01}}',
      '{"w":{"dtype":"U8","shape":[3],\x01}}\n', '{"w":{"dtype":"U8","shape":[3],\x01},"w":{"dtype":"U8","shape":[3],\x01}}']) {
      // As many bytes as it takes, if it is taken for what it is.
      for (const size of new Set([text.length, text.replaceAll('\x01', '"data_offsets":[0,3]').length])) {
        await assert.rejects(read(make(text, size)), (error) => {
          assertNamed(error, JSON.stringify(text));
          return true;
        }, JSON.stringify(text));
      }
    }
  });

  it('a header that would inflate to very much', async () => {
    const make = (text, size) => {
      const deflated = deflateRawSync(text);
      return wrapped(new Uint8Array(Buffer.concat([Buffer.from([0, 0, 0, 0, ...varint(size),
        ...varint(deflated.length)]), deflated])), new Uint8Array(0));
    };
    const before = process.memoryUsage().rss;
    const start = performance.now();
    for (const [byte, size] of [[1, 1e8], [1, 1e7], [32, 1e7], [0, 1e8]]) {
      await assert.rejects(read(make(new Uint8Array(1e8).fill(byte), size)), { name: 'HanselError' });
    }
    await assert.rejects(read(make(Buffer.from(`{${' '.repeat(1e8)}`), 1e8)), { name: 'HanselError' });
    assert.ok(performance.now() - start < 20_000);
    assert.ok(process.memoryUsage().rss - before < 1e9);
  });

  it('a header around it that is not as it is written', async () => {
    const { directory, parts } = taken(fileOf(TENSORS()));
    for (const digits of ['', '0', '-1', '1e3', '+9', `0${directory.length}`, ` ${directory.length}`, '1', '3',
      `${directory.length + parts.length + 1}`, '99999999999999999999', `${directory.length - 1}`]) {
      await assert.rejects(read(wrapped(directory, parts, digits)), { name: 'HanselError' }, digits);
    }
    const file = wrapped(directory, parts);
    const text = Buffer.from(file).toString('latin1');
    for (const [from, to, expected] of [['"4', '"5', 'HANSEL_ERR_VERSION'], ['"4', '"0', 'HANSEL_ERR_VERSION'],
      ['"U8"', '"I8"', 'HANSEL_ERR_CHECKSUM'], ['"hansel":"', '"hanser":"', 'HANSEL_ERR_MANIFEST']]) {
      const bad = new Uint8Array(Buffer.from(text.replace(from, to), 'latin1'));
      if (expected === 'HANSEL_ERR_MANIFEST') assert.equal(await read(bad), null, 'another key');
      else await assert.rejects(read(bad), { code: expected });
    }
  });
});
