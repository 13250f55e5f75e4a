#!/usr/bin/env node
/**
 * The demo page as static files, for any host and any path:
 *
 *   node tools/site.js DIR
 *
 * DIR becomes a copy of what the page reads, in the repository's layout, and an index.html of the
 * page. All addresses are relative. What was in DIR before is replaced.
 */
import { cp, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = new URL('..', import.meta.url).pathname;
/** What only Node loads. */
const NODE_ONLY = ['web/cli', 'web/cli.js', 'web/file/path_source.js'].map((path) => join(ROOT, path));

const [to] = process.argv.slice(2);
if (!to) {
  process.stderr.write('usage: node tools/site.js DIR\n');
  process.exit(2);
}
const made = `${to}.new`;
await rm(made, { recursive: true, force: true });
await cp(join(ROOT, 'web'), join(made, 'web'), {
  recursive: true, filter: (path) => !NODE_ONLY.includes(path),
});
await cp(join(ROOT, 'dist/demo'), join(made, 'dist/demo'), { recursive: true });
for (const name of await readdir(join(ROOT, 'dist'))) {
  if (/\.(wasm|js)$/.test(name)) await cp(join(ROOT, 'dist', name), join(made, 'dist', name));
}
await mkdir(join(made, 'src'));
await mkdir(join(made, 'docs'));
for (const name of ['src/FORMAT.md', 'docs/RUNTIMES.md', 'LICENSE']) await cp(join(ROOT, name), join(made, name));

const page = await readFile(join(ROOT, 'web/demo/index.html'), 'utf8');
await writeFile(join(made, 'index.html'), page.replace(/(href|src)="(?!#|data:|https?:)([^"]+)"/g,
  (_, attribute, path) => `${attribute}="${join('web/demo', path)}"`));
await writeFile(join(made, '.nojekyll'), '');
await rm(to, { recursive: true, force: true });
await rename(made, to);
