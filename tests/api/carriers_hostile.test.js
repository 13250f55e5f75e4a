/** ONNX and GGUF files that are broken, or mean harm; coded ones that are damaged; servers and caches that are bad. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findInGguf } from '../../web/cli/gguf.js';
import { findInOnnx } from '../../web/cli/onnx.js';
import { openPlain } from '../../web/cli/plain_files.js';
import { CODES, HanselError, STATUS } from '../../web/core/errors.js';
import { carrierInputs } from '../../web/encode/carrier_inputs.js';
import { encodeTo, memorySpool } from '../../web/encode/encode.js';
import { layoutOf } from '../../web/file/carrier.js';
import { parseHeader } from '../../web/file/safetensors.js';
import { openSource } from '../../web/file/source.js';
import { buildHeader } from '../../web/file/write_header.js';
import { hanselCache, hanselFetch, openFile } from '../../web/file.js';
import { bad, cleanUp, folder, gaussian, good, plain, serving, start, until } from './command.js';
import {
  field, gguf, message, node, numbers, onnx, onnxOf, tensor, varint, weights,
} from './foreign_files.js';
import { same } from './tensors.js';

const ALL_CODES = new Set([...STATUS, ...Object.keys(CODES)]);
const VERSION_2 = new URL('../fixtures/version_2.hansel.safetensors', import.meta.url).pathname;
const { u32, u64, text } = numbers();
const HUGE = [2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

/** @param {unknown} error that a caller may see @param {string} what caused it */
function assertNamed(error, what) {
  if (!(error instanceof HanselError) || !ALL_CODES.has(error.code)) assert.fail(`${what}: ${error?.stack ?? error}`);
}

/** @param {Promise<unknown>} promise @param {string | RegExp} code @param {string} [what]
 * @returns {Promise<HanselError>} */
async function refused(promise, code, what = '') {
  const error = await promise.then(() => assert.fail(`${what}: not refused`), (e) => e);
  assertNamed(error, what);
  assert.match(error.code, typeof code === 'string' ? new RegExp(`^${code}$`) : code, `${what}: ${error.message}`);
  return error;
}

/** What is in a file, as input for the encoder. @param {'onnx' | 'gguf'} format @param {Uint8Array} bytes */
async function inputsIn(format, bytes) {
  const source = await openSource(bytes);
  const [found] = [await (format === 'onnx' ? findInOnnx : findInGguf)(source)].flat();
  return carrierInputs(found, new Set());
}

/** @param {Iterable<any>} inputs @param {Uint8Array} header @param {object} [options] @returns {Promise<Uint8Array>} */
async function coded(inputs, header, options = {}) {
  const spool = memorySpool();
  const { header: beginning } = await encodeTo(inputs, options, spool, header);
  return new Uint8Array(Buffer.concat([beginning, ...spool.chunks]));
}

/** @param {'onnx' | 'gguf'} format @param {Uint8Array} bytes */
async function codedFrom(format, bytes) {
  const { inputs, header } = await inputsIn(format, bytes);
  return coded(inputs, header);
}

/** That ranges are in the file, disjoint, and all of it. @param {Awaited<ReturnType<typeof inputsIn>>} found
 * @param {Uint8Array} bytes */
async function assertFills({ inputs, header }, bytes) {
  const { ranges, size } = layoutOf(parseHeader(header));
  assert.equal(size, bytes.length);
  const byName = new Map(inputs.map((input) => [input.name, input]));
  assert.equal(byName.size, inputs.length, 'names differ');
  let at = 0;
  for (const { name, start, end, from } of ranges) {
    assert.equal(start, at);
    assert.ok(same(await byName.get(name).read(from, from + end - start), bytes.subarray(start, end)), name);
    at = end;
  }
  assert.equal(at, size);
}

/** @param {Uint8Array} file coded @param {Uint8Array} bytes what was */
async function assertGives(file, bytes) {
  const opened = await openFile(file);
  assert.ok(same(await opened.bytes(), bytes));
  await opened.close();
}

/** Gives all, byte for byte, or a HanselError. @param {'onnx' | 'gguf'} format @param {Uint8Array} bytes
 * @param {string} what @returns {Promise<string>} the error's code */
async function refusedOrFilled(format, bytes, what) {
  const found = await inputsIn(format, bytes).catch((e) => e);
  if (!(found instanceof Error)) {
    await assertFills(found, bytes);
    return '';
  }
  assertNamed(found, what);
  return found.code;
}

/** A model with all that a model can have: weights, floats, external data left out, graphs in a node. */
const ONNX = onnx(
  field(1, node('MatMul', ['x', 'w'], ['y'])),
  field(1, node('Constant', [], ['c'], message(field(1, 'value'), field(5, tensor({
    dims: [300], type: 2, raw: weights(300, 3) })), field(20, 4)))),
  field(1, node('If', ['x'], ['z'], message(field(1, 'then_branch'), field(6, message(
    field(1, node('Gemm', ['y', 'w'], ['q'])),
    field(5, tensor({ name: 'w', dims: [16, 16], type: 10, raw: weights(512, 4) }))))))),
  field(5, tensor({ name: 'w', dims: [16, 16], type: 1, raw: weights(1024, 1) })),
  field(5, tensor({ name: 'b', dims: [4], type: 1, raw: weights(16, 2) })),
  field(5, message(field(1, varint(6)), field(1, varint(50)), field(2, 1), field(4, weights(1200, 5)), field(8, 'packed'))),
  field(15, message(field(1, tensor({ name: 's', dims: [64], type: 1, raw: weights(256, 6) })),
    field(2, tensor({ dims: [64], type: 7, raw: weights(512, 7) })), field(3, 1000))));

const METADATA = /** @type {[string, number, Uint8Array][]} */ ([
  ['general.architecture', 8, text('llama')], ['general.alignment', 4, u32(32)],
  ['tokens', 9, Buffer.concat([u32(8), u64(3), text('a'), text(''), text('bc')])], ['flag', 7, Buffer.of(1)]]);
const TENSORS = [
  { name: 'w', shape: [32, 8], type: 0, data: weights(1024, 1) },
  { name: 'q', shape: [64, 8], type: 8, data: weights(544, 2) },
  { name: 'b', shape: [3], type: 0, data: weights(12, 3) },
  { name: 'h', shape: [30, 5], type: 1, data: weights(300, 4) }];
const GGUF = gguf({ metadata: METADATA, tensors: TENSORS });
const HEADER = GGUF.length - (1024 + 544 + 32 + 320);

after(cleanUp);

describe('ONNX files that are wrong', function () {
  this.timeout(20000);
  const one = (/** @type {any} */ more) => onnxOf({ name: 'w', dims: [64], type: 1, raw: weights(256, 1), ...more });
  const find = async (/** @type {Uint8Array} */ bytes) => inputsIn('onnx', bytes);

  it('are found as they are, if they are right', async () => {
    const { inputs } = await find(ONNX);
    assert.deepEqual(inputs.map(({ name, dtype, shape }) => [name, dtype, ...shape]).slice(1), [
      ['c', 'U8', 300], ['w', 'F16', 16, 16], ['w#2', 'F32', 16, 16], ['packed', 'F32', 6, 50], ['s', 'F32', 64],
      ['#2', 'I64', 64]]);
    await assertGives(await codedFrom('onnx', ONNX), ONNX);
  });

  it('cut off anywhere: refused, or a shorter model', async () => {
    const codes = new Set();
    for (let end = 0; end < ONNX.length; end++) {
      codes.add(await refusedOrFilled('onnx', ONNX.subarray(0, end), `${end} bytes`));
    }
    assert.deepEqual([...codes].sort(), ['', 'HANSEL_ERR_ONNX', 'HANSEL_ERR_TRUNCATED']);
    const graph = ONNX.indexOf(0x3a);
    for (const size of [2 ** 13, 2 ** 31]) { // longer than it is
      const longer = Buffer.concat([ONNX.subarray(0, graph + 1), varint(size), ONNX.subarray(graph + 3)]);
      await refused(find(longer), /_TRUNCATED|_ONNX/);
    }
  });

  it('sizes, dimensions and shapes that cannot be', async () => {
    for (const n of [...HUGE.slice(2), -1n, -(2n ** 63n)]) {
      await refused(find(one({ dims: [n] })), 'HANSEL_ERR_ONNX', `dims ${n}`);
      await refused(find(one({ dims: [n, 0] })), 'HANSEL_ERR_ONNX', `dims ${n}, 0`);
    }
    for (const dims of [
      [], [0], [63], [65], [64, 2], [2 ** 32], [2 ** 31, 2 ** 31], [2 ** 31, 2 ** 31, 0], [2 ** 52, 2]]) {
      await refused(find(one({ dims })), 'HANSEL_ERR_ONNX', `dims ${dims}`);
    }
    await refused(find(one({ type: 7 })), 'HANSEL_ERR_ONNX');
    for (const type of [0, 8, 15, 99, 2 ** 31 - 1, -1n, 2n ** 64n - 1n]) { // none that we know: bytes
      const { inputs } = await find(one({ type }));
      assert.deepEqual(inputs.slice(1).map(({ dtype, shape }) => [dtype, ...shape]), [['U8', 256]], `type ${type}`);
    }
    for (const n of HUGE) {
      for (const [number, wire] of [[7, 2], [9, 2], [8, 2], [99, 2]]) {
        const own = Buffer.concat([field(1, 8), varint(8 * number + wire), varint(n), weights(300, 1)]);
        await refused(find(own), /_TRUNCATED|_ONNX/, `${number} of ${n} bytes`);
        await refused(find(onnx(field(5, Buffer.concat([varint(8 * number + wire), varint(n), weights(300, 1)])))),
          /_TRUNCATED|_ONNX/, `${number} of ${n} bytes in a tensor`);
      }
    }
    assert.equal((await find(one({ type: 22, dims: [511] }))).inputs.length, 2); // two to a byte
    await refused(find(one({ type: 22, dims: [513] })), 'HANSEL_ERR_ONNX');
  });

  it('dimensions packed and not, and no end of them', async () => {
    const raw = weights(256, 1);
    const packed = message(field(1, Buffer.concat([4, 16].map(varint))), field(2, 1), field(8, 'w'), field(9, raw));
    assert.deepEqual((await find(onnx(field(5, packed)))).inputs[1].shape, [4, 16]);
    const both = message(field(1, 4), field(1, varint(16)), field(2, 1), field(8, 'w'), field(9, raw));
    assert.deepEqual((await find(onnx(field(5, both)))).inputs[1].shape, [4, 16]);
    const cut = message(field(1, Buffer.of(4, 144)), field(2, 1), field(8, 'w'), field(9, raw));
    await refused(find(onnx(field(5, cut))), /_ONNX|_TRUNCATED/);
    const many = onnxOf({ name: 'w', dims: [64, ...Array(10000).fill(1)], type: 1, raw });
    await assertGives(await codedFrom('onnx', many), many);
  });

  it('tensors that overlap cannot be; names that share a range can', async () => {
    const source = await openSource(new Uint8Array(4096));
    const found = (...ranges) => {
      const tensors = ranges.map(([start, end], i) => ({ name: `${i}`, dtype: 'U8', shape: [end - start], start, end }));
      return carrierInputs({ format: 'onnx', code: 'HANSEL_ERR_ONNX', source, tensors }, new Set());
    };
    assert.equal(found([0, 300], [0, 300], [300, 600], [900, 900], [4096, 4096], [0, 300]).inputs.length, 3);
    for (const tensors of [[[0, 300], [299, 600]], [[0, 300], [0, 299]], [[0, 3], [2, 5]], [[0, 1000], [300, 600]],
      [[0, 300], [0, 300], [100, 400]]]) {
      assert.throws(() => found(...tensors), { code: 'HANSEL_ERR_ONNX' });
    }
    assert.throws(() => found([0, 4097]), { code: 'HANSEL_ERR_TRUNCATED' });
    assert.throws(() => found([5000, 5000]), { code: 'HANSEL_ERR_TRUNCATED' });
  });

  it('names: none, of bytes, of the header, one and the same, as many as there can be', async () => {
    const raw = weights(256, 1);
    const named = (...names) => onnxOf(...names.map((name) => ({ name, dims: [64], type: 1, raw })));
    for (const name of [Buffer.of(0xff), Buffer.of(0xc3), Buffer.from('\xed\xa0\x80', 'latin1')]) {
      await refused(find(named(name)), 'HANSEL_ERR_ONNX', `${name}`);
      await refused(find(onnx(field(1, node(/** @type {any} */ (name), [], [])))), 'HANSEL_ERR_ONNX');
    }
    const odd = named('', '', undefined, '__metadata__', '__metadata__', 'hansel', 'hansel.rest', 'hansel.bytes', 'a\nb\0',
      '__proto__', 'constructor', '\u0001', '"data_offsets":[0,1]', 'w', 'w#2', 'w', 'w', '\ufeffw', 'x'.repeat(70000));
    const { inputs } = await find(odd);
    assert.equal(new Set(inputs.map(({ name }) => name)).size, 20);
    await assertGives(await codedFrom('onnx', odd), odd);
    const began = performance.now();
    assert.equal((await find(named(...Array(20000).fill('')))).inputs.length, 20001);
    assert.ok(performance.now() - began < 5000, 'not the square of it');
  });

  it('graphs in graphs, groups in groups: to a depth', async () => {
    const nested = (/** @type {number} */ depth) => {
      let graph = field(5, tensor({ name: 'deep', dims: [64], type: 1, raw: weights(256, 1) }));
      for (let i = 0; i < depth; i++) graph = field(1, node('If', [], [], message(field(6, graph))));
      return onnx(graph);
    };
    assert.equal((await find(nested(60))).inputs[1].name, 'deep');
    await refused(find(nested(80)), 'HANSEL_ERR_ONNX');
    await refused(find(nested(3000)), 'HANSEL_ERR_ONNX');
    const groups = Buffer.concat([Buffer.alloc(50000, 8 * 30 + 3 & 127 | 3), ONNX]);
    await refused(find(groups), /_ONNX|_TRUNCATED/);
    await refused(find(Buffer.concat([ONNX, Buffer.alloc(100000, 0xf3)])), /_ONNX|_TRUNCATED/);
  });

  it('operators with names that take long to look at', async () => {
    const began = performance.now();
    const name = `${'MatMulConvEmbedMoE'.repeat(100000)}\n`;
    await find(onnx(field(1, node(name, [name], [name])), field(5, tensor({
      name: 'cos_'.repeat(200000), dims: [64], type: 1, raw: weights(256, 1) }))));
    assert.ok(performance.now() - began < 3000);
  });

  it('no model at all', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.of(8), Buffer.of(8, 8), Buffer.alloc(5000), Buffer.alloc(64, 0xff),
      field(1, 8), field(7, 'no graph'), Buffer.concat([field(1, 8), field(8, '')]), Buffer.alloc(100000, 0x3a)]) {
      await refused(find(bytes), /_ONNX|_TRUNCATED/, `${bytes.length} bytes`);
    }
  });
});

describe('ONNX files whose weights are elsewhere', function () {
  this.timeout(30000);

  /** The error's code of a model in a folder. @param {string} cwd @param {...Record<string, string>} external of w */
  async function codeOf(cwd, ...external) {
    const bytes = onnxOf(...external.map((one, i) => ({ name: `w${i}`, dims: [64], type: 1, external: one })));
    writeFileSync(join(cwd, 'm.onnx'), bytes);
    const source = await openSource(join(cwd, 'm.onnx'));
    const found = await findInOnnx(source).catch((e) => e);
    let error = found;
    if (!(found instanceof Error)) {
      try {
        for (const file of found) carrierInputs(file, new Set());
        error = null;
      } catch (e) {
        error = e;
      }
      for (const file of found.slice(1)) await file.source.close();
    }
    await source.close();
    if (error) assertNamed(error, JSON.stringify(external));
    return error?.code.replace('HANSEL_ERR_', '') ?? 'fine';
  }

  it('are refused where those are not files beside them', async () => {
    const cwd = folder();
    mkdirSync(join(cwd, 'sub'));
    writeFileSync(join(cwd, 'data'), weights(1024, 1));
    writeFileSync(join(cwd, 'sub', 'data'), weights(1024, 1));
    for (const [location, code] of [['data', 'fine'], ['./data', 'fine'], ['././data', 'fine'], ['sub/data', 'fine'],
      ['m.onnx', 'ONNX'], ['./m.onnx', 'ONNX'], ['sub/../m.onnx', 'INDEX'], ['none', 'SOURCE'], ['sub', 'SOURCE'],
      ['data/x', 'SOURCE'], ['../x', 'INDEX'], ['sub/../../x', 'INDEX'], ['/etc/passwd', 'INDEX'], ['.//etc/passwd', 'INDEX'],
      ['a\\b', 'INDEX'], ['..\\x', 'INDEX'], ['c:x', 'INDEX'], ['C:\\x', 'INDEX'], ['', 'INDEX'], ['.', 'INDEX'], ['./', 'INDEX'],
      ['..', 'INDEX'], ['data/', 'INDEX'], ['sub//data', 'INDEX'], ['data\0', 'INDEX'], ['da\nta', 'INDEX'],
      ['file:///etc/passwd', 'INDEX'], ['http://localhost/x', 'INDEX'], ['x'.repeat(5000), 'SOURCE']]) {
      assert.equal(await codeOf(cwd, { location }), code, location);
    }
    assert.equal(await codeOf(cwd, {}), 'INDEX', 'no location');
    const inMemory = onnxOf({ name: 'w', dims: [64], type: 1, external: { location: 'data' } });
    await refused(inputsIn('onnx', inMemory), 'HANSEL_ERR_SOURCE');
  });

  it('are refused where offsets and lengths are no numbers, or beyond the file, or overlap', async () => {
    const cwd = folder();
    writeFileSync(join(cwd, 'data'), weights(1024, 1));
    const location = 'data';
    for (const n of ['', ' ', '-1', '1.5', '1e3', '0x10', ' 8', '8 ', '+8', 'NaN', 'Infinity', '٣', '9007199254740993',
      `${2n ** 63n}`, `${2n ** 64n - 1n}`, '1'.repeat(10000)]) {
      assert.equal(await codeOf(cwd, { location, offset: n }), 'ONNX', `offset ${n}`);
      assert.equal(await codeOf(cwd, { location, length: n }), 'ONNX', `length ${n}`);
    }
    for (const [more, code] of [[{ offset: '768' }, 'fine'], [{ offset: '769' }, 'TRUNCATED'], [{ length: '256' }, 'fine'],
      [{ length: '255' }, 'ONNX'], [{ length: '0' }, 'ONNX'], [{ offset: '9007199254740991' }, 'TRUNCATED'],
      [{ checksum: 'zz' }, 'fine'], [{ '__proto__': 'x' }, 'fine']]) {
      assert.equal(await codeOf(cwd, { location, .../** @type {any} */ (more) }), code, JSON.stringify(more));
    }
    assert.equal(await codeOf(cwd, { location }, { location: './data', offset: '0' }), 'fine');
    assert.equal(await codeOf(cwd, { location }, { location, offset: '256' }), 'fine');
    assert.equal(await codeOf(cwd, { location }, { location, offset: '128' }), 'ONNX');
  });

  it('may begin with weights, and have gaps: byte for byte, whole and in parts', async () => {
    const [from, out] = [folder(), folder()];
    const data = weights(9000, 2);
    writeFileSync(join(from, 'data'), data);
    writeFileSync(join(from, 'm.onnx'), onnxOf(...[[0, 1024], [4096, 4096], [8500, 256]].map(([offset, length], i) => (
      { name: `w${i}`, dims: [length], type: 2, external: { location: 'data', offset: `${offset}`, length: `${length}` } }))));
    await good(['encode', 'm.onnx', '-o', join(out, 'm.onnx.hansel')], { cwd: from });
    await good(['decode', 'm.onnx.hansel'], { cwd: out });
    assert.ok(same(readFileSync(join(out, 'data')), data));
    for (const start of [0, 1, 1000, 1024, 1025, 4096, 5000, 8191, 8192, 8500, 8755, 8756, 8999, 9000]) {
      for (const end of [start, start + 1, start + 200, 4096, 8192, 8600, 9000]) {
        if (end < start || end > 9000) continue;
        const file = await openFile(join(out, 'data.hansel')); // which has read nothing
        const parts = [await file.bytes({ start, end }), await file.bytes({ start, end })];
        for (const part of parts) assert.ok(same(part, data.subarray(start, end)), `${start} to ${end}`);
        await file.close();
      }
    }
    const file = await openFile(join(out, 'data.hansel'));
    const all = await Promise.all([0, 1, 2, 1100, 5000].map((start) => file.bytes({ start })));
    for (const [i, start] of [0, 1, 2, 1100, 5000].entries()) assert.ok(same(all[i], data.subarray(start)), `${start}`);
    await file.close();
  });
});

describe('GGUF files that are wrong', function () {
  this.timeout(20000);
  const find = async (/** @type {Uint8Array} */ bytes) => inputsIn('gguf', bytes);
  const one = (/** @type {any} */ more, /** @type {any} */ all = {}) => (
    gguf({ tensors: [{ name: 'w', shape: [32, 8], type: 0, data: weights(1024, 1), ...more }], ...all }));

  it('are found as they are, if they are right', async () => {
    const { inputs } = await find(GGUF);
    assert.deepEqual(inputs.slice(1).map(({ name, dtype, shape }) => [name, dtype, ...shape]), [
      ['w', 'F32', 8, 32], ['q', 'U8', 8, 68], ['h', 'F16', 5, 30]]);
    await assertGives(await codedFrom('gguf', GGUF), GGUF);
  });

  it('cut off anywhere', async () => {
    for (let end = 0; end < GGUF.length - 20; end += end < HEADER + 64 ? 1 : 37) { // 20: padding
      const code = await refusedOrFilled('gguf', GGUF.subarray(0, end), `${end} bytes`);
      assert.match(code, end < HEADER ? /_GGUF|_TRUNCATED/ : /_TRUNCATED/, `${end} bytes`);
    }
  });

  it('counts, lengths, dimensions and offsets that cannot be: at once, whatever they claim', async () => {
    const lying = (/** @type {Uint8Array[]} */ ...parts) => (
      Buffer.concat([gguf({ keyCount: 1 }).subarray(0, 24), ...parts]));
    const began = performance.now();
    const before = process.memoryUsage().rss;
    for (const n of [1n, 100n, 65536n, 10n ** 5n, 10n ** 6n, 10n ** 7n, ...HUGE]) {
      await refused(find(gguf({ tensorCount: n })), /_GGUF|_TRUNCATED/, `${n} tensors`);
      await refused(find(gguf({ keyCount: n })), /_GGUF|_TRUNCATED/, `${n} keys`);
      await refused(find(lying(u64(n), Buffer.from('key'))), /_GGUF|_TRUNCATED/, `a key of ${n} bytes`);
      await refused(find(lying(text('key'), u32(8), u64(n))), /_GGUF|_TRUNCATED/, `a text of ${n} bytes`);
      for (const type of [0, 1, 7, 8, 9, 10, 12]) {
        await refused(find(lying(text('key'), u32(9), u32(type), u64(n))), /_GGUF|_TRUNCATED/, `${n} of ${type}`);
      }
      if (n > 256n) {
        await refused(find(one({ shape: [32, n] })), /_GGUF|_TRUNCATED/, `rows ${n}`);
        await refused(find(one({ shape: [n] })), /_GGUF|_TRUNCATED/, `columns ${n}`);
        if (n >= 10n ** 6n) await refused(find(one({ shape: [0, n, n, n] })), 'HANSEL_ERR_GGUF', `${n} and 0`);
        await refused(find(one({ shape: Array(8).fill(n) })), /_GGUF|_TRUNCATED/, `eight times ${n}`);
      }
      if (n > 100n) await refused(find(one({ offset: n })), /_GGUF|_TRUNCATED/, `offset ${n}`);
    }
    assert.ok(performance.now() - began < 10000, `${performance.now() - began} ms`);
    assert.ok(process.memoryUsage().rss - before < 500e6, 'in little memory');
    await refused(find(one({ shape: Array(9).fill(1) })), 'HANSEL_ERR_GGUF');
    const dimensions = Buffer.concat([gguf({ tensorCount: 1 }).subarray(0, 24), text('w'), u32(2 ** 32 - 1), u64(5)]);
    await refused(find(dimensions), 'HANSEL_ERR_GGUF');
    let nested = Buffer.of(1);
    for (let i = 0; i < 50; i++) nested = Buffer.concat([u32(9), u64(1), nested]);
    await refused(find(lying(text('key'), u32(9), nested)), /_GGUF|_TRUNCATED/);
    await refused(find(lying(text('key'), u32(13), u64(1))), 'HANSEL_ERR_GGUF');
    const long = gguf({ metadata: [['a', 8, text(Buffer.alloc(4e6, 'x'))], ['b', 4, u32(1)]] });
    assert.match((await refused(find(long), 'HANSEL_ERR_GGUF')).message, /too long to be read/);
  });

  it('alignments that cannot be', async () => {
    const of = (/** @type {number} */ type, /** @type {Uint8Array} */ value) => (
      one({}, { metadata: [['general.alignment', type, value]] }));
    for (const n of [0, 3, 33, 2 ** 21, 2 ** 31, 2 ** 32 - 1]) await refused(find(of(4, u32(n))), 'HANSEL_ERR_GGUF', `${n}`);
    for (const n of [0n, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n]) await refused(find(of(10, u64(n))), 'HANSEL_ERR_GGUF', `${n}`);
    for (const value of ['', 'x', '32.5', '-32']) await refused(find(of(8, text(value))), 'HANSEL_ERR_GGUF', value);
    const floats = (/** @type {number} */ x) => Buffer.from(Float32Array.of(x).buffer);
    for (const x of [NaN, Infinity, -1, 0.5, 1e-9]) await refused(find(of(6, floats(x))), 'HANSEL_ERR_GGUF', `${x}`);
    await refused(find(of(9, Buffer.concat([u32(4), u64(2), u32(32), u32(32)]))), 'HANSEL_ERR_GGUF');
    for (const n of [1, 32, 64, 4096]) {
      const right = one({}, { metadata: [['general.alignment', 4, u32(n)]], alignment: n });
      await assertGives(await codedFrom('gguf', right), right);
    }
    const proto = one({}, { metadata: [['__proto__', 9, Buffer.concat([u32(4), u64(1), u32(3)])]] });
    await assertFills(await find(proto), proto);
  });

  it('tensors: two of one name, overlapping, of one range, at odd places, half in the file', async () => {
    const two = (/** @type {any} */ more) => gguf({ tensors: [TENSORS[0], { ...TENSORS[0], name: 'v', offset: 0, ...more }] });
    await refused(find(two({ name: 'w', offset: 1024 })), 'HANSEL_ERR_GGUF');
    assert.equal((await find(two({}))).inputs.length, 2); // one for both, and the rest
    await refused(find(two({ offset: 32 })), 'HANSEL_ERR_GGUF');
    await refused(find(two({ shape: [32, 7] })), 'HANSEL_ERR_GGUF');
    await refused(find(two({ offset: 1023 })), 'HANSEL_ERR_GGUF');
    await refused(find(two({ offset: 1056 })), 'HANSEL_ERR_TRUNCATED');
    await refused(find(two({ offset: 2 ** 40 })), 'HANSEL_ERR_TRUNCATED');
    for (const name of [Buffer.of(0xff), '', '__metadata__', 'a\nb\0', '__proto__', 'hansel.rest', 'x'.repeat(3000)]) {
      const file = one({ name });
      await assertGives(await codedFrom('gguf', file), file);
    }
    for (const shape of [[], [1], [0], [32, 0], [1, 1, 1, 1, 1, 1, 1, 256]]) {
      const file = one({ shape });
      await assertGives(await codedFrom('gguf', file), file);
    }
    for (const shape of [[31, 8], [1], []]) await refused(find(one({ type: 8, shape })), 'HANSEL_ERR_GGUF', `${shape}`);
  });

  it('types that nobody knows yet are bytes', async () => {
    for (const type of [4, 5, 31, 43, 100, 2 ** 31, 2 ** 32 - 1]) {
      const file = gguf({ tensors: [{ ...TENSORS[0], type }, TENSORS[1]] });
      const { inputs } = await find(file);
      assert.deepEqual(inputs.slice(1).map(({ dtype, shape }) => [dtype, ...shape]), [['U8', 1024], ['U8', 8, 68]]);
      await assertGives(await codedFrom('gguf', file), file);
    }
    const last = gguf({ tensors: [{ ...TENSORS[0], type: 77, offset: 2048 }] });
    await refused(find(last), 'HANSEL_ERR_TRUNCATED');
  });

  it('versions 1 and 2, and big-endian files, byte for byte; no others', async () => {
    for (const version of [1, 2, 3]) {
      for (const isBig of [false, true]) {
        const metadata = version > 1 ? [] : undefined;
        const file = gguf({ version, isBig, metadata, tensors: TENSORS });
        const { inputs } = await find(file);
        assert.deepEqual(inputs.slice(1).map(({ dtype, shape }) => [dtype, ...shape]), isBig
          ? [['U8', 8, 128], ['U8', 8, 68], ['U8', 5, 60]] : [['F32', 8, 32], ['U8', 8, 68], ['F16', 5, 30]]);
        await assertGives(await codedFrom('gguf', file), file);
      }
    }
    for (const version of [0, 4, 99, 65536, 2 ** 32 - 1]) {
      const error = await refused(find(gguf({ version, tensors: TENSORS })), 'HANSEL_ERR_GGUF', `${version}`);
      assert.match(error.message, /unsupported version/);
    }
    for (const magic of ['FUGG', 'GGU', 'GGML', '']) await refused(find(Buffer.from(magic)), 'HANSEL_ERR_GGUF', magic);
  });
});

describe('ONNX and GGUF files, changed at random', function () {
  this.timeout(60000);

  /** @param {number} seed @returns {(n: number) => number} whole numbers below n */
  const dice = (seed) => (n) => {
    seed = Math.imul(seed ^ seed >>> 15, 2246822519) + 3266489917 >>> 0;
    return Math.floor((seed ^ seed >>> 13) / 4294967296 * n) >>> 0;
  };
  /** Numbers that parsers stumble over, as varints and as words of 8 bytes. */
  const NUMBERS = [0n, 1n, 127n, 255n, 65535n, ...HUGE, 2n ** 28n, 2n ** 52n].flatMap((n) => [varint(n), u64(n)]);

  /** @param {Uint8Array} bytes @param {(n: number) => number} next @param {number} likely where most of it happens */
  function changed(bytes, next, likely) {
    let own = Buffer.from(bytes);
    for (let i = next(3); i >= 0; i--) {
      const at = next(next(8) ? Math.min(likely, own.length) : own.length);
      const [kind, number] = [next(8), NUMBERS[next(NUMBERS.length)]];
      const [from, size] = [next(own.length), next(40)];
      if (kind < 3) own[at] ^= 1 << next(8);
      else if (kind === 3) own[at] = next(256);
      else if (kind === 4) own = Buffer.concat([own.subarray(0, at), number, own.subarray(at)]);
      else if (kind === 5) own = Buffer.concat([own.subarray(0, at), number, own.subarray(at + number.length)]);
      else if (kind === 6) {
        own = Buffer.concat([own.subarray(0, at), own.subarray(from, from + size), own.subarray(at + next(size + 1))]);
      } else own = own.subarray(0, next(4) ? own.length - next(own.length >> 3) : at);
      if (!own.length) return own;
    }
    return own;
  }

  for (const [format, bytes, likely] of /** @type {const} */ ([['onnx', ONNX, ONNX.length], ['gguf', GGUF, HEADER]])) {
    it(`${format}: an error that has a name, or all bytes in their places`, async () => {
      const next = dice(format.length + 20);
      const codes = new Map();
      let worst = 0;
      for (let i = 0; i < 3000; i++) {
        const file = changed(bytes, next, likely);
        const began = performance.now();
        const code = await refusedOrFilled(format, file, `${format} ${i}`);
        worst = Math.max(worst, performance.now() - began);
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (!code && codes.get('') % 40 === 1) await assertGives(await codedFrom(format, file), file);
      }
      assert.ok(worst < 1500, `${worst} ms`);
      for (const code of ['', 'HANSEL_ERR_TRUNCATED', `HANSEL_ERR_${format.toUpperCase()}`]) {
        assert.ok(codes.get(code) > 300, JSON.stringify([...codes]));
      }
    });
  }
});

describe('hansel encode and decode of other files', function () {
  this.timeout(60000);

  it('say what a file looks like that is none, and --bytes codes it', async () => {
    const cwd = folder();
    const files = /** @type {[string, string | Uint8Array, RegExp][]} */ ([
      ['none.onnx', '', /looks like an empty file/], ['abc.onnx', 'abc', /looks like text/],
      ['page.onnx', '<!DOCTYPE html><p>404', /looks like HTML/],
      ['lfs.onnx', 'version https://git-lfs.github.com/spec/v1', /Git LFS/],
      ['none.gguf', '', /looks like an empty file/], ['page.gguf', '<html>', /looks like HTML/],
      ['x.zip', 'PK\x03\x04rest of it', /looks like a zip/]]);
    for (const [name, bytes, says] of files) {
      writeFileSync(join(cwd, name), bytes);
      const error = await refused(openPlain(join(cwd, name), {}), /HANSEL_ERR_(SAFETENSORS|TRUNCATED)/);
      assert.match(error.message, says);
      assert.match(error.message, /--bytes codes any file as bytes/);
    }
    await bad(['encode', 'page.onnx'], 'HANSEL_ERR_SAFETENSORS', 1, { cwd, env: { TMPDIR: cwd } });
    writeFileSync(join(cwd, 'cut.onnx'), ONNX.subarray(0, 1000));
    await bad(['encode', 'cut.onnx'], 'HANSEL_ERR_TRUNCATED', 1, { cwd, env: { TMPDIR: cwd } });
    writeFileSync(join(cwd, 'three.onnx'), Buffer.of(1, 2, 3));
    await refused(openPlain(join(cwd, 'three.onnx'), {}), 'HANSEL_ERR_ONNX');
    writeFileSync(join(cwd, 'v99.gguf'), gguf({ version: 99 }));
    await bad(['encode', 'v99.gguf', '-o', 'out'], 'HANSEL_ERR_GGUF', 1, { cwd });
    const names = readdirSync(cwd).sort();
    assert.equal(names.length, files.length + 3, `${names}`);
    writeFileSync(join(cwd, 'st'), plain({ w: gaussian([8], 1) }, [['hansel.file', 'bytes 0,0']]));
    await refused(openPlain(join(cwd, 'st'), {}), 'HANSEL_ERR_MANIFEST');
    for (const name of ['none.onnx', 'page.onnx', 'v99.gguf', 'st']) {
      await good(['encode', name, '--bytes'], { cwd });
      await good(['decode', `${name}.hansel`, '-o', 'back', '--force'], { cwd });
      assert.ok(same(readFileSync(join(cwd, 'back')), readFileSync(join(cwd, name))), name);
    }
  });

  /** A model in three files. @param {string} cwd */
  function writeModel(cwd) {
    mkdirSync(join(cwd, 'sub'));
    writeFileSync(join(cwd, 'one'), weights(2048, 1));
    writeFileSync(join(cwd, 'sub', 'two'), weights(1024, 2));
    writeFileSync(join(cwd, 'm.onnx'), onnxOf(
      { name: 'a', dims: [512], type: 1, external: { location: 'one' } },
      { name: 'b', dims: [256], type: 1, external: { location: 'sub/two' } }));
  }

  it('write all files or none: one is there, one is missing, one is damaged, one is the other', async () => {
    const [from, out] = [folder(), folder()];
    writeModel(from);
    const listed = () => readdirSync(out, { recursive: true }).sort();
    const how = { cwd: from, env: { TMPDIR: out } };
    const to = join(out, 'm.onnx.hansel');
    await bad(['encode', 'm.onnx', '-o', '-'], 'HANSEL_ERR_USAGE', 2, how);
    await bad(['encode', 'm.onnx', '-o', join(out, 'one.hansel')], 'HANSEL_ERR_USAGE', 2, how);
    await bad(['encode', 'm.onnx', '-o', join(out, '.', 'sub', '..', 'one.hansel'), '--force'], 'HANSEL_ERR_USAGE', 2, how);
    assert.deepEqual(listed(), []);
    writeFileSync(join(out, 'one.hansel'), 'precious');
    await bad(['encode', 'm.onnx', '-o', to], 'HANSEL_ERR_EXISTS', 1, how);
    assert.deepEqual(listed(), ['one.hansel']);
    mkdirSync(join(out, 'sub'));
    mkdirSync(join(out, 'sub', 'two.hansel'));
    await bad(['encode', 'm.onnx', '-o', to, '--force'], 'HANSEL_ERR_SOURCE', 1, how);
    assert.equal(readFileSync(join(out, 'one.hansel'), 'utf8'), 'precious');
    assert.deepEqual(listed(), ['one.hansel', 'sub', 'sub/two.hansel']);

    const other = folder();
    await good(['encode', 'm.onnx', '-o', join(other, 'm.onnx.hansel')], how);
    await good(['encode', 'm.onnx', '-o', join(other, 'm.onnx.hansel'), '--force'], how);
    const all = ['m.onnx.hansel', 'one.hansel', 'sub', 'sub/two.hansel'];
    assert.deepEqual(readdirSync(other, { recursive: true }).sort(), all);
    const decoding = { cwd: other, env: { TMPDIR: other } };
    const back = folder();
    const decode = ['decode', 'm.onnx.hansel', '-o', join(back, 'm.onnx')];
    await bad(['decode', 'm.onnx.hansel', '-o', '-'], 'HANSEL_ERR_USAGE', 2, decoding);
    await bad(['decode', 'm.onnx.hansel', '-o', join(back, 'one')], 'HANSEL_ERR_USAGE', 2, decoding);
    const two = readFileSync(join(other, 'sub', 'two.hansel'));
    const damaged = Buffer.from(two);
    damaged[two.length - 20] ^= 16;
    writeFileSync(join(other, 'sub', 'two.hansel'), damaged);
    await bad(decode, 'HANSEL_ERR_(CHECKSUM|CORRUPT)', 1, decoding);
    assert.deepEqual(readdirSync(back), [], 'and no folder');
    writeFileSync(join(other, 'sub', 'two.hansel'), two);
    mkdirSync(join(back, 'sub'));
    writeFileSync(join(back, 'sub', 'two'), 'precious');
    await bad(decode, 'HANSEL_ERR_EXISTS', 1, decoding);
    assert.deepEqual(readdirSync(back, { recursive: true }).sort(), ['sub', 'sub/two']);
    await good([...decode, '--force'], decoding);
    for (const name of ['m.onnx', 'one', 'sub/two']) {
      assert.ok(same(readFileSync(join(back, name)), readFileSync(join(from, name))), name);
    }
    assert.deepEqual(readdirSync(other, { recursive: true }).sort(), all);
  });

  it('know standard input, which has nothing beside it, and standard output', async () => {
    const cwd = folder();
    writeModel(cwd);
    const spool = folder();
    writeFileSync(join(spool, 'one'), weights(2048, 1)); // of somebody else
    writeFileSync(join(spool, 'one.hansel'), weights(2048, 1));
    const env = { TMPDIR: spool };
    const input = readFileSync(join(cwd, 'm.onnx'));
    const { stderr } = await bad(['encode', '-', '-o', 'out.hansel'], 'HANSEL_ERR_SOURCE', 1, { cwd, env, input });
    assert.match(stderr, /standard input has no files beside it/);
    await good(['encode', 'm.onnx'], { cwd, env });
    const coded = readFileSync(join(cwd, 'm.onnx.hansel'));
    await bad(['decode', '-', '-o', 'out'], 'HANSEL_ERR_SOURCE', 1, { cwd, env, input: coded });
    const { bytes } = await good(['encode', '-', '-o', '-'], { cwd, env, input: GGUF });
    const decoded = await good(['decode', '-', '-o', '-'], { cwd, env, input: bytes });
    assert.ok(same(decoded.bytes, GGUF));
    const whole = await good(['encode', '-', '-o', '-', '--bytes'], { cwd, env, input: Buffer.from('any') });
    assert.equal(`${(await good(['decode', '-', '-o', '-'], { cwd, env, input: whole.bytes })).bytes}`, 'any');
    assert.deepEqual(readdirSync(spool).sort(), ['one', 'one.hansel']);
    assert.ok(!existsSync(join(cwd, 'out')) && !existsSync(join(cwd, 'out.hansel')));
  });

  it('splits of a GGUF: all of them, whatever their names are, from a server too', async () => {
    const cwd = folder();
    const name = (/** @type {number} */ i, n = 3) => `a model%20${i}-0000${i}-of-0000${n}.gguf`.replace(/\d-/, '-');
    for (const i of [1, 2]) writeFileSync(join(cwd, name(i)), GGUF);
    await bad(['encode', name(1)], 'HANSEL_ERR_SOURCE', 1, { cwd });
    writeFileSync(join(cwd, name(3)), GGUF.subarray(0, 900));
    await bad(['encode', name(1)], 'HANSEL_ERR_TRUNCATED', 1, { cwd });
    assert.equal(readdirSync(cwd).length, 3);
    writeFileSync(join(cwd, name(3)), GGUF);
    const url = await serving(cwd);
    const out = folder();
    await good(['encode', `${url}${encodeURIComponent(name(1))}`, '-o', join(out, 'm.hansel'), '--quiet'], { cwd });
    assert.deepEqual(readdirSync(out).sort(), [`${name(2)}.hansel`, `${name(3)}.hansel`, 'm.hansel']);
    await good(['decode', 'm.hansel', '-o', 'm'], { cwd: out });
    for (const file of ['m', name(2), name(3)]) assert.ok(same(readFileSync(join(out, file)), GGUF));
    for (const odd of ['x-00001-of-00000.gguf', 'x-00002-of-00003.gguf', 'x-00001-of-00001.gguf']) {
      writeFileSync(join(cwd, odd), GGUF);
      assert.equal(JSON.parse((await good(['encode', odd, '--json'], { cwd })).stdout).files.length, 1, odd);
    }
    writeFileSync(join(cwd, 'x-00001-of-99999.gguf'), GGUF);
    await bad(['encode', 'x-00001-of-99999.gguf'], 'HANSEL_ERR_SOURCE', 1, { cwd });
  });

  it('stopped by Ctrl-C leave nothing, of none of their files', async () => {
    const [from, out] = [folder(), folder()];
    const size = 3e7;
    const big = Buffer.alloc(size);
    for (let at = 0; at < size; at += 4096) weights(Math.min(4096, size - at), at).copy(big, at);
    writeFileSync(join(from, 'small'), weights(4096, 1));
    writeFileSync(join(from, 'big'), big);
    writeFileSync(join(from, 'm.onnx'), onnxOf(
      { name: 'a', dims: [4096], type: 2, external: { location: 'small' } },
      { name: 'b', dims: [size / 4], type: 1, external: { location: 'big' } }));
    const stop = async (/** @type {string[]} */ args, /** @type {string} */ cwd) => {
      const { child, result } = start(args, { cwd, env: { TMPDIR: out } });
      await until(() => readdirSync(out).length > 2 || child.exitCode !== null, 'temporary file');
      assert.equal(child.exitCode, null, 'still at work');
      child.kill('SIGINT');
      const { code, stderr } = await result;
      assert.equal(code, 130, stderr);
      assert.match(stderr, /^hansel: HANSEL_ERR_ABORTED: [^\n]*\n$/);
      assert.deepEqual(readdirSync(out), []);
    };
    await stop(['encode', 'm.onnx', '-o', join(out, 'm.onnx.hansel'), '--threads', '1'], from);
    await good(['encode', 'm.onnx', '--quiet'], { cwd: from });
    await stop(['decode', 'm.onnx.hansel', '-o', join(out, 'm.onnx'), '--threads', '1'], from);
  });
});

describe('coded files that are damaged, or lie', function () {
  this.timeout(30000);
  const BYTES = weights(3000, 9);
  const part = (/** @type {string} */ name, /** @type {number} */ from, /** @type {number} */ end, dtype = 'U8') => ({
    name, dtype, shape: [(end - from) / (dtype === 'F32' ? 4 : 1)],
    read: async (/** @type {number} */ a, /** @type {number} */ b) => BYTES.subarray(from + a, from + b) });
  const PARTS = [part('rest', 0, 1000), part('a', 1000, 2000), part('b', 2000, 3000)];

  /** A coded file whose metadata is made up. @param {Record<string, string>} metadata @param {any[]} [parts] */
  const lying = (metadata, parts = PARTS) => coded(parts, buildHeader(parts.map(({ name, dtype, shape }) => (
    [name, { dtype, shape, bytes: 1000 }])), Object.entries(metadata), { alignment: 1 }));

  it('gaps that do not fit', async () => {
    const right = await openFile(await lying({ 'hansel.file': 'gguf 400,600,0' }));
    const order = [[0, 400], [1000, 2000], [400, 1000], [2000, 3000]];
    assert.ok(same(await right.bytes(), Buffer.concat(order.map(([a, b]) => BYTES.subarray(a, b)))));
    await right.close();
    const cwd = folder();
    const wrong = [
      '', 'gguf', 'gguf ', '400,600,0', 'gguf 400,600', 'gguf 400,600,0,0', 'gguf 400,601,0', 'gguf 400,599,0',
      'gguf 0,0,0,0,0', 'gguf 400,,600', 'gguf ,400,600', 'gguf 400,600,', 'gguf 400,600,00', 'gguf 0400,600,0',
      'gguf -400,1400,0', 'gguf 4e2,600,0', 'gguf 400.0,600,0', 'gguf 0x190,600,0', 'gguf 400, 600,0',
      'gguf 400,600,0 ', 'gguf 400,600,0\n', 'GGUF 400,600,0', '1 400,600,0', 'gguf 9007199254740993,600,0',
      'gguf 18446744073709551616,0,0', `gguf ${'9'.repeat(400)},0,0`,
      'gguf 9007199254740991,9007199254740991,1000', 'gguf 1000', 'gguf 0,0', 'gguf 0,0,0',
      `gguf ${'0,'.repeat(100000)}0`];
    for (const [i, metadata] of wrong.entries()) {
      const file = await lying({ 'hansel.file': metadata });
      await refused(openFile(file), 'HANSEL_ERR_MANIFEST', metadata.slice(0, 50));
      if (i !== 5) continue;
      writeFileSync(join(cwd, 'm.hansel'), file);
      for (const command of ['decode', 'info']) await bad([command, 'm.hansel'], 'HANSEL_ERR_MANIFEST', 1, { cwd });
      assert.deepEqual(readdirSync(cwd), ['m.hansel']);
    }
    const floats = [part('rest', 0, 1000, 'F32'), ...PARTS.slice(1)];
    await refused(openFile(await lying({ 'hansel.file': 'gguf 400,600,0' }, floats)), 'HANSEL_ERR_MANIFEST', 'a rest of floats');
    await refused(openFile(await lying({ 'hansel.file': 'gguf 5,5' }, [])), 'HANSEL_ERR_MANIFEST', 'no tensors');
    assert.equal((await openFile(await lying({ 'hansel.file': 'bytes 0' }, []))).size, 0);
  });

  it('names of other files that are not beside it, or are twice', async () => {
    const cwd = folder();
    const wrong = ['', '..', '../x', '/etc/passwd', 'a/../b', 'a\\b', 'c:x', 'a\n', '\na', 'a\n\nb', 'a/', 'a//b', '.',
      'a\tb', 'a\0b', 'ok\n../x'];
    for (const [i, beside] of wrong.entries()) {
      const file = await lying({ 'hansel.file': 'onnx 1000,0,0', 'hansel.beside': beside });
      await refused(openFile(file), 'HANSEL_ERR_INDEX', JSON.stringify(beside));
      if (i !== 2) continue;
      writeFileSync(join(cwd, 'm.hansel'), file);
      await bad(['decode', 'm.hansel', '-o', 'out/m'], 'HANSEL_ERR_INDEX', 1, { cwd });
      assert.deepEqual(readdirSync(cwd), ['m.hansel']);
    }
    await refused(openFile(await lying({ 'hansel.file': 'onnx 1000,0,0', 'hansel.beside': 'a\nb\na' })), 'HANSEL_ERR_MANIFEST');
    for (const [beside, code, exit] of /** @type {const} */ ([
      ['m', 'HANSEL_ERR_USAGE', 2], ['none', 'HANSEL_ERR_SOURCE', 1]])) {
      writeFileSync(join(cwd, 'm.hansel'), await lying({ 'hansel.file': 'onnx 1000,0,0', 'hansel.beside': beside }));
      await bad(['decode', 'm.hansel', '--force'], code, exit, { cwd });
      assert.deepEqual(readdirSync(cwd), ['m.hansel']);
    }
    writeFileSync(join(cwd, 'm.hansel'), await lying({ 'hansel.file': 'onnx 1000,0,0', 'hansel.beside': 'a\na/b' }));
    mkdirSync(join(cwd, 'a'));
    for (const name of ['a.hansel', 'a/b.hansel']) {
      writeFileSync(join(cwd, name), await lying({ 'hansel.file': 'bytes 1000,0,0' }));
    }
    mkdirSync(join(cwd, 'out'));
    await bad(['decode', 'm.hansel', '-o', 'out/m'], 'HANSEL_ERR_SOURCE', 1, { cwd }); // a file and a folder of one name
    assert.deepEqual(readdirSync(join(cwd, 'out')), []);
  });

  it('every flip that was tried is found, and every end', async () => {
    const file = await codedFrom('gguf', GGUF);
    for (let i = 0; i < 300; i++) {
      const own = file.slice();
      const at = Math.floor(i * file.length / 300);
      own[at] ^= 1 << i % 8;
      const opened = await openFile(own).catch((e) => e);
      if (opened instanceof Error) {
        assertNamed(opened, `byte ${at}`);
        continue;
      }
      await refused(opened.bytes(), /./, `byte ${at}`);
      await refused(opened.blob(), /./, `byte ${at}`);
      await refused(new Response(opened.stream()).arrayBuffer(), /./, `byte ${at}`);
      await opened.close();
    }
    for (let end = 0; end < file.length; end += 29) await refused(openFile(file.subarray(0, end)), /./, `${end} bytes`);
    await refused(openFile(Buffer.concat([file, Buffer.of(0)])), 'HANSEL_ERR_TRAILING');
  });
});

describe('openFile', function () {
  this.timeout(30000);
  let file = new Uint8Array(0);
  let large = new Uint8Array(0);
  /** Of which the second is a tensor. */
  const BYTES = weights(3e6, 7);
  before(async () => {
    file = await codedFrom('gguf', GGUF);
    const source = await openSource(BYTES);
    const found = { format: 'gguf', code: 'HANSEL_ERR_GGUF', source,
      tensors: [{ name: 'w', dtype: 'U8', shape: [1000, 2900], start: 1000, end: 2901000 }] };
    const { inputs, header } = carrierInputs(found, new Set());
    large = await coded(inputs, header);
  });

  it('refuses ranges that are not there, arrays of other sizes, options that are none', async () => {
    const opened = await openFile(file);
    const { size } = opened;
    for (const range of [{ start: -1 }, { start: 1.5 }, { start: NaN }, { start: '1' }, { start: null },
      { end: size + 1 }, { start: size + 1 }, { start: 5, end: 4 }, { end: 2 ** 53 }, { end: Infinity },
      { start: 1n }]) {
      for (const call of ['bytes', 'blob']) {
        await refused(opened[call](range), 'HANSEL_ERR_ARGUMENT', `${call} ${Object.values(range)}`);
      }
      await refused(new Response(opened.stream(/** @type {any} */ (range))).blob(), 'HANSEL_ERR_ARGUMENT');
    }
    for (const into of [
      new Uint8Array(size - 1), new Uint8Array(size + 1), new Uint16Array(size), new ArrayBuffer(size), [], 'x', 5, {}]) {
      await refused(opened.bytes({ into: /** @type {any} */ (into) }), 'HANSEL_ERR_ARGUMENT', `${into.constructor.name}`);
    }
    await refused(opened.bytes(/** @type {any} */ ({ begin: 5 })), 'HANSEL_ERR_ARGUMENT');
    await refused(opened.blob(/** @type {any} */ ({ into: new Uint8Array(size) })), 'HANSEL_ERR_ARGUMENT');
    await refused(openFile(file, /** @type {any} */ ({ thread: 5 })), 'HANSEL_ERR_ARGUMENT');
    await refused(openFile(file, { threads: 0 }), 'HANSEL_ERR_ARGUMENT');
    for (const range of [{ start: size }, { end: 0 }, { start: 7, end: 7 }]) {
      assert.equal((await opened.bytes(range)).length, 0);
      assert.equal((await opened.blob(range)).size, 0);
    }
    await opened.close();
  });

  it('refuses what is none: not there, of older versions; and knows plain safetensors', async () => {
    for (const name of ['/nowhere/at/all.hansel', dirname(VERSION_2), 'http://127.0.0.1:1/x', 'http://']) {
      await refused(openFile(name), 'HANSEL_ERR_SOURCE', name);
    }
    await refused(openFile(/** @type {any} */ (5)), 'HANSEL_ERR_ARGUMENT');
    await refused(openFile(VERSION_2), 'HANSEL_ERR_MANIFEST');
    await refused(openFile(GGUF), 'HANSEL_ERR_SAFETENSORS');
    await refused(openFile(new Blob([])), 'HANSEL_ERR_TRUNCATED');
    const file = plain({ w: gaussian([8, 8], 1) }, [['format', 'pt']]);
    await assertGives(file, file);
    const handles = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 5; i++) await openFile(VERSION_2).catch(() => {});
    assert.ok(readdirSync('/proc/self/fd').length <= handles, 'files are closed');
  });

  it('stops in the middle, and reads again', async () => {
    const opened = await openFile(large);
    for (const call of [
      (o) => opened.bytes(o), (o) => opened.blob(o), (o) => new Response(opened.stream(o)).arrayBuffer()]) {
      const stop = new AbortController();
      const onProgress = ({ done }) => { if (done > 1e6) stop.abort(); };
      await refused(call({ signal: stop.signal, onProgress }), 'HANSEL_ERR_ABORTED');
      await refused(call({ signal: stop.signal }), 'HANSEL_ERR_ABORTED', 'before');
      await assert.rejects(call({ onProgress: () => { throw new RangeError('of the caller'); } }), { message: 'of the caller' });
      assert.equal((await call({ start: 5, end: 6 })).size ?? 1, 1);
    }
    await refused(openFile(large, { signal: AbortSignal.abort() }), 'HANSEL_ERR_ABORTED');
    assert.ok(same(await opened.bytes(), BYTES));
    await opened.close();
  });

  it('cancels streams, reads side by side, and not after close()', async () => {
    const opened = await openFile(large);
    const reader = opened.stream().getReader();
    const first = await reader.read();
    assert.ok(same(first.value, BYTES.subarray(0, first.value.length)));
    await reader.cancel();
    assert.deepEqual(await reader.read(), { done: true, value: undefined });
    await opened.stream().cancel();
    const [a, b, c, d] = await Promise.all([opened.bytes(), opened.bytes({ start: 999, end: 2901001 }),
      opened.blob(), new Response(opened.stream({ start: 2e6 })).arrayBuffer()]);
    assert.ok(same(a, BYTES) && same(b, BYTES.subarray(999, 2901001)));
    assert.ok(same(new Uint8Array(await c.arrayBuffer()), BYTES) && same(new Uint8Array(d), BYTES.subarray(2e6)));
    const half = opened.stream().getReader();
    await half.read();
    await opened.close();
    await refused((async () => { while (!(await half.read()).done); })(), 'HANSEL_ERR_SOURCE', 'closed in the middle');
    for (const range of [{}, { start: 0, end: 5 }, { start: 2950000 }, { start: 3, end: 3 }]) {
      await refused(opened.bytes(range), 'HANSEL_ERR_SOURCE', 'after close()');
      await refused(opened.blob(range), 'HANSEL_ERR_SOURCE');
      await refused(new Response(opened.stream(range)).blob(), 'HANSEL_ERR_SOURCE');
    }
    await opened.close();
  });
});

describe('servers that stop in the middle', function () {
  this.timeout(20000);

  it('do not hold a stream that is cancelled, or stopped', async () => {
    const tensors = [{ name: 'w', shape: [1024, 300], type: 24, data: weights(307200, 1) }];
    const file = await codedFrom('gguf', gguf({ tensors }));
    const server = createServer(({ headers }, response) => {
      const [, from, to] = /=(\d+)-(\d+)/.exec(headers.range ?? '').map(Number);
      const end = Math.min(to + 1, file.length);
      response.writeHead(206, { 'Content-Range': `bytes ${from}-${end - 1}/${file.length}`, 'Content-Length': end - from });
      if (from) response.write(file.subarray(from, from + 5000));
      else response.end(file.subarray(from, end));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const opened = await openFile(`http://127.0.0.1:${/** @type {any} */ (server.address()).port}/m.hansel`);
      const stop = new AbortController();
      const [one, two] = [opened.stream().getReader(), opened.stream({ signal: stop.signal }).getReader()];
      await Promise.all([one.read(), two.read()]);
      const stalled = [one.read(), two.read()];
      await sleep(50);
      await Promise.race([one.cancel(), sleep(3000).then(() => assert.fail('cancel() waits'))]);
      assert.equal((await stalled[0]).done, true);
      stop.abort();
      await refused(stalled[1], 'HANSEL_ERR_ABORTED');
      await opened.close();
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});

describe('hanselFetch and hanselCache', function () {
  this.timeout(30000);
  const AT = 'http://models.example/a/m.gguf';
  const PLAIN = 'the plain file';
  /** Coded files, and what they were. */
  const small = { plain: GGUF, coded: new Uint8Array(0) };
  const large = { plain: gguf({ tensors: [{ name: 'w', shape: [1024, 1000], type: 24, data: weights(1024000, 8) },
    { name: 'v', shape: [1024, 500], type: 0, data: weights(2048000, 9) }] }), coded: new Uint8Array(0) };
  before(async () => {
    for (const one of [small, large]) one.coded = await codedFrom('gguf', one.plain);
  });

  /** A body that comes in pieces. @param {Uint8Array} bytes @param {number} size of a piece
   * @param {{breaksAt?: number, stallsAt?: number, onPull?: () => void, signal?: AbortSignal}} [how] */
  function inPieces(bytes, size, { breaksAt = Infinity, stallsAt = Infinity, onPull, signal } = {}) {
    let at = 0;
    return new ReadableStream({
      start(controller) {
        signal?.addEventListener('abort', () => controller.error(signal.reason));
      },
      async pull(controller) {
        onPull?.();
        if (at >= breaksAt) throw new TypeError('terminated');
        if (at >= stallsAt) await new Promise(() => {});
        if (at >= bytes.length) return controller.close();
        controller.enqueue(bytes.slice(at, at += size));
        return controller.enqueue(new Uint8Array(0));
      },
    }, { highWaterMark: 0 });
  }

  /** @param {Uint8Array} bytes @param {Record<string, string>} [headers] null: none of that name @param {any} [body] */
  const okay = (bytes, headers = {}, body = bytes) => {
    const all = { 'Content-Type': 'application/octet-stream', 'Content-Length': `${bytes.length}`, ...headers };
    const kept = Object.entries(all).filter(([, value]) => value !== null);
    return new Response(body, { headers: Object.fromEntries(kept) });
  };

  /**
   * A fetch that answers for the coded file, and says of others that they are the plain one.
   * @param {(init: any) => Response | Promise<Response>} answer
   */
  function fake(answer) {
    /** @type {{url: string, method: string, range: string | null, init: any, input: any}[]} */
    const asked = [];
    const fetch = async (/** @type {any} */ input, /** @type {any} */ init) => {
      const request = input instanceof Request ? input : null;
      const url = String(request?.url ?? input);
      const range = new Headers(init?.headers ?? request?.headers).get('Range');
      asked.push({ url, method: init?.method ?? request?.method ?? 'GET', range, init, input });
      init?.signal?.throwIfAborted();
      return /\.hansel(\?|$)/.test(url) ? answer(init) : new Response(PLAIN);
    };
    return { asked, fetch: /** @type {typeof globalThis.fetch} */ (fetch) };
  }
  /** @param {Response} response @returns {Promise<Uint8Array>} */
  const bytesOf = async (response) => new Uint8Array(await response.arrayBuffer());

  it('answer as the plain file\'s server would', async () => {
    for (const { plain: bytes, coded: file } of [small, large]) {
      for (const size of [file.length, 1000, 3 + file.length % 5]) {
        const { fetch, asked } = fake(() => okay(file, { ETag: '"v1"' }, inPieces(file, size)));
        const response = await hanselFetch(fetch)(`${AT}?token=1#part`);
        const got = ['Content-Length', 'X-Hansel-Coded-Length', 'ETag'].map((name) => response.headers.get(name));
        assert.deepEqual([response.status, ...got], [200, `${bytes.length}`, `${file.length}`, '"v1-hansel"']);
        assert.ok(same(await bytesOf(response), bytes));
        assert.deepEqual(asked.map(({ url }) => url), [`${AT}.hansel?token=1`]);
      }
    }
  });

  it('go to the plain file where there is no coded one; and remember it, unless that may pass', async () => {
    const page = '<!DOCTYPE html><p>not here';
    for (const [answer, isKept] of /** @type {[() => Response, boolean][]} */ ([
      [() => new Response('', { status: 404 }), true], [() => new Response('', { status: 403 }), true],
      [() => new Response('', { status: 410 }), true], [() => new Response('', { status: 500 }), false],
      [() => new Response('', { status: 401 }), false], [() => new Response('', { status: 503 }), false],
      [() => Response.error(), false], [() => { throw new TypeError('Failed to fetch'); }, false],
      [() => new Response(page, { headers: { 'Content-Type': 'text/html; charset=utf-8' } }), true],
      [() => okay(Buffer.from(page)), true], [() => okay(Buffer.from('Not found')), true], [() => okay(Buffer.from('null')), true],
      [() => okay(Buffer.from('{"error":"not found, nowhere"}')), true], [() => okay(Buffer.alloc(0)), true],
      [() => okay(Buffer.from(page), { 'Content-Length': null }), true], [() => okay(GGUF), true]])) {
      const { fetch, asked } = fake(answer);
      const restored = hanselFetch(fetch);
      for (const headers of [{}, { Range: 'bytes=0-4' }]) assert.equal(await (await restored(AT, { headers })).text(), PLAIN);
      assert.deepEqual(asked.map(({ url, range }) => [url.split('/').pop(), range]), [
        ['m.gguf.hansel', null], ['m.gguf', null], ...isKept ? [] : [['m.gguf.hansel', null]], ['m.gguf', 'bytes=0-4']], `${answer}`);
    }
  });

  it('notice lengths that are wrong, and do without', async () => {
    const { plain: bytes, coded: file } = large;
    for (const headers of [{ 'Content-Length': null }, { 'Content-Length': 'many' },
      { 'Content-Encoding': 'gzip', 'Content-Length': '99' }]) {
      const { fetch } = fake(() => okay(file, /** @type {any} */ (headers), inPieces(file, 10000)));
      assert.ok(same(await bytesOf(await hanselFetch(fetch)(AT)), bytes));
      const part = await hanselFetch(fetch)(AT, { headers: { Range: 'bytes=100-300000' } });
      assert.ok(same(await bytesOf(part), bytes.subarray(100, 300001)));
    }
    for (const n of [0, 5, 100, file.length - 1, file.length + 1, file.length + 1e9, 2 ** 60]) {
      const { fetch } = fake(() => okay(file, { 'Content-Length': `${n}` }, inPieces(file, 10000)));
      const answer = hanselFetch(fetch)(AT);
      if (n === 0) assert.equal(await (await answer).text(), PLAIN);
      else await refused(answer.then(bytesOf), /_TRUNCATED|_MANIFEST|_TRAILING/, `${n}`);
    }
  });

  it('fail as the transfer does, before and behind the header; and where it is damaged', async () => {
    const { coded: file } = large;
    for (const size of [100, 5000]) {
      for (const breaksAt of [0, 200, 100000, file.length - size]) {
        const { fetch } = fake(() => okay(file, {}, inPieces(file, size, { breaksAt })));
        const answer = hanselFetch(fetch)(AT);
        if (breaksAt > 10000) assert.equal((await answer).status, 200);
        await refused(answer.then(bytesOf), 'HANSEL_ERR_SOURCE', `${breaksAt}`);
      }
    }
    for (const at of [30, 5000, file.length - 5000]) {
      const damaged = file.slice();
      damaged[at] ^= 4;
      const { fetch } = fake(() => okay(damaged, {}, inPieces(damaged, 10000)));
      await refused(hanselFetch(fetch)(AT).then(bytesOf), /./, `${at}`);
      const { fetch: short } = fake(() => okay(damaged, {}, inPieces(damaged, 10000)));
      if (at < 100) await refused(hanselFetch(short)(AT, { method: 'HEAD' }), /./);
    }
  });

  it('stop when they are told to: before, waiting for an answer, in the middle; cancelled, too', async () => {
    const { coded: file } = large;
    const reason = new Error('enough');
    for (const honours of [true, false]) {
      const { fetch, asked } = fake(({ signal }) => okay(file, {}, inPieces(file, 5000, {
        stallsAt: honours ? 100000 : Infinity, signal: honours ? signal : undefined })));
      const restored = hanselFetch(fetch);
      await assert.rejects(restored(AT, { signal: AbortSignal.abort(reason) }), reason);
      await assert.rejects(restored(new Request(AT, { signal: AbortSignal.abort(reason) })), reason);
      const stop = new AbortController();
      const response = await restored(AT, { signal: stop.signal });
      const reader = response.body.getReader();
      await reader.read();
      if (honours) setTimeout(() => stop.abort(reason), 20);
      else stop.abort(reason);
      await assert.rejects((async () => { while (!(await reader.read()).done) await sleep(1); })(), reason);
      assert.ok(asked.every(({ url }) => url.endsWith('.hansel')), 'and ask for nothing else');
    }
    const { fetch } = fake(({ signal }) => new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    }));
    await assert.rejects(hanselFetch(fetch)(AT, { signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' });
    const stalling = fake(() => okay(file, {}, inPieces(file, 5000, { stallsAt: 100000 })));
    const reader = (await hanselFetch(stalling.fetch)(AT)).body.getReader();
    await reader.read();
    reader.read().catch(() => {});
    await sleep(20);
    await Promise.race([reader.cancel(), sleep(3000).then(() => assert.fail('cancel() waits'))]);
  });

  it('ranges of all kinds', async () => {
    for (const { plain: bytes, coded: file } of [small, large]) {
      const { fetch, asked } = fake(() => okay(file, {}, inPieces(file, 20000)));
      const restored = hanselFetch(fetch);
      const { length } = bytes;
      const mid = length >> 1;
      for (const [range, start, end] of /** @type {[string, number?, number?][]} */ ([
        ['bytes=0-0', 0, 1], ['bytes=0-', 0, length], [`bytes=${mid}-`, mid, length],
        [`bytes=${mid}-${mid + 70000}`, mid, Math.min(mid + 70001, length)],
        [`bytes=${length - 1}-`, length - 1, length], ['bytes=-1', length - 1, length],
        [`bytes=-${mid}`, length - mid, length],
        [`bytes=-${10 * length}`, 0, length], [`bytes=5-${'9'.repeat(30)}`, 5, length], ['bytes=00005-0006', 5, 7],
        [`bytes=${length}-`], [`bytes=${length}-${length + 5}`], ['bytes=-0'], [`bytes=${'9'.repeat(30)}-`], ['bytes=5-4']])) {
        const response = await restored(AT, { headers: { Range: range } });
        const body = await bytesOf(response);
        const got = [response.status, response.headers.get('Content-Range'), response.headers.get('Content-Length')];
        if (start === undefined) {
          assert.deepEqual([...got, body.length], [416, `bytes */${length}`, '0', 0], range);
        } else {
          assert.deepEqual(got, [206, `bytes ${start}-${end - 1}/${length}`, `${end - start}`], range);
          assert.ok(same(body, bytes.subarray(start, end)), range);
        }
      }
      for (const range of ['bytes=', 'bytes=-', 'bytes=a-b', 'bytes=0-4,6-9', 'bytes=1-2-3', 'chunks=0-4', '0-4',
        'bytes=-5-', 'bytes=+1-5', 'x'.repeat(9999)]) {
        const response = await restored(AT, { headers: { Range: range } });
        assert.deepEqual([response.status, response.headers.get('Content-Range')], [200, null], range.slice(0, 20));
        assert.ok(same(await bytesOf(response), bytes));
      }
      const conditional = await restored(AT, { headers: { 'Range': 'bytes=0-4', 'If-Range': '"v0"' } });
      assert.equal(conditional.status, 200);
      await conditional.body.cancel();
      assert.ok(asked.every(({ range }) => range === null), 'the coded file is asked for as a whole');
      const head = await restored(AT, { method: 'HEAD' });
      assert.deepEqual([head.status, head.body, head.headers.get('Content-Length')], [200, null, `${length}`]);
    }
  });

  it('leave alone what is none of their business', async () => {
    const { fetch, asked } = fake(() => okay(small.coded));
    const restored = hanselFetch(fetch);
    const init = { method: 'POST', body: 'x' };
    const request = new Request(AT, { method: 'PUT', body: 'x' });
    for (const [input, own] of /** @type {[any, any?][]} */ ([[AT, init], [request], ['m.gguf'], ['/m.gguf'], ['data:,x#.gguf'],
      ['blob:http://models.example/m.gguf'], ['file:///m.gguf'], ['http://models.example/m.bin'], [`${AT}.hansel`], [`${AT}/`],
      ['http://models.example/m.hansel.safetensors'], ['http://models.example/x?m.gguf'],
      [new URL('http://models.example/tokenizer.json')], [new Request(AT, { method: 'DELETE' })],
      [AT, { method: 'options' }], ['http://'], [''], [undefined], [5], [null]])) {
      await restored(input, own);
      const { input: seen, init: seenInit } = asked.pop();
      assert.ok(seen === input && seenInit === own, String(input));
      assert.equal(asked.length, 0);
    }
    const scope = /** @type {any} */ (globalThis);
    scope.location = { href: 'http://models.example/a/page.html' };
    try {
      assert.ok(same(await bytesOf(await restored('m.gguf')), GGUF));
      assert.equal(asked.pop().url, `${AT}.hansel`);
    } finally {
      delete scope.location;
    }
    const given = new Request(`${AT}?a=1`, {
      headers: { 'Range': 'bytes=0-9', 'Authorization': 'me', 'If-None-Match': '"x"' }, credentials: 'include',
    });
    const response = await restored(given);
    assert.deepEqual([response.status, (await bytesOf(response)).length], [206, 10]);
    const [{ url, init: passed }] = asked;
    assert.deepEqual([url, passed.method, passed.credentials, [...passed.headers.keys()]],
      [`${AT}.hansel?a=1`, 'GET', 'include', ['authorization']]);
    assert.ok(!given.bodyUsed);
  });

  it('know options, and no others; patterns with states, coded files anywhere', async () => {
    const { fetch, asked } = fake(() => okay(small.coded));
    for (const options of [{ cach: 1 }, { match: '.gguf' }, { match: null }, { threads: 0 }, { threads: 'x' }]) {
      assert.throws(() => hanselFetch(fetch, /** @type {any} */ (options)), { code: 'HANSEL_ERR_ARGUMENT' });
    }
    for (const none of /** @type {any[]} */ ([null, 5, {}, 'x'])) {
      assert.throws(() => hanselFetch(none), { code: 'HANSEL_ERR_ARGUMENT' });
    }
    const restored = hanselFetch(fetch, { match: /\.(bin|gguf)$/g });
    for (let i = 0; i < 4; i++) assert.ok(same(await bytesOf(await restored(AT)), GGUF), `${i}`);
    asked.length = 0;
    const elsewhere = hanselFetch(fetch, { coded: (url) => (url.pathname.includes('none') ? null : `../other/c.hansel`) });
    assert.ok(same(await bytesOf(await elsewhere(AT)), GGUF));
    assert.equal(await (await elsewhere('http://models.example/none.gguf')).text(), PLAIN);
    assert.deepEqual(asked.map(({ url }) => url), ['http://models.example/other/c.hansel', 'http://models.example/none.gguf']);
    await assert.rejects(hanselFetch(fetch, { coded: () => { throw new RangeError('own'); } })(AT), { message: 'own' });
  });

  it('many at a time, and bodies that nobody reads, which are not fetched', async () => {
    let pulls = 0;
    const { plain: bytes, coded: file } = large;
    const { fetch } = fake(() => okay(file, {}, inPieces(file, 2000, { onPull: () => pulls++ })));
    const restored = hanselFetch(fetch);
    const unread = await Promise.all(Array.from({ length: 5 }, () => restored(AT)));
    await sleep(100);
    assert.ok(pulls < 5 * file.length / 2000 / 2, `${pulls} of ${5 * file.length / 2000}`);
    const all = await Promise.all(['0-', '5000-6000', '700000-1500000', '-100000', '1-1'].map((range) => (
      restored(AT, { headers: { Range: `bytes=${range}` } }).then(bytesOf))));
    const parts = [[0], [5000, 6001], [700000, 1500001], [-100000], [1, 2]];
    for (const [i, [a, b]] of parts.entries()) assert.ok(same(all[i], bytes.subarray(a, b)), `${i}`);
    assert.ok(same(await bytesOf(unread[0]), bytes));
    for (const one of unread.slice(1)) await one.body.cancel();
  });

  it('caches that have no room, that throw, that hold something else', async () => {
    const { plain: bytes, coded: file } = large;
    const puts = [];
    const refusing = [
      async () => { throw new Error('QuotaExceededError'); }, () => { throw new TypeError('no'); }, () => undefined,
      async (_, response) => {
        await response.body.getReader().read();
        throw new Error('no');
      }];
    for (const put of refusing) {
      const cache = /** @type {any} */ ({ match: async () => undefined, put });
      const { fetch } = fake(() => okay(file, {}, inPieces(file, 50000)));
      const restored = hanselFetch(fetch, { cache });
      assert.ok(same(await bytesOf(await restored(AT)), bytes));
      assert.equal((await restored(AT, { method: 'HEAD' })).headers.get('Content-Length'), `${bytes.length}`);
    }
    const cache = mapCache(puts);
    const { fetch, asked } = fake(() => okay(file, {}, inPieces(file, 50000)));
    const restored = hanselFetch(fetch, { cache });
    await restored(AT, { method: 'HEAD' });
    await bytesOf(await restored(AT, { headers: { Range: 'bytes=0-0' } }));
    assert.deepEqual(puts, [], 'what is not read to its end is not kept');
    for (let i = 0; i < 3; i++) assert.ok(same(await bytesOf(await restored(AT)), bytes));
    assert.deepEqual([puts, asked.length], [[`${AT}.hansel`], 3]);
    const part = await restored(AT, { headers: { Range: 'bytes=9-99999' } });
    assert.ok(same(await bytesOf(part), bytes.subarray(9, 100000)));
    assert.equal(asked.length, 3);
    const none = fake(() => okay(Buffer.from('Not found, and much more')));
    await hanselFetch(none.fetch, { cache: mapCache(puts) })(AT);
    assert.equal(puts.length, 1, 'no coded file, not kept');
  });

  /** A Map that does as caches do. @param {string[]} [puts] receives addresses */
  function mapCache(puts = []) {
    /** @type {Map<string, Response>} */
    const kept = new Map();
    const key = (/** @type {any} */ request) => String(request?.url ?? request);
    return /** @type {any} */ ({
      kept,
      match: async (/** @type {any} */ request) => kept.get(key(request))?.clone(),
      put: async (/** @type {any} */ request, /** @type {Response} */ response) => {
        puts.push(key(request));
        const { status, headers } = response;
        kept.set(key(request), new Response(await response.arrayBuffer(), { status, headers }));
      },
      delete: async (/** @type {any} */ request) => kept.delete(key(request)),
    });
  }

  it('a cache of coded files, as one of plain ones', async () => {
    const inner = mapCache();
    const cache = hanselCache(inner);
    const { fetch, asked } = fake(() => okay(large.coded));
    const restored = hanselFetch(fetch, { cache: inner });
    assert.equal(await cache.match(AT), undefined);
    const first = await restored(AT);
    await cache.put(AT, first); // as transformers.js does
    await until(() => inner.kept.size > 0, 'coded file').catch(() => {});
    assert.deepEqual([...inner.kept.keys()], [`${AT}.hansel`]);
    for (const request of [AT, new URL(AT), new Request(AT)]) {
      assert.ok(same(await bytesOf(await cache.match(request)), large.plain));
    }
    await cache.put('http://models.example/config.json', new Response('{}'));
    assert.equal(await (await cache.match('http://models.example/config.json')).text(), '{}');
    await cache.put('m.gguf', new Response('relative'));
    assert.equal(await (await cache.match('m.gguf')).text(), 'relative');
    assert.equal(asked.length, 1);
    await inner.put(`${AT}.hansel`, okay(large.coded.slice(0, 5000)));
    await refused(cache.match(AT), /_TRUNCATED|_MANIFEST/, 'half a file');
    await inner.put(`${AT}.hansel`, new Response('<html>', { headers: { 'Content-Type': 'text/html' } }));
    assert.equal(await cache.match(AT), undefined, 'a page');
    assert.equal(await cache.delete(AT), true);
    assert.equal(await cache.delete(AT), false);
    assert.equal(await cache.match(AT), undefined);
    const least = /** @type {any} */ ({ match: async () => undefined, put: async () => {} });
    assert.equal(await hanselCache(least).delete(AT), false);
  });
});
