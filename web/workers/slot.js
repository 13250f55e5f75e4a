/** Where an argument or a result of a worker's call lies: web/workers/workers.js. */

/**
 * @typedef {number | ArrayBuffer} Slot an address in the worker's memory, which is shared, or a
 *   buffer that goes to the worker and comes back
 */

/** The first bytes of a slot. @param {Slot} slot @param {ArrayBufferLike | null} memory
 * @param {number} size */
export const viewSlot = (slot, memory, size) => (typeof slot === 'number'
  ? new Uint8Array(/** @type {ArrayBufferLike} */ (memory), slot, size) : new Uint8Array(slot, 0, size));

/** Those that have to be transferred. @param {Slot[]} slots */
export const buffersOf = (slots) => /** @type {ArrayBuffer[]} */ (
  slots.filter((slot) => typeof slot !== 'number'));
