/** GPUs that lie, hold little, are lost late: no wrong number, and gpu() goes on to the next. */
import assert from 'node:assert/strict';
import { withPage } from './chromium.js';
import { launch } from './firefox.js';

/** Runs in a page: what gpu() gives, and whether it decodes.
 * @param {('webgpu' | 'webgl' | 'wasm')[]} prefer */
async function tryGpu(prefer) {
  const { gpu: openGpu } = await import('/web/gpu.js');
  const { encode, open } = await import('/web/hansel.js');
  const { gpu, kind, tried } = await openGpu({ prefer });
  const data = new Int8Array(64 * 100).map((_, i) => i * i % 11);
  // 32 rows to a stream: products would draw to 8 attachments at once.
  const model = await open(await encode({ w: { dtype: 'I8', shape: [64, 100], data } },
    { streamLength: 3200, always: true }));
  const w = await gpu.load(model, 'w');
  const symbols = await w.symbols();
  const y = await w.matvec(new Float32Array(100).fill(1));
  gpu.destroy();
  return {
    kind, tried: tried.map(({ error }) => error?.code ?? 'none'),
    errors: tried.map(({ error }) => error?.message),
    right: symbols.every((q, i) => q === data[i]) && y.every((sum, row) => (
      sum === data.subarray(100 * row, 100 * row + 100).reduce((a, b) => a + b))),
    attachments: gpu.attachments,
  };
}

describe('trust, in Chromium', function () {
  this.timeout(60_000);
  /** @type {import('./chromium.js').TestPage} */
  let page;
  withPage((opened) => { page = opened; });

  it('a WebGL2 context that gives back noise is passed over, and freed', async () => {
    const found = await page.run(async (text) => {
      const { getBufferSubData } = WebGL2RenderingContext.prototype;
      const contexts = new Set();
      WebGL2RenderingContext.prototype.getBufferSubData = function noisy(...args) {
        getBufferSubData.apply(this, args);
        contexts.add(this);
        args[2][args[2].length - 3] ^= 1;
        args[2][5] ^= 1 << 30;
      };
      try {
        const tried = await (0, eval)(`(${text})`)(['webgl', 'wasm']);
        return { ...tried, lost: [...contexts].map((gl) => gl.isContextLost()) };
      } finally {
        WebGL2RenderingContext.prototype.getBufferSubData = getBufferSubData;
      }
    }, tryGpu.toString());
    assert.equal(found.kind, 'wasm');
    assert.deepEqual(found.tried, ['HANSEL_ERR_ADAPTER', 'none']);
    assert.match(found.errors[0], /does not give back what was written/);
    assert.ok(found.right);
    assert.deepEqual(found.lost, [true]);
  });

  it('so is a WebGPU device', async () => {
    const found = await page.run(async (text) => {
      const { getMappedRange } = GPUBuffer.prototype;
      GPUBuffer.prototype.getMappedRange = function noisy(...args) {
        const range = getMappedRange.apply(this, args);
        new Uint8Array(range)[7] ^= 1;
        return range;
      };
      try {
        return await (0, eval)(`(${text})`)(['webgpu', 'wasm']);
      } finally {
        GPUBuffer.prototype.getMappedRange = getMappedRange;
      }
    }, tryGpu.toString());
    assert.equal(found.kind, 'wasm');
    assert.deepEqual(found.tried, ['HANSEL_ERR_ADAPTER', 'none']);
    assert.ok(found.right);
  });

  for (const [bytes, kind, attachments] of /** @type {const} */ ([
    [128, 'webgl', 8], [127, 'webgl', 4], [116, 'webgl', 4], [63, 'wasm', undefined]])) {
    it(`WebGL2 that draws ${bytes} bytes to a pixel: ${kind}`, async () => {
      const found = await page.run(async ({ text, most }) => {
        const { prototype } = WebGL2RenderingContext;
        const { checkFramebufferStatus, drawArrays } = prototype;
        /** Bytes of all attachments: RGBA32UI and R32UI are what there is. */
        const drawn = (gl) => Array.from({ length: 8 }, (_, i) => {
          const about = (name) => gl.getFramebufferAttachmentParameter(gl.FRAMEBUFFER,
            gl.COLOR_ATTACHMENT0 + i, gl[`FRAMEBUFFER_ATTACHMENT_${name}`]);
          return about('OBJECT_TYPE') === gl.NONE ? 0 : about('ALPHA_SIZE') ? 16 : 4;
        }).reduce((a, b) => a + b);
        let beyond = 0;
        prototype.checkFramebufferStatus = function status(target) {
          return drawn(this) > most ? this.FRAMEBUFFER_UNSUPPORTED
            : checkFramebufferStatus.call(this, target);
        };
        prototype.drawArrays = function draw(...args) {
          if (drawn(this) > most) beyond++;
          drawArrays.apply(this, args);
        };
        try {
          return { ...await (0, eval)(`(${text})`)(['webgl', 'wasm']), beyond };
        } finally {
          Object.assign(prototype, { checkFramebufferStatus, drawArrays });
        }
      }, { text: tryGpu.toString(), most: bytes });
      assert.equal(found.kind, kind, found.errors[0]);
      assert.equal(found.attachments, attachments);
      assert.ok(found.right);
      assert.equal(found.beyond, 0);
    });
  }
});

describe('trust, in Firefox', function () {
  this.timeout(60_000);

  it('resisting fingerprinting, it gives noise for WebGL2: gpu() gives wasm', async () => {
    const browser = await launch({ prefs: { 'privacy.resistFingerprinting': true } });
    try {
      const page = await browser.openPage();
      const found = await page.run(tryGpu, ['webgl', 'wasm']);
      assert.equal(found.kind, 'wasm');
      assert.deepEqual(found.tried, ['HANSEL_ERR_ADAPTER', 'none']);
      assert.ok(found.right);
    } finally {
      await browser.close();
    }
  });

  it('says a tenth of a second late that a device is lost', async () => {
    const browser = await launch();
    try {
      const page = await browser.openPage();
      const found = await page.run(async () => {
        const { webgpu } = await import('/web/webgpu.js');
        const { encode, open } = await import('/web/hansel.js');
        const data = new Int8Array(64 * 100).map((_, i) => i * i % 11);
        const model = await open(await encode({ w: { dtype: 'I8', shape: [64, 100], data } }));
        const calls = {
          symbols: (w) => w.symbols(), matvec: (w) => w.matvec(new Float32Array(100)),
          load: (w) => w.gpu.load(model, 'w'),
        };
        const codes = {};
        const right = [];
        for (const [name, call] of Object.entries(calls)) {
          const gpu = await webgpu();
          const w = await gpu.load(model, 'w');
          gpu.device.destroy();
          codes[name] = await call(w).then(() => 'none', (error) => error.code);
          const again = await (await gpu.load(model, 'w')).symbols();
          right.push(again.every((q, i) => q === data[i]));
          gpu.destroy();
        }
        return { codes, right };
      }, undefined, { allow: /creating shader module|Parent device is lost/ });
      assert.deepEqual(found.codes, {
        symbols: 'HANSEL_ERR_LOST', matvec: 'HANSEL_ERR_LOST', load: 'HANSEL_ERR_LOST',
      });
      assert.deepEqual(found.right, [true, true, true]);
    } finally {
      await browser.close();
    }
  });
});
