/** hansel encode: a file, a model in several files, or the shards of an index, into coded ones. Node only. */
import { basename, dirname, join } from 'node:path';
import { HanselError } from '../core/errors.js';
import { encodeTo, inputsOf, openTools } from '../encode/encode.js';
import { measureAll, planRates } from '../encode/plan.js';
import { readIndex } from '../file/shards.js';
import { openSource } from '../file/source.js';
import { open } from '../model/model.js';
import { codedName } from '../restore/coded_name.js';
import { codedFile } from './coded_file.js';
import { OutputFile, allOrNone, checkDistinct, checkFree, makeFolder } from './node_file.js';
import { usage } from './options.js';
import { openPlain } from './plain_files.js';

/** @typedef {import('../model/model.js').Model} Model */
/** @typedef {import('../encode/encode.js').Report} Report */
/** @typedef {import('../encode/rate.js').Rate} Rate */
/** @typedef {import('../encode/encode.js').EncodeOptions} EncodeOptions */
/** @typedef {import('./commands.js').Common} Common */
/** @typedef {import('./plain_files.js').PlainFile} PlainFile */
/** @typedef {{reports: Map<string, Report>, rawBytes: number, bytes: number, files: string[]}} Encoded files: what was
 *   written, the first one first */

/** Whether a path or URL is a sharded checkpoint's index. @param {string} from */
export const isIndex = (from) => (/^https?:/i.test(from) ? new URL(from).pathname : from)
  .endsWith('.safetensors.index.json');

/**
 * Codes one file into another.
 * @param {PlainFile} plain @param {string} to
 * @param {EncodeOptions & Common} options
 * @param {Map<string, Rate | null>} [rates] that were planned, together with other files'
 * @returns {Promise<{output: OutputFile, reports: Map<string, Report>, bytes: number}>} output is written, but not
 *   committed
 */
async function encodeFile({ inputs, header: plain, metadata }, to, { force, ...coding }, rates) {
  const output = await OutputFile.create(to, force, true);
  try {
    const file = codedFile(/** @type {import('node:fs/promises').FileHandle} */ (output.handle), to, coding.signal);
    const { header, reports, bytes } = await encodeTo(inputs, { ...coding, metadata }, file, plain, rates);
    await file.finish(header);
    return { output, reports, bytes };
  } catch (error) {
    await output.discard();
    throw error;
  }
}

/**
 * Codes the files of a model, and lets all of them appear, or none.
 * @param {AsyncIterable<{plain: PlainFile, to: string}>} jobs
 * @param {EncodeOptions & Common} options @param {Map<string, Rate | null>} [rates]
 * @param {(done: Encoded) => Promise<OutputFile[]>} [finish] writes more
 * @returns {Promise<Encoded>}
 */
function encodeAll(jobs, options, rates, finish) {
  return allOrNone(async (outputs, folders) => {
    /** @type {Encoded} */
    const total = { reports: new Map(), rawBytes: 0, bytes: 0, files: [] };
    for await (const { plain, to } of jobs) {
      if (plain.name) folders.push(await makeFolder(to));
      const { output, reports, bytes } = await encodeFile(plain, to, options, rates);
      outputs.push(output);
      for (const [name, report] of reports) total.reports.set(name, report);
      total.rawBytes += plain.rawBytes;
      total.bytes += bytes;
      total.files.push(to);
    }
    outputs.push(...await finish?.(total) ?? []);
    return total;
  }, options.signal);
}

/**
 * What an index says, and where its shards are: as open() finds them, and it alone.
 * @param {string} from @param {AbortSignal} [signal]
 * @returns {Promise<{files: Map<string, string>, weightMap: Map<string, string>,
 *   metadata: object}>} files: a shard's path or URL by its name in the index, sorted
 */
async function readShards(from, signal) {
  const source = await openSource(from, { signal });
  try {
    const { shards, weightMap } = await readIndex(source, signal);
    const { metadata } = JSON.parse(new TextDecoder().decode(
      await source.read(0, source.size, { signal })));
    /** @type {Map<string, string>} */
    const files = new Map();
    for (const shard of shards.sort()) {
      const beside = await source.resolve(shard, { signal });
      files.set(shard, beside.name);
      await beside.close();
    }
    return { files, weightMap, metadata };
  } finally {
    await source.close();
  }
}

/**
 * hansel encode: a file and those that belong to it, or all shards of an index.
 * @param {string} from @param {string} to
 * @param {EncodeOptions & Common} options
 * @param {Map<string, Rate | null>} [rates] by a plan
 * @param {boolean} [isBytes] it is coded as bytes, whatever it is
 * @returns {Promise<Encoded>}
 */
export async function encodeCommand(from, to, options, rates, isBytes) {
  const { signal } = options;
  if (isIndex(from) && !isBytes) {
    await checkFree(to, options.force);
    const shards = await readShards(from, signal);
    const model = await open(from, { signal }); // the shards match
    const planned = rates ?? planRates(await measureModel(model, options, true), options);
    return encodeShards(shards, to, options, planned);
  }
  const { files, close } = await openPlain(from, { isBytes, signal });
  try {
    const isSeveral = files.length > 1;
    const paths = files.map(({ name }) => (name ? join(dirname(to), codedName(name)) : to));
    if (isSeveral && to === '-') {
      throw usage('the model has other files beside it: -o OUT must be a file', files[1].name);
    }
    checkDistinct(paths);
    for (const path of paths) await checkFree(path, options.force);
    const inputs = files.flatMap((file) => file.inputs);
    const planned = rates ?? (isSeveral ? planRates(await measureInputs(inputs, options, true), options) : undefined);
    return await encodeAll((async function* () {
      for (const [i, plain] of files.entries()) yield { plain, to: paths[i] };
    })(), options, planned);
  } finally {
    await close();
  }
}

/**
 * What the tensors of a model cost.
 * @param {Model} model which is closed @param {EncodeOptions} options
 * @param {boolean} [isWhole] some of its tensors must have Hessians, if there are any
 * @returns {Promise<import('../encode/rate.js').Measured[]>}
 */
export async function measureModel(model, options, isWhole) {
  try {
    return await measureInputs(inputsOf(model), options, isWhole);
  } finally {
    await model.close();
  }
}

/** As measureModel(). @param {import('../encode/encode.js').Input[]} inputs @param {EncodeOptions} options
 * @param {boolean} [isWhole] */
async function measureInputs(inputs, options, isWhole) {
  const tools = await openTools(options);
  if (isWhole) tools.hessians.checkFor(inputs.map(({ name }) => name));
  return measureAll(inputs, options, tools);
}

/**
 * Codes shards and their index.
 * @param {Awaited<ReturnType<typeof readShards>>} shards @param {string} to
 * @param {EncodeOptions & Common} options
 * @param {Map<string, Rate | null>} rates
 * @returns {Promise<Encoded>}
 */
async function encodeShards({ files, weightMap, metadata }, to, options, rates) {
  const stem = basename(to).replace(/\.safetensors\.index\.json$|\.json$/, '');
  const number = (/** @type {number} */ n) => String(n).padStart(5, '0');
  const names = new Map([...files.keys()].map((shard, i) => (
    [shard, `${stem}-${number(i + 1)}-of-${number(files.size)}.safetensors`])));
  const result = await encodeAll((async function* () {
    for (const [shard, file] of files) {
      const { files: [plain], close } = await openPlain(file, options);
      try {
        for (const { name } of plain.inputs) {
          if (weightMap.get(name) === shard) continue;
          throw new HanselError('HANSEL_ERR_INDEX', 'the index contradicts the shards', {
            expected: weightMap.get(name) ?? 'not indexed', got: shard, where: name,
          });
        }
        yield { plain, to: join(dirname(to), `${names.get(shard)}`) };
      } finally {
        await close();
      }
    }
  })(), options, rates, async ({ reports }) => {
    const output = await OutputFile.create(to, options.force);
    const map = [...weightMap].map(([tensor, shard]) => [tensor, names.get(shard)]);
    const about = { ...metadata, total_size: [...reports.values()].reduce((sum, { bytes }) => sum + bytes, 0) };
    await output.append(new TextEncoder().encode(
      `${JSON.stringify({ metadata: about, weight_map: Object.fromEntries(map) }, null, 2)}\n`));
    return [output];
  });
  return { ...result, files: [...result.files, to] };
}
