/** The page about runtimes, as a person uses it: from a plain host without Range, below a path, light and dark. */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { launch } from '../gpu/chromium.js';
import { ROOT, openHost } from './page_host.js';

const SHOTS = join(ROOT, 'build/screenshots');
const REFERENCE = join(ROOT, 'web/demo/models/licence-llama/reference.json');

describe('page about runtimes', function () {
  this.timeout(120000);
  let browser;
  let host;
  /** @type {import('playwright-core').Page} */
  let p;
  let page;
  before(async () => {
    browser = await launch();
    host = await openHost('/some/where/');
    await mkdir(SHOTS, { recursive: true });
  });
  after(async () => {
    await browser?.close();
    await host?.close();
  });
  beforeEach(async () => {
    page = await browser.openPage();
    p = page.playwright;
    await p.setViewportSize({ width: 1200, height: 900 });
    await p.goto(`${host.url}web/demo/runtimes.html`);
    await p.waitForSelector('#go:not([disabled])');
  });

  /** Cells of the table, by what they are. @param {string} is */
  const cells = (is) => p.$$eval(`[data-is=${is}]`, (all) => all.map(({ textContent }) => textContent ?? ''));
  /** @param {RegExp} status */
  const ended = (status) => p.waitForFunction((source) => document.body.dataset.state === 'idle'
    && new RegExp(source).test(document.getElementById('status')?.textContent ?? ''), status.source);

  it('runs the plain model and the coded ones; without loss, and at 6 bits, they write what it writes', async () => {
    await p.click('#go');
    await ended(/^Done/);
    const texts = await cells('text');
    const { greedy_continuation: expected } = JSON.parse(await readFile(REFERENCE, 'utf8'));
    assert.equal(texts.length, 4);
    for (const text of texts.slice(0, 3)) assert.equal(text, expected.slice(0, 60));
    assert.equal(texts[3].length, 60);
    for (const is of ['load', 'start', 'first']) {
      for (const text of await cells(is)) assert.match(text, /^\d[\d.]* (ms|s)$/);
    }
    const sizes = await p.$$eval('#rows tr td:nth-child(3)', (all) => all.map(({ textContent }) => parseFloat(textContent ?? '')));
    assert.ok(sizes[0] === 100 && sizes[1] < 86 && sizes[2] < 39 && sizes[3] < 27, `${sizes}`);
    await p.addScriptTag({ content: await readFile(join(ROOT, 'node_modules/axe-core/axe.min.js'), 'utf8') });
    for (const [name, scheme, width] of /** @type {const} */ ([
      ['runtimes', 'light', 1200], ['runtimes-dark', 'dark', 1200], ['runtimes-phone', 'light', 360]])) {
      await p.emulateMedia({ colorScheme: scheme });
      await p.setViewportSize({ width, height: 900 });
      await p.screenshot({ path: join(SHOTS, `${name}.png`) });
      const found = await p.evaluate(async () => (await globalThis.axe.run()).violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`));
      assert.deepEqual(found, [], name);
      const [scroll, client] = await p.evaluate(() => {
        document.body.style.overflowX = 'visible'; // what it hides would not count
        return [document.documentElement.scrollWidth, document.documentElement.clientWidth];
      });
      assert.ok(scroll <= client, `${name}: ${scroll} px in a window of ${client}`);
    }
    await page.close();
  });

  it('stops when told, and says what is missing', async () => {
    await p.click('#go');
    await p.click('#stop');
    await ended(/^Stopped/);
    assert.equal(await p.isVisible('#notice'), false);
    await p.route('**/licence-llama-6.onnx.hansel*', (route) => route.fulfill({ status: 404, body: '' }));
    await p.click('#go');
    await p.waitForSelector('#notice:not([hidden])');
    assert.match(await p.textContent('#notice') ?? '', /licence-llama-6.*not found \(404\)/);
  });
});
