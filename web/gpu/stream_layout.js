/**
 * How weights lie in a GPU's memory once they are coded for it: FORMAT.md appendix A. Streams of four
 * rows of a run of columns, in blocks of 256 rows.
 */
import { rowQuads } from '../core/vectors.js';

/** Rows of a stream. */
const CODE_ROWS = 4;
/** Rows of a block: HANSEL_BLOCK_ROWS. */
export const BLOCK_ROWS = 256;
/** Columns of which a sum of products of signed bytes is exact in binary32. */
const MOST_COLUMNS = 1024;
/** Runs of a row, if they can be so short. */
const MOST_RUNS = 4096;
/** Words of a stream that lie side by side, of packed weights and raw planes. */
export const PACKED_UNIT = 4;
/** Runs of a row, at most: workgroups along one dimension of a dispatch. */
export const RUN_LIMIT = 65535;
/** Columns of a row, at most. */
export const COLUMN_LIMIT = RUN_LIMIT * MOST_COLUMNS / 2;

/** @typedef {import('../core/recoder.js').Code} Code */
/**
 * A range of whole blocks of rows.
 * @typedef {object} StreamPart
 * @property {number} firstRow @property {number} rows
 * @property {number} startStep of the matrix's quads of columns, row after row: the first of the part
 * @property {number} steps @property {number} startWeight
 */

export class StreamLayout {
  /**
   * @param {Code} code @param {number} rows @param {number} columns
   * @param {number} runColumns a multiple of 4: of a run, unless there would be too many
   * @param {number} unit words of a stream that lie side by side: 1 or 4
   */
  constructor(code, rows, columns, runColumns, unit) {
    this.code = code;
    this.rows = rows;
    this.columns = columns;
    this.unit = unit;
    let width = runColumns;
    while (columns > MOST_RUNS * width && 2 * width <= MOST_COLUMNS) width *= 2;
    this.runColumns = width;
    this.runCount = Math.ceil(columns / width);
  }

  /** The part that follows others. @param {StreamPart[]} parts @param {number} rows @returns {StreamPart} */
  nextPart(parts, rows) {
    const last = parts.at(-1);
    const firstRow = last ? last.firstRow + last.rows : 0;
    const quads = rowQuads(this.columns);
    return {
      firstRow, rows, startStep: firstRow * quads, steps: rows * quads,
      startWeight: firstRow * this.columns,
    };
  }

  /**
   * Words of each block, row of blocks after row of blocks.
   * @param {number} rows of a part @param {Uint32Array} heights of its blocks' streams
   * @returns {Uint32Array<ArrayBuffer>}
   */
  sizes(rows, heights) {
    return Uint32Array.from(heights, (height, i) => height * Math.ceil(
      Math.min(rows - Math.floor(i / this.runCount) * BLOCK_ROWS, BLOCK_ROWS) / CODE_ROWS));
  }

  /**
   * The same of packed weights.
   * @param {number} rows of a part @param {number} bits of a weight @param {number} [scale] columns
   *   for one: bytes of a raw plane
   * @returns {Uint32Array<ArrayBuffer>}
   */
  packedSizes(rows, bits, scale = 1) {
    const { runCount, columns, runColumns } = this;
    const unit = PACKED_UNIT;
    const heights = new Uint32Array(runCount * Math.ceil(rows / BLOCK_ROWS));
    return this.sizes(rows, heights.map((_, i) => {
      const width = scale * Math.min(runColumns, columns - i % runCount * runColumns);
      return Math.ceil(width * bits / (8 * unit)) * unit;
    }));
  }

  /** Bytes of a part's raw plane. @param {number} rows @param {number} rawBytes of a weight */
  rawRoom(rows, rawBytes) {
    const { runCount, runColumns, columns } = this;
    const height = (/** @type {number} */ width) => Math.ceil(width * rawBytes / PACKED_UNIT) * PACKED_UNIT;
    const words = (runCount - 1) * height(runColumns) + height(columns - (runCount - 1) * runColumns);
    return 4 * words * Math.ceil(rows / CODE_ROWS);
  }

  /** Where blocks of such sizes begin, and where the last one ends. @param {Uint32Array} sizes */
  bases(sizes) {
    const bases = new Uint32Array(sizes.length + 1);
    sizes.forEach((size, i) => { bases[i + 1] = bases[i] + size; });
    return bases;
  }
}

/** @param {import('./recode.js').Recoded[]} blocks @returns {number} bytes of all of them */
export const bytesOf = (blocks) => blocks.reduce((sum, { bytes }) => sum + bytes.length, 0);

/** @param {import('./recode.js').Recoded[]} blocks @returns {Uint32Array<ArrayBuffer>} their sizes */
export const sizesOf = (blocks) => Uint32Array.from(blocks.flatMap(({ sizes }) => [...sizes]));
