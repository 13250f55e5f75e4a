/** Where the wasm modules and the worker are: as they lie, moved, or not there. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const ROOT = new URL('../..', import.meta.url);
const NAMES = ['decode.wasm', 'decode_simd.wasm', 'hansel.wasm', 'hansel_simd.wasm', 'planes.wasm', 'recode.wasm',
  'worker.js'];
const run = promisify(execFile);
const hansel = (...args) => run('node', [new URL('web/cli.js', ROOT).pathname, ...args]);

/** Codes and decodes with the assets of a base, in a process of its own. @param {string} base */
const useBase = (base) => run('node', ['--input-type=module', '-e', `
import { assets, encode, open } from '${new URL('web/hansel.js', ROOT)}';
import { endWorkers } from '${new URL('web/workers/workers.js', ROOT)}';
assets({ base: ${JSON.stringify(base)} });
const data = new Int8Array(1 << 22).map((_, i) => i * i % 7);
const file = await encode({ w: { dtype: 'I8', shape: [2048, 2048], data } }, { threads: 2 });
const model = await open(file, { threads: 2 });
for (let i = 0; i < 5; i++) await model.decode('w');
endWorkers();
console.log((await model.decode('w')).every((q, i) => q === data[i]));
`]).catch((error) => error);

describe('assets', function () {
  this.timeout(60000);
  let folder;
  beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), 'hansel-assets-')); });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('are copied by `hansel assets`, again and again', async () => {
    const dir = join(folder, 'a/b');
    for (let i = 0; i < 2; i++) {
      const { stdout, stderr } = await hansel('assets', dir, '--json');
      assert.deepEqual(JSON.parse(stdout).files.sort(), NAMES.map((name) => join(dir, name)));
      assert.equal(stderr, '');
      assert.deepEqual((await readdir(dir)).sort(), NAMES);
      for (const name of NAMES) {
        assert.deepEqual(await readFile(join(dir, name)), await readFile(new URL(`dist/${name}`, ROOT)));
      }
      await writeFile(join(dir, 'worker.js'), 'of an older version');
    }
    assert.match((await hansel('assets', dir)).stderr, /: 7 files/);
  });

  it('cannot be copied into a file', async () => {
    const path = join(folder, 'file');
    await writeFile(path, 'x');
    await assert.rejects(hansel('assets', path), { code: 1, stderr: /HANSEL_ERR_SOURCE: .*file: cannot be written/ });
    await assert.rejects(hansel('assets'), { code: 2 });
  });

  it('are used from where they were moved to', async () => {
    await hansel('assets', folder);
    for (const base of [pathToFileURL(folder).href, `${pathToFileURL(folder).href}/`]) {
      assert.equal((await useBase(base)).stdout, 'true\n');
    }
    await rm(join(folder, 'worker.js')); // without a worker the calling thread does it all
    assert.equal((await useBase(pathToFileURL(folder).href)).stdout, 'true\n');
  });

  it('need a base', async () => {
    const { assets } = await import('../../web/hansel.js');
    for (const wrong of [undefined, {}, { bas: 'x' }, { base: '' }, { base: null }]) {
      assert.throws(() => assets(wrong), { name: 'HanselError', code: 'HANSEL_ERR_ARGUMENT' });
    }
  });

  it('that are not there are told, with the way out', async () => {
    const missing = pathToFileURL(join(folder, 'nowhere')).href;
    for (const base of [missing, 'no address']) {
      const { stderr } = await useBase(base);
      assert.match(stderr, /HanselError: .*: cannot be loaded; assets\(\{ base \}\) says where it is/);
      assert.match(stderr, /code: 'HANSEL_ERR_SOURCE'/);
    }
  });

  it('that are a page, or not there, over http', async () => {
    const server = createServer((request, response) => {
      const isPage = request.url?.startsWith('/page/');
      response.writeHead(isPage ? 200 : 404, { 'Content-Type': 'text/html' }).end('<!doctype html>');
    });
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    const { port } = server.address();
    const about = async (path) => (await useBase(`http://127.0.0.1:${port}/${path}/`)).stderr;
    assert.match(await about('page'), /HANSEL_ERR_SOURCE/);
    assert.match(await about('page'), /page\/hansel_simd\.wasm: cannot be loaded; .* \(got WebAssembly.*magic/);
    assert.match(await about('none'), /got status 404/);
    server.close();
  });
});
