/**
 * The command line: signals, errors and exit statuses; web/cli/run.js does the rest. Results go to
 * stdout, everything else to stderr. --help and --version load next to nothing.
 */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { HanselError } from '../core/errors.js';
import { complain, errorJson, print, printJson, say, visible } from './terminal.js';

const stop = new AbortController();
for (const name of /** @type {const} */ (['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'])) {
  process.once(name, () => stop.abort(name)); // a second one kills
}

/** @param {string[]} argv @returns {Promise<number>} the exit status */
async function main(argv) {
  const [command, ...rest] = argv;
  if (argv.includes('--help') || argv.includes('-h') || command === 'help') {
    await print((await import('./help.js')).HELP);
    return 0;
  }
  if (['--version', '-v', '-V'].includes(command)) {
    const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
    await print(JSON.parse(text).version);
    return 0;
  }
  const { values, files } = (await import('./options.js')).parse(command, rest);
  return (await import('./run.js')).run(command, values, files, stop.signal);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = 1;
  const { cause, where, stack = error } = /** @type {any} */ (error);
  if (!(error instanceof HanselError)) { // a bug: all that is known of it
    say(`hansel: ${String(stack).split('\n').map(visible).join('\n')}`);
  } else if (cause?.code === 'EPIPE' && where === 'standard output') {
    process.exitCode = 0; // to close a pipe is its reader's choice
  } else {
    complain(error);
    if (error.code === 'HANSEL_ERR_USAGE') process.exitCode = 2;
    if (error.code === 'HANSEL_ERR_ABORTED' && stop.signal.aborted) {
      process.exitCode = 128 + constants.signals[/** @type {'SIGINT'} */ (stop.signal.reason)];
    }
    if (process.argv.includes('--json')) await printJson(errorJson(error)).catch(() => {});
  }
}
