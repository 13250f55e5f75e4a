/** The demo page as a person uses it, and the reference matrix on both GPU interfaces. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from '../../web/hansel.js';
import { SAMPLE_COLUMNS, sampleRows } from '../../web/sample.js';
import { launch } from './chromium.js';

const PAGE = '/web/demo/index.html';

describe('demo page and reference matrix', function () {
  this.timeout(300000);
  let browser;
  let folder;
  let small;
  before(async () => {
    browser = await launch();
    folder = await mkdtemp(join(tmpdir(), 'hansel-demo-'));
    const data = new Float32Array(300 * 256).map((_, i) => Math.sin(i * i) * Math.cos(i));
    small = await encode({
      matrix: { dtype: 'F32', shape: [300, 256], data },
      norm: { dtype: 'F32', shape: [16], data: data.slice(0, 16) },
    }, { bits: 4 });
    await writeFile(join(folder, 'small.hansel.safetensors'), small);
  });
  after(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Waits for the end and returns the table's texts. */
  async function finished(page) {
    await page.playwright.waitForFunction(
      () => /^(Done|HANSEL|Stopped)/.test(document.getElementById('status').textContent), null, { timeout: 120000 });
    return page.playwright.$$eval('#tensors tbody tr',
      (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  }

  it('opens a file that is chosen, and finds all decoders bit-exact', async () => {
    const page = await browser.openPage(PAGE);
    await page.playwright.setInputFiles('#file', join(folder, 'small.hansel.safetensors'));
    const rows = await finished(page);
    assert.equal(rows.length, 2);
    const [name, shape, mode, , wasm, gl, gpu] = rows[0];
    assert.deepEqual([name, shape, mode], ['matrix', '300 x 256 F32', 'grid']);
    assert.match(wasm, /ms, \d+ M\/s/);
    assert.match(gl, /bit-exact$/);
    assert.match(gpu, /bit-exact$/);
    assert.equal(rows[1][2], 'pass-through');
    await page.playwright.screenshot({ path: 'build/demo.png', fullPage: true });
    await page.close();
  });

  it('opens an address, and says what is wrong with a damaged file', async () => {
    const page = await browser.openPage(PAGE);
    const bad = small.slice();
    bad[bad.length - 200] ^= 4;
    const url = await page.put('bad.safetensors', bad);
    await page.playwright.goto(`${browser.url.replace(/\/$/, '')}${PAGE}?file=${encodeURIComponent(url)}`);
    await page.playwright.waitForFunction(
      () => /^(Done|HANSEL)/.test(document.getElementById('status').textContent), null, { timeout: 60000 });
    assert.match(await page.playwright.textContent('#status'), /^HANSEL_ERR_(CHECKSUM|CORRUPT|MANIFEST)/);
    await page.close();
  });

  it('fits a phone', async () => {
    const page = await browser.openPage(PAGE);
    await page.playwright.setViewportSize({ width: 360, height: 700 });
    await page.playwright.setInputFiles('#file', join(folder, 'small.hansel.safetensors'));
    await finished(page);
    const [scroll, width] = await page.playwright.evaluate(
      () => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.ok(scroll <= width, `page ${scroll} px wide in a window of ${width}`);
    await page.close();
  });

  it('decodes the reference matrix\'s first 4096 rows on both interfaces', async () => {
    const rows = 4096;
    const data = new Float32Array(rows * SAMPLE_COLUMNS);
    let at = 0;
    for (const slice of sampleRows({ rows })) {
      data.set(slice, at);
      at += slice.length;
    }
    const page = await browser.openPage();
    const url = await page.put('reference.safetensors', await encode(
      { w: { dtype: 'F32', shape: [rows, SAMPLE_COLUMNS], data } }, { step: 1 / 52, saturate: true }));
    for (const kind of ['webgpu', 'webgl']) {
      const verdict = await page.run(async ([from, which]) => {
        const { open } = await import('/web/hansel.js');
        const { gpu } = await import('/web/gpu.js');
        const { gpu: backend } = await gpu({ prefer: [which] });
        const w = await backend.load(await open(from), 'w');
        const result = await w.verify();
        w.destroy();
        backend.destroy();
        return result;
      }, [url, kind]);
      assert.deepEqual(verdict, { ok: true }, kind);
    }
    await page.close();
  });

  it('gpu() picks WebGPU, can be forced, and can measure', async () => {
    const page = await browser.openPage();
    const found = await page.run(async () => {
      const { gpu } = await import('/web/gpu.js');
      const kinds = [];
      for (const options of [{}, { prefer: ['webgl'] }, { prefer: ['wasm'] }]) {
        const { gpu: backend, kind } = await gpu(options);
        kinds.push(kind);
        backend.destroy();
      }
      const { tried, gpu: fastest, kind } = await gpu({ measure: true });
      fastest.destroy();
      const best = tried.reduce((a, b) => (b.ms < a.ms ? b : a));
      const bad = await gpu({ prefer: ['cuda'] }).catch((error) => error.code);
      return { kinds, measured: tried.length, agrees: best.kind === kind, bad };
    });
    assert.deepEqual(found, {
      kinds: ['webgpu', 'webgl', 'wasm'], measured: 3, agrees: true, bad: 'HANSEL_ERR_ARGUMENT',
    });
    await page.close();
  });
});
