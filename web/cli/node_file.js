/**
 * Files that appear whole or not at all (Node). What is written goes to a temporary file beside its
 * destination and takes its name at the end, so a stop at any moment leaves the old file as it was.
 */
import { link, lstat, mkdir, open, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, resolve, sep } from 'node:path';
import { addAbortSignal } from 'node:stream';
import { HanselError, checkAborted } from '../core/errors.js';
import { usage } from './options.js';
import { createTemporary, removeTemporary } from './temporary.js';
import { alias, notWritten, shortMessage, writeOut } from './terminal.js';

/** Bytes read at a time. */
const CHUNK = 2 ** 20;

/** @param {string} path */
const exists = (path) => new HanselError('HANSEL_ERR_EXISTS',
  'the file exists; --force overwrites it', { where: path });

/**
 * @param {string} path @param {boolean} force
 * @throws {HanselError} HANSEL_ERR_EXISTS when there is a file, or a link wherever it leads, that
 *   must not be overwritten; HANSEL_ERR_SOURCE for a folder or device, which would be replaced, not
 *   written to, and for what cannot be a file's name
 */
export async function checkFree(path, force) {
  if (path === '-') return;
  const found = await lstat(path).catch((cause) => {
    if (cause.code !== 'ENOENT') throw notWritten(path, cause);
  });
  const target = await stat(path).catch(() => null); // null for a link to nothing
  if (path.endsWith('/') || path.endsWith(sep) || (target && !target.isFile())) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'not a regular file', { where: path });
  }
  if (found && !force) throw exists(path);
}

/**
 * Gives a file its name if nothing has it: of any number of processes, one succeeds.
 * @param {string} from @param {string} to
 */
async function claimName(from, to) {
  try {
    await link(from, to).catch(async (cause) => {
      if (cause.code === 'EEXIST') throw cause;
      // A file system without links. Who makes the file may replace it.
      await (await open(to, 'wx')).close();
      await rename(from, to);
    });
  } catch (cause) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (cause);
    throw code === 'EEXIST' ? exists(to) : cause;
  }
}

/** @param {string} path @returns {Promise<string>} @throws {HanselError} HANSEL_ERR_SOURCE */
export async function readText(path) {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'cannot be read', { where: path, cause, got: shortMessage(cause) });
  }
}

/**
 * @param {string} path @param {string} code of the error for what is no JSON @param {string} [expected]
 * @returns {Promise<any>} @throws {HanselError} that, or HANSEL_ERR_SOURCE
 */
export async function readJson(path, code, expected) {
  const text = await readText(path);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HanselError(code, 'not JSON', {
      where: path, expected, got: /** @type {Error} */ (cause).message, cause,
    });
  }
}

/**
 * Makes the folder that a file is to be in.
 * @param {string} path
 * @returns {Promise<() => Promise<void>>} removes what was made, as far as it is empty
 * @throws {HanselError} HANSEL_ERR_SOURCE
 */
export async function makeFolder(path) {
  const folder = resolve(dirname(path));
  const first = await mkdir(folder, { recursive: true }).catch((cause) => { throw notWritten(path, cause); });
  return async () => {
    for (let at = folder; first && at.length >= first.length; at = dirname(at)) await rmdir(at).catch(() => {});
  };
}

/**
 * That the files of a model do not take each other's place: names of those beside the first differ.
 * @param {string[]} paths the first one as given @throws {HanselError} HANSEL_ERR_USAGE
 */
export function checkDistinct([to, ...beside]) {
  const own = beside.find((path) => resolve(path) === resolve(to));
  if (own !== undefined) throw usage('OUT is where another file of the model goes', own);
}

/** A file being written; append(), then commit() or discard(). */
export class OutputFile {
  /**
   * @param {string} path '-' is standard output @param {boolean} force replaces what is there: of a
   *   link the link, not what it leads to, which nobody named
   * @param {boolean} [isSpooled] what is for standard output waits in a file for commit()
   */
  static async create(path, force, isSpooled = false) {
    const file = new OutputFile();
    file.path = path;
    file.force = force;
    if (path === '-' && !isSpooled) return file;
    await checkFree(path, force);
    try {
      const made = await (path === '-' ? createTemporary(tmpdir(), 0o600)
        : createTemporary(dirname(path)));
      file.temporary = made.path;
      file.handle = made.handle;
    } catch (cause) {
      throw notWritten(path, cause);
    }
    return file;
  }

  path = '';
  force = false;
  isThere = false;
  temporary = '';
  /** @type {import('node:fs/promises').FileHandle | undefined} */
  handle;

  /** @param {Uint8Array} bytes */
  async append(bytes) {
    if (!this.handle) return writeOut(bytes);
    try {
      await this.handle.writeFile(bytes);
    } catch (cause) {
      throw notWritten(this.path, cause);
    }
  }

  /** Makes the file appear under its name. @param {AbortSignal} [signal] */
  async commit(signal) {
    const { handle, path } = this;
    if (!handle) return;
    if (path === '-') {
      for (let at = 0; ;) {
        checkAborted(signal);
        const { buffer, bytesRead } = await handle.read(new Uint8Array(CHUNK), 0, CHUNK, at);
        if (!bytesRead) return this.discard();
        await writeOut(buffer.subarray(0, bytesRead));
        at += bytesRead;
      }
    }
    await checkFree(path, this.force);
    try {
      await handle.sync();
      await handle.close();
      this.handle = undefined;
      await (this.force ? rename : claimName)(this.temporary, path);
    } catch (cause) {
      throw cause instanceof HanselError ? cause : notWritten(path, cause);
    }
    this.isThere = true;
    await removeTemporary(this.temporary);
  }

  /** Undoes commit(), unless that may have replaced a file. */
  async takeBack() {
    if (this.isThere && !this.force) await rm(this.path, { force: true });
  }

  /** Removes what was written; does nothing after commit(). */
  async discard() {
    await this.handle?.close();
    this.handle = undefined;
    await removeTemporary(this.temporary);
  }
}

/**
 * Files that appear together, or none of them.
 * @template T
 * @param {(outputs: OutputFile[], folders: (() => Promise<void>)[]) => Promise<T>} body writes outputs, and adds them;
 *   folders: what makeFolder() gave
 * @param {AbortSignal} [signal] of commit()
 * @returns {Promise<T>} what body returns @throws what body and commit() throw
 */
export async function allOrNone(body, signal) {
  /** @type {OutputFile[]} */
  const outputs = [];
  /** @type {(() => Promise<void>)[]} */
  const folders = [];
  try {
    const result = await body(outputs, folders);
    for (const output of outputs) await output.commit(signal);
    return result;
  } catch (error) {
    for (const output of outputs) {
      await output.takeBack();
      await output.discard();
    }
    for (const unmake of folders.reverse()) await unmake();
    throw error;
  } finally {
    for (const output of outputs) await output.discard();
  }
}

/**
 * Standard input as a file that can be read at random.
 * @param {AbortSignal} signal
 * @returns {Promise<{path: string, remove: () => Promise<void>}>}
 */
export async function spoolStdin(signal) {
  const failed = (/** @type {unknown} */ cause) => notWritten(
    `a copy of standard input in ${tmpdir()}`, cause);
  const { path, handle } = await createTemporary(tmpdir(), 0o600).catch((cause) => {
    throw failed(cause);
  });
  alias(path, 'standard input');
  try {
    for await (const chunk of addAbortSignal(signal, process.stdin)) await handle.writeFile(chunk);
  } catch (cause) {
    checkAborted(signal);
    throw failed(cause);
  } finally {
    await handle.close();
  }
  return { path, remove: () => removeTemporary(path) };
}
