// Every kind of source must give exactly the bytes asked for, or name what went wrong. The server
// below can be told to misbehave in each way that real ones do.
import assert from 'node:assert/strict';
import { appendFile, mkdir, mkdtemp, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openSource } from '../../web/file/source.js';

const MIB = 2 ** 20;
const SIZE = 3 * MIB + 12345;
const bytes = Uint8Array.from({ length: SIZE }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);

const same = (got, start, end) => {
  assert.equal(got.length, end - start);
  assert.equal(Buffer.compare(got, bytes.subarray(start, end)), 0, `bytes ${start} to ${end}`);
};
const code = (name) => ({ name: 'HanselError', code: `HANSEL_ERR_${name}` });

async function collect(source, start, end, options) {
  const chunks = [];
  for await (const chunk of source.stream(start, end, options)) chunks.push(chunk.slice());
  return { chunks, all: Uint8Array.from(Buffer.concat(chunks)) };
}

/** What must hold for every source of these bytes. */
async function behaves(source) {
  assert.equal(source.size, SIZE);
  for (const [start, end] of [[0, 8], [0, 0], [SIZE, SIZE], [7, 65536], [65530, 65550],
    [65536, 65537], [SIZE - 1, SIZE], [MIB - 1, 2 * MIB + 1], [0, SIZE]]) {
    const got = await source.read(start, end);
    assert.ok(got instanceof Uint8Array && !Buffer.isBuffer(got));
    same(got, start, end);
    const { all, chunks } = await collect(source, start, end);
    same(all, start, end);
    assert.ok(chunks.every((chunk) => chunk.length > 0 && chunk.length <= MIB));
  }
  await Promise.all([210000, 140000, 70000].map(async (end) =>
    same(await source.read(1, end), 1, end)));

  await assert.rejects(source.read(0, SIZE + 1), { ...code('TRUNCATED'), got: SIZE });
  await assert.rejects(collect(source, SIZE, SIZE + 1), code('TRUNCATED'));
  for (const [start, end] of [[-1, 1], [2, 1], [0.5, 1], [0, NaN]]) {
    await assert.rejects(source.read(start, end), code('ARGUMENT'));
  }

  const reason = new Error('mine');
  const signal = AbortSignal.abort(reason);
  await assert.rejects(source.read(0, 1, { signal }), { ...code('ABORTED'), cause: reason });
  await assert.rejects(collect(source, 0, 1, { signal }), code('ABORTED'));
  const controller = new AbortController();
  let seen = 0;
  await assert.rejects(async () => {
    for await (const chunk of source.stream(0, SIZE, { signal: controller.signal })) {
      seen += chunk.length;
      controller.abort();
    }
  }, code('ABORTED'));
  assert.ok(seen > 0 && seen < SIZE);

  for await (const chunk of source.stream(0, SIZE)) { // leaving early must not hang or leak
    assert.ok(chunk.length < SIZE);
    break;
  }
  for (const name of ['..', '../x', 'a/../b', './x', '/etc/passwd', 'a//b', '', 'a\\b', '..\\x',
    'C:x', 'c:/x', 'x\0', 'http://127.0.0.1/x', '\ud800', undefined, 7]) {
    await assert.rejects(source.resolve(name), code('INDEX'), String(name));
  }
  await source.close();
  await source.close();
  await assert.rejects(source.read(0, 1), code('SOURCE'));
  await assert.rejects(collect(source, 0, 1), code('SOURCE'));
}

describe('source: memory', function () {
  this.timeout(30000);
  it('reads Uint8Array, Buffer, ArrayBuffer', async () => {
    await behaves(await openSource(bytes));
    await behaves(await openSource(Buffer.from(bytes)));
    await behaves(await openSource(bytes.slice().buffer));
    const shifted = new Uint8Array(SIZE + 5);
    shifted.set(bytes, 3);
    await behaves(await openSource(shifted.subarray(3, 3 + SIZE)));
  });

  it('copies nothing, and notices when its memory is taken away', async () => {
    const mine = bytes.slice();
    const source = await openSource(mine);
    const got = await source.read(10, 20);
    assert.equal(got.buffer, mine.buffer);
    for await (const chunk of source.stream(0, SIZE)) assert.equal(chunk.buffer, mine.buffer);
    structuredClone(mine.buffer, { transfer: [mine.buffer] });
    await assert.rejects(source.read(0, 1), code('CHANGED'));
    await assert.rejects(source.resolve('x'), code('SOURCE'));
  });

  it('reads Blob and File', async () => {
    await behaves(await openSource(new Blob([bytes])));
    const { File } = await import('node:buffer');
    const file = await openSource(new File([bytes], 'w.safetensors'));
    assert.equal(file.name, 'w.safetensors');
    await behaves(file);
  });

  it('names a Blob that cannot be read, or reads short', async () => {
    class Bad extends Blob {
      slice() {
        const arrayBuffer = async () => {
          if (this.type === 'short') return new ArrayBuffer(1);
          throw new DOMException('changed on disk', this.type === 'gone' ? 'NotReadableError' : '');
        };
        return { arrayBuffer };
      }
    }
    const open = (type) => openSource(new Bad(['abc'], { type }));
    await assert.rejects((await open('gone')).read(0, 3), code('CHANGED'));
    await assert.rejects((await open('short')).read(0, 3), code('CHANGED'));
    await assert.rejects((await open('other')).read(0, 3), code('SOURCE'));
    await assert.rejects(collect(await open('gone'), 0, 3), code('CHANGED'));
  });

  it('refuses everything else, and an aborted opening', async () => {
    for (const x of [undefined, null, 7, {}, [1, 2]]) {
      await assert.rejects(openSource(x), code('ARGUMENT'));
    }
    await assert.rejects(openSource(bytes, { signal: AbortSignal.abort() }), code('ABORTED'));
  });
});

describe('source: paths', function () {
  this.timeout(30000);
  let dir;
  const path = (name) => join(dir, name);
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'hansel-source-'));
    await writeFile(path('a b%20.bin'), bytes);
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('reads a path, a file: URL and a file: string', async () => {
    const url = pathToFileURL(path('a b%20.bin'));
    for (const x of [path('a b%20.bin'), url, url.href]) {
      const source = await openSource(x);
      assert.equal(source.name, path('a b%20.bin'));
      await behaves(source);
    }
    const chunks = [];
    const source = await openSource(url);
    for await (const chunk of source.stream(5, SIZE)) chunks.push(chunk.length);
    assert.deepEqual(chunks, [MIB, MIB, MIB, 12340]);
    await source.close();
  });

  it('names a path that is missing or not a file', async () => {
    for (const x of [path('none'), dir, pathToFileURL(path('none')), '/dev/null', '']) {
      await assert.rejects(openSource(x), {
        ...code('SOURCE'), where: x instanceof URL ? path('none') : x,
      });
    }
  });

  it('opens files beside it', async () => {
    await mkdir(path('sub'));
    await writeFile(path('sub/one 1%41.bin'), 'one');
    await writeFile(path('..two'), 'two');
    const source = await openSource(path('a b%20.bin'));
    for (const [name, want] of [['sub/one 1%41.bin', 'one'], ['..two', 'two']]) {
      const other = await source.resolve(name);
      assert.equal(other.name, path(name));
      assert.equal(Buffer.from(await other.read(0, 3)).toString(), want);
      await other.close();
    }
    await assert.rejects(source.resolve('none'), { ...code('SOURCE'), where: path('none') });
    await source.close();
  });

  it('notices that the file shrank, grew or was rewritten', async () => {
    const changes = {
      shrinks: (p) => truncate(p, 2 * MIB),
      vanishes: (p) => truncate(p, 0),
      grows: (p) => appendFile(p, 'x'),
      rewritten: (p) => writeFile(p, bytes).then(() => utimes(p, 1e9, 1e9)),
    };
    for (const [name, change] of Object.entries(changes)) {
      await writeFile(path(name), bytes);
      const source = await openSource(path(name));
      same(await source.read(0, 100), 0, 100);
      let seen = 0;
      await assert.rejects(async () => {
        for await (const chunk of source.stream(0, SIZE)) {
          if (seen === 0) await change(path(name));
          seen += chunk.length;
        }
      }, { ...code('CHANGED'), where: path(name) }, name);
      assert.ok(seen >= MIB && seen < SIZE, name);
      await assert.rejects(source.read(0, SIZE), code('CHANGED'), name);
      await source.close();
    }
  });
});

describe('source: URLs', function () {
  this.timeout(30000);
  let server;
  let base;
  /** Requests so far, as { range, ifRange, url }. */
  let log;
  /** The file and the server's manners; tests change them. */
  let on;

  beforeEach(async () => {
    log = [];
    on = { file: bytes, etag: '"v1"', modified: null, ranges: true };
    server = createServer((req, res) => {
      const { range, 'if-range': ifRange } = req.headers;
      log.push({ range, ifRange, url: req.url });
      if (on.answer?.(req, res, log.length)) return;
      const headers = {};
      if (on.etag) headers.ETag = on.etag;
      if (on.modified) headers['Last-Modified'] = on.modified;
      const { file } = on;
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
      const stale = ifRange !== undefined && ifRange !== on.etag && ifRange !== on.modified;
      if (!on.ranges || from === undefined || stale) {
        res.writeHead(200, { ...headers, 'Content-Length': file.length });
        res.end(file);
        return;
      }
      const start = Number(from);
      const end = Math.min(Number(to) + 1, file.length, start + (on.cap ?? Infinity));
      if (start >= file.length) {
        res.writeHead(416, { 'Content-Range': `bytes */${file.length}` });
        res.end();
        return;
      }
      headers['Content-Range'] = `bytes ${start}-${end - 1}/${on.total ?? file.length}`;
      res.writeHead(206, { ...headers, 'Content-Length': end - start });
      const stop = on.breaksAfter?.(log.length) ?? Infinity;
      if (stop < end - start) {
        res.write(file.subarray(start, start + stop), () => setTimeout(() => res.destroy(), 20));
      } else {
        res.end(file.subarray(start, end));
      }
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${server.address().port}`;
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const open = (path = '/dir/w.bin?token=secret', options) => openSource(base + path, options);

  it('reads by ranges, the first 64 KiB with the first request', async () => {
    const source = await open();
    assert.equal(source.name, `${base}/dir/w.bin`);
    same(await source.read(0, 8), 0, 8);
    const head = await source.read(8, 65536);
    same(head, 8, 65536);
    head.fill(0); // what the caller gets is a copy
    same(await source.read(8, 65536), 8, 65536);
    assert.deepEqual(log.map((r) => r.range), ['bytes=0-65535']);
    same(await source.read(65530, 65540), 65530, 65540);
    same((await collect(source, 100, SIZE)).all, 100, SIZE);
    assert.deepEqual(log.slice(1).map(({ range, ifRange }) => [range, ifRange]), [
      ['bytes=65536-65539', '"v1"'], [`bytes=65536-${SIZE - 1}`, '"v1"'],
    ]);
    await behaves(source);
    await behaves(await openSource(new URL(`${base}/x`)));
  });

  it('reads files below 64 KiB, and empty ones', async () => {
    for (const length of [1, 100, 65535, 65536, 65537]) {
      on.file = bytes.subarray(0, length);
      const source = await open();
      assert.equal(source.size, length);
      same(await source.read(0, length), 0, length);
    }
    on.file = new Uint8Array(0);
    const empty = await open();
    assert.equal(empty.size, 0);
    assert.equal((await empty.read(0, 0)).length, 0);
    await assert.rejects(empty.read(0, 1), code('TRUNCATED'));
    on.ranges = false;
    assert.equal((await open()).size, 0);
  });

  it('sends If-Range with a strong ETag, else Last-Modified, else not', async () => {
    const modified = 'Mon, 06 Jan 2025 10:00:00 GMT';
    for (const [etag, date, want] of [['"v1"', modified, '"v1"'], ['W/"v1"', modified, modified],
      [null, modified, modified], ['W/"v1"', null, undefined], [null, null, undefined]]) {
      Object.assign(on, { etag, modified: date });
      const source = await open();
      log = [];
      same(await source.read(70000, 70001), 70000, 70001);
      assert.deepEqual(log.map((r) => r.ifRange), [want]);
    }
  });

  it('keeps to the validators of the answers where If-Range would need a preflight', async () => {
    globalThis.origin = 'https://example.com';
    try {
      const source = await open();
      same(await source.read(70000, 70001), 70000, 70001);
      assert.equal(log[1].ifRange, undefined);
      on.etag = '"v2"';
      await assert.rejects(source.read(70000, 70001), {
        ...code('CHANGED'), expected: '"v1"', got: '"v2"',
      });
    } finally {
      delete globalThis.origin;
    }
  });

  it('notices a changed file', async () => {
    const source = await open();
    on.etag = '"v2"';
    await assert.rejects(source.read(70000, 70001), { ...code('CHANGED'), got: '"v2"' });
    await assert.rejects(collect(source, 0, SIZE), code('CHANGED'));
    on.etag = null; // no validator in the answer, but If-Range does not hold
    await assert.rejects(source.read(70000, 70001), code('CHANGED'));

    Object.assign(on, { etag: null, modified: 'Mon, 06 Jan 2025 10:00:00 GMT' });
    const dated = await open();
    on.modified = 'Mon, 06 Jan 2025 10:00:01 GMT';
    await assert.rejects(dated.read(70000, 70001), code('CHANGED'));

    on.modified = null;
    const unguarded = await open();
    on.total = SIZE + 1;
    await assert.rejects(unguarded.read(70000, 70001), {
      ...code('CHANGED'), expected: SIZE, got: SIZE + 1,
    });
    on.total = undefined;
    on.file = bytes.subarray(0, 69999);
    await assert.rejects(unguarded.read(70000, 70001), { ...code('CHANGED'), got: 69999 });
    on.file = bytes;
    on.ranges = false;
    await assert.rejects(unguarded.read(70000, 70001), { ...code('HTTP'), got: 200 });
  });

  it('keeps a small file whole when the server ignores Range', async () => {
    on.ranges = false;
    const source = await open();
    assert.equal(source.name, `${base}/dir/w.bin`);
    await behaves(source);
    assert.equal(log.length, 1);
  });

  it('refuses a large or unbounded file when the server ignores Range', async () => {
    for (const headers of [{ 'Content-Length': 512 * MIB + 1 }, {},
      { 'Content-Length': 3, 'Content-Encoding': 'gzip' }]) {
      on.answer = (req, res) => {
        res.writeHead(200, headers);
        res.write('abc');
        return true;
      };
      await assert.rejects(open(), { ...code('HTTP'), got: 200, message: /Range/ });
    }
    on.answer = (req, res) => {
      res.writeHead(200, { 'Content-Length': 1000 });
      res.write('abc', () => setTimeout(() => res.destroy(), 20));
      return true;
    };
    await assert.rejects(open(), code('SOURCE'));
  });

  it('names HTTP errors, in a line with their status', async () => {
    for (const [status, why] of [[404, 'not found'], [401, 'refused'], [403, 'refused'],
      [416, 'refused'], [204, 'refused'], [500, 'the server failed'], [503, 'the server failed']]) {
      on.answer = (req, res) => res.writeHead(status).end();
      await assert.rejects(open(), {
        ...code('HTTP'), got: status, where: `${base}/dir/w.bin`,
        message: `${base}/dir/w.bin: ${why} (${status})`,
      });
    }
    on.answer = null;
    const source = await open();
    on.answer = (req, res) => res.writeHead(410).end();
    await assert.rejects(source.read(70000, 70001), { ...code('HTTP'), got: 410 });
  });

  it('refuses answers that are not the range asked for', async () => {
    for (const range of [undefined, 'bytes 0-65535/*', 'bytes 1-65536/70000', 'bytes 0-65536/70000',
      'bytes 0-99/50', 'bytes 5-4/70000', 'items 0-65535/70000', 'bytes */70000']) {
      on.answer = (req, res) => res.writeHead(206, range && { 'Content-Range': range }).end('x');
      await assert.rejects(open(), { ...code('HTTP'), got: range ?? null }, range);
    }
    on.answer = (req, res) => res.writeHead(206, { 'Content-Range': 'bytes 0-1/2' }).end('xyz');
    await assert.rejects(open(), { ...code('HTTP'), message: /more bytes/ });
  });

  it('names a server that does not answer', async () => {
    const source = await open();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await assert.rejects(open(), (error) => {
      assert.equal(error.code, 'HANSEL_ERR_SOURCE');
      assert.ok(error.cause instanceof TypeError);
      assert.ok(!error.message.includes('secret'));
      return true;
    });
    await assert.rejects(source.read(70000, 70001), code('SOURCE'));
    for (const bad of ['http://', 'http://[', 'http://a b/']) {
      await assert.rejects(openSource(bad), code('SOURCE'));
    }
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  });

  it('names an allocation that cannot be made', async () => {
    on.total = 2 ** 52;
    const source = await open();
    await assert.rejects(source.read(0, 2 ** 52), code('MEMORY'));
  });

  it('resumes a broken transfer where it stopped', async () => {
    const source = await open();
    on.breaksAfter = (n) => (n <= 4 ? 100000 : Infinity);
    log.length = 1;
    const { all } = await collect(source, 10, SIZE);
    same(all, 10, SIZE);
    const starts = log.slice(1).map((r) => Number(/=(\d+)-/.exec(r.range)[1]));
    assert.equal(starts.length, 4);
    assert.equal(starts[0], 65536);
    for (let i = 1; i < 4; i++) {
      assert.ok(starts[i] >= starts[i - 1] && starts[i] <= starts[i - 1] + 100000, `${starts}`);
    }
    assert.ok(starts[3] > starts[0], 'nothing that had arrived was kept');
    assert.ok(log.slice(1).every((r) => r.ifRange === '"v1"'));
  });

  it('resumes the first request too', async () => {
    on.breaksAfter = (n) => (n === 1 ? 1000 : Infinity);
    const source = await open();
    same(await source.read(0, 65536), 0, 65536);
    assert.equal(log.length, 2);
  });

  it('gives up after three attempts without progress', async () => {
    const source = await open();
    on.breaksAfter = () => 0;
    log = [];
    await assert.rejects(source.read(100000, 200000), {
      ...code('SOURCE'), expected: 'bytes up to 200000',
    });
    assert.equal(log.length, 4);
  });

  it('does not give up while any attempt brings something', async () => {
    const source = await open();
    on.breaksAfter = () => 50000;
    log = [];
    same(await source.read(100000, 500000), 100000, 500000);
    assert.ok(log.length >= 8, `${log.length} requests`);
  });

  it('does not wait for the end of an answer whose range is there', async () => {
    on.answer = (req, res) => { // chunked, and never ended
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range);
      const end = Math.min(Number(to) + 1, SIZE);
      res.writeHead(206, { 'Content-Range': `bytes ${from}-${end - 1}/${SIZE}`, ETag: '"v1"' });
      res.write(bytes.subarray(Number(from), end));
      return true;
    };
    const source = await open();
    same(await source.read(0, 65536), 0, 65536);
    same((await collect(source, 60000, 700000)).all, 60000, 700000);
  });

  it('does not resume into a changed file', async () => {
    const source = await open();
    on.breaksAfter = (n) => {
      if (n === 2) {
        setTimeout(() => { on.etag = '"v2"'; }, 5);
        return 1000;
      }
      return Infinity;
    };
    await assert.rejects(source.read(100000, 200000), code('CHANGED'));
    assert.equal(log.length, 3);
  });

  it('can be stopped while it waits to resume, and while it opens', async () => {
    const source = await open();
    on.breaksAfter = () => 0;
    const controller = new AbortController();
    const started = Date.now();
    setTimeout(() => controller.abort(), 100);
    await assert.rejects(source.read(100000, 200000, controller), code('ABORTED'));
    assert.ok(Date.now() - started < 1000);
    on.answer = () => true; // never answers
    await assert.rejects(open('/x', { signal: AbortSignal.timeout(50) }), code('ABORTED'));
  });

  it('asks again when a server caps its ranges', async () => {
    on.cap = 40000;
    const source = await open();
    same(await source.read(0, 400000), 0, 400000);
    assert.ok(log.length >= 10 && log.length <= 12, `${log.length} requests`);
  });

  it('opens files beside it', async () => {
    const source = await open('/a/b/model.index.json?x=1');
    const other = await source.resolve('sub/s%2e #?1.bin');
    assert.equal(log.at(-1).url, '/a/b/sub/s%252e%20%23%3F1.bin');
    same(await other.read(0, 10), 0, 10);
    on.answer = (req, res) => res.writeHead(404).end();
    await assert.rejects(source.resolve('none'), { ...code('HTTP'), got: 404 });
    on.answer = null;
    on.ranges = false;
    await (await open('/a/whole.bin')).resolve('next.bin');
    assert.equal(log.at(-1).url, '/a/next.bin');
  });

  it('reads blob: and data: URLs', async () => {
    const url = URL.createObjectURL(new Blob([bytes]));
    await behaves(await openSource(url));
    URL.revokeObjectURL(url);
    await assert.rejects(openSource(url), code('SOURCE'));
    const source = await openSource('data:application/octet-stream;base64,AQID');
    assert.deepEqual([...await source.read(0, 3)], [1, 2, 3]);
  });
});
