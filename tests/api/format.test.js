/** src/FORMAT.md: a decoder written from it alone reads the vectors of version 4; its example is right. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { crc32c, decodeBlob, levelWeight, normalize } from './format_decoder.js';
import { formulaBytes } from './formula.js';

const ROOT = new URL('../..', import.meta.url);
/** @param {string} file */
const read = async (file) => new Uint8Array(await readFile(new URL(file, ROOT)));
/** @param {Uint8Array} bytes */
const crc = (bytes) => crc32c(bytes).toString(16).padStart(8, '0');
/** @param {string} text */
const numbersIn = (text) => (text.match(/-?\b\d+\b/g) ?? []).map(Number);

describe('FORMAT.md', () => {
  /** @type {{ok: any[], bad: any[]}} */
  let vectors;
  before(async () => {
    vectors = JSON.parse(new TextDecoder().decode(await read('tests/vectors/version_4/vectors.json')));
    assert.ok(vectors.ok.length > 200 && vectors.bad.length > 100);
  });

  it('suffices to decode all vectors', async () => {
    assert.equal(crc32c(new TextEncoder().encode('123456789')), 0xE3069283);
    for (const { name, file, dtype, shape, mode, ...vector } of vectors.ok) {
      const blob = await read(`tests/vectors/${file}`);
      assert.deepEqual([blob.length, crc(blob)], [vector.blob_bytes, vector.blob_crc32c], name);
      const { symbols, values, ...head } = decodeBlob(blob);
      assert.deepEqual(head, { dtype, mode, shape, step: Math.fround(vector.grid_step) }, name);
      assert.deepEqual([crc(symbols), crc(values)], [vector.symbols_crc32c, vector.values_crc32c], name);
      const source = formulaBytes(vector.formula, dtype, symbols.length);
      assert.equal(crc(source), vector.source_crc32c, name);
      if (mode === 'lossless') assert.deepEqual(values, source, name);
    }
    console.log(`      ${vectors.ok.length} vectors`);
  });

  it('suffices to refuse the bad ones, each with its error', async () => {
    for (const { name, file, status } of vectors.bad) {
      const blob = await read(`tests/vectors/${file}`);
      assert.throws(() => decodeBlob(blob), { code: status }, name);
    }
    console.log(`      ${vectors.bad.length} bad vectors`);
  });

  describe('section 9', () => {
    /** @type {string} */
    let text;
    /** @type {Uint8Array} */
    let blob;
    before(async () => {
      [text] = new TextDecoder().decode(await read('src/FORMAT.md')).split('\n## 9. ')[1].split('\n## ');
      const [, file, size] = /`(tests\/vectors\/\S+)`: (\d+) bytes/.exec(text) ?? [];
      blob = await read(file);
      assert.equal(blob.length, Number(size));
    });
    /** The rows of a table, by its header. @param {string} header */
    const tableOf = (header) => {
      const lines = text.split(`\n${header}\n`)[1].split('\n\n')[0].split('\n').slice(1);
      return lines.map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));
    };

    it('lists the bytes, each once', () => {
      let at = 0;
      for (const [offset, bytes, what, meaning] of tableOf('| offset | bytes | field | meaning |')) {
        const listed = bytes.split(' ').map((byte) => parseInt(byte, 16));
        assert.equal(Number(offset), at, what);
        assert.deepEqual([...blob.subarray(at, at + listed.length)], listed, what);
        // Numbers in hexadecimal are the bytes, the lowest first.
        const size = what.endsWith('words') ? 2 : 4;
        for (const [i, [number]] of [...meaning.matchAll(/0x[0-9A-F]+/g)].entries()) {
          const highestFirst = listed.slice(i * size, (i + 1) * size).reverse();
          assert.equal(Number(number), Number(`0x${Buffer.from(highestFirst).toString('hex')}`), what);
        }
        at += listed.length;
      }
      assert.equal(at, blob.length);
    });

    it('says how logarithms become frequencies', () => {
      const prose = text.replace(/\s+/g, ' ');
      /** @param {RegExp} pattern */
      const find = (pattern) => (pattern.exec(prose) ?? assert.fail(`no ${pattern}`))[1];
      const bits = find(/lowest of byte 31 on: (.*?)\. With/).replace(/[^01]/g, '');
      const inFile = [...blob.subarray(31, 34)].map((byte) => byte.toString(2).padStart(8, '0'))
        .map((byte) => [...byte].reverse().join('')).join('');
      assert.equal(bits, inFile.slice(0, bits.length));
      assert.match(inFile.slice(bits.length), /^0*$/);

      const codes = numbersIn(find(/they are the numbers (.*?), so/));
      /** @type {number[]} */
      const read = [];
      for (let at = 0; at < bits.length; at += 3) { // rice_bits is 3
        let ones = 0;
        for (; bits[at] === '1'; at++) ones++;
        at++;
        read.push(8 * ones + parseInt([...bits.slice(at, at + 3)].reverse().join(''), 2));
      }
      assert.deepEqual(codes, read);
      const differences = [...find(/differences of (.*?) and/).matchAll(/[+-]\d+/g)].map(Number);
      assert.deepEqual(differences, codes.map((z) => (z % 2 ? -(z + 1) / 2 : z / 2)));
      const logarithms = numbersIn(find(/and logarithms (.*?):/));
      let sum = 0;
      assert.deepEqual(logarithms, differences.map((difference) => (sum += difference)));
      const weights = numbersIn(find(/weights of (128.*?)\./));
      assert.deepEqual(weights, logarithms.map((logarithm) => levelWeight(logarithm, 1)));
      assert.deepEqual(numbersIn(find(/Frequencies: (.*?) of 256/)), normalize(weights, 8));
    });

    it('follows the first steps', () => {
      const freq = normalize([128, 4096, 11584, 4096, 256], 8);
      const start = freq.map((_, i) => freq.slice(0, i).reduce((a, b) => a + b, 0));
      const ranges = [...text.matchAll(/(\d+) to (\d+) (?:belong )?to (-?\d)/g)].map(([, ...n]) => n.map(Number));
      assert.deepEqual(ranges, freq.map((n, i) => [start[i], start[i] + n - 1, i - 2]));

      const view = new DataView(blob.buffer, blob.byteOffset);
      const x = [36, 40, 44, 48].map((at) => view.getUint32(at, true));
      const rows = tableOf('| step | lane | state x | slot | symbol, bias, freq | freq * (x >> 8) + bias | word | new state |');
      let cursor = 52;
      for (const [i, [step, lane, state, slot, entry, product, word, next]] of rows.entries()) {
        assert.deepEqual([Number(step), Number(lane), Number(state)], [Math.floor(i / 4), i % 4, x[i % 4]]);
        const [symbol, bias, often] = numbersIn(entry);
        assert.deepEqual([Number(slot), bias, often], [
          x[i % 4] % 256, Number(slot) - start[symbol + 2], freq[symbol + 2]]);
        const multiplied = often * (x[i % 4] >>> 8) + bias;
        assert.equal(Number(product), multiplied);
        assert.equal(word !== '', multiplied < 65536);
        if (word) assert.equal(Number(word), view.getUint16((cursor += 2) - 2, true));
        x[i % 4] = word ? multiplied * 65536 + Number(word) : multiplied;
        assert.equal(Number(next), x[i % 4]);
      }
      assert.equal(rows.length, 8);
    });

    it('ends with the tail', () => {
      const [, tail] = text.replace(/\s+/g, ' ').split('After 12 steps');
      const hex = [...tail.matchAll(/0x[0-9A-F]+/g)].map(Number);
      const [states, digits] = [hex.slice(0, 4), hex.slice(4)];
      assert.deepEqual(digits, states.map((state) => state - 65536));
      const steps = [...tail.matchAll(/\(([\d ]+)\)/g)].map(([, list]) => list.split(' ').map(Number));
      assert.deepEqual(steps.map((step) => step.length), [4, 4, 4, 4, 4, 3]);
      for (const step of steps) {
        step.forEach((index, lane) => {
          assert.equal(index, digits[lane] % 8);
          digits[lane] >>= 3;
        });
      }
      assert.deepEqual(digits, [0, 0, 0, 0]);
      // They are the columns from 12 on of row 1: a row has nine steps.
      const { symbols } = decodeBlob(blob);
      assert.deepEqual(steps.flat(), [...symbols.subarray(35 + 12, 70)].map((byte) => (byte + 2) % 256));
    });
  });
});
