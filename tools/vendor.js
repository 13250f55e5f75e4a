#!/usr/bin/env node
/**
 * The libraries of the demo page, from node_modules to DIR, as modules that a browser loads without
 * a bundler:
 *
 *   node tools/vendor.js DIR
 */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const MODULES = new URL('../node_modules/', import.meta.url).pathname;
const ZSTD = ['index.web.js', 'module.js', 'zstd.js', 'errors/index.js',
  ...['compress', 'decompress', 'compress_using_dict', 'decompress_using_dict'].map((name) => `simple/${name}.js`)];

const [to] = process.argv.slice(2);
if (!to) {
  process.stderr.write('usage: node tools/vendor.js DIR\n');
  process.exit(2);
}

/** @param {string} name @param {string} text */
async function write(name, text) {
  await mkdir(dirname(join(to, name)), { recursive: true });
  await writeFile(join(to, name), text);
}

// Its minified build is a script; a line makes it a module.
const uplot = await readFile(join(MODULES, 'uplot/dist/uPlot.iife.min.js'), 'utf8');
await write('uplot.js', `${uplot}\nexport default uPlot;\n`);
await copyFile(join(MODULES, 'uplot/dist/uPlot.min.css'), join(to, 'uplot.css'));
await copyFile(join(MODULES, 'uplot/LICENSE'), join(to, 'uplot.LICENSE'));

// Written for bundlers: its imports lack the extension.
for (const name of ZSTD) {
  const text = await readFile(join(MODULES, '@bokuweb/zstd-wasm/dist/esm', name), 'utf8');
  await write(`zstd/${name}`, text.replace(/^(import|export) (.*) from '(\.[^']*)';$/gm,
    (_, verb, what, path) => `${verb} ${what} from '${path === '../errors' ? '../errors/index' : path}.js';`)
    .replace(/^\/\/# sourceMappingURL=.*$/m, ''));
}
await copyFile(join(MODULES, '@bokuweb/zstd-wasm/dist/esm/zstd.wasm'), join(to, 'zstd/zstd.wasm'));
await copyFile(join(MODULES, '@bokuweb/zstd-wasm/package.json'), join(to, 'zstd/package.json')); // its licence
for (const name of ['ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm']) {
  await mkdir(join(to, 'ort'), { recursive: true });
  await copyFile(join(MODULES, 'onnxruntime-web/dist', name), join(to, 'ort', name));
}
await copyFile(join(MODULES, 'onnxruntime-web/package.json'), join(to, 'ort/package.json')); // its licence
