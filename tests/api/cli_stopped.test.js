/** The command line, stopped by signals: no output, no temporary file, the old file as it was. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp, folder, good, start, until } from './command.js';

after(cleanUp);

describe('hansel, stopped', function () {
  this.timeout(60000);
  let input = '';

  before(async () => {
    const cwd = folder();
    input = join(cwd, 'big.safetensors');
    await good(['sample', input, '--rows', '4000']);
    await good(['encode', input, '-o', join(cwd, 'coded'), '--step', '1/16']);
  });

  /** Stops a command when it has written for a while; its folder holds a file `old`. */
  async function stop(args, signal, cwd) {
    writeFileSync(join(cwd, 'old'), 'precious');
    const { child, result } = start(args, { cwd, env: { TMPDIR: cwd } });
    await until(() => readdirSync(cwd).length > 1 || child.exitCode !== null, 'temporary file');
    await sleep(150);
    assert.equal(child.exitCode, null, 'still at work');
    child.kill(signal);
    const killed = performance.now();
    const ended = await result;
    assert.ok(performance.now() - killed < 3000, 'ends at once');
    return ended;
  }

  for (const threads of ['1', '3']) {
    for (const output of [['-o', 'new'], ['-o', 'old', '--force']]) {
      it(`Ctrl-C while encoding, ${threads} threads, ${output.join(' ')}`, async () => {
        const cwd = folder();
        const { code, stderr } = await stop(['encode', input, '--bits', '4', '--threads', threads,
          ...output], 'SIGINT', cwd);
        assert.equal(code, 130);
        assert.match(stderr, /^hansel: HANSEL_ERR_ABORTED: [^\n]*\n$/);
        assert.deepEqual(readdirSync(cwd), ['old'], 'no output, no temporary file');
        assert.equal(readFileSync(join(cwd, 'old'), 'utf8'), 'precious');
      });
    }
  }

  it('Ctrl-C while sampling and while reading standard input', async () => {
    for (const args of [['sample', 'old', '--force'], ['sample', 'new']]) {
      const cwd = folder();
      const { code, stderr } = await stop(args, 'SIGINT', cwd);
      assert.equal(code, 130, stderr);
      assert.match(stderr, /^hansel: HANSEL_ERR_ABORTED: /);
      assert.deepEqual(readdirSync(cwd), ['old']);
      assert.equal(readFileSync(join(cwd, 'old'), 'utf8'), 'precious');
    }
    const cwd = folder(); // nobody ever writes to its standard input
    const { code, stderr } = await stop(['encode', '-', '-o', 'new'], 'SIGINT', cwd);
    assert.equal(code, 130, stderr);
    assert.deepEqual(readdirSync(cwd), ['old']);
  });

  for (const signal of /** @type {const} */ (['SIGHUP', 'SIGQUIT', 'SIGTERM'])) {
    it(`${signal} cleans up as Ctrl-C does`, async () => {
      const more = ['--bits', '4', '-o', 'new'];
      for (const args of [['encode', input, ...more], ['encode', '-', ...more]]) {
        const cwd = folder();
        const { code, stderr } = await stop(args, signal, cwd);
        assert.equal(code, 128 + constants.signals[signal]);
        assert.match(stderr, /^hansel: HANSEL_ERR_ABORTED: [^\n]*\n$/);
        assert.deepEqual(readdirSync(cwd), ['old']);
      }
    });
  }

  it('SIGKILL leaves the old file as it was', async () => {
    const cwd = folder();
    const { signal } = await stop(['encode', input, '--bits', '4', '-o', 'old', '--force'],
      'SIGKILL', cwd);
    assert.equal(signal, 'SIGKILL');
    assert.equal(readFileSync(join(cwd, 'old'), 'utf8'), 'precious');
    assert.equal(readdirSync(cwd).length, 2, 'a temporary file is left');
    await good(['encode', input, '--step', '1/16', '-o', 'old', '--force'], { cwd });
    assert.ok(readFileSync(join(cwd, 'old')).equals(readFileSync(join(input, '..', 'coded'))));
    assert.deepEqual(readdirSync(cwd), ['old'], 'the next run has swept it');
  });
});
