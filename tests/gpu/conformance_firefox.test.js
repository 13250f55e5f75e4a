/** The conformance suite in Firefox. */
import { launch } from './firefox.js';
import { describeHarness, describePage } from './suite.js';

describe('conformance, Firefox', function () {
  this.timeout(60_000);
  /** @type {Awaited<ReturnType<typeof launch>>} */
  let browser;
  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  describeHarness(() => browser.openPage());

  for (const kind of /** @type {const} */ (['webgpu', 'webgl'])) {
    describePage('Firefox', kind, () => browser.openPage());
  }
});
