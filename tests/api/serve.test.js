/** The static server: what it sends, what it refuses, and that nothing takes it down. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync,
} from 'node:fs';
import { get, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serve } from '../../web/cli/serve.js';

const ISOLATION = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'cross-origin',
  'cache-control': 'no-cache',
  'x-content-type-options': 'nosniff',
};
const BIG = 48 * 2 ** 20; // beyond what sockets buffer
const data = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 251);

async function readAll(answer) {
  const chunks = [];
  for await (const chunk of answer) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('serve', () => {
  let temporary = '';
  let root = '';
  let server = { url: '', port: 0, close: async () => {} };
  const log = [];

  /** Unlike fetch, sends the path as it is. */
  async function ask(path, { method = 'GET', headers = {} } = {}) {
    const asked = request({ host: '127.0.0.1', port: server.port, path, method, headers }).end();
    const [answer] = await once(asked, 'response');
    const body = await readAll(answer);
    return { status: answer.statusCode, headers: answer.headers, body, text: body.toString() };
  }

  async function statusOf(path, options) {
    return (await ask(path, options)).status;
  }

  before(async () => {
    temporary = mkdtempSync(join(tmpdir(), 'hansel-serve-'));
    root = join(temporary, 'root');
    for (const dir of ['root', 'root/sub', 'root/page', 'root/.git', 'rootbeer', 'lib']) {
      mkdirSync(join(temporary, dir));
    }
    const files = {
      'root/data.safetensors': data,
      'root/empty.bin': '',
      'root/big.bin': '',
      'root/sub/<img src=x onerror=alert(1)>&"\'.txt': 'x',
      'root/sub/a%41 ü#?.txt': 'name',
      'root/page/index.html': '<p>page</p>',
      'root/.secret': 'secret',
      'root/.git/config': 'secret',
      'rootbeer/secret.txt': 'secret',
      'secret.txt': 'secret',
      'lib/lib.mjs': 'export {};',
      'lib/.hidden': 'secret',
    };
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(temporary, name), content);
    }
    truncateSync(join(root, 'big.bin'), BIG);
    symlinkSync('data.safetensors', join(root, 'inside-link'));
    symlinkSync('../secret.txt', join(root, 'outside-link'));
    symlinkSync('../rootbeer', join(root, 'outside-dir'));
    symlinkSync('.git', join(root, 'link-to-hidden'));
    symlinkSync('loop', join(root, 'loop'));
    execFileSync('mkfifo', [join(root, 'pipe')]);
    server = await serve(root, {
      mounts: { '/lib/': join(temporary, 'lib'), '/sub/deep/': join(temporary, 'lib') },
      allowedHosts: ['allowed.example'],
      onRequest: (served) => log.push(served),
    });
  });

  after(async () => {
    await server.close();
    rmSync(temporary, { recursive: true });
  });

  describe('whole files', () => {
    it('sends bytes, length, validators and the isolation headers', async () => {
      const { status, headers, body } = await ask('/data.safetensors?version=1');
      assert.equal(status, 200);
      assert.deepEqual(new Uint8Array(body), data);
      assert.equal(headers['content-length'], '1000');
      assert.equal(headers['content-type'], 'application/octet-stream');
      assert.equal(headers['accept-ranges'], 'bytes');
      assert.match(headers.etag, /^"3e8-[0-9a-f]+"$/);
      assert.ok(Math.abs(Date.parse(headers['last-modified']) - Date.now()) < 600_000);
      for (const [name, value] of Object.entries(ISOLATION)) assert.equal(headers[name], value);
    });

    it('sends the isolation headers with errors and lists too', async () => {
      for (const path of ['/absent', '/sub/', '/%']) {
        const { headers } = await ask(path);
        for (const [name, value] of Object.entries(ISOLATION)) {
          assert.equal(headers[name], value, `${path}: ${name}`);
        }
      }
    });

    it('knows the types', async () => {
      const types = {
        html: 'text/html; charset=utf-8',
        js: 'text/javascript; charset=utf-8',
        mjs: 'text/javascript; charset=utf-8',
        css: 'text/css; charset=utf-8',
        json: 'application/json',
        wasm: 'application/wasm',
        wgsl: 'text/wgsl; charset=utf-8',
        glsl: 'text/plain; charset=utf-8',
        safetensors: 'application/octet-stream',
        svg: 'image/svg+xml',
        PNG: 'image/png',
        txt: 'text/plain; charset=utf-8',
        md: 'text/markdown; charset=utf-8',
        unknown: 'application/octet-stream',
      };
      for (const [extension, type] of Object.entries(types)) {
        writeFileSync(join(root, `page/type.${extension}`), 'x');
        const { headers } = await ask(`/page/type.${extension}`);
        assert.equal(headers['content-type'], type);
      }
    });

    it('answers HEAD like GET, without the body and without ranges', async () => {
      const whole = await ask('/data.safetensors');
      const head = await ask('/data.safetensors', {
        method: 'HEAD', headers: { range: 'bytes=0-1' },
      });
      assert.equal(head.status, 200);
      assert.equal(head.body.length, 0);
      assert.equal(head.headers['content-length'], '1000');
      assert.equal(head.headers.etag, whole.headers.etag);
      const list = await ask('/sub/', { method: 'HEAD' });
      assert.deepEqual([list.status, list.body.length], [200, 0]);
      assert.equal(list.headers['content-length'], (await ask('/sub/')).headers['content-length']);
    });

    it('sends an empty file', async () => {
      const { status, headers, body } = await ask('/empty.bin');
      assert.deepEqual([status, headers['content-length'], body.length], [200, '0', 0]);
    });

    it('refuses other methods', async () => {
      for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
        const { status, headers } = await ask('/data.safetensors', { method });
        assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
      }
    });
  });

  describe('ranges', () => {
    for (const [range, start, end] of [
      ['bytes=0-0', 0, 1], ['bytes=0-99', 0, 100], ['bytes=500-', 500, 1000],
      ['bytes=999-', 999, 1000], ['bytes=990-5000', 990, 1000], ['bytes=-1', 999, 1000],
      ['bytes=-100', 900, 1000], ['bytes=-5000', 0, 1000], ['BYTES=1-2', 1, 3],
      ['bytes=0-99999999999999999999999', 0, 1000],
    ]) {
      it(`${range} is 206 with [${start}, ${end})`, async () => {
        const { status, headers, body } = await ask('/data.safetensors', { headers: { range } });
        assert.equal(status, 206);
        assert.equal(headers['content-range'], `bytes ${start}-${end - 1}/1000`);
        assert.equal(headers['content-length'], String(end - start));
        assert.deepEqual(new Uint8Array(body), data.subarray(start, end));
      });
    }

    for (const range of [
      'bytes=1000-', 'bytes=1000-1001', 'bytes=-0', 'bytes=99999999999999999-',
    ]) {
      it(`${range} is 416 with the size`, async () => {
        const { status, headers } = await ask('/data.safetensors', { headers: { range } });
        assert.deepEqual([status, headers['content-range']], [416, 'bytes */1000']);
      });
    }

    it('has no range of an empty file', async () => {
      for (const range of ['bytes=0-', 'bytes=-1']) {
        const { status, headers } = await ask('/empty.bin', { headers: { range } });
        assert.deepEqual([status, headers['content-range']], [416, 'bytes */0']);
      }
    });

    for (const range of [
      'bytes=2-1', 'bytes=-', 'bytes=', 'bytes=a-b', 'bytes=0-1,5-6', 'lines=0-1', 'bytes=1--2',
      'bytes=0x1-2',
    ]) {
      it(`${range} is ignored`, async () => {
        const { status, body } = await ask('/data.safetensors', { headers: { range } });
        assert.deepEqual([status, body.length], [200, 1000]);
      });
    }
  });

  describe('conditions', () => {
    it('If-None-Match of the ETag is 304 without a body', async () => {
      const { headers: { etag } } = await ask('/data.safetensors');
      for (const tags of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
        const answer = await ask('/data.safetensors', { headers: { 'if-none-match': tags } });
        assert.deepEqual([answer.status, answer.body.length], [304, 0], tags);
        assert.equal(answer.headers.etag, etag);
      }
      const other = { headers: { 'if-none-match': '"3e8-0"' } };
      assert.equal(await statusOf('/data.safetensors', other), 200);
    });

    it('If-Modified-Since counts only where If-None-Match is absent', async () => {
      const since = (await ask('/data.safetensors')).headers['last-modified'];
      const before = new Date(Date.parse(since) - 1000).toUTCString();
      const askSince = (headers) => statusOf('/data.safetensors', { headers });
      assert.equal(await askSince({ 'if-modified-since': since }), 304);
      assert.equal(await askSince({ 'if-modified-since': before }), 200);
      assert.equal(await askSince({ 'if-modified-since': 'yesterday' }), 200);
      assert.equal(await askSince({ 'if-modified-since': since, 'if-none-match': '"x"' }), 200);
    });

    it('If-Range lets a range through only for the very file', async () => {
      const { etag, 'last-modified': modified } = (await ask('/data.safetensors')).headers;
      const askIf = (condition) => statusOf('/data.safetensors', {
        headers: { range: 'bytes=0-9', 'if-range': condition },
      });
      assert.equal(await askIf(etag), 206);
      assert.equal(await askIf(modified), 206);
      assert.equal(await askIf('"3e8-0"'), 200);
      assert.equal(await askIf(`W/${etag}`), 200);
      assert.equal(await askIf(new Date(0).toUTCString()), 200);
    });

    it('the ETag changes with the size and with the time', async () => {
      const path = join(root, 'page/changing.txt');
      const tags = [];
      for (const [content, time] of [['one', 1e9], ['four', 1e9], ['four', 1e9 + 0.001]]) {
        writeFileSync(path, content);
        utimesSync(path, time, time);
        tags.push((await ask('/page/changing.txt')).headers.etag);
      }
      assert.equal(new Set(tags).size, 3, tags.join());
    });
  });

  describe('directories', () => {
    it('are redirected to their slash, on this server', async () => {
      for (const [path, location] of [
        ['/page', '/page/'], ['/page?a=b', '/page/?a=b'], ['/lib', '/lib/'],
        ['//page', '/page/'], ['/sub/deep', '/sub/deep/'],
      ]) {
        const { status, headers } = await ask(path);
        assert.deepEqual([status, headers.location], [301, location], path);
      }
    });

    it('are answered by index.html', async () => {
      const { status, headers, text } = await ask('/page/');
      assert.deepEqual([status, text], [200, '<p>page</p>']);
      assert.equal(headers['content-type'], 'text/html; charset=utf-8');
      assert.ok(headers.etag);
    });

    it('are listed: names escaped, sizes, mounts, nothing that is not served', async () => {
      const top = await ask('/');
      assert.equal(top.headers['content-type'], 'text/html; charset=utf-8');
      assert.match(top.text, /^<!doctype html>\n<html lang="en">/);
      assert.match(top.text, /<a href="\.\/data\.safetensors">data\.safetensors<\/a>/);
      assert.match(top.text, /<td>1,000<\/td>/);
      assert.match(top.text, /<a href="\.\/inside-link">/);
      assert.match(top.text, /<a href="\.\/sub\/">sub\/<\/a>/);
      assert.match(top.text, /<a href="\.\/lib\/">lib\/<\/a>/);
      assert.doesNotMatch(top.text, /secret|git|outside|hidden|loop|pipe|deep|Parent/);
      const { text } = await ask('/sub/');
      assert.match(text, /<a href="\.\.\/">Parent directory<\/a>/);
      assert.match(text, /<a href="\.\/deep\/">/);
      assert.match(text, /&#60;img src=x onerror=alert\(1\)&#62;&#38;&#34;&#39;\.txt<\/a>/);
      assert.doesNotMatch(text, /<img/);
    });

    it('link to files that are there', async () => {
      const { text } = await ask('/sub/');
      const links = [...text.matchAll(/href="(\.\/[^"]+)"/g)].map(([, href]) => href);
      assert.equal(links.length, 3);
      for (const link of links) {
        assert.equal((await fetch(new URL(link, `${server.url}sub/`))).status, 200, link);
      }
    });

    it('are no files, and files no directories', async () => {
      assert.equal(await statusOf('/data.safetensors/'), 404);
      assert.equal(await statusOf('/data.safetensors/x'), 404);
    });
  });

  describe('mounts', () => {
    it('serve their directory under their path only', async () => {
      for (const path of ['/lib/lib.mjs', '/sub/deep/lib.mjs']) {
        assert.equal((await ask(path)).text, 'export {};', path);
      }
      for (const path of ['/lib.mjs', '/library/lib.mjs', '/lib/.hidden', '/lib/../secret.txt']) {
        assert.equal(await statusOf(path), 404, path);
      }
    });

    it('need a path between slashes, and a directory', async () => {
      for (const path of ['lib/', '/lib', '', '//', '/a//b/', '/../', '/./']) {
        await assert.rejects(serve(root, { mounts: { [path]: root } }),
          { code: 'HANSEL_ERR_ARGUMENT' }, path);
      }
      await assert.rejects(serve(root, { mounts: { '/x/': join(root, 'absent') } }),
        { code: 'HANSEL_ERR_SOURCE' });
    });
  });

  describe('refuses', () => {
    for (const [path, status] of [
      ['/../secret.txt', 404], ['/sub/../../secret.txt', 404], ['/%2e%2e/secret.txt', 404],
      ['/..%2fsecret.txt', 404], ['/..%5csecret.txt', 404], ['/%252e%252e/secret.txt', 404],
      ['/../rootbeer/secret.txt', 404], ['//../secret.txt', 404], ['/sub/./', 404],
      ['/.secret', 404], ['/%2esecret', 404], ['/.git/config', 404], ['/.git/', 404],
      ['/link-to-hidden/config', 404], ['/outside-link', 403], ['/outside-dir/secret.txt', 403],
      ['/outside-dir/', 403], ['/loop', 404], ['/pipe', 404], ['/absent', 404],
      [`/${'x'.repeat(1000)}`, 404], ['/data.safetensors%00.txt', 400], ['/%', 400],
      ['/%zz', 400], ['/%c3%28', 400], ['/%ff', 400], ['http://127.0.0.1/data.safetensors', 400],
    ]) {
      it(`${path.slice(0, 40)} with ${status}`, async () => {
        const answer = await ask(path);
        assert.equal(answer.status, status);
        assert.doesNotMatch(answer.text, /secret/);
      });
    }

    it('host names that are not its own, which a foreign page could lead here', async () => {
      const status = (/** @type {string} */ host) => statusOf('/data.safetensors', { headers: { host } });
      for (const host of ['localhost', 'LocalHost:8080', 'localhost.', 'a.localhost:1', '127.0.0.1',
        '192.168.1.7:80', '[::1]', '[fe80::1]:8080', 'allowed.example', 'Allowed.example:99']) {
        assert.equal(await status(host), 200, host);
      }
      for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '[evil]',
        'notlocalhost', ' ', 'allowed.example.evil', '[::1', '::1']) {
        assert.equal(await status(host), 403, host);
      }
      const { text } = await ask('/', { headers: { host: 'evil.example' } });
      assert.match(text, /^403: .*--allow-host/);
      const named = await serve(root, { host: 'localhost' });
      assert.equal((await fetch(named.url)).status, 200);
      await named.close();
    });

    it('a second decoding: %25 stands for a percent sign', async () => {
      assert.equal((await ask(`/sub/${encodeURIComponent('a%41 ü#?.txt')}`)).text, 'name');
      assert.equal(await statusOf('/sub/aA%20%c3%bc%23%3f.txt'), 404);
    });
  });

  describe('lasts', () => {
    it('streams a big file, and survives clients that leave', async () => {
      for (let i = 0; i < 20; i++) {
        const socket = connect(server.port, '127.0.0.1');
        socket.write('GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n');
        if (i % 2) await once(socket, 'data');
        socket.resetAndDestroy();
        await once(socket, 'close');
      }
      const { status, body } = await ask('/big.bin', { headers: { range: 'bytes=-20000000' } });
      assert.deepEqual([status, body.length], [206, 20_000_000]);
    });

    it('survives what is not HTTP', async () => {
      const socket = connect(server.port, '127.0.0.1');
      socket.end('\0\x01 nonsense\r\n\r\n');
      const [reply] = await once(socket, 'data');
      assert.match(String(reply), /^HTTP\/1\.1 400 /);
      assert.equal(await statusOf('/empty.bin'), 200);
    });

    it('breaks the connection when a file shrinks under it', async () => {
      writeFileSync(join(root, 'page/shrinking.bin'), '');
      truncateSync(join(root, 'page/shrinking.bin'), BIG);
      const [answer] = await once(get(`${server.url}page/shrinking.bin`), 'response');
      await once(answer, 'readable');
      truncateSync(join(root, 'page/shrinking.bin'), 10);
      await assert.rejects(readAll(answer), { code: 'ECONNRESET' });
    });

    it('tells onRequest of every answer once it has ended', async () => {
      log.length = 0;
      await ask('/data.safetensors?x', { headers: { range: 'bytes=5-9' } });
      await ask('/absent', { method: 'HEAD' });
      while (log.length < 2) await new Promise((done) => { setTimeout(done, 5); });
      assert.deepEqual(log, [
        { method: 'GET', url: '/data.safetensors?x', range: 'bytes=5-9', status: 206, bytes: 5 },
        { method: 'HEAD', url: '/absent', range: undefined, status: 404, bytes: 0 },
      ]);
    });
  });

  describe('starts', () => {
    it('says which port is in use', async () => {
      await assert.rejects(serve(root, { port: server.port }), {
        name: 'HanselError', code: 'HANSEL_ERR_SOURCE',
        message: `port ${server.port} of 127.0.0.1 is in use`,
      });
    });

    it('refuses what is no port, and what is no directory', async () => {
      for (const port of [-1, 65536, 1.5, NaN, '80']) {
        await assert.rejects(serve(root, { port }), { code: 'HANSEL_ERR_ARGUMENT' }, `${port}`);
      }
      for (const name of ['absent', 'data.safetensors']) {
        await assert.rejects(serve(join(root, name)), { code: 'HANSEL_ERR_SOURCE' }, name);
      }
    });

    it('names a URL that works, and closes at once, open downloads or not', async () => {
      const second = await serve(root);
      assert.equal(second.url, `http://127.0.0.1:${second.port}/`);
      const [answer] = await once(get(`${second.url}big.bin`), 'response');
      await second.close();
      await assert.rejects(readAll(answer), { code: 'ECONNRESET' });
      await assert.rejects(fetch(second.url));
      await second.close();
    });

    it('names localhost when it listens everywhere', async () => {
      const second = await serve(root, { host: '0.0.0.0' });
      assert.equal(second.url, `http://localhost:${second.port}/`);
      await second.close();
    });
  });
});
