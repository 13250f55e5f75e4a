/**
 * A plain static host for the page's tests: no Range and no isolation unless told, below any path,
 * and files that misbehave in each way that real hosts do. And what the tests ask of the page.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

export const ROOT = new URL('../../', import.meta.url).pathname;
export const SITE = join(ROOT, 'dist/site');
export const SAMPLES = join(ROOT, 'dist/demo/samples');

/** @type {Record<string, string>} */
const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.wasm': 'application/wasm', '.wgsl': 'text/plain', '.glsl': 'text/plain',
};

/**
 * @typedef {object} Odd a file of the host
 * @property {Uint8Array} bytes
 * @property {boolean} [range] honours Range
 * @property {boolean} [cors] lets other origins read it, and see its ranges
 * @property {boolean} [hideRange] but not which range they get
 * @property {string} [etag]
 * @property {number} [pause] milliseconds between pieces of 64 KiB
 * @property {number} [status] answers so, with nothing
 * @property {number} [length] what Content-Length claims, without a body
 */

/**
 * @param {string} [prefix] path that the site lies below, with a slash at both ends
 * @returns {Promise<{origin: string, url: string, files: Map<string, Odd>,
 *   asked: {path: string, range?: string, ifRange?: string}[], close: () => Promise<void>}>}
 *   url of the page; files are below /odd/
 */
export async function openHost(prefix = '/') {
  /** @type {Map<string, Odd>} */
  const files = new Map();
  /** @type {{path: string, range?: string, ifRange?: string}[]} */
  const asked = [];

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async function answer(request, response) {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const path = decodeURIComponent(pathname);
    const odd = files.get(path.replace(/^\/odd\//, ''));
    const { range, 'if-range': ifRange } = request.headers;
    asked.push({ path, range, ifRange: ifRange?.toString() });
    if (!odd) {
      const name = path.startsWith(prefix) ? path.slice(prefix.length) || 'index.html' : '';
      const bytes = name && !normalize(name).startsWith('..') ? await readFile(join(SITE, name)).catch(() => null) : null;
      response.writeHead(bytes ? 200 : 404, bytes ? { 'Content-Type': TYPES[extname(name)] ?? 'application/octet-stream', 'Content-Length': bytes.length } : {});
      response.end(request.method === 'HEAD' ? undefined : bytes);
      return;
    }
    const { bytes, cors, hideRange, etag, pause = 0, status, length } = odd;
    if (cors) {
      response.setHeader('Access-Control-Allow-Origin', '*');
      if (!hideRange) response.setHeader('Access-Control-Expose-Headers', 'Content-Range, ETag');
    }
    if (etag) response.setHeader('ETag', etag);
    if (status) {
      response.writeHead(status).end();
      return;
    }
    const [, first, last] = /bytes=(\d+)-(\d+)/.exec(odd.range ? range ?? '' : '') ?? [];
    const isPart = first !== undefined && !(ifRange && ifRange !== etag);
    const [start, end] = isPart ? [Number(first), Math.min(Number(last) + 1, bytes.length)] : [0, bytes.length];
    response.writeHead(isPart ? 206 : 200, {
      'Content-Length': length ?? end - start,
      ...isPart ? { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` } : {},
    });
    if (request.method === 'HEAD') return void response.end();
    for (let at = start; at < end && !response.destroyed; at += 1 << 16) {
      response.write(bytes.subarray(at, Math.min(at + (1 << 16), end)));
      if (pause) await new Promise((done) => { setTimeout(done, pause); });
    }
    if (!length) response.end();
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', () => done(undefined)); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin, url: `${origin}${prefix}`, files, asked,
    close: () => new Promise((done) => {
      server.close(() => done());
      server.closeAllConnections();
    }),
  };
}

/** The page as a person uses it. */
export class Visitor {
  /** Addresses that the page asked for. @type {string[]} */
  requests = [];

  /** @param {Awaited<ReturnType<typeof import('../gpu/chromium.js').launch>>} browser @param {string} url
   * @param {{scheme?: 'light' | 'dark', width?: number, script?: () => void}} [options]
   *   script runs before the page's */
  static async come(browser, url, { scheme = 'light', width = 1200, script } = {}) {
    const page = await browser.openPage();
    const visitor = new Visitor(page);
    const p = visitor.p;
    await p.emulateMedia({ colorScheme: scheme });
    await p.setViewportSize({ width, height: 900 });
    if (script) await p.addInitScript(script);
    p.on('request', (request) => visitor.requests.push(request.url()));
    await p.goto(url);
    await p.waitForSelector('.sample');
    await p.waitForFunction(() => document.querySelectorAll('#heatmap-kind option').length > 0
      && !(/** @type {any} */ (document.getElementById('write-go')).disabled));
    visitor.origin = new URL(url).origin;
    return visitor;
  }

  /** @param {import('../gpu/chromium.js').TestPage} page */
  constructor(page) {
    this.page = page;
    this.p = page.playwright;
    this.origin = '';
  }

  /** @param {string} selector */
  text(selector) {
    return this.p.textContent(selector);
  }

  /** Waits for the end of what a click began. @param {RegExp} [status] */
  async idle(status = /./) {
    await this.p.waitForFunction((source) => document.body.dataset.state === 'idle'
      && new RegExp(source).test(document.getElementById('status')?.textContent ?? ''), status.source, { timeout: 120_000 });
  }

  /** Forgets the status, so that idle() waits for the next. */
  forget() {
    return this.p.evaluate(() => { /** @type {any} */ (document.getElementById('status')).textContent = ''; });
  }

  /** @param {string} file */
  async sample(file) {
    await this.forget();
    await this.p.click(`[data-file="${file}"]`);
    await this.idle(/^(Open|That did)/);
  }

  /** @param {string} url */
  async address(url) {
    await this.forget();
    await this.p.fill('#url', url);
    await this.p.click('#open button');
    await this.idle(/^(Open|That did|Stopped)/);
  }

  /** What the page says of an error. */
  notice() {
    return this.p.textContent('#notice p');
  }

  /** The check's rows: kind to its verdict. @returns {Promise<Record<string, string>>} */
  verdicts() {
    return this.p.$$eval('#check-rows tr', (rows) => Object.fromEntries(rows.map((row) => [
      /** @type {HTMLElement} */ (row).dataset.kind, row.querySelector('.badge')?.textContent])));
  }

  /** Leaves; fails on errors and warnings of the console, and on requests to other hosts.
   * @param {{allow?: RegExp, hosts?: string[]}} [options] */
  async leave({ allow, hosts = [] } = {}) {
    await this.page.run(() => true, undefined, { allow });
    const strangers = this.requests.filter((url) => /^https?:/.test(url)
      && ![this.origin, ...hosts].includes(new URL(url).origin));
    if (strangers.length) throw new Error(`requests left the host: ${strangers.join(', ')}`);
    await this.page.close();
  }
}
