/**
 * WGSL to an AMD GPU's instructions, without the GPU, and what can be counted of them. Dawn makes
 * SPIR-V (spirv.js), Mesa's RADV compiles it for a GPU that is not there (pipeline.c), llvm-mca of LLVM
 * 14 models what a round of the hot loop takes.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { joinWgsl, wgslFiles } from '../../web/gpu/shaders.js';

/** @typedef {import('./kernels.js').Kernel} Kernel */
/**
 * @typedef {object} Cost a weight's, but for waves and spilled
 * @property {number} valu vector instructions @property {number} multiplies v_mul_lo: a quarter of the rate
 * @property {number} waves a SIMD, of 64 @property {number} spilled registers
 * @property {number} lookups in workgroup memory @property {number} loads @property {number} table VALU
 *   of what a group does before it begins, at 4096 x 4096 @property {number} tableAlone its cycles, likewise
 * @property {number | null} alone cycles of a wave with no other, llvm-mca
 * @property {number | null} issue cycles, where others fill all gaps, llvm-mca
 */

/**
 * Mesa's names; what llvm-mca calls them, if LLVM 14 knows them; and in how many parts RADV counts a wave
 * of 64, which is what these kernels are compiled for.
 * @type {Record<string, {cpu: string[] | null, waveParts: number}>}
 */
export const GPUS = {
  NAVI21: { cpu: ['-mcpu=gfx1030', '-mattr=+wavefrontsize64'], waveParts: 2 },
  GFX1100: { cpu: null, waveParts: 2 },
  VEGA10: { cpu: ['-mcpu=gfx900'], waveParts: 1 },
};

const here = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
const BUILD = here('../../build/cost');
const DRIVER = `/usr/share/vulkan/icd.d/radeon_icd.${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.json`;
/** Files, and the Debian packages that have them. */
const NEEDED = {
  '/usr/bin/gcc': 'gcc', '/usr/bin/spirv-as': 'spirv-tools', '/usr/bin/llvm-mca-14': 'llvm-14',
  '/usr/include/vulkan/vulkan.h': 'libvulkan-dev', [DRIVER]: 'mesa-vulkan-drivers',
  '/usr/lib/chromium/vk_swiftshader_icd.json': 'chromium',
};
const ROUNDS = 20; // of llvm-mca, for a mean

/** Debian packages that are not here. */
export const missing = () => Object.keys(NEEDED).filter((file) => !existsSync(file)).map((file) => NEEDED[file]);

/** @param {string} command @param {string[]} args @param {object} [options] @returns {string} what it prints */
function run(command, args, options) {
  try {
    return String(execFileSync(command, args, { maxBuffer: 1 << 28, stdio: 'pipe', ...options }));
  } catch (error) {
    throw new Error(`${command} failed: ${`${error.stdout}${error.stderr}`.slice(-2000)}`, { cause: error });
  }
}

/**
 * The kernels in SPIR-V.
 * @param {Kernel[]} kernels @returns {Promise<{file: string, uniforms: string[]}[]>}
 */
export async function makeSpirv(kernels) {
  mkdirSync(BUILD, { recursive: true });
  run('gcc', ['-O1', '-std=c99', here('pipeline.c'), '-lvulkan', '-o', `${BUILD}/pipeline`]);
  // Dawn prints to both; together they are in order.
  const printed = run('sh', ['-c', `node '${here('spirv.js')}' 2>&1`], {
    input: JSON.stringify(kernels.map(({ program, constants }) => [program, constants])),
  });
  const texts = printed.split(/Dumped SPIRV disassembly.*\n/).slice(1)
    .map((part) => part.match(/^(?:\s*(?:;|%|Op).*\n|\s*\n)*/)[0]);
  if (texts.length !== kernels.length) {
    throw new Error(`Dawn compiled ${texts.length} of ${kernels.length}: ${printed.slice(-2000)}`);
  }
  return Promise.all(kernels.map(async ({ program }, i) => {
    const file = `${BUILD}/${i}.spv`;
    writeFileSync(`${file}asm`, texts[i]);
    run('spirv-as', ['--target-env', 'vulkan1.3', `${file}asm`, '-o', file]);
    const { code } = await joinWgsl(wgslFiles(program, true));
    return { file, uniforms: Array.from(code.matchAll(/@binding\((\d+)\) var<uniform>/g), ([, n]) => n) };
  }));
}

/** @param {string[]} lines @param {RegExp} pattern */
const count = (lines, pattern) => lines.filter((line) => pattern.test(line)).length;
const OF = {
  valu: /^v_(?!nop)/,
  madds: /^v_(pk_)?(fma|fmac|mac|mad)(_mix)?_f32/,
  stores: /^(buffer|global)_store/,
  loads: /^(buffer|global)_load/,
  tableStores: /^ds_(write|store)/,
};
const PAIR = /^ds_(read|load)(2|_2addr)/; // both of these are two lookups
const lookups = (/** @type {string[]} */ lines) => count(lines, /^ds_(read|load)/) + count(lines, PAIR);

/**
 * Innermost loops, each with all its blocks, the first to the last.
 * @param {string} assembly
 */
function findLoops(assembly) {
  const lines = assembly.split('\n').map((line) => line.replace(/;.*/, '').trim()).filter(Boolean);
  const labels = new Map(lines.map((line, i) => [line.replace(/:$/, ''), i]));
  /** @type {Map<number, number>} */
  const ends = new Map();
  lines.forEach((line, i) => {
    const start = labels.get(line.match(/^s_c?branch\S* (\w+)/)?.[1] ?? '');
    if (start !== undefined && start < i) ends.set(start, i);
  });
  const spans = [...ends];
  return spans.filter(([start, end]) => !spans.some(([s, e]) => s > start && e <= end))
    .map(([start, end]) => lines.slice(start, end).filter((line) => !/^(BB|s_c?branch|[sv]_nop)/.test(line)));
}

/** @param {Kernel} kernel @param {string[][]} loops */
function hotLoop({ name, does }, loops) {
  const found = loops.map((lines) => ({
    lines, madds: count(lines, OF.madds), stores: count(lines, OF.stores), lookups: lookups(lines),
  }));
  const hot = found.filter((loop) => Object.keys(does).every((what) => loop[what] === does[what])
    && loop.lines.every((line) => !OF.tableStores.test(line)));
  if (hot.length === 1) return hot[0].lines;
  throw new Error(`${name}: ${hot.length} loops have ${JSON.stringify(does)}; there are\n${found.map(
    ({ lines, ...rest }) => `${lines.length} instructions ${JSON.stringify(rest)}`).join('\n')}`);
}

/** Cycles of a round. @param {string[]} lines @param {string[]} cpu */
function modelCycles(lines, cpu) {
  const input = `${lines.join('\n')}\n`;
  const text = run('llvm-mca-14', ['-mtriple=amdgcn', ...cpu, `-iterations=${ROUNDS}`], { input });
  return {
    alone: Number(text.match(/Total Cycles: +(\d+)/)[1]) / ROUNDS,
    issue: Number(text.match(/Block RThroughput: +([\d.]+)/)[1]),
  };
}

/**
 * What the weights of an invocation pay for their group's copy of the table.
 * @param {Kernel} kernel @param {string[][]} loops @param {string[] | null} cpu
 */
function tableCost({ name, tableSlots, group, each }, loops, cpu) {
  if (!tableSlots) return { table: 0, tableAlone: 0 };
  const copies = loops.filter((lines) => count(lines, OF.tableStores) && count(lines, OF.loads));
  if (copies.length !== 1) throw new Error(`${name}: ${copies.length} loops copy a table`);
  const rounds = tableSlots / count(copies[0], OF.tableStores) / Math.min(group, tableSlots) / each;
  return {
    table: rounds * count(copies[0], OF.valu),
    tableAlone: cpu ? rounds * modelCycles(copies[0], cpu).alone : 0,
  };
}

/**
 * @param {Kernel} kernel @param {{file: string, uniforms: string[]}} spirv @param {keyof typeof GPUS} gpu
 * @returns {Cost}
 */
export function costOf(kernel, { file, uniforms }, gpu) {
  const printed = run(`${BUILD}/pipeline`, [file, 'dawn_entry_point', ...uniforms], {
    env: { ...process.env, VK_ICD_FILENAMES: DRIVER, RADV_FORCE_FAMILY: gpu, NODEVICE_SELECT: '1',
      MESA_SHADER_CACHE_DISABLE: 'true' },
  });
  const [statistics, assembly] = printed.split(/^assembly\n/m);
  const statistic = (/** @type {string} */ name) => Number(
    statistics.split('\n').find((line) => line.startsWith(`${name}\t`)).split('\t')[1]);
  writeFileSync(`${file}.${gpu}.s`, assembly); // to look at
  const { cpu, waveParts } = GPUS[gpu];
  const loops = findLoops(assembly);
  const hot = hotLoop(kernel, loops);
  const cycles = cpu && modelCycles(hot, cpu);
  return {
    valu: count(hot, OF.valu) / kernel.weights,
    multiplies: count(hot, /^v_mul_lo_[ui]32/) / kernel.weights,
    waves: statistic('Subgroups per SIMD') / waveParts,
    spilled: statistic('Spilled VGPRs'),
    lookups: lookups(hot) / kernel.weights,
    loads: count(hot, OF.loads) / kernel.weights,
    ...tableCost(kernel, loops, cpu),
    alone: cycles && cycles.alone / kernel.weights,
    issue: cycles && cycles.issue / kernel.weights,
  };
}
