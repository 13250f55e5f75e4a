/** Files of other formats: ONNX, GGUF, any bytes; coded, and given back as they were. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open as openHandle, readdir, stat, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GGUF_TYPES, ggufFile } from '../../tools/gguf_model.js';
import { encodeModel } from '../../tools/onnx_proto.js';
import { onnxFiles, readCheckpoint } from '../../tools/runtime_files.js';
import { openFile } from '../../web/file.js';
import { open } from '../../web/hansel.js';
import { bad, cleanUp, folder, good, serving } from './command.js';
import { same } from './tensors.js';

const MODEL = new URL('../../web/demo/models/licence-llama/', import.meta.url).pathname;
const ONNX = ['model.onnx', 'model.onnx_data', 'model_inline_fp16.onnx'];

describe('files of other formats', function () {
  this.timeout(60000);
  /** Files of all formats, by name. @type {Map<string, Uint8Array>} */
  const files = new Map();
  let at = '';
  before(async () => {
    const checkpoint = await readCheckpoint(MODEL, 'model.hansel.safetensors');
    const onnx = onnxFiles(checkpoint);
    for (const name of ONNX) files.set(name, onnx.get(`onnx/${name}`));
    for (const type of GGUF_TYPES) files.set(`${type}.gguf`, ggufFile(checkpoint.sizes, checkpoint.tensors, type));
    at = folder();
    for (const [name, bytes] of files) writeFileSync(join(at, name), bytes);
  });
  after(cleanUp);

  /** @param {string} path @param {Uint8Array} bytes */
  const assertHolds = (path, bytes) => assert.ok(same(new Uint8Array(readFileSync(path)), bytes), path);

  for (const type of GGUF_TYPES) {
    it(`GGUF of ${type}: byte for byte, and smaller`, async () => {
      const [name, out] = [`${type}.gguf`, folder()];
      await good(['encode', name, '-o', join(out, `${name}.hansel`), '--quiet'], { cwd: at });
      await good(['decode', `${name}.hansel`], { cwd: out });
      assertHolds(join(out, name), files.get(name));
      const { size } = await stat(join(out, `${name}.hansel`));
      assert.ok(size < 0.98 * files.get(name).length, `${size} bytes of ${files.get(name).length}`);
    });
  }

  it('ONNX with its weights beside it, and with them inside: byte for byte', async () => {
    const out = folder();
    const { stdout } = await good(['encode', 'model.onnx', '-o', join(out, 'model.onnx.hansel'), '--json'], { cwd: at });
    assert.deepEqual(JSON.parse(stdout).files.map((path) => path.slice(out.length + 1)),
      ['model.onnx.hansel', 'model.onnx_data.hansel']);
    await good(['encode', ONNX[2], '-o', join(out, `${ONNX[2]}.hansel`)], { cwd: at });
    for (const name of ['model.onnx', ONNX[2]]) await good(['decode', `${name}.hansel`, '--quiet'], { cwd: out });
    for (const name of ONNX) assertHolds(join(out, name), files.get(name));
    const info = await good(['info', 'model.onnx.hansel'], { cwd: out });
    assert.match(info.stdout, /gives back onnx, with model\.onnx_data/);
    const { format, beside, tensors } = JSON.parse((await good(['info', 'model.onnx_data.hansel', '--json'], { cwd: out })).stdout);
    assert.deepEqual([format, beside], ['onnxdata', []]);
    assert.deepEqual(tensors['model.layers.0.mlp.up_proj.MatMul.weight'].shape, [192, 512]);
  });

  it('with --bits only weights change, in their places; --against says how much', async () => {
    const out = folder();
    const to = join(out, 'model.onnx.hansel');
    const { stdout } = await good(['encode', 'model.onnx', '-o', to, '--bits', '6', '--json'], { cwd: at });
    const { tensors, bytes } = JSON.parse(stdout);
    const grid = Object.entries(tensors).filter(([, { mode }]) => mode === 'grid');
    assert.ok(grid.length === 30 && bytes < 0.2 * (files.get('model.onnx').length + files.get('model.onnx_data').length));
    const total = grid.reduce((sum, [, { weights }]) => sum + weights, 0);
    assert.ok(grid.reduce((sum, [, one]) => sum + 8 * one.bytes, 0) <= 6 * total);
    assert.equal(tensors.cos_cache.mode, 'lossless'); // which is multiplied by as it is
    await good(['decode', to, '--quiet'], { cwd: out });
    assertHolds(join(out, 'model.onnx'), files.get('model.onnx')); // no weights are in it
    const [plain, decoded] = [files.get('model.onnx_data'), new Uint8Array(readFileSync(join(out, 'model.onnx_data')))];
    assert.equal(decoded.length, plain.length);
    assert.ok(!same(decoded, plain));
    const floats = (some) => new Float32Array(some.slice().buffer);
    const [a, b] = [floats(plain), floats(decoded)];
    const worst = a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
    assert.ok(worst < 0.004, `${worst}`);
    const { stdout: compared } = await good(['verify', `${join(out, 'model.onnx_data')}.hansel`, '--against',
      join(at, 'model.onnx'), '--json'], { cwd: out });
    const found = JSON.parse(compared).tensors['lm_head.MatMul.weight'];
    assert.ok(found.max <= worst && found.relative > 0.01 && found.relative < 0.02);
  });

  it('--bits is shared by all splits of a GGUF, which come along; with one missing nothing is written', async () => {
    const [from, out] = [folder(), folder()];
    const names = [1, 2].map((i) => `m-0000${i}-of-00002.gguf`);
    writeFileSync(join(from, names[0]), files.get('F16.gguf'));
    await bad(['encode', names[0], '-o', join(out, `${names[0]}.hansel`)], 'HANSEL_ERR_SOURCE', 1, { cwd: from });
    assert.deepEqual(await readdir(out), []);
    writeFileSync(join(from, names[1]), files.get('Q8_0.gguf'));
    const { stdout } = await good(['encode', names[0], '-o', join(out, `${names[0]}.hansel`), '--bits', '5', '--json'], { cwd: from });
    const { tensors, files: written } = JSON.parse(stdout);
    assert.equal(written.length, 2);
    assert.ok('blk.0.ffn_up.weight' in tensors && 'blk.0.ffn_up.weight#2' in tensors); // one a split
    await good(['decode', join(out, `${names[0]}.hansel`)]);
    assertHolds(join(out, names[1]), files.get('Q8_0.gguf')); // which has no floats to round
    assert.equal((await stat(join(out, names[0]))).size, files.get('F16.gguf').length);
  });

  it('external data in a folder, and two tensors of the same bytes', async () => {
    const [from, out] = [folder(), folder()];
    const initializer = (name, offset) => ({
      name, dims: [4, 256], data_type: 1, data_location: 1, external_data: [
        { key: 'location', value: './weights/one.bin' }, { key: 'offset', value: `${offset}` },
        { key: 'length', value: '4096' }],
    });
    mkdirSync(join(from, 'weights'));
    const data = Float32Array.from({ length: 2048 }, (_, i) => Math.sin(i * i) / 50);
    writeFileSync(join(from, 'weights/one.bin'), data);
    writeFileSync(join(from, 'tied.onnx'), encodeModel({
      ir_version: 8, opset_import: [{ domain: '', version: 17 }],
      graph: { name: 'g', node: [], initializer: [initializer('a', 4096), initializer('b', 4096)], input: [], output: [] },
    }));
    await good(['encode', 'tied.onnx', '-o', join(out, 'tied.onnx.hansel')], { cwd: from });
    await good(['decode', 'tied.onnx.hansel'], { cwd: out });
    for (const name of ['tied.onnx', 'weights/one.bin']) {
      assertHolds(join(out, name), new Uint8Array(readFileSync(join(from, name))));
    }
    const file = await openFile(join(out, 'weights/one.bin.hansel'));
    assert.deepEqual([...file.tensors.keys()], ['hansel.rest#2', 'a']);
    await file.close();
  });

  it('any other file with --bytes; without it, what it looks like', async () => {
    const out = folder();
    const text = new TextEncoder().encode('weights of some other kind\n'.repeat(3000));
    writeFileSync(join(out, 'other.bin'), text);
    const { stderr } = await bad(['encode', 'other.bin'], 'HANSEL_ERR_SAFETENSORS', 1, { cwd: out });
    assert.match(stderr, /looks like text.*--bytes codes any file/s);
    for (const [name, bytes] of [['other.bin', text], ['empty.bin', new Uint8Array(0)], ['one.bin', Uint8Array.of(7)]]) {
      writeFileSync(join(out, name), bytes);
      await good(['encode', name, '--bytes'], { cwd: out });
      await good(['decode', `${name}.hansel`, '-o', `${name}.back`], { cwd: out });
      assertHolds(join(out, `${name}.back`), bytes);
      await good(['verify', `${name}.hansel`, '--against', name], { cwd: out });
    }
    assert.ok((await stat(join(out, 'other.bin.hansel'))).size < 1000);
  });

  it('bytes, Blobs, streams and parts of them, from a path, a URL, a Blob and bytes, with threads', async () => {
    const out = folder();
    for (const name of ['F16.gguf', 'Q4_K.gguf', 'model_inline_fp16.onnx']) {
      await good(['encode', name, '-o', join(out, `${name}.hansel`), '--quiet'], { cwd: at });
    }
    const url = await serving(out);
    for (const name of ['F16.gguf', 'Q4_K.gguf', 'model_inline_fp16.onnx']) {
      const plain = files.get(name);
      const path = join(out, `${name}.hansel`);
      const coded = new Uint8Array(readFileSync(path));
      for (const source of [path, `${url}${name}.hansel`, new Blob([coded]), coded]) {
        const file = await openFile(source, { threads: 2 });
        assert.deepEqual([file.size, file.codedSize, file.format], [plain.length, coded.length, name.split('.').pop()]);
        const seen = [];
        const bytes = await file.bytes({ onProgress: ({ done, total }) => seen.push([done, total]) });
        assert.ok(same(bytes, plain), name);
        assert.deepEqual(seen.at(-1), [plain.length, plain.length]);
        assert.ok(seen.every(([done], i) => !i || done >= seen[i - 1][0]));
        assert.ok(same(new Uint8Array(await (await file.blob()).arrayBuffer()), plain));
        assert.ok(same(new Uint8Array(await new Response(file.stream()).arrayBuffer()), plain));
        const into = new Uint8Array(5000);
        for (const start of [0, 1, 3000, 1e5 + 1, plain.length - 5000]) {
          assert.equal(await file.bytes({ start, end: start + 5000, into }), into);
          assert.ok(same(into, plain.subarray(start, start + 5000)), `${name} from ${start}`);
        }
        const shared = await file.bytes({ shared: true });
        assert.ok(shared.buffer instanceof SharedArrayBuffer && same(shared, plain));
        assert.equal((await file.bytes({ start: 7, end: 7 })).length, 0);
        await file.close();
      }
    }
  });

  it('one transfer brings a whole file', async () => {
    const out = folder();
    await good(['encode', 'Q4_K.gguf', '-o', join(out, 'm.hansel'), '--quiet'], { cwd: at });
    const asked = [];
    const file = await openFile(`${await serving(out, { onRequest: ({ range }) => asked.push(range) })}m.hansel`);
    await file.bytes();
    assert.ok(asked.length <= 2, `${asked}`); // the header's, and all that follows
    await file.close();
  });

  it('tensors by the names that the format gives them', async () => {
    const out = folder();
    await good(['encode', 'F16.gguf', '-o', join(out, 'm.hansel'), '--bits', '5'], { cwd: at });
    const model = await open(join(out, 'm.hansel'));
    const { dtype, shape, mode } = model.tensor('blk.0.ffn_up.weight');
    assert.deepEqual([dtype, shape, mode], ['F16', [512, 192], 'grid']);
    assert.equal((await model.decode('blk.0.ffn_up.weight', { dtype: 'F32' })).length, 512 * 192);
    await model.close();
    await bad(['decode', 'm.hansel', '-o', 'x', '--dtype', 'F32'], 'HANSEL_ERR_USAGE', 2, { cwd: out });
  });

  it('a plain safetensors file is given back as it is', async () => {
    const out = folder();
    await good(['sample', 's.safetensors', '--rows', '32'], { cwd: out });
    const file = await openFile(join(out, 's.safetensors'));
    assert.ok(same(await file.bytes(), new Uint8Array(readFileSync(join(out, 's.safetensors')))));
    await file.close();
    await good(['encode', 's.safetensors'], { cwd: out });
    const coded = await openFile(join(out, 's.hansel.safetensors'));
    assert.equal(coded.format, 'safetensors');
    assert.ok(same(await coded.bytes(), new Uint8Array(readFileSync(join(out, 's.safetensors')))));
    await coded.close();
  });

  it('files beyond 4 GB', async () => {
    const [from, out] = [folder(), folder()];
    const far = 2 ** 32 + 4096;
    const weights = Float32Array.from({ length: 65536 }, (_, i) => Math.sin(i * i) / 50);
    const placed = (name, dims, offset, length) => ({
      name, dims, data_type: dims.length > 1 ? 1 : 2, data_location: 1, external_data: [
        { key: 'location', value: 'big.bin' }, { key: 'offset', value: `${offset}` }, { key: 'length', value: `${length}` }],
    });
    writeFileSync(join(from, 'big.onnx'), encodeModel({
      ir_version: 8, opset_import: [{ domain: '', version: 17 }], graph: {
        name: 'g', node: [], input: [], output: [],
        initializer: [placed('zeros', [far - 4096], 4096, far - 4096), placed('w', [256, 256], far, 4 * 65536)],
      },
    }));
    writeFileSync(join(from, 'big.bin'), '');
    await truncate(join(from, 'big.bin'), far); // which takes no room
    const handle = await openHandle(join(from, 'big.bin'), 'r+');
    await handle.write(new Uint8Array(weights.buffer), 0, 4 * 65536, far);
    await handle.write('begins', 0);
    await handle.close();
    await good(['encode', 'big.onnx', '-o', join(out, 'big.onnx.hansel')], { cwd: from });
    const file = await openFile(join(out, 'big.bin.hansel'));
    assert.equal(file.size, far + 4 * 65536);
    assert.ok(file.codedSize < 4 * 65536);
    assert.ok(same(await file.bytes({ start: far, end: file.size }), new Uint8Array(weights.buffer)));
    assert.equal(new TextDecoder().decode(await file.bytes({ start: 0, end: 6 })), 'begins');
    await file.close();
    await bad(['decode', 'big.onnx.hansel', '--max-size', '4G', '-o', 'x/y.onnx'], 'HANSEL_ERR_LIMIT', 1, { cwd: out });
    assert.deepEqual((await readdir(dirname(join(out, 'a')))).sort(), ['big.bin.hansel', 'big.onnx.hansel']);
  });
});
