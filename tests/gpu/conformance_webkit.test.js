/** The conformance suite in WebKitGTK (WebGPU it has not). */
import { launch } from './webkit.js';
import { describeHarness, describePage } from './suite.js';

describe('conformance, WebKitGTK', function () {
  this.timeout(60_000);
  /** @type {Awaited<ReturnType<typeof launch>>} */
  let browser;
  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  describeHarness(() => browser.openPage());

  describePage('WebKitGTK', 'webgl', () => browser.openPage());
});
