/**
 * Makes dist/wgsl.js and dist/glsl.js of shaders/: texts by their files' names, without comments and
 * indentation, and with all their lines, so that a compiler's message names the right one.
 */
import { readFile, readdir, writeFile } from 'node:fs/promises';

const ROOT = new URL('..', import.meta.url);
const { version } = JSON.parse(await readFile(new URL('package.json', ROOT), 'utf8'));
const files = await readdir(new URL('shaders', ROOT));

for (const language of ['wgsl', 'glsl']) {
  /** @type {Record<string, string>} */
  const texts = {};
  for (const file of files.filter((name) => name.endsWith(`.${language}`)).sort()) {
    const text = await readFile(new URL(`shaders/${file}`, ROOT), 'utf8');
    texts[file] = text.replace(/\/\*[^]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''))
      .replace(/\/\/.*/g, '').replace(/^[ \t]+|[ \t]+$/gm, '');
  }
  await writeFile(new URL(`dist/${language}.js`, ROOT),
    `/* hansel ${version}, MIT */\nexport default ${JSON.stringify(texts, null, 1)};\n`);
  await writeFile(new URL(`dist/${language}.d.ts`, ROOT),
    'declare const texts: Record<string, string>;\nexport default texts;\n');
}
