/** WebAssembly modules whose memory threads share. */
import { sources } from '../core/wasm.js';

/** By the module they were made of. @type {WeakMap<WebAssembly.Module, Promise<WebAssembly.Module>>} */
const twins = new WeakMap();

/**
 * The same module with a memory that other threads can read and write, for places where that is
 * allowed. The code is the same; what differs is one flag of the memory section.
 * @param {WebAssembly.Module} module of loadModule()
 * @returns {Promise<WebAssembly.Module>} the module itself if it did not come from there
 */
export function shareModule(module) {
  const bytes = sources.get(module);
  if (!bytes) return Promise.resolve(module);
  let twin = twins.get(module);
  if (!twin) {
    twin = WebAssembly.compile(withSharedMemory(bytes));
    twins.set(module, twin);
  }
  return twin;
}

/** @param {Uint8Array} bytes a module with one memory that has a maximum */
function withSharedMemory(bytes) {
  const copy = new Uint8Array(bytes);
  for (let at = 8; at < copy.length;) {
    const id = copy[at++];
    let size = 0;
    for (let shift = 0, byte = 128; byte & 128; shift += 7) {
      byte = copy[at++];
      size |= (byte & 127) << shift;
    }
    if (id === 5) copy[at + 1] |= 2; // count, then flags: 1 has a maximum, 2 is shared
    at += size;
  }
  return copy;
}
