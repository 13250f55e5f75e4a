/** The reference matrix and its generator against NumPy's (tests/fixtures/sample.json). */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  RandomState, SAMPLE_COLUMNS, SAMPLE_ROWS, SAMPLE_SEED, sampleRows, sampleRows64,
} from '../../web/cli/sample.js';
import { Encoder } from '../../web/core/encoder.js';

// Known answers from NumPy. The member `run` is the command that made them, from `script`.
const known = JSON.parse(
  readFileSync(new URL('../fixtures/sample.json', import.meta.url), 'utf8'),
);
const COUNT = SAMPLE_ROWS * SAMPLE_COLUMNS;

/** NumPy's logarithm is the C library's: the last bits of a float64 are nobody's promise. */
function assertClose(got, expected, where) {
  assert.ok(Math.abs(got - expected) <= 4 * Number.EPSILON * Math.abs(expected),
    `${where}: ${got}, not ${expected}`);
}

/** Bits per symbol of a histogram when symbol i costs -log2(p(i)). */
function bitsPerSymbol(counts, p) {
  return counts.reduce((sum, c, i) => (c ? sum - c / COUNT * Math.log2(p(i)) : sum), 0);
}

/** NumPy's round for values below 2^51: the sum rounds half to even. */
function roundHalfEven(x) {
  return x + 1.5 * 2 ** 52 - 1.5 * 2 ** 52;
}

describe('RandomState', () => {
  for (const { seed, words, calls } of known.mixed) {
    it(`equals NumPy's words for seed ${seed}, across blocks`, () => {
      const random = new RandomState(seed);
      const answers = new Map(words);
      for (let i = 0; i <= words.at(-1)[0]; i++) {
        const word = random.nextUint32();
        if (answers.has(i)) assert.equal(word, answers.get(i), `word ${i}`);
      }
    });

    it(`equals NumPy for seed ${seed} when calls alternate: a spare Gaussian waits`, () => {
      const random = new RandomState(seed);
      calls.forEach(([method, answer], i) => {
        const got = random[method]();
        if (method === 'gauss') assertClose(got, answer, `call ${i}`);
        else assert.equal(got, answer, `call ${i}, ${method}`);
      });
    });
  }

  it('refuses what np.random.seed refuses', () => {
    for (const seed of [-1, 2 ** 32, 0.5, NaN, Infinity, '7', undefined, null]) {
      assert.throws(() => new RandomState(seed), { code: 'HANSEL_ERR_ARGUMENT' }, String(seed));
    }
  });
});

describe('sampleRows', () => {
  it('cuts by whole rows, and the cut changes no value', () => {
    for (const rowsPerSlice of [1, 2, 3, 7, 100]) {
      const slices = [...sampleRows({ rows: 7, columns: 5, seed: 99, rowsPerSlice })];
      assert.equal(slices.length, Math.ceil(7 / rowsPerSlice));
      slices.forEach((slice, i) => {
        assert.ok(slice instanceof Float32Array);
        assert.equal(slice.length, 5 * Math.min(rowsPerSlice, 7 - i * rowsPerSlice));
      });
      assert.deepEqual(slices.flatMap((slice) => [...slice]), known.seed99.map(Math.fround));
    }
  });

  it('refuses shapes that are none', () => {
    for (const wrong of [0, -1, 1.5, NaN, '4']) {
      for (const name of ['rows', 'columns', 'rowsPerSlice']) {
        assert.throws(() => sampleRows({ [name]: wrong }).next(), { code: 'HANSEL_ERR_ARGUMENT' },
          `${name} ${wrong}`);
      }
    }
  });

  it('is the reference matrix by default', () => {
    assert.deepEqual([SAMPLE_ROWS, SAMPLE_COLUMNS, SAMPLE_SEED], [14336, 4096, 2025]);
    const { value } = sampleRows().next();
    const bits = new Uint32Array(value.buffer);
    assert.equal(value.length, 256 * SAMPLE_COLUMNS);
    for (const [i, answer] of known.float32Bits) {
      if (i < bits.length) assert.equal(bits[i], answer, `value ${i}`);
    }
  });
});

describe('the reference matrix', () => {
  const counts = new Array(256).fill(0);
  const wrong = [];
  let digest = '';
  let checked = 0;

  before(function onePassOverAllValues() {
    this.timeout(120_000);
    const hash = createHash('sha256');
    const symbols = new Uint32Array(256);
    let first = 0;
    for (const slice of sampleRows64()) {
      for (let i = 0; i < slice.length; i++) symbols[roundHalfEven(slice[i] * 52) & 255]++;
      const bits = new Uint32Array(new Float32Array(slice).buffer);
      for (; checked < known.float32Bits.length; checked++) {
        const [i, answer] = known.float32Bits[checked];
        if (i >= first + bits.length) break;
        if (bits[i - first] !== answer) wrong.push(i);
      }
      hash.update(new Uint8Array(bits.buffer));
      first += bits.length;
    }
    assert.equal(first, COUNT);
    digest = hash.digest('hex');
    symbols.forEach((count, i) => { counts[i] = count; });
  });

  it('holds NumPy\'s F32 at every known place', () => {
    assert.ok(known.float32Bits.length >= 300);
    assert.equal(checked, known.float32Bits.length);
    assert.deepEqual(wrong, []);
  });

  it('has the SHA-256 of NumPy\'s 58,720,256 values', () => {
    assert.equal(digest, known.sha256);
  });

  it('wraps to the 256 symbols of the origin\'s notebook, 7.6923 bits of entropy', () => {
    assert.deepEqual(counts, known.q.counts);
    assert.equal(counts.filter(Boolean).length, 256);
    const entropy = bitsPerSymbol(counts, (i) => counts[i] / COUNT);
    assert.ok(Math.abs(entropy - 7.6923) < 5e-5, `${entropy}`);
    assertClose(entropy, known.q.entropy, 'entropy');
  });

  it('leaves the notebook\'s frequency rule an excess of 211, and 7.6936 bits', () => {
    const fit = (eps) => counts.map((c) => Math.max(roundHalfEven(c / eps), 1));
    const excessOf = (freqs) => freqs.reduce((sum, f) => sum + f) - 4096;
    const freqs = fit(0.95 * COUNT / 4096);
    const excess = excessOf(freqs);
    assert.equal(excess, 211);
    const byCount = freqs.map((_, i) => i).sort((a, b) => counts[b] - counts[a]);
    for (const i of byCount.slice(0, excess)) freqs[i]--;
    assert.equal(excessOf(freqs), 0);
    const crossEntropy = bitsPerSymbol(counts, (i) => freqs[i] / 4096);
    assert.ok(Math.abs(crossEntropy - 7.6936) < 5e-5, `${crossEntropy}`);
    assertClose(crossEntropy, known.q.crossEntropy, 'cross entropy');
    assert.equal(excessOf(fit(COUNT / 4096)), -11);
  });

  it('costs at most 7.6933 bits with the frequencies of the C core', async () => {
    const codec = await Encoder.create();
    const begun = codec.begin({
      dtype: 'I8', shape: [SAMPLE_ROWS, SAMPLE_COLUMNS], lossless: true, precision: 12,
      weightsPerSymbol: 1,
    });
    const { blob } = codec.next(begun, { counts: Float64Array.from(counts) });
    assert.equal(blob.freq.reduce((sum, f) => sum + f), 4096);
    const cost = bitsPerSymbol(counts, (i) => blob.freq[i - blob.origin & 255] / 4096);
    assert.ok(cost <= 7.6933, `${cost}`);
    console.log(`      ${cost.toFixed(5)} bits`);
  });
});
