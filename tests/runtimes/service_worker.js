/** Answers what page.js has left in the cache `answers`, and nothing else. */
const scope = /** @type {any} */ (globalThis);

scope.addEventListener('install', () => scope.skipWaiting());
scope.addEventListener('activate', (/** @type {any} */ event) => event.waitUntil(scope.clients.claim()));
scope.addEventListener('fetch', (/** @type {any} */ event) => {
  const { request } = event;
  event.respondWith(globalThis.caches.open('answers').then(async (cache) => (
    await cache.match(request.url) ?? fetch(request))));
});
