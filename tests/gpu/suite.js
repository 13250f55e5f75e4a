/** The conformance suite as tests, on a device in Node or in a page. */
import assert from 'node:assert/strict';
import { SUITE } from './conformance.js';

/**
 * @param {string} title
 * @param {(name: string) => ReturnType<typeof import('./conformance.js').runCheck>} check runs one
 *   of the suite
 * @param {() => Promise<unknown>} [open] makes it ready @param {() => unknown} [close]
 */
export function describeSuite(title, check, open, close) {
  describe(title, function () {
    this.timeout(900_000); // on two cores that others use, too
    if (open) before(open);
    if (close) after(close);
    for (const name of Object.keys(SUITE)) {
      it(name, async () => {
        const { problems, count, least, left, worst, amid } = await check(name);
        assert.deepEqual(problems, []);
        assert.ok(count >= least, `only ${count} cases`);
        assert.equal(left, 0, `${left} objects left`);
        if (amid !== undefined) assert.ok(amid > 20, `destroyed amid ${amid} calls`);
        console.log(`        ${count}${worst ? `, largest error ${worst.toExponential(1)}` : ''}`);
      });
    }
  });
}

/**
 * What goes wrong in a page fails the test, or nothing of the rest means much.
 * @param {() => Promise<import('./test_page.js').TestPage>} openPage
 */
export function describeHarness(openPage) {
  it('hears what a page throws, logs, and leaves unheard', async () => {
    const page = await openPage();
    const turn = () => new Promise((resolve) => { setTimeout(resolve, 300); });
    const told = async (/** @type {() => any} */ body) => {
      const first = await page.run(body).catch((error) => String(error));
      await turn();
      return `${first} ${await page.run(() => 'well').catch((error) => String(error))}`;
    };
    assert.match(await told(() => { throw new TypeError('of its own'); }), /of its own.* well$/s);
    assert.match(await told(() => console.error('bad', 'words')), /console.error: bad words/);
    assert.match(await told(() => { Promise.reject(new Error('unheard')); }), /unheard/);
    assert.match(await told(() => { setTimeout(() => { throw new Error('late'); }); }), /late/);
    assert.equal(await told(() => 'all'), 'all well');
    assert.equal(await page.run(async () => (await fetch('/tests/gpu/blank.html')).status), 200);
    await page.close();
  });
}

/**
 * The suite in a page of an engine, which has that kind of device, or the tests fail.
 * @param {string} engine
 * @param {'webgpu' | 'webgl' | 'wasm'} kind
 * @param {() => Promise<import('./test_page.js').TestPage>} openPage
 */
export function describePage(engine, kind, openPage) {
  /** @type {import('./test_page.js').TestPage} */
  let page;
  describeSuite(`${kind} in ${engine}`, (name) => page.run(async (which) => {
    const { runCheck: run } = await import('/tests/gpu/conformance.js');
    return run(globalThis.device, which);
  }, name), async () => {
    page = await openPage();
    assert.equal(await page.run(async (which) => {
      const { gpu } = await import('/web/gpu.js');
      const found = await gpu({ prefer: [which] });
      globalThis.device = found.gpu;
      return found.kind;
    }, kind), kind);
  }, () => page?.close());
}
