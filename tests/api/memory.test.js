/** Memory of open() and one tensor: the coded bytes, the decoded ones and two chunks, no more. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from '../../web/hansel.js';

const ROOT = new URL('../..', import.meta.url).pathname;
const CHUNK = 2 ** 20;

/** Decodes argv[0] and prints the most that buffers and wasm memory held, garbage apart. */
const SCRIPT = `
  import { readFile } from 'node:fs/promises';
  import { open } from './web/hansel.js';
  const [path, kind, dtype] = process.argv.slice(1);
  const held = () => { gc(); return process.memoryUsage().external; };
  const before = held();
  const source = kind === 'path' ? path : await readFile(path);
  const model = await open(source);
  let peak = 0;
  const onProgress = () => { peak = Math.max(peak, held()); };
  const weights = await model.decode('w', { dtype, onProgress });
  peak = Math.max(peak, held());
  console.log(JSON.stringify({ peak: peak - before, decoded: weights.byteLength }));
`;

describe('memory', function () {
  this.timeout(60000);
  let folder;
  let path;
  let coded;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hansel-memory-'));
    path = join(folder, 'w');
    const data = new Float32Array(1 << 23).map((_, i) => Math.sin(i * 1.7) * Math.cos(i * i));
    const file = await encode({ w: { dtype: 'F32', shape: [2048, 4096], data } }, { step: 0.05 });
    coded = file.length;
    await writeFile(path, file);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  for (const [kind, dtype] of [['path', 'I8'], ['path', 'F32'], ['bytes', 'I8'], ['bytes', 'F32']]) {
    it(`peaks at coded + decoded + two chunks: ${kind}, to ${dtype}`, () => {
      const { peak, decoded } = JSON.parse(execFileSync(process.execPath, ['--expose-gc',
        '--input-type=module', '-e', SCRIPT, path, kind, dtype], { cwd: ROOT }));
      const MIB = 2 ** 20;
      console.log(`      ${(peak / MIB).toFixed(1)} MiB at most; coded ${(coded / MIB).toFixed(1)}, `
        + `decoded ${(decoded / MIB).toFixed(1)}`);
      // A few pages of WebAssembly, of 64 KiB each, come on top.
      assert.ok(peak >= decoded && peak <= coded + decoded + 2 * CHUNK + 2 ** 18, `${peak} bytes, ${peak - coded - decoded - 2 * CHUNK} too many`);
    });
  }
});
