/**
 * Loading coded weights into a GPU's memory as prefix codes or packed: the file's streams are decoded
 * as they arrive, and coded again. Either by the CPU, or by the GPU, which then takes them as they are.
 */
import { checkAborted, locate } from '../core/errors.js';
import { strayWeight } from '../core/recoder.js';
import { rowQuads } from '../core/vectors.js';
import { PART_WEIGHTS, Recoding } from './recode.js';
import { RangeWriter } from './parts.js';
import { BLOCK_ROWS, RUN_LIMIT } from './stream_layout.js';

/** @typedef {import('../core/recoder.js').Code} Code */
/** @typedef {import('./recode.js').Recoded} Recoded */

/** Rows of a part of whole blocks, each a workgroup of those that decode it. @param {number} columns */
const partRows = (columns) => BLOCK_ROWS * Math.min(RUN_LIMIT,
  Math.max(1, Math.floor(PART_WEIGHTS / columns / BLOCK_ROWS)));

/**
 * @param {any} gpu @param {import('../model/model.js').Model} model @param {string} name
 * @param {Awaited<ReturnType<import('../model/model.js').Model['payload']>>} payload read to its end
 * @param {Code} code
 * @param {{signal?: AbortSignal, onProgress?: import('./load.js').LoadOptions['onProgress'],
 *   onGpu: boolean}} options onGpu: the GPU does it
 * @returns {Promise<any>} the store
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_CORRUPT with the stream; as load()
 */
export async function loadStreams(gpu, model, name, payload, code, { signal, onProgress, onGpu }) {
  const { blob } = payload;
  const total = blob.blobBytes - blob.headBytes;
  let done = 0;
  const chunks = (async function* counted() {
    for await (const chunk of payload.chunks) {
      checkAborted(signal);
      yield chunk;
      done += chunk.length;
      onProgress?.({ done, total, tensor: name });
    }
  }());
  const store = gpu.makeStreams(name, blob, code);
  const recoding = new Recoding(model, { ...payload, chunks }, signal);
  try {
    if (onGpu) await recodeOnGpu(gpu, model, store, payload.cursors, recoding, signal);
    else await addParts(gpu, store, recoding);
    if (blob.rawBytes) await addRaw(gpu, store, recoding);
    await recoding.end();
    await gpu.guard(() => store.checkAlive());
    return store;
  } catch (error) {
    store.free();
    // Bytes that are damaged are told as such.
    if (/** @type {any} */ (error)?.code === 'HANSEL_ERR_CORRUPT') await recoding.end();
    throw locate(error, name);
  } finally {
    await chunks.return(undefined);
  }
}

/**
 * As many rows of blocks to a part as it has room for.
 * @param {any} gpu @param {any} store @param {Recoding} recoding
 */
async function addParts(gpu, store, recoding) {
  const { layout, blob: { rows, columns, rawBytes } } = store;
  const most = partRows(columns);
  /** @type {Recoded[]} */
  let blocks = [];
  let held = 0;
  let bytes = 0;
  let left = rows;
  const flush = async () => {
    await gpu.upload(() => {
      store.checkAlive();
      store.addRows(held, blocks);
    });
    blocks = [];
    held = bytes = 0;
  };
  for await (const some of recoding.streams(layout)) {
    const all = held + some.rows;
    const needed = Math.max(bytes + some.bytes.length, layout.rawRoom(all, rawBytes),
      4 * all * rowQuads(columns)); // as symbols, once they are decoded
    if (held && (held >= most || needed > gpu.bindingBytes)) await flush();
    blocks.push(some);
    held += some.rows;
    bytes += some.bytes.length;
    left -= some.rows;
    if (!left) await flush();
  }
}

/**
 * The raw plane, cut as the parts are.
 * @param {any} gpu @param {any} store @param {Recoding} recoding
 */
async function addRaw(gpu, store, recoding) {
  /** @type {Recoded[]} */
  let blocks = [];
  let held = 0;
  let part = 0;
  for await (const some of recoding.raw(store.layout)) {
    blocks.push(some);
    held += some.rows;
    if (held < store.parts[part].rows) continue;
    await gpu.upload(() => {
      store.checkAlive();
      store.addRaw(part, blocks);
    });
    part++;
    blocks = [];
    held = 0;
  }
}

/**
 * Symbols end to end. Mostly there is one part, and nothing to copy.
 * @param {any} gpu @param {{buffer: GPUBuffer, steps: number}[]} waiting @param {number} steps of all
 * @returns {GPUBuffer} that of the only one, or a new one
 */
function joined(gpu, waiting, steps) {
  if (waiting.length === 1) return waiting[0].buffer;
  const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
  const joint = gpu.buffer(4 * steps, STORAGE | COPY_SRC | COPY_DST, 'symbols of rows');
  const encoder = gpu.device.createCommandEncoder();
  let at = 0;
  for (const { buffer, steps: some } of waiting) {
    encoder.copyBufferToBuffer(buffer, 0, joint, at, 4 * some);
    at += 4 * some;
  }
  gpu.device.queue.submit([encoder.finish()]);
  return joint;
}

/**
 * Uploads streams as they are, has the GPU decode and check them, some rows at a time, and code the
 * symbols. What is uploaded is freed.
 * @param {any} gpu a WebGPU device @param {import('../model/model.js').Model} model @param {any} store
 * @param {Uint32Array} cursors @param {Recoding} recoding @param {AbortSignal} [signal]
 */
async function recodeOnGpu(gpu, model, store, cursors, recoding, signal) {
  const { blob, name } = store;
  const quads = rowQuads(blob.columns);
  const coded = gpu.makeCoded(name, blob, model.codec);
  const { COPY_SRC, COPY_DST } = GPUBufferUsage;
  /** Symbols of rows that do not fill a block yet. @type {{buffer: GPUBuffer, steps: number}[]} */
  let waiting = [];
  let row = 0;
  try {
    // Its symbols, and those of the block of rows that waits, are coded at once; so is their raw plane.
    const room = Math.floor(gpu.bindingBytes / Math.max(1, blob.rawBytes)) - 4 * quads * (BLOCK_ROWS + 4);
    await gpu.guard(() => coded.allocate(cursors, Math.max(1, Math.min(PART_WEIGHTS, room))));
    const writer = new RangeWriter(coded.ranges()
      .filter((/** @type {{from: number}} */ { from }) => from < 2 * blob.wordCount), coded.unit);
    for await (const some of recoding.words()) {
      await gpu.upload(() => {
        store.checkAlive();
        writer.push(some);
      });
    }
    writer.push(new Uint8Array(16)); // the last unit is padded
    for (const part of coded.parts) {
      checkAborted(signal);
      const [symbols] = await coded.decodeParts([part]);
      waiting.push({ buffer: symbols, steps: part.steps });
      const steps = waiting.reduce((sum, { steps: some }) => sum + some, 0);
      const isLast = row * quads + steps === blob.rows * quads;
      const rows = isLast ? blob.rows - row : Math.floor(steps / quads / BLOCK_ROWS) * BLOCK_ROWS;
      if (!rows) continue;
      await gpu.guard(async () => {
        store.checkAlive();
        const joint = joined(gpu, waiting, steps);
        for (const { buffer } of waiting) if (buffer !== joint) gpu.free(buffer);
        waiting = [];
        try {
          if (!await store.recodeRows(rows, joint)) throw strayWeight();
          const rest = steps - rows * quads;
          if (!rest) return;
          const buffer = gpu.buffer(4 * rest, COPY_SRC | COPY_DST, 'symbols that wait');
          const copy = gpu.device.createCommandEncoder();
          copy.copyBufferToBuffer(joint, 4 * rows * quads, buffer, 0, 4 * rest);
          gpu.device.queue.submit([copy.finish()]);
          waiting = [{ buffer, steps: rest }];
        } finally {
          gpu.free(joint);
        }
      });
      row += rows;
    }
  } finally {
    for (const { buffer } of waiting) gpu.free(buffer);
    coded.free();
  }
}
