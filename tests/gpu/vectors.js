/** The vectors of tests/vectors, as files that a model can open; in a page or in Node. */
import { Encoder } from '../../web/core/encoder.js';
import { GRID, LOSSLESS } from '../../web/file/records.js';
import { byteSize } from '../../web/file/safetensors.js';
import { writeDirectory } from '../../web/file/write_directory.js';
import { buildHeader } from '../../web/file/write_header.js';
import { checkFile, forAll } from './cases.js';
import { readFile } from './files.js';

/**
 * What precedes a blob that is the only tensor, w, of a Hansel file.
 * @param {import('../../web/core/codec.js').Codec} codec @param {number} blobBytes
 * @param {{dtype: string, shape: number[], mode: string, step?: number}} described what the file
 *   shall say
 */
export function wrapping(codec, blobBytes, { dtype, shape, mode, step = 0 }) {
  const matrix = { blobs: [blobBytes], entropy: 0 };
  const header = buildHeader([['w', { dtype, shape, bytes: byteSize(dtype, shape, 'w') }]]);
  return writeDirectory(header, new Map([['w', mode === 'grid' ? { kind: GRID, step, matrix }
    : { kind: LOSSLESS, matrix }]]), (part) => codec.crc32c(part)).start;
}

/**
 * A blob as the only tensor, w, of a Hansel file.
 * @param {Encoder} codec @param {Uint8Array} bytes @param {Parameters<typeof wrapping>[2]} described
 */
export function wrapBlob(codec, bytes, described) {
  const start = wrapping(codec, bytes.length, described);
  const file = new Uint8Array(start.length + bytes.length);
  file.set(start);
  file.set(bytes, start.length);
  return file;
}

/** @param {string} name @returns {Promise<{ok: any[], bad: any[]}>} */
const readList = async (name) => JSON.parse(
  new TextDecoder().decode(await readFile(`tests/vectors/${name}`)));

/**
 * tests/vectors: those of versions 1 to 3, which are only read, and those that are written today.
 * @returns {Promise<{ok: any[], bad: any[]}>} isOld: of the former
 */
export async function readVectors() {
  const [old, now] = [await readList('vectors.json'), await readList('version_4/vectors.json')];
  return {
    ok: [...old.ok.map((vector) => ({ ...vector, name: `old ${vector.name}`, isOld: true })), ...now.ok],
    bad: [...old.bad.map((vector) => ({ ...vector, name: `old ${vector.name}` })), ...now.bad],
  };
}

/** All good vectors. @returns {Promise<{name: string, file: () => Promise<Uint8Array>}[]>} */
export async function vectorFiles() {
  const codec = await Encoder.create();
  return (await readVectors()).ok.map((vector) => ({
    name: vector.name,
    file: async () => wrapBlob(codec, await readFile(`tests/vectors/${vector.file}`),
      { ...vector, step: Math.fround(vector.grid_step) }),
  }));
}

/** Runs all good vectors through a GPU back end. @param {any} gpu */
export async function checkVectors(gpu) {
  const vectors = await vectorFiles();
  /** @type {string[]} */
  const problems = [];
  await forAll(vectors, async ({ name, file }) => {
    const found = await checkFile(gpu, await file()).catch((error) => [String(error.stack)]);
    problems.push(...found.map((problem) => `${name}: ${problem}`));
  });
  return { count: vectors.length, problems };
}
