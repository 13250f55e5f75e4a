/** Firefox with WebGPU and WebGL2 on Mesa's software renderers, for tests; needs a display. */
import puppeteer from 'puppeteer-core';
import { openDisplay, withClose } from './display.js';
import { ROOT, openServer } from './server.js';
import { BLANK, TestPage, call } from './test_page.js';

/** WebGPU is off by default on Linux, and always on software. */
const PREFS = {
  'dom.webgpu.enabled': true,
  'dom.webgpu.workers.enabled': true,
  'gfx.webgpu.ignore-blocklist': true,
};

class FirefoxPage extends TestPage {
  #page;

  /**
   * @param {import('puppeteer-core').Page} page @param {import('./test_page.js').Server} server
   */
  constructor(page, server) {
    super(server);
    this.#page = page;
    page.on('console', (message) => this.hear(
      message.type(), message.text(), message.location().url));
    page.on('pageerror', (error) => this.complain(
      `uncaught: ${error instanceof Error ? error.stack : error}`));
  }

  /** @type {TestPage['evaluate']} */
  evaluate(text, value) {
    return this.#page.evaluate(call, text, value);
  }

  close() {
    return this.#page.close();
  }
}

/**
 * Start a browser and a server, as launch() of chromium.js does.
 * @param {{root?: string, headers?: Record<string, string>, prefs?: Record<string, any>}} [options]
 *   prefs: besides those that WebGPU needs
 */
export const launch = ({ root = ROOT, headers, prefs = {} } = {}) => withClose(async (keep) => {
  const server = await openServer(root, headers);
  keep(server.close);
  const display = await openDisplay();
  keep(display.close);
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: false, // which has no WebGL2
    env: display.env,
    extraPrefsFirefox: { ...PREFS, ...prefs },
    protocolTimeout: 600_000,
  });
  keep(() => browser.close());
  return {
    url: server.url,
    version: await browser.version(),
    /** @param {string} [path] @returns {Promise<TestPage>} */
    async openPage(path = BLANK) {
      const page = await browser.newPage();
      const testPage = new FirefoxPage(page, server);
      const response = await page.goto(server.url + path);
      if (!response?.ok()) throw new Error(`${path}: status ${response?.status()}`);
      if (path === BLANK) await page.waitForFunction(() => 'harness' in globalThis);
      return testPage;
    },
  };
});
