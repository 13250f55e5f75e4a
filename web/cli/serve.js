/**
 * A static file server for Node, for the demo page and for weights: it answers Range requests,
 * and isolates its pages so that they may share memory between threads.
 */
import { constants } from 'node:fs';
import { open, readdir, realpath, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { isIP } from 'node:net';
import { extname, join, relative, resolve, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { HanselError } from '../core/errors.js';

/** @type {Record<string, string>} */
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.wgsl': 'text/wgsl; charset=utf-8',
  '.glsl': 'text/plain; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
};
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'Cache-Control': 'no-cache',
  'X-Content-Type-Options': 'nosniff',
};
/** Bytes per read of a file. */
const CHUNK = 2 ** 18;
/** No symbolic link swapped in after the check, and no wait for the writer of a named pipe. */
const OPEN_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** @typedef {import('node:http').IncomingMessage} Request */
/** @typedef {import('node:http').ServerResponse} Response */
/** @typedef {{ segments: string[], dir: string }} Mount a path's segments; dir is a real path */
/** @typedef {{ range?: { start: number, end: number } | 'unsatisfiable' }} Wanted */

/**
 * @typedef {object} Served one request, after its answer has ended or was cut off
 * @property {string} method
 * @property {string} url as requested: path and query
 * @property {string | undefined} range the Range header
 * @property {number} status
 * @property {number} bytes of the body, handed to the connection
 */

/** An answer that is an error. */
class Refusal extends Error {
  /** @param {number} status @param {string} [text] */
  constructor(status, text = String(status)) {
    super(text);
    this.status = status;
  }
}

/**
 * Serves a directory by HTTP, GET and HEAD only. A directory is answered by its index.html or
 * else by a list. Nothing outside the directory is reachable, be it by `..` or by symbolic links,
 * nor is any name that begins with a dot.
 *
 * @param {string} dir
 * @param {object} [options]
 * @param {number} [options.port] 0 takes any free one
 * @param {string} [options.host] 127.0.0.1 is reached from this machine only
 * @param {string[]} [options.allowedHosts] names that requests may ask for, besides host, localhost
 *   and addresses. Any other could be a foreign page's own, led here by its DNS
 * @param {(served: Served) => void} [options.onRequest] must not throw
 * @param {Record<string, string>} [options.mounts] further directories by path: { '/lib/': dir }
 * @returns {Promise<{ url: string, port: number, close: () => Promise<void> }>} url ends in a
 *   slash; close also breaks the connections that are open
 * @throws {HanselError} HANSEL_ERR_SOURCE when the port is taken or dir is no directory,
 *   HANSEL_ERR_ARGUMENT
 */
export async function serve(dir, {
  port = 0, host = '127.0.0.1', allowedHosts = [], onRequest, mounts = {},
} = {}) {
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'not a port', {
      expected: 'an integer from 0 to 65535', got: port,
    });
  }
  /** @type {Mount[]} */
  const mounted = [];
  for (const [path, at] of Object.entries(mounts)) mounted.push(await mountOf(path, at));
  mounted.push(await mountOf('/', dir));
  mounted.sort((a, b) => b.segments.length - a.segments.length); // the closest mount comes first

  const hosts = ['localhost', host, ...allowedHosts].map((name) => name.toLowerCase());
  const server = createServer((request, response) => {
    const { method = '', url = '' } = request;
    const sent = { bytes: 0 };
    response.once('close', () => onRequest?.({
      method, url, range: request.headers.range, status: response.statusCode, bytes: sent.bytes,
    }));
    answer(request, response, mounted, hosts, sent).catch((error) => {
      if (response.headersSent) response.destroy(); // nothing else tells that the body is cut
      else sendText(request, response, statusOf(error), sent, {}, `${textOf(error)}\n`);
    });
  });
  await new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(port, host, () => done(server.off('error', fail)));
  }).catch((cause) => {
    const why = cause.code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on: ${cause.code}`;
    throw new HanselError('HANSEL_ERR_SOURCE', `port ${port} of ${host} ${why}`, { cause });
  });
  const bound = /** @type {import('node:net').AddressInfo} */ (server.address());
  // Browsers trust localhost as they trust https, but not the addresses that mean "any".
  const name = ['0.0.0.0', '::'].includes(host) ? 'localhost' : host;
  return {
    url: `http://${name.includes(':') ? `[${name}]` : name}:${bound.port}/`,
    port: bound.port,
    close: () => new Promise((done) => {
      server.close(() => done());
      server.closeAllConnections();
    }),
  };
}

/** @type {(path: string, dir: string) => Promise<Mount>} */
async function mountOf(path, dir) {
  if (!path.startsWith('/') || !path.endsWith('/') || /\/\.{0,2}\//.test(path)) {
    throw new HanselError('HANSEL_ERR_ARGUMENT', 'not a path to mount at', {
      expected: 'a path like /name/', got: path,
    });
  }
  try {
    const real = await realpath(resolve(dir));
    const isDirectory = (await stat(real)).isDirectory();
    if (isDirectory) return { segments: path.split('/').filter(Boolean), dir: real };
  } catch (cause) {
    throw new HanselError('HANSEL_ERR_SOURCE', 'cannot serve this', {
      where: dir, got: /** @type {any} */ (cause).code, cause,
    });
  }
  throw new HanselError('HANSEL_ERR_SOURCE', 'not a directory', { where: dir });
}

/**
 * @param {Request} request
 * @param {Response} response
 * @param {Mount[]} mounts the first that fits is used
 * @param {string[]} hosts
 * @param {{ bytes: number }} sent
 */
async function answer(request, response, mounts, hosts, sent) {
  if (!isAllowed(request.headers.host, hosts)) {
    throw new Refusal(403, '403: not a host name of this server; --allow-host adds one');
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    throw new Refusal(405);
  }
  const [, target, query] = /^([^?]*)(.*)$/s.exec(request.url ?? '') ?? [];
  const path = decode(target);
  const segments = path.split('/').filter(Boolean);
  const mount = mounts.find((m) => m.segments.every((segment, i) => segment === segments[i]));
  if (!mount) throw new Refusal(404);
  const real = await locate(mount.dir, segments.slice(mount.segments.length));
  if (!(await stat(real)).isDirectory()) {
    if (path.endsWith('/')) throw new Refusal(404);
    return sendFile(request, response, real, sent);
  }
  if (!path.endsWith('/')) {
    // From the segments: a Location that begins with two slashes would name another server.
    const location = `/${segments.map(encodeURIComponent).join('/')}/${query}`;
    return sendText(request, response, 301, sent, { Location: location });
  }
  const index = await locate(mount.dir, [...relativeSegments(mount.dir, real), 'index.html'])
    .catch(() => undefined);
  if (index && (await stat(index)).isFile()) return sendFile(request, response, index, sent);
  const below = mounts.filter((m) => m.segments.length === segments.length + 1
    && segments.every((segment, i) => segment === m.segments[i]));
  const rows = await list(mount.dir, real, below.map((m) => m.segments[segments.length]));
  return sendText(request, response, 200, sent, { 'Content-Type': TYPES['.html'] },
    listing(`/${segments.map((segment) => `${segment}/`).join('')}`, rows));
}

/** @type {(header: string | undefined, hosts: string[]) => boolean} */
function isAllowed(header, hosts) {
  if (header === undefined) return true; // HTTP/1.0: no browser
  const [, literal, name] = /^(?:\[(.*)\]|([^:]*?)\.?)(?::\d*)?$/.exec(header.toLowerCase()) ?? [];
  return isIP(literal ?? name ?? '') > 0 || hosts.includes(name) || /\.localhost$/.test(name ?? '');
}

/** @type {(target: string) => string} */
function decode(target) {
  let path = '';
  try {
    path = decodeURIComponent(target);
  } catch {
    throw new Refusal(400);
  }
  if (!path.startsWith('/') || path.includes('\0')) throw new Refusal(400);
  return path;
}

/**
 * The real path of what segments name below a directory.
 * @type {(dir: string, segments: string[]) => Promise<string>}
 */
async function locate(dir, segments) {
  if (segments.some(isHidden)) throw new Refusal(404);
  const real = await realpath(join(dir, ...segments));
  if (real !== dir && !real.startsWith(dir.endsWith(sep) ? dir : dir + sep)) throw new Refusal(403);
  if (relativeSegments(dir, real).some(isHidden)) throw new Refusal(404);
  return real;
}

/** @type {(dir: string, real: string) => string[]} */
function relativeSegments(dir, real) {
  return relative(dir, real).split(sep).filter(Boolean);
}

/**
 * Names with a dot in front, `..` among them; and on Windows also drives, streams and `..\`.
 * @type {(segment: string) => boolean}
 */
function isHidden(segment) {
  return segment.startsWith('.') || (sep === '\\' && /[\\:]/.test(segment));
}

/**
 * @param {Request} request
 * @param {Response} response
 * @param {string} path real
 * @param {{ bytes: number }} sent
 */
async function sendFile(request, response, path, sent) {
  const handle = await open(path, OPEN_FLAGS);
  try {
    const facts = await handle.stat({ bigint: true });
    if (!facts.isFile()) throw new Refusal(404);
    const size = Number(facts.size);
    const etag = `"${facts.size.toString(16)}-${facts.mtimeNs.toString(16)}"`;
    const modified = facts.mtime.toUTCString();
    const headers = {
      ...HEADERS, ETag: etag, 'Last-Modified': modified, 'Accept-Ranges': 'bytes',
    };
    if (isUnchanged(request, etag, modified)) {
      response.writeHead(304, headers).end();
      return;
    }
    const range = wantedRange(request, size, etag, modified);
    if (range === 'unsatisfiable') {
      sendText(request, response, 416, sent, { 'Content-Range': `bytes */${size}` });
      return;
    }
    const { start, end } = range ?? { start: 0, end: size };
    response.writeHead(range ? 206 : 200, {
      ...headers,
      ...(range && { 'Content-Range': `bytes ${start}-${end - 1}/${size}` }),
      'Content-Type': TYPES[extname(path).toLowerCase()] ?? 'application/octet-stream',
      'Content-Length': end - start,
    });
    if (request.method === 'HEAD' || start === end) {
      response.end();
      return;
    }
    await pipeline(
      handle.createReadStream({ start, end: end - 1, highWaterMark: CHUNK }),
      /** @param {AsyncIterable<Buffer>} chunks */
      async function* counted(chunks) {
        for await (const chunk of chunks) {
          yield chunk;
          sent.bytes += chunk.length;
        }
        // The file has shrunk: only a broken connection can say so now.
        if (sent.bytes < end - start) throw new Error('the file ended early');
      },
      response,
    );
  } finally {
    await handle.close();
  }
}

/** @type {(request: Request, etag: string, modified: string) => boolean} */
function isUnchanged({ headers }, etag, modified) {
  const tags = headers['if-none-match'];
  if (tags !== undefined) {
    return tags.trim() === '*'
      || tags.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
  }
  return Date.parse(modified) <= Date.parse(headers['if-modified-since'] ?? '');
}

/**
 * The one range asked for. Several of them, other units and what is malformed are ignored, as
 * RFC 9110 allows, and so are ranges of a file that If-Range does not name.
 * @param {Request} request
 * @param {number} size
 * @param {string} etag
 * @param {string} modified
 * @returns {{ start: number, end: number } | 'unsatisfiable' | undefined}
 */
function wantedRange({ method, headers }, size, etag, modified) {
  const condition = headers['if-range']?.toString().trim();
  if (method !== 'GET' || (condition && condition !== etag && condition !== modified)) return;
  const [, first, last] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(headers.range ?? '') ?? [];
  if (!first && !last) return;
  if (!first) {
    const start = Math.max(size - Number(last), 0);
    return start < size ? { start, end: size } : 'unsatisfiable';
  }
  const start = Number(first);
  const end = last ? Number(last) + 1 : Infinity;
  if (start >= end) return;
  return start < size ? { start, end: Math.min(end, size) } : 'unsatisfiable';
}

/**
 * @param {Request} request
 * @param {Response} response
 * @param {number} status
 * @param {{ bytes: number }} sent
 * @param {Record<string, string>} [headers]
 * @param {string} [text]
 */
function sendText(request, response, status, sent, headers = {}, text = `${status}\n`) {
  const body = Buffer.from(text);
  response.writeHead(status, {
    ...HEADERS, 'Content-Type': TYPES['.txt'], 'Content-Length': body.length, ...headers,
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  sent.bytes = body.length;
  response.end(body);
}

/** @type {(error: Error) => string} */
const textOf = (error) => (error instanceof Refusal ? error.message : String(statusOf(error)));

/** @type {(error: Error & { status?: number, code?: string }) => number} */
function statusOf({ status, code = '' }) {
  if (status) return status;
  if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'ENXIO'].includes(code)) return 404;
  return ['EACCES', 'EPERM'].includes(code) ? 403 : 500;
}

/**
 * What a directory shows, directories first.
 * @param {string} root
 * @param {string} dir real, in root
 * @param {string[]} mounts names of directories mounted here
 * @returns {Promise<{ name: string, size?: number }[]>} directories have no size
 */
async function list(root, dir, mounts) {
  /** @type {Map<string, { name: string, size?: number }>} */
  const rows = new Map();
  const parents = relativeSegments(root, dir);
  for (const name of await readdir(dir)) {
    try {
      const facts = await stat(await locate(root, [...parents, name]));
      if (facts.isDirectory()) rows.set(name, { name: `${name}/` });
      else if (facts.isFile()) rows.set(name, { name, size: facts.size });
    } catch {
      // Hidden, unreadable, a broken link or one to outside: not served, so not shown.
    }
  }
  for (const name of mounts) rows.set(name, { name: `${name}/` });
  return [...rows.values()].sort((a, b) => (
    Number(a.size !== undefined) - Number(b.size !== undefined) || (a.name < b.name ? -1 : 1)));
}

/** @type {(path: string, rows: { name: string, size?: number }[]) => string} */
function listing(path, rows) {
  const row = (/** @type {string} */ href, /** @type {string} */ name, size = '') => (
    `<tr><td><a href="${href}">${name}</a></td><td>${size}</td></tr>`);
  const body = rows.map(({ name, size }) => row(
    `./${name.split('/').map(encodeURIComponent).join('/')}`, escapeHtml(name),
    size?.toLocaleString('en-US')));
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Files in ${escapeHtml(path)}</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem }
th { text-align: start }
td:last-child { text-align: end; font-variant-numeric: tabular-nums; padding-inline-start: 2rem }
</style>
<main>
<h1>Files in ${escapeHtml(path)}</h1>
<table>
<thead><tr><th scope="col">Name</th><th scope="col">Bytes</th></tr></thead>
<tbody>
${path === '/' ? '' : `${row('../', 'Parent directory')}\n`}${body.join('\n')}
</tbody>
</table>
</main>
</html>
`;
}

/** @type {(text: string) => string} */
function escapeHtml(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
