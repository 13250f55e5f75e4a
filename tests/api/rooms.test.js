/**
 * The rooms of web/: who may import whom, without circles; few files at the door, none too long.
 *
 * Imports count wherever they stand: static, dynamic, a worker's address, and types named in
 * comments. Types alone may point upwards, from any room: they are gone when the code runs.
 */
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';

const ROOT = new URL('../../', import.meta.url).pathname;
const MOST_ENTRIES = 10;
const MOST_LINES = 500;

/** From the ground up. A room imports from itself and from those below, not from its neighbours. */
const FLOORS = [['asset'], ['core'], ['file', 'workers'], ['model'], ['encode', 'restore'], ['gpu'], ['llama'], ['entries'],
  ['cli', 'demo']];

/** @param {string} path from the root @returns {string} */
function roomOf(path) {
  const [, room, ...inside] = path.split('/');
  if (inside.length) return room;
  return { 'asset.js': 'asset', 'cli.js': 'cli' }[room] ?? 'entries';
}

/** @param {string} path @returns {number} -1 where there is no such room */
const floorOf = (path) => FLOORS.findIndex((rooms) => rooms.includes(roomOf(path)));

/**
 * What a module imports by relative path, and is not built: paths from the root.
 * @param {string} path @param {string} text
 */
function importsOf(path, text) {
  const code = text.replace(/\/\*\*[^]*?\*\/|^\s*\/\/.*/gm, '');
  const find = (/** @type {string} */ from, /** @type {RegExp[]} */ patterns) => new Set(
    patterns.flatMap((pattern) => [...from.matchAll(pattern)].map(
      ([, name]) => posix.join(posix.dirname(path), name)).filter((to) => !/^(dist|min)\//.test(to))));
  const isDynamic = /\bimport\(\s*(?:\/\*[^*]*\*\/\s*)?'(\.[^']+)'/g;
  const run = find(code, [/^(?:import|export)\b[^;'(]*'(\.[^']+)'/gm, isDynamic,
    /\bnew URL\('(\.[^']+\.js)', import\.meta\.url\)/g]);
  return { run, types: find(text, [isDynamic]) }; // the comments' and, once more, the code's
}

/** @typedef {Map<string, {run: Set<string>, types: Set<string>}>} Graph modules and what they import */

/** @param {Graph} graph @returns {string[]} what points upwards, sideways, or nowhere */
function strayImports(graph) {
  const found = [];
  for (const [from, { run, types }] of graph) {
    if (floorOf(from) < 0) found.push(`${from} is in no room`);
    for (const to of new Set([...run, ...types])) {
      if (!graph.has(to)) found.push(`${from} -> ${to}, which is not there`);
    }
    for (const to of run) {
      if (graph.has(to) && roomOf(to) !== roomOf(from) && floorOf(to) >= floorOf(from)) {
        found.push(`${from} -> ${to}`);
      }
    }
  }
  return found;
}

/** @param {Graph} graph @returns {string[]} circles among what runs, each once */
function circles(graph) {
  const found = [];
  const done = new Set();
  /** @param {string} module @param {string[]} way that led to it */
  const visit = (module, way) => {
    if (way.includes(module)) {
      found.push([...way.slice(way.indexOf(module)), module].join(' -> '));
      return;
    }
    if (done.has(module)) return;
    for (const to of graph.get(module)?.run ?? []) visit(to, [...way, module]);
    done.add(module);
  };
  for (const module of graph.keys()) visit(module, []);
  return found;
}

/** @param {string[]} paths @returns {string[]} base names that several have */
function doubles(paths) {
  const names = paths.map((path) => basename(path));
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))];
}

/** @param {string} folder @param {RegExp} kind @returns {Promise<Map<string, string>>} path to text */
async function texts(folder, kind) {
  const paths = (await readdir(join(ROOT, folder), { recursive: true }))
    .filter((path) => kind.test(path)).sort().map((path) => `${folder}/${path}`);
  return new Map(await Promise.all(paths.map(
    async (path) => /** @type {const} */ ([path, await readFile(join(ROOT, path), 'utf8')]))));
}

describe('rooms', () => {
  /** @type {Map<string, string>} */
  let web;
  /** @type {Graph} */
  let graph;
  before(async () => {
    web = await texts('web', /\.js$/);
    graph = new Map([...web].map(([path, text]) => [path, importsOf(path, text)]));
    assert.ok(graph.size > 50, `${graph.size} modules`);
  });

  it('at most ten files lie at the door', () => {
    const door = [...web.keys()].filter((path) => path.split('/').length === 2);
    assert.ok(door.length <= MOST_ENTRIES, `${door}`);
  });

  it('import downwards only', () => assert.deepEqual(strayImports(graph), []));

  it('import in no circle', () => assert.deepEqual(circles(graph), []));

  it('modules differ in name, which min/ knows them by', () => {
    const rooms = [...web.keys()].filter((path) => !['cli', 'demo'].includes(roomOf(path)));
    assert.deepEqual(doubles(rooms), []);
  });

  it('no file of web/ or shaders/ is too long', async () => {
    const all = [...web, ...await texts('web', /\.css$|\.html$|sl$/), ...await texts('shaders', /sl$/)];
    const long = all.map(([path, text]) => ({ path, lines: text.split('\n').length - 1 }))
      .filter(({ lines }) => lines > MOST_LINES);
    assert.deepEqual(long.map(({ path, lines }) => `${path}: ${lines} lines`), []);
  });

  describe('would notice', () => {
    /** @param {Record<string, string>} made path to text */
    const graphOf = (made) => new Map(Object.entries(made).map(
      ([path, text]) => [path, importsOf(path, text)]));
    const GOOD = {
      'web/asset.js': '',
      'web/core/wasm.js': `import { a } from '../asset.js';\n/** @type {import('../model/model.js').M} */`,
      'web/file/http.js': `import '../core/wasm.js';`,
      'web/workers/pool.js': `import {\n  b,\n} from '../core/wasm.js';`,
      'web/model/model.js': `import { c } from '../file/http.js';\nawait import('../workers/pool.js');`,
      'web/hansel.js': `export { open } from './model/model.js';`,
      'web/cli.js': `import './cli/main.js';`,
      'web/cli/main.js': `import { open } from '../hansel.js';`,
    };
    const stray = (/** @type {Record<string, string>} */ more) => strayImports(graphOf({ ...GOOD, ...more }));

    it('nothing in a good house', () => {
      assert.deepEqual(stray({}), []);
      assert.deepEqual(circles(graphOf(GOOD)), []);
    });

    for (const [what, path, text, to] of [
      ['an import upwards', 'web/core/x.js', `import { x } from '../file/http.js';`, 'web/file/http.js'],
      ['an export upwards', 'web/core/x.js', `export * from '../model/model.js';`, 'web/model/model.js'],
      ['one across lines', 'web/core/x.js', `import {\n  x,\n} from '../hansel.js';`, 'web/hansel.js'],
      ['a dynamic one', 'web/file/x.js', `f(await import('../model/model.js'));`, 'web/model/model.js'],
      ['a worker upstairs', 'web/core/x.js', `new URL('../workers/pool.js', import.meta.url)`, 'web/workers/pool.js'],
      ['an import from a neighbour', 'web/file/x.js', `import '../workers/pool.js';`, 'web/workers/pool.js'],
      ['an entry that looks upwards', 'web/x.js', `import './cli/main.js';`, 'web/cli/main.js'],
    ]) {
      it(what, () => assert.deepEqual(stray({ [path]: text }), [`${path} -> ${to}`]));
    }

    it('what is not there, and a room that is none', () => {
      assert.deepEqual(stray({ 'web/core/x.js': `import './y.js';` }),
        ['web/core/x.js -> web/core/y.js, which is not there']);
      assert.deepEqual(stray({ 'web/attic/x.js': '' }), ['web/attic/x.js is in no room']);
    });

    it('circles, of two, of three, through a dynamic import', () => {
      const two = { 'web/core/a.js': `import './b.js';`, 'web/core/b.js': `await import('./a.js');` };
      assert.deepEqual(circles(graphOf(two)), ['web/core/a.js -> web/core/b.js -> web/core/a.js']);
      const three = { 'web/core/a.js': `import './b.js';`, 'web/core/b.js': `import './c.js';`,
        'web/core/c.js': `import './b.js';\nimport './d.js';`, 'web/core/d.js': '' };
      assert.deepEqual(circles(graphOf(three)), ['web/core/b.js -> web/core/c.js -> web/core/b.js']);
      assert.deepEqual(circles(graphOf({ 'web/core/a.js': `import './a.js';` })).length, 1);
    });

    it('two modules of one name', () => {
      assert.deepEqual(doubles(['web/core/a.js', 'web/gpu/a.js', 'web/gpu/b.js']), ['a.js']);
    });
  });
});
