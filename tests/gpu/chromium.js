/**
 * Headless Chromium with WebGPU and WebGL2 on SwiftShader, for tests: what a page logs as an error
 * or a warning, throws, or rejects unheard fails the test that was running in it.
 */
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { SLOW_TOGGLES } from './page.js';
import { openServer } from './server.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url)).replace(/[\\/]$/, '');

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  `--disable-dawn-features=${SLOW_TOGGLES}`,
];

// Said about readPixels, which tests and WebGL2 decoding cannot do without.
const HARMLESS = /GL Driver Message \(OpenGL, Performance/;

/** @typedef {typeof import('./page.js')} Harness */

/** One page of the browser, loaded, with the helpers of page.js ready. */
export class TestPage {
  /** @type {string[]} */
  #problems = [];
  #page;
  #server;

  /**
   * @param {import('playwright-core').Page} page
   * @param {Awaited<ReturnType<typeof openServer>>} server
   */
  constructor(page, server) {
    this.#page = page;
    this.#server = server;
    page.on('console', (message) => {
      const kind = message.type();
      if (kind === 'error' || kind === 'warning' || kind === 'assert') {
        this.#problems.push(`console.${kind}: ${message.text()} (${message.location().url})`);
      } else if (process.env.HANSEL_TEST_LOG) {
        console.log(`page: ${message.text()}`);
      }
    });
    page.on('pageerror', (error) => this.#problems.push(`uncaught: ${error.stack ?? error}`));
    page.on('crash', () => this.#problems.push('the page crashed'));
  }

  /** Playwright's own page, for what this class does not wrap. */
  get playwright() {
    return this.#page;
  }

  /**
   * Run a function in the page and return what it returns (JSON-like values; see put and take for
   * bytes). The function travels as source text: it sees its arguments, never its closure.
   *
   * @template A, R
   * @param {(arg: A, harness: Harness) => R | Promise<R>} fn its second argument is page.js
   * @param {A} [arg] JSON-like, or small typed arrays
   * @param {{allow?: RegExp}} [options] allow: problems that this call provokes on purpose
   * @returns {Promise<R>}
   * @throws {Error} what fn throws, and every problem since the last call, in one message
   */
  async run(fn, arg, { allow } = {}) {
    /** @type {unknown} */
    let failure;
    let result;
    try {
      result = await this.#page.evaluate(
        ([text, value]) => (0, eval)(`(${text})`)(value, Reflect.get(globalThis, 'harness')),
        /** @type {const} */ ([fn.toString(), arg]),
      );
    } catch (error) {
      failure = error;
    }
    await this.#settle();
    const problems = this.#problems.splice(0)
      .filter((text) => !HARMLESS.test(text) && !allow?.test(text));
    if (failure && problems.length === 0) throw failure;
    if (failure || problems.length > 0) {
      throw new Error([...(failure ? [String(failure)] : []), ...problems].join('\n'));
    }
    return /** @type {R} */ (result);
  }

  /** Let the page report unheard rejections and the GPU process its complaints. */
  async #settle() {
    await this.#page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 0)))
      .catch(() => {});
  }

  /**
   * Make bytes available to every page of this browser at a URL that honours Range.
   * @param {string} name
   * @param {Uint8Array} bytes kept, not copied, until take() or close()
   * @returns {string} the URL's path
   */
  put(name, bytes) {
    this.#server.memory.set(name, bytes);
    return `/__mem/${encodeURIComponent(name)}`;
  }

  /**
   * Remove and return the bytes under a name: what the page sent with harness.send(name, bytes).
   * @param {string} name
   * @returns {Uint8Array}
   */
  take(name) {
    const bytes = this.#server.memory.get(name);
    if (!bytes) throw new Error(`the page sent nothing named ${name}`);
    this.#server.memory.delete(name);
    return bytes;
  }

  /** @returns {Promise<void>} */
  close() {
    return this.#page.close();
  }
}

/**
 * Start a browser and a server of the repository.
 *
 * The executable is $CHROMIUM or Debian's. Nothing falls back: without it the call fails.
 *
 * @param {{args?: string[], root?: string, headers?: Record<string, string>}} [options]
 *   args: replaces the flags, for instance to test a hardware GPU; root: folder to serve; headers:
 *   of every answer, by default those that isolate a page
 * @returns {Promise<{
 *   url: string,
 *   version: string,
 *   openPage: (path?: string) => Promise<TestPage>,
 *   trace: (page: TestPage) => Promise<void>,
 *   endTrace: () => Promise<Buffer>,
 *   close: () => Promise<void>,
 * }>}
 */
export async function launch({ args = FLAGS, root = ROOT, headers } = {}) {
  const server = await openServer(root, headers);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args,
    timeout: 60_000,
  }).catch(async (error) => {
    await server.close();
    throw error;
  });
  return {
    url: server.url,
    version: browser.version(),
    async openPage(path = '/tests/gpu/blank.html') {
      const context = await browser.newContext();
      const page = await context.newPage();
      const testPage = new TestPage(page, server);
      page.on('close', () => context.close().catch(() => {}));
      const response = await page.goto(server.url + path);
      if (!response?.ok()) throw new Error(`${path}: status ${response?.status()}`);
      if (path === '/tests/gpu/blank.html') {
        await page.waitForFunction(() => 'harness' in globalThis);
      }
      return testPage;
    },
    trace: (page) => browser.startTracing(page.playwright, {
      categories: ['toplevel', 'blink.user_timing', 'disabled-by-default-devtools.timeline'],
    }),
    endTrace: () => browser.stopTracing(),
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

/**
 * Mocha hooks: a browser with one page, for the tests of the describe() that calls this.
 * @param {(page: TestPage, browser: Awaited<ReturnType<typeof launch>>) => unknown} take receives
 *   them before the tests
 */
export function withPage(take) {
  /** @type {Awaited<ReturnType<typeof launch>> | undefined} */
  let browser;
  before(async () => {
    browser = await launch();
    await take(await browser.openPage(), browser);
  });
  after(() => browser?.close());
}
