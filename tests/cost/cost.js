/**
 * What the kernels of shaders/ cost on AMD GPUs that need not be here: isa.js. docs/GPU.md tells how to
 * read it.
 *
 *   node cost.js [--json] [--write]
 *
 * Fails where a kernel takes a tenth more instructions than budget.json allows, or misses a target of
 * kernels.js. --write renews budget.json and the figures of docs/GPU.md; a missed target still fails.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { costOf, GPUS, makeSpirv, missing } from './isa.js';
import { KERNELS } from './kernels.js';
import { CASES, DEVICES, TARGET_DEVICE, memoryBits, plainTime, times } from './model.js';

/** @typedef {import('./kernels.js').Kernel} Kernel */
/** @typedef {Record<string, import('./isa.js').Cost>} Costs of a kernel, by GPU */

const BUDGET = new URL('budget.json', import.meta.url);
const PAGE = new URL('../../docs/GPU.md', import.meta.url);
const MARKS = /(<!-- generated: begin -->\n)[^]*(<!-- generated: end -->)/;
const SLACK = 1.1;
const LEAST_WAVES = 8;
const RDNA2 = 'NAVI21';
const OTHERS = ['GFX1100', 'VEGA10'];

const short = (/** @type {number} */ value) => String(Number(value.toPrecision(3)));

/** @param {string[]} heads @param {string[][]} rows */
const table = (heads, rows) => [heads, heads.map((_, i) => (i ? '---:' : '---')), ...rows]
  .map((cells) => `| ${cells.join(' | ')} |\n`).join('');

/** @param {Costs[]} costs */
function costTable(costs) {
  const all = [RDNA2, ...OTHERS];
  return table([
    'kernel', `VALU a weight, ${all.join(' / ')}`, 'table', 'v_mul_lo', `waves a SIMD, ${all.join(' / ')}`,
    'lookups', 'loads', 'cycles a weight, alone / by issue',
  ], KERNELS.map(({ name }, i) => {
    const cost = costs[i][RDNA2];
    const of = (/** @type {'valu' | 'waves'} */ what) => all.map((gpu) => short(costs[i][gpu][what])).join(' / ');
    return [name, of('valu'), short(cost.table), short(cost.multiplies), of('waves'), short(cost.lookups),
      short(cost.loads), `${short(cost.alone)} / ${short(cost.issue)}`];
  }));
}

/** @param {Costs[]} costs @param {number[]} bits */
function modelRows(costs, bits) {
  return CASES.map(({ what, kernel: name, least }, i) => {
    const index = KERNELS.findIndex((kernel) => kernel.name === name);
    const ratios = DEVICES.map((device) => {
      const parts = times(device, KERNELS[index], costs[index], bits[i]);
      const [limit, most] = Object.entries(parts).reduce((a, b) => (b[1] > a[1] ? b : a));
      const sum = Object.values(parts).reduce((a, b) => a + b);
      return { device: device.name, limit, best: plainTime(device) / most, worst: plainTime(device) / sum };
    });
    return { what, bits: bits[i], least, ratios };
  });
}

/** @param {ReturnType<typeof modelRows>} rows */
const modelTable = (rows) => table(['4096 x 4096', 'bits in memory', ...DEVICES.map(({ name }) => name)],
  rows.map(({ what, bits, ratios }) => [what, short(bits),
    ...ratios.map(({ best, worst, limit }) => `**${short(best)}** (${limit}; ${short(worst)})`)]));

const deviceTable = () => table(
  ['device', 'lanes', 'GHz', 'GB/s', 'words a cycle', 'instructions of', 'from'],
  DEVICES.map(({ name, lanes, gigahertz, gigabytes, banks, counts, source }) => [
    name, ...[lanes, gigahertz, gigabytes, banks].map(String), counts, source]));

/**
 * What is worse than it must be.
 * @param {Costs[]} costs @param {Record<string, Record<string, number>>} budget VALU a weight
 * @param {ReturnType<typeof modelRows>} rows
 */
function complaints(costs, budget, rows) {
  const found = [];
  KERNELS.forEach(({ name, target }, i) => {
    for (const gpu of Object.keys(GPUS)) {
      const { valu, spilled } = costs[i][gpu];
      const most = budget[name]?.[gpu];
      if (most === undefined) found.push(`${name}, ${gpu}: no budget`);
      else if (valu > SLACK * most) found.push(`${name}, ${gpu}: ${short(valu)} VALU a weight; budget ${most}`);
      if (spilled) found.push(`${name}, ${gpu}: ${spilled} registers are spilled`);
    }
    const { valu, multiplies, waves } = costs[i][RDNA2];
    if (target === undefined) return;
    if (valu > target) found.push(`${name}, ${RDNA2}: ${short(valu)} VALU a weight; target ${target}`);
    if (multiplies) found.push(`${name}, ${RDNA2}: v_mul_lo in the hot loop`);
    if (waves < LEAST_WAVES) found.push(`${name}, ${RDNA2}: ${waves} waves a SIMD; target ${LEAST_WAVES}`);
  });
  for (const { what, least, ratios } of rows) {
    const { best } = ratios.find(({ device }) => device === TARGET_DEVICE);
    if (best < least) found.push(`model, ${TARGET_DEVICE}, ${what}: ${short(best)} of plain int8; target ${least}`);
  }
  return found;
}

const { values: options } = parseArgs({ options: { json: { type: 'boolean' }, write: { type: 'boolean' } } });
const packages = missing();
if (packages.length) {
  console.error(`gpu-cost needs of Debian: apt-get install --no-install-recommends ${packages.join(' ')}`);
  process.exit(1);
}
const spirv = await makeSpirv(KERNELS);
const costs = KERNELS.map((kernel, i) => Object.fromEntries(
  Object.keys(GPUS).map((gpu) => [gpu, costOf(kernel, spirv[i], gpu)])));
const rows = modelRows(costs, await memoryBits());
const text = [
  costTable(costs), 'Model, products to plain int8 at full bandwidth:\n', modelTable(rows), deviceTable(),
].join('\n');
const report = { kernels: KERNELS.map(({ name }, i) => ({ name, ...costs[i] })), model: rows };
console.log(options.json ? JSON.stringify(report, null, 1) : text);
if (options.write) {
  const budget = Object.fromEntries(KERNELS.map(({ name }, i) => [name, Object.fromEntries(
    Object.keys(GPUS).map((gpu) => [gpu, Number(costs[i][gpu].valu.toFixed(3))]))]));
  const lines = Object.entries(budget).map(([name, most]) => ` ${JSON.stringify(name)}: ${JSON.stringify(most)}`);
  await writeFile(BUDGET, `{\n${lines.join(',\n')}\n}\n`);
  const page = await readFile(PAGE, 'utf8');
  await writeFile(PAGE, page.replace(MARKS, (_, begin, end) => `${begin}\n${text}\n${end}`));
}
const problems = complaints(costs, JSON.parse(await readFile(BUDGET, 'utf8')), rows);
for (const problem of problems) console.error(`gpu-cost: ${problem}`);
process.exitCode = problems.length ? 1 : 0;
