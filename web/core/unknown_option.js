/** What to say of an option that is none. */
import { HanselError } from './errors.js';

const READ = 'signal onProgress';
/** The options of each call. @type {Record<string, string>} */
export const OPTIONS = {
  open: `${READ} threads simd resumable`,
  decode: `dtype shared wasm into ${READ}`,
  slices: `dtype ${READ}`,
  symbols: READ,
  rows: 'dtype signal',
  matvec: 'bias signal',
  head: 'signal',
  verify: READ,
  encode: `step bits each error lossless saturate tensors include exclude streamLength precision
    weightsPerSymbol always threads hessians metadata ${READ}`,
  estimate: `include exclude sample ${READ}`,
  gpu: 'prefer measure',
  webgpu: 'device gpu limits',
  webgl: 'gl canvas limits',
  load: `as recode layout ${READ}`,
  openFile: 'signal threads resumable',
  bytes: `start end into shared ${READ}`,
  blob: `start end type ${READ}`,
  stream: `start end ${READ}`,
  'w.decode': 'dtype',
  'w.decodeRows': 'dtype',
  'w.matvec': 'bias',
  'w.matmul': 'bias',
  'w.verify': 'signal',
};

/** Letters to add, leave out or change, to come from one word to the other.
 * @param {string} a @param {string} b */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      next.push(Math.min(row[j] + (letter === other ? 0 : 1), row[j + 1] + 1, next[j] + 1));
    }
    row = next;
  }
  return row[b.length];
}

/**
 * @param {string} name @param {string[]} known
 * @returns {string | undefined} the one that is meant, perhaps
 */
export function nearestOf(name, known) {
  const [nearest] = known.map((one) => ({ one, far: distance(name.toLowerCase(), one.toLowerCase()) }))
    .sort((a, b) => a.far - b.far);
  return nearest.far <= Math.max(1, name.length / 3) ? nearest.one : undefined;
}

/**
 * @param {string} name @param {string} call of OPTIONS
 * @returns {HanselError} HANSEL_ERR_ARGUMENT; names the nearest option, if one is near
 */
export function unknownOption(name, call) {
  const known = OPTIONS[call].split(/\s+/);
  const near = nearestOf(name, known);
  return new HanselError('HANSEL_ERR_ARGUMENT',
    `${call}() has no option of that name${near ? `; ${near}, perhaps?` : ''}`, {
      expected: known.join(', '), got: JSON.stringify(name.slice(0, 80)),
    });
}
