/** Signals stop every call, errors of onProgress come out, and progress rises to its total. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { encode, open } from '../../web/hansel.js';
import { claim } from './claims.js';
import { as, f32, gaussian } from './tensors.js';

describe('stopping', function () {
  this.timeout(60000);
  const data = gaussian(1000 * 2000, { seed: 6 });
  const tensors = { w: f32([1000, 2000], data), v: f32([1000, 2000], data) };
  const ABORTED = { name: 'HanselError', code: 'HANSEL_ERR_ABORTED' };

  it('before anything', async () => {
    const signal = AbortSignal.abort();
    const file = await encode({ w: f32([64, 64]),
      p: { dtype: 'I32', shape: [1], data: Int32Array.of(1) } }, { step: 0.1 });
    const model = await open(file);
    for (const threads of [1, 2]) {
      await assert.rejects(encode(tensors, { bits: 4, threads, signal }), ABORTED);
    }
    await assert.rejects(open(file, { signal }), ABORTED);
    for (const name of ['w', 'p']) {
      await assert.rejects(model.decode(name, { signal }), ABORTED);
      await assert.rejects(model.verify(name, { signal }), ABORTED);
    }
    await assert.rejects(model.symbols('w', { signal }), ABORTED);
    assert.equal((await model.decode('w')).length, 4096, 'the model still works');
  });

  for (const threads of [1, 3]) {
    it(`while encoding, ${threads} threads: from a timer and from onProgress`, async () => {
      for (const options of [{ bits: 3 }, { error: 0.1 }, { step: 0.1 }, {}]) {
        const stop = new AbortController();
        const timer = setTimeout(() => stop.abort(), 20);
        const start = performance.now();
        const onProgress = () => {
          if (threads === 1 && 'step' in options) stop.abort();
        };
        await assert.rejects(
          encode(tensors, { ...options, threads, signal: stop.signal, onProgress }), ABORTED);
        clearTimeout(timer);
        assert.ok(performance.now() - start < 5000);
      }
    });
  }

  it('while decoding, from a timer and from onProgress', async () => {
    for (const options of [{ bits: 3 }, {}, { include: 'nothing' }]) {
      const model = await open(await encode({ w: f32([4000, 2000],
        new Float32Array(8e6).map((_, i) => data[i % 2e6])) }, options));
      for (const method of ['decode', 'symbols', 'verify']) {
        if (method === 'symbols' && 'include' in options) continue;
        const timer = new AbortController();
        await sleep(20); // by then a turn of the event loop is due
        setImmediate(() => timer.abort());
        await assert.rejects(model[method]('w', { signal: timer.signal }), ABORTED,
          `${method} ${JSON.stringify(options)}`);
        if (method === 'verify') continue;
        const called = new AbortController();
        await assert.rejects(model[method]('w',
          { signal: called.signal, onProgress: () => called.abort() }), ABORTED);
      }
    }
  });

  it('amid 2^40 multiplications that 80 bytes ask for', async () => {
    const model = await open((await claim([2 ** 20, 2 ** 20], true)).start);
    const x = new Float32Array(2 ** 20).fill(1);
    await assert.rejects(model.matvec('w', x, { signal: AbortSignal.timeout(100) }), ABORTED);
  });

  it('leaves no thread behind', async () => {
    const script = `
      import { encode } from ${JSON.stringify(new URL('../../web/hansel.js', import.meta.url).href)};
      const data = new Float32Array(12e6).map((_, i) => Math.sin(i * i));
      for (const when of [5, 60, 150]) {
        const error = await encode({ w: { dtype: 'F32', shape: [4000, 3000], data } },
          { bits: 4, threads: 4, signal: AbortSignal.timeout(when) }).catch((e) => e);
        console.log(error.code);
      }
      const bad = await encode({ w: { dtype: 'F32', shape: [4000, 3000], data: data.fill(NaN) } },
        { bits: 4, threads: 4 }).catch((e) => e);
      console.log(bad.code);`;
    const { stdout } = await promisify(execFile)(process.execPath,
      ['--input-type=module', '-e', script],
      { timeout: 30000 });
    assert.deepEqual(stdout.trim().split('\n'),
      ['HANSEL_ERR_ABORTED', 'HANSEL_ERR_ABORTED', 'HANSEL_ERR_ABORTED',
        'HANSEL_ERR_NOT_FINITE']);
  });

  it('an error thrown by onProgress comes out, and ends the work', async () => {
    const onProgress = () => { throw new RangeError('mine'); };
    for (const threads of [1, 2]) {
      await assert.rejects(encode(tensors, { step: 0.1, threads, onProgress }),
        { name: 'RangeError', message: 'mine' });
    }
    const model = await open(await encode(tensors, { step: 0.1 }));
    await assert.rejects(model.decode('w', { onProgress }),
      { name: 'RangeError', message: 'mine' });
    assert.equal((await model.decode('w')).length, 2e6);
  });
});

describe('progress', function () {
  this.timeout(30000);

  const check = (/** @type {any[]} */ calls, /** @type {number} */ total,
    /** @type {string} */ what) => {
    assert.ok(calls.length > 0, what);
    let last = 0;
    for (const { done, total: of } of calls) {
      assert.equal(of, total, what);
      assert.ok(done >= last && done <= total, `${what}: ${done} after ${last}`);
      last = done;
    }
    assert.equal(last, total, what);
  };

  it('rises to the total', async () => {
    const tensors = {
      w: f32([1000, 1500]), n: f32([10]), b: as('BF16', f32([1000, 1500])),
      i: { dtype: 'I32', shape: [3], data: Int32Array.of(1, 2, 3) }, last: f32([5]),
    };
    for (const options of [{ bits: 4 }, { step: 0.1 }, {}, { bits: 4, threads: 2 }]) {
      const calls = [];
      const file = await encode(tensors, { ...options, onProgress: (p) => calls.push(p) });
      check(calls, 3000018, JSON.stringify(options));
      assert.deepEqual(new Set(calls.map(({ tensor }) => tensor)), new Set(Object.keys(tensors)));
      assert.ok(calls.every(({ phase }) => phase === 'fit' || phase === 'code'));
      const model = await open(file);
      for (const [name, { weights, mode }] of model.tensors) {
        const decoded = [];
        await model.decode(name, { onProgress: (p) => decoded.push(p) });
        check(decoded, weights, name);
        if (mode === 'pass-through') continue;
        const symbols = [];
        await model.symbols(name, { onProgress: (p) => symbols.push(p) });
        check(symbols, weights, `symbols ${name}`);
      }
    }
  });
});
