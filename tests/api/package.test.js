/** The npm package: packed, installed offline into an empty project, used from Node and a page. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ggufFile } from '../../tools/gguf_model.js';
import { onnxFiles, readCheckpoint } from '../../tools/runtime_files.js';
import { serve } from '../../web/cli/serve.js';
import { launch } from '../gpu/chromium.js';
import { plain } from './command.js';
import { makeLlama } from './llama_reference.js';

const root = new URL('../..', import.meta.url).pathname;
/** The newest, and the last of version 5. */
const COMPILERS = ['typescript', 'typescript-5'].map((name) => join(root, 'node_modules', name, 'bin/tsc'));
const run = (cwd, file, ...args) => execFileSync(file, args, {
  cwd, encoding: 'utf8', env: { ...process.env, npm_config_offline: 'true' },
});

/** The static imports of a module, itself included: what a page waits for. */
async function loadedBy(path) {
  const seen = new Map();
  const visit = async (file) => {
    if (seen.has(file)) return;
    const text = await readFile(file);
    seen.set(file, text);
    const imports = text.toString().matchAll(/(?:^|[;}\n])\s*(?:import|export)[^;"'()]*?["'](\.[^"']+)["']/g);
    for (const [, name] of imports) await visit(join(dirname(file), name));
  };
  await visit(path);
  const texts = [...seen.values()];
  return {
    files: texts.length,
    bytes: texts.reduce((sum, text) => sum + text.length, 0),
    gzipped: texts.reduce((sum, text) => sum + gzipSync(text, { level: 9 }).length, 0),
  };
}

describe('npm package', function () {
  this.timeout(120000);
  let folder;
  let files;
  let size;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hansel-package-'));
    const [packed] = JSON.parse(run(root, 'npm', 'pack', '--json', '--ignore-scripts',
      '--pack-destination', folder));
    files = packed.files.map(({ path }) => path);
    ({ size } = packed);
    await writeFile(join(folder, 'package.json'), '{"name":"empty","private":true,"type":"module"}');
    run(folder, 'npm', 'install', '--no-audit', '--no-fund', join(folder, packed.filename));
  });

  /**
   * As a strict user would; declarations are checked, too.
   * @param {string} tsc @param {string} file @param {object} [options]
   */
  const compile = async (tsc, file, options) => {
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({
      compilerOptions: {
        noEmit: true, strict: true, skipLibCheck: false, module: 'nodenext', target: 'es2022', types: [],
        lib: ['es2023', 'dom', 'dom.iterable', 'dom.asynciterable'], ...options,
      },
      files: [file],
    }));
    try {
      run(folder, 'node', tsc, '-p', 'tsconfig.json');
    } catch (error) {
      throw new Error(`${tsc}\n${error.stdout}`);
    }
  };

  after(() => rm(folder, { recursive: true, force: true }));

  it('holds what it needs and nothing else', () => {
    for (const path of ['README.md', 'LICENSE', 'web/hansel.js', 'web/cli.js', 'src/FORMAT.md',
      'dist/hansel.wasm', 'dist/hansel_simd.wasm', 'dist/decode.wasm', 'dist/decode_simd.wasm', 'dist/recode.wasm',
      'dist/planes.wasm',
      'dist/worker.js', 'dist/wgsl.js', 'dist/glsl.js', 'dist/parsers.js', 'web/file.js', 'min/file.js', 'min/service_worker.js', 'dist/types/hansel.d.ts', 'min/hansel.js',
      'CHANGELOG.md']) {
      assert.ok(files.includes(path), `${path} is missing`);
    }
    const known = /^(web\/(?!demo|llama\/.*(web|shaders|sl$))|shaders\/|min\/\w+\.(js|d\.ts)$|dist\/(\w+\.(wasm|js|d\.ts)$|types\/(?!demo|llama|cli))|src\/FORMAT\.md$|[A-Z]+(\.md)?$|package\.json$)/;
    assert.deepEqual(files.filter((path) => !known.test(path)), []);
    assert.ok(size <= 700_000, `${size} bytes packed`);
    console.log(`      ${files.length} files, ${size} bytes packed`);
  });

  it('is small: the modules, and what a page loads to decode', async () => {
    const installed = join(folder, 'node_modules/hansel');
    const limits = {
      'decode.wasm': 17, 'decode_simd.wasm': 24, 'hansel.wasm': 32, 'hansel_simd.wasm': 36, 'recode.wasm': 9,
      'planes.wasm': 6,
    };
    const sizes = {};
    for (const [name, kib] of Object.entries(limits)) {
      sizes[name] = (await readFile(join(installed, 'dist', name))).length;
      assert.ok(sizes[name] <= 1024 * kib, `${name}: ${sizes[name]} bytes`);
    }
    for (const entry of ['web/hansel.js', 'min/hansel.js']) {
      const loaded = await loadedBy(join(installed, entry));
      sizes[entry] = `${loaded.files} files, ${loaded.bytes} bytes, ${loaded.gzipped} gzipped`;
      if (entry.startsWith('min/')) assert.ok(loaded.gzipped <= 12_500, sizes[entry]);
    }
    console.log(Object.entries(sizes).map(([name, size]) => `      ${name}: ${size}`).join('\n'));
  });

  it('runs the README\'s first command and its snippets', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8');
    const bin = join(folder, 'node_modules/.bin/hansel');
    run(folder, bin, 'sample', 'model.safetensors', '--rows', '16'); // of 4096 columns
    const command = /npx hansel (encode model[^#\n]*?) *#/.exec(readme)?.[1];
    assert.ok(command, 'the README has no command');
    run(folder, bin, ...command.split(' '));
    const snippets = [...readme.matchAll(/```js\n(import [^\n]*'hansel';[^]*?)```/g)];
    assert.equal(snippets.length, 2);
    for (const [i, [, snippet]] of snippets.entries()) {
      await writeFile(join(folder, `snippet${i}.js`), `${snippet}
if (!(weights instanceof Float32Array) || weights.length !== 64 * 1024) throw new Error('wrong');
console.log('snippet ran', weights.length);`);
      assert.match(run(folder, 'node', `snippet${i}.js`), /snippet ran 65536/);
    }
  });

  it('calibrates, and codes by that', async () => {
    const { config, tensors } = makeLlama({ hidden_size: 64, intermediate_size: 96 }, 1);
    const bin = join(folder, 'node_modules/.bin/hansel');
    await writeFile(join(folder, 'llama.safetensors'), plain(tensors));
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
    run(folder, bin, 'calibrate', 'llama.safetensors', '-o', 'h.safetensors', '--samples', '1');
    const { tensors: coded } = JSON.parse(run(folder, bin, 'encode', 'llama.safetensors', '--bits', '4', '--hessians',
      'h.safetensors', '--json'));
    assert.equal(Object.values(coded).filter(({ error_feedback: is }) => is).length, 15);
  });

  it('has a command line', () => {
    const bin = join(folder, 'node_modules/.bin/hansel');
    assert.match(run(folder, bin, '--help'), /hansel encode IN/);
    run(folder, bin, 'sample', 's.safetensors', '--rows', '64');
    run(folder, bin, 'encode', 's.safetensors', '--bits', '4');
    run(folder, bin, 'verify', 's.hansel.safetensors', '--against', 's.safetensors');
    const info = JSON.parse(run(folder, bin, 'info', 's.hansel.safetensors', '--json'));
    assert.ok(info.tensors.w.bits_per_weight <= 4 && info.tensors.w.bits_per_weight > 3.9);
  });

  it('codes and gives back an ONNX model and a GGUF file, and writes a Service Worker', async () => {
    const { config, sizes, tensors } = await readCheckpoint(join(root, 'web/demo/models/licence-llama'), 'model.hansel.safetensors');
    const bin = join(folder, 'node_modules/.bin/hansel');
    const made = [['m.onnx', onnxFiles({ config, sizes, tensors }).get('onnx/model_inline.onnx')],
      ['m.gguf', ggufFile(sizes, tensors, 'Q8_0')]];
    for (const [name, bytes] of made) {
      await writeFile(join(folder, name), bytes);
      run(folder, bin, 'encode', name);
      await rm(join(folder, name));
      run(folder, bin, 'decode', `${name}.hansel`);
      assert.ok((await readFile(join(folder, name))).equals(bytes), name);
    }
    run(folder, bin, 'service-worker', 'www');
    assert.match(await readFile(join(folder, 'www/hansel-sw.js'), 'utf8'), /^const HANSEL_MODULES = /);
    await writeFile(join(folder, 'file.js'), `import { openFile } from 'hansel/file';
const file = await openFile('m.gguf.hansel');
console.log((await file.bytes()).length === file.size, file.format);`);
    assert.equal(run(folder, 'node', 'file.js'), 'true gguf\n');
  });

  it('has types that a strict TypeScript user can compile against', async () => {
    await writeFile(join(folder, 'user.ts'), `
import { assets, open, encode, estimate, HanselError } from 'hansel';
import { open as openAll } from 'hansel/min/all.js';
import { gpu as minGpu } from 'hansel/min/gpu.js';
import type { Dtype } from 'hansel';
import { hanselCache, hanselFetch, openFile } from 'hansel/file';
assets({ base: '/hansel/' });
const file: Uint8Array<ArrayBuffer> = await encode({ w: { dtype: 'F32', shape: [2], data: new Float32Array(2) } });
const model = await open(new Blob([file]), { threads: 2 });
await (await minGpu()).gpu.load(await openAll(file), 'w');
const shape: number[] | undefined = model.tensors.get('w')?.shape;
const dtype: Dtype = model.tensor('w').dtype;
const floats: Float32Array = await model.decode('w', { dtype: 'F32' });
const mine = new Uint16Array(2);
const halves: typeof mine = await model.decode('w', { dtype: 'BF16', into: mine });
const indices: Int8Array = await model.rows('w', 0, 1, { dtype: 'I8' });
const whatever = await model.decode('w');
const length: number = whatever.length;
// @ts-expect-error an array of floats it is
const wrong: Int8Array = await model.decode('w', { dtype: 'F32' });
// @ts-expect-error no such dtype
await model.decode('w', { dtype: 'F31' });
// @ts-expect-error no such option
await encode({}, { bitz: 4 });
const restored = await openFile('m.onnx.hansel', { threads: 2 });
const part: Uint8Array = await restored.bytes({ start: 0, end: restored.size, onProgress: ({ done }) => void done });
const cache = await caches.open('models');
globalThis.fetch = hanselFetch(fetch, { cache, match: /bin$/, coded: (url) => url.href + '.hansel' });
const kept: Response | undefined = await hanselCache(cache).match('x');
// @ts-expect-error no such option
hanselFetch(fetch, { kache: cache });
console.log(part, kept, await restored.blob(), restored.stream().locked);
const { error }: { error: number } = (await estimate(model)).at({ bits: 4 });
try { await model.decode('x'); } catch (e) { if (e instanceof HanselError) console.log(e.code, shape); }
console.log(dtype, floats, halves, indices, length, wrong, error);
`);
    for (const tsc of COMPILERS) await compile(tsc, 'user.ts');
    await writeFile(join(folder, 'plain.ts'), `
import { open } from 'hansel';
import { gpu } from 'hansel/gpu';
const { gpu: device } = await gpu({ prefer: 'webgl' });
const w = await device.load(await open('model.safetensors'), 'w');
const y: Float32Array = await w.matvec(new Float32Array(w.columns));
`);
    for (const tsc of COMPILERS) { // a worker's and a server's TypeScript know no page
      await compile(tsc, 'plain.ts', { lib: ['es2023', 'webworker'] });
      await compile(tsc, 'plain.ts', { lib: ['es2023'], types: [join(root, 'node_modules/@types/node')] });
    }
  });

  it('has types of the GPU entries, too, whoever knows what WebGPU is', async () => {
    await writeFile(join(folder, 'gpu_user.ts'), `
import { open } from 'hansel';
import { gpu } from 'hansel/gpu';
import { webgpu } from 'hansel/webgpu';
import { webgl } from 'hansel/webgl';
import { loadPlain } from 'hansel/plain';
const model = await open('model.safetensors');
const { gpu: device, kind } = await gpu({ prefer: ['webgl', 'wasm'] });
const w = await device.load(model, 'w');
const step: number = w.step;
const y: Float32Array = await w.matvec(new Float32Array(w.columns), { bias: new Float32Array(w.rows) });
const integers: Int32Array = await w.matvecI8(new Int8Array(w.columns));
const halves: Uint16Array = await w.decodeRows(0, 1, { dtype: 'F16' });
const isOk: boolean = (await w.verify()).ok;
w.destroy();
for (const back of [await webgpu(), await webgl({ canvas: document.createElement('canvas') })]) {
  const plain = await loadPlain(back, model, 'norm', { layout: 'group' });
  console.log(kind.length, step, y, integers, halves, isOk, await plain.matmul(new Float32Array(8), 2));
  back.destroy();
}
`);
    const webgpuTypes = join(root, 'node_modules/@webgpu/types');
    for (const tsc of COMPILERS) await compile(tsc, 'gpu_user.ts');
    // With TypeScript 7's own, @webgpu/types declares everything twice.
    await compile(COMPILERS[1], 'gpu_user.ts', { types: [webgpuTypes] });
    await compile(COMPILERS[0], 'gpu_user.ts', { types: [webgpuTypes], skipLibCheck: true });
  });

  it('says whose it is, and under which licence, in every file that is built', async () => {
    const { version, repository, publishConfig } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    assert.ok(repository.url && publishConfig.provenance);
    for (const path of files.filter((one) => /^(min|dist)\/\w+\.js$/.test(one))) {
      const text = await readFile(join(folder, 'node_modules/hansel', path), 'utf8');
      assert.ok(text.startsWith(`/* hansel ${version}, MIT */\n`), path);
    }
  });

  it('works from a page, without a bundler', async () => {
    const server = await serve(folder);
    const browser = await launch();
    try {
      const page = await browser.openPage();
      await writeFile(join(folder, 'page.html'), '<!doctype html><title>page</title><link rel="icon" href="data:,">');
      await page.playwright.goto(`${server.url}page.html`);
      for (const built of ['web', 'min']) {
        const result = await page.run(async (built) => {
          const { open, encode, HanselError } = await import(`/node_modules/hansel/${built}/hansel.js`);
          const model = await open('/s.hansel.safetensors');
          const weights = await model.decode('w');
          const symbols = await model.symbols('w');
          const same = [];
          for (const kind of ['webgpu', 'webgl']) {
            const back = await import(`/node_modules/hansel/${built}/${kind}.js`);
            const w = await (await back[kind]()).load(model, 'w');
            same.push((await w.symbols()).every((q, i) => q === symbols[i]));
            const [join, file] = kind === 'webgpu' ? ['joinWgsl', 'weight.wgsl'] : ['joinGlsl', 'weight.glsl'];
            same.push((await back[join]([file])).code.includes('hansel_weight'));
          }
          const data = new Int8Array(1 << 20).map((_, i) => i * i % 7);
          const tensors = { w: { dtype: 'I8', shape: [1024, 1024], data } };
          const files = [await encode(tensors, { threads: 2 }), await encode(tensors)];
          same.push(files[0].every((byte, i) => byte === files[1][i]));
          same.push(await encode(tensors, { threads: 0 }).catch((e) => e instanceof HanselError));
          return [weights.length, symbols.length, model.tensors.get('w').mode, ...same];
        }, built);
        assert.deepEqual(result, [64 * 4096, 64 * 4096, 'grid', true, true, true, true, true, true]);
      }
    } finally {
      await browser.close();
      await server.close();
    }
  });
});
