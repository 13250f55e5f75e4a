/** Reading one tensor: products on the way, stopping amid them, what HANSEL_TRACE says. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { encode, open } from '../../web/hansel.js';
import { random } from '../gpu/cases.js';

const ROOT = new URL('../..', import.meta.url).pathname;

/** @param {{dtype: string, shape: number[], options?: object}} part */
async function make({ dtype, shape, options = {} }) {
  const r = random(21);
  const floats = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, r.gauss);
  const bits = new Uint32Array(floats.buffer);
  const data = dtype === 'F32' ? floats
    : dtype === 'BF16' ? Uint16Array.from(bits, (n) => n >>> 16)
      : dtype === 'F16' ? Uint16Array.from(bits, (n) => n >>> 16 & 0x8000 | 0x3000 | n & 0xfff)
        : dtype === 'I8' ? Int8Array.from(floats, (v) => Math.round(9 * v))
          : Uint8Array.from(floats, (v) => 128 + 9 * v);
  const always = options.include === undefined;
  return encode({ w: { dtype, shape, data } }, { always, ...options });
}
const PLAIN = { include: 'no such' };

describe('matvec() of a model', () => {
  const CASES = [
    { what: 'a grid', dtype: 'F32', shape: [300, 1000], options: { bits: 5 } },
    { what: 'a BF16 grid', dtype: 'BF16', shape: [40, 100], options: { step: 0.25 } },
    { what: 'a grid, rows in pieces', dtype: 'F32', shape: [9, 50021], options: { bits: 4 } },
    { what: 'a convolution', dtype: 'F32', shape: [32, 17, 3, 3], options: { bits: 5 } },
    { what: 'I8', dtype: 'I8', shape: [70, 3000] },
    { what: 'all equal', dtype: 'F32', shape: [300, 1000], options: { step: 1e6 } },
    { what: 'lossless F32', dtype: 'F32', shape: [333, 450], options: { lossless: true } },
    { what: 'lossless F16', dtype: 'F16', shape: [333, 450], options: { lossless: true } },
    {
      what: 'lossless BF16, rows in pieces', dtype: 'BF16', shape: [5, 50021],
      options: { lossless: true },
    },
    { what: 'F32 not coded', dtype: 'F32', shape: [300, 1000], options: PLAIN },
    { what: 'F16 not coded', dtype: 'F16', shape: [19, 4, 11], options: PLAIN },
    { what: 'I8 not coded', dtype: 'I8', shape: [1234], options: PLAIN },
    { what: 'no rows', dtype: 'I8', shape: [0, 5] },
    { what: 'no columns', dtype: 'I8', shape: [5, 0] },
  ];
  for (const { what, ...part } of CASES) {
    it(`is the loaded matrix's, bit for bit, with any number of threads: ${what}`, async () => {
      const file = await make(part);
      const models = [await open(file), await open(file, { threads: 2 })];
      const loaded = await new WasmBackend().load(models[0], 'w');
      const r = random(22);
      const x = Float32Array.from({ length: loaded.columns }, r.gauss);
      const bias = Float32Array.from({ length: loaded.rows }, r.gauss);
      const halves = new Uint16Array(loaded.columns).map((_, i) => 0x3800 + i % 999);
      for (const model of models) {
        assert.deepEqual(await model.matvec('w', x), await loaded.matvec(x));
        assert.deepEqual(await model.matvec('w', halves, { bias }),
          await loaded.matvec(halves, { bias }));
      }
    });
  }

  it('refuses what cannot be multiplied, before the payload is read', async () => {
    const model = await open(await make({ dtype: 'F32', shape: [30, 40], options: { bits: 5 } }));
    const wrong = { code: 'HANSEL_ERR_ARGUMENT', where: 'w' };
    for (const x of [new Float32Array(39), new Float64Array(40), [], undefined]) {
      await assert.rejects(model.matvec('w', x), wrong);
    }
    const x = new Float32Array(40);
    await assert.rejects(model.matvec('w', x, { bias: new Float32Array(40) }),
      { code: 'HANSEL_ERR_ARGUMENT', where: 'w bias' });
    await assert.rejects(model.matvec('v', x), { code: 'HANSEL_ERR_TENSOR' });
    for (const options of [{}, PLAIN]) {
      const bytes = await open(await make({ dtype: 'U8', shape: [30, 40], options }));
      await assert.rejects(bytes.matvec('w', x), { code: 'HANSEL_ERR_DTYPE', where: 'w' });
    }
  });

  it('finds damage', async () => {
    const file = await make({ dtype: 'F32', shape: [300, 400], options: { bits: 5 } });
    const { start, end } = (await open(file)).place('w');
    for (const at of [start + 40, end - 3000]) {
      const bad = file.slice();
      bad[at] ^= 16;
      await assert.rejects((await open(bad)).matvec('w', new Float32Array(400)), { where: 'w' });
    }
  });
});

describe('a signal', () => {
  const READS = {
    matvec: (model, signal) => model.matvec('w', new Float32Array(1024), { signal }),
    decode: (model, signal) => model.decode('w', { signal }),
    symbols: (model, signal) => model.symbols('w', { signal }),
    verify: (model, signal) => model.verify('w', { signal }),
    rows: (model, signal) => model.rows('w', 0, 2048, { signal }),
    head: (model, signal) => model.head('w', { signal }),
  };
  const files = new Map();
  before(async function () {
    this.timeout(60000);
    for (const options of [{ bits: 5 }, { lossless: true }, { step: 0.1, streamLength: 16 }]) {
      const file = await make({ dtype: 'F32', shape: [2048, 1024], options });
      files.set(Object.keys(options).join(), file);
    }
  });
  /** A model whose source counts the bytes that were asked for, and may stop a reading. */
  async function watched(file, stop) {
    const model = await open(files.get(file));
    const place = model.place('w');
    const { source } = place;
    const seen = { bytes: 0, open: 0 };
    place.source = {
      ...source,
      async read(start, end, { signal } = {}) {
        seen.bytes += end - start;
        return source.read(start, end, { signal });
      },
      async* stream(start, end, { signal } = {}) {
        seen.open++;
        try {
          for await (const chunk of source.stream(start, end, { signal })) {
            for (let at = 0; at < chunk.length; at += 1 << 16) { // as a network gives them
              const some = chunk.subarray(at, at + (1 << 16));
              seen.bytes += some.length;
              if (seen.bytes > 500000) stop();
              yield some;
            }
          }
        } finally {
          seen.open--;
        }
      },
    };
    return { model, seen };
  }
  for (const file of ['bits', 'lossless']) {
    for (const what of ['matvec', 'decode', 'symbols', 'verify']) {
      it(`is heard amid ${what}(): ${file}`, async () => {
        const controller = new AbortController();
        const { model, seen } = await watched(file, () => controller.abort());
        const { bytes } = model.tensor('w');
        await assert.rejects(READS[what](model, controller.signal), { code: 'HANSEL_ERR_ABORTED' });
        assert.ok(seen.bytes < bytes && seen.bytes <= 1 << 20, `${seen.bytes} of ${bytes} bytes`);
        assert.equal(seen.open, 0);
      });
    }
    for (const [what, read] of Object.entries(READS)) {
      it(`is heard before ${what}(): ${file}`, async () => {
        const { model, seen } = await watched(file, () => {});
        await assert.rejects(read(model, AbortSignal.abort()), { code: 'HANSEL_ERR_ABORTED' });
        assert.equal(seen.open, 0);
      });
    }
  }

  it('a head alone takes no more bytes than it must', async () => {
    const { model, seen } = await watched('step,streamLength', () => {});
    await model.head('w');
    const { blob, head } = await model.headOf('w');
    assert.equal(head.length, blob.headBytes);
    assert.ok(blob.headBytes > 1 << 14 && seen.bytes === 2 * blob.headBytes,
      `${seen.bytes} for ${blob.headBytes}`);
  });
});

describe('in a process of its own', function () {
  this.timeout(60000);
  let folder;
  let path;
  const shape = [4096, 2048];
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hansel-reader-'));
    path = join(folder, 'w\n.safetensors');
    await writeFile(path, await make({ dtype: 'F32', shape, options: { bits: 6 } }));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** @param {string} code of a module @param {Record<string, string>} [env] */
  const run = (code, env) => spawnSync(process.execPath, ['--expose-gc', '--input-type=module',
    '-e', `import { open } from './web/hansel.js'; const path = process.argv[1];\n${code}`, path],
  { cwd: ROOT, encoding: 'utf8', env: { ...process.env, HANSEL_TRACE: '', ...env } });

  it('matvec() holds two chunks and a few slices, not the tensor', () => {
    const { stdout, stderr } = run(`
      const held = () => { gc(); return process.memoryUsage().external; };
      const model = await open(path);
      const x = new Float32Array(${shape[1]}).fill(1);
      await model.matvec('w', x); // loads what it needs
      const before = held();
      let peak = 0;
      const { source } = model.place('w');
      const place = model.place('w');
      place.source = { ...source, async* stream(...range) {
        for await (const chunk of source.stream(...range)) {
          yield chunk;
          peak = Math.max(peak, held());
        }
      } };
      await model.matvec('w', x);
      console.log(peak - before);`);
    assert.match(stdout, /^-?\d+\n$/, stderr); // less than before where more was collected
    assert.ok(Number(stdout) < 4 * 2 ** 20, `${stdout} bytes`);
  });

  it('HANSEL_TRACE=1 says what is read and decoded, when, a line each', () => {
    const { stdout, stderr } = run(`
      const model = await open(path);
      await model.decode('w');
      console.log((await import('node:fs')).statSync(path).size);`, { HANSEL_TRACE: '1' });
    const lines = stderr.trim().split('\n').map((line) => {
      const [, ms, event, detail] = /^hansel (\d+\.\d) ms (\w+) (\{.*\})$/.exec(line)
        ?? assert.fail(`not a line of the trace: ${line}`);
      return { ms: Number(ms), event, ...JSON.parse(detail) };
    });
    lines.reduce((before, { ms }) => (assert.ok(ms >= before), ms), 0);
    assert.deepEqual([...new Set(lines.map(({ event }) => event))], ['read', 'head', 'decoded']);
    const of = (wanted) => lines.filter(({ event }) => event === wanted);
    assert.ok(of('read').every(({ source }) => source === path));
    const read = of('read').reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(read >= Number(stdout) && read < Number(stdout) + 1000, `${read} of ${stdout}`);
    assert.equal(of('head').length, 1);
    let weights = 0;
    for (const { tensor, start, count } of of('decoded')) {
      assert.deepEqual([tensor, start], ['w', weights]);
      weights += count;
    }
    assert.equal(weights, shape[0] * shape[1]);
  });

  it('says nothing unless told, and to the console\'s debug lines where a page tells', () => {
    assert.equal(run(`await (await open(path)).head('w');`).stderr, '');
    const { stdout, stderr } = run(`
      globalThis.HANSEL_TRACE = true;
      console.debug = (line) => console.log('debug', line);
      await (await open(path)).head('w');`);
    assert.equal(stderr, '');
    assert.match(stdout, /^debug hansel \d+\.\d ms read /);
  });

  it('has a command line that traces', () => {
    const args = ['web/cli.js', 'verify', path];
    const options = { cwd: ROOT, encoding: 'utf8' };
    assert.doesNotMatch(execFileSync(process.execPath, args, options), /^hansel/m);
    const { status, stderr } = spawnSync(process.execPath, args,
      { ...options, env: { ...process.env, HANSEL_TRACE: '1' } });
    assert.equal(status, 0);
    assert.match(stderr, /^hansel \d+\.\d ms decoded \{"tensor":"w",/m);
  });
});
