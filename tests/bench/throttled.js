/** A server of a few files that sends so many bits a second, over all its answers together; GET, HEAD and Range. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes sent at a time, at most; at low rates a hundredth of a second's. */
const PIECE = 1 << 16;

/**
 * @param {Map<string, Uint8Array>} files by path, without a slash before it
 * @returns {Promise<{url: string, rate: number, close: () => Promise<void>}>} url ends in a slash; rate: bits a second,
 *   to be set; 0 for as fast as it goes
 */
export async function openThrottled(files) {
  const state = { url: '', rate: 0, close: async () => {} };
  /** When the line is free again, in milliseconds. */
  let free = 0;

  /** Waits for the line's turn of so many bytes. @param {number} bytes */
  async function turn(bytes) {
    if (!state.rate) return;
    const now = performance.now();
    free = Math.max(free, now) + 8000 * bytes / state.rate;
    if (free - now > 1) await sleep(free - now);
  }

  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const bytes = files.get(decodeURIComponent(pathname.slice(1)));
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Access-Control-Allow-Headers', 'Range');
    response.setHeader('Access-Control-Expose-Headers', 'Content-Range, ETag');
    response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    response.setHeader('Cache-Control', 'no-store');
    if (request.method === 'OPTIONS' || !bytes) {
      response.writeHead(bytes ? 204 : 404).end();
      return;
    }
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const start = Number(first ?? 0);
    const end = last ? Math.min(Number(last) + 1, bytes.length) : bytes.length;
    response.writeHead(first === undefined ? 200 : 206, {
      'Content-Type': 'application/octet-stream', 'Content-Length': end - start, ETag: `"${bytes.length}"`,
      ...(first === undefined ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` }),
    });
    const closed = once(response, 'close');
    const piece = state.rate ? Math.min(PIECE, Math.ceil(state.rate / 800)) : PIECE;
    for (let at = start; at < end && !response.destroyed && request.method === 'GET'; at += piece) {
      const some = bytes.subarray(at, Math.min(at + piece, end));
      await turn(some.length);
      if (!response.write(some)) await Promise.race([once(response, 'drain'), closed]);
    }
    response.end();
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', () => done(undefined)); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  state.url = `http://127.0.0.1:${port}/`;
  state.close = () => new Promise((done) => {
    server.close(() => done());
    server.closeAllConnections();
  });
  return state;
}
