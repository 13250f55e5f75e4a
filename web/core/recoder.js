/**
 * Codes weights for a GPU's memory: the wasm build of src/prefix.c, FORMAT.md appendix A. Synchronous
 * and stateless between calls, so that any worker can do any rows.
 */
import { HanselError } from './errors.js';
import * as C from './structs.js';
import { Wasm, loadFile } from './wasm.js';

/**
 * How weights are coded.
 * @typedef {object} Code
 * @property {'prefix' | 'packed'} form
 * @property {Uint8Array} struct hansel_prefix or hansel_packed, to hand back
 * @property {number} origin byte of level 0; of packed weights, their center
 * @property {number} bits of a packed weight: 1, 2, 4 or 8; of the longest prefix code
 * @property {number} weightsPerCode 1, 2 or 4; packed: 0
 * @property {number} levelCount @property {number} pad level of rows beyond the last
 * @property {Uint32Array<ArrayBuffer>} codes by number: length << 16 | bits; packed: none
 * @property {Uint32Array<ArrayBuffer>} table for decoding; packed: none
 */

/** Raw planes: bytes as they are. */
export const RAW_CODE = packedCode(new Uint8Array(Uint32Array.of(8, 0).buffer));

/** @param {Uint8Array} struct hansel_packed @returns {Code} */
function packedCode(struct) {
  const view = new DataView(struct.buffer, struct.byteOffset);
  return {
    form: 'packed', struct, origin: view.getUint32(C.PACKED_CENTER, true),
    bits: view.getUint32(C.PACKED_BITS, true), weightsPerCode: 0, levelCount: 0, pad: 0,
    codes: new Uint32Array(0), table: new Uint32Array(0),
  };
}

/** A tail can hold levels that have no frequency: FORMAT.md 4.4. */
export const strayWeight = () => new HanselError('HANSEL_ERR_CORRUPT',
  'a weight comes whose frequency is 0', { expected: 'a level that comes', got: 'another' });

/** One wasm instance. */
export class Recoder {
  /** @param {WebAssembly.Module} module */
  constructor(module) {
    this.wasm = new Wasm(module);
  }

  /** @returns {Promise<Recoder>} @throws {import('./errors.js').HanselError} HANSEL_ERR_SOURCE */
  static async create() {
    return new Recoder(await loadFile('recode.wasm'));
  }

  /**
   * The cheapest prefix code for a blob's weights.
   * @param {import('./codec.js').Blob} blob with streams
   * @param {number} [weightsPerCode] 1, 2 or 4; 0: as many as cost little
   * @returns {Code | null} null if so many weights to a code are impossible
   */
  fitPrefix(blob, weightsPerCode = 0) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const prefix = wasm.zero(C.SIZEOF_PREFIX);
      const table = wasm.zero(4 * C.MAX_CODES);
      const status = wasm.call.hansel_prefix_fit(prefix, wasm.put(blob.struct), weightsPerCode,
        wasm.alloc(C.SIZEOF_PREFIX_WORK));
      if (status) return null;
      wasm.call.hansel_prefix_table(table, prefix);
      const struct = wasm.get(prefix, C.SIZEOF_PREFIX);
      const view = new DataView(struct.buffer);
      const bits = view.getUint32(C.PREFIX_CODE_BITS, true);
      return {
        form: 'prefix', struct, origin: view.getUint32(C.PREFIX_ORIGIN, true), bits,
        weightsPerCode: view.getUint32(C.PREFIX_WEIGHTS_PER_CODE, true),
        levelCount: view.getUint32(C.PREFIX_LEVEL_COUNT, true),
        pad: view.getUint32(C.PREFIX_PAD, true),
        codes: new Uint32Array(struct.slice(C.PREFIX_CODES).buffer, 0, C.MAX_CODES),
        table: new Uint32Array(wasm.get(table, 4 << bits).buffer),
      };
    });
  }

  /**
   * The smallest fields for a blob's weights.
   * @param {import('./codec.js').Blob} blob with streams @returns {Code}
   */
  fitPacked(blob) {
    const { wasm } = this;
    return wasm.scoped(() => {
      const packed = wasm.zero(C.SIZEOF_PACKED);
      wasm.call.hansel_pack_fit(packed, wasm.put(blob.struct));
      return packedCode(wasm.get(packed, C.SIZEOF_PACKED));
    });
  }

  /**
   * A row of blocks, run after run.
   * @param {Code} code @param {Uint8Array} weights bytes of at most BLOCK_ROWS whole rows
   * @param {number} rows @param {number} columns @param {number} runColumns columns of a run
   * @param {number} unit words of a stream that lie side by side: 1 or 4
   * @returns {{bytes: Uint8Array<ArrayBuffer>, sizes: Uint32Array<ArrayBuffer>}} the blocks' words,
   *   and how many of them each has
   * @throws {HanselError} HANSEL_ERR_CORRUPT for weights that code has nothing for
   */
  recodeRows(code, weights, rows, columns, runColumns, unit) {
    const { wasm } = this;
    const { call } = wasm;
    const isPrefix = code.form === 'prefix';
    return wasm.scoped(() => {
      const struct = wasm.put(code.struct);
      const from = wasm.put(weights);
      const sizes = new Uint32Array(Math.ceil(columns / runColumns));
      const widthOf = (/** @type {number} */ run) => Math.min(runColumns, columns - run * runColumns);
      const most = (/** @type {number} */ width) => (isPrefix
        ? call.hansel_prefix_bound(struct, rows, width, unit)
        : Math.ceil(rows / C.CODE_ROWS) * (width + unit));
      const to = wasm.alloc(4 * sizes.length * most(widthOf(0)));
      const block = isPrefix ? call.hansel_prefix_block : call.hansel_pack_block;
      let words = 0;
      for (let run = 0; run < sizes.length; run++) {
        sizes[run] = block(to + 4 * words, struct, from + run * runColumns, BigInt(columns), rows,
          widthOf(run), unit);
        if (!sizes[run]) throw strayWeight();
        words += sizes[run];
      }
      return { bytes: wasm.get(to, 4 * words), sizes };
    });
  }
}
