/** The demo page's job: what is opened by click, choice, drop and address; coded; drawn; checked. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encode, open } from '../../web/hansel.js';
import { launch } from '../gpu/chromium.js';
import { SAMPLES, Visitor } from './page_host.js';

const PAGE = '/web/demo/index.html';
/** A sample, in memory. @param {string} file */
const sample = async (file) => open(await readFile(join(SAMPLES, file)));
const EXACT = { wasm: 'reference', webgl: 'bit-exact', webgpu: 'bit-exact' };

describe('demo page', function () {
  this.timeout(300000);
  let browser;
  let url;
  before(async () => {
    browser = await launch();
    url = `${browser.url}${PAGE}`;
  });
  after(() => browser?.close());

  it('opens each sample by a click; all back ends are bit-exact', async () => {
    const visitor = await Visitor.come(browser, url);
    const samples = JSON.parse(await readFile(join(SAMPLES, 'samples.json'), 'utf8'));
    assert.ok(samples.length >= 4);
    for (const { file } of samples) {
      await visitor.sample(file);
      assert.match(await visitor.text('#status'), /^Open: /);
      const model = await sample(file);
      const isCoded = [...model.tensors.values()].some(({ mode }) => mode !== 'pass-through');
      assert.equal(await visitor.p.isVisible('#check'), isCoded, file);
      assert.equal(await visitor.p.isVisible('#code'), !isCoded, file);
      assert.equal(await visitor.p.locator('#tensors tbody tr').count(), model.tensors.size);
      if (!isCoded) continue;
      assert.deepEqual(await visitor.verdicts(), EXACT, file);
      const errors = await visitor.p.$$eval('#check-rows tr', (rows) => rows.map((row) => Number(row.cells[7].textContent)));
      assert.ok(errors.length === 3 && errors.every((e) => e < 1e-5), `differences ${errors}`);
      const saves = await visitor.p.$$eval('#saves .rate', (rates) => rates.map((rate) => [...rate.querySelectorAll('dt')].map((dt) => dt.firstChild.textContent)));
      assert.deepEqual(saves, Array(3).fill(['raw', 'gzip', 'zstd -3', 'Hansel']));
    }
    await visitor.leave();
  });

  it('checks and draws a convolution as the matrix it is', async () => {
    const shape = [64, 24, 3, 3];
    const data = Float32Array.from({ length: 64 * 216 }, (_, i) => Math.sin(i * i));
    const file = await encode({ conv: { dtype: 'F32', shape, data } }, { bits: 5 });
    const visitor = await Visitor.come(browser, url);
    await visitor.p.setInputFiles('#file', {
      name: 'conv.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from(file),
    });
    await visitor.idle(/^Open: /);
    assert.deepEqual(await visitor.verdicts(), EXACT);
    const errors = await visitor.p.$$eval('#check-rows tr', (rows) => rows.map((row) => Number(row.cells[7].textContent)));
    assert.ok(errors.length === 3 && errors.every((e) => e < 1e-5), `differences ${errors}`);
    assert.match(await visitor.p.getAttribute('#heatmap', 'aria-label'), /64 rows and 216 columns/);
    await visitor.leave();
  });

  it('tells a tensor\'s facts as the file has them', async () => {
    const visitor = await Visitor.come(browser, url);
    await visitor.sample('gaussian-3bit.hansel.safetensors');
    const model = await sample('gaussian-3bit.hansel.safetensors');
    const tensor = model.tensors.get('gaussian.weight');
    const head = await model.head('gaussian.weight');
    const facts = await visitor.text('#tensor-facts');
    for (const part of ['1,024 × 1,024', 'F32', 'grid', tensor.entropyBits.toFixed(3), tensor.bits.toFixed(3), head.streams.toLocaleString('en-US')]) {
      assert.ok(facts.includes(part), `${part} in ${facts}`);
    }
    assert.match(await visitor.text('#bytes-legend'), /streams 3\d\d kB.*stream directory.*frequency table/);
    const label = await visitor.p.getAttribute('#histogram', 'aria-label');
    const peak = Math.max(...head.frequencies.values()) / (head.weightsPerSymbol * 2 ** head.precision);
    assert.match(label, /Histogram of \d+ values/);
    assert.ok(label.includes(`the model gives it ${(100 * peak).toFixed(2)} %`), label);
    assert.equal(await visitor.p.locator('#histogram canvas').count(), 1);
    await visitor.leave();
  });

  it('opens a file that is chosen, and one that is dropped', async () => {
    const visitor = await Visitor.come(browser, url);
    await visitor.p.setInputFiles('#file', join(SAMPLES, 'gaussian-4bit.hansel.safetensors'));
    await visitor.idle(/^Open/);
    assert.match(await visitor.text('#file-name'), /gaussian-4bit/);
    assert.deepEqual(await visitor.verdicts(), EXACT);
    await visitor.page.run(async () => {
      const answer = await fetch('/dist/demo/samples/gaussian-3bit.hansel.safetensors');
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([await answer.blob()], 'dropped.safetensors'));
      for (const kind of ['dragenter', 'dragover', 'drop']) {
        document.querySelector('#what').dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
      }
    });
    await visitor.idle(/^Open: dropped/);
    assert.equal(await visitor.text('#file-name'), 'dropped.safetensors');
    assert.deepEqual(await visitor.verdicts(), EXACT);
    await visitor.leave();
  });

  it('opens an address, typed or in the query', async () => {
    const visitor = await Visitor.come(browser, url);
    await visitor.address('/dist/demo/samples/gaussian-4bit.hansel.safetensors');
    assert.match(await visitor.text('#status'), /^Open: gaussian-4bit/);
    await visitor.leave();
    const other = await Visitor.come(browser, `${url}?file=${encodeURIComponent('/dist/demo/samples/gaussian-3bit.hansel.safetensors')}`);
    await other.idle(/^Open: gaussian-3bit/);
    await other.leave();
  });

  it('codes a plain file to bits, to an error, and without loss, as the command line would', async () => {
    const visitor = await Visitor.come(browser, url);
    const plain = await sample('layer.safetensors');
    await visitor.sample('layer.safetensors');
    const set = async (kind, value) => {
      await visitor.p.click(`label:has(input[name=aim][value=${kind}])`);
      if (value !== undefined) await visitor.p.fill('#aim', value);
      await visitor.p.waitForTimeout(100);
    };
    for (const [kind, value, aim] of [['bits', '3.5', { bits: 3.5 }], ['error', '-1', { error: 0.1 }], ['lossless', undefined, { lossless: true }]]) {
      await set(kind, value);
      const estimated = await visitor.text('#estimate-size');
      await visitor.forget();
      await visitor.p.click('#encode');
      await visitor.idle(/^Open: layer\.hansel/);
      const [download] = await Promise.all([visitor.p.waitForEvent('download'), visitor.p.click('#save')]);
      assert.equal(download.suggestedFilename(), 'layer.hansel.safetensors');
      const bytes = new Uint8Array(await readFile(await download.path()));
      const expected = await encode(plain, aim);
      const [ours, theirs] = [await open(bytes), await open(expected)];
      assert.deepEqual(await ours.symbols('layer.weight'), await theirs.symbols('layer.weight'));
      assert.equal(Buffer.compare(bytes, expected), 0, JSON.stringify(aim));
      const kilobytes = Number(/([\d.]+) kB/.exec(estimated)?.[1] ?? 1000 * Number(/([\d.]+) MB/.exec(estimated)[1]));
      assert.ok(Math.abs(kilobytes * 1000 - bytes.length) < 0.015 * bytes.length, `${estimated}, got ${bytes.length}`);
      const isOne = await ours.head('layer.weight').then(() => true, ({ code }) => code !== 'HANSEL_ERR_DTYPE');
      assert.ok(isOne || 'lossless' in aim); // else its rows are in classes
      assert.equal(await visitor.p.isVisible('#check'), isOne);
      if (isOne) assert.deepEqual(await visitor.verdicts(), EXACT);
      else assert.match(await visitor.text('#bytes-legend'), /several matrices/);
    }
    await visitor.leave();
  });

  it('finds the first difference of a decoder that errs', async () => {
    const visitor = await Visitor.come(browser, url);
    // What is read back, with one weight wrong.
    await visitor.page.run(async () => {
      const { WebGpuMatrix } = await import('/web/webgpu.js');
      const { WebGlMatrix } = await import('/web/webgl.js');
      for (const { prototype } of [WebGpuMatrix, WebGlMatrix]) {
        const read = prototype.symbols;
        prototype.symbols = async function symbols() {
          const all = await read.call(this);
          all[5 * 1024 + 7] = 99;
          return all;
        };
      }
    });
    await visitor.sample('gaussian-4bit.hansel.safetensors');
    const model = await sample('gaussian-4bit.hansel.safetensors');
    const right = (await model.symbols('gaussian.weight'))[5 * 1024 + 7];
    const said = `differs first at row 5, column 7: 99, not ${right}`;
    assert.deepEqual(await visitor.verdicts(), { wasm: 'reference', webgl: said, webgpu: said });
    await visitor.p.click('#check-all');
    await visitor.idle(/^1 of 1 tensors differ: gaussian.weight/);

    // The table, as the wasm builds it for WebGPU, with two symbols exchanged.
    await visitor.page.run(async () => {
      const { Codec } = await import('/web/core/codec.js');
      const build = Codec.prototype.buildTable;
      Codec.prototype.buildTable = function buildTable(blob) {
        return build.call(this, blob).map((entry) => (entry >>> 24 === 1 ? (entry & 0xffffff) | 2 << 24 : entry));
      };
      // It decodes what is coded as in the file.
      const { WebGpu } = await import('/web/webgpu.js');
      const { WebGl } = await import('/web/webgl.js');
      for (const { prototype } of [WebGpu, WebGl]) {
        const { load } = prototype;
        prototype.load = function loadCoded(from, name, options) {
          return load.call(this, from, name, { ...options, as: 'coded' });
        };
      }
    });
    await visitor.sample('gaussian-3bit.hansel.safetensors');
    const { wasm, webgl, webgpu } = await visitor.verdicts();
    assert.equal(wasm, 'reference');
    for (const verdict of [webgl, webgpu]) assert.match(verdict, /a stream does not end as it must .* in stream 0/);
    assert.match(await visitor.text('#heatmap-range'), /^Not drawn: .*a stream does not end/);
    await visitor.leave();
  });

  it('draws the weights where they are, on every back end, near and far', async () => {
    const visitor = await Visitor.come(browser, url);
    const model = await sample('gaussian-4bit.hansel.safetensors');
    const symbols = await model.symbols('gaussian.weight');
    await visitor.sample('gaussian-4bit.hansel.safetensors');
    const colours = await visitor.page.run(() => ['heat-zero', 'heat-negative', 'heat-positive'].map((name) => {
      const text = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
      return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
    }));
    const look = async () => {
      await visitor.p.waitForFunction(() => document.getElementById('heatmap').dataset.view);
      return visitor.page.run((spots) => {
        const canvas = document.getElementById('heatmap');
        const { data } = canvas.getContext('2d').getImageData(0, 0, 512, 512);
        return { view: canvas.dataset.view.split(' ').map(Number), pixels: spots.map(([x, y]) => [...data.slice(4 * (512 * y + x), 4 * (512 * y + x) + 3)]) };
      }, spots, { allow: /willReadFrequently/ });
    };
    const spots = [[0, 0], [511, 511], [1, 0], [0, 1], [100, 300], [257, 33], [511, 2], [400, 400], [77, 505]];
    const compare = ({ view: [x, y, width, height, peak], pixels }, what) => {
      for (const [i, [px, py]] of spots.entries()) {
        let strongest = 0;
        const range = (from, cells) => {
          const first = Math.floor(from + 1e-9);
          return [first, Math.max(first + 1, Math.ceil(from + cells - 0.001))];
        };
        const [top, bottom] = range(y + py * height / 512, height / 512);
        const [left, right] = range(x + px * width / 512, width / 512);
        for (let row = top; row < bottom; row++) {
          for (let column = left; column < right; column++) {
            const q = symbols[row * 1024 + column];
            if (Math.abs(q) > Math.abs(strongest)) strongest = q;
          }
        }
        const share = Math.min(1, Math.abs(strongest) / peak);
        const expected = colours[0].map((c, k) => c + share * (colours[strongest < 0 ? 1 : 2][k] - c));
        assert.ok(expected.every((c, k) => Math.abs(c - pixels[i][k]) <= 2), `${what} at ${px}, ${py}: ${pixels[i]}, not ${expected}`);
      }
    };
    for (const kind of ['webgpu', 'webgl', 'wasm']) {
      await visitor.forget();
      await visitor.p.selectOption('#heatmap-kind', kind);
      await visitor.idle(/./);
      assert.equal(await visitor.p.getAttribute('#heatmap', 'data-kind'), kind);
      compare(await look(), `${kind}, all`);
      for (let i = 0; i < 5; i++) await visitor.p.click('#zoom-in');
      await visitor.p.focus('#heatmap');
      await visitor.p.keyboard.press('ArrowRight');
      await visitor.p.keyboard.press('ArrowUp');
      const near = await look();
      assert.equal(near.view[2], 32);
      near.view = near.view.map((v) => Math.fround(v));
      compare(near, `${kind}, near`);
    }
    await visitor.leave();
  });

  it('shows values under the pointer, zooms by double-click and back by 0', async () => {
    const visitor = await Visitor.come(browser, url);
    await visitor.sample('gaussian-4bit.hansel.safetensors');
    const model = await sample('gaussian-4bit.hansel.safetensors');
    const symbols = await model.symbols('gaussian.weight');
    await visitor.p.locator('#heatmap').scrollIntoViewIfNeeded();
    const box = await visitor.p.locator('#heatmap').boundingBox();
    await visitor.p.mouse.move(box.x + 60.2, box.y + 80.2);
    const [, row, column, index] = /row (\d+), column (\d+): .*index (-?\d+)/.exec(await visitor.text('#heatmap-value')).map(Number);
    assert.equal(index, symbols[row * 1024 + column]);
    await visitor.p.mouse.dblclick(box.x + 60, box.y + 80);
    await visitor.p.waitForFunction(() => /rows \d+–\d{3},/.test(document.getElementById('heatmap-range').textContent));
    await visitor.p.keyboard.press('0');
    await visitor.p.waitForFunction(() => /rows 0–1023, columns 0–1023/.test(document.getElementById('heatmap-range').textContent));
    await visitor.leave();
  });
});
