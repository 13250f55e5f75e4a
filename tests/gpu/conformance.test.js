/** One suite, every device: wasm in Node, WebGPU on Dawn, and WebGPU, WebGL2, wasm in Chromium. */
import assert from 'node:assert/strict';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { webgpu } from '../../web/webgpu.js';
import { launch } from './chromium.js';
import { SUITE, runCheck } from './conformance.js';
import { openDawn } from './dawn.js';

/** @param {Awaited<ReturnType<typeof runCheck>>} found */
function pass({ problems, count, least, left, worst, amid }) {
  assert.deepEqual(problems, []);
  assert.ok(count >= least, `only ${count} cases`);
  assert.equal(left, 0, `${left} objects left`);
  if (amid !== undefined) assert.ok(amid > 20, `destroyed amid ${amid} calls`);
  console.log(`        ${count}${worst ? `, largest error ${worst.toExponential(1)}` : ''}`);
}

describe('conformance', function () {
  this.timeout(300_000);
  /** @type {Awaited<ReturnType<typeof launch>>} */
  let browser;
  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  describe('wasm in Node', () => {
    for (const name of Object.keys(SUITE)) {
      it(name, async () => pass(await runCheck(new WasmBackend(), name)));
    }
  });

  describe('WebGPU on Dawn', () => {
    let gpu;
    before(async () => { gpu = await webgpu({ gpu: (await openDawn()).gpu }); });
    after(() => gpu?.destroy());
    for (const name of Object.keys(SUITE)) {
      it(name, async () => pass(await runCheck(gpu, name)));
    }
  });

  for (const kind of ['webgpu', 'webgl', 'wasm']) {
    describe(`${kind} in Chromium`, () => {
      /** @type {import('./chromium.js').TestPage} */
      let page;
      before(async () => {
        page = await browser.openPage();
        const about = await page.run(async (which) => {
          const { gpu } = await import('/web/gpu.js');
          const found = await gpu({ prefer: [which] });
          globalThis.device = found.gpu;
          return found.kind;
        }, kind);
        assert.equal(about, kind);
      });
      after(() => page?.close());
      for (const name of Object.keys(SUITE)) {
        it(name, async () => pass(await page.run(async (which) => {
          const { runCheck: run } = await import('/tests/gpu/conformance.js');
          return run(globalThis.device, which);
        }, name)));
      }
    });
  }
});
