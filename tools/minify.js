/**
 * Makes min/: web/ for pages without a bundler. hansel.js and what it imports, its core, are one file;
 * what is loaded later or by other entries is one file each, and takes what it shares from the core
 * by short names that begin with _.
 * all.js is all of hansel in one file; service_worker.js is what hansel service-worker writes, without wasm.
 *
 * And dist/worker.js, which is one file for everybody: bundlers copy it, or put it where they like.
 */
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { minify } from 'terser';

const root = new URL('..', import.meta.url).pathname;
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
const web = join(root, 'web');
const ENTRIES = ['gpu', 'webgpu', 'webgl', 'plain', 'file'];
/** Where each module lies; their names alone tell them apart, entries from rooms by the folder. */
const MODULES = new Map();
for (const path of await readdir(web, { recursive: true })) {
  const name = basename(path, '.js');
  if (!path.endsWith('.js') || /^(demo|llama|cli)/.test(path)) continue;
  if (MODULES.has(name)) throw new Error(`two modules of one name: ${path}, ${MODULES.get(name)}`);
  MODULES.set(name, join(web, path));
}
const settings = /** @type {const} */ ({
  bundle: true, minify: true, format: 'esm', target: 'es2022', outdir: join(root, 'min'), logLevel: 'warning',
});

/** Relative imports as written in web/, by the file they mean. @param {any} args */
const target = ({ path, resolveDir }) => basename(join(resolveDir, path), '.js');

/** What hansel.js imports statically. */
async function findCore() {
  const core = new Set(['hansel']);
  const { metafile } = await build({
    ...settings, entryPoints: [MODULES.get('hansel')], write: false, metafile: true, outdir: undefined,
    outfile: 'out.js', absWorkingDir: root,
    plugins: [{ name: 'static', setup: ({ onResolve }) => onResolve({ filter: /^\./ }, (args) => (
      args.kind === 'dynamic-import' ? { path: args.path, external: true } : undefined)) }],
  });
  for (const path of Object.keys(metafile.inputs)) core.add(basename(path, '.js'));
  core.delete('structs'); // numbers, that stand in the text wherever they are used
  return core;
}

/**
 * @param {Map<string, Map<string, string>>} core the core's modules: what each exports, by its name
 *   in min/hansel.js
 * @param {Set<string>} others receives what is imported dynamically
 */
const split = (core, others) => ({
  name: 'split',
  setup(/** @type {import('esbuild').PluginBuild} */ { onLoad, onResolve }) {
    onResolve({ filter: /\/dist\/\w+\.js$/ }, ({ path }) => (
      { path: path.replace(/^[./]+/, '../'), external: true }));
    onResolve({ filter: /^\./ }, (args) => {
      const name = target(args);
      if (args.kind === 'entry-point' || join(args.resolveDir, args.path) !== MODULES.get(name)) return;
      if (args.kind === 'dynamic-import') others.add(name);
      if (others.has(name)) return { path: `./${name}.js`, external: true };
      if (core.has(name)) return { path: name, namespace: 'core', sideEffects: false };
    });
    onResolve({ filter: /hansel/, namespace: 'core' }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /./, namespace: 'core' }, ({ path }) => ({
      contents: `export { ${[...core.get(path) ?? []].map(([name, short]) => (
        `${short} as ${name}`))} } from './hansel.js';`,
    }));
  },
});

/**
 * What web/asset.js says for bundlers, said shorter.
 * @param {string} code
 */
const replaceAsset = (code) => ({
  name: 'asset',
  setup: (/** @type {import('esbuild').PluginBuild} */ { onLoad }) => onLoad({ filter: /web\/asset\.js$/ },
    () => ({ contents: `export const ${code};` })),
});

/** Of min/. */
const FILE_URL = 'fileUrl = (name) => new URL(`../dist/${name}`, import.meta.url)';

/** a to z, A to Z, then aa: @param {number} n @returns {string} */
const shortName = (n) => (n < 52 ? String.fromCharCode((n < 26 ? 97 : 39) + n)
  : shortName(Math.floor(n / 52) - 1) + shortName(n % 52));

/**
 * What modules outside import from core modules, with short names for it in min/hansel.js.
 * @param {Set<string>} core
 */
async function findExports(core) {
  const found = new Map([...core].map((name) => [name, new Map()]));
  let count = 0;
  for (const [module, path] of MODULES) {
    if (core.has(module)) continue;
    const text = await readFile(path, 'utf8');
    for (const [, names, from] of text.matchAll(/(?:im|ex)port (\{[^}]*\}) from '[./\w]*?(\w+)\.js'/g)) {
      for (const name of core.has(from) ? names.match(/\w+/g) ?? [] : []) {
        const exports = found.get(from);
        if (!exports.has(name)) exports.set(name, `_${shortName(count++)}`);
      }
    }
  }
  return found;
}

const core = await findExports(await findCore());
await rm(settings.outdir, { recursive: true, force: true });
const done = new Set();
const waiting = new Set(ENTRIES);
await build({
  ...settings, outdir: undefined, outfile: join(root, 'min/hansel.js'),
  stdin: { resolveDir: web, contents: [`export * from './hansel.js';`, ...[...core].flatMap(
    ([from, exports]) => [...exports].map(
      ([name, short]) => `export { ${name} as ${short} } from '${MODULES.get(from)}';`))].join('\n') },
  plugins: [split(new Map(), waiting), replaceAsset(FILE_URL)],
});
await build({
  ...settings, entryPoints: [MODULES.get('worker')], outdir: join(root, 'dist'),
  plugins: [replaceAsset('fileUrl = () => {}')], // it is sent its modules, and loads nothing
});
// For Service Workers, where nothing can be loaded later: all in one.
await build({
  ...settings, entryPoints: [MODULES.get('hansel')], outdir: undefined,
  outfile: join(root, 'min/all.js'), plugins: [replaceAsset(FILE_URL)],
});
// hansel service-worker puts the modules to decode with before it, as addresses.
await build({
  ...settings, format: 'iife', entryPoints: [MODULES.get('service_worker')],
  plugins: [replaceAsset('fileUrl = (name) => new URL(HANSEL_MODULES[name])')],
});
for (const [name, entry] of [['all', 'hansel'], ['hansel', 'hansel'], ...ENTRIES.map((one) => [one, one])]) {
  await writeFile(join(settings.outdir, `${name}.d.ts`), `export * from '../dist/types/${entry}.js';\n`);
}
for (const name of waiting) { // grows
  if (done.has(name)) continue;
  done.add(name);
  await build({
    ...settings, entryPoints: [MODULES.get(name)], plugins: [split(core, waiting)],
  });
}

// Another 3 % off what esbuild leaves.
const made = (await readdir(settings.outdir)).filter((name) => name.endsWith('.js'))
  .map((name) => join(settings.outdir, name));
for (const path of [...made, join(root, 'dist/worker.js')]) {
  const { code } = await minify(await readFile(path, 'utf8'), {
    module: true, ecma: 2020, compress: { passes: 3, keep_fargs: false, pure_getters: true },
    format: { preamble: `/* hansel ${version}, MIT */` },
  });
  await writeFile(path, `${code}\n`);
}
