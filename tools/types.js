/**
 * Makes dist/types good for every TypeScript user. What browsers have is known to some libraries (lib
 * dom, webworker, @types/node, @webgpu/types) and not to others: each file that names such things says
 * what they are, if anybody knows, or that they are any.
 */
import { readFile, readdir, writeFile } from 'node:fs/promises';

const FOLDER = new URL('../dist/types/', import.meta.url);
const NAMES = /\b(GPU([A-Z]\w*)?|WebGL\w+|HTMLCanvasElement|OffscreenCanvas|AbortSignal|Worker)\b/g;
/** Names that no value has, and what stands for them. */
const NO_VALUES = { GPUBufferUsageFlags: 'number' };

/** @param {string} name @param {string} path of the class, from globalThis on */
const typeOf = (name, path) => `type ${name} = typeof globalThis extends ${
  path.split('.').reduceRight((inner, one) => `{ ${one}: ${inner} }`, '{ prototype: infer T }')} ? T : any;\n`;

for (const path of await readdir(FOLDER, { recursive: true })) {
  if (!path.endsWith('.d.ts')) continue;
  const url = new URL(path, FOLDER);
  const text = await readFile(url, 'utf8');
  // A namespace: its classes by names of their own.
  const flat = text.replace(/\bWebAssembly\.(\w+)/g, 'WebAssembly_$1');
  const code = flat.replace(/\/\*[^]*?\*\//g, '');
  const names = [...new Set(code.match(NAMES)), ...new Set(code.match(/\bWebAssembly_\w+/g))];
  if (!names.length) continue;
  await writeFile(url, flat + names.map((name) => (Object.hasOwn(NO_VALUES, name)
    ? `type ${name} = ${NO_VALUES[/** @type {'GPUBufferUsageFlags'} */ (name)]};\n`
    : typeOf(name, name.replace('_', '.')))).join(''));
}
