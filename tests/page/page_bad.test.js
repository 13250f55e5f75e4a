/** What the page says and does when something is wrong: files, servers, GPUs. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encode } from '../../web/hansel.js';
import { launch } from '../gpu/chromium.js';
import { SAMPLES, Visitor, openHost } from './page_host.js';

/** What the browser itself logs about answers that are no use. */
const NETWORK = /Failed to load resource|blocked by CORS|net::ERR|Fetch API cannot load ftp/;

describe('demo page, when something is wrong', function () {
  this.timeout(300000);
  let browser;
  let home;
  let other;
  let coded;
  let plain;
  before(async () => {
    browser = await launch();
    [home, other] = [await openHost(), await openHost()];
    coded = new Uint8Array(await readFile(join(SAMPLES, 'gaussian-4bit.hansel.safetensors')));
    plain = new Uint8Array(await readFile(join(SAMPLES, 'layer.safetensors')));
  });
  after(async () => {
    await browser?.close();
    await home?.close();
    await other?.close();
  });

  const damaged = (bytes, at) => {
    const copy = bytes.slice();
    copy[at] ^= 4;
    return copy;
  };

  it('names files that are none, cut short, or damaged', async () => {
    const visitor = await Visitor.come(browser, home.url);
    const put = async (name, bytes) => {
      await visitor.forget();
      await visitor.p.setInputFiles('#file', { name, mimeType: 'application/octet-stream', buffer: Buffer.from(bytes) });
      await visitor.idle(/^(Open|That did)/);
      assert.equal(await visitor.text('#status'), 'That did not work.', name);
      return visitor.notice();
    };
    const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, ...new Uint8Array(100).fill(7));
    assert.match(await put('picture.safetensors', png), /^This is not a safetensors file\. Choose one/);
    assert.match(await put('empty.safetensors', new Uint8Array(0)), /^(This is not a safetensors file|The file is cut short)/);
    assert.match(await put('text.safetensors', Buffer.from('{"hello": "world"}, and nothing more')), /^This is not a safetensors file|^The file is cut short/);
    assert.match(await put('short.safetensors', coded.subarray(0, 300000)), /^The file is cut short: .* download it again\.$/);
    assert.match(await put('short.safetensors', plain.subarray(0, 300000)), /^The file is cut short/);
    assert.match(await put('flipped.safetensors', damaged(coded, coded.length - 3000)), /^The file is damaged: .*(ownload|ode) it again/);
    const detail = await visitor.text('#notice code');
    assert.match(detail, /^HANSEL_ERR_(CHECKSUM|CORRUPT): gaussian\.weight/);
    await visitor.sample('gaussian-3bit.hansel.safetensors'); // and the page goes on
    assert.ok(await visitor.p.isHidden('#notice'));
    await visitor.leave();
  });

  it('names weights that no grid holds', async () => {
    const visitor = await Visitor.come(browser, home.url);
    const bad = plain.slice();
    bad.set([0xc0, 0x7f], bad.length - 768 * 2 - 2000); // a BF16 NaN in the matrix
    await visitor.p.setInputFiles('#file', { name: 'nan.safetensors', mimeType: '', buffer: Buffer.from(bad) });
    await visitor.idle(/^(Open|That did)/);
    assert.match(await visitor.notice(), /^A weight is NaN or infinite/);
    await visitor.leave();
  });

  it('names servers that do not answer, refuse, have no CORS, or hide their ranges', async () => {
    const visitor = await Visitor.come(browser, home.url);
    for (const [name, odd] of Object.entries({
      'nocors.safetensors': { range: true },
      'hidden.safetensors': { range: true, cors: true, hideRange: true },
      'gone.safetensors': { cors: true, status: 404 },
      'secret.safetensors': { cors: true, status: 403 },
      'broken.safetensors': { cors: true, status: 500 },
      'huge.safetensors': { cors: true, length: 600 * 2 ** 20 },
    })) other.files.set(name, { bytes: coded, ...odd });
    const at = (name) => `${other.origin}/odd/${name}`;
    const cases = [
      [at('nocors.safetensors'), /does not let other pages read this file: it sends no CORS header .* Download the file, and drop it here\.$/],
      [at('hidden.safetensors'), /must list Content-Range in Access-Control-Expose-Headers\. Download/],
      [at('gone.safetensors'), /^There is no such file on 127.0.0.1:\d+ \(status 404\)\. Check the address\.$/],
      [at('secret.safetensors'), /status 403\)\. Download it where you are signed in/],
      [at('broken.safetensors'), /answered with an error \(status 500\)\. Try again later\.$/],
      [at('huge.safetensors'), /does not send files in parts \(no Range requests\), .* Download it, and drop it here\.$/],
      ['http://127.0.0.1:9/x.safetensors', /did not answer this page\. .*Check the address/],
      ['/no/such.safetensors', /^There is no such file/],
      ['ftp://example.invalid/x', /^This is not a web address that a page can read\./],
    ];
    for (const [address, sentence] of cases) {
      await visitor.address(address);
      assert.equal(await visitor.text('#status'), 'That did not work.', address);
      assert.match(await visitor.notice(), sentence, address);
    }
    await visitor.leave({ allow: NETWORK, hosts: [other.origin, 'http://127.0.0.1:9'] });
  });

  it('opens from another host: with Range, and without it as a whole', async () => {
    const visitor = await Visitor.come(browser, home.url);
    other.files.set('good.safetensors', { bytes: coded, cors: true, range: true, etag: '"1"' });
    other.files.set('whole.safetensors', { bytes: coded, cors: true });
    for (const name of ['good', 'whole']) {
      await visitor.address(`${other.origin}/odd/${name}.safetensors`);
      assert.match(await visitor.text('#status'), new RegExp(`^Open: ${name}`));
    }
    await visitor.leave({ hosts: [other.origin] });
  });

  it('streams, stops, asks for the rest only, and names a file that has changed', async () => {
    const visitor = await Visitor.come(browser, home.url);
    const data = new Float32Array(2 ** 21).map((_, i) => Math.sin(i * i));
    const tensors = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, { dtype: 'F32', shape: [2048, 1024], data }]));
    const odd = { bytes: await encode(tensors, { bits: 6 }), range: true, etag: '"1"' };
    home.files.set('big.safetensors', odd);
    await visitor.address('/odd/big.safetensors');
    odd.pause = 60; // a megabyte a second
    await visitor.p.click('#stream-start');
    await visitor.p.waitForFunction(() => document.querySelector('#stream-rows [data-name=a]').dataset.state === 'ready'
      && document.querySelector('#stream-rows [data-name=b] progress').value > 0.4, null, { timeout: 60000 });
    const states = await visitor.p.$$eval('#stream-rows li', (rows) => rows.map((row) => row.dataset.state));
    assert.deepEqual(states, ['ready', 'coming', 'waiting'], 'a is usable while b comes');
    await visitor.p.click('#stop');
    await visitor.idle(/^Stopped/);
    assert.match(await visitor.text('#stream-rows [data-name=b] .state'), /^stopped, [\d.]+ [kM]B kept$/);
    assert.equal(await visitor.text('#stream-start'), 'Resume');
    assert.ok(await visitor.p.isHidden('#notice'), 'stopping is no error');

    home.asked.length = 0;
    odd.pause = 0;
    await visitor.p.click('#stream-start');
    await visitor.idle(/^All 3 coded tensors are on WebGPU/);
    const ranges = home.asked.filter(({ path }) => path === '/odd/big.safetensors');
    assert.ok(ranges.every(({ ifRange }) => ifRange === '"1"'), 'If-Range guards every request');
    const starts = ranges.map(({ range }) => Number(/=(\d+)/.exec(range)[1]));
    assert.equal(starts.length, 2, `b's rest and c: ${starts}`);
    assert.ok(starts[0] > odd.bytes.length / 3 + 0.35 * odd.bytes.length / 3, `from ${starts[0]}`);

    await visitor.address('/odd/big.safetensors');
    odd.pause = 60;
    await visitor.p.click('#stream-start');
    await visitor.p.waitForFunction(() => document.querySelector('#stream-rows [data-name=a] progress').value > 0.2);
    await visitor.p.click('#stop');
    await visitor.idle(/^Stopped/);
    Object.assign(odd, { etag: '"2"', pause: 0 });
    await visitor.p.click('#stream-start');
    await visitor.idle(/^That did/);
    assert.match(await visitor.notice(), /^The file changed while it was being read, .* Open it again to start over/);
    await visitor.leave();
  });

  it('says that a GPU was lost, and loads again', async () => {
    const visitor = await Visitor.come(browser, home.url, {
      script: () => {
        const request = GPUAdapter.prototype.requestDevice;
        globalThis.devices = [];
        GPUAdapter.prototype.requestDevice = async function requestDevice(...args) {
          const device = await request.apply(this, args);
          globalThis.devices.push(device);
          return device;
        };
        const create = OffscreenCanvas.prototype.getContext;
        globalThis.contexts = [];
        OffscreenCanvas.prototype.getContext = function getContext(...args) {
          const context = create.apply(this, args);
          if (args[0] === 'webgl2') globalThis.contexts.push(context);
          return context;
        };
      },
    });
    await visitor.sample('gaussian-4bit.hansel.safetensors');
    for (const lose of [
      () => globalThis.devices.forEach((device) => device.destroy()),
      () => globalThis.contexts.forEach((gl) => gl.getExtension('WEBGL_lose_context')?.loseContext()),
    ]) {
      await visitor.page.run(lose, undefined, { allow: /CONTEXT_LOST_WEBGL/ });
      await visitor.p.waitForSelector('#notice:not([hidden])');
      assert.match(await visitor.notice(), /^The GPU was lost: .* Press “Load again”\.$/);
      await visitor.forget();
      await visitor.p.click('#notice button');
      await visitor.idle(/is shown/);
      assert.deepEqual(await visitor.verdicts(), { wasm: 'reference', webgl: 'bit-exact', webgpu: 'bit-exact' });
      assert.ok(await visitor.p.isHidden('#notice'));
    }
    await visitor.leave({ allow: /CONTEXT_LOST_WEBGL/ });
  });

  const without = {
    'without WebGPU': [() => { Object.defineProperty(navigator, 'gpu', { value: undefined }); }, ['webgl', 'wasm']],
    'without WebGL2': [() => {
      for (const { prototype } of [HTMLCanvasElement, OffscreenCanvas]) {
        const create = prototype.getContext;
        prototype.getContext = function getContext(kind, ...rest) {
          return kind === 'webgl2' ? null : create.call(this, kind, ...rest);
        };
      }
    }, ['webgpu', 'wasm']],
    'without either': [() => {
      Object.defineProperty(navigator, 'gpu', { value: undefined });
      for (const { prototype } of [HTMLCanvasElement, OffscreenCanvas]) {
        const create = prototype.getContext;
        prototype.getContext = function getContext(kind, ...rest) {
          return kind === 'webgl2' ? null : create.call(this, kind, ...rest);
        };
      }
    }, ['wasm']],
  };
  for (const [what, [script, kinds]] of Object.entries(without)) {
    it(`works ${what}`, async () => {
      const visitor = await Visitor.come(browser, home.url, { script });
      await visitor.sample('gaussian-4bit.hansel.safetensors');
      const verdicts = await visitor.verdicts();
      for (const kind of ['webgl', 'webgpu']) {
        assert.equal(verdicts[kind], kinds.includes(kind) ? 'bit-exact' : 'not here', kind);
        assert.equal(await visitor.p.getAttribute(`#chip-${kind}`, 'data-is'), kinds.includes(kind) ? 'here' : 'missing');
      }
      assert.equal(await visitor.p.getAttribute('#heatmap', 'data-kind'), kinds[0]);
      const error = await visitor.p.textContent(`#check-rows [data-kind=${kinds[0]}] td:last-child`);
      assert.ok(error !== '' && Number(error) < 1e-5, error);
      await visitor.p.click('#stream-start');
      await visitor.idle(/is on Web/);
      await visitor.leave();
    });
  }
});
