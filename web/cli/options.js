/** The command line's arguments, checked. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { HanselError } from '../core/errors.js';
import { nearestOf } from '../core/unknown_option.js';

/** @param {string} message @param {unknown} [got] */
export const usage = (message, got) => new HanselError('HANSEL_ERR_USAGE',
  `${message}; see hansel --help`, { got });

/** Options by command: string, boolean, or strings.
 * @type {Record<string, Record<string, 's' | 'b' | 'm'>>} */
const OPTIONS = {
  encode: {
    output: 's', step: 's', bits: 's', each: 'b', error: 's', tensor: 'm', lossless: 'b', saturate: 'b', bytes: 'b', include: 's',
    exclude: 's', hessians: 's', plan: 's', 'stream-length': 's', precision: 's', threads: 's', force: 'b', quiet: 'b',
    json: 'b',
  },
  plan: {
    output: 's', bits: 's', each: 'b', tensor: 'm', include: 's', exclude: 's', 'stream-length': 's', precision: 's',
    hessians: 's', threads: 's', force: 'b', quiet: 'b', json: 'b',
  },
  calibrate: {
    output: 's', config: 's', text: 's', tokens: 's', samples: 's', seed: 's', force: 'b', quiet: 'b', json: 'b',
  },
  decode: {
    output: 's', dtype: 's', 'max-size': 's', threads: 's', force: 'b', quiet: 'b', json: 'b',
  },
  info: { quiet: 'b', json: 'b' },
  verify: { against: 's', threads: 's', quiet: 'b', json: 'b' },
  sample: { rows: 's', force: 'b', quiet: 'b', json: 'b' },
  serve: { port: 's', host: 's', 'allow-host': 'm', quiet: 'b' },
  assets: { quiet: 'b', json: 'b' },
  'service-worker': { quiet: 'b', json: 'b' },
};
/** How many files a command takes. @type {Record<string, [number, number, string]>} */
const FILES = {
  plan: [1, Infinity, 'files'], info: [1, Infinity, 'files'], verify: [1, Infinity, 'files'], serve: [0, 1, 'one folder at most'],
  assets: [1, 1, 'one folder'], 'service-worker': [1, 1, 'one folder'],
};

/**
 * @param {string} command @param {string[]} args
 * @returns {{values: Record<string, any>, files: string[]}}
 * @throws {HanselError} HANSEL_ERR_USAGE
 */
export function parse(command, args) {
  if (!Object.hasOwn(OPTIONS, command ?? '')) throw usage('no such command', command ?? 'none');
  const options = Object.fromEntries(Object.entries(OPTIONS[command]).map(([name, kind]) => [name, {
    type: /** @type {'string' | 'boolean'} */ (kind === 'b' ? 'boolean' : 'string'),
    multiple: kind === 'm',
    ...(name === 'output' ? { short: 'o' } : {}),
  }]));
  let parsed;
  try {
    parsed = parseArgs({ args, options, allowPositionals: true });
  } catch (cause) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (cause);
    const [line] = message.split('\n');
    const [, name = ''] = /'-*([^' ]+)/.exec(line) ?? [];
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
      const near = nearestOf(name, Object.keys(options));
      throw usage(`${command} has no such option${near ? `; --${near}, perhaps?` : ''}`, `--${name}`);
    }
    throw usage(line.includes('ambiguous') ? `--${name} needs a value; one that begins with - is written`
      + ` --${name}=-...` : line.replace(/\.$/, ''));
  }
  const { values, positionals: files } = parsed;
  const [least, most, what] = FILES[command] ?? [1, 1, 'one file'];
  const { length } = files;
  if (length < least || length > most) throw usage(`${command} takes ${what}`, length);
  const to = command === 'sample' ? files[0] : values.output;
  if (to === '') throw usage('OUT has no name');
  return { values, files };
}

/** A positive number, or a fraction such as 1/52. @param {any} text @param {string} name */
export function number(text, name) {
  if (text === undefined) return undefined;
  const [, top, bottom = '1'] = /^([\d.eE+-]+)(?:\/([\d.eE+-]+))?$/.exec(text) ?? [];
  const value = Number(top) / Number(bottom);
  if (top === undefined || !(value >= 2 ** -126 && value <= 3.4e38)) {
    throw usage(`--${name} must be a positive number`, text);
  }
  return value;
}

/** @param {any} text @param {string} name @param {number} low @param {number} high */
export function whole(text, name, low, high) {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text) || Number(text) < low || Number(text) > high) {
    throw usage(`--${name} must be a whole number from ${low} to ${high}`, text);
  }
  return Number(text);
}

/** Bytes, in powers of 1024 where a letter says so. @param {any} text @param {string} name */
export function size(text, name) {
  if (text === undefined) return undefined;
  const [, count, unit] = /^(\d+)([KMGT]?)$/i.exec(text) ?? [];
  const bytes = Number(count) * 1024 ** ' KMGT'.indexOf(unit?.toUpperCase() || ' ');
  if (!Number.isSafeInteger(bytes)) {
    throw usage(`--${name} must be a number of bytes, or one with K, M, G or T`, text);
  }
  return bytes;
}

/** @param {{threads?: any}} values */
export const threadsOf = ({ threads }) => (
  whole(threads, 'threads', 1, 256) ?? availableParallelism());

/** @param {any} text @param {string} name */
export function pattern(text, name) {
  try {
    return text === undefined ? undefined : new RegExp(text);
  } catch {
    throw usage(`--${name} is not a regular expression`, text);
  }
}

/**
 * Aims of tensors of their own: NAME=4 (bits), NAME=step:1/52, NAME=error:0.1, NAME=lossless, NAME=keep.
 * @param {string[]} [texts]
 * @returns {[string, import('../encode/encode.js').OwnAim][] | undefined}
 */
export function tensorAims(texts) {
  return texts?.map((text) => {
    const [, name = '', kind, value = ''] = /^(.+)=(?:(step|error|bits):)?([^=]*)$/.exec(text) ?? [];
    pattern(name, 'tensor');
    const is = value === 'lossless' || value === 'keep' ? value : undefined;
    if (!name || (is && kind) || !(is || /^[\d.]/.test(value))) {
      throw usage('--tensor must be NAME=BITS, NAME=step:D, NAME=error:E, NAME=lossless or NAME=keep', text);
    }
    return [name, is ? { [is]: true } : { [kind ?? 'bits']: number(value, 'tensor') }];
  });
}
