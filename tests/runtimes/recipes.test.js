/** The recipes of docs/RUNTIMES.md as they stand there, each a module beside the files that it names. */
import assert from 'node:assert/strict';
import { cleanUp } from '../api/command.js';
import { launch } from '../gpu/chromium.js';
import { encodeFiles, pageText, putFolder, readModel, readRecipes } from './model_files.js';

/** Of the recipe transformers-coded. */
const HOST = 'https://weights.example.com/';

describe('recipes of docs/RUNTIMES.md', function () {
  this.timeout(120000);
  let recipes;
  /** Plain files by name. @type {Map<string, Uint8Array>} */
  let files;
  /** Coded ones. @type {Map<string, Uint8Array>} */
  let coded;
  let tokens;
  let asked;
  let reference;
  let browser;
  /** @type {import('../gpu/chromium.js').TestPage} */
  let page;

  before(async () => {
    const model = await readModel();
    ({ reference, tokens } = model);
    asked = { prompt: reference.prompt, maxTokens: 20 };
    files = new Map([['model.gguf', model.gguf('F16')]]);
    for (const [path, bytes] of model.files) {
      if (!/fp16|inline/.test(path)) files.set(path.replace('onnx/', ''), bytes);
    }
    ({ coded } = await encodeFiles(files, ['model.onnx', 'model.gguf']));
    recipes = await readRecipes();
    browser = await launch();
    const first = await browser.openPage();
    first.put('www/index.html', pageText());
    for (const [name, bytes] of coded) first.put(`www/${name}`, bytes);
    putFolder(first, 'www/plain', files, files);
    for (const name of ['fetch', 'cache', 'first']) putFolder(first, `www/${name}`, files, coded);
    putFolder(first, 'www/coded', files); // which are not there
    page = await browser.openPage('/__mem/www/index.html');
    await page.playwright.route(`${HOST}*`, (route) => {
      const bytes = coded.get(route.request().url().slice(HOST.length));
      return route.fulfill(bytes ? {
        body: Buffer.from(bytes), headers: { 'Access-Control-Allow-Origin': '*' },
      } : { status: 404 });
    });
  });
  after(async () => {
    await browser?.close();
    await cleanUp();
  });

  /** A recipe as a module of the page's folder. @param {string} name @param {string} [more] of the module */
  const write = (name, more = '') => {
    page.put(`www/${name}.js`, new TextEncoder().encode(`${recipes.get(name)}${more}`));
    return `/__mem/www/${name}.js`;
  };

  it('are these', () => {
    assert.deepEqual([...recipes.keys()], [
      'onnx-fetch', 'onnx-file', 'transformers-fetch', 'transformers-cache', 'transformers-coded', 'wllama-file', 'html',
      'cache-first',
    ]);
  });

  for (const name of ['onnx-fetch', 'onnx-file']) {
    it(name, async () => {
      const found = await page.run(async ([path, ids, plain], harness) => {
        globalThis.ort = await harness.loadOrt('wasm');
        const own = fetch;
        try {
          const { session } = await import(path);
          const logits = Array.from(await harness.lastLogits(globalThis.ort, session, ids));
          await session.release();
          globalThis.fetch = own;
          return [logits, await harness.runOnnx({
            provider: 'wasm', tokens: ids, model: `${plain}.onnx`,
            externalData: [{ path: 'model.onnx_data', data: `${plain}.onnx_data` }],
          })];
        } finally {
          globalThis.fetch = own;
        }
      }, [write(name, 'export { session };\n'), tokens, 'plain/onnx/model']);
      assert.deepEqual(found[0], found[1]);
    });
  }

  /**
   * @param {string} id a folder of www/ @param {string} [path] of a recipe's module
   * @param {string} [cacheKey] of the browser's cache that the library looks into
   */
  const transformers = (id, path, cacheKey) => page.run(({ path: from, cacheKey: key, ...given }, harness) => (
    harness.runTransformers({
      ...given,
      configure(env) {
        env.remotePathTemplate = '__mem/www/{model}/';
        if (key) Object.assign(env, { useBrowserCache: true, cacheKey: key });
        return from && import(from);
      },
    })), { ...asked, id, path, cacheKey });

  for (const name of ['fetch', 'cache', 'coded']) {
    it(`transformers-${name}`, async () => {
      const found = await transformers(name, write(`transformers-${name}`));
      assert.deepEqual(found, await transformers('plain'));
      assert.equal(found.text, reference.greedy_continuation.slice(0, asked.maxTokens));
    });
  }

  it('cache-first', async () => {
    await page.run(async ([path, names]) => {
      globalThis.urls = names.map((name) => new URL(`first/onnx/${name}`, location.href).href);
      await import(path);
    }, [write('cache-first'), ['model.onnx', 'model.onnx_data']]);
    // From now on the cache alone has them.
    for (const name of coded.keys()) if (/onnx/.test(name)) page.take(`www/first/onnx/${name}`);
    assert.deepEqual(await transformers('first', undefined, 'webllm/model'), await transformers('plain'));
  });

  it('wllama-file, and a URL', async () => {
    const found = await page.run(async ([path, given], harness) => {
      const run = async (load) => {
        const wllama = globalThis.wllama = await harness.openWllama();
        try {
          await load(wllama);
          return await harness.complete(wllama, given);
        } finally {
          await wllama.exit();
        }
      };
      const { hanselFetch } = await import('/web/file.js');
      const own = fetch;
      const blob = await (await fetch('plain/model.gguf')).blob();
      try {
        return {
          plain: await run((wllama) => wllama.loadModel([blob])),
          file: await run(() => import(path)),
          url: await run((wllama) => {
            globalThis.fetch = hanselFetch(fetch);
            return wllama.loadModelFromUrl('model.gguf');
          }),
        };
      } finally {
        globalThis.fetch = own;
      }
    }, [write('wllama-file'), asked]);
    assert.equal(found.plain.text, reference.greedy_continuation.slice(0, asked.maxTokens));
    assert.deepEqual(found.file, found.plain);
    assert.deepEqual(found.url, found.plain);
  });
});
