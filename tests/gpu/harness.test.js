/**
 * The GPU test harness itself: shaders run where the other tests will run them, what goes wrong in
 * a page or on a device fails the test, and the log says what the devices offer.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { withPage } from './chromium.js';
import { openDawn } from './dawn.js';
import { describeGpu, digest, runCompute } from './page.js';

const COUNT = 1000;
const COMPUTE = /* wgsl */ `
override count: u32;
@group(0) @binding(0) var<storage, read_write> dst: array<u32>;
var<workgroup> slots: array<u32, 4096>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    for (var i = lane; i < 4096u; i += 64u) { slots[i] = i * i; }
    workgroupBarrier();
    let at = group.x * 64u + lane;
    if (at < count) { dst[at] = slots[4095u - at]; }
}`;
const JOB = { code: COMPUTE, constants: { count: COUNT }, groups: [16], buffers: [COUNT * 4 + 4] };
const WRONG = { ...JOB, code: COMPUTE.replace('at < count', 'at < -1.5') };

const VERTEX = `#version 300 es
void main() {
    gl_Position = vec4(ivec2(gl_VertexID & 1, gl_VertexID >> 1) * 4 - 1, 0, 1);
}`;
const FRAGMENT = `#version 300 es
precision highp int;
precision highp float;
layout(location = 0) out uvec4 dst0;
layout(location = 1) out uvec4 dst1;
layout(location = 2) out uvec4 dst2;
layout(location = 3) out uvec4 dst3;
uvec4 value(uint k) {
    uint at = uint(gl_FragCoord.y) * 8u + uint(gl_FragCoord.x);
    return (uvec4(0, 1, 2, 3) + 4u * k + 16u * at) * 0x9e3779b1u;
}
void main() { dst0 = value(0u); dst1 = value(1u); dst2 = value(2u); dst3 = value(3u); }`;

/** @param {Uint8Array} bytes what JOB left */
function checkCompute(bytes) {
  const words = new Uint32Array(bytes.buffer);
  const want = Array.from({ length: COUNT }, (_, i) => (4095 - i) ** 2);
  assert.deepEqual([...words], [...want, 0]);
}

describe('GPU harness: Chromium', function () {
  this.timeout(60_000);
  /** @type {import('./chromium.js').TestPage} */
  let page;
  let browser;
  withPage((...opened) => { [page, browser] = opened; });

  it('says what it offers', async () => {
    const { gpu, gl, isolated } = await page.run((_, h) => h.withTestDevice({}, (device, adapter) =>
      h.withTestGl({}, (context) => ({
        gpu: h.describeGpu(navigator.gpu, adapter),
        gl: h.describeGl(context),
        isolated: globalThis.crossOriginIsolated,
      }))));
    console.log(`Chromium ${browser.version}`, gpu, gl);
    assert.equal(isolated, true);
    assert.ok(gpu.maxComputeWorkgroupStorageSize >= 16384);
    assert.ok(gl.MAX_DRAW_BUFFERS >= 4);
  });

  for (const forceMinimums of [false, true]) {
    const title = forceMinimums ? 'with the least guaranteed' : 'with all the adapter has';

    it(`runs a compute shader ${title}`, async () => {
      await page.run(async ({ job, settings }, h) => {
        await h.send('compute', await h.withTestDevice(settings, (d) => h.runCompute(d, job)));
      }, { job: JOB, settings: { forceMinimums } });
      checkCompute(page.take('compute'));
    });

    it(`renders to four integer attachments ${title}`, async () => {
      await page.run(({ vertex, fragment, settings }, h) => h.withTestGl(settings, async (gl) => {
        gl.useProgram(h.linkProgram(gl, vertex, fragment));
        gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
        const points = [0, 1, 2, 3].map((i) => gl.COLOR_ATTACHMENT0 + i);
        for (const point of points) {
          const texture = gl.createTexture();
          gl.bindTexture(gl.TEXTURE_2D, texture);
          gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32UI, 8, 2);
          gl.framebufferTexture2D(gl.FRAMEBUFFER, point, gl.TEXTURE_2D, texture, 0);
        }
        gl.drawBuffers(points);
        gl.viewport(0, 0, 8, 2);
        gl.drawArrays(gl.TRIANGLES, 0, 3);
        const words = new Uint32Array(4 * 64);
        for (const [i, point] of points.entries()) {
          gl.readBuffer(point);
          gl.readPixels(0, 0, 8, 2, gl.RGBA_INTEGER, gl.UNSIGNED_INT, words, i * 64);
        }
        await h.send('pixels', new Uint8Array(words.buffer));
      }), { vertex: VERTEX, fragment: FRAGMENT, settings: { forceMinimums } });
      const words = new Uint32Array(page.take('pixels').buffer);
      const want = Array.from({ length: 256 }, (_, i) => {
        const [attachment, pixel, lane] = [i >> 6, (i >> 2) & 15, i & 3];
        return Math.imul(16 * pixel + 4 * attachment + lane, 0x9e3779b1) >>> 0;
      });
      assert.deepEqual([...words], want);
    });
  }

  it('moves large buffers both ways, and by range', async () => {
    const bytes = new Uint8Array(32 << 20);
    for (let i = 0; i < bytes.length; i += 997) bytes[i] = i;
    const url = page.put('large', bytes);
    const seen = await page.run(async (path, h) => {
      const all = await h.fetchBytes(path);
      await h.send('back', all);
      const part = await fetch(path, { headers: { Range: 'bytes=996-998' } });
      return {
        digest: await h.digest(all),
        status: part.status,
        contentRange: part.headers.get('Content-Range'),
        part: [...new Uint8Array(await part.arrayBuffer())],
      };
    }, url);
    assert.equal(seen.digest, await digest(bytes));
    assert.equal(page.take('large'), bytes);
    assert.equal(Buffer.compare(page.take('back'), bytes), 0);
    assert.equal(seen.status, 206);
    assert.equal(seen.contentRange, `bytes 996-998/${bytes.length}`);
    assert.deepEqual(seen.part, [0, 997 & 255, 0]);
    assert.throws(() => page.take('back'), /sent nothing/);
  });

  it('fails for what a page throws, rejects or logs', async () => {
    await assert.rejects(page.run(() => { throw new TypeError('thrown'); }), /thrown/);
    await assert.rejects(page.run(() => { Promise.reject(new Error('unheard')); }), /unheard/);
    await assert.rejects(page.run(() => {
      setTimeout(() => { throw new Error('late'); });
    }), /late/);
    await assert.rejects(page.run(() => console.error('logged')), /logged/);
    await assert.rejects(page.run(() => console.warn('warned')), /warned/);
    await assert.rejects(page.run(() => { fetch('/none'); }).then(() => page.run(
      () => new Promise((resolve) => setTimeout(resolve, 200)))), /404/);
    assert.equal(await page.run(() => { console.warn('wanted'); return 1; }, null, {
      allow: /wanted/,
    }), 1);
  });

  it('fails for errors and loss on a device', async () => {
    await assert.rejects(page.run((job, h) => h.withTestDevice({}, (device) =>
      h.runCompute(device, job)), WRONG), /-1.5/);
    await assert.rejects(page.run((_, h) => h.withTestDevice({ forceMinimums: true }, (device) => {
      device.createBuffer({ size: device.limits.maxBufferSize + 4, usage: GPUBufferUsage.STORAGE });
    })), /validation: .*size/);
    await assert.rejects(page.run((_, h) => h.withTestDevice(
      { features: [/** @type {GPUFeatureName} */ ('no-such-feature')] }, () => {})), /feature/);
    const reason = await page.run((_, h) => h.withTestDevice({}, async (device) => {
      device.destroy();
      return (await device.lost).reason;
    }));
    assert.equal(reason, 'destroyed');
  });

  it('fails for errors on a context, and lets it be lost on purpose', async () => {
    await assert.rejects(page.run((_, h) => h.withTestGl({}, (gl) => gl.enable(1))),
      /gl.enable: error 0x500/);
    await assert.rejects(page.run((_, h) => h.withTestGl({ check: false }, (gl) => gl.enable(1))),
      /INVALID_ENUM/);
    await assert.rejects(page.run((_, h) => h.withTestGl({ forceMinimums: true }, (gl) =>
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R8, 4096, 1))), /4096x1/);
    const lost = await page.run((_, h) => h.withTestGl({}, async (gl, canvas) => {
      const event = new Promise((resolve) => {
        canvas.addEventListener('webglcontextlost', resolve);
      });
      gl.getExtension('WEBGL_lose_context')?.loseContext();
      await event;
      return gl.isContextLost();
    }));
    assert.equal(lost, true);
  });

  it('opens more contexts than a browser keeps', async () => {
    await page.run(async (_, h) => {
      for (let i = 0; i < 40; i++) {
        await h.withTestGl({}, (gl) => gl.clear(gl.COLOR_BUFFER_BIT));
      }
    });
  });

  it('uses two pages at once', async () => {
    const pages = await Promise.all([browser.openPage(), browser.openPage()]);
    await Promise.all(pages.map((each, i) => each.run(async ({ job, name }, h) => {
      await h.send(name, await h.withTestDevice({}, (device) => h.runCompute(device, job)));
    }, { job: JOB, name: `page ${i}` })));
    for (const [i, each] of pages.entries()) {
      checkCompute(each.take(`page ${i}`));
      await each.close();
    }
  });
});

describe('GPU harness: Dawn', function () {
  this.timeout(30_000);
  /** @type {Awaited<ReturnType<typeof openDawn>>} */
  let dawn;

  before(async () => {
    dawn = await openDawn();
  });

  it('says what it offers', () => {
    const offer = describeGpu(dawn.gpu, dawn.adapter);
    console.log('Dawn', offer);
    assert.ok(offer.maxComputeWorkgroupStorageSize >= 16384);
  });

  for (const forceMinimums of [false, true]) {
    it(`runs a compute shader, forceMinimums ${forceMinimums}`, async () => {
      checkCompute(await dawn.withDevice({ forceMinimums }, (d) => runCompute(d, JOB)));
    });
  }

  it('fails for errors, and lets a device be lost on purpose', async () => {
    await assert.rejects(dawn.withDevice({}, (d) => runCompute(d, WRONG)), /-1.5/);
    await assert.rejects(dawn.withDevice({ forceMinimums: true }, (device) => {
      device.createBuffer({ size: device.limits.maxBufferSize + 4, usage: GPUBufferUsage.STORAGE });
    }), /validation: .*size/);
    const reason = await dawn.withDevice({}, async (device) => {
      device.destroy();
      return (await device.lost).reason;
    });
    assert.equal(reason, 'destroyed');
  });

  it('lets its process end', async () => {
    const source = `
      import { openDawn } from './dawn.js';
      import { runCompute } from './page.js';
      const dawn = await openDawn();
      await dawn.withDevice({}, (device) => runCompute(device, ${JSON.stringify(JOB)}));
      await dawn.device();
      console.log('done');`;
    const { stdout } = await promisify(execFile)(process.execPath,
      ['--input-type=module', '--eval', source],
      { cwd: fileURLToPath(new URL('.', import.meta.url)), timeout: 20_000 });
    assert.equal(stdout, 'done\n');
  });
});
