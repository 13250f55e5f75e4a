/** How the page looks and reads: light, dark, on a phone, by keyboard, below any path of any host. */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { launch } from '../gpu/chromium.js';
import { ROOT, Visitor, openHost } from './page_host.js';

const SHOTS = join(ROOT, 'build/screenshots');

describe('demo page, its looks', function () {
  this.timeout(300000);
  let browser;
  let host;
  let axe;
  before(async () => {
    browser = await launch();
    host = await openHost('/some/where/');
    axe = await readFile(join(ROOT, 'node_modules/axe-core/axe.min.js'), 'utf8');
    await mkdir(SHOTS, { recursive: true });
  });
  after(async () => {
    await browser?.close();
    await host?.close();
  });

  /** What axe-core finds that is serious. @param {Visitor} visitor */
  async function violations(visitor) {
    await visitor.p.addScriptTag({ content: axe });
    return visitor.p.evaluate(async () => (await globalThis.axe.run()).violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`));
  }

  // Light and dark are two looks of one visit: what takes time is to open, code and stream. Each is
  // there from the start of one of the visits.
  for (const [what, looks] of /** @type {const} */ ([
    ['a desktop', [{ name: 'light', scheme: 'light', width: 1200 }, { name: 'dark', scheme: 'dark', width: 1200 }]],
    ['a phone', [{ name: 'phone-dark', scheme: 'dark', width: 360 }, { name: 'phone', scheme: 'light', width: 390 }]],
  ])) {
    it(`is accessible and fits ${what}, light and dark, from a plain host below a path`, async () => {
      const visitor = await Visitor.come(browser, host.url, looks[0]);
      assert.equal(await visitor.p.evaluate(() => crossOriginIsolated), false);
      const see = async ({ scheme, width }) => {
        await visitor.p.emulateMedia({ colorScheme: scheme });
        await visitor.p.setViewportSize({ width, height: 900 });
        await visitor.p.evaluate(() => new Promise((done) => {
          requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
        }));
      };
      const inEachLook = async (check) => {
        for (const look of looks) {
          await see(look);
          await check(look);
        }
      };
      const shot = (name, options) => visitor.p.screenshot({ path: join(SHOTS, `${name}.png`), ...options });
      const toTop = () => visitor.p.evaluate(() => window.scrollTo({ top: 0, behavior: 'instant' }));
      await inEachLook(async ({ name }) => {
        await shot(`${name}-start`);
        assert.deepEqual(await violations(visitor), [], name);
      });
      for (const file of ['gaussian-4bit.hansel.safetensors', 'layer.safetensors']) {
        await visitor.sample(file);
        if (file === 'layer.safetensors') {
          await visitor.forget();
          await visitor.p.click('#encode');
          await visitor.idle(/^Open/);
        }
        await inEachLook(async ({ name }) => {
          assert.deepEqual(await violations(visitor), [], `${name}: ${file}`);
          const [scroll, client] = await visitor.p.evaluate(() => {
            document.body.style.overflowX = 'visible'; // what it hides would not count
            return [document.documentElement.scrollWidth, document.documentElement.clientWidth];
          });
          assert.ok(scroll <= client, `${name}: ${scroll} px in a window of ${client}`);
        });
      }
      await visitor.forget();
      await visitor.p.click('#stream-start');
      await visitor.idle(/is on Web/);
      await inEachLook(async ({ name, width }) => {
        await toTop();
        await shot(name, { fullPage: true });
        if (name !== 'light') return;
        // The README's picture, docs/page.png: near, so that the picture stays small.
        for (let i = 0; i < 4; i++) await visitor.p.click('#zoom-in');
        await visitor.p.waitForFunction(() => document.getElementById('heatmap').dataset.view);
        await visitor.p.mouse.move(5, 5);
        await toTop();
        await visitor.p.waitForFunction(() => scrollY === 0);
        const [top, bottom] = await visitor.p.evaluate(() => [
          document.getElementById('model').getBoundingClientRect().top + scrollY,
          document.getElementById('saves').getBoundingClientRect().bottom + scrollY,
        ]);
        await shot('page', { fullPage: true, clip: { x: 0, y: top - 16, width, height: bottom - top + 32 } });
      });
      await visitor.p.fill('#url', '/no/such.safetensors');
      await visitor.forget();
      await visitor.p.click('#open button');
      await visitor.idle(/^That did/);
      await inEachLook(async ({ name }) => {
        await visitor.p.locator('#notice').scrollIntoViewIfNeeded();
        assert.deepEqual(await violations(visitor), [], `${name}, with a notice`);
        await shot(`${name}-notice`);
      });
      await visitor.leave({ allow: /404/ });
    });
  }

  it('does not shift while it loads', async () => {
    const visitor = await Visitor.come(browser, host.url, {
      script: () => {
        globalThis.shift = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shift += entry.value;
        }).observe({ type: 'layout-shift', buffered: true });
      },
    });
    await visitor.p.waitForTimeout(300);
    const shift = await visitor.p.evaluate(() => globalThis.shift);
    assert.ok(shift < 0.01, `${shift}`);
    await visitor.leave();
  });

  it('is used by keyboard alone', async () => {
    const visitor = await Visitor.come(browser, host.url);
    const { keyboard } = visitor.p;
    /** Tabs until the focus is there. */
    const tabTo = async (selector) => {
      for (let i = 0; i < 80; i++) {
        await keyboard.press('Tab');
        const found = await visitor.p.evaluate((s) => document.activeElement?.matches(s), selector);
        const outline = await visitor.p.evaluate(() => {
          const element = document.activeElement?.closest('.button, .segments label') ?? document.activeElement;
          const shown = element?.querySelector('input[type=radio] + span') ?? element;
          return document.activeElement === document.body || getComputedStyle(shown).outlineStyle !== 'none';
        });
        assert.ok(outline, await visitor.p.evaluate(() => `no focus ring: ${document.activeElement.outerHTML.slice(0, 120)}`));
        if (found) return;
      }
      assert.fail(`Tab never reaches ${selector}`);
    };
    await tabTo('#file');
    await tabTo('#url');
    await tabTo('[data-file="layer.safetensors"]');
    await visitor.forget();
    await keyboard.press('Enter');
    await visitor.idle(/^Open: layer/);
    assert.equal(await visitor.p.evaluate(() => document.activeElement.id), 'file-name', 'focus goes to what was opened');
    await tabTo('input[name=aim]');
    await keyboard.press('ArrowRight');
    assert.equal(await visitor.p.evaluate(() => document.querySelector('input[name=aim]:checked').value), 'error');
    await keyboard.press('ArrowLeft');
    await tabTo('#aim');
    await keyboard.press('ArrowRight');
    await visitor.p.waitForFunction(() => document.getElementById('aim-value').textContent === '4.1 bits per weight');
    await tabTo('#encode');
    await visitor.forget();
    await keyboard.press('Enter');
    await visitor.idle(/^Open: layer.hansel/);
    await tabTo('#save');
    const [download] = await Promise.all([visitor.p.waitForEvent('download'), keyboard.press('Enter')]);
    assert.match(download.suggestedFilename(), /hansel/);
    await tabTo('#tensors button');
    await tabTo('#heatmap');
    const view = () => visitor.p.waitForFunction(() => document.getElementById('heatmap').dataset.view).then((v) => v.jsonValue());
    const before = await view();
    await keyboard.press('+');
    assert.notEqual(await view(), before);
    await keyboard.press('0');
    assert.equal(await view(), before);
    await tabTo('#check-one');
    await visitor.forget();
    await keyboard.press('Enter');
    await visitor.idle(/bit-exact/);
    await tabTo('#stream-start');
    await tabTo('input[name=bits]');
    await tabTo('#prompt');
    await tabTo('#write-go');
    await visitor.leave();
  });
});
