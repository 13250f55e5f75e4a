/**
 * The runtimes that pages use run coded files through every hook: without loss what they compute is to the last bit
 * what they compute of the plain files; at 6 bits a weight it is near that, and the text is the same.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { openFile } from '../../web/file.js';
import { cleanUp, folder, good } from '../api/command.js';
import { launch } from '../gpu/chromium.js';
import { encodeFiles, pageText, putFolder, readModel, readRecipes } from './model_files.js';
import { runOnnx } from './ort_node.js';

const PAGE = '/tests/runtimes/page.html';
const ORT = new URL('../../node_modules/onnxruntime-web/dist/', import.meta.url);
const ORT_FILES = ['ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm'];
const GGUF_TYPES = ['F16', 'Q8_0', 'Q4_K'];
/** Of what follows the prompt, worst probability at 6 bits. Seen: 0.0102 of ONNX in F32, 0.0074 of GGUF in F16. */
const NEAR = 0.02;
/** ... and worst logit. Seen: 0.325, where they span 15. */
const NEAR_LOGIT = 0.5;
/** What 6 bits lose, at least: else nothing was rounded. */
const ROUNDED = 1e-3;

/** @param {ArrayLike<number>} logits @returns {number[]} */
function probabilities(logits) {
  const powers = Array.from(logits, Math.exp);
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** @param {ArrayLike<number>} found @param {ArrayLike<number>} expected @param {number} near */
function assertNear(found, expected, near) {
  const worst = Array.from(found).reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
  assert.ok(worst > ROUNDED && worst < near, `off by ${worst}`);
}

/** @param {ArrayLike<number>} found logits @param {ArrayLike<number>} plain */
function assertNearLogits(found, plain) {
  assert.equal(found.length, plain.length);
  assertNear(found, plain, NEAR_LOGIT);
  assertNear(probabilities(found), probabilities(plain), NEAR);
}

describe('coded files in the runtimes that pages use', function () {
  this.timeout(120000);
  /** Plain files by name. @type {Map<string, Uint8Array>} */
  let files;
  /** Coded without loss, and at 6 bits. @type {Awaited<ReturnType<typeof encodeFiles>>} */
  let exact;
  /** @type {Awaited<ReturnType<typeof encodeFiles>>} */
  let rounded;
  let tokens;
  /** What models are asked to go on with. @type {{prompt: string, maxTokens: number}} */
  let asked;
  let browser;
  /** @type {import('../gpu/chromium.js').TestPage} */
  let page;
  /** Requests of the page for weights, without their folders. @type {string[]} */
  let requests = [];
  /** What the runtimes make of the plain files. */
  let plain;

  before(async () => {
    const model = await readModel();
    ({ tokens } = model);
    asked = { prompt: model.reference.prompt, maxTokens: model.reference.greedy_continuation.length };
    files = new Map(GGUF_TYPES.map((type) => [`${type}.gguf`, model.gguf(type)]));
    for (const [path, bytes] of model.files) files.set(path.replace('onnx/', ''), bytes);
    const onnx = ['model.onnx', 'model_inline.onnx'];
    [exact, rounded] = await Promise.all([
      encodeFiles(files, [...onnx, ...GGUF_TYPES.map((type) => `${type}.gguf`)]),
      encodeFiles(files, [...onnx, 'F16.gguf'], ['--bits', '6']),
    ]);
    browser = await launch();
    page = await browser.openPage(PAGE);
    putFolder(page, 'plain', files, files);
    putFolder(page, 'exact', files, exact.coded);
    putFolder(page, 'rounded', files, rounded.coded);
    page.playwright.on('request', (request) => {
      if (/\.onnx|\.gguf/.test(request.url())) requests.push(request.url().replace(/.*\//, ''));
    });
    plain = await page.run(async (given, harness) => ({
      onnx: await harness.runOnnx({
        provider: 'wasm', tokens: given.tokens, model: '/__mem/plain/onnx/model.onnx',
        externalData: [{ path: 'model.onnx_data', data: '/__mem/plain/onnx/model.onnx_data' }],
      }),
      transformers: await harness.runTransformers({
        ...given, id: 'plain', configure: (env) => { env.remotePathTemplate = '__mem/{model}/'; },
      }),
      wllama: await harness.runWllama({ ...given, blobs: [await (await fetch('/__mem/plain/F16.gguf')).blob()] }),
    }), { ...asked, tokens });
    assert.equal(plain.transformers.text, model.reference.greedy_continuation);
    requests = [];
  });
  after(async () => {
    await browser?.close();
    await cleanUp();
  });

  const CODED = ['model.onnx.hansel', 'model.onnx_data.hansel'];

  /** That the page asked for these files alone, once each, since the last time. @param {string[]} [expected] */
  function assertAsked(expected = CODED) {
    assert.deepEqual(requests.sort(), expected);
    requests = [];
  }

  /** @param {any} found of runTransformers(), at 6 bits */
  function assertNearTransformers({ logits, ...rest }) {
    const { logits: expected, ...text } = plain.transformers;
    assert.deepEqual(rest, text);
    assertNearLogits(logits, expected);
  }

  /** @param {any} found of runWllama(), at 6 bits */
  function assertNearWllama({ first, text }) {
    assert.equal(text, plain.wllama.text);
    const [found, expected] = [new Map(first), new Map(plain.wllama.first)];
    const ids = [...expected.keys()];
    assertNear(ids.map((id) => Math.exp(found.get(id))), ids.map((id) => Math.exp(expected.get(id))), NEAR);
  }

  for (const [name, data] of [['model.onnx', 'model.onnx_data'], ['model_inline.onnx']]) {
    it(`onnxruntime-web in Node: bytes of ${[name, data].filter(Boolean).join(' and ')}`, async () => {
      const run = async (bytesOf) => runOnnx({
        model: await bytesOf(name), externalData: data && [{ path: data, data: await bytesOf(data) }], tokens,
      });
      const restored = ({ cwd }) => async (file) => {
        const opened = await openFile(join(cwd, `${file}.hansel`));
        return opened.bytes().finally(() => opened.close());
      };
      const expected = await run((file) => files.get(file));
      assert.deepEqual(await run(restored(exact)), expected);
      assertNearLogits(await run(restored(rounded)), expected);
    });
  }

  for (const provider of ['wasm', 'webgpu']) {
    it(`onnxruntime-web in Chromium on ${provider}: bytes of openFile(); a page's fetch`, async () => {
      const run = (way) => page.run(async ({ way, ...given }, harness) => {
        const { hanselFetch, openFile } = await import('/web/file.js');
        const take = {
          plain: (name) => `/__mem/plain/onnx/${name}`,
          opened: async (name) => (await openFile(`/__mem/exact/onnx/${name}.hansel`)).bytes(),
          openedRounded: async (name) => (await openFile(`/__mem/rounded/onnx/${name}.hansel`)).bytes(),
          fetched: (name) => `/__mem/exact/onnx/${name}`,
          fetchedRounded: (name) => `/__mem/rounded/onnx/${name}`,
        }[way];
        const own = fetch;
        if (/fetched/.test(way)) globalThis.fetch = hanselFetch(fetch);
        try {
          return await harness.runOnnx({
            ...given, model: await take('model.onnx'),
            externalData: [{ path: 'model.onnx_data', data: await take('model.onnx_data') }],
          });
        } finally {
          globalThis.fetch = own;
        }
      }, { provider, tokens, way });
      const expected = provider === 'wasm' ? plain.onnx : await run('plain');
      assert.deepEqual(await run('opened'), expected);
      requests = [];
      assertNearLogits(await run('fetchedRounded'), expected);
      assertAsked();
      if (provider === 'webgpu') return; // whose shaders take a second each time
      assert.deepEqual(await run('fetched'), expected);
      assertNearLogits(await run('openedRounded'), expected);
      requests = [];
    });
  }

  let revisions = 0;
  /**
   * transformers.js with hooks, in a page.
   * @param {import('../gpu/chromium.js').TestPage} to @param {string} id a folder below /__mem/
   * @param {(env: any, hansel: any) => unknown} [configure] sets them
   * @param {boolean} [isHeard] whether there is a progress_callback, for which the library asks for sizes first
   * @returns {Promise<{found: any, totals: Record<string, number>}>} totals: bytes of files as the callback has them
   */
  const transformers = (to, id, configure = () => {}, isHeard = false) => to.run(async (given, harness) => {
    const hansel = await import('/web/file.js');
    const totals = {};
    const hear = ({ status, files: all = {} }) => {
      if (status !== 'progress_total') return;
      for (const [file, { total }] of Object.entries(all)) totals[file] = total;
    };
    const found = await harness.runTransformers({
      // The library remembers sizes by revision.
      ...given, options: given.isHeard ? { progress_callback: hear, revision: given.revision } : {},
      async configure(env) {
        env.remotePathTemplate = '__mem/{model}/';
        await (0, eval)(`(${given.text})`)(env, hansel);
      },
    });
    return { found, totals };
  }, { ...asked, id, text: configure.toString(), isHeard, revision: String(revisions++) });

  const byFetch = (env, { hanselFetch }) => { env.fetch = hanselFetch(fetch); };

  /** @param {Record<string, number>} totals */
  function assertTotals(totals) {
    assert.deepEqual(totals, Object.fromEntries([
      'config.json', 'generation_config.json', 'onnx/model.onnx', 'onnx/model.onnx_data',
    ].map((path) => [path, files.get(path.replace('onnx/', '')).length])));
  }

  it('transformers.js: env.fetch', async () => {
    const { found, totals } = await transformers(page, 'rounded', byFetch);
    assertNearTransformers(found);
    assert.deepEqual(totals, {});
    assertAsked();
  });

  it('transformers.js: env.fetch, and a callback that hears of the plain files\' sizes', async () => {
    const { found, totals } = await transformers(page, 'exact', byFetch, true);
    assert.deepEqual(found, plain.transformers);
    assertTotals(totals);
    // For the sizes, and for the files.
    assertAsked(CODED.flatMap((name) => [name, name]));
  });

  it('transformers.js: env.fetch, and coded files elsewhere', async () => {
    putFolder(page, 'elsewhere', files);
    const { found } = await transformers(page, 'elsewhere', (env, { hanselFetch }) => {
      env.fetch = hanselFetch(fetch, { coded: ({ href }) => `${href.replace('/elsewhere/', '/exact/')}.hansel` });
    });
    assert.deepEqual(found, plain.transformers);
    assertAsked();
  });

  it('transformers.js: local paths', async () => {
    putFolder(page, 'local', files, exact.coded);
    const { found } = await transformers(page, 'local', (env, { hanselFetch }) => {
      Object.assign(env, { allowLocalModels: true, allowRemoteModels: false, localModelPath: '/__mem/' });
      env.fetch = hanselFetch(fetch);
    });
    assert.deepEqual(found, plain.transformers);
    assertAsked();
  });

  for (const isHeard of [false, true]) {
    it(`transformers.js: a cache of coded files${isHeard ? ', and a callback' : ''}`, async () => {
      const name = `cached-${isHeard}`;
      putFolder(page, name, files, exact.coded);
      const byCache = async (env, { hanselCache, hanselFetch }) => {
        const cache = await globalThis.caches.open('models');
        env.fetch = hanselFetch(fetch, { cache });
        env.useCustomCache = true;
        env.customCache = hanselCache(cache);
      };
      const first = await transformers(page, name, byCache, isHeard);
      assert.deepEqual(first.found, plain.transformers);
      // With a callback also for their sizes: those answers are not waited for.
      assertAsked(isHeard ? CODED.flatMap((name) => [name, name]) : CODED);
      const small = [...files.keys()].filter((file) => file.endsWith('.json'));
      const kept = await page.run(async ({ folder, count }) => {
        const cache = await globalThis.caches.open('models');
        let urls = [];
        // Nobody waits for the last file to be kept.
        while (urls.length < count) {
          urls = (await cache.keys()).map(({ url }) => url).filter((url) => url.includes(folder));
        }
        const sizes = {};
        for (const url of urls) sizes[url.replace(/.*\//, '')] = (await (await cache.match(url)).blob()).size;
        return sizes;
      }, { folder: name, count: small.length + CODED.length });
      assert.deepEqual(kept, Object.fromEntries([
        ...small.map((file) => [file, files.get(file).length]),
        ...CODED.map((file) => [file, exact.coded.get(file).length]),
      ]));
      assert.deepEqual(await transformers(page, name, byCache, isHeard), first);
      assertAsked([]);
      if (isHeard) assertTotals(first.totals);
    });
  }

  for (const type of GGUF_TYPES) {
    it(`wllama: a Blob of ${type}`, async () => {
      const run = (path) => page.run(async ([from, given], harness) => {
        const { openFile } = await import('/web/file.js');
        const isCoded = from.endsWith('.hansel');
        const blob = isCoded ? await (await openFile(from)).blob() : await (await fetch(from)).blob();
        return harness.runWllama({ ...given, blobs: [blob] });
      }, [path, asked]);
      const expected = type === 'F16' ? plain.wllama : await run(`/__mem/plain/${type}.gguf`);
      assert.deepEqual(await run(`/__mem/exact/${type}.gguf.hansel`), expected);
      if (type === 'F16') assertNearWllama(await run(`/__mem/rounded/${type}.gguf.hansel`));
      requests = [];
    });
  }

  it('wllama: a URL, by the page\'s fetch, and its own cache', async () => {
    const found = await page.run(async (given, harness) => {
      const { hanselFetch } = await import('/web/file.js');
      const backend = new harness.MemoryBackend();
      const own = fetch;
      globalThis.fetch = hanselFetch(fetch);
      try {
        const load = (name, from) => harness.runWllama({
          ...given, url: new URL(`/__mem/${name}/F16.gguf`, location.href).href, backend: from,
        });
        return {
          exact: await load('exact', backend),
          again: await load('exact', backend),
          kept: Array.from(backend.files.values(), ({ size }) => size),
          rounded: await load('rounded'),
        };
      } finally {
        globalThis.fetch = own;
      }
    }, asked);
    assert.deepEqual(found.exact, plain.wllama);
    assert.deepEqual(found.again, plain.wllama);
    assert.ok(found.kept.includes(files.get('F16.gguf').length), `it kept ${found.kept}`);
    assertNearWllama(found.rounded);
    // For its size, and for the file; the second time neither.
    assertAsked(Array(4).fill('F16.gguf.hansel'));
  });

  it('from another host, which compresses once more, and does not say so', async () => {
    const name = 'F16.gguf';
    const sent = gzipSync(exact.coded.get(`${name}.hansel`));
    const server = createServer((request, response) => {
      const isCoded = request.url?.endsWith('.hansel');
      response.writeHead(isCoded ? 200 : 404, {
        'Access-Control-Allow-Origin': '*', 'Cross-Origin-Resource-Policy': 'cross-origin',
        'Content-Type': 'application/octet-stream', 'Content-Encoding': 'gzip', 'Content-Length': sent.length,
      }).end(isCoded ? sent : '');
    });
    await new Promise((done) => { server.listen(0, '127.0.0.1', () => done(undefined)); });
    try {
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
      const hash = await page.run(async (url) => {
        const { hanselFetch } = await import('/web/file.js');
        const bytes = await (await hanselFetch(fetch)(url)).arrayBuffer();
        return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))];
      }, `http://127.0.0.1:${port}/${name}`);
      assert.deepEqual(Buffer.from(hash), createHash('sha256').update(files.get(name)).digest());
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  describe('a Service Worker', () => {
    let script;
    let html;
    before(async () => {
      const cwd = folder();
      await good(['service-worker', cwd]);
      script = new Uint8Array(await readFile(join(cwd, 'hansel-sw.js')));
      html = (await readRecipes()).get('html');
    });

    /** A folder where only coded files are, and a page that the worker answers. */
    async function openWorkerPage(name, register) {
      putFolder(page, name, files, exact.coded);
      page.put(`${name}/hansel-sw.js`, script);
      page.put(`${name}/index.html`, pageText(register));
      const own = await browser.openPage(`/__mem/${name}/index.html`);
      await own.run(async () => {
        while (!navigator.serviceWorker.controller) {
          await new Promise((resolve) => { navigator.serviceWorker.oncontrollerchange = resolve; });
        }
      });
      return own;
    }

    /** What runOnnx() needs. @param {string} name of such a folder */
    const onnxIn = (name) => ({
      provider: 'wasm', tokens, model: `/__mem/${name}/onnx/model.onnx`,
      externalData: [{ path: 'model.onnx_data', data: `/__mem/${name}/onnx/model.onnx_data` }],
    });

    it('answers onnxruntime-web, also in a worker, transformers.js and wllama', async () => {
      // Workers are a Service Worker's where their script lies in its folder.
      for (const name of ORT_FILES) {
        page.put(`worker/ort/${name}`, new Uint8Array(await readFile(new URL(name, ORT))));
      }
      const own = await openWorkerPage('worker', html);
      try {
        const found = await own.run(async (given, harness) => ({
          onnx: await harness.runOnnx(given.onnx),
          inWorker: await harness.runOnnx({ ...given.onnx, worker: '/__mem/worker/ort/' }),
          wllama: await harness.runWllama({ ...given, url: new URL('F16.gguf', location.href).href }),
        }), { ...asked, onnx: onnxIn('worker') });
        const { found: written, totals } = await transformers(own, 'worker', undefined, true);
        assert.deepEqual({ ...found, transformers: written }, { ...plain, inWorker: plain.onnx });
        assertTotals(totals);
      } finally {
        await own.close();
      }
    });

    it('keeps the coded files in a cache, if told', async () => {
      const own = await openWorkerPage('kept', html.replace('hansel-sw.js', 'hansel-sw.js?cache=models'));
      try {
        const onnx = onnxIn('kept');
        const run = () => own.run((given, harness) => harness.runOnnx(given), onnx);
        assert.deepEqual(await run(), plain.onnx);
        const kept = await own.run(async ({ count }) => {
          const cache = await globalThis.caches.open('models');
          let keys = [];
          while (keys.length < count) keys = await cache.keys();
          return keys.map(({ url }) => url.replace(/.*\//, '')).sort();
        }, { count: CODED.length });
        assert.deepEqual(kept, CODED);
        for (const name of CODED) page.take(`kept/onnx/${name}`);
        assert.deepEqual(await run(), plain.onnx);
      } finally {
        await own.close();
      }
    });
  });
});
