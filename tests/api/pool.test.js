/** Threads: the same results as without, errors that name their place, and an orderly end. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { syncBuiltinESMExports } from 'node:module';
import { promisify } from 'node:util';
import workerThreads from 'node:worker_threads';
import { Encoder } from '../../web/core/encoder.js';
import { HanselError, encode, open } from '../../web/hansel.js';
import { createPool } from '../../web/workers/pool.js';
import { endWorkers, pickWorker } from '../../web/workers/workers.js';

const run = promisify(execFile);
const ROOT = new URL('../..', import.meta.url).pathname;
const SHAPE = [1100, 1003]; // more than a model leaves to one thread; no power of two, odd
const COUNT = SHAPE[0] * SHAPE[1];

/** Weights of every kind of coding. */
function makeTensors() {
  const floats = new Float32Array(COUNT).map((_, i) => Math.sin(i * 1.7) * Math.cos(i * i));
  const bfloats = new Uint16Array(COUNT).map((_, i) => new Uint32Array(floats.buffer)[i] >>> 16);
  return {
    F32: { dtype: 'F32', shape: SHAPE, data: floats },
    BF16: { dtype: 'BF16', shape: SHAPE, data: bfloats },
    I8: { dtype: 'I8', shape: SHAPE, data: new Int8Array(COUNT).map((_, i) => 9 * floats[i]) },
    equal: { dtype: 'I8', shape: SHAPE, data: new Int8Array(COUNT).fill(-3) },
    small: { dtype: 'I8', shape: [3, 5], data: new Int8Array(15).map((_, i) => i) },
    empty: { dtype: 'I8', shape: [0, 5], data: new Int8Array(0) },
  };
}

/** A pool of so many threads; one worker is up at least. @param {number} threads */
async function warmPool(threads, codec) {
  codec ??= await Encoder.create();
  const pool = createPool(codec, threads);
  for (let i = 0; !pickWorker(threads - 1, codec.wasm.module); i++) {
    assert.ok(i < 2000, 'no worker starts');
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
  await pool.run('crc32c', [new Uint8Array(1)]); // loads what it has not yet
  await new Promise((resolve) => { setTimeout(resolve, 5); });
  return pool;
}

const same = (a, b) => Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0;

describe('threads', function () {
  this.timeout(60000);
  const tensors = makeTensors();
  const files = new Map();

  before(async () => {
    for (const options of [{ step: 0.01 }, { lossless: true }]) {
      files.set(JSON.stringify(options), await encode(tensors, options));
    }
  });
  after(endWorkers);

  for (const threads of [2, 3]) {
    it(`encode to the same bytes, cold and warm: ${threads}`, async () => {
      endWorkers();
      for (const [options, file] of files) {
        for (let i = 0; i < 2; i++) {
          assert.ok(same(await encode(tensors, { ...JSON.parse(options), threads }), file));
        }
        await warmPool(threads);
      }
    });

    it(`decode to the same weights: ${threads}`, async () => {
      await warmPool(threads);
      for (const file of files.values()) {
        const one = await open(file);
        const many = await open(file, { threads });
        for (const name of one.tensors.keys()) {
          const { mode, dtype } = one.tensor(name);
          assert.ok(same(await many.decode(name), await one.decode(name)), name);
          assert.ok(same(await many.symbols(name).catch((e) => new Uint8Array(Buffer.from(e.code))),
            await one.symbols(name).catch((e) => new Uint8Array(Buffer.from(e.code)))), name);
          if (mode === 'lossless' && dtype === 'BF16') {
            const wide = { dtype: 'F32' };
            assert.ok(same(await many.decode(name, wide), await one.decode(name, wide)), name);
          }
          let next = 0;
          for await (const { start, bytes } of many.slices(name)) {
            assert.equal(start, next);
            next += bytes.length / (dtype === 'F32' ? 4 : dtype === 'BF16' ? 2 : 1);
          }
          assert.equal(next, one.tensor(name).weights);
          await many.verify(name);
        }
        await Promise.all([one.close(), many.close()]);
      }
    });
  }

  it('result arrays are the caller\'s: not shared, and no views of more', async () => {
    await warmPool(2);
    for (const file of files.values()) {
      const model = await open(file, { threads: 2 });
      for (const name of model.tensors.keys()) {
        const { buffer, byteLength } = await model.decode(name);
        assert.ok(buffer instanceof ArrayBuffer);
        assert.equal(buffer.byteLength, byteLength);
        for await (const { bytes } of model.slices(name)) assert.ok(bytes.buffer instanceof ArrayBuffer);
      }
    }
  });

  it('decode into shared memory when asked to', async () => {
    await warmPool(2);
    for (const file of files.values()) {
      for (const threads of [1, 2]) {
        const model = await open(file, { threads });
        for (const name of model.tensors.keys()) {
          const found = await model.decode(name, { shared: true });
          assert.ok(found.buffer instanceof SharedArrayBuffer);
          assert.ok(same(found, await model.decode(name)), name);
          if (name !== 'F32') continue;
          const narrow = { dtype: 'BF16' };
          assert.ok(same(await model.decode(name, { ...narrow, shared: true }),
            await model.decode(name, narrow)));
        }
      }
    }
  });

  it('share the work with the calling thread, which waits for no worker', async () => {
    const pool = await warmPool(2);
    const bytes = new Uint8Array(1 << 20);
    let here = 0;
    const { codec } = pool;
    codec.crc32c = (...args) => {
      here++;
      return Encoder.prototype.crc32c.apply(codec, args);
    };
    const found = await Promise.all(Array.from({ length: 24 }, () => pool.run('crc32c', [bytes])));
    assert.deepEqual([...new Set(found)], [Encoder.prototype.crc32c.call(codec, bytes)]);
    assert.ok(here >= 1 && here <= 23, `${here} of 24 calls`);
  });

  it('take turns: many decodes at once, of several models', async () => {
    const models = await Promise.all([...files.values()].map((file) => open(file, { threads: 3 })));
    const wanted = await Promise.all([...files.values()].map(async (file) => (await open(file)).decode('F32')));
    const found = await Promise.all([0, 1, 0, 1].map((i) => models[i].decode('F32')));
    for (const [k, i] of [0, 1, 0, 1].entries()) assert.ok(same(found[k], wanted[i]));
  });

  it('name the stream that is damaged, whichever thread has it', async () => {
    const codec = await Encoder.create();
    const file = (await encode({ w: tensors.I8 }, { streamLength: 4096 })).slice();
    const reader = await open(file);
    const { start } = reader.place('w');
    const { blob, cursors } = await reader.payload('w');
    for (const stream of [0, 130, blob.streamCount - 1]) {
      const bad = file.slice();
      const words = start + blob.headBytes + 2 * cursors[stream];
      bad.fill(0, words, words + 16); // states below 2^16
      const errors = [];
      for (const threads of [1, 2]) {
        if (threads > 1) await warmPool(threads, codec);
        const model = await open(bad, { threads });
        await assert.rejects(model.decode('w'), (error) => {
          errors.push(error);
          return error instanceof HanselError && error.code === 'HANSEL_ERR_CORRUPT'
            && error.position === stream && error.where === 'w'
            && error.message.includes(`in stream ${stream}`);
        });
      }
      assert.equal(errors[0].message, errors[1].message);
    }
  });

  it('say at which weight coding fails', async () => {
    await warmPool(2);
    const data = tensors.F32.data.slice();
    data[COUNT - 10] = NaN;
    await assert.rejects(encode({ w: { ...tensors.F32, data } }, { bits: 4, threads: 2 }), (error) => (
      error.code === 'HANSEL_ERR_NOT_FINITE' && error.position === COUNT - 10));
  });

  it('stop for an AbortSignal, and work afterwards', async () => {
    await warmPool(2);
    const [file] = files.values();
    const model = await open(file, { threads: 2 });
    const stop = new AbortController();
    await assert.rejects(model.decode('F32', { signal: stop.signal, onProgress: () => stop.abort() }),
      { code: 'HANSEL_ERR_ABORTED' });
    await assert.rejects(encode(tensors, {
      step: 0.01, threads: 2, signal: stop.signal,
    }), { code: 'HANSEL_ERR_ABORTED' });
    assert.ok(same(await model.decode('F32'), await (await open(file)).decode('F32')));
  });

  it('a worker that dies fails its calls by name; the next call has a new one', async () => {
    endWorkers();
    const { Worker } = workerThreads;
    const started = [];
    workerThreads.Worker = class extends Worker {
      constructor(...args) {
        super(...args);
        started.push(this);
      }
    };
    syncBuiltinESMExports();
    try {
      const pool = await warmPool(2);
      const calls = Array.from({ length: 8 }, () => pool.run('crc32c', [new Uint8Array(16 << 20)]));
      const settled = Promise.allSettled(calls);
      const ended = Promise.all(started.map((thread) => thread.terminate()));
      const failed = (await settled).flatMap(({ reason }) => reason?.code ?? []);
      assert.deepEqual([...new Set(failed)], ['HANSEL_ERR_WORKER']);
      await ended; // of a thread without calls nobody has heard until then
      const crc = pool.codec.crc32c(new Uint8Array(5));
      assert.equal(await pool.run('crc32c', [new Uint8Array(5)]), crc);
      await warmPool(2, pool.codec);
      assert.equal(await pool.run('crc32c', [new Uint8Array(5)]), crc);
      assert.ok(started.length >= 2);
    } finally {
      workerThreads.Worker = Worker;
      syncBuiltinESMExports();
    }
  });

  it('workers that are ended fail their calls', async () => {
    const pool = await warmPool(2);
    const settled = Promise.allSettled([pool.run('crc32c', [new Uint8Array(1 << 20)])]);
    while (!pickWorker(1, pool.codec.wasm.module).waiting.size) await null;
    endWorkers();
    assert.equal((await settled)[0].reason?.code, 'HANSEL_ERR_WORKER');
  });

  it('combined checksums are those of the whole', async () => {
    const codec = await Encoder.create();
    const bytes = new Uint8Array(100000).map((_, i) => i * i);
    for (const cut of [0, 1, 2, 15, 16, 4097, 65535, 99999, 100000]) {
      const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
      assert.equal(codec.crc32cCombine(codec.crc32c(a), codec.crc32c(b), b.length),
        codec.crc32c(bytes));
    }
    const gap = new Uint8Array(1 << 16);
    let crc = codec.crc32c(bytes);
    for (let i = 0; i < 20; i++) crc = codec.crc32c(gap, crc);
    const zeros = codec.crc32c(new Uint8Array(20 << 16));
    assert.equal(codec.crc32cCombine(codec.crc32c(bytes), zeros, 20 << 16), crc);
  });

  it('let the process end, used or idle', async () => {
    const script = `
      import { encode, open } from './web/hansel.js';
      const data = new Int8Array(1 << 21).map((_, i) => i * i % 11);
      const file = await encode({ w: { dtype: 'I8', shape: [2048, 1024], data } }, { threads: 2 });
      await new Promise((resolve) => setTimeout(resolve, 300));
      const model = await open(file, { threads: 2 });
      const out = await model.decode('w');
      console.log(out.every((q, i) => q === data[i]));`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script],
      { cwd: ROOT, timeout: 30000 });
    assert.equal(stdout, 'true\n');
  });

  it('a worker that cannot start is done without', async () => {
    const script = `
      import { Worker } from 'node:worker_threads';
      import { encode, open } from './web/hansel.js';
      const data = new Int8Array(1 << 21).map((_, i) => i * i % 11);
      for (let i = 0; i < 3; i++) {
        const file = await encode({ w: { dtype: 'I8', shape: [2048, 1024], data } }, { threads: 2 });
        const out = await (await open(file, { threads: 2 })).decode('w');
        console.log(out.every((q, i) => q === data[i]));
        await new Promise((resolve) => setTimeout(resolve, 300));
      }`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '--import',
      'data:text/javascript,import w from "node:worker_threads"; import m from "node:module";'
      + 'w.Worker = class { constructor() { throw new Error("forbidden"); } };'
      + 'm.syncBuiltinESMExports();', '-e', script], { cwd: ROOT });
    assert.equal(stdout, 'true\n'.repeat(3));
  });

  it('workers that cannot have their memory are done without, and not started forever', async () => {
    const script = `
      import { encode, open } from './web/hansel.js';
      const data = new Int8Array(1 << 21).map((_, i) => i * i % 11);
      for (let i = 0; i < 4; i++) {
        const file = await encode({ w: { dtype: 'I8', shape: [2048, 1024], data } }, { threads: 3 });
        const out = await (await open(file, { threads: 3 })).decode('w');
        console.log(out.every((q, i) => q === data[i]));
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      console.log(globalThis.started);`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '--import',
      'data:text/javascript,import w from "node:worker_threads"; import m from "node:module";'
      + 'const { Worker } = w; globalThis.started = 0;'
      + 'if (!w.isMainThread) WebAssembly.Instance = class { constructor() { throw new RangeError("full"); } };'
      + 'w.Worker = class extends Worker { constructor(...args) { super(...args); globalThis.started++; } };'
      + 'm.syncBuiltinESMExports();', '-e', script], { cwd: ROOT });
    assert.equal(stdout, `${'true\n'.repeat(4)}2\n`);
  });
});
