/** Plans: shards that are measured and coded apart become what one machine makes of all of them. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bad, cleanUp, folder, gaussian, good, plain } from './command.js';

const SHARDS = {
  'model-00001-of-00003.safetensors': {
    'embed_tokens.weight': gaussian([300, 48], 1), 'a.weight': gaussian([96, 48], 2, 0.1), 'a.norm': gaussian([48], 3),
  },
  'model-00002-of-00003.safetensors': {
    'b.weight': gaussian([200, 48], 4, 0.02), 'zero.weight': { dtype: 'F32', shape: [64, 64], data: new Float32Array(4096) },
    'tiny.weight': gaussian([2, 3], 5), 'ids': { dtype: 'I32', shape: [5], data: new Int32Array(5) },
  },
  'model-00003-of-00003.safetensors': { 'c.weight': gaussian([48, 130], 6, 0.3), 'lm_head.weight': gaussian([300, 48], 7, 2) },
};
const NAMES = Object.keys(SHARDS);
const INDEX = 'model.safetensors.index.json';

/** Files of a model in shards. */
function shards() {
  const cwd = folder();
  for (const [name, tensors] of Object.entries(SHARDS)) writeFileSync(join(cwd, name), plain(tensors));
  writeFileSync(join(cwd, INDEX), JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(
    Object.entries(SHARDS).flatMap(([shard, tensors]) => Object.keys(tensors).map((name) => [name, shard]))) }));
  const columns = { 'a.weight': 48, 'b.weight': 48, 'c.weight': 130 };
  writeFileSync(join(cwd, 'h.safetensors'), plain(Object.fromEntries(Object.entries(columns).map(([name, n]) => {
    const data = [];
    for (let i = 0; i < n; i++) for (let j = i; j < n; j++) data.push(i === j ? 1 + i % 4 : 0.5 / (1 + j - i));
    return [name, { dtype: 'F32', shape: [data.length], data: Float32Array.from(data) }];
  })), [['hessians', '1']]));
  return cwd;
}

describe('plans', function () {
  this.timeout(60000);
  after(cleanUp);

  for (const [what, options] of Object.entries({
    'a rate': ['--bits', '3.2'], 'a rate each': ['--bits', '3.2', '--each', '--hessians', 'h.safetensors'],
    'error feedback': ['--bits', '2.6', '--hessians', 'h.safetensors'],
    'aims of their own': ['--bits', '3', '--tensor', 'a.*=5', '--tensor', 'lm_head.weight=lossless', '--exclude', 'embed',
      '--hessians', 'h.safetensors', '--stream-length', '600'],
  })) {
    it(`${what}: bytes are those of one machine`, async () => {
      const cwd = shards();
      await good(['encode', INDEX, '-o', `one.safetensors.index.json`, ...options], { cwd });
      // Measured apart, put together in any order.
      for (const [i, name] of NAMES.entries()) {
        const { stderr } = await good(['plan', name, '-o', `${i}.json`, ...options.filter((x, at) => (
          x !== '--bits' && options[at - 1] !== '--bits' && x !== '--each'))], { cwd });
        assert.match(stderr, /^\d\.json: [1-4] tensors? measured\n$/);
      }
      const more = options.filter((x, at) => !/hessians/.test(x) && !/hessians/.test(options[at - 1])).concat(
        options.includes('--hessians') ? ['--hessians', 'h.safetensors'] : []);
      await good(['plan', '2.json', '0.json', '1.json', '-o', 'apart.json', ...more], { cwd });
      await good(['plan', INDEX, '-o', 'at-once.json', ...options], { cwd });
      assert.deepEqual(JSON.parse(readFileSync(join(cwd, 'apart.json'), 'utf8')),
        JSON.parse(readFileSync(join(cwd, 'at-once.json'), 'utf8')));
      for (const [i, name] of NAMES.entries()) {
        await good(['encode', '--plan', 'apart.json', name, '-o', `coded-${name}`,
          ...options.includes('--hessians') ? ['--hessians', 'h.safetensors'] : []], { cwd });
        const one = readFileSync(join(cwd, `one-0000${i + 1}-of-00003.safetensors`));
        assert.equal(Buffer.compare(readFileSync(join(cwd, `coded-${name}`)), one), 0, name);
      }
    });
  }

  it('one file of several is coded by a plan as the index is', async () => {
    const cwd = shards();
    await good(['plan', ...NAMES, '-o', 'plan.json', '--bits', '4'], { cwd });
    await good(['encode', INDEX, '--plan', 'plan.json', '-o', 'a.safetensors.index.json'], { cwd });
    await good(['encode', INDEX, '--bits', '4', '-o', 'b.safetensors.index.json'], { cwd });
    for (const i of [1, 2, 3]) {
      assert.equal(Buffer.compare(...['a', 'b'].map((x) => readFileSync(join(cwd, `${x}-0000${i}-of-00003.safetensors`)))), 0);
    }
  });

  it('a Hessian of the unit gains nothing, and is measured like others', async () => {
    const cwd = shards();
    const data = [];
    for (let i = 0; i < 48; i++) for (let j = i; j < 48; j++) data.push(i === j ? 1 : 0);
    writeFileSync(join(cwd, 'unit.safetensors'), plain({ 'a.weight': { dtype: 'F32', shape: [data.length],
      data: Float32Array.from(data) } }, [['hessians', '1']]));
    await good(['plan', NAMES[0], '-o', 'm.json', '--hessians', 'unit.safetensors'], { cwd });
    const [, { name, gain, isFed }] = JSON.parse(readFileSync(join(cwd, 'm.json'), 'utf8')).tensors
      .sort((x, y) => (x.name > y.name ? -1 : 1));
    assert.deepEqual([name, gain, isFed], ['a.weight', 1, true]);
    await good(['plan', 'm.json', '-o', 'p.json', '--bits', '4', '--hessians', 'unit.safetensors'], { cwd });
  });

  it('names what is no plan, and what it does not say', async () => {
    const cwd = shards();
    const [one, two, three] = NAMES;
    const out = ['-o', 'out'];
    const write = (name, value) => writeFileSync(join(cwd, name), typeof value === 'string' ? value : JSON.stringify(value));
    await good(['plan', one, '-o', 'm.json'], { cwd });
    await good(['plan', 'm.json', two, '-o', 'plan.json', '--bits', '4'], { cwd });
    await good(['plan', one, '-o', 'fed.json', '--bits', '4', '--hessians', 'h.safetensors'], { cwd });
    const measured = JSON.parse(readFileSync(join(cwd, 'm.json'), 'utf8'));
    const { stderr } = await bad(['encode', '--plan', 'plan.json', three, ...out], 'HANSEL_ERR_PLAN', 1, { cwd });
    assert.match(stderr, /c\.weight/);
    write('bad.json', '{');
    write('other.json', { hansel: 'plan 2' });
    write('rates.json', { hansel: 'plan 1', values: {}, rates: { a: { step: -1, most: 2 } } });
    write('none.json', { hansel: 'plan 1' });
    write('far.json', { hansel: 'plan 1', values: {}, rates: { a: { step: 1e300, most: 2 } } });
    write('zero.json', { hansel: 'plan 1', values: {}, rates: { a: { step: 1, most: 0 } } });
    write('little.json', { hansel: 'plan 1', values: { bits: '4' }, rates: Object.fromEntries(Object.keys(SHARDS[two])
      .map((name) => [name, { step: 0.1, most: 1e-9 }])) });
    assert.match((await good(['encode', '--plan', 'little.json', two, '-o', 'little'], { cwd })).stderr, /no step costs so little/);
    writeFileSync(join(cwd, 'alien.safetensors'), plain({ alien: { dtype: 'F32', shape: [1], data: Float32Array.of(1) } }, [['hessians', '1']]));
    for (const args of [['encode', INDEX, '-o', 'o.safetensors.index.json'], ['plan', INDEX, ...out]]) {
      await bad([...args, '--bits', '4', '--hessians', 'alien.safetensors'], 'HANSEL_ERR_HESSIAN', 1, { cwd });
    }
    write('values.json', 'far.json', 'zero.json', { hansel: 'plan 1', values: { bits: '4', tensor: 7 }, rates: {} });
    for (const file of ['bad.json', 'other.json', 'rates.json', 'none.json', 'values.json', 'm.json', one]) {
      await bad(['encode', '--plan', file, one, ...out], 'HANSEL_ERR_PLAN', 1, { cwd });
    }
    await bad(['encode', '--plan', 'nowhere', one, ...out], 'HANSEL_ERR_SOURCE', 1, { cwd });
    for (const [i, change] of [(t) => { t.shape = [-1]; }, (t) => { t.curve = ['x']; }, (t) => { t.gain = 0; },
      (t) => { t.dtype = 'I8'; }, (t) => { t.sumSquares = 0; }, (t) => { t.low = t.high = 0; }, (t) => { t.gain = 1e300; }, (t) => { delete t.name; }, (t) => { t.low = 1; }].entries()) {
      const copy = structuredClone(measured);
      change(copy.tensors[0]);
      write(`t${i}.json`, copy);
      await bad(['plan', `t${i}.json`, ...out, '--bits', '3'], 'HANSEL_ERR_PLAN', 1, { cwd });
    }
    write('list.json', { hansel: 'measured 1', tensors: 5 });
    await bad(['plan', 'list.json', ...out], 'HANSEL_ERR_PLAN', 1, { cwd });
    await bad(['plan', 'm.json', one, ...out], 'HANSEL_ERR_PLAN', 1, { cwd }); // twice
    await bad(['plan', 'plan.json', ...out], 'HANSEL_ERR_PLAN', 1, { cwd });
    await bad(['plan', one], 'HANSEL_ERR_USAGE', 2, { cwd });
    await bad(['plan', one, ...out, '--each'], 'HANSEL_ERR_USAGE', 2, { cwd });
    await bad(['encode', '--plan', 'plan.json', one, '--bits', '3', ...out], 'HANSEL_ERR_USAGE', 2, { cwd });
    await bad(['encode', '--plan', 'fed.json', one, ...out], 'HANSEL_ERR_USAGE', 2, { cwd });
    await bad(['plan', one, '-o', 'plan.json'], 'HANSEL_ERR_EXISTS', 1, { cwd });
    assert.ok(!readdirSync(cwd).includes('out'));
  });
});
