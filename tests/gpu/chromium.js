/** Headless Chromium with WebGPU and WebGL2 on SwiftShader, for tests. */
import { chromium } from 'playwright-core';
import { SLOW_TOGGLES } from './page.js';
import { ROOT, openServer } from './server.js';
import { BLANK, TestPage as AnyPage } from './test_page.js';

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

/** One page of Chromium. */
export class TestPage extends AnyPage {
  #page;

  /**
   * @param {import('playwright-core').Page} page
   * @param {import('./test_page.js').Server} server
   */
  constructor(page, server) {
    super(server);
    this.#page = page;
    page.on('console', (message) => {
      if (!HARMLESS.test(message.text())) {
        this.hear(message.type(), message.text(), message.location().url);
      }
    });
    page.on('pageerror', (error) => this.complain(`uncaught: ${error.stack ?? error}`));
    page.on('crash', () => this.complain('the page crashed'));
  }

  /** Playwright's own page, for what this class does not wrap. */
  get playwright() {
    return this.#page;
  }

  /** @type {AnyPage['evaluate']} */
  evaluate(text, value) {
    return this.#page.evaluate(([fn, arg]) => (0, eval)(`(${fn})`)(
      arg, Reflect.get(globalThis, 'harness')), /** @type {const} */ ([text, value]));
  }

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
    async openPage(path = BLANK) {
      const context = await browser.newContext();
      const page = await context.newPage();
      const testPage = new TestPage(page, server);
      page.on('close', () => context.close().catch(() => {}));
      const response = await page.goto(server.url + path);
      if (!response?.ok()) throw new Error(`${path}: status ${response?.status()}`);
      if (path === BLANK) {
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
