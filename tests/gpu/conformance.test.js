/** One suite, every device: wasm in Node, WebGPU on Dawn, and WebGPU, WebGL2, wasm in Chromium. */
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { webgpu } from '../../web/webgpu.js';
import { launch } from './chromium.js';
import { runCheck } from './conformance.js';
import { openDawn } from './dawn.js';
import { describePage, describeSuite } from './suite.js';

describe('conformance', () => {
  /** @type {Awaited<ReturnType<typeof launch>>} */
  let browser;
  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  describeSuite('wasm in Node', (name) => runCheck(new WasmBackend(), name));

  let gpu;
  describeSuite('WebGPU on Dawn', (name) => runCheck(gpu, name), async () => {
    gpu = await webgpu({ gpu: (await openDawn()).gpu });
  }, () => gpu?.destroy());

  for (const kind of /** @type {const} */ (['webgpu', 'webgl', 'wasm'])) {
    describePage('Chromium', kind, () => browser.openPage());
  }
});
