/** WebKitGTK with WebGL2 on Mesa's software renderer, for tests; needs a display. */
import { createServer } from 'node:net';
import { openDisplay, start, withClose } from './display.js';
import { ROOT, openServer } from './server.js';
import { BLANK, TestPage, call } from './test_page.js';

const BROWSER = `/usr/lib/${{ x64: 'x86_64', arm64: 'aarch64' }[/** @type {'x64'} */ (process.arch)]
  }-linux-gnu/webkit2gtk-4.1/MiniBrowser`;

/** WebDriver tells nothing of a page's console: the page's first script keeps it. */
const LISTENER = String(() => {
  /** @type {string[][]} */
  const heard = [];
  Object.assign(globalThis, { heard });
  for (const kind of /** @type {const} */ (['error', 'warn', 'assert'])) {
    const { [kind]: own } = console;
    console[kind] = (/** @type {any[]} */ ...words) => {
      if (kind !== 'assert' || !words[0]) heard.push([kind, words.join(' ')]);
      own.apply(console, /** @type {any} */ (words));
    };
  }
  globalThis.addEventListener('error', ({ target, message, error }) => heard.push(['error',
    target === window ? `uncaught: ${message} ${error?.stack}`
      : `not loaded: ${/** @type {any} */ (target).src}`]), true);
  globalThis.addEventListener('unhandledrejection', ({ reason }) => {
    heard.push(['error', `unheard: ${reason} ${reason?.stack}`]);
  });
});

/** Milliseconds after which a call that is under way is asked for once more. */
const ASKED_EVERY = 60_000;

/** Commands of WebDriver.
 * @typedef {(method: string, path: string, body?: object) => Promise<any>} Ask */

class WebKitPage extends TestPage {
  static #calls = 0;
  #ask;
  #handle;

  /** @param {Ask} ask @param {string} handle @param {import('./test_page.js').Server} server */
  constructor(ask, handle, server) {
    super(server);
    this.#ask = ask;
    this.#handle = handle;
  }

  /** @type {TestPage['evaluate']} */
  async evaluate(text, value) {
    await this.#ask('POST', '/window', { handle: this.#handle });
    const key = `answer${WebKitPage.#calls++}`;
    await this.#ask('POST', '/execute/sync', {
      script: `const [key, text, value] = arguments;
        globalThis[key] = Promise.resolve().then(() => (${call})(text, value)).then((result) => ({ result }),
          (error) => ({ error: \`\${error}\\n\${error.stack}\` }));`,
      args: [key, text, value ?? null],
    });
    /** @type {any} */
    let answer;
    while (!answer) { // no request may take as long as a slow machine
      answer = await this.#ask('POST', '/execute/async', {
        script: `const [key, ms, done] = arguments;
          Promise.race([globalThis[key], new Promise((resolve) => { setTimeout(resolve, ms); })])
            .then((answer) => done(answer && { ...answer, heard: globalThis.heard.splice(0) }));`,
        args: [key, ASKED_EVERY],
      });
    }
    const { result, error, heard } = answer;
    for (const [kind, words] of heard) this.hear(kind, words, '');
    if (error) throw new Error(error);
    return result ?? undefined; // which JSON does not know
  }

  async close() {
    await this.#ask('POST', '/window', { handle: this.#handle });
    await this.#ask('DELETE', '/window');
  }
}

/** @returns {Promise<number>} a port that was free just now */
const findPort = () => new Promise((resolve, reject) => {
  const probe = createServer().once('error', reject).listen(0, '127.0.0.1', () => {
    const { port } = /** @type {import('node:net').AddressInfo} */ (probe.address());
    probe.close(() => resolve(port));
  });
});

/**
 * Start a browser and a server, as launch() of chromium.js does.
 * @param {{root?: string, headers?: Record<string, string>, env?: Record<string, string>}} [options]
 *   env: besides this process's
 */
export const launch = ({ root = ROOT, headers, env = {} } = {}) => withClose(async (keep) => {
  const server = await openServer(root, headers, LISTENER);
  keep(server.close);
  const display = await openDisplay();
  keep(display.close);
  const port = await findPort();
  const driver = await start('WebKitWebDriver', [`--port=${port}`],
    { env: { ...display.env, ...env }, stdio: 'ignore' });
  keep(driver.end);

  /** @type {Ask} */
  const ask = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}/session${path}`, {
      method, body: body && JSON.stringify(body),
    });
    const { value } = /** @type {any} */ (await response.json());
    if (!response.ok) throw new Error(`${method} ${path}: ${value.message}`);
    return value;
  };
  const capabilities = {
    alwaysMatch: {
      'webkitgtk:browserOptions': { binary: process.env.WEBKIT ?? BROWSER, args: ['--automation'] },
    },
  };
  let begun;
  for (let tries = 0; !begun; tries++) { // until the driver listens
    begun = await ask('POST', '', { capabilities }).catch(async (error) => {
      if (tries > 100 || error.message !== 'fetch failed') throw error;
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    });
  }
  const inSession = /** @type {Ask} */ ((method, path, body) => (
    ask(method, `/${begun.sessionId}${path}`, body)));
  keep(() => inSession('DELETE', '').catch(() => {}));
  const first = await inSession('GET', '/window'); // stays open: others are opened from it
  await inSession('POST', '/timeouts', { script: 2 * ASKED_EVERY }); // Node's fetch() waits for 300 s
  return {
    url: server.url,
    version: `${begun.capabilities.browserName}/${begun.capabilities.browserVersion}`,
    /** @param {string} [path] @returns {Promise<TestPage>} */
    async openPage(path = BLANK) {
      await inSession('POST', '/window', { handle: first });
      // A tab would be hidden, and its timers slow.
      const { handle } = await inSession('POST', '/window/new', { type: 'window' });
      const page = new WebKitPage(inSession, handle, server);
      await inSession('POST', '/window', { handle });
      await inSession('POST', '/url', { url: server.url + path });
      if (path === BLANK) {
        await page.evaluate(String(async () => {
          while (!('harness' in globalThis)) await new Promise((done) => { setTimeout(done, 10); });
        }), null);
      }
      return page;
    },
  };
});
