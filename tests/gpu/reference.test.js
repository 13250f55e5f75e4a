/** The reference matrix on both GPU interfaces, and gpu()'s choice. */
import assert from 'node:assert/strict';
import { SAMPLE_COLUMNS, sampleRows } from '../../web/cli/sample.js';
import { encode } from '../../web/hansel.js';
import { launch } from './chromium.js';

describe('reference matrix and gpu()', function () {
  this.timeout(300000);
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

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
