/** Somewhere for browsers to draw that have no GPU without a display. */
import { spawn } from 'node:child_process';

const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);

/**
 * Starts a program that ends with this process, if not before.
 * @param {string} command @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} options
 * @returns {Promise<{child: import('node:child_process').ChildProcess, end: () => Promise<void>}>}
 *   end: it, and what it has started
 * @throws {Error} if it is not there
 */
export async function start(command, args, options) {
  const child = spawn(command, args, { ...options, detached: true }); // a group of its own
  await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const kill = () => {
    try {
      process.kill(-/** @type {number} */ (child.pid), 'SIGKILL');
    } catch { /* gone already */ }
  };
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  process.once('exit', kill);
  const stop = (/** @type {NodeJS.Signals} */ signal) => {
    kill();
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.once(signal, stop);
  return {
    child,
    async end() {
      process.off('exit', kill);
      for (const signal of SIGNALS) process.off(signal, stop);
      kill();
      await ended;
    },
  };
}

/**
 * What was opened so far, to be closed at the end, or where opening the rest fails.
 * @template T @param {(keep: (close: () => Promise<unknown>) => void) => Promise<T>} open
 * @returns {Promise<T & {close: () => Promise<void>}>} close: the last first
 */
export async function withClose(open) {
  /** @type {(() => Promise<unknown>)[]} */
  const all = [];
  const close = async () => {
    for (let one = all.pop(); one; one = all.pop()) await one();
  };
  try {
    return { ...await open((one) => all.push(one)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * The user's display, or an Xvfb.
 * @returns {Promise<{env: NodeJS.ProcessEnv, close: () => Promise<void>}>} env for the browser
 */
export async function openDisplay() {
  if (process.env.DISPLAY) return { env: process.env, close: async () => {} };
  const { child, end } = await start('Xvfb',
    ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  const number = await new Promise((resolve, reject) => {
    child.stdio[3]?.once('data', (text) => resolve(String(text).trim()));
    child.once('exit', (code) => reject(new Error(`Xvfb ended with ${code}`)));
    child.stdio[3]?.once('error', reject);
  });
  return { env: { ...process.env, DISPLAY: `:${number}` }, close: end };
}
