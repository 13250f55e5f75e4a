/** Files that the command line writes: their names, whose they are, what room they take. */
import assert from 'node:assert/strict';
import {
  lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, symlinkSync, utimesSync,
  writeFileSync,
} from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { codedFile } from '../../web/cli/coded_file.js';
import { OutputFile } from '../../web/cli/node_file.js';
import { createTemporary, removeTemporary } from '../../web/cli/temporary.js';
import { bad, cleanUp, folder, good, plain, start, until, withInput } from './command.js';

after(cleanUp);

const isOurs = (/** @type {string} */ name) => (
  /^\.hansel-[0-9a-f]{12}-\d+-\d+-[0-9a-f]{16}\.tmp$/.test(name));

describe('temporary files', function () {
  this.timeout(60000);

  it('have names of their own, which fit beside any name', async () => {
    const cwd = folder();
    const made = await Promise.all([1, 2, 3].map(() => createTemporary(cwd)));
    assert.equal(new Set(made.map(({ path }) => path)).size, 3);
    for (const { path, handle } of made) {
      assert.ok(isOurs(basename(path)), path);
      await handle.close();
      await removeTemporary(path);
    }
    assert.deepEqual(readdirSync(cwd), []);
    const { cwd: where } = withInput();
    const long = 'x'.repeat(253);
    await good(['encode', 'in.safetensors', '-o', long], { cwd: where });
    await good(['decode', long, '-o', `y${long}`], { cwd: where });
    assert.deepEqual(readdirSync(where).sort(), ['in.safetensors', long, `y${long}`]);
  });

  it('of the dead are swept, and nothing else', async () => {
    const cwd = folder();
    const { path, handle } = await createTemporary(cwd);
    await handle.close();
    const [, here, pid, started] = /^\.hansel-(\w+)-(\d+)-(\d+)/.exec(basename(path));
    const elsewhere = here.replace(/./g, (c) => (c === 'a' ? 'b' : 'a'));
    const name = (place, id, since, n) => (
      `.hansel-${place}-${id}-${since}-${String(n).repeat(16)}.tmp`);
    const old = Date.now() / 1000 - 8 * 24 * 3600;
    const files = {
      [name(here, pid, started, 1)]: true, // this process is alive
      [name(here, pid, Number(started) + 1, 2)]: false, // its number was another's before
      [name(here, 2 ** 22 + 5, 7, 3)]: false, // beyond what Linux gives out
      [name(elsewhere, pid, started, 4)]: true, // written to lately
      [name(elsewhere, pid, started, 5)]: false, // a week ago
      '.hansel-notours.tmp': true, '.out.safetensors.7.0.tmp': true, 'precious': true,
      [`x${name(here, 2 ** 22 + 5, 7, 6)}`]: true,
    };
    for (const file of Object.keys(files)) {
      writeFileSync(join(cwd, file), 'x');
      if (!file.endsWith(`${'4'.repeat(16)}.tmp`)) utimesSync(join(cwd, file), old, old);
    }
    mkdirSync(join(cwd, name(here, 2 ** 22 + 5, 7, 7)));
    symlinkSync('precious', join(cwd, name(here, 2 ** 22 + 5, 7, 8)));
    await good(['sample', 'new', '--rows', '1'], { cwd });
    const left = [...Object.keys(files).filter((file) => files[file]), basename(path), 'new',
      name(here, 2 ** 22 + 5, 7, 7), name(here, 2 ** 22 + 5, 7, 8)];
    assert.deepEqual(readdirSync(cwd).sort(), left.sort());
    await removeTemporary(path);
  });

  it('of one that is at work are left to it', async () => {
    const { cwd } = withInput();
    const { child, result } = start(['sample', 'slow', '--rows', '9000'], { cwd });
    await until(() => readdirSync(cwd).some(isOurs), 'temporary file');
    await good(['encode', 'in.safetensors', '-o', 'quick'], { cwd });
    assert.equal(child.exitCode, null, 'still at work');
    assert.equal((await result).code, 0);
    assert.deepEqual(readdirSync(cwd).sort(), ['in.safetensors', 'quick', 'slow']);
  });

  it('of standard input are its user\'s alone', async () => {
    const cwd = folder();
    const { child, result } = start(['info', '-'], { cwd, env: { TMPDIR: cwd } });
    child.stdin.write('x');
    await until(() => readdirSync(cwd).some(isOurs), 'temporary file');
    assert.equal(lstatSync(join(cwd, readdirSync(cwd)[0])).mode & 0o777, 0o600);
    child.stdin.end();
    await result;
    assert.deepEqual(readdirSync(cwd), []);
  });
});

describe('an output', function () {
  this.timeout(60000);

  /** Outputs of one path, written and not yet there. */
  const outputs = (path, force) => Promise.all(['1', '2', '3'].map(async (text) => {
    const file = await OutputFile.create(path, force);
    await file.append(Buffer.from(text));
    return file;
  }));

  it('goes to one of those that write it at once', async () => {
    const cwd = folder();
    for (let round = 0; round < 20; round++) {
      const path = join(cwd, `out${round}`);
      const files = await outputs(path, false);
      const results = await Promise.allSettled(files.map((file) => file.commit()));
      const winners = ['1', '2', '3'].filter((_, i) => results[i].status === 'fulfilled');
      assert.deepEqual(winners, [readFileSync(path, 'utf8')]);
      for (const { reason } of results) {
        if (reason) assert.equal(reason.code, 'HANSEL_ERR_EXISTS');
      }
      await Promise.all(files.map((file) => file.discard()));
    }
    assert.equal(readdirSync(cwd).length, 20, 'no temporary file is left');
  });

  it('does so too where the file system has no links', async () => {
    const { cwd } = withInput();
    const node = ['--import', 'data:text/javascript,import fs from"node:fs";'
      + 'import{syncBuiltinESMExports}from"node:module";fs.promises.link=async()=>{'
      + 'throw Object.assign(new Error("no links"),{code:"EPERM"})};syncBuiltinESMExports()'];
    await good(['encode', 'in.safetensors', '-o', 'out'], { cwd, node });
    await good(['verify', 'out'], { cwd });
    await bad(['encode', 'in.safetensors', '-o', 'out'], 'HANSEL_ERR_EXISTS', 1, { cwd, node });
    assert.deepEqual(readdirSync(cwd).sort(), ['in.safetensors', 'out']);
  });

  it('of several files appears whole or not at all', async () => {
    const cwd = folder();
    const map = {};
    for (const [i, rows] of [8, 2000].entries()) {
      const tensors = { [`w${i}`]: { dtype: 'F32', shape: [rows, 4096],
        data: Float32Array.from({ length: rows * 4096 }, (_, j) => Math.sin(j * j)) } };
      writeFileSync(join(cwd, `${i}`), plain(tensors));
      map[`w${i}`] = `${i}`;
    }
    const index = 'm.safetensors.index.json';
    writeFileSync(join(cwd, index), JSON.stringify({ weight_map: map }));
    const out = folder();
    const { result } = start(['encode', join(cwd, index), '-o', index], { cwd: out });
    await until(() => readdirSync(out).filter(isOurs).length === 2, 'second shard');
    writeFileSync(join(out, 'm-00002-of-00002.safetensors'), 'precious');
    const { code, stderr } = await result;
    assert.equal(code, 1);
    assert.match(stderr, /^hansel: HANSEL_ERR_EXISTS: m-00002-of-00002.safetensors: [^\n]*\n$/);
    assert.deepEqual(readdirSync(out), ['m-00002-of-00002.safetensors']);
    assert.equal(readFileSync(join(out, 'm-00002-of-00002.safetensors'), 'utf8'), 'precious');
  });

  it('takes a link for a file; --force replaces the link, not what it leads to', async () => {
    const { cwd } = withInput();
    writeFileSync(join(cwd, 'precious'), 'precious');
    const links = { 'to-file': 'precious', 'dangling': 'none', 'loop': 'loop' };
    for (const [name, target] of Object.entries(links)) {
      symlinkSync(target, join(cwd, name));
      await bad(['encode', 'in.safetensors', '-o', name], 'HANSEL_ERR_EXISTS', 1, { cwd });
      await bad(['sample', name, '--rows', '1'], 'HANSEL_ERR_EXISTS', 1, { cwd });
      assert.equal(readlinkSync(join(cwd, name)), target);
      await good(['encode', 'in.safetensors', '-o', name, '--force'], { cwd });
      assert.ok(lstatSync(join(cwd, name)).isFile());
      await good(['verify', name], { cwd });
    }
    assert.equal(readFileSync(join(cwd, 'precious'), 'utf8'), 'precious');
    assert.deepEqual(readdirSync(cwd).sort(),
      ['dangling', 'in.safetensors', 'loop', 'precious', 'to-file']);
  });

  it('takes its room once while it is coded', async () => {
    const { cwd, path } = withInput();
    await good(['sample', 'big', '--rows', '2000'], { cwd });
    const out = folder();
    const { result } = start(['encode', join(cwd, 'big'), '-o', 'out', '--step', '1/16'],
      { cwd: out, env: { TMPDIR: out } });
    let most = 0;
    await until(() => {
      const names = readdirSync(out);
      most = Math.max(most, names.filter(isOurs).length);
      return names.includes('out');
    }, 'output');
    assert.equal((await result).code, 0);
    assert.equal(most, 1, 'one file at a time');
    await good(['verify', 'out', '--against', join(cwd, 'big')], { cwd: out });

    const piped = await good(['encode', path, '-o', '-'], { cwd: out, env: { TMPDIR: out } });
    await good(['encode', path, '-o', 'same'], { cwd: out });
    assert.ok(piped.bytes.equals(readFileSync(join(out, 'same'))));
    assert.deepEqual(readdirSync(out).sort(), ['out', 'same']);
  });

  it('is put together in place, and never larger than at its end', async () => {
    const path = join(folder(), 'file');
    for (const scale of [1, 3000]) {
      const handle = await openFile(path, 'w+');
      let extent = 0;
      const spy = /** @type {any} */ ({
        read: handle.read.bind(handle), truncate: handle.truncate.bind(handle),
        async write(bytes, from, count, at) { // no more than some at a time, as disks may
          const done = await handle.write(bytes, from, Math.min(count, 100001), at);
          extent = Math.max(extent, at + done.bytesWritten);
          return done;
        },
      });
      const file = codedFile(spy, path);
      let fill = 0;
      const bytes = (n) => new Uint8Array(n * scale).fill(++fill);
      const parts = [];
      for (const [head, ...rest] of [[5, 100], [7], [3, 1, 50, 2000], [0, 9], [40, 1]]) {
        await file.write(bytes(4000));
        await file.clear();
        const kept = [head, ...rest].map(bytes);
        for (const part of kept.slice(1)) await file.write(part);
        await file.keep(head ? kept[0] : undefined);
        parts.push(...kept);
      }
      const header = bytes(123);
      extent = 0;
      await file.finish(header);
      await handle.close();
      const expected = Buffer.concat([header, ...parts]);
      assert.ok(readFileSync(path).equals(expected));
      assert.equal(extent, expected.length);
    }
  });
});
