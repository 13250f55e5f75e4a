/**
 * One decoder in three languages: names, their order and all constants of the C core, the WGSL and
 * the GLSL must agree, and no language may say a thing twice.
 */
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';

const read = (path) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');
const withoutComments = (text) => text.replace(/\/\*[^]*?\*\/|\/\/.*/g, '');

/** Constants that cross languages. */
const CONSTANTS = ['HANSEL_LANES', 'HANSEL_WORD_BITS', 'HANSEL_STATE_LOW', 'HANSEL_STATE_WORDS',
  'HANSEL_SYMBOL_SHIFT', 'HANSEL_BIAS_SHIFT', 'HANSEL_FIELD_MASK'];
/** Functions that cross languages, in the order in which every file has them. */
const FUNCTIONS = ['rans_step', 'rans_refill', 'decode_part', 'decode_step', 'tail_symbol', 'tail_step'];
const LAYOUT = ['piece_start', 'stream_extent'];

/** @param {string} text @returns {Map<string, number>} of #define, const and their GLSL kin */
function constants(text) {
  const found = new Map();
  const patterns = [/#define\s+(HANSEL_\w+)\s+(\d+)u?\b/g,
    /const\s+(?:u?int\s+)?(HANSEL_\w+)(?:\s*:\s*u32)?\s*=\s*(\d+)u?\s*;/g];
  for (const pattern of patterns) {
    for (const [, name, value] of withoutComments(text).matchAll(pattern)) found.set(name, Number(value));
  }
  return found;
}

/** Functions that are defined, in order, without the prefix hansel_. @param {string} text */
function functions(text) {
  const names = [];
  const pattern = /^(?:fn\s+(\w+)|[A-Za-z][\w \t*]*?[ *](\w+))\s*\([^;{]*\)[^;{]*\{/gm;
  for (const [, wgsl, c] of withoutComments(text).matchAll(pattern)) {
    names.push((wgsl ?? c).replace(/^hansel_/, ''));
  }
  return names;
}

/** @param {string[]} names @param {string[]} wanted @param {string} file */
function hasInOrder(names, wanted, file) {
  const found = names.filter((name) => wanted.includes(name));
  assert.deepEqual(found, wanted, `${file} defines ${found}`);
}

/** Functions with their texts. @param {string} text @returns {string[]} */
const bodies = (text) => withoutComments(text).match(/^\w[^;{}]*\([^;{}]*\)[^;{}]*\{$[^]*?^\}$/gm) ?? [];

describe('mirrors', () => {
  let format;
  before(async () => { format = constants(await read('src/format.h')); });

  const shaders = ['shaders/decode_stream.wgsl', 'shaders/decode_stream.glsl'];

  it('C has what is to be mirrored', async () => {
    for (const name of CONSTANTS) assert.ok(format.has(name), name);
    const c = functions(await read('src/decode.c'));
    hasInOrder(c, FUNCTIONS.map((name) => (name === 'decode_step' ? 'decode_steps' : name)), 'src/decode.c');
    hasInOrder(functions(await read('src/partition.c')), LAYOUT, 'src/partition.c');
  });

  for (const file of shaders) {
    it(`${file} has the same constants and functions`, async () => {
      const text = await read(file);
      const found = constants(text);
      for (const name of CONSTANTS) assert.equal(found.get(name), format.get(name), `${file}: ${name}`);
      hasInOrder(functions(text), [...FUNCTIONS, ...LAYOUT], file);
    });
  }

  it('every HANSEL_ constant of every shader is the C core\'s, where that has it', async () => {
    const dtypes = /HANSEL_(\w+) = (\d+)/g;
    const header = await read('src/hansel.h');
    const all = new Map([...format, ...[...header.matchAll(dtypes)].map(
      ([, name, value]) => /** @type {const} */ ([`HANSEL_${name}`, Number(value)]))]);
    let checked = 0;
    for (const file of await readdir(new URL('../../shaders', import.meta.url))) {
      for (const [name, value] of constants(await read(`shaders/${file}`))) {
        assert.equal(value, all.get(name), `${file}: ${name}`);
        checked++;
      }
    }
    assert.ok(checked > 20, `${checked} constants`);
  });

  it('every shader is of a program, and no two have the same function', async () => {
    const { GLSL, WGSL } = await import('../../web/gpu/shaders.js');
    const apart = ['README.md', 'dot_plain.wgsl', 'fullscreen.vert.glsl', 'weight.glsl', 'weight.wgsl'];
    const all = [GLSL, WGSL].flatMap((table) => Object.values(table).flatMap((one) => one.files));
    const files = await readdir(new URL('../../shaders', import.meta.url));
    assert.deepEqual(files.sort(), [...new Set([...all, ...apart])].sort());
    const where = new Map();
    for (const file of files) {
      for (const body of bodies(await read(`shaders/${file}`))) {
        assert.equal(where.get(body), undefined, `${file} repeats ${body}`);
        where.set(body, file);
      }
    }
    assert.ok(where.size > 100, `${where.size} functions`);
  });

  it('notices a drift', async () => {
    const text = await read('shaders/decode_stream.wgsl');
    const renamed = functions(text.replace('fn rans_refill', 'fn refill_rans'));
    assert.throws(() => hasInOrder(renamed, FUNCTIONS, 'x'), assert.AssertionError);
    assert.notEqual(constants(text.replace('65536u', '65535u')).get('HANSEL_STATE_LOW'),
      format.get('HANSEL_STATE_LOW'));
  });

  it('hansel.h is of the package\'s version', async () => {
    const header = constants(await read('src/hansel.h'));
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map((name) => header.get(`HANSEL_VERSION_${name}`));
    assert.equal(parts.join('.'), JSON.parse(await read('package.json')).version);
  });

  it('errors.js numbers the statuses as hansel.h does', async () => {
    const { STATUS } = await import('../../web/core/errors.js');
    const pairs = [...(await read('src/hansel.h')).matchAll(/(HANSEL_(?:OK|ERR_\w+)) = (\d+)/g)];
    assert.equal(pairs.length, STATUS.length);
    for (const [, name, value] of pairs) assert.equal(STATUS[Number(value)], name);
    const documented = [...(await read('src/FORMAT.md')).matchAll(/^\| (\d+) \| (HANSEL_ERR_\w+) \|/gm)];
    assert.equal(documented.length, STATUS.length - 1);
    for (const [, value, name] of documented) assert.equal(STATUS[Number(value)], name);
  });
});
