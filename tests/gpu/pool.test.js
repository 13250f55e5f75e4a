/** Threads in a page: isolated and sharing memory, not isolated, and forbidden to have any. */
import assert from 'node:assert/strict';
import { encode } from '../../web/hansel.js';
import { launch } from './chromium.js';
import { openServer } from './server.js';

const ROOT = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');
const SHAPE = [1100, 1003];
const COUNT = SHAPE[0] * SHAPE[1];
const FORBIDDEN = { 'Content-Security-Policy': "worker-src 'none'" };

describe('threads in Chromium', function () {
  this.timeout(120_000);
  const data = new Float32Array(COUNT).map((_, i) => Math.sin(i * 1.7) * Math.cos(i * i));
  const symbols = new Int8Array(COUNT).map((_, i) => 9 * data[i]);
  /** @type {Uint8Array} */
  let file;

  before(async () => {
    file = await encode({
      grid: { dtype: 'F32', shape: SHAPE, data }, I8: { dtype: 'I8', shape: SHAPE, data: symbols },
    }, { step: 0.01 });
  });

  for (const [title, headers, isolated, workers] of /** @type {const} */ ([
    ['isolated', undefined, true, 1], ['not isolated', {}, false, 1],
    ['where workers are forbidden', FORBIDDEN, false, 0]])) {
    it(`decode and encode: ${title}`, async () => {
      const browser = await launch({ headers });
      try {
        const page = await browser.openPage();
        const found = await page.run(async ({ url, bad, shape, wanted }) => {
          const { open, encode: code } = await import('/web/hansel.js');
          const rest = () => new Promise((resolve) => { setTimeout(resolve, 50); });
          const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
          const one = await open(bytes);
          const many = await open(bytes, { threads: 2 });
          const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
          const results = [];
          const { pickWorker } = await import('/web/workers/workers.js');
          for (let round = 0; round < 2; round++) {
            for (const name of ['grid', 'I8']) {
              const own = await many.decode(name);
              results.push(same(own, await one.decode(name)), own.buffer instanceof ArrayBuffer);
            }
            // Until it is there; in vain where it is forbidden.
            for (let i = 0; i < 60 && !(wanted && pickWorker(wanted, many.codec.wasm.module)); i++) {
              if (!wanted && i > 9) break;
              await rest();
            }
          }
          const shared = await many.decode('I8', { shared: true }).catch((e) => e);
          results.push(globalThis.crossOriginIsolated
            ? shared.buffer instanceof SharedArrayBuffer && same(shared, await one.decode('I8'))
            : shared.code === 'HANSEL_ERR_MEMORY' && /SharedArrayBuffer/.test(shared.message));
          const tensors = { w: { dtype: 'I8', shape, data: await many.decode('I8') } };
          results.push(same(await code(tensors, { threads: 2 }), await code(tensors)));
          await rest();
          results.push(same(await code(tensors, { threads: 2 }), await code(tensors)));
          const broken = await open(new Uint8Array(await (await fetch(bad)).arrayBuffer()),
            { threads: 2 });
          const error = await broken.decode('I8').catch((e) => e);
          const stop = new AbortController();
          const stopped = await many.decode('grid', {
            signal: stop.signal, onProgress: () => stop.abort(),
          }).catch((e) => e);
          return {
            results, isolated: globalThis.crossOriginIsolated, code: error.code, position: error.position,
            stopped: stopped.code, file: await code(tensors).then((f) => f.length),
          };
        }, {
          url: page.put('file', file), bad: page.put('bad', await damaged(file, 'I8', 30)),
          shape: SHAPE, wanted: workers,
        }, { allow: /Content Security Policy|worker-src/ });
        assert.ok(found.results.every(Boolean), found.results.join());
        assert.equal(found.isolated, isolated);
        assert.equal(found.code, 'HANSEL_ERR_CORRUPT');
        assert.equal(found.position, 30);
        assert.equal(found.stopped, 'HANSEL_ERR_ABORTED');
        assert.equal(page.playwright.workers().length, workers);
      } finally {
        await browser.close();
      }
    });
  }

  it('decode with modules of another origin', async () => {
    const other = await openServer(ROOT, { 'Access-Control-Allow-Origin': '*' });
    const browser = await launch();
    try {
      const page = await browser.openPage();
      const equal = await page.run(async ({ url, from }) => {
        const { open } = await import(`${from}/web/hansel.js`);
        const { pickWorker } = await import(`${from}/web/workers/workers.js`);
        const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
        const many = await open(bytes, { threads: 2 });
        while (!pickWorker(1, many.codec.wasm.module)) {
          await new Promise((resolve) => { setTimeout(resolve, 5); });
        }
        const wanted = await (await open(bytes)).decode('I8');
        return (await many.decode('I8')).every((q, i) => q === wanted[i]);
      }, { url: page.put('file', file), from: other.url });
      assert.ok(equal);
      assert.equal(page.playwright.workers().length, 1);
    } finally {
      await browser.close();
      await other.close();
    }
  });
});

/** The file with a stream of a tensor made impossible. */
async function damaged(file, name, stream) {
  const { open } = await import('../../web/hansel.js');
  const model = await open(file);
  const { blob, cursors } = await model.payload(name);
  const bad = file.slice();
  const at = model.place(name).start + blob.headBytes + 2 * cursors[stream];
  return bad.fill(0, at, at + 16);
}
