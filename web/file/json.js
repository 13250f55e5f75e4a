/** Strict JSON for untrusted headers: what JSON.parse hides (duplicate keys) is refused. */
import { HanselError } from '../core/errors.js';

/** @typedef {null | boolean | number | string | JsonValue[] | Map<string, JsonValue>} JsonValue */

/** @type {[string, null | boolean][]} */
const WORDS = [['true', true], ['false', false], ['null', null]];

/**
 * Parses JSON that JSON.parse would accept, and is stricter: no duplicate keys (compared after
 * un-escaping), no unpaired surrogates, a depth limit, nothing but spaces after the value.
 * Objects become Maps in file order, so no name is special.
 * @param {string} text
 * @param {{ code: string, maxDepth: number, header?: boolean }} rules code of the errors; header
 *   allows only numbers written as plain integers up to 2^53 - 1 and reports the outermost key as
 *   the error's `where`
 * @returns {JsonValue}
 * @throws {HanselError} the given code
 */
export function parseJson(text, { code, maxDepth, header = false }) {
  let at = 0;
  /** @type {string | undefined} */
  let where;

  const fail = (/** @type {string} */ message, got = quote(text.slice(at, at + 24))) =>
    new HanselError(code, `${message} at character ${at}`, { got, where });

  const ink = /[^ \t\n\r]|$/g;
  /** The next character but spaces, of which a hundred million are one step. */
  const peek = () => {
    ink.lastIndex = at;
    return text[at = /** @type {RegExpExecArray} */ (ink.exec(text)).index];
  };

  const expect = (/** @type {string} */ char) => {
    if (peek() !== char) throw fail(`bad JSON: no ${char}`);
    at++;
  };

  /** Items between brackets, and commas between them. */
  const list = (/** @type {string} */ close, /** @type {() => void} */ item) => {
    at++;
    if (peek() !== close) {
      for (item(); peek() !== close; item()) expect(',');
    }
    at++;
  };

  const string = () => {
    expect('"');
    const start = at;
    let escaped = false;
    for (; text[at] !== '"'; at++) {
      if (!(text.charCodeAt(at) >= 0x20)) throw fail('bad JSON: string not closed');
      if (text[at] === '\\') {
        escaped = true;
        at++;
      }
    }
    const raw = text.slice(start, at++);
    if (!escaped) return raw;
    let value;
    try {
      value = /** @type {string} */ (JSON.parse(`"${raw}"`));
    } catch {
      throw fail('bad JSON: bad escape', quote(raw));
    }
    if (hasLoneSurrogate(value)) throw fail('unpaired surrogate', quote(raw));
    return value;
  };

  const number = () => {
    const start = at;
    while (at < text.length && '+-.0123456789eE'.includes(text[at])) at++;
    const raw = text.slice(start, at);
    const value = Number(raw);
    if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(raw)) {
      at = start;
      throw fail('bad JSON: no value');
    }
    if (header && !(/^\d+$/.test(raw) && Number.isSafeInteger(value))) {
      throw fail('number is not a plain integer of at most 2^53 - 1', raw.slice(0, 40));
    }
    if (!Number.isFinite(value)) throw fail('number out of range', raw.slice(0, 40));
    return value;
  };

  const object = (/** @type {number} */ depth) => {
    /** @type {Map<string, JsonValue>} */
    const map = new Map();
    list('}', () => {
      const key = string();
      if (header && depth === 1) where = key;
      if (map.has(key)) throw fail('duplicate key', quote(key));
      expect(':');
      map.set(key, value(depth));
    });
    return map;
  };

  const array = (/** @type {number} */ depth) => {
    /** @type {JsonValue[]} */
    const items = [];
    list(']', () => items.push(value(depth)));
    return items;
  };

  /** @type {(depth: number) => JsonValue} */
  const value = (depth) => {
    const char = peek();
    if (char === '"') return string();
    if (char === '{' || char === '[') {
      if (depth === maxDepth) throw fail(`nested deeper than ${maxDepth}`);
      return char === '{' ? object(depth + 1) : array(depth + 1);
    }
    for (const [word, meaning] of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    return number();
  };

  const result = value(0);
  where = undefined;
  while (text[at] === ' ') at++;
  if (at < text.length) throw fail('only spaces may follow the JSON');
  return result;
}

/**
 * Whether a string has a UTF-16 surrogate without its partner, which UTF-8 cannot hold.
 * @param {string} text
 */
export const hasLoneSurrogate = (text) => /\p{Surrogate}/u.test(text);

/**
 * A short JSON-like rendering of an untrusted value, for error messages.
 * @param {unknown} value
 * @returns {string} at most 80 characters
 */
export function quote(value) {
  const text = value instanceof Map ? 'an object' : JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
