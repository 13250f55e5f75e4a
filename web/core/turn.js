/** Gives timers, events and abort signals their turn during long synchronous work. */

/** Work between two turns: with a slice on top of it, less than a frame of a page. */
const WORK_MS = 6;

let last = 0;

/** Returns at once, or after a turn of the event loop if the last one is too long ago. */
export async function takeTurn() {
  if (performance.now() - last >= WORK_MS) await turn();
}

/** A turn of the event loop. */
export async function turn() {
  await new Promise((resolve) => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel(); // timers wait 4 ms or more
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
  last = performance.now();
}
