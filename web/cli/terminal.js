/** What the command line prints: text in which nothing hides, tables, JSON, progress, errors. */
import { HanselError } from '../core/errors.js';

// A write says by itself what went wrong; of standard error there is nobody to tell.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

/** Control characters, and what changes lines or the direction of text. */
const HIDDEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_C}]/gu;
/** @type {Record<string, string>} */
const SHORT = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** @param {string} character @param {number} digits */
const hex = (character, digits) => character.charCodeAt(0).toString(16).padStart(digits, '0');

/** What people know paths by that they never gave. @type {Map<string, string>} */
const aliases = new Map();
/** @param {string} path of which messages speak by another name @param {string} name */
export const alias = (path, name) => void aliases.set(path, name);

/** @param {string} text */
const renamed = (text) => [...aliases].reduce(
  (so, [path, name]) => so.replaceAll(path, name), text);

/**
 * Untrusted text for a terminal, which must not take orders from names: one line, control
 * characters escaped.
 * @param {unknown} text
 */
export const visible = (text) => renamed(String(text)).replace(HIDDEN, (c) => SHORT[c]
  ?? (c < '\u0100' ? `\\x${hex(c, 2)}` : `\\u${hex(c, 4)}`));

/** What the system says of a file, without its name. @param {any} cause @returns {string} */
export const shortMessage = ({ message }) => message.replace(/, \w+( '.*)?$/s, '');

/**
 * @param {string} path @param {any} cause
 * @returns {HanselError} HANSEL_ERR_SOURCE; a HanselError is left as it is
 */
export function notWritten(path, cause) {
  if (cause instanceof HanselError) return cause;
  const what = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(cause.code) ? 'no room to write it'
    : 'cannot be written';
  return new HanselError('HANSEL_ERR_SOURCE', what, {
    where: path === '-' ? 'standard output' : path, cause,
    got: shortMessage(cause), // without the temporary file's name
  });
}

/** @param {Uint8Array | string} data @throws {HanselError} HANSEL_ERR_SOURCE */
export async function writeOut(data) {
  await new Promise((resolve, reject) => {
    process.stdout.write(data, (cause) => (
      cause ? reject(notWritten('-', cause)) : resolve(undefined)));
  });
}

/** A line to standard output. @param {string} text trusted */
export const print = (text) => writeOut(`${text}\n`);

/** A line of JSON to standard output, itself fit for a terminal. @param {unknown} value */
export const printJson = (value) => print(
  JSON.stringify(value, (_, x) => (typeof x === 'bigint' ? Number(x)
    : typeof x === 'string' ? renamed(x) : x))
    .replace(HIDDEN, (c) => `\\u${hex(c, 4)}`));

/** A line to standard error. @param {string} text trusted */
export const say = (text) => void process.stderr.write(`${text}\n`);

/** Says what went wrong, in a line. @param {HanselError} error */
export const complain = ({ code, message }) => say(`hansel: ${code}: ${visible(message)}`);

/** An error for --json. @param {HanselError} error */
export const errorJson = ({ code, message, expected, got, where }) => (
  { error: { code, message, expected, got, where } });

/** @param {unknown[][]} rows the first is the heading */
export function table(rows) {
  const cells = rows.map((row) => row.map(visible));
  const widths = rows[0].map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  const isText = rows[0].map((_, i) => rows.slice(1).some((row) => typeof row[i] === 'string'));
  return cells.map((row) => row.map((cell, i) => (isText[i]
    ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd())
    .join('\n');
}

/** @typedef {{done: number, total: number, tensor: string, phase?: string}} Progress */

/** A progress bar on a terminal, nothing elsewhere. @param {boolean} quiet */
export function progressBar(quiet) {
  if (quiet || !process.stderr.isTTY) return { update: undefined, end: () => {} };
  let last = 0;
  return {
    update(/** @type {Progress} */ { done, total, tensor, phase }) {
      const now = Date.now();
      if (now - last < 100) return;
      last = now;
      process.stderr.write(`\r\x1b[K${progressLine(total ? done / total : 1, tensor, phase)
        .slice(0, (process.stderr.columns ?? 80) - 1)}`);
    },
    end: () => void process.stderr.write('\r\x1b[K'),
  };
}

/** @param {number} share @param {string} tensor @param {string} [phase] */
export function progressLine(share, tensor, phase) {
  const bar = '='.repeat(Math.floor(share * 24)).padEnd(24);
  const percent = (share * 100).toFixed(0).padStart(3);
  return `[${bar}] ${percent} % ${phase === 'fit' ? 'fitting ' : ''}${visible(tensor)}`;
}
