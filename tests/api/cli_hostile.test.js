/** The command line and files, servers and names that mean harm. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { progressLine } from '../../web/cli/terminal.js';
import { open } from '../../web/hansel.js';
import { claim } from './claims.js';
import {
  bad, cleanUp, folder, gaussian, good, plain, run, start, until, withInput,
} from './command.js';

after(cleanUp);

/** Escapes, newlines, an 8-bit control sequence, text that runs backwards, Unicode's new line. */
const NAME = '\u001b[31mred\r\n\t\u0007\u009b2J\u007f\u202egpj.\u2028';
const SHOWN = '\\x1b[31mred\\r\\n\\t\\x07\\x9b2J\\x7f\\u202egpj.\\u2028';
const HARMFUL = /[^\P{Cc}\n]|[\p{Zl}\p{Zp}\p{Bidi_C}]/u;

describe('names that hold control characters', function () {
  this.timeout(60000);

  it('are escaped wherever they are printed', async () => {
    const cwd = folder();
    const file = `${NAME}.safetensors`;
    const tensors = { [NAME]: gaussian([64, 64], 1),
      ids: { dtype: 'I64', shape: [1], data: BigInt64Array.of(1n) } };
    writeFileSync(join(cwd, file), plain(tensors));
    writeFileSync(join(cwd, 'other'), plain({ ...tensors, [NAME]: gaussian([64, 64], 2) }));
    const broken = gaussian([64, 64], 1);
    broken.data[3] = NaN;
    writeFileSync(join(cwd, 'nan'), plain({ [NAME]: broken }));
    const coded = `${NAME}.hansel.safetensors`;
    for (const [args, exit] of [
      [['encode', file], 0], [['encode', file], 1], [['info', file], 0], [['info', coded, file], 0],
      [['verify', coded], 0], [['verify', coded, '--against', file], 0],
      [['verify', coded, '--against', 'other'], 1], [['verify', file], 1],
      [['info', `no${NAME}`], 1], [['encode', 'nan', '--bits', '4'], 1],
      [['decode', coded, '--dtype', 'I8', '-o', `${NAME}.plain`], 0],
      [['encode', file, '-o', `${NAME}/x`], 1], [['serve', NAME], 1], [[NAME], 2],
      [['encode', file, '--include', `(${NAME}`], 2],
    ]) {
      const { code, stdout, stderr } = await run(args, { cwd });
      const all = stdout + stderr;
      assert.equal(code, exit, all);
      assert.doesNotMatch(all, HARMFUL, JSON.stringify(args));
      assert.ok(all.includes(SHOWN), all);
    }
    for (const args of [['info', coded], ['verify', coded], ['info', `no${NAME}`]]) {
      const { stdout, stderr } = await run([...args, '--json'], { cwd });
      assert.doesNotMatch(stdout + stderr, HARMFUL);
      const said = JSON.parse(stdout);
      assert.equal(said.file, args[1]);
      if (said.tensors) assert.ok(NAME in said.tensors);
    }
    assert.doesNotMatch(progressLine(0.5, NAME, 'fit'), HARMFUL);
    assert.ok(progressLine(1, NAME).includes(SHOWN));
  });
});

describe('claims', function () {
  this.timeout(60000);

  it('of terabytes are not decoded unless allowed', async () => {
    const cwd = folder();
    const { start: claimed } = await claim([2 ** 20, 2 ** 20], true);
    assert.ok(claimed.length < 500);
    writeFileSync(join(cwd, 'huge.safetensors'), claimed);
    writeFileSync(join(cwd, 'large'), (await claim([2 ** 10, 2 ** 11], true)).start);
    for (const args of [['huge.safetensors'], ['huge.safetensors', '-o', '-'],
      ['huge.safetensors', '--max-size', '1023G'], ['large', '-o', 'new', '--max-size', '2M']]) {
      const { stderr } = await bad(['decode', ...args], 'HANSEL_ERR_LIMIT', 1, { cwd });
      assert.match(stderr, /--max-size allows \(expected at most \d+, got \d+\)/);
    }
    assert.deepEqual(readdirSync(cwd).sort(), ['huge.safetensors', 'large']);
    await good(['decode', 'large', '-o', 'new', '--max-size', '3m'], { cwd });
    await good(['decode', 'large', '-o', 'new', '--force'], { cwd });
    const model = await open(join(cwd, 'new'));
    assert.ok((await model.decode('w')).every((w) => w === 5));
    await model.close();
    const { child, result } = start(
      ['decode', 'huge.safetensors', '-o', '-', '--max-size', '2T'], { cwd });
    child.stdout.once('data', () => child.stdout.destroy()); // so it does begin
    assert.equal((await result).code, 0);
  });
});

describe('an index behind a URL', function () {
  this.timeout(120000);

  /**
   * Serves what `bodyOf` gives for a path, whole or by ranges.
   * @param {(path: string) => Uint8Array | string | undefined} bodyOf
   */
  async function served(bodyOf) {
    const asked = [];
    const server = createServer(({ url, headers }, response) => {
      asked.push(url);
      const body = bodyOf(url);
      if (body === undefined) return response.writeHead(404).end();
      const bytes = Buffer.from(body);
      const [, from, to] = /=(\d+)-(\d+)/.exec(headers.range);
      const end = Math.min(Number(to) + 1, bytes.length);
      response.writeHead(206, { 'Content-Range': `bytes ${from}-${end - 1}/${bytes.length}` });
      return response.end(bytes.subarray(Number(from), end));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const close = () => {
      server.closeAllConnections();
      server.close();
    };
    return { asked, close, url: `http://127.0.0.1:${server.address().port}/` };
  }

  it('is trusted no more than another, whichever of its downloads is the bad one', async () => {
    const { cwd, path } = withInput();
    const shard = readFileSync(path);
    const names = [...(await open(shard)).tensors.keys()];
    const index = (to) => JSON.stringify(
      { weight_map: Object.fromEntries(names.map((n) => [n, to])) });
    const other = await served(() => shard);
    const AT = '/a/b/m.safetensors.index.json';
    const evil = ['null', '[]', '{', '', '<html>', '{"weight_map":null}', '{"weight_map":{"w":5}}',
      '{"weight_map":["x"]}', index('../../x'), index('/x'), index('//x/y'), index(`${other.url}x`),
      index(`${other.url}x`.slice(5)), index('..\\..\\x'), index('%2e%2e/x/'), index('./x')];
    for (const [i, text] of evil.entries()) {
      const command = i % 4 === 0 ? 'decode' : 'encode';
      for (const nth of command === 'decode' ? [1] : [1, 2]) {
        let downloads = 0;
        const { asked, close, url } = await served((at) => (at === '/a/b/s' ? shard
          : at === AT ? ++downloads === nth ? text : index('s') : undefined));
        await bad([command, `${url}${AT.slice(1)}`, '-o', 'out.safetensors.index.json'],
          text === '' ? 'HANSEL_ERR_HTTP' : 'HANSEL_ERR_INDEX', 1, { cwd });
        assert.deepEqual(asked.filter((at) => at !== AT && at !== '/a/b/s'), [], text);
        close();
      }
    }
    assert.deepEqual(other.asked, [], 'no other host is asked');
    other.close();
    assert.deepEqual(readdirSync(cwd), ['in.safetensors']);
  });

  it('is left behind by requests for its shards, as its query is', async () => {
    const { cwd, path } = withInput();
    const shard = readFileSync(path);
    const names = [...(await open(shard)).tensors.keys()];
    const { asked, close, url } = await served((at) => (at.startsWith('/m.') ? JSON.stringify({
      weight_map: Object.fromEntries(names.map((n) => [n, 'sub dir/s#1'])),
    }) : shard));
    mkdirSync(join(cwd, 'out'));
    await good(['encode', `${url}m.safetensors.index.json?token=secret`, '-o',
      'out/m.safetensors.index.json'], { cwd });
    close();
    assert.deepEqual([...new Set(asked)].sort(),
      ['/m.safetensors.index.json?token=secret', '/sub%20dir/s%231']);
    assert.deepEqual(readdirSync(join(cwd, 'out')).sort(),
      ['m-00001-of-00001.safetensors', 'm.safetensors.index.json']);
  });
});

describe('serve --allow-host', function () {
  this.timeout(60000);

  it('lets a name in', async () => {
    const { child, result, stderr } = start(['serve', folder(), '--port', '0',
      '--allow-host', 'A.example', '--allow-host', 'b.example']);
    await until(() => /http:\S+/.test(stderr()), 'address');
    const { port } = new URL(/http:\S+/.exec(stderr())[0]);
    for (const [host, status] of [['a.example', 200], ['b.example:7', 200], ['c.example', 403]]) {
      const asked = request({ host: '127.0.0.1', port, headers: { host } }).end();
      const [answer] = await once(asked, 'response');
      assert.equal(answer.statusCode, status, host);
      answer.resume();
    }
    child.kill('SIGTERM');
    assert.equal((await result).code, 0);
  });
});
