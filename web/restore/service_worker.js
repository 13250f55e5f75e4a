/**
 * A Service Worker for pages that cannot be changed: requests for models' files are answered by the coded ones beside
 * them. `npx hansel service-worker DIR` writes it as one file, hansel-sw.js; a page says
 * `navigator.serviceWorker.register('hansel-sw.js')`. Of its own address: ?cache=NAME keeps the coded files,
 * ?match=RE says which paths may have one.
 */
import { codedAddress, hanselFetch } from './coded_fetch.js';

/** What is not in every library of types. @type {any} */
const scope = globalThis;
const query = new URL(scope.location.href).searchParams;
const pattern = query.get('match');
const match = pattern === null ? undefined : new RegExp(pattern);
const name = query.get('cache');

/** @type {Promise<typeof fetch> | undefined} */
let restored;
const getFetch = () => restored ??= (async () => {
  const cache = name === null ? undefined : await scope.caches.open(name).catch(() => {}); // which may be forbidden
  return hanselFetch(scope.fetch, { match, cache });
})();

scope.addEventListener('install', () => scope.skipWaiting());
scope.addEventListener('activate', (/** @type {any} */ event) => event.waitUntil(scope.clients.claim()));
scope.addEventListener('fetch', (/** @type {any} */ event) => {
  const { request } = event;
  if (!['GET', 'HEAD'].includes(request.method) || !codedAddress(new URL(request.url), { match })) return;
  event.respondWith(getFetch().then((fetch) => fetch(request)));
});
