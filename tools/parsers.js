#!/usr/bin/env node
/**
 * Makes dist/parsers.js: the libraries that read GGUF and ONNX, in one file for the command line, so that the package
 * has no dependencies.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url).pathname;
const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8'));
const LICENCES = '@huggingface/gguf and tasks, MIT, Hugging Face; protobuf.js, BSD-3-Clause, Daniel Wirtz; long.js, Apache-2.0';
await build({
  stdin: {
    resolveDir: root,
    contents: `export { gguf } from '@huggingface/gguf';\nexport { default as protobuf } from 'protobufjs/minimal.js';\n`,
  },
  outfile: `${root}dist/parsers.js`, bundle: true, minify: true, format: 'esm', platform: 'node', target: 'node20',
  legalComments: 'inline', logLevel: 'warning',
  banner: { js: `/* hansel ${version}, MIT */\n/* In it: ${LICENCES} */` },
  // Names of models' tasks and the like, of which a few numbers are needed: four fifths of the file.
  plugins: [{
    name: 'shake',
    setup({ onResolve, resolve }) {
      onResolve({ filter: /^@huggingface\/tasks$/ }, async ({ path, kind, resolveDir, pluginData }) => (
        pluginData ? undefined : {
          path: (await resolve(path, { kind, resolveDir, pluginData: true })).path, sideEffects: false,
        }));
    },
  }],
});
await writeFile(`${root}dist/parsers.d.ts`, 'export const gguf: any;\nexport const protobuf: any;\n');
