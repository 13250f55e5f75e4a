/** The demo page in engines other than Chromium: what a person sees, and nothing in the console. */
import assert from 'node:assert/strict';
import * as firefox from '../gpu/firefox.js';
import * as webkit from '../gpu/webkit.js';
import { SITE } from './page_host.js';

/** Of engines without WebGPU. */
const NO_WEBGPU = { webgpu: 'not here', webgl: 'bit-exact', wasm: 'reference' };

/** Opens a sample, and waits until it is checked.
 * @param {import('../gpu/test_page.js').TestPage} page */
const openSample = (page) => page.run(async () => {
  const until = async (is) => {
    while (!is()) await new Promise((resolve) => { setTimeout(resolve, 50); });
  };
  await until(() => !document.getElementById('write-go').disabled);
  const sample = document.querySelector('[data-file="gaussian-3bit.hansel.safetensors"]');
  (sample.closest('button, a') ?? sample).click();
  await until(() => document.body.dataset.state === 'idle'
    && /^(Open|That did)/.test(document.getElementById('status').textContent));
  const rows = [...document.querySelectorAll('#check-rows tr')];
  return {
    status: document.getElementById('status').textContent,
    verdicts: Object.fromEntries(rows.map((row) => [
      row.dataset.kind, row.querySelector('.badge')?.textContent])),
    histogram: document.getElementById('histogram').textContent,
    plots: document.querySelectorAll('#histogram canvas').length,
    text: document.body.innerText,
  };
});

describe('demo page in other engines', function () {
  this.timeout(120_000);

  const visits = /** @type {const} */ ({
    'Firefox': [firefox.launch, {}, { webgpu: 'bit-exact', webgl: 'bit-exact', wasm: 'reference' }, 1],
    'Firefox that resists fingerprinting': [firefox.launch, {
      prefs: { 'privacy.resistFingerprinting': true },
    }, { webgpu: 'bit-exact', webgl: 'not here', wasm: 'reference' }, 1],
    'WebKitGTK': [webkit.launch, { env: { LC_ALL: 'en_US.UTF-8' } }, NO_WEBGPU, 1],
    'WebKitGTK whose locale is "C"': [webkit.launch, { env: { LC_ALL: 'C.UTF-8' } }, NO_WEBGPU, 0],
  });
  for (const [engine, [launch, options, verdicts, plots]] of Object.entries(visits)) {
    it(engine, async () => {
      const browser = await launch({ root: SITE, ...options });
      try {
        const page = await browser.openPage('/index.html');
        const found = await openSample(page);
        assert.match(found.status, /^Open: gaussian-3bit/);
        assert.deepEqual(found.verdicts, verdicts);
        assert.equal(found.plots, plots, found.histogram);
        if (!plots) assert.match(found.histogram, /^Not drawn: /);
        assert.doesNotMatch(found.text, /NaN|∞|Infinity/);
        await page.close();
      } finally {
        await browser.close();
      }
    });
  }
});
