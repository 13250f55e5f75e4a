/** Unusual places: what a page may not or cannot do is done without, and said where it must be. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { launch } from './chromium.js';
import { ROOT } from './server.js';
import { launch as launchWebKit } from './webkit.js';

const PLACE = '/tests/gpu/place.html';
/** The README's least, and the page's icon. */
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; "
  + 'img-src data:';

/**
 * Runs in a page: decodes with threads, and on a back end.
 * @param {[kind: string, workers: boolean]} arg workers: whether one is to come
 */
async function work([kind, workers]) {
  const { encode, open } = await import('/web/hansel.js');
  const { gpu: openGpu } = await import('/web/gpu.js');
  const { pickWorker } = await import('/web/workers/workers.js');
  const data = new Int8Array(1100 * 1003).map((_, i) => i * i % 11);
  const file = await encode({ w: { dtype: 'I8', shape: [1100, 1003], data } }, { threads: 2 });
  const model = await open(file, { threads: 2 });
  const same = (found) => found.every((q, i) => q === data[i]);
  const first = same(await model.decode('w'));
  let worker = null;
  for (let i = 0; i < (workers ? 400 : 10) && !worker; i++) {
    worker = pickWorker(1, model.codec.wasm.module);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  const second = same(await model.decode('w'));
  const { gpu } = await openGpu({ prefer: [kind] });
  const symbols = same(await (await gpu.load(model, 'w')).symbols());
  gpu.destroy();
  return { right: first && second && symbols, hasWorker: Boolean(worker), done: worker?.done > 0 };
}

const WORKER = { right: true, hasWorker: true, done: true };
const ALONE = { right: true, hasWorker: false, done: false };

/** What is missing, by what takes it away before the page begins. */
const MISSING = /** @type {const} */ ({
  'no SharedArrayBuffer': ['Reflect.deleteProperty(globalThis, "SharedArrayBuffer")', WORKER],
  'no OffscreenCanvas': ['Reflect.deleteProperty(globalThis, "OffscreenCanvas")', WORKER],
  'no Worker': ['Reflect.deleteProperty(globalThis, "Worker")', ALONE],
  'a Worker that throws': ['globalThis.Worker = class { constructor() { throw new DOMException("no", "SecurityError"); } }', ALONE],
  'a clock of 100 ms': ['{ const now = performance.now.bind(performance); performance.now = () => Math.floor(now() / 100) * 100; }', WORKER],
});

describe('unusual places', function () {
  this.timeout(60_000);
  describe('in Chromium', () => {
    /** @type {Awaited<ReturnType<typeof launch>>} */
    let browser;
    before(async () => { browser = await launch(); });
    after(() => browser?.close());

    for (const [title, [script, expected]] of Object.entries(MISSING)) {
      it(title, async () => {
        const page = await browser.openPage();
        await page.playwright.addInitScript(script);
        await page.playwright.reload();
        await page.playwright.waitForFunction(() => 'harness' in globalThis);
        assert.deepEqual(await page.run(work, ['webgl', expected.hasWorker]), expected);
        await page.close();
      });
    }

    it('a module Service Worker, with min/all.js', async () => {
      const page = await browser.openPage();
      const found = await page.run(async () => {
        await navigator.serviceWorker.register('/tests/gpu/service_worker.js', { type: 'module' });
        await navigator.serviceWorker.ready;
        while (!navigator.serviceWorker.controller) {
          await new Promise((resolve) => { setTimeout(resolve, 10); });
        }
        return (await fetch('/tests/gpu/hansel')).json();
      });
      assert.deepEqual(found, { decode: true, head: true, rows: true, converts: true, blob: true });
      await page.close();
    });
  });

  it('the strict Content-Security-Policy of the README', async () => {
    const browser = await launch({ headers: { 'Content-Security-Policy': POLICY } });
    try {
      const page = await browser.openPage(PLACE);
      for (const kind of ['webgl', 'webgpu']) { // run() would need eval()
        assert.deepEqual(await page.playwright.evaluate(work, [kind, true]), WORKER);
      }
      assert.deepEqual(page.problems, []);
    } finally {
      await browser.close();
    }
  });

  it('WebKitGTK: isolated without SharedArrayBuffer, no WebGL2 on an OffscreenCanvas', async () => {
    const browser = await launchWebKit();
    try {
      const page = await browser.openPage();
      assert.deepEqual(await page.run(() => [
        globalThis.crossOriginIsolated, typeof SharedArrayBuffer,
        new OffscreenCanvas(1, 1).getContext('webgl2')]), [true, 'undefined', null]);
      assert.deepEqual(await page.run(work, ['webgl', true]), WORKER);
    } finally {
      await browser.close();
    }
  });

  it('Node that renders pages in advance: all entries import, and gpu() gives wasm', () => {
    const script = `
      const all = await Promise.all(['', '/gpu', '/webgl', '/webgpu', '/plain'].map((entry) => import('hansel' + entry)));
      const { gpu, kind, tried } = await all[1].gpu();
      const codes = await Promise.all([all[2].webgl(), all[3].webgpu()].map((p) => p.catch((e) => e.code)));
      const model = await all[0].open(await all[0].encode({ w: { dtype: 'I8', shape: [2], data: Int8Array.of(1, 2) } }));
      const w = await gpu.load(model, 'w');
      console.log(kind, ...tried.map(({ error }) => error?.code), ...codes, ...await w.decode());`;
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', script],
      { cwd: ROOT, encoding: 'utf8' });
    const code = 'HANSEL_ERR_ADAPTER';
    assert.equal(said, `wasm ${code} ${code} undefined ${code} ${code} 1 2\n`);
  });
});
