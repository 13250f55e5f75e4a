/** The page's language model: the F32 reference's text on every back end, another text at few bits. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { launch } from '../gpu/chromium.js';
import { ROOT, Visitor, openHost } from './page_host.js';

const HOME = join(ROOT, 'web/demo/models/licence-llama');

describe('demo page, writing', function () {
  this.timeout(300000);
  let browser;
  let host;
  let reference;
  before(async () => {
    browser = await launch();
    host = await openHost('/a/b/');
    reference = JSON.parse(await readFile(join(HOME, 'reference.json'), 'utf8'));
  });
  after(async () => {
    await browser?.close();
    await host?.close();
  });

  const written = async (visitor, status) => {
    await visitor.p.waitForFunction((source) => new RegExp(source).test(document.getElementById('write-status').textContent)
      && document.getElementById('write-stop').disabled, status.source, { timeout: 200000 });
    return visitor.text('#written');
  };

  it('writes what the F32 reference writes, at F32 and 8 bits, on every back end', async () => {
    const visitor = await Visitor.come(browser, host.url);
    await visitor.p.fill('#prompt', reference.prompt);
    await visitor.p.click('label:has(input[name=kind][value=wasm])');
    await visitor.p.click('label:has(input[name=bits][value="32"])');
    await visitor.p.click('#write-go');
    const whole = await written(visitor, /^F32 on WebAssembly: \d+ characters/);
    assert.equal(whole, reference.prompt + reference.greedy_continuation);
    assert.ok(Number(await visitor.text('#write-speed')) > 0);
    for (const [kind, name] of [['wasm', 'WebAssembly'], ['webgl', 'WebGL2'], ['webgpu', 'WebGPU']]) {
      await visitor.p.click(`label:has(input[name=kind][value=${kind}])`);
      await visitor.p.click('label:has(input[name=bits][value="8"])');
      const text = await written(visitor, new RegExp(`^8 bits on ${name}: .*The same as F32 wrote`));
      assert.equal(text, whole, name);
      // Small matrices are packed where there is a GPU.
      assert.match(await visitor.text('#write-forms'), kind === 'wasm' ? /^\d+ coded$/ : /\d+ packed/);
      assert.match(await visitor.text('#write-memory'), /^[\d.]+ [kM]B$/);
    }
    await visitor.leave();
  });

  it('shows each rate\'s size and loss, stops, and names what it cannot read', async () => {
    const visitor = await Visitor.come(browser, host.url);
    const { models } = JSON.parse(await readFile(join(ROOT, 'dist/demo/models/licence-llama/models.json'), 'utf8'));
    assert.deepEqual(models.map(({ id }) => id), ['32', '8', '5', '4', '3', '2.5', '3f', '2.25f']);
    assert.ok(Math.abs(models[0].loss - reference.eval_nats_per_char) < 1e-3);
    const divergences = Object.fromEntries(models.map(({ id, divergence }) => [id, divergence]));
    for (const [i, { id, loss, divergence, bytes }] of models.entries()) {
      assert.ok(loss, `${id} bits have no loss: run tools/models.js with --loss`);
      await visitor.p.click(`label:has(input[name=bits][value="${id}"])`);
      assert.equal(await visitor.text('#write-loss'), loss.toFixed(4));
      assert.equal(await visitor.text('#write-divergence'), i ? divergence.toFixed(4) : '0');
      assert.match(await visitor.text('#write-size'), /^[\d.]+ [kM]B$/);
      if (i && id !== '3f') {
        assert.ok(bytes < models[i - 1].bytes, id);
        assert.ok(divergence > models[i - 1].divergence, id);
      }
    }
    assert.ok(divergences['3f'] < 0.6 * divergences['3'] && divergences['2.25f'] < divergences['2.5'], 'what feedback gains');
    await visitor.p.click('#write-go');
    await visitor.p.waitForFunction(() => document.getElementById('written').textContent.length > 35);
    await visitor.p.click('#write-stop');
    assert.ok((await written(visitor, /^Stopped/)).length < 128);
    await visitor.p.fill('#prompt', 'Ünlesbar');
    await visitor.p.click('#write-go');
    await visitor.p.waitForSelector('#write-notice:not([hidden])');
    assert.match(await visitor.text('#write-notice p'), /^The beginning has a character that this model does not know/);
    await visitor.leave();
  });
});
