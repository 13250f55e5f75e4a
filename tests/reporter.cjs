/** Mocha's spec reporter, with a closing line that other tools can read. */
const { reporters: { Spec } } = require('mocha');

module.exports = class extends Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures } = runner.stats;
      console.log(`${passes} passed, ${failures} failed`);
    });
  }
};
