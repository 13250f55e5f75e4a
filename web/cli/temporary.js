/**
 * Temporary files. Their names collide with none, they go when the process ends, and those of
 * processes that were killed are swept where the next one is made.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync, rmSync } from 'node:fs';
import { lstat, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Where it was made (a boot of a machine, a process namespace), by which process, started when. */
const NAME = /^\.hansel-([0-9a-f]{12})-(\d+)-(\d+)-[0-9a-f]{16}\.tmp$/;
/** ... where the system does not say. */
const NOWHERE = '0'.repeat(12);
/** Of a process that cannot be asked, a file not written to for a week is nobody's. */
const WEEK_MS = 7 * 24 * 3600 * 1000;

/** What to remove if the process ends early. @type {Set<string>} */
const made = new Set();
process.on('exit', () => {
  for (const path of made) rmSync(path, { force: true });
});

/** Whether this process made it, and nobody knows what is beside it. @param {string} path */
export const isTemporary = (path) => made.has(path);

/** Folders swept. @type {Set<string>} */
const swept = new Set();

/** When a process was started, in ticks since boot (Linux). @param {number} pid */
function startOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]; // behind a name of any characters
}

/** This process, as no other one on any machine. */
function whoAmI() {
  try {
    const start = startOf(process.pid);
    if (readlinkSync('/proc/self') !== String(process.pid)) throw new Error('another namespace');
    const place = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')
      + readlinkSync('/proc/self/ns/pid');
    return { start, place: createHash('sha256').update(place).digest('hex').slice(0, 12) };
  } catch {
    return { start: '0', place: NOWHERE };
  }
}

/**
 * @param {string} name of a temporary file @param {number} idle milliseconds since its last write
 * @param {string} here where this process is
 */
function isDead(name, idle, here) {
  const [, place, pid, start] = NAME.exec(name) ?? [];
  if (place !== here || here === NOWHERE) return idle > WEEK_MS;
  try {
    process.kill(Number(pid), 0);
    return startOf(Number(pid)) !== start; // the number belongs to another one by now
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH';
  }
}

/** @param {string} folder @param {number} now by its clock @param {string} here */
async function sweep(folder, now, here) {
  if (swept.has(folder)) return;
  swept.add(folder);
  for (const name of (await readdir(folder)).filter((entry) => NAME.test(entry))) {
    const path = join(folder, name);
    const about = await lstat(path).catch(() => null);
    if (!made.has(path) && about?.isFile() && isDead(name, now - about.mtimeMs, here)) {
      await rm(path, { force: true }).catch(() => {}); // another user's
    }
  }
}

/**
 * @param {string} folder @param {number} [mode] permissions
 * @returns {Promise<{path: string, handle: import('node:fs/promises').FileHandle}>} an empty file,
 *   to be read and written
 */
export async function createTemporary(folder, mode) {
  const { place, start } = whoAmI();
  const random = randomBytes(8).toString('hex');
  const path = join(folder, `.hansel-${place}-${process.pid}-${start}-${random}.tmp`);
  const handle = await open(path, 'wx+', mode);
  made.add(path);
  const { mtimeMs } = await handle.stat();
  await sweep(folder, mtimeMs, place).catch(() => {}); // a folder that cannot be listed
  return { path, handle };
}

/** @param {string} path what createTemporary() made, or what has another name now */
export async function removeTemporary(path) {
  if (made.delete(path)) await rm(path, { force: true });
}
