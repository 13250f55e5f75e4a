/** Options that no call knows are refused by name; into; what a file looks like. */
import assert from 'node:assert/strict';
import { OPTIONS } from '../../web/core/unknown_option.js';
import { openFile } from '../../web/file.js';
import { gpu } from '../../web/gpu.js';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { encode, estimate, open } from '../../web/hansel.js';
import { webgl } from '../../web/webgl.js';
import { webgpu } from '../../web/webgpu.js';
import { as, f32, gaussian } from './tensors.js';

const tensors = { w: f32([64, 70], gaussian(64 * 70)), half: as('BF16', f32([5, 7], gaussian(35))) };

describe('options', function () {
  this.timeout(60000);
  let model;
  let plain;
  let w;
  let file;
  before(async () => {
    model = await open(await encode(tensors, { bits: 4 }));
    file = await openFile(await encode(tensors, { bits: 4 }));
    plain = await open(await encode(tensors, { exclude: /./ }));
    w = await new WasmBackend().load(model, 'w');
  });

  const x = new Float32Array(70);
  /** @type {Record<string, (options: object) => Promise<unknown>>} */
  const CALLS = {
    open: async (options) => (await open(await encode({}), options)).close(),
    decode: (options) => model.decode('w', options),
    slices: async (options) => { for await (const slice of model.slices('w', options)) void slice; },
    symbols: (options) => model.symbols('w', options),
    rows: (options) => model.rows('w', 0, 1, options),
    matvec: (options) => model.matvec('w', x, options),
    head: (options) => model.head('w', options),
    verify: (options) => model.verify('w', options),
    encode: (options) => encode({}, options),
    estimate: (options) => estimate(plain, options),
    gpu: (options) => gpu({ prefer: ['wasm'], ...options }),
    webgpu: (options) => webgpu(options),
    webgl: (options) => webgl(options),
    load: async (options) => (await new WasmBackend().load(model, 'w', options)).destroy(),
    openFile: async (options) => (await openFile(await encode({}), options)).close(),
    bytes: (options) => file.bytes(options),
    blob: (options) => file.blob(options),
    stream: (options) => new Response(file.stream(options)).arrayBuffer(),
    'w.decode': (options) => w.decode(options),
    'w.decodeRows': (options) => w.decodeRows(0, 1, options),
    'w.matvec': (options) => w.matvec(x, options),
    'w.matmul': (options) => w.matmul(x, 1, options),
    'w.verify': (options) => w.verify(options),
  };

  it('are listed for every call', () => {
    assert.deepEqual(Object.keys(OPTIONS).sort(), Object.keys(CALLS).sort());
  });

  for (const [name, call] of Object.entries(CALLS)) {
    const known = OPTIONS[name].split(/\s+/);
    it(`${name}() knows its own, and no others`, async () => {
      const nearest = known[0];
      await assert.rejects(call({ [`${nearest}s`]: 1 }), {
        name: 'HanselError', code: 'HANSEL_ERR_ARGUMENT', got: `"${nearest}s"`,
        message: new RegExp(`no option of that name; ${nearest}, perhaps`),
      });
      await assert.rejects(call({ zzzzzzzzzz: undefined }), (error) => {
        assert.equal(error.code, 'HANSEL_ERR_ARGUMENT');
        assert.doesNotMatch(error.message, /perhaps/);
        for (const option of known) assert.ok(error.expected.includes(option), option);
        return true;
      });
      // WebGPU and WebGL2 are not in Node.
      const all = Object.fromEntries(known.map((option) => [option, undefined]));
      await call(all).catch((error) => assert.equal(error.code, 'HANSEL_ERR_ADAPTER', error.stack));
    });
  }

  it('names the nearest', async () => {
    for (const [wrong, right] of [['bitz', 'bits'], ['losless', 'lossless'], ['onprogress', 'onProgress'],
      ['stream_length', 'streamLength'], ['thread', 'threads'], ['metaData', 'metadata']]) {
      await assert.rejects(encode({}, { [wrong]: 4 }), { message: new RegExp(`; ${right}, perhaps\\?`) });
    }
  });
});

describe('decode into', () => {
  for (const threads of [1, 2]) {
    it(`an array of one's own, ${threads} threads`, async () => {
      const file = await encode({ ...tensors, big: f32([1100, 1000], gaussian(1100000)) }, { bits: 4 });
      const model = await open(file, { threads });
      for (const name of ['w', 'half', 'big']) {
        for (const dtype of [undefined, 'F32', 'BF16', ...(model.tensor(name).mode === 'grid' ? ['I8'] : [])]) {
          const expected = await model.decode(name, { dtype });
          const room = new ArrayBuffer(expected.byteLength + 48);
          new Uint8Array(room).fill(0xa5);
          const into = new expected.constructor(room, 16, expected.length);
          assert.equal(await model.decode(name, { dtype, into }), into);
          assert.deepEqual(into, expected);
          const around = [...new Uint8Array(room, 0, 16), ...new Uint8Array(room, 16 + into.byteLength)];
          assert.ok(around.every((byte) => byte === 0xa5), 'writes beyond it');
        }
      }
      const memory = new SharedArrayBuffer(64 * 70 * 4);
      const shared = await model.decode('w', { into: new Float32Array(memory) });
      assert.equal(shared.buffer, memory);
      assert.deepEqual([...shared], [...await model.decode('w')]);
    });
  }

  it('WebAssembly memory, which is filled again and again', async () => {
    const file = await encode({
      ...tensors, big: f32([1100, 1000], gaussian(1100000)), row: f32([1, 1200000], gaussian(1200000)),
      codes: { dtype: 'U8', shape: [512, 18], data: new Uint8Array(512 * 18).map((_, i) => i % 18 < 2 ? i * 7 : i * i % 64) },
    }, { bits: 4, streamLength: 2 ** 21, include: /w|half|big|row/ });
    const model = await open(file, { threads: 2 });
    for (const name of model.tensors.keys()) {
      const { mode } = model.tensor(name);
      for (const dtype of [undefined, ...(mode === 'grid' ? ['F32', 'BF16', 'I8'] : [])]) {
        const expected = await model.decode(name, { dtype });
        const found = await model.decode(name, { dtype, wasm: true });
        assert.equal(found.constructor, expected.constructor);
        assert.deepEqual(found, expected, `${name} ${dtype}`);
        found.fill(1);
        assert.equal(await model.decode(name, { dtype, into: found }), found);
        assert.deepEqual(found, expected, `${name} ${dtype} again`);
      }
    }
    // Part of it, for another tensor; and what lies around stays.
    const room = new Uint8Array((await model.decode('big', { wasm: true, dtype: 'F32' })).fill(7).buffer);
    const [{ length }, at] = [room, room.length - 2 ** 25 - 5000 * 4 & -16];
    const before = room.slice(at - 64, at);
    const half = new Uint16Array(room.buffer, at, model.tensor('half').weights);
    assert.deepEqual(await model.decode('half', { into: half }), await model.decode('half'));
    assert.deepEqual(room.subarray(at - 64, at), before);
    assert.equal(room.length, length, 'its memory has grown');
    await assert.rejects(model.decode('big', { wasm: true, signal: AbortSignal.abort() }), { code: 'HANSEL_ERR_ABORTED' });
    await model.close();
  });

  it('refuses what does not fit', async () => {
    const model = await open(await encode(tensors, { bits: 4 }));
    const gone = new Float32Array(64 * 70);
    structuredClone(gone, { transfer: [gone.buffer] });
    for (const into of [new Float32Array(64 * 70 - 1), new Float32Array(64 * 70 + 1), new Int8Array(64 * 70),
      new ArrayBuffer(64 * 70 * 4), new Int32Array(64 * 70), new Float64Array(32 * 70), gone, 'x', 5]) {
      await assert.rejects(model.decode('w', { into }), { code: 'HANSEL_ERR_ARGUMENT', message: /into does not fit \(expected Float32Array of 17920 bytes, got \w+ of (\d+|undefined)\)/ });
    }
  });
});

describe('files of other kinds', () => {
  const bytes = (text) => Uint8Array.from(text.padEnd(200, '\0'), (c) => c.charCodeAt(0));
  for (const [text, kind] of [
    ['GGUF\x03\0\0\0\x10\0', /GGUF/], ['PK\x03\x04\x14\0', /zip.*npz.*PyTorch/], ['\x80\x02\x8a\n', /pickle/],
    ['\x93NUMPY\x01\0', /\.npy/], ['\x89HDF\r\n\x1a\n', /HDF5/], ['\x1c\0\0\0TFL3', /TensorFlow Lite/],
    ['\x08\x07\x12\x07pytorch', /ONNX/], ['\x1f\x8b\x08\0', /gzip/], ['\x28\xb5\x2f\xfd', /zstd/],
    ['\0asm\x01\0\0\0', /WebAssembly/], ['\x89PNG\r\n\x1a\n', /picture/], ['ggml\x01', /GGML/],
    ['HNSL\x01\x01', /bare Hansel blob/],
    ['version https://git-lfs.github.com/spec/v1\noid sha256:4d7a'.padEnd(130, 'a'), /Git LFS/],
    ['<!DOCTYPE html><html><title>Not found</title>'.padEnd(300, ' '), /HTML/], ['\n<html>'.padEnd(300, ' '), /HTML/],
    ['{"error":"not found"}'.padEnd(90, ' '), /JSON/], ['Not found, sorry.'.padEnd(90, '.'), /text/],
  ]) {
    it(`${kind.source} is named`, async () => {
      await assert.rejects(open(bytes(text)), (error) => {
        assert.match(error.code, /^HANSEL_ERR_(SAFETENSORS|TRUNCATED)$/);
        assert.match(error.message, new RegExp(`not safetensors; this looks like .*${kind.source}`));
        return true;
      });
    });
  }

  it('so is a short one, and an empty one', async () => {
    await assert.rejects(open(new Uint8Array(0)), { message: /looks like an empty file/ });
    await assert.rejects(open(Uint8Array.from('oops', (c) => c.charCodeAt(0))), { message: /looks like text/ });
  });

  it('what is like nothing is told as it is', async () => {
    await assert.rejects(open(new Uint8Array(64).fill(255)), { message: /header too long/ });
    await assert.rejects(open(new Uint8Array(64)), { message: /does not begin with \{/ });
  });
});
