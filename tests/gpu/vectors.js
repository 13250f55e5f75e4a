/** The vectors of tests/vectors, as files that a model can open; in a page or in Node. */
import { Encoder } from '../../web/core/encoder.js';
import { buildHeader, formatManifest, stampHeader } from '../../web/file/write_header.js';
import { checkFile, forAll } from './cases.js';
import { readFile } from './files.js';

/**
 * A blob as the only tensor, w, of a Hansel file.
 * @param {Encoder} codec @param {Uint8Array} bytes @param {{dtype: string, shape: number[],
 *   mode: string, step: number}} described what the manifest shall say
 */
export function wrapBlob(codec, bytes, { dtype, shape, mode, step }) {
  const manifest = formatManifest([{ crc32c: codec.crc32c(bytes), mode, dtype, shape, step }]);
  const header = buildHeader([['w', { dtype: 'U8', shape: [bytes.length], bytes: bytes.length }]],
    [['hansel', manifest]]);
  stampHeader(header, (part) => codec.crc32c(part));
  const file = new Uint8Array(header.length + bytes.length);
  file.set(header);
  file.set(bytes, header.length);
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
