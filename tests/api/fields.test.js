/** Tensors as several matrices: what they are made of is found, and restored bit for bit. */
import assert from 'node:assert/strict';
import { bytesOf as blockBytes, loadPlanes } from '../../web/core/planes.js';
import { classInputs, findClasses } from '../../web/encode/classes.js';
import { planFields, planeInput } from '../../web/encode/fields.js';
import { formulaRandom } from './formula.js';
import { KINDS, awq, gguf, gptq, mlx, packed } from './quantized.js';
import { bytesOf, count, same } from './tensors.js';

/** @param {Record<string, {dtype: string, shape: number[], data: ArrayBufferView}>} tensors */
const inputsOf = (tensors) => new Map(Object.entries(tensors).map(([name, { dtype, shape, data }]) => [
  name, { name, dtype, shape, read: async (start, end) => bytesOf(data).subarray(start, end) }]));

/** Everything of an input. */
const all = (input) => input.read(0, count(input.shape)
  * (input.dtype === 'F32' ? 4 : input.dtype.endsWith('16') ? 2 : 1));

/** What planFields() finds, as text. */
const told = (plan) => plan && `${plan.blockBytes}: ${plan.planes.map(({ field: f, base }) => (
  `${f.items}x${f.width}${base ? '-' : ''}`)).join(' ')}`;

/** Finds fields of all tensors; takes each apart, and puts it together again. */
async function checkAll(tensors) {
  const planes = await loadPlanes();
  const inputs = inputsOf(tensors);
  const plans = await planFields(inputs.values());
  for (const [name, plan] of plans) {
    const wanted = bytesOf(tensors[name].data);
    const found = new Uint8Array(wanted.length);
    for (const plane of plan.planes) {
      const { field, base, shape } = plane;
      const input = planeInput(planes, inputs.get(name), plane, inputs);
      const size = Math.ceil(field.width / 8);
      const elements = count(shape);
      const whole = await all(input);
      assert.equal(whole.length, elements * size);
      for (let first = 0; first < elements;) { // in parts of odd sizes
        const end = Math.min(elements, first + 1 + (elements >> 2));
        const some = await input.read(first * size, end * size);
        assert.ok(same(some, whole.subarray(first * size, end * size)), `${name}: ${first} to ${end}`);
        if (base) {
          const { data } = tensors[base.tensor];
          const values = planes.get(field, bytesOf(data), 0, bytesOf(data).length * field.items);
          planes.addBase(base, values, some, first, field.width);
        }
        planes.put(field, found.subarray(...blockBytes(field, first, end)), some, first);
        first = end;
      }
    }
    assert.ok(same(found, wanted), `${name}: ${told(plan)}`);
  }
  return Object.fromEntries(Object.keys(tensors).map((name) => [name, told(plans.get(name))]));
}

describe('fields', function () {
  this.timeout(60000);

  it('GPTQ: codes less their zero points', async () => {
    const found = await checkAll(gptq(256, 96));
    assert.equal(found['layer.qweight'], '1: 2x4-');
    assert.equal(found['layer.qzeros'], '1: 2x4');
    assert.equal(found['layer.scales'], undefined);
    assert.match(found['layer.g_idx'], /^4: /);
  });

  it('GPTQ: zero points first, ragged groups, columns that do not fill a word, 8 and 2 bits', async () => {
    const tensors = gptq(256, 96);
    const found = await checkAll(Object.fromEntries(Object.entries(tensors).reverse()));
    assert.equal(found['layer.qweight'], '1: 2x4-');
    for (const [rows, columns, options] of [[320, 96, { group: 128 }], [256, 100, {}],
      [512, 64, { bits: 8, group: 64 }], [512, 160, { bits: 2 }]]) {
      const { bits = 4 } = options;
      const { 'layer.qweight': weight } = await checkAll(gptq(rows, columns, options));
      assert.equal(weight, `1: ${8 / bits}x${bits}-`, `${rows} x ${columns}`);
    }
  });

  it('AWQ, MLX', async () => {
    assert.equal((await checkAll(awq(256, 96)))['layer.qweight'], '1: 2x4-');
    assert.equal((await checkAll(mlx(96, 256)))['layer.weight'], '1: 2x4');
    assert.equal((await checkAll(mlx(96, 256, 8)))['layer.weight'], '4: 4x8');
    assert.equal((await checkAll(mlx(96, 512, 2)))['layer.weight'], '1: 4x2');
  });

  it('names that fit, shapes that do not; zero points that help nothing', async () => {
    const other = gptq(256, 96, { seed: 77 });
    for (const wrong of [
      { ...other['layer.qzeros'], shape: [count(other['layer.qzeros'].shape)] },
      { dtype: 'F32', shape: [8, 12], data: new Float32Array(96) },
      { dtype: 'I32', shape: [8, 0], data: new Int32Array(0) },
      { dtype: 'I32', shape: [0, 12], data: new Int32Array(0) },
      { dtype: 'I32', shape: [7, 11], data: new Int32Array(77) },
      { dtype: 'I32', shape: [8, 12], data: Int32Array.from({ length: 96 }, (_, i) => formulaRandom(3, i)) },
    ]) {
      const found = await checkAll({ ...gptq(256, 96), 'layer.qzeros': wrong });
      assert.match(found['layer.qweight'], /^[14]: \d+x\d$/);
    }
    assert.deepEqual(await checkAll({ 'a.qweight': { dtype: 'I32', shape: [], data: Int32Array.of(7) } }),
      { 'a.qweight': undefined });
  });

  for (const [kind, wanted] of Object.entries({
    Q4_0: '18: 1x16 32x4', Q4_1: '20: 2x16 32x4', Q5_0: '22: 1x16 4x8 32x4',
    Q8_0: '34: 1x16 32x8', Q4_K: /^144: .*256x4$/, Q5_K: /^176: .* 256x4$/, Q6_K: /^210: 256x4 .*1x16$/,
  })) {
    it(`blocks of ${kind}`, async () => {
      const { w } = await checkAll({ w: gguf(kind, 256, kind.endsWith('K') ? 2 : 8) });
      if (typeof wanted === 'string') assert.equal(w, wanted);
      else assert.match(w, wanted);
    });
  }

  it('all kinds, of one block up, ragged', async () => {
    for (const kind of KINDS) {
      for (const [rows, blocks] of [[1, 1], [7, 1], [1, 300], [33, 5]]) {
        await checkAll({ w: gguf(kind, rows, blocks), 'a.qweight': { ...gguf(kind, rows, blocks), dtype: 'BOOL' } });
      }
    }
  });

  it('samples of what is larger than a sample', async () => {
    const { w } = await checkAll({ w: gguf('Q8_0', 1000, 40) });
    assert.equal(w, '34: 1x16 32x8');
    const found = await checkAll(gptq(2048, 1536));
    assert.equal(found['layer.qweight'], '1: 2x4-');
  });

  it('bytes of wide numbers', async () => {
    const numbers = (n) => Array.from({ length: n }, (_, i) => (formulaRandom(1, i) % 1000) ** 2 + 3e5);
    const found = await checkAll({
      i64: { dtype: 'I64', shape: [3000], data: BigInt64Array.from(numbers(3000), BigInt) },
      i32: { dtype: 'I32', shape: [30, 100], data: Int32Array.from(numbers(3000)) },
      u16: { dtype: 'U16', shape: [3000], data: Uint16Array.from(numbers(3000), (n) => n % 900) },
      f64: { dtype: 'F64', shape: [3000], data: Float64Array.from(numbers(3000)) },
      bool: { dtype: 'BOOL', shape: [3000], data: Uint8Array.from(numbers(3000), (n) => n % 3 === 0) },
      none: { dtype: 'I64', shape: [0, 5], data: new BigInt64Array(0) },
      one: { dtype: 'I64', shape: [], data: BigInt64Array.of(-1n) },
      f4: { dtype: 'F4', shape: [40, 100], data: packed(4000, 4, (i) => formulaRandom(2, i) % 5) },
      f6: { dtype: 'F6_E2M3', shape: [40, 4], data: new Uint8Array(120).fill(200) },
    });
    assert.match(found.i64, /^8: 1x8 .*5x8$/);
    assert.match(found.u16, /^2: 1x8 1x8$/);
    assert.equal(found.none, undefined);
    assert.equal(found.f4, '1: 2x4');
  });

  it('nothing where there is nothing to find', async () => {
    const noise = Uint8Array.from({ length: 34 * 18 * 20 }, (_, i) => formulaRandom(5, i));
    const found = await checkAll({
      noise: { dtype: 'U8', shape: [20, 34 * 18], data: noise }, i8: { dtype: 'I8', shape: [20, 34 * 18], data: noise },
      f16: { dtype: 'F16', shape: [10, 34 * 18], data: noise },
    });
    assert.deepEqual(Object.values(found), [undefined, undefined, undefined]);
  });
});

describe('classes of rows', () => {
  /** Rows of some scales. */
  const rowsOf = (rows, columns, scale) => Int8Array.from({ length: rows * columns }, (_, i) => {
    const s = scale(Math.floor(i / columns));
    return formulaRandom(1, i) % (2 * s + 1) - s;
  });

  it('the same as native code finds', async () => { // tests/core/native_planes.c
    const planes = await loadPlanes();
    const counts = new Uint32Array(256 * 300);
    for (let r = 0; r < 300; r++) {
      for (let i = 0; i < 500; i++) counts[256 * r + formulaRandom(r, i) % (3 + r % 97)]++;
    }
    const { map, saved } = planes.classify(counts);
    assert.equal(map.reduce((sum, k) => (Math.imul(sum, 31) + k) >>> 0, 0), 1719662940);
    assert.equal(Math.floor(saved), 91145);
  });

  it('rows come together again', async () => {
    const planes = await loadPlanes();
    for (const [rows, columns] of [[64, 100], [300, 77], [1100, 33]]) {
      const data = rowsOf(rows, columns, (row) => [3, 20, 120][row * 7 % 3]);
      const [[, input]] = inputsOf({ w: { dtype: 'I8', shape: [rows, columns], data } });
      const { map, saved } = await findClasses(planes, input, 0);
      assert.ok(saved > 0);
      const [own, ...classes] = classInputs(input, map);
      assert.ok(same(await all(own), map));
      assert.equal(classes.reduce((n, { shape }) => n + shape[0], 0), rows);
      const taken = classes.map(() => 0);
      const parts = await Promise.all(classes.map(all));
      map.forEach((k, row) => {
        const at = columns * taken[k]++;
        assert.ok(same(parts[k].subarray(at, at + columns), data.subarray(row * columns, (row + 1) * columns)));
      });
      for (const [k, part] of classes.entries()) { // from within a row to within a row
        const [from, to] = [columns >> 1, parts[k].length - 3];
        assert.ok(same(await part.read(from, to), parts[k].subarray(from, to)));
        assert.equal((await part.read(5, 5)).length, 0);
      }
    }
  });

  it('none where rows are alike, few, short or too many', async () => {
    const planes = await loadPlanes();
    const find = (rows, columns, scale, least = 0) => findClasses(planes, [...inputsOf(
      { w: { dtype: 'I8', shape: [rows, columns], data: rowsOf(rows, columns, scale) } }).values()][0], least);
    assert.equal(await find(64, 256, () => 20), null);
    assert.equal(await find(1, 5000, () => 20), null);
    assert.equal(await find(5000, 4, (row) => 1 + row % 100), null);
    assert.equal(await find(70000, 8, (row) => 1 + row % 100), null);
    // Large ones are asked by an eighth of their rows: bits that are worth it, more than there are, and fewer.
    const large = (scale, least) => find(4096, 1024, scale, least);
    const found = await large((row) => 4 + row % 40, 1000);
    assert.ok(found.saved > 1e5);
    assert.equal(await large((row) => 4 + row % 40, 4 * found.saved), null);
    assert.equal(await large(() => 20, 1000), null);
    assert.equal(await find(0, 8, () => 1), null);
  });
});
