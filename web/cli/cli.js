/**
 * The command line: parses, runs web/cli/commands.js, prints. Results go to stdout,
 * everything else to stderr. Exit 0 success, 1 bad data, 2 wrong usage, 130 Ctrl-C.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { HanselError } from '../core/errors.js';
import {
  decodeCommand, encodeCommand, infoCommand, isIndex, sampleCommand, verifyCommand,
} from './commands.js';
import { copyAssets } from './copy_assets.js';
import { spoolStdin } from './node_file.js';
import { serve } from './serve.js';

const HELP = `hansel - entropy-coded neural-network weights in safetensors files

  hansel encode IN [-o OUT] [--step D | --bits B | --error E | --lossless]
         [--saturate] [--include RE] [--exclude RE] [--stream-length S]
         [--precision P] [--threads N] [--force] [--quiet] [--json]
  hansel decode IN [-o OUT] [--dtype T] [--threads N] [--force] [--quiet]
         [--json]
  hansel info   IN [--json]
  hansel verify IN [--against ORIGINAL] [--threads N] [--quiet] [--json]
  hansel sample OUT [--rows N] [--force] [--quiet] [--json]
  hansel serve  [DIR] [--port P] [--host H]
  hansel assets DIR

IN is a safetensors file, a model.safetensors.index.json (with its shards),
an http(s) URL, or - for standard input; OUT a file, or - for standard output.

  --step D           grid step, the same for all tensors (1/52 is understood)
  --bits B           coded bits per weight to stay below: finest step that does
  --error E          relative RMS error to stay below: coarsest step that does
  --lossless         no loss; the default
  --saturate         with --step: clamp, and count, what 256 levels do not hold
  --include RE       code only tensors whose name matches (a regular expression)
  --exclude RE       pass through tensors whose name matches
  --stream-length S  symbols per stream, about (default: 1024 to 4096, by size)
  --precision P      bits of probability, 8 to 12 (default: the cheapest)
  --threads N        threads at work (default: all cores); same bytes always
  --dtype T          decode to F32, F16, BF16, or I8: the grid indices
  --force            overwrite OUT
  --quiet            no progress, no summary
  --json             the result as JSON on standard output

Exit status: 0 success, 1 bad data, 2 wrong usage.
`;

/** @param {string} message @param {unknown} [got] */
const usage = (message, got) => new HanselError('HANSEL_ERR_USAGE',
  `${message}; see hansel --help`, { got });

/** Options by command: string or boolean. @type {Record<string, Record<string, 's' | 'b'>>} */
const OPTIONS = {
  encode: {
    output: 's', step: 's', bits: 's', error: 's', lossless: 'b', saturate: 'b', include: 's',
    exclude: 's', 'stream-length': 's', precision: 's', threads: 's', force: 'b', quiet: 'b', json: 'b',
  },
  decode: { output: 's', dtype: 's', threads: 's', force: 'b', quiet: 'b', json: 'b' },
  info: { quiet: 'b', json: 'b' },
  verify: { against: 's', threads: 's', quiet: 'b', json: 'b' },
  sample: { rows: 's', force: 'b', quiet: 'b', json: 'b' },
  serve: { port: 's', host: 's', quiet: 'b' },
  assets: { quiet: 'b', json: 'b' },
};

/** @param {string} command @param {string[]} args */
function parse(command, args) {
  const options = Object.fromEntries(Object.entries(OPTIONS[command]).map(([name, kind]) => [name, {
    type: /** @type {'string' | 'boolean'} */ (kind === 's' ? 'string' : 'boolean'),
    ...(name === 'output' ? { short: 'o' } : {}),
  }]));
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (cause) {
    throw usage(/** @type {Error} */ (cause).message.split('\n')[0].replace(/\.$/, ''));
  }
}

/** A positive number, or a fraction such as 1/52. @param {any} text @param {string} name */
function number(text, name) {
  if (text === undefined) return undefined;
  const [, top, bottom = '1'] = /^([\d.eE+-]+)(?:\/([\d.eE+-]+))?$/.exec(text) ?? [];
  const value = Number(top) / Number(bottom);
  if (top === undefined || !(value >= 2 ** -126 && value <= 3.4e38)) {
    throw usage(`--${name} must be a positive number`, text);
  }
  return value;
}

/** @param {any} text @param {string} name @param {number} low @param {number} high */
function whole(text, name, low, high) {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text) || Number(text) < low || Number(text) > high) {
    throw usage(`--${name} must be a whole number from ${low} to ${high}`, text);
  }
  return Number(text);
}

/** @param {{threads?: any}} values */
const threadsOf = ({ threads }) => whole(threads, 'threads', 1, 256) ?? availableParallelism();

/** @param {any} text @param {string} name */
function pattern(text, name) {
  try {
    return text === undefined ? undefined : new RegExp(text);
  } catch {
    throw usage(`--${name} is not a regular expression`, text);
  }
}

/** A progress bar on a terminal, nothing elsewhere. @param {boolean} quiet */
function progressBar(quiet) {
  if (quiet || !process.stderr.isTTY) return { update: undefined, end: () => {} };
  let last = 0;
  return {
    update(/** @type {{done: number, total: number, tensor: string, phase?: string}} */ p) {
      const now = Date.now();
      if (now - last < 100) return;
      last = now;
      const share = p.total ? p.done / p.total : 1;
      const bar = '='.repeat(Math.floor(share * 24)).padEnd(24);
      const text = `[${bar}] ${(share * 100).toFixed(0).padStart(3)} % ${p.phase === 'fit' ? 'fitting ' : ''}${p.tensor}`;
      process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    },
    end: () => process.stderr.write('\r\x1b[K'),
  };
}

/** @param {(string | number)[][]} rows the first is the heading */
function table(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => String(row[i]).length)));
  const isText = rows[0].map((_, i) => rows.slice(1).some((row) => typeof row[i] === 'string'));
  return rows.map((row) => row.map((cell, i) => (isText[i]
    ? String(cell).padEnd(widths[i]) : String(cell).padStart(widths[i]))).join('  ').trimEnd())
    .join('\n');
}

/** @param {number} n @param {number} [digits] keeps numbers right-aligned in tables */
const fixed = (n, digits = 4) => Number(n.toPrecision(digits));
const percent = (/** @type {number} */ part, /** @type {number} */ all) => (
  all ? `${(100 * part / all).toFixed(2)} %` : '-');

/** @param {unknown} value */
const print = (value) => process.stdout.write(
  `${typeof value === 'string' ? value : JSON.stringify(value)}\n`);

/** @typedef {{values: Record<string, any>, files: string[], signal: AbortSignal, onProgress: any,
 *   report: (text: string) => void, end: () => void}} Context */

/** @type {Record<string, (context: Context) => Promise<void>>} */
const COMMANDS = {
  async encode({ values, files: [from], signal, onProgress, report, end }) {
    const aims = ['step', 'bits', 'error', 'lossless'].filter((name) => values[name] !== undefined);
    if (aims.length > 1) throw usage('one of --step, --bits, --error, --lossless', aims.join(', '));
    if (values.saturate && values.step === undefined) throw usage('--saturate needs --step');
    const to = values.output ?? (from.startsWith('-') || /^https?:/.test(from) ? undefined
      : from.replace(/\.safetensors(\.index\.json)?$|$/, (ending) => `.hansel${ending || '.safetensors'}`));
    if (to === undefined) throw usage('-o OUT is needed');
    if (to === '-' && values.json) throw usage('--json and -o - both want standard output');
    if (isIndex(from) && !isIndex(to)) {
      throw usage('the output of an index is an index: OUT.safetensors.index.json', to);
    }
    const result = await encodeCommand(from, to, {
      step: number(values.step, 'step'), bits: number(values.bits, 'bits'),
      error: number(values.error, 'error'), lossless: values.lossless, saturate: values.saturate,
      include: pattern(values.include, 'include'), exclude: pattern(values.exclude, 'exclude'),
      streamLength: whole(values['stream-length'], 'stream-length', 4, 2 ** 31 - 1),
      precision: whole(values.precision, 'precision', 8, 12),
      threads: threadsOf(values),
      force: Boolean(values.force), signal, onProgress,
    });
    end();
    const all = [...result.reports];
    if (values.json) {
      print({
        tensors: Object.fromEntries(all.map(([name, r]) => [name, {
          dtype: r.dtype, shape: r.shape, mode: r.mode, reason: r.reason, step: r.step,
          weights: r.weights, bytes: r.bytes, raw_bytes: r.rawBytes,
          bits_per_weight: r.weights ? r.bytes * 8 / r.weights : 0, entropy_bits: r.entropyBits,
          saturated: r.saturated, relative_error: r.relativeError, max_error: r.maxError,
        }])),
        bytes: result.bytes, raw_bytes: result.rawBytes, files: result.files,
      });
      return;
    }
    report(table([['tensor', 'dtype', 'shape', 'mode', 'step', 'bits/weight', 'entropy', 'rel. error', 'note'],
      ...all.map(([name, r]) => [name, r.dtype, r.shape.join('x'), r.mode, fixed(r.step),
        fixed(r.weights ? r.bytes * 8 / r.weights : 0, 5), fixed(r.entropyBits, 5),
        fixed(r.relativeError), r.saturated ? `${r.saturated} saturated` : r.reason])]));
    report(`${to}: ${result.bytes} bytes, ${percent(result.bytes, result.rawBytes)} of ${result.rawBytes}`);
  },

  async decode({ values, files: [from], signal, onProgress, report, end }) {
    if (values.dtype !== undefined && !['F32', 'F16', 'BF16', 'I8'].includes(values.dtype)) {
      throw usage('--dtype must be F32, F16, BF16 or I8', values.dtype);
    }
    const to = values.output ?? (from.startsWith('-') || /^https?:/.test(from) ? undefined
      : from.replace(/(\.hansel)?\.safetensors(\.index\.json)?$|$/, '.decoded.safetensors'));
    if (to === undefined) throw usage('-o OUT is needed');
    if (to === '-' && values.json) throw usage('--json and -o - both want standard output');
    const { bytes, kept } = await decodeCommand(from, to, {
      dtype: values.dtype, force: Boolean(values.force), threads: threadsOf(values), signal, onProgress,
    });
    end();
    if (values.json) print({ bytes, kept, files: [to] });
    else {
      report(`${to}: ${bytes} bytes`);
      if (kept.length) report(`in their own dtype, having no ${values.dtype}: ${kept.join(', ')}`);
    }
  },

  async info({ values, files: [from], signal }) {
    const info = await infoCommand(from, { signal });
    if (values.json) {
      print(info);
      return;
    }
    print(table([['tensor', 'dtype', 'shape', 'mode', 'step', 'weights', 'bytes', 'bits/weight', 'entropy'],
      ...Object.entries(info.tensors).map(([name, t]) => [name, t.dtype, t.shape.join('x') || 'scalar',
        t.mode, fixed(t.step), t.weights, t.bytes, fixed(t.bits_per_weight, 5),
        t.entropy_bits === null ? '-' : fixed(t.entropy_bits, 5).toString()])]));
    print(`${from}: ${info.bytes} bytes, ${percent(info.bytes, info.raw_bytes)} of ${info.raw_bytes}`);
  },

  async verify({ values, files: [from], signal, onProgress, report, end }) {
    const results = [...await verifyCommand(from, {
      against: values.against, threads: threadsOf(values), signal, onProgress,
    })];
    end();
    if (values.json) {
      print({ ok: true, tensors: Object.fromEntries(results) });
      return;
    }
    if (values.against !== undefined) {
      report(table([['tensor', 'max error', 'RMS error', 'relative', ''], ...results.map(
        ([name, d]) => (d ? [name, fixed(d.max), fixed(d.rms), fixed(d.relative), d.exact ? 'exact' : '']
          : [name, 0, 0, 0, '']))]));
    }
    report(`${from}: ${results.length} tensors verified`);
  },

  async sample({ values, files: [to], signal, onProgress, report, end }) {
    const { bytes } = await sampleCommand(to, {
      rows: whole(values.rows, 'rows', 1, 1e6), force: Boolean(values.force), signal, onProgress,
    });
    end();
    if (values.json) print({ bytes, files: [to] });
    else report(`${to}: ${bytes} bytes`);
  },

  async assets({ values, files: [dir], report }) {
    const files = await copyAssets(dir);
    if (values.json) print({ files });
    else report(`${dir}: ${files.length} files`);
  },

  async serve({ values, files: [dir = '.'], signal, report }) {
    const server = await serve(dir, {
      port: whole(values.port, 'port', 0, 65535) ?? 8080, host: values.host ?? '127.0.0.1',
      mounts: { '/hansel/': fileURLToPath(new URL('../..', import.meta.url)) },
    });
    report(`serving ${dir} at ${server.url} (Ctrl-C stops)`);
    report(`demo page: ${server.url}hansel/web/demo/`);
    await new Promise((resolve) => { signal.addEventListener('abort', resolve); });
    await server.close();
  },
};

/** @param {string[]} argv @param {AbortController} stop */
async function main(argv, stop) {
  const [command, ...rest] = argv;
  if (argv.includes('--help') || argv.includes('-h') || command === 'help') return print(HELP.trimEnd());
  if (command === '--version') {
    return print(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version);
  }
  if (!command || !Object.hasOwn(COMMANDS, command)) throw usage('no such command', command ?? 'none');
  const { values, positionals: files } = parse(command, rest);
  if (command === 'serve' ? files.length > 1 : files.length !== 1) {
    throw usage(`${command} takes one file`, files.length);
  }
  const quiet = Boolean(values.quiet || values.json);
  const { update, end } = progressBar(quiet);
  const stdin = files[0] === '-' && !['sample', 'assets'].includes(command) ? await spoolStdin(stop.signal) : null;
  if (stdin && ['encode', 'decode'].includes(command) && values.output === undefined) {
    await stdin.remove();
    throw usage('-o OUT is needed');
  }
  try {
    await COMMANDS[command]({
      values, files: stdin ? [stdin.path] : files, signal: stop.signal, onProgress: update,
      report: (text) => { if (!quiet) process.stderr.write(`${text}\n`); }, end,
    });
  } catch (error) {
    end();
    throw error;
  } finally {
    await stdin?.remove();
  }
}

const stop = new AbortController();
for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(name, () => stop.abort()); // a second one kills
}
process.stdout.on('error', (error) => { // a closed pipe is the reader's choice
  if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EPIPE') process.exit(0);
});

try {
  await main(process.argv.slice(2), stop);
} catch (error) {
  if (!(error instanceof HanselError)) throw error;
  process.stderr.write(`hansel: ${error.code}: ${error.message}\n`);
  process.exitCode = error.code === 'HANSEL_ERR_USAGE' ? 2 : 1;
  if (error.code === 'HANSEL_ERR_ABORTED' && stop.signal.aborted) process.exitCode = 130;
}
