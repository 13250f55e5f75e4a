/** The small Llama as files of the runtimes, plain and coded by the command line; pages that load them; recipes. */
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ggufFile } from '../../tools/gguf_model.js';
import { onnxFiles, readCheckpoint } from '../../tools/runtime_files.js';
import { folder, good } from '../api/command.js';

const CHECKPOINT = fileURLToPath(new URL('../../web/demo/models/licence-llama/', import.meta.url));
const RECIPES = new URL('../../docs/RUNTIMES.md', import.meta.url);
/** What recipes import, and where tests have it. */
const IMPORTS = {
  'hansel/file': '/web/file.js',
  '@huggingface/transformers': '/node_modules/@huggingface/transformers/dist/transformers.js',
};

/** @typedef {Map<string, Uint8Array>} Files by name */
/** @typedef {import('../gpu/chromium.js').TestPage} TestPage */

/**
 * @returns {Promise<{files: Files, gguf: (type: string, layers?: number) => Uint8Array, tokens: number[],
 *   reference: any}>} files of tools/runtime_files.js, by path; gguf: a file of that type of weights, of some layers or
 *   all; reference: a prompt and what the model makes of it; tokens: the prompt's
 */
export async function readModel() {
  const checkpoint = await readCheckpoint(CHECKPOINT, 'model.hansel.safetensors');
  const reference = JSON.parse(await readFile(`${CHECKPOINT}reference.json`, 'utf8'));
  return {
    files: onnxFiles(checkpoint),
    gguf: (type, layers = checkpoint.sizes.layers) => (
      ggufFile({ ...checkpoint.sizes, layers }, checkpoint.tensors, type)),
    tokens: [...reference.prompt].map((character) => checkpoint.config.characters.indexOf(character)),
    reference,
  };
}

/**
 * `hansel encode` of files that lie in one folder. Who calls this calls cleanUp() of command.js at the end.
 * @param {Files} files @param {string[]} names of those that the command is given
 * @param {string[]} [options]
 * @returns {Promise<{cwd: string, coded: Files}>} cwd: the folder of all
 */
export async function encodeFiles(files, names, options = []) {
  const cwd = folder();
  for (const [name, bytes] of files) await writeFile(join(cwd, name), bytes);
  for (const name of names) await good(['encode', name, '--quiet', ...options], { cwd });
  const coded = new Map();
  for (const name of await readdir(cwd)) {
    if (name.endsWith('.hansel')) coded.set(name, new Uint8Array(await readFile(join(cwd, name))));
  }
  return { cwd, coded };
}

/**
 * Makes a folder of pages: a repository of transformers.js, its models in onnx/, and other files.
 * @param {TestPage} page @param {string} name of the folder, below /__mem/ @param {Files} small files of the repository
 * @param {Files} [files] others
 */
export function putFolder(page, name, small, files = new Map()) {
  for (const [path, bytes] of small) if (path.endsWith('.json')) page.put(`${name}/${path}`, bytes);
  for (const [path, bytes] of files) page.put(`${name}/${/\.onnx/.test(path) ? 'onnx/' : ''}${path}`, bytes);
}

/** A page with page.js, to which recipes' modules can be imported. @param {string} [html] of its own */
export const pageText = (html = '') => new TextEncoder().encode(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>Runtimes</title>
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<script type="module">
  import * as harness from '/tests/runtimes/page.js';
  globalThis.harness = harness;
</script>
${html}
</html>
`);

/** @returns {Promise<Map<string, string>>} what docs/RUNTIMES.md says to do, by name; 'html' for pages */
export async function readRecipes() {
  const text = await readFile(RECIPES, 'utf8');
  return new Map(Array.from(text.matchAll(/^```(js [\w-]+|html)\n(.*?)^```$/gms), ([, name, code]) => (
    [name.replace('js ', ''), code])));
}
