/**
 * A page of any browser, with the helpers of page.js ready: what it logs as an error or a warning,
 * throws, or rejects unheard fails the test that was running in it.
 */

/** @typedef {typeof import('./page.js')} Harness */
/** @typedef {Awaited<ReturnType<typeof import('./server.js').openServer>>} Server */

/** The page that tests run in, unless they ask for another. */
export const BLANK = '/tests/gpu/blank.html';

/** Runs in the page. @param {string} text of a function @param {unknown} value */
export const call = (text, value) => (0, eval)(`(${text})`)(
  value, Reflect.get(globalThis, 'harness'));

/** One page: a browser's driver extends this. */
export class TestPage {
  /** Since the last run(). @type {string[]} */
  problems = [];
  #server;

  /** @param {Server} server */
  constructor(server) {
    this.#server = server;
  }

  /** Something that the page did wrong. @param {string} text */
  complain(text) {
    this.problems.push(text);
  }

  /** As the page's console has it.
   * @param {string} kind @param {string} text @param {string} [url] */
  hear(kind, text, url) {
    if (/^(error|warn|warning|assert)$/.test(kind)) {
      this.complain(`console.${kind}: ${text} (${url})`);
    } else if (process.env.HANSEL_TEST_LOG) console.log(`page: ${text}`);
  }

  /**
   * Calls a function in the page.
   * @param {string} text of it @param {unknown} value its argument
   * @returns {Promise<any>} what it returns, or what that resolves to
   */
  evaluate(text, value) {
    return Promise.reject(new Error(`no browser for ${text} and ${value}`));
  }

  /** @returns {Promise<void>} */
  close() {
    return Promise.resolve();
  }

  /**
   * Run a function in the page and return what it returns (JSON-like values; see put and take for
   * bytes). The function travels as source text: it sees its arguments, never its closure.
   *
   * @template A, R
   * @param {(arg: A, harness: Harness) => R | Promise<R>} fn its second argument is page.js
   * @param {A} [arg] JSON-like; in Chromium small typed arrays too
   * @param {{allow?: RegExp}} [options] allow: problems that this call provokes on purpose
   * @returns {Promise<R>}
   * @throws {Error} what fn throws, and every problem since the last call, in one message
   */
  async run(fn, arg, { allow } = {}) {
    /** @type {unknown} */
    let failure;
    let result;
    try {
      result = await this.evaluate(fn.toString(), arg);
    } catch (error) {
      failure = error;
    }
    // Lets the page report unheard rejections, and the GPU process its complaints.
    await this.evaluate('() => new Promise((resolve) => setTimeout(resolve, 0))', null)
      .catch(() => {});
    const problems = this.problems.splice(0).filter((text) => !allow?.test(text));
    if (failure && problems.length === 0) throw failure;
    if (failure || problems.length > 0) {
      throw new Error([...(failure ? [String(failure)] : []), ...problems].join('\n'));
    }
    return /** @type {R} */ (result);
  }

  /**
   * Make bytes available to every page of this browser at a URL that honours Range.
   * @param {string} name
   * @param {Uint8Array} bytes kept, not copied, until take() or close()
   * @returns {string} the URL's path
   */
  put(name, bytes) {
    this.#server.memory.set(name, bytes);
    return `/__mem/${encodeURIComponent(name)}`;
  }

  /**
   * Remove and return the bytes under a name: what the page sent with harness.send(name, bytes).
   * @param {string} name
   * @returns {Uint8Array}
   */
  take(name) {
    const bytes = this.#server.memory.get(name);
    if (!bytes) throw new Error(`the page sent nothing named ${name}`);
    this.#server.memory.delete(name);
    return bytes;
  }
}
