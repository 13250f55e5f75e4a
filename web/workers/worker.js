/** A thread of web/workers/workers.js: runs codec methods and posts what they return. */
import { Encoder } from '../core/encoder.js';
import { builtin, isNode } from '../core/node.js';
import { Recoder } from '../core/recoder.js';
import { buffersOf, viewSlot } from './slot.js';

const port = isNode ? builtin('worker_threads').parentPort : globalThis;

/** By the number of their module. @type {Map<number, Encoder | Recoder>} */
const codecs = new Map();

/** @param {WebAssembly.Module} module of the core, or recode.wasm */
const instantiate = (module) => (WebAssembly.Module.exports(module)
  .some(({ name }) => name === 'hansel_prefix_fit') ? new Recoder(module) : new Encoder(module));

/** @param {any} result @returns {Transferable[]} the buffers it owns */
const buffers = (result) => Object.values(result ?? {}).flatMap((value) => (
  ArrayBuffer.isView(value) ? [/** @type {ArrayBuffer} */ (value.buffer)] : []));

/**
 * @param {{id: number, number: number, module?: WebAssembly.Module, slots?: number[],
 *   method: string, args: any[]}} call a module to come: its memory and the addresses of slots of so
 *   many bytes are the answer; or a call, whose arguments can lie in slots
 */
function answer({ id, number, module, slots = [], method, args = [] }) {
  /** Slots that are to be given back. */
  const back = args.flatMap((arg) => arg?.slot ?? []);
  const post = (/** @type {object} */ message, /** @type {Transferable[]} */ own = []) => (
    /** @type {any} */ (port).postMessage({ id, slots: back, ...message }, [...own, ...buffersOf(back)]));
  try {
    if (module) {
      const { wasm } = codecs.set(number, instantiate(module)).get(number) ?? {};
      const at = slots.map((bytes) => wasm?.reserve(bytes));
      post({ result: { memory: at.length ? wasm?.memory.buffer : null, slots: at } });
      return;
    }
    const codec = /** @type {any} */ (codecs.get(number));
    const found = args.map((arg) => (
      arg?.slot === undefined ? arg : viewSlot(arg.slot, codec.wasm.memory.buffer, arg.size)));
    const result = codec[method](...found);
    // In a slot, or in memory that is shared? The caller knows where they are.
    const { buffer } = result?.bytes ?? {};
    if (buffer && (back.includes(buffer) || !(buffer instanceof ArrayBuffer))) delete result.bytes;
    post({ result }, buffers(result));
  } catch (error) {
    const other = error instanceof RangeError ? 'HANSEL_ERR_MEMORY' : 'HANSEL_ERR_WORKER';
    const { code = other, message, expected, got, position } = /** @type {any} */ (error);
    post({ error: { code, message, expected, got, position } });
  }
}

if (isNode) /** @type {any} */ (port).on('message', answer);
else globalThis.onmessage = (/** @type {MessageEvent} */ event) => answer(event.data);
/** @type {any} */ (port).postMessage(null);
