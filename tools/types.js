/**
 * Makes dist/types good for every TypeScript user: what WebGPU's types are called is known to some
 * libraries (TypeScript's own dom from version 6 on, @webgpu/types) and not to others. Each file that
 * names them says what they are, if anybody knows, or that they are any.
 */
import { readFile, readdir, writeFile } from 'node:fs/promises';

const FOLDER = new URL('../dist/types/', import.meta.url);
/** Names that no value has, and what stands for them. */
const NO_VALUES = { GPUBufferUsageFlags: 'number' };

for (const path of await readdir(FOLDER, { recursive: true })) {
  if (!path.endsWith('.d.ts')) continue;
  const url = new URL(path, FOLDER);
  const text = await readFile(url, 'utf8');
  const names = new Set(text.replace(/\/\*[^]*?\*\//g, '').match(/\bGPU([A-Z]\w*)?\b/g));
  const known = [...names].map((name) => `type ${name} = ${NO_VALUES[name] ?? (
    `typeof globalThis extends { ${name}: { prototype: infer T } } ? T : any`)};\n`);
  if (names.size && !text.includes('type GPU')) await writeFile(url, text + known.join(''));
}
