/** Fresh projects that install the packed tarball, build a page, and run it in Chromium. */
import { execFile, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ISOLATION, openServer } from '../gpu/server.js';

const ROOT = new URL('../..', import.meta.url).pathname;
const run = promisify(execFile);

/** Next and Vite wait for no terminal, and tell nobody what they are used for. */
const ENV = { ...process.env, CI: '1', NEXT_TELEMETRY_DISABLED: '1', PARCEL_WORKERS: '2' };

/** `npm pack`, into a folder. @param {string} folder @returns {Promise<{path: string, size: number}>} */
export async function pack(folder) {
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
    { cwd: ROOT });
  const [{ filename, size }] = JSON.parse(stdout);
  return { path: join(folder, filename), size };
}

/**
 * A project of a recipe, hansel installed from the tarball.
 * @param {import('./recipes.js').Recipe} recipe @param {string} tarball
 * @param {boolean} isLinked whether the bundler is the repository's own, and nothing is downloaded
 * @returns {Promise<string>} its folder
 */
export async function makeProject({ packages, files }, tarball, isLinked) {
  const folder = await mkdtemp(join(tmpdir(), 'hansel-bundler-'));
  const write = async (/** @type {string} */ path, /** @type {string} */ text) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  await write('package.json', '{"name":"page","private":true,"type":"module"}');
  for (const [path, text] of Object.entries(files)) await write(path, text);
  await mkdir(join(folder, 'src'), { recursive: true });
  await cp(join(ROOT, 'tests/bundlers/app.js'), join(folder, 'src/app.js'));
  const all = isLinked ? [] : Object.entries(packages).map((one) => one.join('@'));
  await run('npm', ['install', '--no-audit', '--no-fund', ...(isLinked ? ['--offline'] : []), tarball,
    ...all], { cwd: folder });
  if (isLinked) {
    for (const name of Object.keys(packages)) {
      await symlink(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
      const bin = `node_modules/.bin/${name.replace('webpack-cli', 'webpack')}`;
      await rm(join(folder, bin), { force: true });
      await symlink(join(ROOT, bin), join(folder, bin));
    }
  }
  return folder;
}

/** @param {string} folder @param {string[][]} commands */
export async function build(folder, commands) {
  for (const [program, ...args] of commands) {
    await run(join(folder, 'node_modules/.bin', program), args, { cwd: folder, env: ENV })
      .catch(({ message, stdout }) => { throw new Error(`${message}\n${stdout}`); });
  }
}

/** All files of a folder, but source maps. @param {string} folder @returns {Promise<Map<string, Buffer>>} */
export async function filesOf(folder) {
  const found = new Map();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.map')) continue;
    const path = join(entry.parentPath, entry.name);
    found.set(path.slice(folder.length + 1), await readFile(path));
  }
  return found;
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(undefined)); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}

/**
 * Serves what was built, and that alone; or runs the recipe's own server.
 * @param {string} folder @param {import('./recipes.js').Recipe} recipe
 * @returns {Promise<{url: string, close: () => Promise<unknown>}>}
 */
export async function serveProject(folder, { out, serve }) {
  if (!serve) return openServer(join(folder, out), ISOLATION);
  const port = await freePort();
  const [program, ...args] = serve.map((arg) => (arg === 'PORT' ? String(port) : arg));
  const child = spawn(join(folder, 'node_modules/.bin', program), args,
    { cwd: folder, env: ENV, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { output += text; });
  const ended = new Promise((resolve) => { child.on('exit', resolve); });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    const isUp = await fetch(url).then(() => true, () => false);
    if (isUp) break;
    if (tries > 300 || child.exitCode !== null) throw new Error(`${serve.join(' ')}: ${output}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  return {
    url,
    close: () => {
      process.kill(-Number(child.pid), 'SIGTERM'); // its children, too
      return ended;
    },
  };
}

/**
 * Opens the page, and waits for what src/app.js found.
 * @param {Awaited<ReturnType<import('../gpu/chromium.js').launch>>} browser @param {string} url
 * @returns {Promise<{found: any, problems: string[]}>} problems: errors, failed requests
 */
export async function visit(browser, url) {
  const page = await browser.openPage();
  const { playwright } = page;
  /** @type {string[]} */
  const problems = [];
  playwright.on('pageerror', (error) => problems.push(String(error)));
  playwright.on('response', (answer) => {
    if (answer.status() >= 400) problems.push(`${answer.status()} ${answer.url()}`);
  });
  await playwright.addInitScript(() => {
    globalThis.fromWorkers = 0;
    globalThis.Worker = class extends Worker {
      constructor(...args) {
        super(...args);
        this.addEventListener('message', () => { globalThis.fromWorkers++; });
      }
    };
  });
  await playwright.goto(url);
  await playwright.waitForFunction(() => globalThis.found, undefined, { timeout: 60_000 });
  // A development server may load the page anew once it has seen what it imports.
  const found = await playwright.evaluate(() => globalThis.found)
    .catch(() => playwright.waitForFunction(() => globalThis.found)
      .then(() => playwright.evaluate(() => globalThis.found)));
  await page.close();
  return { found, problems };
}
