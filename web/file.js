/**
 * hansel/file: coded files as those that were coded, for runtimes that know nothing of Hansel. Browsers and Node.
 * docs/RUNTIMES.md has a recipe for each.
 */
export { openFile } from './restore/open_file.js';
/** @typedef {import('./restore/restored_file.js').RestoredFile} RestoredFile */
/** @typedef {import('./restore/open_file.js').FileOptions} FileOptions */
/** @typedef {import('./restore/coded_fetch.js').FetchOptions} FetchOptions */
export { hanselCache, hanselFetch } from './restore/coded_fetch.js';
export { HanselError } from './core/errors.js';
