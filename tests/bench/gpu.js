#!/usr/bin/env node
/**
 * The GPU part of the benchmark, run by bench.js at its end and by itself:
 *
 *   node tests/bench/gpu.js [--quick] [--json] [--dawn] [--no-chromium]
 *
 * Measures in headless Chromium on SwiftShader, and with --dawn also in Node, on whatever Vulkan
 * device there is (VK_DRIVER_FILES names its driver): that is how to measure a GPU. There, small
 * matrices stay in the GPU's cache: trust the largest. Prints Markdown, or one JSON document.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { launch } from '../gpu/chromium.js';
import { openDawn } from '../gpu/dawn.js';
import { runGpu } from './gpu_run.js';
import { gpuReport } from './report.js';

/** @typedef {import('./gpu_run.js').GpuResults} GpuResults */
/**
 * @typedef {object} GpuReport
 * @property {string} command @property {string} date @property {string} cpu
 * @property {(GpuResults & {where: string})[]} runs
 */

const started = performance.now();
const say = (/** @type {string} */ what) => process.stderr.write(
  `${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s  GPU: ${what}\n`);

/** @param {boolean} quick */
async function inChromium(quick) {
  const browser = await launch();
  try {
    const page = await browser.openPage();
    page.playwright.on('console', (message) => {
      if (message.type() === 'info') say(`Chromium, ${message.text()}`);
    });
    const found = await page.run(async (isQuick) => {
      const url = '/tests/bench/gpu_run.js';
      const { runGpu: run } = /** @type {typeof import('./gpu_run.js')} */ (await import(url));
      return run({ quick: isQuick, say: (what) => console.info(what) });
    }, quick);
    return { where: `Chromium ${browser.version}`, .../** @type {GpuResults} */ (found) };
  } finally {
    await browser.close();
  }
}

/** @param {boolean} quick */
async function onDawn(quick) {
  const dawn = await openDawn();
  const found = await runGpu({
    quick, adapter: dawn.gpu, say: (what) => say(`Dawn, ${what}`),
  });
  return { where: `Dawn in Node ${process.versions.node}`, ...found };
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' }, json: { type: 'boolean' }, dawn: { type: 'boolean' },
    'no-chromium': { type: 'boolean' },
  },
});
const quick = Boolean(values.quick);
const runs = [];
if (!values['no-chromium']) runs.push(await inChromium(quick));
if (values.dawn) runs.push(await onDawn(quick));
/** @type {GpuReport} */
const results = {
  command: `node tests/bench/gpu.js${quick ? ' --quick' : ''}${values.dawn ? ' --dawn' : ''}`,
  date: new Date().toISOString().slice(0, 10),
  cpu: `${cpus()[0].model}, ${cpus().length} cores`,
  runs,
};
process.stdout.write(values.json ? `${JSON.stringify(results, null, 1)}\n` : gpuReport(results));
