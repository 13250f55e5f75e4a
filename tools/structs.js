/**
 * Where JavaScript finds what the C core writes: web/core/structs.js, as the compiler lays structs
 * out in WebAssembly. Checks that file; with --write, makes it. EMCC is the compiler.
 */
import { execSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';

const root = new URL('..', import.meta.url).pathname;
const FILE = 'web/core/structs.js';

/** Members by struct, without hansel_. */
const STRUCTS = {
  fault: ['position', 'expected', 'found'],
  blob: ['shape', 'rows', 'columns', 'weights', 'blob_bytes', 'word_count', 'step', 'head_bytes',
    'payload_crc', 'dtype', 'mode', 'rank', 'raw_bytes', 'slot_bits', 'origin', 'alphabet_size',
    'tail_bits', 'tail_steps', 'length_bits', 'pieces', 'rows_per_stream', 'stream_count',
    'weights_per_symbol', 'freq', 'raw_start', 'directory_offset', 'version', 'raw_bits',
    'mantissa_bits', 'window_base', 'sign', 'level_count', 'log_bits', 'rice_bits', 'logs'],
  stats: ['sum_squares', 'sum_error', 'max_error', 'low', 'high', 'saturated'],
  options: ['step', 'target', 'goal', 'lossless', 'clamp', 'stream_length', 'slot_bits',
    'weights_per_symbol'],
  prefix: ['weights_per_code', 'level_count', 'origin', 'pad', 'code_bits', 'codes'],
  prefix_work: [],
  packed: ['bits', 'center'],
  field: ['block_bytes', 'bit_offset', 'item_bits', 'items', 'width'],
  base: ['columns', 'depth', 'group', 'pitch'],
  classes: [],
  feedback: ['mean'],
  encoder: ['blob', 'stats', 'counts', 'bits', 'error', 'entropy', 'work'],
};
/** Constants, without HANSEL_. */
const CONSTANTS = ['MIN_HEAD_BYTES', 'WINDOW_COUNTS', 'MAX_SLOTS', 'SLICE', 'TARGET_BITS', 'TARGET_ERROR', 'WORK_DONE',
  'WORK_SCAN', 'WORK_MEASURE', 'WORK_FOLD', 'WORK_CODE', 'WORK_WINDOW', 'MAX_CODES', 'CODE_ROWS', 'BLOCK_ROWS',
  'FINE_COUNTS', 'FEEDBACK_WIDTH', 'FEEDBACK_MOST'];

/** Name in JavaScript and expression in C. */
const numbers = [
  ...CONSTANTS.map((name) => [name, `HANSEL_${name}`]),
  ...Object.entries(STRUCTS).flatMap(([struct, members]) => [
    [`SIZEOF_${struct.toUpperCase()}`, `sizeof(hansel_${struct})`],
    ...members.map((member) => [
      `${struct}_${member}`.toUpperCase(), `offsetof(hansel_${struct}, ${member})`]),
  ]),
];

await mkdir(`${root}build`, { recursive: true });
await writeFile(`${root}build/structs.c`, `#include "../src/hansel_slices.h"
const unsigned hansel_numbers[] = {${numbers.map(([, expression]) => expression).join(', ')}};
`);
const assembly = execSync(`${process.env.EMCC ?? 'emcc'} -S build/structs.c -o -`,
  { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
const [, table = ''] = /^hansel_numbers:\n([^]*?)\.size/m.exec(assembly) ?? [];
const values = [...table.matchAll(/\.int32\s+(\d+)/g)].map(([, value]) => value);
if (values.length !== numbers.length) throw new Error('cannot read what the compiler wrote');

const lines = numbers.map(([name], i) => `export const ${name} = ${values[i]};`);
const text = `/** Made by tools/structs.js (make structs): numbers of the C core, offsets in its structs. */
${lines.join('\n')}
`;
if (process.argv.includes('--write')) {
  await writeFile(root + FILE, text);
} else {
  const found = (await readFile(root + FILE, 'utf8').catch(() => '')).split('\n');
  const wanted = text.split('\n');
  const wrong = [...wanted.keys()].filter((i) => found[i] !== wanted[i]);
  if (wrong.length || found.length !== wanted.length) {
    const [at = wanted.length] = wrong;
    console.error(`${FILE} is not what the C structs say; \`make structs\` renews it. `
      + `Line ${at + 1}: "${found[at] ?? ''}" should be "${wanted[at] ?? ''}"`);
    process.exit(1);
  }
}
