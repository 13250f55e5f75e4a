/**
 * A few cases of each kind on every back end, and the README's snippet: what `make check` runs of
 * the GPU. webgpu, webgl, products and plain .test.js run all of them, within all limits.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { encode, open } from '../../web/hansel.js';
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

  it('the README\'s snippet', async () => {
    const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
    const snippet = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, text]) => text)
      .find((text) => text.includes('from \'hansel/gpu\''));
    assert.ok(snippet, 'the README has no snippet of hansel/gpu');
    const data = new Int8Array(64 * 100).map((_, i) => i * i % 11 - 5);
    const file = await encode({ w: { dtype: 'I8', shape: [64, 100], data } });
    const x = new Float32Array(100).map((_, i) => i % 7);
    page.put('readme.safetensors', file);
    // As it stands there, but for the package's name, and with the model and x that it takes as given.
    page.put('readme.js', Buffer.from(`import { open } from '/web/hansel.js';
      const model = await open('/__mem/readme.safetensors');
      const x = new Float32Array([${x}]);
      ${snippet.replace(/'hansel(\/\w+)?'/g, (_, entry = '/hansel') => `'/web${entry}.js'`)}
      export const result = { y: [...y], kind };`));
    const result = await page.run(async () => (await import('/__mem/readme.js')).result);
    const expected = await (await open(file)).matvec('w', x);
    assert.deepEqual(result, { y: [...expected], kind: 'webgpu' });
  });
});
