/** What scripts and terminals may expect of the command line. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  CLI, TENSORS, bad, cleanUp, folder, good, run, serving, start, until, withInput,
} from './command.js';

after(cleanUp);

/** A folder with in.safetensors and coded. */
async function withCoded() {
  const { cwd, path } = withInput();
  await good(['encode', path, '-o', join(cwd, 'coded'), '--bits', '5']);
  return { cwd, path };
}

describe('the command line', function () {
  this.timeout(60000);

  it('names the option that is meant', async () => {
    for (const [args, said] of [
      [['encode', 'x', '--bit', '4'], /no such option; --bits, perhaps\? see|no such option; --bits, perhaps\?; see/],
      [['verify', 'x', '--agains', 'y'], /--against, perhaps/], [['info', 'x', '--zzzzzz'], /no such option; see/],
      [['encode', 'x', '--bits', '-1'], /--bits needs a value; .* --bits=-/],
    ]) {
      assert.match((await bad(args, 'HANSEL_ERR_USAGE', 2)).stderr, said, args.join(' '));
    }
  });

  it('says when --include matches nothing, and counts one tensor as one', async () => {
    const { cwd, path } = withInput();
    const { stderr } = await good(['encode', path, '-o', 'none', '--include', 'zzz'], { cwd });
    assert.match(stderr, /^--include matches no tensor$/m);
    assert.doesNotMatch((await good(['encode', path, '-o', 'some', '--include', '.'], { cwd })).stderr, /matches no/);
    await good(['sample', 'one', '--rows', '1'], { cwd });
    await good(['encode', 'one', '-o', 'coded'], { cwd });
    assert.match((await good(['verify', 'coded'], { cwd })).stderr, /: 1 tensor verified$/m);
  });

  it('loads next to nothing for --help and --version', () => {
    const loaded = new Set();
    const visit = (/** @type {string} */ path) => {
      if (loaded.has(path)) return;
      loaded.add(path);
      const text = readFileSync(path, 'utf8');
      for (const [, name] of text.matchAll(/^(?:import|export)\b[^;'(]*'(\.[^']+)'/gm)) {
        visit(join(dirname(path), name));
      }
    };
    visit(CLI);
    const web = fileURLToPath(new URL('../../web/', import.meta.url));
    assert.deepEqual([...loaded].map((path) => path.slice(web.length)).sort(),
      ['cli.js', 'cli/cli.js', 'cli/terminal.js', 'core/errors.js']);
  });

  it('takes several files, and a bad one does not keep the others from their turn', async () => {
    const { cwd } = await withCoded();
    const info = await run(['info', 'coded', 'none', 'in.safetensors'], { cwd });
    assert.equal(info.code, 1);
    assert.match(info.stderr, /^hansel: HANSEL_ERR_SOURCE: none: [^\n]*\n$/);
    assert.match(info.stdout, /^coded: [^]*^in\.safetensors: /m);
    const verify = await run(['verify', 'in.safetensors', 'coded', 'none'], { cwd });
    assert.equal(verify.code, 1);
    assert.match(verify.stderr, new RegExp('^hansel: HANSEL_ERR_MANIFEST: in.safetensors: [^\n]*\n'
      + `coded: ${Object.keys(TENSORS).length} tensors verified\n`
      + 'hansel: HANSEL_ERR_SOURCE: none: .*\n$'));
    assert.match((await good(['verify', 'coded', 'coded'], { cwd })).stderr, /^(coded: .*\n){2}$/);
    writeFileSync(join(cwd, 'noise'), Buffer.alloc(100));
    const { stderr } = await bad(['info', 'noise'], 'HANSEL_ERR_SAFETENSORS', 1, { cwd });
    assert.match(stderr, /: noise: /, 'a file is named where the error does not');
  });

  it('--json has a line a file, and errors in them', async () => {
    const { cwd } = await withCoded();
    const lines = (/** @type {string} */ text) => (
      text.trimEnd().split('\n').map((line) => JSON.parse(line)));
    const files = ['none', 'coded', 'in.safetensors'];
    const info = await run(['info', ...files, '--json'], { cwd });
    assert.equal(info.code, 1);
    assert.match(info.stderr, /^hansel: HANSEL_ERR_SOURCE: none: [^\n]*\n$/, 'and nothing else');
    assert.deepEqual(lines(info.stdout).map(({ file, error, tensors }) => [file, error?.code,
      Boolean(tensors)]), [['none', 'HANSEL_ERR_SOURCE', false], ['coded', undefined, true],
      ['in.safetensors', undefined, true]]);
    const verify = await run(['verify', ...files, '--json'], { cwd });
    assert.equal(verify.code, 1);
    assert.deepEqual(lines(verify.stdout).map(({ file, ok, error }) => [file, ok, error?.code]), [
      ['none', false, 'HANSEL_ERR_SOURCE'], ['coded', true, undefined],
      ['in.safetensors', false, 'HANSEL_ERR_MANIFEST']]);
    assert.ok(!verify.stdout.includes('null'));
  });

  it('--json gives an error whole, numbers beyond 2^53 too', async () => {
    const { cwd } = await withCoded();
    const { stdout } = await bad(['verify', 'coded', '--against', 'none', '--json'],
      'HANSEL_ERR_SOURCE', 1, { cwd });
    assert.deepEqual(Object.keys(JSON.parse(stdout)), ['file', 'ok', 'error']);
    const encode = await bad(['encode', 'coded', '-o', 'x', '--json'], 'HANSEL_ERR_MANIFEST', 1,
      { cwd });
    const { error } = JSON.parse(encode.stdout);
    const { got } = error;
    const expected = 'a plain safetensors file';
    assert.deepEqual(error, { code: 'HANSEL_ERR_MANIFEST', expected, got, where: 'coded',
      message: 'coded: the file is coded already; decode it first '
        + `(expected ${expected}, got ${got})` });
    await bad(['encode', 'coded', '--json', '--frobnicate'], 'HANSEL_ERR_USAGE', 2, { cwd });
    writeFileSync(join(cwd, 'long'), Buffer.from('ffffffffffffff7f7b7d', 'hex'));
    await bad(['info', 'long', '--json'], 'HANSEL_ERR_\\w+', 1, { cwd });
    await bad(['decode', 'long', '--json'], 'HANSEL_ERR_\\w+', 1, { cwd });
  });

  it('calls standard input so', async () => {
    const { cwd } = await withCoded();
    const env = { TMPDIR: cwd };
    const coded = readFileSync(join(cwd, 'coded'));
    const plain = readFileSync(join(cwd, 'in.safetensors'));
    const cut = coded.subarray(0, -1);
    for (const [args, input, exit] of [
      [['info', '-'], coded, 0], [['verify', '-'], coded, 0],
      [['verify', '-', '--quiet'], plain, 1], [['info', '-'], cut, 1],
      [['encode', '-', '-o', 'x'], coded, 1], [['decode', '-', '-o', 'x'], cut, 1],
      [['info', '-'], new Uint8Array(0), 1], [['verify', 'coded', '--against', '-'], coded, 0],
      [['verify', '-', '--against', 'none'], coded, 1],
    ]) {
      for (const json of [[], ['--json']]) {
        const { code, stdout, stderr } = await run([...args, ...json], { cwd, env, input });
        assert.equal(code, exit, `${args.join(' ')}: ${stderr}`);
        assert.doesNotMatch(stdout + stderr, /\.hansel-|\.tmp/);
        if (json.length && args[1] === '-' && args[0] !== 'encode' && args[0] !== 'decode') {
          assert.equal(JSON.parse(stdout).file, '-');
        } else if (args.length === 2) assert.match(stdout + stderr, /standard input: /);
      }
    }
    await good(['verify', '-', '--against', 'in.safetensors'], { cwd, env, input: coded });
    await good(['verify', 'coded', '--against', '-'], { cwd, env, input: plain });
    assert.deepEqual(readdirSync(cwd).sort(), ['coded', 'in.safetensors']);
  });

  it('tells in a line what a server answers', async () => {
    const url = await serving(folder());
    const { stderr } = await bad(['info', `${url}x.safetensors?token=secret`], 'HANSEL_ERR_HTTP');
    assert.equal(stderr, `hansel: HANSEL_ERR_HTTP: ${url}x.safetensors: not found (404)\n`);
  });
});

describe('output that cannot be written', function () {
  this.timeout(60000);

  it('to a full device is an error', async () => {
    const { cwd } = await withCoded();
    for (const args of [['--version'], ['--help'], ['help'], ['info', 'coded'],
      ['info', 'coded', '--json'], ['info', 'coded', 'coded'], ['verify', 'coded', '--json'],
      ['info', 'none', '--json'], ['encode', 'in.safetensors', '-o', 'new', '--json'],
      ['encode', 'in.safetensors', '-o', '-', '--quiet'],
      ['decode', 'coded', '-o', '-'], ['decode', 'coded', '-o', 'plain', '--json'],
      ['sample', '-', '--rows', '1']]) {
      const child = spawn(process.execPath, [CLI, ...args],
        { cwd, stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'] });
      let stderr = '';
      child.stderr.on('data', (chunk) => { stderr += chunk; });
      const [code] = await once(child, 'close');
      assert.equal(code, 1, args.join(' '));
      assert.match(stderr, args.includes('none') ? /^hansel: HANSEL_ERR_SOURCE: none: [^\n]*\n/
        : /^hansel: HANSEL_ERR_SOURCE: standard output: no room to write it \(got ENOSPC[^\n]*\n$/);
    }
    assert.ok(readdirSync(cwd).includes('new'), 'the file is there, if not what was said of it');
  });

  it('to a file is told in a line, and leaves none', async () => {
    const { cwd } = await withCoded();
    const before = readdirSync(cwd);
    for (const args of [['encode', 'in.safetensors', '-o', 'new'], ['encode', '-', '-o', 'new'],
      ['decode', 'coded', '-o', 'new'], ['sample', 'new', '--rows', '8']]) {
      const child = spawn('bash',
        ['-c', 'ulimit -f 20; exec "$@"', 'bash', process.execPath, CLI, ...args],
        { cwd, env: { ...process.env, TMPDIR: cwd } });
      child.stdin.on('error', () => {});
      child.stdin.end(readFileSync(join(cwd, 'in.safetensors')));
      let stderr = '';
      child.stderr.on('data', (chunk) => { stderr += chunk; });
      const [code] = await once(child, 'close');
      assert.equal(code, 1, stderr);
      assert.match(stderr,
        /^hansel: HANSEL_ERR_SOURCE: \S[^\n]*: no room to write it \(got EFBIG: file too large\)\n$/);
      assert.deepEqual(readdirSync(cwd), before, args.join(' '));
    }
  });

  it('to a pipe that its reader closes is no error, and says nothing', async () => {
    const { cwd } = await withCoded();
    for (const args of [['info', ...Array(50).fill('coded')],
      ['encode', 'in.safetensors', '-o', '-', '--quiet'], ['sample', '-', '--rows', '100']]) {
      const { child, result } = start(args, { cwd });
      child.stdout.destroy();
      const { code, stderr } = await result;
      assert.equal(stderr, '');
      assert.equal(code, 0);
    }
  });

  it('an input that changes meanwhile is told in a line, and leaves none', async () => {
    const cwd = folder();
    await good(['sample', 'in', '--rows', '4000'], { cwd });
    const { child, result } = start(['encode', 'in', '-o', 'out', '--step', '1/16'], { cwd });
    await until(() => readdirSync(cwd).length > 1 || child.exitCode !== null, 'temporary file');
    utimesSync(join(cwd, 'in'), 1, 1);
    const { code, stderr } = await result;
    assert.equal(code, 1);
    assert.match(stderr, /^hansel: HANSEL_ERR_CHANGED: [^\n]*was written to while it was read\n$/);
    assert.deepEqual(readdirSync(cwd), ['in']);
  });
});
