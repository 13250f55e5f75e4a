/**
 * Makes min/: web/ for pages without a bundler. What open() needs is one file, core.js; what is
 * loaded later or by other entries is one file each, and takes what it shares from core.js. all.js is
 * all of hansel in one file.
 */
import { readFile, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url).pathname;
const web = join(root, 'web');
const ENTRIES = ['hansel', 'gpu', 'webgpu', 'webgl', 'plain'];
/** Where each module lies; their names alone tell them apart, entries from rooms by the folder. */
const MODULES = new Map();
for (const path of await readdir(web, { recursive: true })) {
  const name = basename(path, '.js');
  if (!path.endsWith('.js') || path.startsWith('demo/') || path.startsWith('cli')) continue;
  if (MODULES.has(name)) throw new Error(`two modules of one name: ${path}, ${MODULES.get(name)}`);
  MODULES.set(name, join(web, path));
}
const settings = /** @type {const} */ ({
  bundle: true, minify: true, format: 'esm', target: 'es2022', external: ['node:*'],
  outdir: join(root, 'min'), logLevel: 'warning',
});

/** Relative imports as written in web/, by the file they mean. @param {any} args */
const target = ({ path, resolveDir }) => basename(join(resolveDir, path), '.js');

/** What model.js imports statically. */
async function findCore() {
  const core = new Set(['model']);
  const { metafile } = await build({
    ...settings, entryPoints: [MODULES.get('model')], write: false, metafile: true, outdir: undefined,
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
 *   in core.js
 * @param {Set<string>} others receives what is imported dynamically
 */
const split = (core, others) => ({
  name: 'split',
  setup(/** @type {import('esbuild').PluginBuild} */ { onLoad, onResolve }) {
    onResolve({ filter: /^\./ }, (args) => {
      const name = target(args);
      if (args.kind === 'entry-point' || join(args.resolveDir, args.path) !== MODULES.get(name)) return;
      if (args.kind === 'dynamic-import') others.add(name);
      if (others.has(name)) return { path: `./${name}.js`, external: true };
      if (core.has(name)) return { path: name, namespace: 'core', sideEffects: false };
    });
    onResolve({ filter: /core/, namespace: 'core' }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /./, namespace: 'core' }, ({ path }) => ({
      contents: `export { ${[...core.get(path) ?? []].map(([name, short]) => (
        `${short} as ${name}`))} } from './core.js';`,
    }));
  },
});

/** a to z, A to Z, then aa: @param {number} n @returns {string} */
const shortName = (n) => (n < 52 ? String.fromCharCode((n < 26 ? 97 : 39) + n)
  : shortName(Math.floor(n / 52) - 1) + shortName(n % 52));

/**
 * What modules outside import from core modules, with short names for it in core.js.
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
        if (!exports.has(name)) exports.set(name, shortName(count++));
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
  ...settings, outdir: undefined, outfile: join(root, 'min/core.js'),
  stdin: { resolveDir: web, contents: [...core].flatMap(([from, exports]) => (
    [...exports].map(([name, short]) => `export { ${name} as ${short} } from '${MODULES.get(from)}';`))).join('\n') },
  plugins: [split(new Map(), waiting)],
});
await build({ ...settings, entryPoints: [MODULES.get('worker')] }); // a realm of its own
// For Service Workers, where nothing can be loaded later: all in one, but for what only Node reads.
await build({
  ...settings, entryPoints: [MODULES.get('hansel')], outdir: undefined,
  outfile: join(root, 'min/all.js'), external: ['node:*', './path_source.js'],
});
for (const name of waiting) { // grows
  if (done.has(name)) continue;
  done.add(name);
  await build({
    ...settings, entryPoints: [MODULES.get(name)], plugins: [split(core, waiting)],
  });
}
