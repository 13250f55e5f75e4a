/** What every recipe must do: tests/bundlers/*.test.js. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cleanUp } from '../api/command.js';
import { launch } from '../gpu/chromium.js';
import { encodeFiles, readModel } from '../runtimes/model_files.js';
import { build, filesOf, makeProject, pack, serveProject, visit } from './project.js';

/** What no page needs: prose, C, GPU code of the demo, Node's modules. */
const STRANGERS = [/#include </, /^# Hansel/m, /hansel - entropy-coded/, /fn rotate\(/, /["'`]node:/];

/** @param {Map<string, Buffer>} files @returns {string[]} */
function strangersIn(files) {
  const found = [...files.keys()].filter((path) => /\.(md|c|h|d\.ts)$/.test(path));
  for (const [path, bytes] of files) {
    const text = bytes.toString('latin1');
    found.push(...STRANGERS.filter((one) => one.test(text)).map((one) => `${path}: ${one}`));
  }
  return found;
}

/** A coded file, and its plain one's SHA-256, as a module. @returns {Promise<string>} */
async function makeFixture() {
  const { gguf } = await readModel();
  const plain = gguf('F16', 0);
  const { coded } = await encodeFiles(new Map([['model.gguf', plain]]), ['model.gguf']);
  const base64 = Buffer.from(coded.get('model.gguf.hansel') ?? []).toString('base64');
  return `export const coded = '${base64}';
export const digest = '${createHash('sha256').update(plain).digest('base64')}';
`;
}

/**
 * @param {string} title @param {import('./recipes.js').Recipe[]} recipes
 * @param {boolean} isLinked as makeProject()
 */
export function describeBundlers(title, recipes, isLinked) {
  describe(title, function () {
    this.timeout(300_000);
    /** @type {Awaited<ReturnType<typeof launch>>} */
    let browser;
    let folder;
    let tarball;
    let fixture;
    before(async () => {
      fixture = await makeFixture();
      folder = await mkdtemp(join(tmpdir(), 'hansel-tarball-'));
      tarball = (await pack(folder)).path;
      browser = await launch();
    });
    after(async () => {
      await browser?.close();
      await rm(folder, { recursive: true, force: true });
      await cleanUp();
    });

    for (const recipe of recipes) {
      it(`${recipe.name}: builds a page that codes, decodes on two threads, multiplies on GPUs, restores a file`, async () => {
        const files = { ...recipe.files, 'src/fixture.js': fixture };
        const project = await makeProject({ ...recipe, files }, tarball, isLinked);
        let server;
        try {
          await build(project, recipe.commands);
          if (recipe.out) assert.deepEqual(strangersIn(await filesOf(join(project, recipe.out))), []);
          if (!recipe.serve) { // only what was built
            await rename(join(project, 'node_modules'), join(project, 'away'));
          }
          server = await serveProject(project, recipe);
          const { found, problems } = await visit(browser, `${server.url}/${recipe.serve ? '' : 'index.html'}`);
          assert.deepEqual({ ...found, problems }, {
            bytes: found.bytes, kinds: ['webgpu', 'webgl', 'wasm'], isTyped: true, isRestored: true, problems: [],
          });
        } finally {
          await server?.close();
          await rm(project, { recursive: true, force: true });
        }
      });
    }
  });
}
