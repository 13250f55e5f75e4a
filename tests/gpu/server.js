/**
 * The static server of the browser tests: the repository, cross-origin isolated, and a store of
 * bytes under /__mem/ through which tests and pages hand each other large buffers.
 */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url)).replace(/[\\/]$/, '');

const MEMORY = '/__mem/';

/** What isolates a page, so that it may share memory between threads. */
export const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** @type {Record<string, string>} */
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.css': 'text/css; charset=utf-8',
  '.wasm': 'application/wasm',
  '.wgsl': 'text/plain; charset=utf-8',
  '.glsl': 'text/plain; charset=utf-8',
};

/**
 * One `bytes=` range of a Range header, clamped to the size.
 * @param {string | undefined} header
 * @param {number} size
 * @returns {{start: number, end: number} | null | 'unsatisfiable'} null: send everything
 */
function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || match[1] + match[2] === '') return null;
  const start = match[1] === '' ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const last = match[1] === '' || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  return start > last ? 'unsatisfiable' : { start, end: last + 1 };
}

/** @param {string} file a page, if it is there @param {string} script a function */
async function withScript(file, script) {
  const page = await readFile(file, 'utf8').catch(() => null);
  return page === null ? undefined
    : Buffer.from(page.replace(/<meta/, () => `<script>(${script})()</script><meta`));
}

/**
 * Serve a folder on 127.0.0.1 and a free port.
 *
 * GET and HEAD of files, with single ranges; GET, HEAD and PUT below /__mem/.
 *
 * @param {string} root folder to serve
 * @param {Record<string, string>} [headers] of every answer
 * @param {string} [script] a function that runs first in every page
 * @returns {Promise<{
 *   url: string,
 *   memory: Map<string, Uint8Array>,
 *   close: () => Promise<void>,
 * }>} url without a trailing slash; memory holds what lies under /__mem/, by name
 */
export async function openServer(root, headers = ISOLATION, script) {
  /** @type {Map<string, Uint8Array>} */
  const memory = new Map();

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  async function answer(request, response) {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
    const name = path.startsWith(MEMORY) ? path.slice(MEMORY.length) : null;
    for (const [key, value] of Object.entries(headers)) response.setHeader(key, value);
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    response.setHeader('Cache-Control', 'no-store');

    if (request.method === 'PUT' && name !== null) {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      memory.set(name, new Uint8Array(Buffer.concat(chunks)));
      response.writeHead(204).end();
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405).end();
      return;
    }

    const found = name === null ? join(root, path) : '';
    const file = found.startsWith(root + sep) ? found : '';
    const bytes = name !== null ? memory.get(name)
      : script && extname(file) === '.html' ? await withScript(file, script) : undefined;
    const info = file ? await stat(file).catch(() => null) : null;
    const size = bytes ? bytes.length : info?.isFile() ? info.size : -1;
    if (size < 0) {
      response.writeHead(404).end();
      return;
    }

    const range = parseRange(request.headers.range, size);
    if (range === 'unsatisfiable') {
      response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end();
      return;
    }
    const { start, end } = range ?? { start: 0, end: size };
    if (range) response.setHeader('Content-Range', `bytes ${start}-${end - 1}/${size}`);
    response.writeHead(range ? 206 : 200, {
      'Accept-Ranges': 'bytes',
      'Content-Length': end - start,
      'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream',
    });
    if (request.method === 'HEAD' || start === end) response.end();
    else if (bytes) response.end(bytes.subarray(start, end));
    else createReadStream(file, { start, end: end - 1 }).pipe(response);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (response.headersSent) response.destroy(error);
      else response.writeHead(500).end(String(error));
    });
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(undefined));
  });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    memory,
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}
