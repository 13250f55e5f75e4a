/** Every program of the table compiles, in all its variants, as it is put together at run time. */
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { GLSL, WGSL } from '../../web/gpu/shaders.js';
import { joinWgsl, webgpu } from '../../web/webgpu.js';
import { withPage } from './chromium.js';
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

/**
 * What drivers get wrong, Metal and FXC above all, and tests on software cannot see.
 * @param {string} text of a GLSL shader @returns {string[]}
 */
function risks(text) {
  const code = text.replace(/\/\/.*/g, '');
  const arrays = new Set([...code.matchAll(/\b\w+ (\w+)\[\w+\];/g)].map(([, name]) => name));
  const stores = [...code.matchAll(/(\w+)\[([^\]]*)\](\[[^\]]*\])?\s*[-+*/|&^]?=(?!=)/g)];
  return [
    ...[...code.matchAll(/discard;(?!\s*return;)/g)].map(() => 'no return after discard'),
    ...stores.filter(([, name, first, second]) => (arrays.has(name) ? second && /[a-z]/i.test(second)
      : /[a-z]/i.test(first))).map(([store]) => `a store to a run-time component: ${store}`),
  ];
}

describe('shaders', function () {
  this.timeout(300000);
  const wgsl = programs(WGSL);
  const glsl = programs(GLSL);

  it('GLSL returns after discard, and stores to no run-time component', async () => {
    let discards = 0;
    for (const folder of ['../../shaders/', '../../web/demo/'].map((path) => new URL(path, import.meta.url))) {
      for (const file of (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.glsl'))) {
        const text = await readFile(new URL(file, folder), 'utf8');
        discards += text.split('discard;').length - 1;
        assert.deepEqual(risks(text), [], file);
      }
    }
    assert.ok(discards >= 8);
    const risky = 'if (x) { discard; } uvec4 v; v[k & 3u] |= 1u; uvec4 s[N]; s[k] = v; s[k][j] = 1u;';
    assert.equal(risks(risky).length, 3);
  });

  describe('on Dawn', () => {
    let gpu;
    before(async () => { gpu = await webgpu({ gpu: (await openDawn()).gpu }); });
    after(() => gpu?.destroy());

    it('those with integers compile without packed_4x8_integer_dot_product', async () => {
      assert.ok(gpu.hasPackedDot);
      const dotted = wgsl.filter(({ settings }) => settings.kind === 1 || settings.is_integer === 1);
      gpu.hasPackedDot = false;
      assert.deepEqual(await compileAll(gpu, dotted), []);
      gpu.hasPackedDot = true;
    });

    it('a kernel of one\'s own goes after decode_stream.wgsl', async () => {
      const text = `
        @group(0) @binding(4) var<storage, read_write> sums: array<u32>; // of symbols, by row
        var<private> sum: vec4<u32>;
        fn emit(entry: vec4<u32>, row: u32, column_step: u32) {
          sum += (entry >> vec4(HANSEL_SYMBOL_SHIFT)) & vec4(255u);
        }
        fn emit_pair(first: vec4<u32>, second: vec4<u32>, row: u32, column_step: u32) {
          emit(first, row, column_step);
          emit(second, row, column_step + 1u);
        }
        fn end_row(row: u32) {
          sums[row] = sum.x + sum.y + sum.z + sum.w;
          sum = vec4(0u);
        }
        @compute @workgroup_size(group_size)
        fn add_up(@builtin(workgroup_id) group: vec3<u32>,
                  @builtin(local_invocation_index) invocation: u32) {
          load_table(invocation);
          let i = group.x * group_size + invocation;
          if (i < blob.stream_count) {
            decode_stream(stream_extent(blob.first_stream + i), cursors[i], cursors[i + 1u]);
          }
        }`;
      const { code } = await joinWgsl(['decode_stream.wgsl', { file: 'mine.wgsl', text }]);
      const { device } = gpu;
      await gpu.guard(() => device.createComputePipelineAsync({
        layout: 'auto', compute: { module: device.createShaderModule({ code }), entryPoint: 'add_up' },
      }));
    });

    it('a message names file and line', async () => {
      const text = '// mine\n\nfn f() -> u32 {\n    return nothing_of_that_name;\n}\n';
      const { code, where } = await joinWgsl(['halves.wgsl', { file: 'mine.wgsl', text }, 'tile.wgsl']);
      const line = code.split('\n').findIndex((one) => one.includes('nothing_of_that_name')) + 1;
      assert.equal(where(line), 'mine.wgsl:4');
      assert.equal(where(1), 'halves.wgsl:1');
    });
  });

  describe('in Chromium', () => {
    let page;
    withPage((opened) => { page = opened; });

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
