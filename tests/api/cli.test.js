/** The command line as users run it: exit codes, streams, files that appear whole or not at all. */
import assert from 'node:assert/strict';
import {
  mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { encode, open } from '../../web/hansel.js';
import { relativeError } from './tensors.js';
import {
  METADATA, TENSORS, bad, cleanUp, folder, gaussian, good, plain, serving, start, until, withInput,
} from './command.js';

after(cleanUp);

describe('hansel', function () {
  this.timeout(60000);

  it('prints help to standard output and succeeds', async () => {
    for (const args of [['--help'], ['-h'], ['help'], ['encode', '--help'], ['serve', '-h']]) {
      const { stdout, stderr } = await good(args);
      assert.equal(stderr, '');
      for (const command of ['encode', 'calibrate', 'plan', 'decode', 'info', 'verify', 'sample', 'serve']) {
        assert.match(stdout, new RegExp(`^  hansel ${command} `, 'm'));
      }
      for (const option of ['--step', '--bits', '--error', '--lossless', '--saturate', '--include',
        '--exclude',
        '--stream-length', '--threads', '--dtype', '--force', '--quiet', '--against', '--rows',
        '--port']) {
        assert.ok(stdout.includes(option), option);
      }
      assert.ok(stdout.split('\n').every((line) => line.length <= 80), 'fits a terminal');
    }
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url),
      'utf8'));
    for (const option of ['--version', '-v', '-V']) {
      assert.equal((await good([option])).stdout, `${version}\n`);
    }
  });

  it('answers wrong usage with exit status 2', async () => {
    const { cwd } = withInput();
    const wrong = [
      [], ['frobnicate'], ['__proto__'], ['toString'], ['--quiet'], ['encode'], ['decode'],
      ['info'], ['verify'],
      ['sample'], ['encode', 'a', 'b'], ['serve', 'a', 'b'],
      ['encode', 'in.safetensors', '--frobnicate'],
      ['encode', 'in.safetensors', '--step'], ['encode', 'in.safetensors', '--quiet=1'],
      ...['abc', '0', '-1', '1/0', '0/1', '1/2/3', 'NaN', 'Infinity', '', '1e-50', '1e50',
        '0x10'].map(
        (step) => ['encode', 'in.safetensors', `--step=${step}`]),
      ['encode', 'in.safetensors', '--bits=0'], ['encode', 'in.safetensors', '--error', 'x'],
      ['encode', 'in.safetensors', '--step', '1', '--bits', '4'],
      ['encode', 'in.safetensors', '--bits', '4', '--lossless'],
      ['encode', 'in.safetensors', '--bits', '4', '--saturate'],
      ['encode', 'in.safetensors', '--saturate'],
      ['encode', 'in.safetensors', '--include', '('],
      ['encode', 'in.safetensors', '--exclude', '['],
      ...['3', '1.5', 'x', '-4', '2147483648', ''].map((s) =>
        ['encode', 'in.safetensors', `--stream-length=${s}`]),
      ['encode', 'in.safetensors', '--precision', '7'],
      ['encode', 'in.safetensors', '--precision', '13'],
      ['encode', 'in.safetensors', '--threads', '0'],
      ['encode', 'in.safetensors', '--threads', '257'],
      ['decode', 'in.safetensors', '--threads', '0'], ['verify', 'in.safetensors', '--threads', 'x'],
      ['encode', 'in.safetensors', '-o', '-', '--json'],
      ['decode', 'in.safetensors', '-o', '-', '--json'],
      ['encode', '-'], ['decode', '-'], ['encode', 'http://127.0.0.1:1/x.safetensors'],
      ['decode', 'in.safetensors', '--dtype', 'F8'], ['decode', 'in.safetensors', '--dtype', 'f32'],
      ['decode', 'in.safetensors', '--bits', '3'], ['info', 'in.safetensors', '--force'],
      ['sample', 'x', '--rows', '0'], ['sample', 'x', '--rows', '1.5'],
      ['serve', '--port', '65536'],
      ['serve', '--port', 'x'], ['encode', 'm.safetensors.index.json', '-o', '-'],
      ['encode', 'm.safetensors.index.json', '-o', 'm.safetensors'],
      ['encode', 'in.safetensors', '-o', ''], ['encode', 'in.safetensors', '--output=', '--force'],
      ['decode', 'in.safetensors', '-o', ''], ['sample', ''], ['sample', '-', '--json'],
      ...['', 'x', '1.5', '-1', '1P', '9000000T'].map((size) => (
        ['decode', 'in.safetensors', `--max-size=${size}`])),
      ['verify', 'a', 'b', '--against', 'c'], ['verify', 'a', '--frobnicate', '--json'],
    ];
    const before = readdirSync(cwd);
    for (let i = 0; i < wrong.length; i += 4) {
      await Promise.all(wrong.slice(i, i + 4).map((args) =>
        bad(args, 'HANSEL_ERR_USAGE', 2, { cwd })));
    }
    assert.deepEqual(readdirSync(cwd), before, 'nothing is written');
  });

  it('answers bad data with exit status 1 and the name of the error', async () => {
    const { cwd, path } = withInput();
    const file = (name) => join(cwd, name);
    await good(['encode', path, '-o', file('ok.safetensors'), '--bits', '5']);
    const coded = readFileSync(file('ok.safetensors'));
    const { start: at } = (await open(coded)).place('model.w');
    coded[at + 300] ^= 4;
    writeFileSync(file('flipped.safetensors'), coded);
    writeFileSync(file('cut.safetensors'), coded.subarray(0, coded.length - 1));
    writeFileSync(file('noise.safetensors'), Buffer.alloc(1000, 'x'));
    const nan = gaussian([64, 64], 1);
    nan.data[77] = NaN;
    writeFileSync(file('nan.safetensors'), plain({ bad: nan }));
    const other = { ...TENSORS, norm: gaussian([64], 9) };
    writeFileSync(file('other.safetensors'), plain(other));
    const { norm: _, ...fewer } = TENSORS;
    writeFileSync(file('fewer.safetensors'), plain(fewer));
    writeFileSync(file('more.safetensors'), plain({ ...TENSORS, more: gaussian([1], 1) }));
    writeFileSync(file('reshaped.safetensors'),
      plain({ ...TENSORS, norm: { ...TENSORS.norm, shape: [8, 8] } }));
    writeFileSync(file('m.safetensors.index.json'), '{"weight_map":{"a":"none.safetensors"}}');
    writeFileSync(file('n.safetensors.index.json'), '{');
    writeFileSync(file('o.safetensors.index.json'), '{"weight_map":{"model.w":"in.safetensors"}}');
    mkdirSync(file('dir'));
    const before = readdirSync(cwd);
    const cases = [
      [['encode', 'none.safetensors'], 'HANSEL_ERR_SOURCE'],
      [['info', 'none'], 'HANSEL_ERR_SOURCE'],
      [['decode', 'none'], 'HANSEL_ERR_SOURCE'], [['verify', 'none'], 'HANSEL_ERR_SOURCE'],
      [['info', 'dir'], 'HANSEL_ERR_SOURCE'],
      [['encode', 'noise.safetensors'], 'HANSEL_ERR_SAFETENSORS'],
      [['info', 'noise.safetensors'], 'HANSEL_ERR_SAFETENSORS'],
      [['info', 'cut.safetensors'], 'HANSEL_ERR_TRUNCATED'],
      [['decode', 'cut.safetensors'], 'HANSEL_ERR_TRUNCATED'],
      [['verify', 'flipped.safetensors'], 'HANSEL_ERR_CHECKSUM'],
      [['verify', 'flipped.safetensors', '--json'], 'HANSEL_ERR_CHECKSUM'],
      [['decode', 'flipped.safetensors'], 'HANSEL_ERR_\\w+'],
      [['encode', 'nan.safetensors', '--bits', '3'], 'HANSEL_ERR_NOT_FINITE: bad'],
      [['encode', 'nan.safetensors', '--step', '1', '--quiet'], 'HANSEL_ERR_NOT_FINITE'],
      [['encode', 'in.safetensors', '--step', '1e-3'], 'HANSEL_ERR_RANGE'],
      [['encode', 'ok.safetensors'], 'HANSEL_ERR_MANIFEST'],
      [['verify', 'in.safetensors'], 'HANSEL_ERR_MANIFEST'],
      ...['other', 'fewer', 'more', 'reshaped'].map((name) => (
        [['verify', 'ok.safetensors', '--against', `${name}.safetensors`], 'HANSEL_ERR_MISMATCH'])),
      [['verify', 'ok.safetensors', '--against', 'none'], 'HANSEL_ERR_SOURCE'],
      [['encode', 'in.safetensors', '-o', 'none/out.safetensors'], 'HANSEL_ERR_SOURCE'],
      [['encode', 'in.safetensors', '-o', 'dir'], 'HANSEL_ERR_SOURCE'],
      [['encode', 'in.safetensors', '-o', 'dir', '--force'], 'HANSEL_ERR_SOURCE'],
      [['encode', 'in.safetensors', '-o', 'new/'], 'HANSEL_ERR_SOURCE'],
      [['encode', 'in.safetensors', '-o', 'x'.repeat(256)], 'HANSEL_ERR_SOURCE'],
      [['decode', 'ok.safetensors', '-o', 'dir', '--force'], 'HANSEL_ERR_SOURCE'],
      [['sample', 'none/x.safetensors', '--rows', '1'], 'HANSEL_ERR_SOURCE'],
      [['encode', 'm.safetensors.index.json'], 'HANSEL_ERR_SOURCE'],
      [['encode', 'n.safetensors.index.json'], 'HANSEL_ERR_INDEX'],
      [['encode', 'o.safetensors.index.json'], 'HANSEL_ERR_INDEX'],
      [['serve', 'none'], 'HANSEL_ERR_SOURCE'],
      [['info', 'http://127.0.0.1:1/x'], 'HANSEL_ERR_SOURCE'],
    ];
    for (let i = 0; i < cases.length; i += 4) {
      await Promise.all(cases.slice(i, i + 4).map(([args, code]) => bad(args, code, 1, { cwd })));
    }
    assert.deepEqual(readdirSync(cwd), before, 'nothing is written, no temporary file is left');
  });

  it('encodes as the API does, byte for byte', async () => {
    const { cwd, path } = withInput();
    const cases = [
      [[], {}], [['--lossless'], { lossless: true }], [['--bits', '4.5'], { bits: 4.5 }],
      [['--error', '0.05'], { error: 0.05 }],
      [['--step', '1/7'], { step: 1 / 7 }], [['--step=1e-2', '--saturate'],
        { step: 0.01, saturate: true }],
      [['--bits', '4', '--include', '^model\\.'], { bits: 4, include: /^model\./ }],
      [['--exclude', 'v$', '--stream-length', '777', '--precision', '11'],
        { exclude: /v$/, streamLength: 777, precision: 11 }],
      [['--bits', '3', '--threads', '3'], { bits: 3 }],
      [['--bits', '3', '--threads', '1'], { bits: 3 }],
    ];
    for (const [args, options] of cases) {
      const expected = Buffer.from(await encode(TENSORS, { ...options, metadata: METADATA }));
      await good(['encode', path, '-o', join(cwd, 'out'), '--force', ...args]);
      assert.ok(readFileSync(join(cwd, 'out')).equals(expected), args.join(' '));
    }
    const expected = Buffer.from(await encode(TENSORS, { bits: 4, metadata: METADATA }));
    const piped = await good(['encode', '-', '-o', '-', '--bits', '4'],
      { input: readFileSync(path) });
    assert.ok(piped.bytes.equals(expected), 'from standard input to standard output');
    const url = await serving(cwd);
    await good(['encode', `${url}in.safetensors`, '-o', join(cwd, 'url'), '--bits', '4']);
    assert.ok(readFileSync(join(cwd, 'url')).equals(expected), 'from a URL');
    assert.deepEqual(readdirSync(cwd).sort(), ['in.safetensors', 'out', 'url']);
  });

  it('decodes to a plain file, from everywhere', async () => {
    const { cwd, path } = withInput();
    await good(['encode', path]);
    await good(['decode', 'in.hansel.safetensors'], { cwd });
    assert.deepEqual(readdirSync(cwd).sort(),
      ['in.decoded.safetensors', 'in.hansel.safetensors', 'in.safetensors']);
    const decoded = await open(join(cwd, 'in.decoded.safetensors'));
    assert.equal(decoded.isCoded, false);
    assert.deepEqual([...decoded.metadata], METADATA);
    for (const [name, { dtype, shape, data }] of Object.entries(TENSORS)) {
      assert.deepEqual(decoded.tensor(name).shape, shape);
      assert.equal(decoded.tensor(name).dtype, dtype);
      assert.deepEqual(await decoded.decode(name), data, name);
    }
    await decoded.close();
    const { bytes } = await good(['decode', '-', '-o', '-'],
      { input: readFileSync(join(cwd, 'in.hansel.safetensors')) });
    assert.ok(bytes.equals(readFileSync(join(cwd, 'in.decoded.safetensors'))));

    await good(['encode', path, '-o', join(cwd, 'grid'), '--step', '1/8', '--saturate']);
    const grid = await open(join(cwd, 'grid'));
    for (const dtype of ['F32', 'F16', 'BF16', 'I8']) {
      const { stdout, stderr } = await good(['decode', 'grid', '--dtype', dtype, '-o', 'plain',
        '--force', '--json'], { cwd });
      assert.equal(stderr, '');
      const { kept, bytes: size, files } = JSON.parse(stdout);
      assert.deepEqual(files, ['plain']);
      assert.equal(statSync(join(cwd, 'plain')).size, size);
      const model = await open(join(cwd, 'plain'));
      const others = [...grid.tensors].filter(([, { mode }]) => mode !== 'grid');
      const unable = dtype === 'I8' ? others.map(([name]) => name) : ['ids'];
      assert.deepEqual(kept.sort(), unable.sort(), dtype);
      for (const [name, { dtype: own }] of grid.tensors) {
        const target = unable.includes(name) ? own : dtype;
        assert.equal(model.tensor(name).dtype, target);
        assert.deepEqual(await model.decode(name), await grid.decode(name, { dtype: target }),
          `${name} ${dtype}`);
      }
      await model.close();
    }
    await grid.close();
    const { stderr } = await good(['decode', 'grid', '--dtype', 'I8', '-o', 'plain', '--force'],
      { cwd });
    assert.match(stderr, /own dtype.*ids/);
  });

  it('info --json has exactly the documented members', async () => {
    const { cwd, path } = withInput();
    await good(['encode', path, '-o', join(cwd, 'out'), '--bits', '5']);
    const raw = Object.values(TENSORS).reduce((sum, { data }) => sum + data.byteLength, 0);
    for (const [name, isCoded] of /** @type {const} */ ([['out', true],
      ['in.safetensors', false]])) {
      const { stdout, stderr } = await good(['info', name, '--json'], { cwd });
      assert.equal(stderr, '');
      const info = JSON.parse(stdout);
      assert.deepEqual(Object.keys(info), ['file', 'tensors', 'bytes', 'raw_bytes']);
      assert.equal(info.file, name);
      assert.equal(info.bytes, statSync(join(cwd, name)).size);
      assert.equal(info.raw_bytes, raw);
      assert.deepEqual(Object.keys(info.tensors).sort(), Object.keys(TENSORS).sort());
      const model = await open(join(cwd, name));
      for (const [tensor, { dtype, shape, data }] of Object.entries(TENSORS)) {
        const t = info.tensors[tensor];
        assert.deepEqual(Object.keys(t), ['dtype', 'shape', 'mode', 'step', 'weights', 'bytes',
          'bits_per_weight', 'entropy_bits', 'expected_error']);
        assert.deepEqual([t.dtype, t.shape, t.weights], [dtype, shape, data.length]);
        const { mode, step, bytes, bits, entropyBits } = model.tensor(tensor);
        assert.deepEqual([t.mode, t.step, t.bytes, t.bits_per_weight, t.entropy_bits],
          [mode, step, bytes, bits, entropyBits]);
        assert.equal(mode, isCoded && shape.length === 2 ? 'grid' : 'pass-through');
        assert.equal(t.entropy_bits === null, mode === 'pass-through');
        assert.equal(t.bits_per_weight, 8 * t.bytes / t.weights);
        if (mode !== 'grid') assert.equal(t.expected_error, 0);
        else assert.ok(Math.abs(t.expected_error / relativeError(await model.decode(tensor), data) - 1) < 0.05);
      }
      await model.close();
      const { stdout: table } = await good(['info', '-'], { input: readFileSync(join(cwd, name)) });
      for (const tensor of Object.keys(TENSORS)) assert.ok(table.includes(`\n${tensor} `), table);
    }
  });

  it('encode --json says what became of each tensor', async () => {
    const { cwd, path } = withInput();
    const { stdout, stderr } = await good(['encode', path, '-o', 'out', '--step', '1/64',
      '--saturate', '--json'], { cwd });
    assert.equal(stderr, '');
    const result = JSON.parse(stdout);
    assert.deepEqual(result.files, ['out']);
    assert.equal(result.bytes, statSync(join(cwd, 'out')).size);
    assert.equal(result.raw_bytes, statSync(path).size);
    const step = 1 / 64;
    const { data } = TENSORS['model.v'];
    const v = result.tensors['model.v'];
    assert.equal(v.saturated, data.filter((w) => w >= 127.5 * step || w < -128.5 * step).length);
    assert.ok(v.saturated > 0 && v.max_error > step);
    assert.deepEqual([v.mode, v.step, v.reason], ['grid', step, '']);
    assert.equal(result.tensors.ids.mode, 'pass-through');
    assert.equal(result.tensors.ids.reason, 'no gain');
  });

  it('verifies, and compares with the original', async () => {
    const { cwd } = withInput();
    await good(['encode', 'in.safetensors', '-o', 'l'], { cwd });
    await good(['encode', 'in.safetensors', '-o', 'g', '--step', '0.125'], { cwd });
    for (const name of ['l', 'g']) {
      const { stdout, stderr } = await good(['verify', name], { cwd });
      assert.equal(stdout, '');
      assert.match(stderr, /6 tensors verified/);
      const alone = JSON.parse((await good(['verify', name, '--json'], { cwd })).stdout);
      const model = await open(join(cwd, name));
      assert.deepEqual(alone, { file: name, ok: true, tensors: Object.fromEntries([...model.tensors]
        .map(([tensor, { mode, weights, bytes }]) => [tensor, { mode, weights, bytes }])) });
      await model.close();
    }
    const against = ['--against', 'in.safetensors', '--json'];
    const lossless = JSON.parse((await good(['verify', 'l', ...against], { cwd })).stdout);
    for (const { mode: _, weights: __, bytes: ___, ...d } of Object.values(lossless.tensors)) {
      assert.deepEqual(d, { max: 0, rms: 0, relative: 0, exact: true });
    }
    const grid = JSON.parse((await good(['verify', 'g', ...against], { cwd })).stdout);
    const model = await open(join(cwd, 'g'));
    for (const [name, d] of Object.entries(grid.tensors)) {
      const values = await model.decode(name);
      const { data } = TENSORS[name];
      if (model.tensor(name).mode !== 'grid') {
        assert.equal(d.exact, true, name);
        continue;
      }
      let max = 0;
      let square = 0;
      let energy = 0;
      for (let i = 0; i < data.length; i++) {
        max = Math.max(max, Math.abs(values[i] - data[i]));
        square += (values[i] - data[i]) ** 2;
        energy += data[i] ** 2;
      }
      assert.equal(d.max, max, name);
      assert.ok(max <= 0.0625 && max > 0.06);
      assert.ok(Math.abs(d.rms / Math.sqrt(square / data.length) - 1) < 1e-9, name);
      assert.ok(Math.abs(d.relative / Math.sqrt(square / energy) - 1) < 1e-9, name);
      assert.equal(d.exact, false);
    }
    await model.close();
    assert.match((await good(['verify', 'g', '--against', 'in.safetensors'], { cwd })).stderr,
      /model\.w +0\.0/);
  });

  it('--quiet says nothing', async () => {
    const { cwd } = withInput();
    for (const args of [['encode', 'in.safetensors', '-o', 'out', '--bits', '4'],
      ['decode', 'out', '-o', 'plain'],
      ['verify', 'out'], ['verify', 'out', '--against', 'in.safetensors'],
      ['sample', 's', '--rows', '1']]) {
      const { stdout, stderr } = await good([...args, '--quiet'], { cwd });
      assert.equal(stdout + stderr, '', args.join(' '));
    }
  });

  it('overwrites only when forced', async () => {
    const { cwd } = withInput();
    await good(['encode', 'in.safetensors', '-o', 'coded'], { cwd });
    for (const args of [['encode', 'in.safetensors', '-o', 'old'],
      ['decode', 'coded', '-o', 'old'], ['sample', 'old', '--rows', '1']]) {
      writeFileSync(join(cwd, 'old'), 'precious');
      const { mtimeMs, ino } = statSync(join(cwd, 'old'));
      await bad(args, 'HANSEL_ERR_EXISTS', 1, { cwd });
      assert.equal(readFileSync(join(cwd, 'old'), 'utf8'), 'precious');
      assert.deepEqual([statSync(join(cwd, 'old')).mtimeMs, statSync(join(cwd, 'old')).ino],
        [mtimeMs, ino]);
      await good([...args, '--force'], { cwd });
      assert.notEqual(readFileSync(join(cwd, 'old'), 'utf8'), 'precious');
    }
    // Onto itself: the input is read to its end before it is replaced.
    const expected = Buffer.from(await encode(TENSORS, { bits: 4, metadata: METADATA }));
    await good(['encode', 'in.safetensors', '-o', 'in.safetensors', '--force', '--bits', '4'],
      { cwd });
    assert.ok(readFileSync(join(cwd, 'in.safetensors')).equals(expected));
    assert.deepEqual(readdirSync(cwd).sort(), ['coded', 'in.safetensors', 'old']);
  });

  it('a reader that goes away is no error', async () => {
    const { child, result } = start(['sample', '-', '--rows', '4000']);
    child.stdout.once('data', () => child.stdout.destroy());
    const { code, stderr } = await result;
    assert.equal(stderr, '');
    assert.equal(code, 0);
  });

  it('codes the shards of an index', async () => {
    const cwd = folder();
    const shards = [['w', 'v'], ['norm'], ['x']].map((names, i) => (
      Object.fromEntries(names.map((name, j) =>
        [`${i}.${name}`, gaussian(name === 'norm' ? [64] : [100, 101 + j], i)]))));
    const map = {};
    for (const [i, tensors] of shards.entries()) {
      const file = `part-${i}.safetensors`;
      writeFileSync(join(cwd, file), plain(tensors, [['format', 'pt']]));
      for (const name of Object.keys(tensors)) map[name] = file;
    }
    const index = { metadata: { total_size: 5, other: 'kept' }, weight_map: map };
    writeFileSync(join(cwd, 'm.safetensors.index.json'), JSON.stringify(index));
    const url = await serving(cwd);
    const out = join(cwd, 'out');
    mkdirSync(out);
    await good(['encode', 'm.safetensors.index.json', '--bits', '5'], { cwd });
    await good(['encode', `${url}m.safetensors.index.json`, '-o',
      'out/m.hansel.safetensors.index.json', '--bits', '5'], { cwd });
    const names = ['m.hansel-00001-of-00003.safetensors', 'm.hansel-00002-of-00003.safetensors',
      'm.hansel-00003-of-00003.safetensors', 'm.hansel.safetensors.index.json'];
    assert.deepEqual(readdirSync(out).sort(), names);
    for (const name of names) {
      assert.ok(readFileSync(join(cwd, name)).equals(readFileSync(join(out, name))), name);
    }
    const written = JSON.parse(readFileSync(join(cwd, names[3]), 'utf8'));
    assert.equal(written.metadata.other, 'kept');
    assert.deepEqual(Object.keys(written.weight_map).sort(), Object.keys(map).sort());
    // The rate is of all shards together, as if they were one file.
    const whole = await open(await encode(Object.assign({}, ...shards), { bits: 5 }));
    const shared = await open(join(cwd, names[3]));
    const grids = [...shared.tensors].filter(([, { mode }]) => mode === 'grid');
    assert.equal(grids.length, 3);
    for (const [name, { step }] of grids) assert.equal(step, whole.tensor(name).step);
    await shared.close();
    const each = await good(['encode', 'm.safetensors.index.json', '--bits', '5', '--each', '--force', '--json'], { cwd });
    for (const { mode, bits_per_weight: bits } of Object.values(JSON.parse(each.stdout).tensors)) {
      assert.ok(mode !== 'grid' || bits <= 5);
    }
    await good(['encode', 'm.safetensors.index.json', '--bits', '5', '--force'], { cwd });
    for (const from of [names[3], `${url}${names[3]}`]) {
      assert.match((await good(['verify', from], { cwd })).stderr, /4 tensors verified/);
      assert.match((await good(['verify', from, '--against', 'm.safetensors.index.json'],
        { cwd })).stderr, /4 tensors verified/);
      const info = JSON.parse((await good(['info', from, '--json'], { cwd })).stdout);
      assert.equal(info.bytes, names.slice(0, 3).reduce((sum, name) =>
        sum + statSync(join(cwd, name)).size, 0));
      assert.equal(Object.values(info.tensors).reduce((sum, { bytes }) => sum + bytes, 0),
        written.metadata.total_size);
      await good(['decode', from, '-o', 'all.safetensors', '--force'], { cwd });
    }
    const [all, coded] = [await open(join(cwd, 'all.safetensors')),
      await open(join(cwd, names[3]))];
    for (const name of Object.keys(map)) {
      assert.deepEqual(await all.decode(name), await coded.decode(name), name);
    }
    await Promise.all([all.close(), coded.close()]);

    // One file in the way: no shard is replaced.
    rmSync(join(out, names[0]));
    rmSync(join(out, names[3]));
    writeFileSync(join(out, names[1]), 'precious');
    await bad(['encode', 'm.safetensors.index.json', '-o', `out/${names[3]}`], 'HANSEL_ERR_EXISTS',
      1, { cwd });
    assert.deepEqual(readdirSync(out).sort(), names.slice(1, 3));
    assert.equal(readFileSync(join(out, names[1]), 'utf8'), 'precious');
  });

  it('serves a folder until Ctrl-C', async () => {
    const { cwd, path } = withInput();
    const { child, result, stderr } = start(['serve', cwd, '--port', '0']);
    await until(() => /http:\S+/.test(stderr()), 'address');
    const url = /http:\S+/.exec(stderr())[0];
    const answer = await fetch(`${url}in.safetensors`, { headers: { Range: 'bytes=8-15' } });
    assert.equal(answer.status, 206);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), readFileSync(path).subarray(8, 16));
    assert.match(await (await fetch(url)).text(), /in\.safetensors/);
    const { port } = new URL(url);
    await bad(['serve', cwd, '--port', port], 'HANSEL_ERR_SOURCE');
    child.kill('SIGINT');
    const { code, stdout } = await result;
    assert.equal(code, 0);
    assert.equal(stdout, '');
    await assert.rejects(fetch(url));
  });
});
