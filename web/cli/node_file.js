/**
 * Files that appear whole or not at all, and spools on disk (Node). What is
 * written goes to a temporary file beside its destination and is renamed over
 * it at the end, so a stop at any moment leaves the old file as it was.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, open, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { addAbortSignal } from 'node:stream';
import { HanselError, checkAborted } from '../core/errors.js';
import { openSource } from '../file/source.js';

/** What to remove if the process ends early. @type {Set<string>} */
const temporary = new Set();
process.on('exit', () => {
  for (const path of temporary) rmSync(path, { recursive: true, force: true });
});

let counter = 0;

/** @param {string} path @param {unknown} cause @param {string} what */
const failed = (path, cause, what) => new HanselError('HANSEL_ERR_SOURCE', what, {
  where: path, got: /** @type {Error} */ (cause).message, cause,
});

/**
 * @param {string} path @param {boolean} force
 * @throws {HanselError} HANSEL_ERR_EXISTS when there is a file that must not be overwritten,
 *   HANSEL_ERR_SOURCE for a folder or device: it would be replaced, not written to
 */
export async function checkFree(path, force) {
  const found = path === '-' ? null : await stat(path).catch(() => null);
  if (found && !found.isFile()) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'not a regular file', { where: path });
  }
  if (found && !force) {
    throw new HanselError('HANSEL_ERR_EXISTS', 'the file exists; --force overwrites it', {
      where: path,
    });
  }
}

/** A file being written; append(), then commit() or discard(). */
export class OutputFile {
  /** @param {string} path '-' is standard output @param {boolean} force */
  static async create(path, force) {
    const file = new OutputFile();
    file.path = path;
    file.force = force;
    if (path === '-') return file;
    await checkFree(path, force);
    file.temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${counter++}.tmp`);
    try {
      file.handle = await open(file.temporary, 'wx');
    } catch (cause) {
      throw failed(path, cause, 'the file cannot be written');
    }
    temporary.add(file.temporary);
    return file;
  }

  path = '';
  force = false;
  /** @type {string | undefined} */
  temporary;
  /** @type {import('node:fs/promises').FileHandle | undefined} */
  handle;

  /** @param {Uint8Array} bytes */
  async append(bytes) {
    try {
      if (this.handle) await this.handle.writeFile(bytes);
      else await new Promise((resolve, reject) => {
        process.stdout.write(bytes, (error) => (error ? reject(error) : resolve(undefined)));
      });
    } catch (cause) {
      throw failed(this.path, cause, 'the file cannot be written');
    }
  }

  /** Makes the file appear under its name. */
  async commit() {
    if (!this.handle || !this.temporary) return;
    await checkFree(this.path, this.force);
    try {
      await this.handle.sync();
      await this.handle.close();
      this.handle = undefined;
      await rename(this.temporary, this.path);
    } catch (cause) {
      throw failed(this.path, cause, 'the file cannot be written');
    }
    temporary.delete(this.temporary);
  }

  /** Removes what was written; does nothing after commit(). */
  async discard() {
    await this.handle?.close();
    this.handle = undefined;
    if (this.temporary && temporary.delete(this.temporary)) await rm(this.temporary, { force: true });
  }
}

/**
 * A spool in a temporary file.
 * @param {string} beside where the final file will be: the same disk has the room
 * @returns {Promise<import('../encode/encode.js').Spool & {close: () => Promise<void>}>}
 */
export async function fileSpool(beside) {
  const base = beside === '-' ? join(tmpdir(), 'hansel') : beside;
  const path = join(dirname(base), `.${basename(base)}.${process.pid}.${counter++}.spool`);
  const handle = await open(path, 'wx+').catch((cause) => {
    throw failed(beside, cause, 'no temporary file can be written');
  });
  temporary.add(path);
  let size = 0;
  return {
    async write(bytes) {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, size).catch(
          (cause) => { throw failed(path, cause, 'the temporary file cannot be written'); });
        at += bytesWritten;
        size += bytesWritten;
      }
    },
    async* chunks() {
      for (let at = 0; at < size;) {
        const bytes = new Uint8Array(Math.min(1 << 20, size - at));
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, at);
        if (!bytesRead) throw failed(path, new Error('cut short'), 'the temporary file shrank');
        at += bytesRead;
        yield bytes.subarray(0, bytesRead);
      }
    },
    async clear() {
      size = 0;
      await handle.truncate(0);
    },
    async close() {
      await handle.close();
      temporary.delete(path);
      await rm(path, { force: true });
    },
  };
}

/**
 * Standard input as a file that can be read at random.
 * @param {AbortSignal} signal
 * @returns {Promise<{path: string, remove: () => Promise<void>}>}
 */
export async function spoolStdin(signal) {
  const folder = await mkdtemp(join(tmpdir(), 'hansel-'));
  temporary.add(folder);
  const path = join(folder, 'stdin.safetensors');
  const handle = await open(path, 'w');
  try {
    for await (const chunk of addAbortSignal(signal, process.stdin)) await handle.writeFile(chunk);
  } catch (cause) {
    checkAborted(signal);
    throw failed('-', cause, 'standard input cannot be copied');
  } finally {
    await handle.close();
  }
  const remove = async () => {
    temporary.delete(folder);
    await rm(folder, { recursive: true, force: true });
  };
  return { path, remove };
}

/** @param {string} path or a URL @returns {Promise<any>} parsed JSON */
export async function readJson(path) {
  const source = await openSource(path);
  try {
    return JSON.parse(new TextDecoder().decode(await source.read(0, source.size)));
  } finally {
    await source.close();
  }
}
