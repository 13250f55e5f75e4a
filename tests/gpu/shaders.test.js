/** Every program of the table compiles, in all its variants, as it is put together at run time. */
import assert from 'node:assert/strict';
import { GLSL, WGSL } from '../../web/gpu/shaders.js';
import { webgpu } from '../../web/webgpu.js';
import { launch } from './chromium.js';
import { openDawn } from './dawn.js';

/**
 * All programs of a table.
 * @param {Record<string, {entries?: string[], variants: Record<string, number[]>[]}>} table
 * @returns {{name: string, entry: string, settings: Record<string, number>}[]}
 */
function programs(table) {
  const found = [];
  for (const [name, { entries = [''], variants }] of Object.entries(table)) {
    for (const variant of variants) {
      let all = [{}];
      for (const [key, values] of Object.entries(variant)) {
        all = all.flatMap((settings) => values.map((value) => ({ ...settings, [key]: value })));
      }
      for (const entry of entries) found.push(...all.map((settings) => ({ name, entry, settings })));
    }
  }
  return found;
}

/** @param {any} gpu @param {ReturnType<typeof programs>} list @returns {Promise<string[]>} failures */
const compileAll = async (gpu, list) => {
  const problems = [];
  await gpu.guard(() => Promise.all(list.map(({ name, entry, settings }) => (
    gpu.kind === 'webgpu' ? gpu.pipeline(name, entry, settings) : gpu.program(name, settings)
  ).catch((error) => problems.push(
    `${name} ${entry} ${JSON.stringify(settings)}: ${error.message} ${error.got}`)))));
  return problems;
};

describe('shaders', function () {
  this.timeout(300000);
  const wgsl = programs(WGSL);
  const glsl = programs(GLSL);

  describe('on Dawn', () => {
    let gpu;
    before(async () => { gpu = await webgpu({ gpu: (await openDawn()).gpu }); });
    after(() => gpu?.destroy());

    it(`all ${wgsl.length} WGSL programs compile`, async () => {
      assert.ok(gpu.hasPackedDot);
      assert.deepEqual(await compileAll(gpu, wgsl), []);
    });

    it('also without packed_4x8_integer_dot_product', async () => {
      const dotted = wgsl.filter(({ settings }) => settings.kind === 1 || settings.is_integer === 1);
      gpu.hasPackedDot = false;
      assert.deepEqual(await compileAll(gpu, dotted), []);
      gpu.hasPackedDot = true;
    });

    it('a message names file and line', async () => {
      const { joinWgsl } = await import('../../web/webgpu.js');
      const text = '// mine\n\nfn f() -> u32 {\n    return nothing_of_that_name;\n}\n';
      const { code, where } = await joinWgsl(['halves.wgsl', { file: 'mine.wgsl', text }, 'tile.wgsl']);
      const line = code.split('\n').findIndex((one) => one.includes('nothing_of_that_name')) + 1;
      assert.equal(where(line), 'mine.wgsl:4');
      assert.equal(where(1), 'halves.wgsl:1');
    });
  });

  describe('in Chromium', () => {
    let browser;
    let page;
    before(async () => {
      browser = await launch();
      page = await browser.openPage();
    });
    after(() => browser?.close());

    it(`all ${wgsl.length} WGSL programs compile`, async () => {
      assert.deepEqual(await page.run(async ([list, text]) => {
        const { webgpu: openGpu } = await import('/web/webgpu.js');
        const gpu = await openGpu();
        const problems = await (0, eval)(text)(gpu, list);
        gpu.destroy();
        return problems;
      }, [wgsl, compileAll.toString()]), []);
    });

    it(`all ${glsl.length} GLSL programs compile`, async () => {
      assert.deepEqual(await page.run(async ([list, text]) => {
        const { webgl } = await import('/web/webgl.js');
        const gpu = await webgl();
        const problems = await (0, eval)(text)(gpu, list);
        gpu.destroy();
        return problems;
      }, [glsl, compileAll.toString()]), []);
    });

    it('a message names file and line', async () => {
      const got = await page.run(async () => {
        const { webgl } = await import('/web/webgl.js');
        const gpu = await webgl();
        const error = await gpu.program('matvec', { TEXELS: 0 }).catch((e) => e);
        gpu.destroy();
        return [error.code, error.where, error.got];
      });
      assert.deepEqual(got.slice(0, 2), ['HANSEL_ERR_SHADER', 'matvec']);
      assert.match(got[2], /^ERROR: matvec\.frag\.glsl:\d+: /m);
    });
  });
});
