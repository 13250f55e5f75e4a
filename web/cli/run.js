/** Every command: its options to web/cli/commands.js, what comes of it to the terminal. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HanselError } from '../core/errors.js';
import { spoolStdin } from './node_file.js';
import { number, pattern, size, tensorAims, threadsOf, usage, whole } from './options.js';
import {
  complain, errorJson, print, printJson, progressBar, say, table, visible,
} from './terminal.js';

/** @param {number} n @param {number} [digits] keeps numbers right-aligned in tables */
const fixed = (n, digits = 4) => Number(n.toPrecision(digits));

/**
 * A file for people. Queries may hold access tokens.
 * @param {string} file as given @param {string} [standard] what - means
 */
const shown = (file, standard = 'standard input') => (file === '-' ? standard
  : visible(/^https?:/i.test(file) ? file.replace(/[?#].*$/s, '') : file));
/** @param {string} file OUT, as given */
const shownOutput = (file) => shown(file, 'standard output');

/** @param {string} name for people @param {number} bytes @param {number} rawBytes */
const sizeLine = (name, bytes, rawBytes) => (`${name}: ${bytes} bytes, ${
  rawBytes ? `${(100 * bytes / rawBytes).toFixed(2)} %` : '-'} of ${rawBytes}`);

/**
 * @param {Record<string, any>} values @param {string} from
 * @param {(from: string) => string} byDefault
 */
function outputOf(values, from, byDefault) {
  if (values.output === undefined && (from.startsWith('-') || /^https?:/i.test(from))) {
    throw usage('-o OUT is needed');
  }
  const to = values.output ?? byDefault(from);
  if (to === '-' && values.json) throw usage('--json and -o - both want standard output');
  return to;
}

/**
 * @typedef {object} Context
 * @property {Record<string, any>} values of the options
 * @property {string[]} files as given
 * @property {(file: string) => Promise<string>} pathOf a file, that of standard input too
 * @property {AbortSignal} signal
 * @property {any} onProgress
 * @property {() => void} end of the progress
 * @property {(text: string) => void} report a line for people
 */

/** Options that have a say in what is coded, as they are given. */
const PLANNED = ['bits', 'each', 'tensor', 'include', 'exclude', 'stream-length', 'precision'];

/** What a plan says of itself. @param {Record<string, any>} values */
const planned = (values) => ({
  ...Object.fromEntries(PLANNED.map((name) => [name, values[name]])), hessians: values.hessians !== undefined,
});

/** @param {Record<string, any>} values */
async function readPlanOf(values) {
  const other = [...PLANNED, 'step', 'error', 'lossless'].find((name) => values[name] !== undefined);
  if (other) throw usage(`--${other} is for hansel plan to say`);
  return (await import('./plan.js')).readPlan(values.plan);
}

/** @param {string} path @param {AbortSignal} signal */
const openHessians = async (path, signal) => (await import('../model/model.js')).open(path, { signal });

/** What encode() and plans take. @param {Record<string, any>} values */
const codingOptions = (values) => ({
  step: number(values.step, 'step'), bits: number(values.bits, 'bits'), each: values.each,
  error: number(values.error, 'error'), lossless: values.lossless, saturate: values.saturate,
  tensors: tensorAims(values.tensor),
  include: pattern(values.include, 'include'), exclude: pattern(values.exclude, 'exclude'),
  streamLength: whole(values['stream-length'], 'stream-length', 4, 2 ** 31 - 1),
  precision: whole(values.precision, 'precision', 8, 12),
  threads: threadsOf(values),
});

/** What they return is the exit status if it is not 0.
 * @type {Record<string, (context: Context) => Promise<number | void>>} */
const COMMANDS = {
  async encode({ values, files: [from], pathOf, signal, onProgress, report, end }) {
    const { encodeCommand, isIndex } = await import('./encode.js');
    const aims = ['step', 'bits', 'error', 'lossless'].filter((name) => values[name] !== undefined);
    if (aims.length > 1) throw usage('one of --step, --bits, --error, --lossless', aims.join(', '));
    if (values.saturate && values.step === undefined) throw usage('--saturate needs --step');
    if (values.each && values.bits === undefined) throw usage('--each needs --bits');
    const isCarrier = values.bytes || /\.(onnx|gguf)$/i.test(from);
    const to = outputOf(values, from, () => (isCarrier ? `${from}.hansel`
      : from.replace(/\.safetensors(\.index\.json)?$|$/, (ending) => `.hansel${ending || '.safetensors'}`)));
    if (isIndex(from) && !values.bytes && !isIndex(to)) {
      throw usage('the output of an index is an index: OUT.safetensors.index.json', to);
    }
    const plan = values.plan === undefined ? null : await readPlanOf(values);
    const options = {
      ...codingOptions({ ...values, ...plan?.values }), force: Boolean(values.force), signal, onProgress,
    };
    if (plan?.values.hessians && !values.hessians) throw usage('the plan was made with --hessians');
    const hessians = values.hessians && await openHessians(values.hessians, signal);
    const isBytes = Boolean(values.bytes);
    const result = await encodeCommand(await pathOf(from), to, { ...options, hessians }, plan?.rates, isBytes)
      .finally(() => hessians?.close());
    end();
    const all = [...result.reports];
    if (options.include && !all.some(([name]) => options.include?.test(name))) {
      report('--include matches no tensor');
    }
    if (values.json) {
      return printJson({
        tensors: Object.fromEntries(all.map(([name, r]) => [name, {
          dtype: r.dtype, shape: r.shape, mode: r.mode, reason: r.reason, step: r.step,
          weights: r.weights, bytes: r.bytes, raw_bytes: r.rawBytes,
          bits_per_weight: r.weights ? r.bytes * 8 / r.weights : 0, entropy_bits: r.entropyBits,
          saturated: r.saturated, relative_error: r.relativeError, max_error: r.maxError,
          error_feedback: r.hasFeedback,
        }])),
        bytes: result.bytes, raw_bytes: result.rawBytes, files: result.files,
      });
    }
    report(table([
      ['tensor', 'dtype', 'shape', 'mode', 'step', 'bits/weight', 'entropy', 'rel. error', 'note'],
      ...all.map(([name, r]) => [name, r.dtype, r.shape.join('x'), r.mode, fixed(r.step),
        fixed(r.weights ? r.bytes * 8 / r.weights : 0, 5), fixed(r.entropyBits, 5),
        fixed(r.relativeError), r.saturated ? `${r.saturated} saturated` : r.hasFeedback ? 'feedback' : r.reason])]));
    report(sizeLine(shownOutput(to), result.bytes, result.rawBytes));
  },

  async plan({ values, files, pathOf, signal, onProgress, report, end }) {
    if (values.each && values.bits === undefined) throw usage('--each needs --bits');
    if (values.output === undefined) throw usage('-o OUT is needed');
    if (values.output === '-' && values.json) throw usage('--json and -o - both want standard output');
    const { planCommand } = await import('./plan.js');
    const hessians = values.hessians && await openHessians(values.hessians, signal);
    const paths = await Promise.all(files.map(pathOf));
    const result = await planCommand(paths, values.output, {
      ...codingOptions(values), hessians, force: Boolean(values.force), signal, onProgress,
    }, planned(values)).finally(() => hessians?.close());
    end();
    if (values.json) return printJson({ ...result, files: [values.output] });
    report(`${shownOutput(values.output)}: ${result.measured} ${result.measured === 1 ? 'tensor' : 'tensors'} measured${
      values.bits === undefined ? '' : `, ${result.tensors} with a step`}`);
  },

  async calibrate({ values, files: [from], pathOf, signal, onProgress, report, end }) {
    if (values.text !== undefined && values.tokens !== undefined) throw usage('--text or --tokens, not both');
    if (values.config === undefined && /^(-$|https?:)/i.test(from)) throw usage('--config FILE is needed');
    const to = outputOf(values, from, () => join(dirname(from), 'hessians.safetensors'));
    const { calibrateCommand } = await import('./calibrate.js');
    const result = await calibrateCommand(await pathOf(from), to, {
      config: values.config, text: values.text, tokens: values.tokens,
      samples: whole(values.samples, 'samples', 1, 1e6), seed: whole(values.seed, 'seed', 1, 2 ** 32 - 1),
      force: Boolean(values.force), signal, onProgress,
    });
    end();
    if (values.json) return printJson({ ...result, files: [to] });
    report(`${shownOutput(to)}: ${result.bytes} bytes, of ${result.positions} tokens: ${
      result.hessians} Hessians of ${result.tensors} tensors`);
  },

  async decode({ values, files: [from], pathOf, signal, onProgress, report, end }) {
    if (values.dtype !== undefined && !['F32', 'F16', 'BF16', 'I8'].includes(values.dtype)) {
      throw usage('--dtype must be F32, F16, BF16 or I8', values.dtype);
    }
    const to = outputOf(values, from, () => (
      /.\.hansel$/.test(from) ? from.replace(/\.hansel$/, '')
        : from.replace(/(\.hansel)?\.safetensors(\.index\.json)?$|$/, '.decoded.safetensors')));
    const options = {
      dtype: values.dtype, maxBytes: size(values['max-size'], 'max-size'),
      force: Boolean(values.force), threads: threadsOf(values), signal, onProgress,
    };
    const { decodeCommand } = await import('./decode.js');
    const { bytes, kept, files } = await decodeCommand(await pathOf(from), to, options);
    end();
    if (values.json) return printJson({ bytes, kept, files });
    report(`${shownOutput(to)}: ${bytes} bytes`);
    if (kept.length) {
      report(`in their own dtype, having no ${values.dtype}: ${kept.map(visible).join(', ')}`);
    }
  },

  async info({ values, files, pathOf, signal }) {
    const { infoCommand } = await import('./commands.js');
    return eachFile(files, values, {}, async (file) => {
      const info = await infoCommand(await pathOf(file), { signal });
      if (values.json) return printJson({ file, ...info });
      await print(table([
        ['tensor', 'dtype', 'shape', 'mode', 'step', 'weights', 'bytes', 'bits/weight', 'entropy', 'about rel. error'],
        ...Object.entries(info.tensors).map(([name, t]) => [name, t.dtype,
          t.shape.join('x') || 'scalar', t.mode, fixed(t.step), t.weights, t.bytes,
          fixed(t.bits_per_weight, 5),
          t.entropy_bits === null ? '-' : fixed(t.entropy_bits, 5).toString(),
          t.expected_error === null ? '-' : fixed(t.expected_error, 2).toString()])]));
      await print(sizeLine(shown(file), info.bytes, info.raw_bytes));
      if (info.format) await print(`gives back ${info.format}${info.beside?.length ? `, with ${info.beside.map(visible).join(', ')}` : ''}`);
    });
  },

  async verify({ values, files, pathOf, signal, onProgress, report, end }) {
    const { against } = values;
    if (against !== undefined && files.length > 1) {
      throw usage('--against takes one file', files.length);
    }
    const threads = threadsOf(values);
    const { verifyCommand } = await import('./commands.js');
    return eachFile(files, values, { ok: false }, async (file) => {
      const tensors = await verifyCommand(await pathOf(file), {
        against: against === undefined ? undefined : await pathOf(against),
        threads, signal, onProgress,
      }).finally(end);
      if (values.json) {
        return printJson({ file, ok: true, tensors: Object.fromEntries(tensors) });
      }
      if (against !== undefined) {
        report(table([['tensor', 'max error', 'RMS error', 'relative', ''],
          ...[...tensors].map(([name, { max = 0, rms = 0, relative = 0, exact }]) => (
            [name, fixed(max), fixed(rms), fixed(relative), exact ? 'exact' : '']))]));
      }
      report(`${shown(file)}: ${tensors.size} ${tensors.size === 1 ? 'tensor' : 'tensors'} verified`);
    });
  },

  async sample({ values, files: [to], signal, onProgress, report, end }) {
    if (to === '-' && values.json) throw usage('--json and - both want standard output');
    const rows = whole(values.rows, 'rows', 1, 1e6);
    const { sampleCommand } = await import('./commands.js');
    const { bytes } = await sampleCommand(to, {
      rows, force: Boolean(values.force), signal, onProgress,
    });
    end();
    if (values.json) return printJson({ bytes, files: [to] });
    report(`${shownOutput(to)}: ${bytes} bytes`);
  },

  async assets({ values, files: [dir], report }) {
    const { copyAssets } = await import('./copy_assets.js');
    const files = await copyAssets(dir);
    if (values.json) return printJson({ files });
    report(`${shown(dir)}: ${files.length} files`);
  },

  async 'service-worker'({ values, files: [dir], report }) {
    const { writeServiceWorker } = await import('./copy_assets.js');
    const path = await writeServiceWorker(dir);
    if (values.json) return printJson({ files: [path] });
    report(`${shown(path)}: a page registers it by\n`
      + `<script>navigator.serviceWorker.register('hansel-sw.js')</script>`);
  },

  async serve({ values, files: [dir = '.'], signal, report }) {
    const port = whole(values.port, 'port', 0, 65535) ?? 8080;
    const { serve } = await import('./serve.js');
    const server = await serve(dir, {
      port, host: values.host ?? '127.0.0.1', allowedHosts: values['allow-host'],
      mounts: { '/hansel/': fileURLToPath(new URL('../..', import.meta.url)) },
    });
    report(`serving ${visible(dir)} at ${server.url} (Ctrl-C stops)`);
    // The npm package has no demo page.
    if (existsSync(new URL('../demo/index.html', import.meta.url))) {
      report(`demo page: ${server.url}hansel/web/demo/`);
    }
    await new Promise((resolve) => { signal.addEventListener('abort', resolve); });
    await server.close();
  },
};

/**
 * One file after the other; of several, one that is bad does not keep the others from their turn.
 * @param {string[]} files @param {Record<string, any>} values @param {object} failed what --json
 *   says of a bad file, besides its error
 * @param {(file: string) => Promise<void>} body
 * @returns {Promise<number>} the exit status
 */
async function eachFile(files, values, failed, body) {
  let status = 0;
  for (const file of files) {
    try {
      await body(file);
    } catch (error) {
      const isOwn = error instanceof HanselError && error.code !== 'HANSEL_ERR_ABORTED'
        && error.where !== 'standard output';
      if (!isOwn) throw error;
      status = 1;
      const name = shown(file);
      if (!visible(error.message).includes(name)) error.message = `${name}: ${error.message}`;
      complain(error);
      if (values.json) await printJson({ file, ...failed, ...errorJson(error) });
    }
  }
  return status;
}

/**
 * @param {string} command @param {Record<string, any>} values @param {string[]} files
 * @param {AbortSignal} signal
 * @returns {Promise<number>} the exit status
 * @throws {HanselError}
 */
export async function run(command, values, files, signal) {
  const quiet = Boolean(values.quiet || values.json);
  const { update, end } = progressBar(quiet);
  /** @type {Awaited<ReturnType<typeof spoolStdin>> | undefined} */
  let stdin;
  try {
    return await COMMANDS[command]({
      values, files, signal, onProgress: update, end,
      pathOf: async (file) => (file === '-' ? (stdin ??= await spoolStdin(signal)).path : file),
      report: (text) => { if (!quiet) say(text); },
    }) ?? 0;
  } catch (error) {
    end();
    throw error;
  } finally {
    await stdin?.remove();
  }
}
