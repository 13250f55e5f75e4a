/** The command line and the reference matrix: rates, and memory. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { open } from '../../web/hansel.js';
import { cleanUp, folder, good } from './command.js';

const MIB = 2 ** 20;

after(cleanUp);

describe('the reference matrix', function () {
  this.timeout(90000);
  let cwd = '';
  // Not resourceUsage().maxRSS: a process begins with that of the one that started it.
  const REPORT = 'data:text/javascript,import{readFileSync}from"node:fs";process.on("exit",()=>'
    + 'process.stderr.write(readFileSync("/proc/self/status","utf8")))';

  /** Largest resident size in MiB. */
  async function memoryOf(args) {
    const { stderr } = await good(args, { cwd, node: ['--import', REPORT] });
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(stderr)[1]) / 1024;
  }

  before(async () => {
    cwd = folder();
    await good(['sample', 'w.safetensors'], { cwd });
    await good(['sample', '4096.safetensors', '--rows', '4096'], { cwd });
  });

  it('is 14336 x 4096 F32; a sample of 8 rows is its beginning', async () => {
    const size = statSync(join(cwd, 'w.safetensors')).size;
    await good(['sample', '8', '--rows', '8'], { cwd });
    const [all, few] = [await open(join(cwd, 'w.safetensors')), await open(join(cwd, '8'))];
    assert.deepEqual(all.tensor('w').shape, [14336, 4096]);
    assert.deepEqual(few.tensor('w').shape, [8, 4096]);
    const { source, start } = all.place('w');
    assert.deepEqual(Buffer.from(await source.read(start, start + 131072)),
      Buffer.from((await few.decode('w')).buffer));
    assert.equal(size - start, 4 * 14336 * 4096);
    await Promise.all([all.close(), few.close()]);
  });

  for (const [name, step, length, most] of /** @type {const} */ ([
    ['w', '1/52', '4096', 0.25], ['w', '1/52', '1024', 0.85], ['4096', '0.25', '4096', 0.7],
    ['4096', '0.25', '1024', 2.3]])) {
    it(`step ${step}, streams of ${length}: at most ${most} % over the entropy`, async () => {
      const { stdout } = await good(['encode', `${name}.safetensors`, '-o', 'out', '--force',
        '--json', '--step', step,
        '--saturate', '--stream-length', length], { cwd });
      const { tensors: { w }, bytes } = JSON.parse(stdout);
      assert.equal(bytes, statSync(join(cwd, 'out')).size);
      const model = await open(join(cwd, 'out'));
      const symbols = await model.symbols('w');
      await model.close();
      const counts = new Float64Array(256);
      for (const q of symbols) counts[q & 255]++;
      const shares = counts.filter((c) => c > 0).map((c) => c / symbols.length);
      const entropy = shares.reduce((sum, share) => sum - share * Math.log2(share), 0);
      assert.ok(Math.abs(entropy - w.entropy_bits) < 1e-6, `${entropy}, ${w.entropy_bits}`);
      const bits = 8 * bytes / w.weights;
      const over = 100 * (bits / entropy - 1);
      console.log(`      ${bits.toFixed(5)} bits per weight, entropy ${entropy.toFixed(5)}: +${
        over.toFixed(3)} %`);
      assert.ok(over > 0 && over <= most, `+${over} %`);
    });
  }

  it('memory stays far below the size of the file', async () => {
    const size = statSync(join(cwd, 'w.safetensors')).size / MIB;
    const runs = {
      'encode --bits 4 --threads 1': ['encode', 'w.safetensors', '-o', 'b4', '--bits', '4',
        '--threads', '1'],
      'encode --lossless --threads 2': ['encode', 'w.safetensors', '-o', 'l', '--lossless',
        '--threads', '2'],
      'decode': ['decode', 'b4', '-o', 'd'],
      'verify': ['verify', 'b4'],
    };
    for (const [name, args] of Object.entries(runs)) {
      const peak = await memoryOf(args);
      console.log(`      ${name}: ${peak.toFixed(0)} MiB at most, the file has ${
        size.toFixed(0)} MiB`);
      assert.ok(peak > 20 && peak < 200, `${peak} MiB`);
    }
  });
});
