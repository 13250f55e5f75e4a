/** What gpu.js measures, in a page or in Node. Every variant takes its turn in every round. */
import { sampleRows64 } from '../../web/cli/sample.js';
import { readFile } from '../gpu/files.js';
import { GROUP_COLUMNS } from '../../web/gpu/webgpu_products.js';
import { PlainMatrix, pickLayout } from '../../web/plain.js';
import { webgpu } from '../../web/webgpu.js';
import { glProducts } from './gl_run.js';
import { clock, coded, indices, measure, ratio, speed } from './jobs.js';
import { spread } from './report.js';

const GROUP_SIZE = 64;
/** Milliseconds that a timed pass takes at least: shorter ones are repeated in it. */
const LEAST_MS = 20;
/** Indices of round(sigma randn), by the bits that they take; and clamped, as int4 and ternary weights. */
const GRIDS = [
  { bits: 8, sigma: 52 }, { bits: 4, sigma: 4 }, { bits: 3, sigma: 1.9 }, { bits: 2, sigma: 0.95 },
  { bits: 3.9, sigma: 4, range: [-8, 7] }, { bits: 1.4, sigma: 0.6, range: [-1, 1] },
];
/** @type {Way[]} */
const LENGTHS = [256, 512, 1024, 2048, 4096].map((streamLength) => ({ as: 'coded', streamLength }));
/** The first is what others are compared with. @type {Way[]} */
const WAYS = (/** @type {const} */ (['coded', 'prefix', 'packed'])).map((as) => ({ as, streamLength: 4096 }));
/** Milliseconds of load(), of the file in memory. */
const LOADS = [{ as: 'coded' }, { as: 'prefix', recode: 'cpu' }, { as: 'prefix', recode: 'gpu' }, { as: 'packed' }];

/** @typedef {import('./report.js').Spread} Spread */
/** @typedef {import('../../web/webgpu.js').WebGpu} WebGpu */
/** @typedef {import('../../web/webgpu.js').WebGpuMatrix} WebGpuMatrix */
/** @typedef {Awaited<ReturnType<typeof runGpu>>} GpuResults */
/**
 * @typedef {object} ProductRow speeds in millions of weights a second
 * @property {number} rows @property {number} columns
 * @property {number} batch 0 is one vector of bytes
 * @property {number} streamLength @property {number} bits a weight
 * @property {string} form how the weights lie in memory @property {number} memory bytes there, of
 *   those in the file
 * @property {Spread} plain @property {Spread} coded @property {Spread} ratio of coded to plain
 * @property {Spread} gain over the kernel that decodes the file's streams
 */
/** @typedef {{as: 'coded' | 'prefix' | 'packed', streamLength: number}} Way of loading */
/** @typedef {import('./jobs.js').Job} Job */

/** Times compute passes: by timestamps where they make sense, else by the clock. */
class Timer {
  /** @param {WebGpu} gpu */
  constructor(gpu) {
    this.gpu = gpu;
    this.hasStamps = gpu.device.features.has('timestamp-query');
    if (!this.hasStamps) return;
    const { QUERY_RESOLVE, COPY_SRC } = GPUBufferUsage;
    this.stamps = gpu.device.createQuerySet({ type: 'timestamp', count: 2 });
    this.resolved = gpu.buffer(16, QUERY_RESOLVE | COPY_SRC, 'stamps');
  }

  /** @param {NonNullable<Job['encode']>} encodeJob @param {number} repeats
   * @returns {Promise<{clock: number, stamps: number}>} seconds, of all repeats */
  async #pass(encodeJob, repeats) {
    const { gpu, stamps, resolved } = this;
    const { device } = gpu;
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass(stamps ? { timestampWrites: {
      querySet: stamps, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1,
    } } : {});
    for (let i = 0; i < repeats; i++) encodeJob(pass);
    pass.end();
    if (stamps && resolved) encoder.resolveQuerySet(stamps, 0, 2, resolved, 0);
    const commands = encoder.finish();
    const start = performance.now();
    device.queue.submit([commands]);
    await device.queue.onSubmittedWorkDone();
    const clock = (performance.now() - start) / 1000;
    if (!resolved) return { clock, stamps: NaN };
    const [from, to] = new BigUint64Array((await gpu.read(resolved, 0, 16)).buffer);
    return { clock, stamps: Number(to - from) / 1e9 };
  }

  /** Warms a job up, and finds how often to repeat it. @param {Job} job */
  async prepare({ encode: encodeJob, run }) {
    if (run || !encodeJob) {
      await run?.();
      return 1;
    }
    await this.#pass(encodeJob, 1);
    for (let repeats = 1; ; repeats *= 2) {
      const { clock, stamps } = await this.#pass(encodeJob, repeats);
      if (clock < LEAST_MS / 1000 && repeats < 4096) continue;
      // Stamps that were not taken around the work are none.
      if (!(stamps > 0.3 * clock && stamps < 1.1 * clock)) this.hasStamps = false;
      return repeats;
    }
  }

  /** @param {Job} job @param {number} repeats @returns {Promise<number>} seconds of one */
  async time({ encode: encodeJob, run }, repeats) {
    if (run || !encodeJob) return run ? run() : NaN;
    const { clock, stamps } = await this.#pass(encodeJob, repeats);
    return (this.hasStamps ? stamps : clock) / repeats;
  }
}

/** The first of the reference matrix's random numbers. @param {number} count */
function normals(count) {
  const out = new Float32Array(count);
  let at = 0;
  for (const slice of sampleRows64({ rows: Math.ceil(count / 4096) })) {
    for (let i = 0; i < slice.length && at < count; i++) out[at++] = slice[i];
  }
  return out;
}

/** @param {WebGpu} gpu @param {string} file in this folder @param {string} entryPoint */
async function ownPipeline({ device }, file, entryPoint) {
  const code = new TextDecoder().decode(await readFile(`tests/bench/${file}`));
  return device.createComputePipelineAsync({
    label: file, layout: 'auto',
    compute: {
      module: device.createShaderModule({ code }), entryPoint, constants: { group_size: GROUP_SIZE },
    },
  });
}

/** A bind group and its dispatch. @param {WebGpu} gpu @param {GPUComputePipeline} pipeline
 * @param {GPUBuffer[]} buffers by binding @param {number} groups */
function dispatcher(gpu, pipeline, buffers, groups) {
  const group = gpu.device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return (/** @type {GPUComputePassEncoder} */ pass) => {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(Math.min(groups, 65535), Math.ceil(groups / 65535));
  };
}

/** @param {ArrayLike<number>} got @param {ArrayLike<number>} expected @param {string} what */
function mustEqual(got, expected, what) {
  for (let i = 0; i < expected.length; i++) {
    if (got[i] !== expected[i]) throw new Error(`${what}: wrong at ${i}`);
  }
}

/** Decoding kernels, for one stream length. @param {WebGpu} gpu @param {WebGpuMatrix} w
 * @param {Int8Array} data */
async function decodeKernels(gpu, w, data) {
  const { blob, parts: [part] } = w;
  const { STORAGE, COPY_SRC, COPY_DST, UNIFORM } = GPUBufferUsage;
  const weights = data.length;
  const dst = gpu.buffer(weights, STORAGE | COPY_SRC | COPY_DST, 'bench');
  const faults = gpu.filled(Uint32Array.of(-1), STORAGE, 'bench');
  const none = gpu.buffer(16, STORAGE, 'bench');
  const words = /** @type {GPUBuffer} */ (part.words);
  const cursors = /** @type {GPUBuffer} */ (part.cursors);
  const table = w.model.codec.buildTable(blob);
  const groups = Math.ceil(part.count / GROUP_SIZE);
  const stream = weights / 4 / part.count; // steps; the shapes here have no remainders
  const ours = await gpu.pipeline('decode', 'decode_streams', {
    slot_bits: blob.slotBits, slot_count: 1 << blob.slotBits, group_size: GROUP_SIZE, pairs: 1,
  });
  const prototype = await ownPipeline(gpu, 'prototype.wgsl', 'decode_prototype');
  const write = await ownPipeline(gpu, 'write.wgsl', 'write_quads');
  const slots = gpu.filled(table, STORAGE, 'bench');
  const other = gpu.filled(table.map((entry) => (
    (entry >>> 12 & 255) << 24 | entry >>> 20 << 12 | entry & 4095)), STORAGE, 'bench');
  const fullSteps = stream - blob.tailSteps;
  const made = [dst, faults, none, slots, other];
  const call = (/** @type {GPUComputePipeline} */ pipeline, /** @type {number[]} */ fields,
    /** @type {GPUBuffer[]} */ buffers, /** @type {number} */ count) => {
    made.push(gpu.filled(Uint32Array.from(fields), UNIFORM, 'bench'));
    return dispatcher(gpu, pipeline, [made[made.length - 1], ...buffers], count);
  };
  /** @type {Job[]} */
  const jobs = [
    { name: 'WGSL kernel', weights, encode: call(ours, [part.first, part.count, GROUP_COLUMNS,
      part.startStep, blob.rows, blob.columns, Math.max(blob.pieces, 1),
      Math.max(blob.rowsPerStream, 1), blob.origin, blob.alphabetSize, blob.tailBits, blob.tailSteps],
    [words, cursors, slots, none, dst, faults], groups) },
    { name: 'prototype kernel', weights, encode: call(prototype, [part.count, fullSteps, stream],
      [words, cursors, other, dst], groups) },
    { name: 'write only', weights, encode: call(write, [weights / 16, 65536], [dst], 1024) },
  ];
  // Both decoders are what they are called; the prototype has no tails.
  for (const job of jobs.slice(0, 2)) {
    const valid = job === jobs[0] ? stream : fullSteps;
    const encoder = gpu.device.createCommandEncoder();
    encoder.clearBuffer(dst);
    const pass = encoder.beginComputePass();
    job.encode?.(pass);
    pass.end();
    gpu.device.queue.submit([encoder.finish()]);
    const got = new Int8Array((await gpu.read(dst, 0, weights)).buffer);
    for (let at = 0; at < weights; at += 4 * stream) {
      mustEqual(got.subarray(at, at + 4 * valid), data.subarray(at, at + 4 * valid), job.name);
    }
  }
  return { jobs, free: () => made.forEach((buffer) => gpu.free(buffer)) };
}

/**
 * @param {Context} context @param {Float32Array} from @param {number[]} shape @param {any} webgl
 */
async function decoding({ gpu, timer, rounds, say }, from, shape, webgl) {
  const data = indices(from, 4);
  const found = [];
  for (const streamLength of [4096, 1024]) {
    say(`decode, ${streamLength} symbols a stream`);
    const model = await coded(data, shape, { streamLength, precision: 12 });
    const w = await gpu.load(model, 'w', { as: 'coded' });
    const { jobs, free } = await decodeKernels(gpu, w, data);
    const whole = (/** @type {string} */ name, /** @type {any} */ backend) => ({
      name, weights: data.length, run: async () => {
        const matrix = await backend.load(model, 'w', { as: 'coded' });
        const time = await clock(() => matrix.decodeOnGpu());
        matrix.destroy();
        return time;
      },
    });
    jobs.push(whole('WebGPU, decodeOnGpu()', gpu));
    if (webgl) jobs.push(whole('WebGL2, decodeOnGpu()', webgl));
    jobs.push({ name: 'wasm, Model.symbols()', weights: data.length,
      run: () => clock(() => model.symbols('w')) });
    mustEqual(await model.symbols('w'), data, 'wasm');
    await measure(timer, jobs, rounds);
    found.push({ streamLength, bits: model.tensor('w').bits, rows: jobs.map((job) => (
      { name: job.name, speed: speed(job), ratio: ratio(job, jobs[1]) })) });
    free();
    w.destroy();
  }
  return found;
}

/**
 * The same weights, loaded in several ways.
 * @param {any} gpu @param {Int8Array} data @param {number[]} shape @param {Way[]} ways
 * @returns {Promise<{w: any, streamLength: number, facts: {streamLength: number, bits: number,
 *   form: string, memory: number}}[]>}
 */
export async function loadWays(gpu, data, shape, ways) {
  const found = [];
  for (const { as, streamLength } of ways) {
    const model = await coded(data, shape, { streamLength });
    const w = await gpu.load(model, 'w', { as });
    const { bits, bytes } = model.tensor('w');
    found.push({ w, streamLength, facts: { streamLength, bits, form: w.form, memory: w.bytes / bytes } });
  }
  return found;
}

/** @param {Context} context @param {Float32Array} from @param {number[]} shape */
async function loading({ gpu, rounds, say }, from, shape) {
  say('load');
  const model = await coded(indices(from, 4), shape, {});
  const found = LOADS.map((way) => ({ way, times: /** @type {number[]} */ ([]) }));
  for (let i = 0; i <= rounds; i++) {
    for (const { way, times } of found) {
      const start = performance.now();
      const w = await gpu.load(model, 'w', /** @type {any} */ (way));
      if (i) times.push(performance.now() - start); // the first starts workers and compiles
      w.destroy();
    }
  }
  return found.map(({ way, times }) => ({ way: Object.values(way).join(', '), ms: spread(times) }));
}

/** A product as a job. @param {WebGpuMatrix | PlainMatrix} w @param {string} name
 * @param {number} batch @param {boolean} integer @param {GPUBuffer} x @param {GPUBuffer} y
 * @returns {Job} */
function productJob(w, name, batch, integer, x, y) {
  return {
    name, weights: w.rows * w.columns,
    encode: (pass) => w.products.encode(pass, { x, y, batch, integer }),
  };
}

/**
 * Coded products against plain ones, of one grid and shape.
 * @param {Context} context @param {Int8Array} data @param {number[]} shape
 * @param {{ways: Way[], batches: number[]}} what batch 0 is one vector of bytes
 */
async function products({ gpu, timer, rounds }, data, [rows, columns], { ways, batches }) {
  const { STORAGE } = GPUBufferUsage;
  const most = Math.max(1, ...batches);
  const xs = Float32Array.from({ length: most * columns }, (_, i) => Math.sin(i));
  const scratch = [gpu.filled(xs, STORAGE, 'bench'),
    gpu.filled(Int8Array.from(xs, (x) => Math.round(127 * x)), STORAGE, 'bench'),
    gpu.buffer(4 * most * rows, STORAGE, 'bench')];
  const [x, bytes, y] = scratch;
  const matrices = await loadWays(gpu, data, [rows, columns], ways);
  // The plain matrix is what one of them decodes to.
  const [{ w: source }] = matrices;
  await source.decodeOnGpu();
  const plain = PlainMatrix.fromBuffer(gpu, { buffer: source.buffer, dtype: 'I8', rows, columns });
  /** @type {ProductRow[]} */
  const found = [];
  for (const batch of batches) {
    const isInteger = batch === 0;
    await plain.products.prepare(isInteger);
    for (const { w } of matrices) await w.products.prepare(isInteger);
    const job = (/** @type {WebGpuMatrix | PlainMatrix} */ w, /** @type {string} */ name) => (
      productJob(w, name, batch || 1, isInteger, isInteger ? bytes : x, y));
    const base = job(plain, 'plain');
    const jobs = matrices.map(({ w, streamLength }) => job(w, `${streamLength}`));
    await measure(timer, [base, ...jobs], rounds);
    jobs.forEach((one, i) => found.push({
      rows, columns, batch, ...matrices[i].facts,
      plain: speed(base), coded: speed(one), ratio: ratio(one, base), gain: ratio(one, jobs[0]),
    }));
  }
  plain.destroy();
  for (const { w } of matrices) w.destroy();
  for (const buffer of scratch) gpu.free(buffer);
  return found;
}

/**
 * @typedef {{gpu: WebGpu, timer: Timer, rounds: number, say: (what: string) => void}} Context
 */
/**
 * @param {{quick?: boolean, adapter?: GPU, say?: (what: string) => void}} options adapter: Dawn's,
 *   in Node
 */
export async function runGpu({ quick = false, adapter, say = () => {} }) {
  const gpu = await webgpu(adapter ? { gpu: adapter } : {});
  // WebGL2 may not be there: Node has none.
  const webgl = globalThis.OffscreenCanvas
    ? await import('../../web/webgl.js').then((module) => module.webgl()) : null;
  const timer = new Timer(gpu);
  const rounds = quick ? 3 : 7;
  const context = { gpu, timer, rounds, say };
  const shape = quick ? [1024, 4096] : [4096, 4096];
  const large = [4096, 14336];
  const from = normals(quick ? shape[0] * shape[1] : large[0] * large[1]);
  const start = from.subarray(0, shape[0] * shape[1]);
  const decode = await decoding(context, start, shape, webgl);
  const loads = await loading(context, start, shape);
  const multiplied = [];
  const glMultiplied = [];
  for (const { bits, sigma, range } of GRIDS) {
    say(`products, about ${bits} bits`);
    const rows = await products(context, indices(start, sigma, range), shape,
      { ways: WAYS, batches: [1, 4, 16, 0] });
    if (!quick && !range) {
      rows.push(...await products(context, indices(from, sigma), large,
        { ways: WAYS, batches: [1, 4, 16, 0] }));
    }
    multiplied.push({ grid: bits, sigma, rows });
    if (!webgl) continue;
    say(`products on WebGL2, about ${bits} bits`);
    const what = { ways: WAYS, batches: [1, 4, 16, 0] };
    const found = await glProducts(webgl, rounds, indices(start, sigma, range), shape, what);
    if (!quick && !range) {
      found.push(...await glProducts(webgl, rounds, indices(from, sigma), large,
        { ways: WAYS, batches: [1, 4, 16] }));
    }
    glMultiplied.push({ grid: bits, sigma, rows: found });
  }
  webgl?.destroy();
  say('stream lengths');
  const lengths = await products(context, indices(start, 4), shape,
    { ways: LENGTHS, batches: [1] });
  const info = /** @type {any} */ (gpu.info ?? {});
  const results = {
    quick, rounds, shape, timer: timer.hasStamps ? 'timestamp-query' : 'onSubmittedWorkDone',
    layout: pickLayout(gpu.info),
    adapter: Object.fromEntries(['vendor', 'architecture', 'device', 'description', 'driver',
      'backend'].map((key) => [key, info[key] ?? ''])),
    decode, loads, products: multiplied, glProducts: glMultiplied, lengths,
  };
  gpu.destroy();
  return results;
}
