/**
 * How fast products would be on some GPUs: a model, of cost.js's figures and of what their makers say.
 * Nothing here was measured.
 */
import { encode, open } from '../../web/hansel.js';
import { webgpu } from '../../web/webgpu.js';
import { makeData } from '../bench/data.js';
import { openDawn } from '../gpu/dawn.js';

/** @typedef {import('./kernels.js').Kernel} Kernel */
/** @typedef {import('./isa.js').Cost} Cost */

const WEIGHTS = 4096 * 4096;
const SAMPLE_ROWS = 1024; // whose bits are counted
const MULTIPLY = 3; // cycles of v_mul_lo beyond the one that all instructions take
/** Words that 32 lanes want of the busiest of 32 banks: the mean of random ones. */
const CONFLICT = 3.5;

/**
 * lanes: 32-bit results a cycle, of all of it. banks: words of workgroup memory a cycle, likewise. groups:
 * memory for tables in each of so many cores. amd: SIMDs, whose waves RADV tells; threads: invocations
 * at once, elsewhere. counts: whose instructions are taken.
 * @typedef {object} Device
 * @property {string} name @property {'NAVI21' | 'GFX1100'} counts @property {number} lanes
 * @property {number} gigahertz @property {number} gigabytes a second @property {number} banks
 * @property {number} [simds] @property {number} [threads] @property {{cores: number, bytes: number}} [shared]
 * @property {string} source
 */
/** @type {Device[]} */
export const DEVICES = [
  {
    name: 'Iris Xe, 96 EUs', counts: 'NAVI21', lanes: 96 * 8, gigahertz: 1.3, gigabytes: 68.3, banks: 6 * 32,
    threads: 96 * 7 * 16, shared: { cores: 6, bytes: 128 << 10 },
    source: 'Core i7-1165G7 on ark.intel.com (96 EUs, 1.3 GHz, LPDDR4x-4267); oneAPI GPU optimization guide: 8 lanes '
      + 'and 7 threads an EU, 128 KiB of shared memory, 128 bytes of it a cycle, for 16 EUs',
  },
  {
    name: 'Apple M1, 8 cores', counts: 'NAVI21', lanes: 8 * 128, gigahertz: 1.278, gigabytes: 68.3, banks: 8 * 32,
    threads: 24576, shared: { cores: 8, bytes: 64 << 10 },
    source: 'Apple\'s announcement (128 execution units, 24,576 threads, 2.6 TFLOPS: 1024 lanes at 1.27 GHz); '
      + 'LPDDR4x-4266, 128 bits; 64 KiB of shared memory a core: github.com/philipturner/metal-benchmarks',
  },
  {
    name: 'RX 6700 XT', counts: 'NAVI21', lanes: 40 * 64, gigahertz: 2.424, gigabytes: 384, banks: 40 * 32, simds: 80,
    source: 'AMD\'s product page: 40 CUs, game clock 2424 MHz, 384 GB/s',
  },
  {
    name: 'RX 7900 XTX', counts: 'GFX1100', lanes: 96 * 64, gigahertz: 2.3, gigabytes: 960, banks: 96 * 32, simds: 192,
    source: 'AMD\'s product page: 96 CUs, game clock 2300 MHz, 960 GB/s; no dual issue supposed',
  },
];

/** What is multiplied: a set of tests/bench/data.js, as it lies in memory, by which kernel. */
export const CASES = [
  { what: 'about 4 bits, prefix', kernel: 'prefix, 2 a code', set: 'up16', as: 'prefix', least: 1.2 },
  { what: '16 levels, packed 4', kernel: 'packed 4', set: 'g4', as: 'packed', least: 1.8 },
  { what: 'ternary, prefix', kernel: 'prefix, 4 a code', set: 'ternary', as: 'prefix', least: 1.8 },
  { what: 'ternary, packed 2', kernel: 'packed 2', set: 'ternary', as: 'packed', least: 1.8 },
  { what: 'about 8 bits, packed 8', kernel: 'packed 8', set: 'seed8', as: 'packed' },
  { what: 'about 4 bits, coded (rANS)', kernel: 'coded (rANS), 1 a symbol', set: 'up16', as: 'coded' },
];
/** Whose ratios have a target. */
export const TARGET_DEVICE = 'RX 6700 XT';

/** Bits of a weight in a GPU's memory, by case: of real matrices. @returns {Promise<number[]>} */
export async function memoryBits() {
  const dawn = await openDawn();
  const gpu = await webgpu({ gpu: dawn.gpu });
  const bits = [];
  for (const { set, as } of CASES) {
    const { data, shape } = makeData(set, SAMPLE_ROWS);
    const model = await open(await encode({ w: { dtype: 'I8', shape, data } }));
    const w = await gpu.load(model, 'w', { as: /** @type {'prefix'} */ (as) });
    bits.push(8 * w.bytes / data.length);
    w.destroy();
  }
  gpu.destroy();
  return bits;
}

/** Invocations that a device holds at once. @param {Device} device @param {Kernel} kernel @param {Cost} cost */
function resident({ simds, threads = 0, shared }, { group = 1, tableSlots = 0 }, { waves }) {
  if (simds) return simds * waves * 64;
  if (!shared || !tableSlots) return threads;
  return Math.min(threads, Math.floor(shared.bytes / (4 * tableSlots)) * group * shared.cores);
}

/**
 * Microseconds of what limits a product, each as if it were alone.
 * @param {Device} device @param {Kernel} kernel @param {Record<string, Cost>} costs by GPU
 * @param {number} bits a weight
 */
export function times(device, kernel, costs, bits) {
  const cost = costs[device.counts];
  const cycles = costs.NAVI21; // llvm-mca's, of the only GPU like these that it knows
  const { lanes, banks, gigahertz, gigabytes } = device;
  const { each = 1 } = kernel;
  const ideal = WEIGHTS / gigahertz / 1000;
  const rounds = Math.max(1, WEIGHTS / each / resident(device, kernel, cost));
  return {
    memory: WEIGHTS * bits / 8 / gigabytes / 1000,
    instructions: ideal * (cost.valu + cost.table + MULTIPLY * cost.multiplies) / lanes,
    lookups: ideal * cost.lookups * CONFLICT / banks,
    waiting: rounds * each * ((cycles.alone ?? 0) + cycles.tableAlone) / gigahertz / 1000,
  };
}

/** Microseconds of int8 bytes at full bandwidth. @param {Device} device */
export const plainTime = ({ gigabytes }) => WEIGHTS / gigabytes / 1000;
