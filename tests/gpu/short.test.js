/**
 * A few cases of each kind on every back end: what `make check` runs of the GPU. `make test` leaves
 * it out: conformance.test.js runs all of them.
 */
import assert from 'node:assert/strict';
import { webgpu } from '../../web/webgpu.js';
import { withPage } from './chromium.js';
import { openDawn } from './dawn.js';
import { SHORT, checkShort } from './products_cases.js';

describe('every back end, briefly', function () {
  this.timeout(120000);
  let page;
  withPage((opened) => { page = opened; });

  it('WebGPU on Dawn', async () => {
    const dawn = await openDawn();
    const gpu = await webgpu({ gpu: dawn.gpu });
    const { count, problems } = await checkShort(gpu);
    gpu.destroy();
    assert.deepEqual(problems, []);
    assert.ok(count >= SHORT.length);
  });

  for (const kind of ['webgpu', 'webgl', 'wasm']) {
    it(`${kind} in Chromium`, async () => {
      const { count, problems } = await page.run(async (which) => {
        const { gpu } = await import('/web/gpu.js');
        const cases = await import('/tests/gpu/products_cases.js');
        const { gpu: backend } = await gpu({ prefer: [which] });
        const found = await cases.checkShort(backend);
        backend.destroy();
        return found;
      }, kind);
      assert.deepEqual(problems, []);
      assert.ok(count >= SHORT.length);
    });
  }
});
