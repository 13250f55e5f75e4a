/** Matrix.verify(): what lies on a device against what the file holds. */
import { takeTurn } from '../core/turn.js';
import { rowQuads } from '../core/vectors.js';
import { streamStep } from './parts.js';

/** @typedef {import('./matrix.js').Matrix} Matrix */
/** @typedef {import('../core/codec.js').Blob} Blob */
/** @typedef {import('../model/model.js').Model} Model */

/**
 * @param {Matrix} matrix decoded, where the device decodes to memory
 * @param {Model} model @param {AbortSignal} [signal]
 */
export async function verifyCoded(matrix, model, signal) {
  const { store, columns, name } = matrix;
  const blob = /** @type {Blob} */ (matrix.blob);
  const reference = new Uint8Array((await model.symbols(name, { signal })).buffer);
  const compare = async () => {
    const symbols = new Uint8Array((await matrix.symbols()).buffer);
    const at = symbols.findIndex((symbol, i) => symbol !== reference[i]);
    return at < 0 ? /** @type {const} */ ({ ok: true }) : {
      ok: /** @type {const} */ (false), tensor: name, row: Math.floor(at / columns),
      column: at % columns, expected: reference[at] << 24 >> 24, got: symbols[at] << 24 >> 24,
    };
  };
  // Without streams one invocation would have to sum up everything.
  if (!store.checksums || !blob.streamCount) return compare();
  const sums = referenceChecksums(blob, reference);
  for (const part of store.parts) {
    const found = await store.checksums(part);
    if (found.some((sum, i) => sum !== sums[part.first + i])) return compare();
  }
  return { ok: /** @type {const} */ (true) };
}

/**
 * The reference: what shaders/checksum.wgsl computes, from the wasm's symbols.
 * @param {Blob} blob with streams @param {Uint8Array} symbols row-major
 * @returns {Uint32Array} one per stream
 */
function referenceChecksums(blob, symbols) {
  const { columns, streamCount } = blob;
  const quads = rowQuads(columns);
  return Uint32Array.from({ length: streamCount }, (_, stream) => {
    let sum = 2166136261;
    for (let step = streamStep(blob, stream); step < streamStep(blob, stream + 1); step++) {
      const column = step % quads * 4;
      const at = Math.floor(step / quads) * columns + column;
      let word = 0;
      for (let lane = Math.min(4, columns - column); lane-- > 0;) word = word << 8 | symbols[at + lane];
      sum = Math.imul(sum ^ word, 16777619);
    }
    return sum;
  });
}

/** @param {Matrix} matrix @param {Model} model @param {AbortSignal} [signal] */
export async function verifyPlain(matrix, model, signal) {
  const { columns, name, dtype } = matrix;
  const own = await matrix.decode({ dtype });
  const bytes = new Uint8Array(own.buffer, own.byteOffset, own.byteLength);
  let at = 0;
  for await (const { bytes: expected } of model.slices(name, { signal })) {
    await takeTurn();
    for (let i = 0; i < expected.length; i++, at++) {
      if (bytes[at] === expected[i]) continue;
      const element = Math.floor(at / own.BYTES_PER_ELEMENT);
      return {
        ok: /** @type {const} */ (false), tensor: name, row: Math.floor(element / columns),
        column: element % columns, expected: expected[i], got: bytes[at],
      };
    }
  }
  return { ok: /** @type {const} */ (true) };
}
