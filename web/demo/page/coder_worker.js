/** Estimates and codes a plain file, off the page's thread. */
import { encode, estimate, open } from '../../hansel.js';

/** @type {import('../../hansel.js').Model | null} */
let model = null;
/** @type {import('../../encode/estimate.js').Estimate | null} */
let estimated = null;
/** @type {AbortController} */
let stop = new AbortController();

/** @type {Record<string, (message: any) => Promise<{result: unknown, transfer?: Transferable[]}>>} */
const COMMANDS = {
  async open({ source }) {
    model = await open(source, { signal: stop.signal });
    estimated = await estimate(model, { signal: stop.signal, onProgress: report });
    return { result: true };
  },
  async at({ aim }) {
    const { tensors, ...result } = /** @type {NonNullable<typeof estimated>} */ (estimated).at(aim);
    return { result: { ...result, coded: [...tensors.values()].filter(({ mode }) => mode !== 'pass-through').length } };
  },
  async encode({ aim, threads }) {
    const bytes = await encode(/** @type {any} */ (model), {
      ...aim, threads, signal: stop.signal, onProgress: report,
    });
    return { result: bytes, transfer: [bytes.buffer] };
  },
};

let reported = 0;

/** At most every 50 ms. @param {{done: number, total: number, tensor: string}} progress */
function report({ done, total, tensor }) {
  if (performance.now() - reported < 50) return;
  reported = performance.now();
  postMessage({ progress: { share: total ? done / total : 0, tensor } });
}

globalThis.onmessage = async ({ data: { id, command, ...rest } }) => {
  if (command === 'stop') {
    stop.abort();
    stop = new AbortController();
    return;
  }
  try {
    const { result, transfer = [] } = await COMMANDS[command](rest);
    postMessage({ id, result }, /** @type {any} */ (transfer));
  } catch (error) {
    const { code = '', message = String(error) } = /** @type {any} */ (error);
    postMessage({ id, error: { code, message } });
  }
};
